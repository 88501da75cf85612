"""What comparisons of journal, topic and objects found and mended: written down for operators, and read by them."""

import dataclasses
from collections.abc import Sequence
from datetime import datetime
from typing import Literal, TypeAlias

from todoke.relay.postgres import Database, Statements, queries
from todoke.relay.restore import Unhealed

NAMED_MAX = 10_000
"""So many unmended things are named in a report; all are counted."""

REPORTS_KEPT = 200
"""Reports that found nothing are kept so long; the others for ever."""

Trigger: TypeAlias = Literal["start", "demand", "suspect"]

_sql: Statements = queries("todoke.relay", "reconcile.sql")


@dataclasses.dataclass(slots=True)
class Run:
    """One comparison while it runs."""

    trigger: Trigger
    began_at: datetime
    compared: Literal["tail", "topic", "objects"] = "tail"
    mismatch: str | None = None
    looked_at: int = 0
    taken_back: int = 0
    published_again: int = 0
    orphans: int = 0
    unhealed: list[Unhealed] = dataclasses.field(default_factory=list)
    since: datetime | None = None
    """When the oldest event was said that had to be taken back."""


@dataclasses.dataclass(frozen=True, slots=True)
class Report:
    """What one comparison found and mended, for the operator. `unhealed` names at most some thousands of `count`."""

    id: int
    began_at: datetime
    ended_at: datetime
    trigger: str
    compared: str
    mismatch: str | None
    looked_at: int
    taken_back: int
    published_again: int
    orphans: int
    count: int
    unhealed: Sequence[Unhealed]
    clean: bool


async def reports(db: Database, rows_max: int = 50) -> list[Report]:
    """The newest reports of a service, the newest first. Raises `DatabaseAway`."""
    async with db.connection() as connection:
        rows = await _sql.reports(connection, rows_max=rows_max)
        named = await _sql.unhealed_of(connection, report_ids=[row["id"] for row in rows], rows_max=NAMED_MAX)
    things: dict[int, list[Unhealed]] = {}
    for one in named:
        things.setdefault(one["report_id"], []).append(Unhealed(one["kind"], one["subject"]))
    return [Report(**{**row, "count": row["unhealed"], "unhealed": things.get(row["id"], [])}) for row in rows]


async def reconcile_now(db: Database, operator: str) -> None:
    """Have everything compared: journal, topic and objects. Some process of the service begins within seconds.

    Its reports follow; the wish stays until it is carried out. Raises `DatabaseAway`.
    """
    async with db.worker() as tx:
        await _sql.wish(tx.db, asked_at=tx.now, asked_by=operator)


async def last_was_clean(db: Database) -> bool:
    """Whether nothing is left that could not be mended. Raises `DatabaseAway`."""
    async with db.connection() as connection:
        return bool(await _sql.last_was_clean(connection))


async def write_report(db: Database, run: Run) -> int:
    """Write down a comparison that has ended; answers the report's number. Raises `DatabaseAway`."""
    things = sorted(set(run.unhealed))
    async with db.connection() as connection:
        number = await _sql.report(
            connection,
            began_at=run.began_at,
            trigger=run.trigger,
            compared=run.compared,
            mismatch=run.mismatch,
            looked_at=run.looked_at,
            taken_back=run.taken_back,
            published_again=run.published_again,
            orphans=run.orphans,
            unhealed=len(things),
            kinds=[thing.kind for thing in things[:NAMED_MAX]],
            subjects=[thing.subject for thing in things[:NAMED_MAX]],
            kept=REPORTS_KEPT,
        )
    return int(number)
