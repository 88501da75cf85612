"""The read set beside the live one, while it is filled: the whole log heard a second time, by a consumer of its own.

It hears no further than the live one has, so the two can be brought to one point of the log by holding the live one.
"""

import asyncio
import contextlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from services.projection.comparing import Comparing
from services.projection.handlers import Lists, OperatorsWord
from services.projection.level import sql
from todoke.relay.consumer import Discipline, Place
from todoke.relay.following import Following
from todoke.relay.limits import BATCH_RECORDS_MAX
from todoke.relay.postgres import Database, queries
from todoke.relay.service import Runtime

CHANNEL = "projection_beside"
"""NOTIFY channel of operators' calls."""

LEASE_SECONDS = 4.0
"""How long another process waits before it fills in the place of one that says nothing."""

LOOK_SECONDS = 1.0
"""How often it is looked whether there is something to fill, and said that this process does it."""

LINGER_SECONDS = 0.5
"""With nothing left to hear: what comes within this time is heard at once, which is cheap, and the lag stays small."""

ROUNDS_PER_SECOND = 4
"""What may be heard in a second is heard in so many parts, so that the live lists get their turn in between."""

_leases = queries("todoke.relay", "journal.sql")


class Filling:
    """One loop per working process; a lease lets one of them fill."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._db = runtime.db
        self._clock = runtime.ports.clock
        self._owner = str(runtime.ports.ids.uuid7())
        self._woken = asyncio.Event()

    async def run(self) -> None:
        """Fill what is to be filled and remove what is to go, until cancelled. Raises `Transient`."""
        listener = asyncio.create_task(self._db.hear(CHANNEL, lambda _: self._woken.set()))
        try:
            while True:
                if await self._is_something() and await self._leads() and (run := await self.due()) is not None:
                    await self._follow(run)
                await self._wait(LOOK_SECONDS)
        finally:
            listener.cancel()
            await asyncio.gather(listener, return_exceptions=True)

    async def _is_something(self) -> bool:
        """Whether there is a read set to care for. Mostly there is none, and then nothing is written."""
        async with self._db.connection() as db:
            return await sql.standing(db) is not None

    async def due(self) -> UUID | None:
        """The run that is to be filled now; removes a read set that is abandoned or was kept for long enough."""
        async with self._db.worker() as tx:
            row = await sql.standing(tx.db)
            if row is None:
                return None
            if _is_wanted(row, tx.now):
                run: UUID = row["run"]
                return run
            await sql.forget(tx.db)
            await sql.drop(tx.db)
        self._runtime.log.info("read_set_removed", run=str(row["run"]))
        return None

    async def _follow(self, run: UUID) -> None:
        """Fill one read set for as long as it is wanted and this process leads."""
        async with contextlib.AsyncExitStack() as stack:
            discipline = self._discipline(await self._beside(stack))
            comparing = Comparing(self._db, self._clock)
            tasks = {asyncio.create_task(loop) for loop in (self._following(discipline).run(), comparing.run())}
            try:
                done = set[asyncio.Task[None]]()
                while not done and await self._leads() and await self._goes_on(run):
                    await discipline.watch_breaker()
                    done, _ = await asyncio.wait(tasks, timeout=LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            task.result()

    async def _goes_on(self, run: UUID) -> bool:
        async with self._db.worker() as tx:
            row = await sql.standing(tx.db)
            return row is not None and row["run"] == run and _is_wanted(row, tx.now)

    async def _beside(self, stack: contextlib.AsyncExitStack) -> Database:
        """The service's database with the read set beside the live one in its place."""
        database = await Database.open(
            self._runtime.name,
            address=self._runtime.settings.postgres.get_secret_value(),
            passwords=self._runtime.secrets.password,
            ports=self._runtime.ports,
            size=2,
            lists="beside",
        )
        stack.push_async_callback(database.close)
        return database

    def _discipline(self, beside: Database) -> Discipline:
        return Discipline(
            self._runtime.name,
            (Lists(lambda _: None, live=False), OperatorsWord()),
            beside,
            self._runtime.ports,
            self._runtime.metrics.consumer("projection-beside"),
            self._runtime.log.bind(read_set="beside"),
            says_holds=False,
            careful=True,  # whether it ended by itself is not known: a record that kills the process must be found
        )

    def _following(self, discipline: Discipline) -> Following:
        rate = self._runtime.settings.rebuild_records_per_second
        return Following(
            discipline,
            self._runtime.settings.kafka,
            upto=self._heard_live,
            rest=self._rest,
            records_max=max(1, min(BATCH_RECORDS_MAX, rate // ROUNDS_PER_SECOND)) if rate else BATCH_RECORDS_MAX,
        )

    async def _heard_live(self) -> Mapping[Place, int]:
        async with self._db.connection() as db:
            rows = await sql.heard_live(db)
        return {Place(row["topic"], row["partition"]): row["next"] for row in rows}

    async def _rest(self, records: int) -> None:
        """Keep the rate, so that the live lists stay quick; an operator's call that waits for us ends the pause."""
        rate = self._runtime.settings.rebuild_records_per_second
        await self._wait((records / rate if rate else 0.0) if records else LINGER_SECONDS)

    async def _wait(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        self._woken.clear()

    async def _leads(self) -> bool:
        async with self._db.connection() as db:
            owner = await _leases.take_lease(db, name="beside", owner=self._owner, seconds=LEASE_SECONDS)
        return owner is not None


def _is_wanted(row: Any, now: datetime) -> bool:
    """Whether a read set is neither abandoned nor kept for long enough."""
    return not row["abandoned"] and (row["kept_until"] is None or now < row["kept_until"])
