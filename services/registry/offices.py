"""Changes of offices, licences and users: each changes a row and says so in the same transaction.

Every function runs as the registry's worker, raises the row's version by one and says the event with the whole new
public row. A change that changes nothing says nothing.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any, Literal

from services.registry.rules import newest_per_office, searchable
from services.registry.sheet import Listed
from todoke.events import (
    LicenceChanged,
    OfficeChanged,
    OfficeFacts,
    OfficeRegistered,
    OfficeResumed,
    OfficeStateEvent,
    OfficeSucceeded,
    OfficeSuspended,
    UserChanged,
)
from todoke.events.envelope import Actor
from todoke.relay.postgres import Tx, queries

_store = queries("services.registry")

SYSTEM = Actor(kind="system", id="registry")

LicenceCause = Literal["granted", "renewed", "ended", "corrected", "auto_renew_stopped"]


class UnknownOffice(Exception):  # noqa: N818 (named for what is the matter)
    """There is no office of this number."""


@dataclasses.dataclass(frozen=True, slots=True)
class MasterData:
    """What a list of offices says of one: number (ten characters), name, service types as codes, address."""

    number: str
    name: str
    service_types: tuple[str, ...] = ()
    prefecture: str = ""
    address: str = ""
    phone: str = ""
    fax: str = ""


def facts_of(row: Mapping[str, Any]) -> OfficeFacts:
    """The public facts in a row of `office`. Who never held a licence does not take part."""
    if row["suspended"]:
        participation: Literal["active", "suspended", "none"] = "suspended"
    else:
        participation = "none" if row["licence_until"] is None else "active"
    return OfficeFacts(
        name=row["name"],
        address=row["address"],
        phone=row["phone"],
        fax=row["fax"],
        prefecture=row["prefecture"],
        service_types=tuple(row["service_types"]),
        participation=participation,
        licence_until=row["licence_until"],
        csv_version_last=row["csv_version_last"],
        predecessor=row["predecessor"],
        successor=row["successor"],
    )


async def register(tx: Tx, data: MasterData, actor: Actor = SYSTEM, *, predecessor: str | None = None) -> bool:
    """Register an office, without a licence and without credentials. Answers False when its number is known already."""
    row = dataclasses.asdict(data) | {"service_types": list(data.service_types), "predecessor": predecessor}
    number = await _store.insert_office(tx.db, search=searchable(data.number, data.name), now=tx.now, **row)
    if number is None:
        return False
    facts = _with_master_data(OfficeFacts(name=data.name, predecessor=predecessor), data)
    tx.say(OfficeRegistered(office=data.number, version=1, facts=facts, actor=actor))
    return True


async def succeed(tx: Tx, number: str, successor: MasterData, actor: Actor) -> bool:
    """An office goes on under another number: the new one is registered, the old one takes no part any more.

    Lists and mailboxes stay with the old number. Answers False when the new number is known already. Raises
    `UnknownOffice`.
    """
    row = await _locked(tx, number)
    if not await register(tx, successor, actor, predecessor=number):
        return False
    facts = facts_of({**row, "suspended": True, "successor": successor.number})
    return await _say_next(tx, row, facts, OfficeSucceeded, actor)


async def change(tx: Tx, data: MasterData, actor: Actor) -> bool:
    """Other master data of an office. Answers whether anything is different. Raises `UnknownOffice`."""
    row = await _locked(tx, data.number)
    return await _say_next(tx, row, _with_master_data(facts_of(row), data), OfficeChanged, actor)


async def change_some(tx: Tx, number: str, values: Mapping[str, Any], actor: Actor) -> bool:
    """Some other master data of an office, by the names of `MasterData`. Answers and raises as `change`."""
    row = await _locked(tx, number)
    return await _say_next(
        tx, row, _with_master_data(facts_of(row), _master_data({**row, **values})), OfficeChanged, actor
    )


async def facts(tx: Tx, number: str) -> OfficeFacts:
    """The public facts of an office, locked. Raises `UnknownOffice`."""
    return facts_of(await _locked(tx, number))


@dataclasses.dataclass(frozen=True, slots=True)
class Taken:
    """How many offices of a list were new, and how many were known and are different now."""

    registered: int
    changed: int


async def compare(tx: Tx, rows: Sequence[Listed]) -> Taken:
    """What `take` would do now; changes nothing and locks nothing."""
    new, different = await _sorted_out(tx, rows)
    return Taken(len(new), len(different))


async def take(tx: Tx, rows: Sequence[Listed], actor: Actor) -> Taken:
    """Register the offices of a list that are new and change those that are different, some hundred at once.

    Columns that the list does not have stay as they are. Rows that are so already are read and neither locked nor said.
    """
    new, different = await _sorted_out(tx, rows)
    registered = await _register_all(tx, new, actor)
    overtaken = [row for row in new if row.number not in registered]  # somebody registered them at this moment
    return Taken(len(registered), await _change_all(tx, [*different, *overtaken], actor))


async def _sorted_out(tx: Tx, rows: Sequence[Listed]) -> tuple[list[Listed], list[Listed]]:
    """Of a list what is new and what is different, each by number."""
    found = await _store.offices_listed(tx.db, numbers=[row.number for row in rows])
    known = {each["number"]: each for each in found}
    new = [row for row in rows if row.number not in known]
    different = [row for row in rows if row.number in known and _differs(known[row.number], row)]
    return sorted(new, key=lambda row: row.number), different


def _differs(known: Mapping[str, Any], row: Listed) -> bool:
    return any(_plain(known[name]) != value for name, value in row.values.items())


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


async def _register_all(tx: Tx, rows: Sequence[Listed], actor: Actor) -> set[str]:
    data = [MasterData(row.number, **row.values) for row in rows]
    done = (
        {row["number"] for row in await _store.insert_offices(tx.db, now=tx.now, **_columns(data))} if data else set()
    )
    for each in data:
        if each.number in done:
            facts = _with_master_data(OfficeFacts(name=each.name), each)
            tx.say(OfficeRegistered(office=each.number, version=1, facts=facts, actor=actor))
    return done


async def _change_all(tx: Tx, rows: Sequence[Listed], actor: Actor) -> int:
    """Change what is still different under lock; answers how many."""
    if not rows:
        return 0
    wanted = {row.number: row for row in rows}
    locked = [
        row for row in await _store.lock_offices(tx.db, numbers=sorted(wanted)) if _differs(row, wanted[row["number"]])
    ]
    if not locked:
        return 0
    data = [_master_data({**row, **wanted[row["number"]].values}) for row in locked]
    versions = [row["version"] + 1 for row in locked]
    await _store.change_offices(tx.db, versions=versions, now=tx.now, **_columns(data))
    for row, each, version in zip(locked, data, versions, strict=True):
        facts = _with_master_data(facts_of(row), each)
        tx.say(OfficeChanged(office=each.number, version=version, facts=facts, actor=actor))
    return len(locked)


def _master_data(row: Mapping[str, Any]) -> MasterData:
    return MasterData(**{field.name: _plain(row[field.name]) for field in dataclasses.fields(MasterData)})


def _columns(data: Sequence[MasterData]) -> dict[str, list[str]]:
    """One array per column; service types with spaces between them, for arrays of arrays have one length."""
    return {
        "numbers": [each.number for each in data],
        "names": [each.name for each in data],
        "searches": [searchable(each.number, each.name) for each in data],
        "addresses": [each.address for each in data],
        "phones": [each.phone for each in data],
        "faxes": [each.fax for each in data],
        "prefectures": [each.prefecture for each in data],
        "types": [" ".join(each.service_types) for each in data],
    }


async def suspend(tx: Tx, number: str, actor: Actor) -> bool:
    """An office takes no part for the time being. Answers False when it is already. Raises `UnknownOffice`."""
    row = await _locked(tx, number)
    return await _say_next(tx, row, facts_of({**row, "suspended": True}), OfficeSuspended, actor)


async def resume(tx: Tx, number: str, actor: Actor) -> bool:
    """A suspended office takes part again. Answers False when it is not suspended. Raises `UnknownOffice`."""
    row = await _locked(tx, number)
    return await _say_next(tx, row, facts_of({**row, "suspended": False}), OfficeResumed, actor)


async def set_licence(
    tx: Tx, number: str, *, until: date | None, renews: bool, cause: LicenceCause, actor: Actor = SYSTEM
) -> None:
    """Give an office's licence another end (its last day in Japan), or let it renew or not. Raises `UnknownOffice`."""
    row = await _locked(tx, number)
    facts = facts_of({**row, "licence_until": until})
    version = await _write_next(tx, row, facts)
    await _store.set_licence(tx.db, office=number, renews=renews, cause=cause, now=tx.now)
    tx.say(
        LicenceChanged(
            office=number, version=version, facts=facts, until=until, renews=renews, cause=cause, actor=actor
        )
    )


