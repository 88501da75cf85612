"""One file from its bytes to its facts: pattern per row first, single cells only where it fails."""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Final

from careplan.checks.about import FileFacts, UnitFacts, say
from careplan.checks.item import check_cell, lone_carriage_return
from careplan.checks.row import RULES, Wrong
from careplan.checks.tallies import Keys, Tally, tallies_of
from careplan.kinds import CSV_VERSIONS
from careplan.patterns import SEPARATOR, row_patterns
from careplan.picks import PICKS, QUOTED_PICKS
from careplan.reader import CellsRow, Damage, Oddity, batches, drop_spare, frames, text_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from careplan.findings import FindingLog
    from careplan.layout import Column, Severity

    Rows = list[tuple[str, ...]]
    Judge = Callable[..., Iterator[Wrong]]

CELLS_SAID_MAX: Final = 4
"""Breaches of a row, beside its version, that are said one by one. More are one cause: its cells are shifted."""

_BATCH_ROWS = 2_048
_HEAD_WORDS = 3


class Scan:
    """The check of one file by itself; ``tallies`` are finished when the relations of the unit are known."""

    def __init__(self, facts: FileFacts, unit: UnitFacts, log: FindingLog, text_max: int) -> None:
        """Prepare patterns, rules and tallies of the file's layout."""
        self.facts = facts
        self._unit = unit
        self._log = log
        self._text_max = text_max
        layout = facts.layout
        kind = facts.name.kind
        picks = [pick for pick in PICKS[kind] if pick.fits(layout)]
        places = {pick.name: at for at, pick in enumerate(picks)}
        self._spans = [pick.span(layout) for pick in picks]
        self._rules = [
            (names, itemgetter(*[places[name] for name in names]), judge) for names, judge in RULES.get(kind, ())
        ]
        self._names = tuple(places)
        self._quoted = kind in QUOTED_PICKS
        self.tallies: list[Tally] = tallies_of(facts, unit, log, places)
        self._good: Rows = []
        self._numbers: list[int] = []
        self._last_bad = 0
        """The row just read, when something was wrong with it: a file cut off there is said once."""
        self._torn = (-1, 0)
        """The last row that ends too early, and how many cells it has so far."""

    def run(self, data: bytes) -> None:
        """Check all rows of ``data``."""
        text = text_of(data)
        if isinstance(text, Damage):
            self._damaged(text)
            return
        lone = lone_carriage_return(text)
        at = 0 if lone else self._run_fast(text)
        if at < len(text):
            self._run_slow(text, at, lone_cr=lone)
        elif text and text[-1] != "\n":
            say(self._log, self.facts, "TDK-LAST-LINE-END", "warning", self.facts.rows)

    def finish(self) -> None:
        """Say what the whole file lacks, after the relations of the unit are judged."""
        if not self.facts.unreadable:
            for tally in self.tallies:
                tally.finish()

    def _run_fast(self, text: str) -> int:
        """Take the good rows at the start, many at a time; the offset where they end."""
        at = 0
        for rows, end in batches(row_patterns(self.facts.layout, self._text_max).text, text):
            first = self.facts.rows + 1
            self.facts.rows += len(rows)
            if self._quoted:
                rows = [  # noqa: PLW2901 - the same rows without quotes
                    tuple([cell[1:-1].replace('""', '"') if cell[:1] == '"' else cell for cell in row]) for row in rows
                ]
            self._take(rows, range(first, first + len(rows)))
            at = end
        return at

    def _take(self, rows: Rows, numbers: Sequence[int]) -> None:
        if rows:
            self._judge(rows, numbers)
            for tally in self.tallies:
                tally.add(rows, numbers)

    def _judge(self, rows: Rows, numbers: Sequence[int]) -> None:
        """Ask each rule about each distinct combination, and look for the rows only when one breaks it."""
        found: list[tuple[int, Wrong]] = []
        for _, getter, judge in self._rules:
            wrong = {
                combination: said
                for combination in set(map(getter, rows))
                if (said := _ask(judge, self.facts, self._unit, combination))
            }
            if wrong:
                found += [
                    (number, each)
                    for row, number in zip(rows, numbers, strict=True)
                    for each in wrong.get(getter(row), ())
                ]
        for number, each in sorted(found, key=itemgetter(0)):
            self._say_wrong(number, each)

    def _say_wrong(self, number: int, wrong: Wrong) -> None:
        self.facts.left_out += wrong.unsettles
        severity = wrong.severity
        if severity == "rule":
            severity = self.facts.layout.column(wrong.column).severity("rule") if wrong.column else "error"
        if wrong.cause is not None:
            self.facts.month_denied |= wrong.cause[0] == "month"
            new = self._log.first(wrong.code, *wrong.cause)
            if severity == "error":  # a warning of the same cause must not hide it
                new = self._log.first(wrong.code, severity, *wrong.cause)
            if not new:
                return
        say(self._log, self.facts, wrong.code, severity, number, wrong.column)

    # --- the slow way -------------------------------------------------------------------------------------------------

    def _run_slow(self, text: str, at: int, *, lone_cr: bool) -> None:
        blank: Oddity | None = None
        for found in frames(text, at, self.facts.rows + 1):
            match found:
                case CellsRow():
                    self.facts.rows = found.number
                    self._row(found, lone_cr=lone_cr)
                    if len(self._good) >= _BATCH_ROWS:
                        self._flush()
                case Damage():
                    self._damaged(found)
                case Oddity() if found.code == "TDK-BLANK-LINE":
                    blank = found
                case Oddity() if found.row != self._last_bad:
                    say(self._log, self.facts, found.code, "warning", found.row)
        if blank and (self.facts.rows or self.facts.unreadable):  # a file of blank lines alone is said to be empty
            say(self._log, self.facts, blank.code, "warning", blank.row)
        self._flush()

    def _flush(self) -> None:
        self._take(self._good, self._numbers)
        self._good, self._numbers = [], []

    def _damaged(self, damage: Damage) -> None:
        self.facts.unreadable = True
        column = None
        if damage.column is not None and damage.column <= len(self.facts.layout.columns):
            column = self.facts.layout.columns[damage.column - 1].name_en
        say(self._log, self.facts, damage.code, "error", damage.row, column)

    def _row(self, row: CellsRow, *, lone_cr: bool) -> None:
        layout = self.facts.layout
        if row.number == 1 and self._is_head(row.cells):
            self._leave_out()
            say(self._log, self.facts, "TDK-HEAD-ROW", "error", 1)
            return
        drop_spare(layout, row)
        self._last_bad = row.number
        if row.count != len(layout.columns):
            if not self._is_rest(row):
                self._torn = (row.number, row.count)
                self._miscounted(row)
            return
        if not (lone_cr and any("\r" in cell for cell in row.cells)):
            match = row_patterns(layout, self._text_max).cells.fullmatch(SEPARATOR.join(row.cells))
            if match:
                self._good.append(self._picks(row.cells))
                self._numbers.append(row.number)
                self._last_bad = 0
                return
        if not self._is_rest(row):
            self._cells(row)

    def _is_rest(self, row: CellsRow) -> bool:
        """Whether a line break outside quotes tore it off the row before, which was said: then it is no row itself."""
        before, count = self._torn
        if before != row.number - 1 or count + row.count - 1 > len(self.facts.layout.columns):
            return False
        self._torn = (row.number, count + row.count - 1)
        self._leave_out()
        return True

    def _picks(self, cells: list[str]) -> tuple[str, ...]:
        return tuple([",".join(cells[first : last + 1]) for first, last in self._spans])

    def _is_head(self, cells: list[str]) -> bool:
        """Whether the first row holds the columns' names instead of a record."""
        known = {name for column in self.facts.layout.columns for name in (column.name_ja, column.name_en)}
        return sum(cell.strip() in known for cell in cells) >= min(_HEAD_WORDS, len(self.facts.layout.columns))

    def _miscounted(self, row: CellsRow) -> None:
        """A row with too many or too few cells: said once for each wrong number, for a writer errs in every row."""
        self._leave_out()
        column = self.facts.layout.columns[0]
        bad = check_cell(column, self.facts.name.kind, row.cells[0], self._text_max) if row.cells else None
        if bad and (bad.rests_on == "encoding" or row.cells[0] in CSV_VERSIONS):
            self._say_version(row.number, row.cells[0], bad.code)
        elif self._log.first("TDK-COLUMN-COUNT", self.facts.file, str(row.count)):
            severity: Severity = "warning" if self.facts.layout.kind.columns_inferred else "error"
            wanted = len(self.facts.layout.columns)
            say(self._log, self.facts, "TDK-COLUMN-COUNT", severity, row.number, actual=row.count, expected=wanted)

    def _leave_out(self) -> None:
        self.facts.left_out += 1
        self.facts.keyless += 1

    def _cells(self, row: CellsRow) -> None:
        """Look at the cells one by one, then at the rules that touch none of the bad ones."""
        kind = self.facts.name.kind
        bad: dict[int, tuple[Column, str, str, dict[str, str | int]]] = {}
        for at, (column, value) in enumerate(zip(self.facts.layout.columns, row.cells, strict=True)):
            breach = check_cell(column, kind, value, self._text_max)
            if breach:
                bad[at] = (column, breach.code, breach.rests_on, dict(breach.detail))
                if len(bad) > CELLS_SAID_MAX + 1:
                    self._shifted(row, next(iter(bad)))
                    return
        if len(row.cells) - 1 in bad:
            self._torn = (row.number, row.count)
        self._say_cells(row, bad)
        self._use_rest(row, set(bad))

    def _shifted(self, row: CellsRow, first: int) -> None:
        """A row with so many bad cells is of no use to any other check."""
        self._leave_out()
        column = self.facts.layout.columns[first]
        severity = column.severity("type")
        say(self._log, self.facts, "TDK-ROW-SHIFTED", severity, row.number, column.name_en, cells=CELLS_SAID_MAX + 2)

    def _say_cells(self, row: CellsRow, bad: dict[int, tuple[Column, str, str, dict[str, str | int]]]) -> None:
        if 0 in bad:
            self._say_version(row.number, row.cells[0], bad.pop(0)[1])
        for column, code, rests_on, detail in bad.values():
            severity: Severity = "error" if rests_on in {"encoding", "limit"} else column.severity(rests_on)
            say(self._log, self.facts, code, severity, row.number, column.name_en, **detail)

    def _say_version(self, number: int, value: str, code: str) -> None:
        """The version stands in every row: a wrong one is said once, whatever the file says in its other rows."""
        if code in {"TDK-VALUE", "TDK-REQUIRED"}:
            code = "TDK-VERSIONS-MIXED" if value in CSV_VERSIONS else "TDK-VERSION"
            if not (self._log.first(code, self.facts.file, value) and self._log.first(code, value)):
                return
        say(self._log, self.facts, code, "error", number, "csv_version")

    def _use_rest(self, row: CellsRow, bad: set[int]) -> None:
        picks = self._picks(row.cells)
        spoilt = {
            name
            for name, (first, last) in zip(self._names, self._spans, strict=True)
            if not bad.isdisjoint(range(first, last + 1))
        }
        if not spoilt:
            self._good.append(picks)
            self._numbers.append(row.number)
            return
        self.facts.left_out += 1
        for names, getter, judge in self._rules:
            if spoilt.isdisjoint(names):
                for wrong in _ask(judge, self.facts, self._unit, getter(picks)):
                    self._say_wrong(row.number, wrong)
        for tally in self.tallies:
            if tally.needs.isdisjoint(spoilt):
                tally.add([picks], [row.number])
            elif isinstance(tally, Keys):
                self.facts.keyless += 1


def _ask(judge: Judge, facts: FileFacts, unit: UnitFacts, combination: str | tuple[str, ...]) -> list[Wrong]:
    values = (combination,) if isinstance(combination, str) else combination
    return list(judge(facts, unit, *values))
