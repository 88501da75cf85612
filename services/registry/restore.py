"""What the registry sets up again from its own events: offices, licences, rights. Names and passwords are in none."""

from collections.abc import Sequence

from services.registry.rules import searchable
from todoke.events import LicenceChanged, OfficeStateEvent, UserChanged
from todoke.relay.postgres import Statements, Tx, queries
from todoke.relay.restore import Said, Unhealed

_store: Statements = queries("services.registry")


async def restore(said: Sequence[Said], tx: Tx) -> list[Unhealed]:
    """The newest state of each office, licence and membership.

    Answered: offices that this database does not know at all (nobody can log in there until they get a password), and
    persons who have rights but no row.
    """
    return [*await _offices(said, tx), *await _licences(said, tx), *await _users(said, tx)]


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