async def set_user(
    tx: Tx, office: str, user_id: str, roles: Sequence[str], state: Literal["active", "ended"], actor: Actor = SYSTEM
) -> bool:
    """Give a person rights at an office, or take them. Answers whether anything is different."""
    wanted = sorted(set(roles))
    version = None
    if state == "active":
        version = await _store.insert_membership(tx.db, user_id=user_id, office=office, roles=wanted, now=tx.now)
    if version is None:
        row = await _store.change_membership(
            tx.db, office=office, user_id=user_id, roles=wanted, state=state, now=tx.now
        )
        version = row["version"] if row else None
    if version is None:
        return False
    tx.say(UserChanged(office=office, version=version, user_id=user_id, roles=tuple(wanted), state=state, actor=actor))
    return True


async def csv_versions(tx: Tx, heard: Sequence[tuple[str, str, datetime]]) -> list[OfficeChanged]:
    """The offices whose last CSV version is another now, from (office, CSV version, submitted at) of messages.

    Each office changes at most once per call, and never by a message handed in earlier than the one it was told by.
    """
    newest = newest_per_office(heard)
    rows = await _store.lock_offices(tx.db, numbers=sorted(newest))
    later = [row for row in rows if row["csv_version_at"] is None or row["csv_version_at"] < newest[row["number"]][1]]
    if not later:
        return []
    said = []
    for row in later:
        facts = facts_of(row).model_copy(update={"csv_version_last": newest[row["number"]][0]})
        if facts != facts_of(row):
            version = await _write_next(tx, row, facts)
            said.append(OfficeChanged(office=row["number"], version=version, facts=facts, actor=SYSTEM))
    numbers = [row["number"] for row in later]
    await _store.csv_versions_heard(tx.db, numbers=numbers, ats=[newest[number][1] for number in numbers])
    return said


