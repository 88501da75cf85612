"""What comparisons of journal, topic and objects found and mended: written down for operators, and read by them."""

import dataclasses
from collections.abc import Iterable
from datetime import datetime
from typing import Literal, TypeAlias

from pydantic import BaseModel

from todoke.relay.postgres import Database, Statements, Tx, queries
from todoke.relay.restore import ADVICE, Kind, Unhealed

NAMED_MAX = 10_000
"""So many unmended things are named in a report; all are counted."""

SHOWN_MAX = 50
"""So many of them are told with the report itself."""

NEWEST = 2**62
"""Behind the number of every report."""

REPORTS_KEPT = 200
"""Reports that found nothing are kept so long; the others for ever."""

Trigger: TypeAlias = Literal["start", "demand", "suspect"]
Compared: TypeAlias = Literal["tail", "topic", "objects"]

_sql: Statements = queries("todoke.relay", "reconcile.sql")


@dataclasses.dataclass(slots=True)
class Run:
    """One comparison while it runs."""

    trigger: Trigger
    began_at: datetime
    compared: Compared = "tail"
    mismatch: str | None = None
    looked_at: int = 0
    taken_back: int = 0
    published_again: int = 0
    orphans: int = 0
    unhealed: list[Unhealed] = dataclasses.field(default_factory=list)
    since: datetime | None = None
    """When the oldest event was said that had to be taken back."""


class Report(BaseModel):
    """What one comparison found and mended. `count` things could not be mended, `unhealed` names the first of them."""

    id: int
    began_at: datetime
    ended_at: datetime
    trigger: Trigger
    compared: Compared
    mismatch: str | None
    looked_at: int
    taken_back: int
    published_again: int
    orphans: int
    count: int
    unhealed: list[Unhealed]
    clean: bool


class Reports(BaseModel):
    """Comparisons of a service, the newest first; `next` is the cursor of the next page.

    `clean`: nothing is left that could not be mended. `asked_at` and `asked_by` stand while an operator's wish waits to
    be carried out. `advice` says of each kind of thing in this page what to do about it.
    """

    service: str
    clean: bool
    asked_at: datetime | None
    asked_by: str | None
    items: list[Report]
    advice: dict[Kind, str]
    next: str | None


class Findings(BaseModel):
    """What one comparison could not mend, by kind and subject, page by page."""

    service: str
    report: int
    items: list[Unhealed]
    advice: dict[Kind, str]
    next: str | None


class Asked(BaseModel):
    """A comparison of everything will begin within seconds."""

    service: str
    asked_at: datetime


async def reports(db: Database, rows_max: int = 50, before: int = NEWEST) -> list[Report]:
    """The reports of a service older than the one numbered `before`, the newest first. Raises `DatabaseAway`."""
    async with db.connection() as connection:
        rows = await _sql.reports(connection, before=before, rows_max=rows_max)
        named = await _sql.first_unhealed(connection, report_ids=[row["id"] for row in rows], rows_max=SHOWN_MAX)
    things: dict[int, list[Unhealed]] = {}
    for one in named:
        things.setdefault(one["report_id"], []).append(Unhealed(one["kind"], one["subject"]))
    return [Report(**{**row, "count": row["unhealed"], "unhealed": things.get(row["id"], [])}) for row in rows]


async def reports_page(db: Database, service: str, limit: int, cursor: str | None) -> Reports:
    """One page of them, as operators read it; `cursor` is the number of a report. Raises `DatabaseAway`."""
    async with db.connection() as connection:
        wish = await _sql.wished(connection)
    found = await reports(db, limit + 1, NEWEST if cursor is None else int(cursor))
    return Reports(
        service=service,
        clean=await last_was_clean(db),
        asked_at=wish["asked_at"] if wish else None,
        asked_by=wish["asked_by"] if wish else None,
        items=found[:limit],
        advice=_advice(thing for report in found[:limit] for thing in report.unhealed),
        next=str(found[limit - 1].id) if len(found) > limit else None,
    )


async def findings_page(db: Database, service: str, report: int, limit: int, cursor: str | None) -> Findings | None:
    """One page of what a report names; None for one that is not there. `cursor` is how many were told before."""
    told = int(cursor or 0)
    async with db.connection() as connection:
        if not await _sql.is_report(connection, report_id=report):
            return None
        rows = await _sql.unhealed_of(connection, report_id=report, told=told, rows_max=limit + 1)
    items = [Unhealed(row["kind"], row["subject"]) for row in rows[:limit]]
    more = str(told + limit) if len(rows) > limit else None
    return Findings(service=service, report=report, items=items, advice=_advice(items), next=more)


async def wish(tx: Tx, operator: str) -> None:
    """Have everything compared: journal, topic and objects. Some process of the service begins within seconds.

    Its reports follow; the wish stays until it is carried out.
    """
    await _sql.wish(tx.db, asked_at=tx.now, asked_by=operator)


def _advice(things: Iterable[Unhealed]) -> dict[Kind, str]:
    return {kind: ADVICE[kind] for kind in sorted({thing.kind for thing in things})}


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
