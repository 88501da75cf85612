"""The new lists and the live ones compared, piece by piece, by the process that fills the new ones.

Each piece (some ten thousand facts with their list rows, then some ten thousand counts) is looked at in one short
transaction of its own, at a point of the log that both have reached; so a million rows hold up nobody, and a process
that ends leaves no more than a piece to be done again.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel

from services.projection.level import Level, NoneThere, NotNear, there
from todoke.relay.clock import Clock
from todoke.relay.postgres import Database, TooSlow, Tx, queries

PIECE_ROWS = 50_000
"""Facts of one piece, and counts of one: half a second of PostgreSQL's time."""

PAUSE_SECONDS = 0.1
"""Between two pieces the live lists get on."""

LOOK_SECONDS = 1.0
"""How often it is looked whether an operator wants a comparison, and whether a read set that lagged has come near."""

DIFFERENCES_MAX = 200
"""Offices that a comparison names; it counts all."""

LAST_MESSAGE = UUID(int=2**128 - 1)
LAST_OFFICE = "~"
"""Behind every number of an office."""

comparison = queries("services.projection", "comparison.sql")

Side = Literal["live", "beside"]


class Difference(BaseModel):
    """A table in which the rows of an office are not the same in both, and how many there are in those pieces."""

    office: str
    table: str
    live: int
    beside: int


class Comparison(BaseModel):
    """How far both were compared, and what was found so far. `differences` are the first 200.

    `equal` is null until the comparison is done: what was not looked at yet may differ. `tables` counts the rows that
    were compared; `compared_until` is the time of the last message among them.
    """

    state: Literal["running", "done"]
    equal: bool | None
    began_at: datetime
    ended_at: datetime | None
    compared_until: datetime | None
    offices: int
    tables: dict[str, dict[Side, int]]
    differences: list[Difference]


class Comparing:
    """Carries out comparisons, one at a time."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock
        self._level = Level(db, clock)
        self._rows = PIECE_ROWS

    async def run(self) -> None:
        """Compare whatever is to be compared, until cancelled. Raises `Transient`."""
        while True:
            await self._clock.sleep(PAUSE_SECONDS if await self.piece() else LOOK_SECONDS)

    async def piece(self) -> bool:
        """Compare the next piece; answers whether there was one, and both read sets could be looked at."""
        async with self._db.connection() as db:
            at = await comparison.standing(db)
        if at is None or at["ended_at"] is not None:
            return False
        try:
            async with self._db.worker() as still:
                async with self._level.held():
                    await comparison.stand_still(still.db)
                    await comparison.look(still.db)
                found = await (_messages if at["after_office"] is None else _offices)(still, at, self._rows)
        except (NoneThere, NotNear):
            return False
        except TooSlow:
            self._rows = max(1, self._rows // 2)
            return False
        async with self._db.worker() as tx:
            await _note(tx, at, *found)
        return True


async def begin(tx: Tx) -> bool:
    """Begin to compare, unless a comparison is under way; answers whether. Raises `NoneThere`."""
    await there(tx)
    return bool(await comparison.begin(tx.db, now=tx.now))


async def compared(tx: Tx) -> Comparison | None:
    """What the last comparison found, or has found so far."""
    row = await comparison.standing(tx.db)
    if row is None:
        return None
    tables = await comparison.counted(tx.db)
    differences = await comparison.differing(tx.db, rows_max=DIFFERENCES_MAX)
    offices = await comparison.offices_differing(tx.db)
    is_done = row["ended_at"] is not None
    return Comparison(
        state="done" if is_done else "running",
        equal=not differences if is_done else None,
        began_at=row["began_at"],
        ended_at=row["ended_at"],
        compared_until=row["compared_until"],
        offices=offices,
        tables={each["name"]: _counts(each) for each in tables},
        differences=[Difference(office=each["office"], table=each["name"], **_counts(each)) for each in differences],
    )


async def _messages(still: Tx, at: Any, rows_max: int) -> tuple[Any, dict[str, Any]]:
    """A piece of facts and list rows; the last one goes as far as there are ids."""
    upto = await comparison.next_message(still.db, after=at["after_message"], rows_max=rows_max)
    rows = await comparison.messages(still.db, after=at["after_message"], upto=upto or LAST_MESSAGE)
    return rows, {"after_message": upto, "after_office": None if upto else "", "is_last": False}


async def _offices(still: Tx, at: Any, rows_max: int) -> tuple[Any, dict[str, Any]]:
    """A piece of counts."""
    upto = await comparison.next_office(still.db, after=at["after_office"], rows_max=rows_max)
    rows = await comparison.counts(still.db, after=at["after_office"], upto=upto or LAST_OFFICE)
    return rows, {"after_message": None, "after_office": upto or at["after_office"], "is_last": upto is None}


async def _note(tx: Tx, at: Any, rows: Any, moved: Mapping[str, Any]) -> None:
    """Write down what a piece showed, unless another process has done it, or nobody wants it any more."""
    is_ours = await comparison.move(
        tx.db,
        began_at=at["began_at"],
        before_message=at["after_message"],
        before_office=at["after_office"],
        now=tx.now,
        **moved,
    )
    if not is_ours:
        return
    totals = [row for row in rows if row["office"] is None]
    differing = [row for row in rows if row["office"] is not None]
    await comparison.count(tx.db, **_columns(totals))
    await comparison.differ(tx.db, offices=[row["office"] for row in differing], **_columns(differing))


def _columns(rows: Any) -> dict[str, Any]:
    return {
        "names": [row["name"] for row in rows],
        "lives": [row["live"] for row in rows],
        "besides": [row["beside"] for row in rows],
    }


def _counts(row: Any) -> dict[Side, int]:
    return {"live": row["live"], "beside": row["beside"]}
