"""What the registry sets up again from its own events: offices, licences, rights, certificates, decisions.

Names, passwords and the words of notices are in none.
"""

from collections.abc import Sequence

from services.registry.rules import searchable
from todoke.events import (
    ApplicationDecided,
    ApplicationReceived,
    CertificateChanged,
    LicenceChanged,
    NoticePublished,
    NoticeWithdrawn,
    OfficeStateEvent,
    UserChanged,
)
from todoke.relay.postgres import Statements, Tx, queries
from todoke.relay.restore import Said, Unhealed

_store: Statements = queries("services.registry")
_affairs: Statements = queries("services.registry", "affairs.sql")


async def restore(said: Sequence[Said], tx: Tx) -> list[Unhealed]:
    """The newest state of each office, licence and membership.

    Answered: offices that this database does not know at all (nobody can log in there until they get a password),
    persons who have rights but no row, applications and notices whose words are lost.
    """
    unhealed = [*await _offices(said, tx), *await _licences(said, tx), *await _users(said, tx)]
    return [*unhealed, *await _applications(said, tx), *await _notices(said, tx)]


async def _offices(said: Sequence[Said], tx: Tx) -> list[Unhealed]:
    newest: dict[str, tuple[OfficeStateEvent, Said]] = {}
    for one in said:
        event = one.event
        if isinstance(event, OfficeStateEvent) and (
            event.office not in newest or newest[event.office][0].version < event.version
        ):
            newest[event.office] = (event, one)
    unhealed = []
    for office in sorted(newest):
        event, one = newest[office]
        facts = event.facts
        is_new = await _store.restore_office(
            tx.db,
            number=office,
            version=event.version,
            name=facts.name,
            search=searchable(office, facts.name),
            address=facts.address,
            phone=facts.phone,
            fax=facts.fax,
            prefecture=facts.prefecture,
            service_types=list(facts.service_types),
            suspended=facts.participation == "suspended",
            licence_until=facts.licence_until,
            csv_version_last=facts.csv_version_last,
            predecessor=facts.predecessor,
            successor=facts.successor,
            at=one.recorded_at,
        )
        if is_new:
            unhealed.append(Unhealed("office without password", office))
    return unhealed


async def _licences(said: Sequence[Said], tx: Tx) -> list[Unhealed]:
    for one in said:
        event = one.event
        if isinstance(event, LicenceChanged):
            await _store.set_licence(
                tx.db, office=event.office, renews=event.renews, cause=event.cause, now=one.recorded_at
            )
    return []


async def _users(said: Sequence[Said], tx: Tx) -> list[Unhealed]:
    unhealed = []
    for one in said:
        event = one.event
        if isinstance(event, UserChanged):
            known = await _store.restore_membership(
                tx.db,
                office=event.office,
                user_id=event.user_id,
                roles=list(event.roles),
                state=event.state,
                version=event.version,
                at=one.recorded_at,
            )
            if not known:
                unhealed.append(Unhealed("person without name and password", event.user_id))
    return unhealed


async def _applications(said: Sequence[Said], tx: Tx) -> list[Unhealed]:
    """Certificates, and what became of applications; whom to ask about one stood in the database only."""
    unhealed = []
    for one in said:
        event = one.event
        if isinstance(event, CertificateChanged):
            await _affairs.restore_certificate(
                tx.db,
                office=event.office,
                version=event.version,
                issuer=event.issuer,
                serial=event.serial,
                not_after=event.not_after,
                at=one.recorded_at,
            )
        elif isinstance(event, ApplicationReceived):
            if not await _affairs.application_known(tx.db, id=event.application_id):
                unhealed.append(Unhealed("application without contact", event.office))
        elif isinstance(event, ApplicationDecided):
            await _affairs.restore_decision(
                tx.db,
                id=event.application_id,
                state=event.decision,
                version=event.version,
                decided_at=event.decided_at,
                decided_by=event.actor.id,
                c_id=event.c_id,
            )
    return unhealed


async def _notices(said: Sequence[Said], tx: Tx) -> list[Unhealed]:
    unhealed = []
    for one in said:
        event = one.event
        if isinstance(event, NoticePublished) and not await _affairs.notice_known(tx.db, id=event.notice_id):
            unhealed.append(Unhealed("notice without words", str(event.notice_id)))
        elif isinstance(event, NoticeWithdrawn):
            await _affairs.restore_withdrawal(tx.db, id=event.notice_id, at=event.withdrawn_at)
    return unhealed
