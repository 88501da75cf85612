"""A service's own copy of the public rows of offices, kept by hearing the registry."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from todoke.events import (
    Event,
    LicenceChanged,
    OfficeChanged,
    OfficeFacts,
    OfficeRegistered,
    OfficeResumed,
    OfficeStateEvent,
    OfficeSucceeded,
    OfficeSuspended,
)
from todoke.relay.faults import NotYet
from todoke.relay.handler import Batch
from todoke.relay.postgres import Database, Statements, Tx, queries

_sql: Statements = queries("todoke.relay", "directory.sql")


@dataclasses.dataclass(frozen=True, slots=True)
class OfficeRow:
    """One office as of `version`."""

    number: str
    version: int
    facts: OfficeFacts


class DirectoryKeeper:
    """Keep the copy: every state event carries the whole row, so the greatest version is all there is to know."""

    hears: ClassVar[tuple[type[Event], ...]] = (
        OfficeRegistered,
        OfficeChanged,
        OfficeSuspended,
        OfficeResumed,
        OfficeSucceeded,
        LicenceChanged,
    )

    async def prepare(self, batch: Batch) -> list[OfficeStateEvent]:
        """The newest state of each office of the batch, in key order."""
        newest: dict[str, OfficeStateEvent] = {}
        for heard in batch:
            known = newest.get(heard.event.office)
            if known is None or known.version < heard.event.version:
                newest[heard.event.office] = heard.event
        return [newest[office] for office in sorted(newest)]

    async def apply(self, prepared: Sequence[OfficeStateEvent], tx: Tx) -> Sequence[Event]:
        """One upsert; says nothing."""
        await _sql.keep(
            tx.db,
            offices=[event.office for event in prepared],
            versions=[event.version for event in prepared],
            facts=[event.facts.model_dump_json() for event in prepared],
        )
        return ()


class Directory:
    """Reads the copy, on a worker's or an API's connection: office rows are public."""

    @staticmethod
    async def get(db: Any, numbers: Iterable[str]) -> Mapping[str, OfficeRow]:
        """The rows of these offices; unknown numbers are missing from the answer."""
        rows = await _sql.rows(db, offices=sorted(set(numbers)))
        return {
            row["office"]: OfficeRow(row["office"], row["version"], OfficeFacts.model_validate_json(row["facts"]))
            for row in rows
        }

    async def require(self, database: Database, versions: Iterable[tuple[str, int]]) -> Mapping[str, OfficeRow]:
        """The rows of these offices, once the copy is at least as new as the versions a submission was judged by.

        Raises `NotYet`: an older copy would turn a right number into "undeliverable".
        """
        wanted = tuple(versions)
        async with database.connection() as db:
            rows = await self.get(db, (number for number, _ in wanted))
        if any(version > (rows[number].version if number in rows else 0) for number, version in wanted):
            raise NotYet("directory")
        return rows
