"""Applications of offices: received, then approved or refused by an operator; a renewal in its time needs no word."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal
from uuid import UUID

from services.registry import licences, offices
from services.registry.people import new_person
from services.registry.rules import first_licence_until
from todoke.events import Actor, ApplicationDecided, ApplicationReceived
from todoke.relay.clock import in_japan
from todoke.relay.postgres import Tx, queries
from todoke.relay.problem import Problem
from todoke.relay.settings import RegistrySettings

_affairs = queries("services.registry", "affairs.sql")

Kind = Literal["new", "renewal"]


@dataclasses.dataclass(frozen=True, slots=True)
class Wish:
    """What an office applies for, and whom the operator may ask."""

    kind: Kind
    contact_name: str
    mail: str
    auto_renew: bool


async def apply(tx: Tx, office: str, wish: Wish, settings: RegistrySettings, actor: Actor) -> None:
    """Receive an application; a renewal in its time is approved at once, a new licence waits for an operator.

    Raises `Problem` 404 for an unknown office, 409 `TDK-APPLICATION-THERE` (one waits, or the licence is still good),
    and as `licences.renew`.
    """
    await _refuse_licensed(tx, office, wish.kind, settings)
    application = tx.ports.ids.uuid7()
    values = dataclasses.asdict(wish)
    if await _affairs.insert_application(tx.db, id=application, office=office, now=tx.now, **values) is None:
        raise Problem("TDK-APPLICATION-THERE")
    tx.say(
        ApplicationReceived(
            office=office,
            version=1,
            application_id=application,
            kind=wish.kind,
            auto_renew=wish.auto_renew,
            received_at=tx.now,
            actor=actor,
        )
    )
    if wish.kind == "renewal":
        await licences.renew(tx, office, settings, actor, renews=wish.auto_renew)
        row = await _affairs.lock_application(tx.db, id=application)
        await _decided(tx, row, "approved", offices.SYSTEM)


async def approve(tx: Tx, application: UUID, stored: str, actor: Actor) -> str:
    """A licence until the end of the month in a year, and a person (c-ID) unless there is one; answers the office.

    `stored` is the hash of a password that nobody knows: the office has one made for its person when it wants to.
    Raises `Problem`: 404, 409 `TDK-APPLICATION-DECIDED`, `TDK-NO-CREDENTIAL` (no letter was ever made).
    """
    row = await _waiting(tx, application)
    office: str = row["office"]
    credential = await _affairs.lock_credential(tx.db, office=office)
    if credential is None:
        raise Problem("TDK-NO-CREDENTIAL")
    c_id = credential["c_id"]
    if c_id is None:
        c_id = await new_person(tx, row["contact_name"], stored)
        await _affairs.set_c_id(tx.db, office=office, c_id=c_id)
        await offices.set_user(tx, office, c_id, ["admin"], "active", actor)
    until = first_licence_until(in_japan(tx.now).date())
    await offices.set_licence(tx, office, until=until, renews=row["auto_renew"], cause="granted", actor=actor)
    await _decided(tx, row, "approved", actor, c_id=c_id)
    return office


async def refuse(tx: Tx, application: UUID, answer: str, actor: Actor) -> str:
    """No licence; the office reads `answer`, which stands in no event. Answers the office. Raises as `approve`."""
    row = await _waiting(tx, application)
    await _decided(tx, row, "refused", actor, answer=answer)
    office: str = row["office"]
    return office


async def _refuse_licensed(tx: Tx, office: str, kind: Kind, settings: RegistrySettings) -> None:
    """A new licence is for offices without one, and for those too late to renew theirs."""
    row = await _affairs.lock_licence(tx.db, office=office)
    if row is None:
        raise Problem("TDK-NOT-FOUND")
    if kind == "renewal" or row["until"] is None:
        return
    if (in_japan(tx.now).date() - row["until"]).days <= settings.renewal_closes_days:
        raise Problem("TDK-APPLICATION-THERE")


async def _waiting(tx: Tx, application: UUID) -> Mapping[str, Any]:
    row = await _affairs.lock_application(tx.db, id=application)
    if row is None:
        raise Problem("TDK-NOT-FOUND")
    if row["state"] != "received":
        raise Problem("TDK-APPLICATION-DECIDED")
    return dict(row)


async def _decided(
    tx: Tx,
    row: Mapping[str, Any],
    decision: Literal["approved", "refused"],
    actor: Actor,
    *,
    c_id: str | None = None,
    answer: str | None = None,
) -> None:
    await _affairs.decide_application(
        tx.db, id=row["id"], state=decision, now=tx.now, decided_by=actor.id, answer=answer, c_id=c_id
    )
    tx.say(
        ApplicationDecided(
            office=row["office"],
            version=row["version"] + 1,
            application_id=row["id"],
            decision=decision,
            c_id=c_id,
            decided_at=tx.now,
            actor=actor,
        )
    )
