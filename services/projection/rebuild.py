"""What operators do with the read set beside the live one: begin, look, switch, abandon."""

import contextlib
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel

from services.projection.comparing import Comparison, begin, compared, comparison
from services.projection.level import LOOK_SECONDS, NEAR_RECORDS, Level, NoneThere, NotNear, sql, there
from todoke.events import OperatorActed
from todoke.relay.access import Operator
from todoke.relay.acts import Acts, Word
from todoke.relay.kafka import KafkaAway, ends_of
from todoke.relay.postgres import Tx
from todoke.relay.problem import Problem
from todoke.relay.service import Runtime
from todoke.relay.steering import Place

READY_SECONDS_MAX = 1.0
"""So long is waited for a near read set to hear what stood in the topics when somebody asked."""

GONE_SECONDS_MAX = 5.0
"""So long a new rebuild waits for an abandoned read set to be removed."""

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

    `ready`: it has heard everything that stood in the topics when this was asked. `kept_until` is set once the two were
    switched: what stands beside the live one now is the one that was live before.
    """

    run: UUID | None = None
    state: State = "none"
    began_at: datetime | None = None
    progress: Progress = Progress(heard=0, total=0)
    held: int = 0
    stopped: str | None = None
    kept_until: datetime | None = None


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
        self._level = Level(runtime.db, runtime.ports.clock)

    async def begin(self, operator: Operator, word: Word) -> Begun:
        """Begin to build a read set. Raises `Problem` 409 `TDK-REBUILD-THERE`."""
        await self._gone()
        run = self._ports.ids.uuid7()
        said = await self._acts.noted(operator, word, "rebuild.begin", str(run))
        async with self._db.worker() as tx:
            if not await sql.begin(tx.db, run=run, now=tx.now):
                raise Problem("TDK-REBUILD-THERE")
            await sql.make(tx.db)
            await comparison.forget(tx.db)
            await self._changed(tx, said)
        return Begun(run=run)

    async def standing(self) -> Standing:
        """How it is."""
        async with self._db.worker() as tx:
            row = await sql.standing(tx.db)
            if row is None or row["abandoned"]:
                return Standing()
            progress = await sql.progress(tx.db)
        try:
            state = await self._state(row, progress)
        except NoneThere:
            return Standing()
        return Standing(
            run=row["run"],
            state=state,
            began_at=row["began_at"],
            progress=Progress(heard=progress["beside"], total=progress["live"]),
            held=progress["held"],
            stopped=progress["stopped"],
            kept_until=row["kept_until"],
        )

    async def _state(self, row: Any, progress: Any) -> State:
        if row["kept_until"] is not None:
            return "none"
        if progress["stopped"] is not None:
            return "failed"
        is_near = progress["live"] - progress["beside"] <= NEAR_RECORDS
        return "ready" if is_near and await self._caught_up() else "running"

    async def switch(self, operator: Operator, word: Word) -> Switched:
        """Let the two change places, in one transaction and at one point of the log.

        Raises `Problem`: 404 `TDK-REBUILD-NONE`, 409 `TDK-REBUILD-NOT-READY`.
        """
        said = await self._acts.noted(operator, word, "rebuild.switch", "projection")
        async with refusing(), self._level.held() as tx:
            row = await there(tx)
            await sql.switch(tx.db)
            await comparison.forget(tx.db)
            kept_until = tx.now + KEPT
            await sql.keep(tx.db, kept_until=kept_until)
            await self._changed(tx, said)
        return Switched(run=row["run"], kept_until=kept_until)

    async def compare(self, operator: Operator, word: Word) -> Comparison:
        """Begin to compare both, or go on with it. Raises `Problem` as `switch`."""
        said = await self._acts.noted(operator, word, "rebuild.compare", "projection")
        async with refusing():
            await self._level.near()
            async with self._db.worker() as tx:
                if await begin(tx):
                    tx.say(said)
        return await self.compared()

    async def compared(self) -> Comparison:
        """What the last comparison has found. Raises `Problem` 404 `TDK-REBUILD-NONE` when there is none."""
        async with self._db.worker() as tx:
            found = await compared(tx)
        if found is None:
            raise Problem("TDK-REBUILD-NONE")
        return found

    async def abandon(self, operator: Operator, word: Word) -> None:
        """Give up the read set beside the live one, whether it is new or kept. Raises `Problem` 404."""
        said = await self._acts.noted(operator, word, "rebuild.abandon", "projection")
        async with refusing(), self._db.worker() as tx:
            await there(tx)
            await sql.abandon(tx.db)
            await comparison.forget(tx.db)
            await self._changed(tx, said)

    async def _changed(self, tx: Tx, said: OperatorActed) -> None:
        """Say what the operator did, and wake the process that hears for the lists."""
        tx.say(said)
        await sql.wake(tx.db)

    async def _caught_up(self) -> bool:
        """Whether the one beside has heard every topic as far as it goes now. Not while Kafka does not tell."""
        async with self._db.connection() as db:
            places = [Place(row["topic"], row["partition"]) for row in await sql.heard_live(db)]
        if not places:
            return False
        try:
            ends = await ends_of(self._runtime.settings.kafka, places)
        except KafkaAway:
            return False
        asked = {
            "topics": [place.topic for place in ends],
            "partitions": [place.partition for place in ends],
            "ends": list(ends.values()),
        }
        async with self._db.worker() as tx:
            await there(tx)
            return await self._level.until(lambda db: sql.has_heard(db, **asked), tx, READY_SECONDS_MAX)

    async def _gone(self) -> None:
        """Wait a little until an abandoned read set is removed."""
        until = self._ports.clock.monotonic() + GONE_SECONDS_MAX
        while self._ports.clock.monotonic() < until:
            async with self._db.worker() as tx:
                row = await sql.standing(tx.db)
            if row is None or not row["abandoned"]:
                return
            await self._ports.clock.sleep(LOOK_SECONDS)


@contextlib.asynccontextmanager
async def refusing() -> AsyncIterator[None]:
    """Tell an operator that there is no read set, or that it is not near enough."""
    try:
        yield
    except NoneThere:
        raise Problem("TDK-REBUILD-NONE") from None
    except NotNear:
        raise Problem("TDK-REBUILD-NOT-READY", retry_after=2) from None
