"""Imports lists of offices: some hundred lines a transaction, so that logins and everything else go on beside it.

Run again after a crash, or with the same list, it finds what it did unchanged and says nothing of it. Under an id of
its own (`import_id`) it goes on where it broke off: what was taken is counted once and the act is said once.
"""

import dataclasses
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from uuid import UUID

from pydantic import BaseModel

from services.registry import offices
from services.registry.sheet import HeaderRefused, LineRefused, Listed, Sheet
from todoke.events import OperatorActed
from todoke.relay.access import Operator
from todoke.relay.acts import Acts, Word, actor_of
from todoke.relay.postgres import Database, Tx, queries
from todoke.relay.problem import Problem, wordings

ROWS_PER_TRANSACTION = 500
"""Enough to make a transaction cheap, few enough to keep everybody's turn short (some 50 ms)."""

PROBLEMS_MAX = 10_000
"""Bad lines that a report lists, some 3 MB; the count is of all."""

REMEMBERED = timedelta(days=30)
"""So long an import can be gone on with under its id."""

_affairs = queries("services.registry", "affairs.sql")


class BadLine(BaseModel):
    """A line (the first line of the file is 1) that was not taken, and why. Nothing of the line is repeated.

    `column` counts from 1, `column_name` is what people call it; `message` and `advice` are Japanese, `reason` English.
    """

    line: int
    reason: str
    code: str
    number: str | None
    column: int | None
    column_name: str | None
    message: str
    advice: str


class ImportReport(BaseModel):
    """What an import did, or with `dry_run` would do. `lines` counts offices listed, bad ones included."""

    dry_run: bool
    lines: int = 0
    registered: int = 0
    changed: int = 0
    unchanged: int = 0
    bad: int = 0
    problems: list[BadLine] = []


@dataclasses.dataclass(frozen=True, slots=True)
class Placed:
    """An office of a list, and the line it stands in."""

    line: int
    listed: Listed


@dataclasses.dataclass
class _Run:
    """One import under way. `act` is None once it is said; with `key` (operator, id) lines up to `done` are taken."""

    actor: Operator
    report: ImportReport
    act: OperatorActed | None = None
    key: tuple[str, UUID] | None = None
    done: int = 0


@dataclasses.dataclass
class Importer:
    """Takes lists of offices. It gives no licence and no credentials."""

    db: Database
    acts: Acts

    async def run(
        self,
        lines: AsyncIterator[list[bytes]],
        operator: Operator,
        word: Word,
        *,
        dry_run: bool,
        import_id: UUID | None = None,
    ) -> ImportReport:
        """Take a list, the first line of which names the columns.

        Raises `Problem` TDK-LIST-… (nothing is taken). Whatever else ends it leaves whole transactions behind.
        """
        run = _Run(operator, ImportReport(dry_run=dry_run))
        if not dry_run:
            run.act = await self.acts.noted(operator, word, "offices.import", "registry")
            if import_id is not None:
                run.key = (operator.user_id, import_id)
                async with self.db.worker() as tx:
                    await _affairs.begin_import(tx.db, operator=operator.user_id, id=import_id, now=tx.now)
                    await self._resume(tx, run)
        waiting: list[Placed] = []
        async for placed in _read(lines, run.report):
            waiting += placed
            while len(waiting) >= ROWS_PER_TRANSACTION:
                await self._take(waiting[:ROWS_PER_TRANSACTION], run)
                waiting = waiting[ROWS_PER_TRANSACTION:]
        await self._take(waiting, run)
        return run.report

    async def _resume(self, tx: Tx, run: _Run) -> None:
        """How far the import has come under its id, locked: two that send the same list take each line once."""
        if run.key is None:
            return
        row = await _affairs.lock_import(tx.db, operator=run.key[0], id=run.key[1])
        run.done = row["line"]
        run.report.registered, run.report.changed, run.report.unchanged = (
            row["registered"], row["changed"], row["unchanged"],
        )  # fmt: skip
        if row["said"]:
            run.act = None

    async def _take(self, waiting: Sequence[Placed], run: _Run) -> None:
        """One transaction; the act is said in the first that changes something."""
        if not waiting or waiting[-1].line <= run.done:
            return
        async with self.db.worker() as tx:
            await self._resume(tx, run)
            rows = [each.listed for each in waiting if each.line > run.done]
            if run.report.dry_run:
                taken = await offices.compare(tx, rows)
            else:
                taken = await offices.take(tx, rows, actor_of(run.actor))
            said = run.act if taken.registered + taken.changed > 0 else None
            if said is not None:
                tx.say(said)
            await self._note(tx, run, waiting[-1].line, len(rows), taken)
        run.report.registered += taken.registered
        run.report.changed += taken.changed
        run.report.unchanged += len(rows) - taken.registered - taken.changed
        if said is not None:
            run.act = None

    async def _note(self, tx: Tx, run: _Run, line: int, rows: int, taken: offices.Taken) -> None:
        if run.key is not None:
            await _affairs.note_import(
                tx.db,
                operator=run.key[0],
                id=run.key[1],
                line=max(line, run.done),
                registered=taken.registered,
                changed=taken.changed,
                unchanged=rows - taken.registered - taken.changed,
            )

    async def sweep(self) -> None:
        """Forget imports that nobody goes on with any more."""
        async with self.db.worker() as tx:
            await _affairs.forget_imports(tx.db, before=tx.now - REMEMBERED)


async def _read(lines: AsyncIterator[list[bytes]], report: ImportReport) -> AsyncIterator[list[Placed]]:
    """The offices of a list, some at a time; what cannot be taken goes into the report."""
    sheet: Sheet | None = None
    at = 0
    async for some in lines:
        placed = []
        for line in some:
            at += 1
            if sheet is None:
                sheet = _sheet(line)
            elif line.strip():
                report.lines += 1
                try:
                    placed.append(Placed(at, sheet.read(line)))
                except LineRefused as refused:
                    report.bad += 1
                    if report.bad <= PROBLEMS_MAX:
                        report.problems.append(_bad(at, refused))
        yield placed
    if sheet is None:
        raise Problem("TDK-LIST-EMPTY", where=[("1", "the file is empty")])


def _sheet(header: bytes) -> Sheet:
    try:
        return Sheet(header)
    except HeaderRefused as refused:
        why = [("1", str(refused))]
        raise Problem(refused.code, where=why, place=refused.column or 0, label=refused.name) from None


def _bad(line: int, refused: LineRefused) -> BadLine:
    told = wordings()[refused.code]
    return BadLine(
        line=line,
        reason=str(refused),
        code=refused.code,
        number=told.number,
        column=refused.column,
        column_name=refused.name or None,
        message=told.title.format_map(refused.fill),
        advice=told.detail.format_map(refused.fill),
    )
