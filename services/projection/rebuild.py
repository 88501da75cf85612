"""What operators do with the read set beside the live one: begin, look, compare, switch, abandon."""

import contextlib
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel

from services.projection.filling import sql
from todoke.events import OperatorActed
from todoke.relay.access import Operator
from todoke.relay.acts import Acts, Word
from todoke.relay.postgres import Database, Tx
from todoke.relay.problem import Problem
from todoke.relay.service import Runtime

READY_RECORDS = 1000
"""A read set so near to the live one can be brought level with it in a moment: it is ready.

More than what comes in half a second of the worst minute. If it takes longer than `LEVEL_SECONDS_MAX` all the same, the
call is refused and may be repeated.
"""

LEVEL_SECONDS_MAX = 5.0
"""So long may the live consumer be held until both have heard the same: under every time-out of its transactions."""

LEVEL_LOOK_SECONDS = 0.02
"""How often it is looked whether they have."""

GONE_SECONDS_MAX = 5.0
"""So long a new rebuild waits for an abandoned read set to be removed."""

COMPARE_SECONDS_MAX = 600.0
"""Longest comparison: it reads every row of both read sets."""

DIFFERENCES_MAX = 200
"""Offices that a comparison names; it counts all."""

KEPT = timedelta(days=1)
"""So long the read set that was live before can be switched back to."""

State = Literal["none", "running", "ready", "failed"]


class Begun(BaseModel):
    """A rebuild that has begun."""

    run: UUID


class Progress(BaseModel):
    """Records heard for the new read set, and for the live one."""

    heard: int
    total: int


class Standing(BaseModel):
    """How a rebuild is. `held` counts messages it cannot handle, `stopped` says why its consumer gave up.

    `kept_until` is set once the two were switched: what stands beside the live one now is the one that was live before.
    """

    run: UUID | None = None
    state: State = "none"
    began_at: datetime | None = None
    progress: Progress = Progress(heard=0, total=0)
    held: int = 0
    stopped: str | None = None
    kept_until: datetime | None = None


class Difference(BaseModel):
    """A table in which the rows of an office are not the same in both read sets; how many there are in each."""

    office: str
    table: str
    live: int
    beside: int


class Comparison(BaseModel):
    """Both read sets at one point of the log. `tables` counts the rows of each, `differences` are the first 200."""

    equal: bool
    offices: int
    tables: dict[str, dict[Literal["live", "beside"], int]]
    differences: list[Difference]


class Switched(BaseModel):
    """The read sets have changed places."""

    run: UUID
    kept_until: datetime