def _with_master_data(facts: OfficeFacts, data: MasterData) -> OfficeFacts:
    changes = {field.name: getattr(data, field.name) for field in dataclasses.fields(data) if field.name != "number"}
    return facts.model_copy(update=changes)


async def _locked(tx: Tx, number: str) -> Mapping[str, Any]:
    rows = await _store.lock_offices(tx.db, numbers=[number])
    if not rows:
        raise UnknownOffice(number)
    return dict(rows[0])


async def _say_next(
    tx: Tx, row: Mapping[str, Any], facts: OfficeFacts, kind: type[OfficeStateEvent], actor: Actor
) -> bool:
    if facts == facts_of(row):
        return False
    version = await _write_next(tx, row, facts)
    tx.say(kind(office=row["number"], version=version, facts=facts, actor=actor))
    return True


async def _write_next(tx: Tx, row: Mapping[str, Any], facts: OfficeFacts) -> int:
    """Write the next version of a locked row and answer it."""
    version: int = row["version"] + 1
    await _store.update_office(
        tx.db,
        number=row["number"],
        version=version,
        name=facts.name,
        search=searchable(row["number"], facts.name),
        address=facts.address,
        phone=facts.phone,
        fax=facts.fax,
        prefecture=facts.prefecture,
        service_types=list(facts.service_types),
        suspended=facts.participation == "suspended",
        licence_until=facts.licence_until,
        csv_version_last=facts.csv_version_last,
        successor=facts.successor,
        now=tx.now,
    )
    return version
