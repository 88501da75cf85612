"""The live read set and the one beside it, brought to one point of the log."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from todoke.relay.clock import Clock
from todoke.relay.postgres import Database, Tx, queries

NEAR_RECORDS = 1000
"""A read set so near to the live one can be brought level with it in a moment.

More than what comes in half a second of the worst minute. If it takes longer than `LEVEL_SECONDS_MAX` all the same, the
call is refused and may be repeated.
"""

LEVEL_SECONDS_MAX = 5.0
"""So long may the live consumer be held until both have heard the same: under every time-out of its transactions."""

LOOK_SECONDS = 0.02
"""How often it is looked whether they have."""


sql = queries("services.projection", "beside.sql")


class NoneThere(Exception):  # noqa: N818 (named for what was found)
    """No read set stands beside the live one."""


class NotNear(Exception):  # noqa: N818 (named for what was found)
    """The read set beside the live one is too far behind it, or its consumer has stopped."""


class Level:
    """Holds the live consumer for a moment; nobody who reads is held."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock

    @contextlib.asynccontextmanager
    async def held(self) -> AsyncIterator[Tx]:
        """Inside the block both read sets have heard the same, and neither hears more.

        The one beside never overtakes the live one, so holding the live one is enough for it to come level. Raises
        `NoneThere`, `NotNear`.
        """
        await self.near()
        async with self._db.worker() as tx:
            await there(tx)
            await sql.hold_live(tx.db)
            if not await self.until(sql.is_level, tx, LEVEL_SECONDS_MAX):
                raise NotNear
            yield tx

    async def near(self) -> None:
        """Look whether the one beside could be brought level. Raises `NoneThere`, `NotNear`."""
        async with self._db.worker() as tx:
            await there(tx)
            progress = await sql.progress(tx.db)
        if progress["stopped"] is not None or progress["live"] - progress["beside"] > NEAR_RECORDS:
            raise NotNear

    async def until(self, reached: Any, tx: Tx, seconds: float) -> bool:
        """Wait for a statement to answer true, while the read set beside the live one is told to hear what is left."""
        end = self._clock.monotonic() + seconds
        while not await reached(tx.db):
            if self._clock.monotonic() > end:
                return False
            async with self._db.connection() as db:  # of its own: what a transaction tells is heard when it ends
                await sql.wake(db)
            await self._clock.sleep(LOOK_SECONDS)
        return True


async def there(tx: Tx) -> Any:
    """The row of the read set beside the live one. Raises `NoneThere`."""
    row = await sql.standing(tx.db)
    if row is None or row["abandoned"]:
        raise NoneThere
    return row