class Rebuild:
    """The operators' side; a working process fills (`filling.Filling`)."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._acts = Acts(runtime)
        self._db = runtime.db
        self._ports = runtime.ports

    async def begin(self, operator: Operator, word: Word) -> Begun:
        """Begin to build a read set. Raises `Problem` 409 `TDK-REBUILD-THERE`."""
        await self._gone()
        run = self._ports.ids.uuid7()
        said = await self._acts.noted(operator, word, "rebuild.begin", str(run))
        async with self._db.worker() as tx:
            if not await sql.begin(tx.db, run=run, now=tx.now):
                raise Problem("TDK-REBUILD-THERE")
            await sql.make(tx.db)
            await self._changed(tx, said)
        return Begun(run=run)

    async def standing(self) -> Standing:
        """How it is."""
        async with self._db.worker() as tx:
            row = await sql.standing(tx.db)
            if row is None or row["abandoned"]:
                return Standing()
            progress = await sql.progress(tx.db)
        return Standing(
            run=row["run"],
            state=_state(row, progress),
            began_at=row["began_at"],
            progress=Progress(heard=progress["beside"], total=progress["live"]),
            held=progress["held"],
            stopped=progress["stopped"],
            kept_until=row["kept_until"],
        )

    async def compare(self) -> Comparison:
        """Compare both at one point of the log; the live consumer is held for a moment, and nobody who reads.

        Raises `Problem`: 404 `TDK-REBUILD-NONE`, 409 `TDK-REBUILD-NOT-READY`; `DatabaseAway` after
        `COMPARE_SECONDS_MAX`.
        """
        async with self._patient() as database, database.worker() as still:
            async with self._level():
                await sql.stand_still(still.db)
                await sql.look(still.db)
            return _comparison(await sql.differences(still.db))

    async def switch(self, operator: Operator, word: Word) -> Switched:
        """Let the two change places, in one transaction and at one point of the log. Raises `Problem` as `compare`."""
        said = await self._acts.noted(operator, word, "rebuild.switch", "projection")
        async with self._level() as tx:
            row = await sql.standing(tx.db)
            await sql.switch(tx.db)
            kept_until = tx.now + KEPT
            await sql.keep(tx.db, kept_until=kept_until)
            await self._changed(tx, said)
        return Switched(run=row["run"], kept_until=kept_until)

    async def abandon(self, operator: Operator, word: Word) -> None:
        """Give up the read set beside the live one, whether it is new or kept. Raises `Problem` 404."""
        said = await self._acts.noted(operator, word, "rebuild.abandon", "projection")
        async with self._db.worker() as tx:
            await _there(tx)
            await sql.abandon(tx.db)
            await self._changed(tx, said)

    async def _changed(self, tx: Tx, said: OperatorActed) -> None:
        """Say what the operator did, and wake the process that hears for the lists."""
        tx.say(said)
        await sql.wake(tx.db)

    @contextlib.asynccontextmanager
    async def _level(self) -> AsyncIterator[Tx]:
        """Inside the block both read sets have heard the same, and neither hears more.

        The one beside never overtakes the live one, so holding the live one is enough for it to come level. Whoever
        reads is not held.
        """
        standing = await self.standing()
        if standing.run is None:
            raise Problem("TDK-REBUILD-NONE")
        if standing.stopped or standing.progress.total - standing.progress.heard > READY_RECORDS:
            raise Problem("TDK-REBUILD-NOT-READY")
        async with self._db.worker() as tx:
            await _there(tx)
            await sql.hold_live(tx.db)
            until = self._ports.clock.monotonic() + LEVEL_SECONDS_MAX
            while not await sql.is_level(tx.db):
                if self._ports.clock.monotonic() > until:
                    raise Problem("TDK-REBUILD-NOT-READY", retry_after=2)
                async with self._db.connection() as db:  # of its own: what a transaction tells is heard when it ends
                    await sql.wake(db)
                await self._ports.clock.sleep(LEVEL_LOOK_SECONDS)
            yield tx

    async def _gone(self) -> None:
        """Wait a little until an abandoned read set is removed."""
        until = self._ports.clock.monotonic() + GONE_SECONDS_MAX
        while self._ports.clock.monotonic() < until:
            async with self._db.worker() as tx:
                row = await sql.standing(tx.db)
            if row is None or not row["abandoned"]:
                return
            await self._ports.clock.sleep(LEVEL_LOOK_SECONDS)

    @contextlib.asynccontextmanager
    async def _patient(self) -> AsyncIterator[Database]:
        """The service's database with time for a long look."""
        database = await Database.open(
            self._runtime.name,
            address=self._runtime.settings.postgres.get_secret_value(),
            passwords=self._runtime.secrets.password,
            ports=self._ports,
            size=1,
            seconds_max=COMPARE_SECONDS_MAX,
        )
        try:
            yield database
        finally:
            await database.close()


async def _there(tx: Tx) -> Any:
    row = await sql.standing(tx.db)
    if row is None or row["abandoned"]:
        raise Problem("TDK-REBUILD-NONE")
    return row


def _state(row: Any, progress: Any) -> State:
    if row["kept_until"] is not None:
        return "none"
    if progress["stopped"] is not None:
        return "failed"
    return "running" if progress["live"] - progress["beside"] > READY_RECORDS else "ready"


def _comparison(rows: Any) -> Comparison:
    differences = [Difference(table=row["name"], **_counts(row), office=row["office"]) for row in rows if row["office"]]
    return Comparison(
        equal=not differences,
        offices=len({difference.office for difference in differences}),
        tables={row["name"]: _counts(row) for row in rows if row["office"] is None},
        differences=differences[:DIFFERENCES_MAX],
    )


def _counts(row: Any) -> dict[Literal["live", "beside"], int]:
    return {"live": row["live"], "beside": row["beside"]}
