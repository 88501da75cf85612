"""Imports lists of offices: some hundred lines a transaction, so that logins and everything else go on beside it.

Run again after a crash, or with the same list, it finds what it did unchanged and says nothing of it.
"""

import dataclasses
from collections.abc import AsyncIterator, Sequence

from pydantic import BaseModel

from services.registry import offices
from services.registry.sheet import HeaderRefused, LineRefused, Listed, Sheet
from todoke.events import OperatorActed
from todoke.relay.access import Operator
from todoke.relay.acts import Acts, Word, actor_of
from todoke.relay.postgres import Database
from todoke.relay.problem import Problem

ROWS_PER_TRANSACTION = 500
"""Enough to make a transaction cheap, few enough to keep everybody's turn short (some 50 ms)."""

PROBLEMS_MAX = 1000
"""Bad lines that a report lists; the count is of all."""


class BadLine(BaseModel):
    """A line (the first line of the file is 1) that was not taken, and why. Nothing of the line is repeated."""

    line: int
    reason: str


class ImportReport(BaseModel):
    """What an import did, or with `dry_run` would do. `lines` counts offices listed, bad ones included."""

    dry_run: bool
    lines: int = 0
    registered: int = 0
    changed: int = 0
    unchanged: int = 0
    bad: int = 0
    problems: list[BadLine] = []


@dataclasses.dataclass
class Importer:
    """Takes lists of offices. It gives no licence and no credentials."""

    db: Database
    acts: Acts

    async def run(
        self, lines: AsyncIterator[list[bytes]], operator: Operator, word: Word, *, dry_run: bool
    ) -> ImportReport:
        """Take a list, the first line of which names the columns.

        Raises `Problem` TDK-OFFICE-LIST (nothing is taken). Whatever else ends it leaves whole transactions behind.
        """
        report = ImportReport(dry_run=dry_run)
        act = None if dry_run else await self.acts.noted(operator, word, "offices.import", "registry")
        waiting: list[Listed] = []
        async for listed in _read(lines, report):
            waiting += listed
            while len(waiting) >= ROWS_PER_TRANSACTION:
                act = await self._take(waiting[:ROWS_PER_TRANSACTION], operator, act, report)
                waiting = waiting[ROWS_PER_TRANSACTION:]
        await self._take(waiting, operator, act, report)
        return report

    async def _take(
        self, rows: Sequence[Listed], operator: Operator, act: OperatorActed | None, report: ImportReport
    ) -> OperatorActed | None:
        """One transaction; the act is said in the first that changes something. Answers an act not said yet."""
        async with self.db.worker() as tx:
            if report.dry_run:
                taken = await offices.compare(tx, rows)
            else:
                taken = await offices.take(tx, rows, actor_of(operator))
            says = act is not None and taken.registered + taken.changed > 0
            if act is not None and says:
                tx.say(act)
        report.registered += taken.registered
        report.changed += taken.changed
        report.unchanged += len(rows) - taken.registered - taken.changed
        return None if says else act


async def _read(lines: AsyncIterator[list[bytes]], report: ImportReport) -> AsyncIterator[list[Listed]]:
    """The offices of a list, some at a time; what cannot be taken goes into the report."""
    sheet: Sheet | None = None
    at = 0
    async for some in lines:
        listed = []
        for line in some:
            at += 1
            if sheet is None:
                sheet = _sheet(line)
            elif line.strip():
                report.lines += 1
                try:
                    listed.append(sheet.read(line))
                except LineRefused as refused:
                    report.bad += 1
                    if report.bad <= PROBLEMS_MAX:
                        report.problems.append(BadLine(line=at, reason=str(refused)))
        yield listed
    if sheet is None:
        raise Problem("TDK-OFFICE-LIST", where=[("1", "the file is empty")])


def _sheet(header: bytes) -> Sheet:
    try:
        return Sheet(header)
    except HeaderRefused as refused:
        raise Problem("TDK-OFFICE-LIST", where=[("1", str(refused))]) from None
