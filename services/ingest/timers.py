"""The sweeper: removes bundles that no submission names, left by requests that ended between PUT and commit."""

import re
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from uuid import UUID

from services.ingest.rules import behind
from todoke.relay.clock import Clock, time_of
from todoke.relay.faults import Transient
from todoke.relay.objects import Objects
from todoke.relay.postgres import Database, Statements, queries

_sql: Statements = queries("services.ingest")

ORPHAN_AGE = timedelta(days=7)
"""A bundle without a submission is an orphan only when its id is older: no request runs that long."""

MONTHS_SWEPT = 3
"""Months that are looked through: this one and those in which an id of the last weeks can lie."""

OBJECTS_AT_ONCE = 500
"""Objects that are asked about in one statement."""

_KEY = re.compile(r"message/\d{4}/\d{2}/([0-9a-f-]{36})")


class NotClean(Transient):
    """Something was found that could not be mended: nothing is swept until an operator has looked."""


class Sweeper:
    """Looks through the bundles in the order of their ids, from where it last ended up to a week ago."""

    def __init__(
        self, db: Database, objects: Objects, clock: Clock, last_reconcile_was_clean: Callable[[], Awaitable[bool]]
    ) -> None:
        self._db = db
        self._objects = objects
        self._clock = clock
        self._last_reconcile_was_clean = last_reconcile_was_clean

    async def run(self) -> None:
        """Remove the orphans that have come of age. Raises `Transient`; the next run goes on.

        Not over a database that has forgotten what it said: there, accepted messages would look like orphans.
        """
        if not await self._last_reconcile_was_clean():
            raise NotClean("the last comparison of journal and topic left something unmended")
        until = self._clock.now() - ORPHAN_AGE
        for month in _months(until):
            await self._sweep(month, until)

    async def _sweep(self, month: str, until: datetime) -> None:
        async with self._db.worker() as tx:
            after = await _sql.swept_to(tx.db, month=month)
        page: list[str] = []
        async for listed in self._objects.list(f"message/{month}/", after):
            named = _KEY.fullmatch(listed.key)
            if named is None or time_of(UUID(named[1])) >= until:
                continue
            page.append(listed.key)
            if len(page) == OBJECTS_AT_ONCE:
                await self._judge(month, page)
                page = []
        if page:
            await self._judge(month, page)

    async def _judge(self, month: str, keys: list[str]) -> None:
        """Remove those of the keys that no submission names, then note the last one."""
        ids = [UUID(key.rpartition("/")[2]) for key in keys]
        async with self._db.worker() as tx:
            rows = await _sql.known_objects(tx.db, first=ids[0], behind=behind(ids[-1]), object_keys=keys)
        known = {row["object_key"] for row in rows}
        for key in keys:
            if key not in known:
                await self._objects.delete(key)
        async with self._db.worker() as tx:
            await _sql.sweep_to(tx.db, month=month, last_key=keys[-1])


def _months(until: datetime) -> list[str]:
    """The months to look through, oldest first, as they stand in object keys."""
    months = []
    day = until
    for _ in range(MONTHS_SWEPT):
        months.append(f"{day:%Y/%m}")
        day = day.replace(day=1) - timedelta(days=1)
    return months[::-1]
