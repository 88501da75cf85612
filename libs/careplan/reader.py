"""Bytes → rows. Damage becomes a finding, never an exception.

Two ways lead through a file. The fast one runs the layout's row pattern over the text and yields the captured picks of
good rows, many at a time. Where it stops, the slow one goes on: rows are framed one by one, taken apart and handed out
as cells. Both are linear in the size and hold no more than the text and one batch.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Final

from careplan.encoding import decode, is_utf8
from careplan.findings import Finding
from careplan.layout import Layout, layout_of
from careplan.names import parse_name
from careplan.numbers import is_real_day

if TYPE_CHECKING:
    from collections.abc import Iterator

_QUOTED = '"[^"]*+(?:""[^"]*+)*+"'
_BARE = '[^",\\r\\n]*+'
_CELL = re.compile(f"(?:{_QUOTED}|{_BARE})")
_ROW = re.compile(f"((?:{_QUOTED}|{_BARE})(?:,(?:{_QUOTED}|{_BARE}))*+)(?:\\r?\\n|\\Z)")
_CELLS = re.compile(f"({_QUOTED}|{_BARE}),")
_BLANK = re.compile("[ \\t]*+(?:\\r?\\n|\\Z)")

LINE_MAX: Final = 2_000_000
"""Characters of a line: 71 items of 10,000 characters, every one of them a doubled quote, are 1.4 million."""

CELLS_MAX: Final = 1_000
"""Cells of a row that are taken apart; a longer row is only counted (the widest layout has 71)."""


@dataclass(frozen=True, slots=True)
class DataFile:
    """A file as it was sent."""

    name: str
    data: bytes


@dataclass(slots=True)
class CellsRow:
    """A row taken apart: its cells without quotes, "" for null. ``count`` may exceed the cells of a huge row."""

    number: int
    cells: list[str]
    count: int


@dataclass(frozen=True, slots=True)
class Damage:
    """The frame of the file breaks here, and nothing after this place can be read."""

    code: str
    row: int
    column: int | None


@dataclass(frozen=True, slots=True)
class Oddity:
    """A blank line after row ``row``, or a last line without an end: readable, but worth a warning."""

    code: str
    row: int


@dataclass(frozen=True, slots=True)
class ReadResult:
    """The rows of a file, row 1 first, each the text of its cells ("" for null), and what was wrong with the frame."""

    rows: list[tuple[str, ...]]
    findings: list[Finding]


def text_of(data: bytes) -> str | Damage:
    """The text of a file, or where its encoding breaks or a line does not end."""
    text = decode(data)
    if isinstance(text, str):
        long_at = _long_line(text)
        return text if long_at is None else replace(_place(text[:long_at], "TDK-LINE-LENGTH"), column=None)
    if text == 0 and is_utf8(data):
        return Damage("TDK-ENCODING-UTF8", 1, None)
    return _place(data[:text].decode("cp932", "replace"), "TDK-ENCODING")


def _long_line(text: str) -> int | None:
    """Where a line begins that is longer than any row can be."""
    at = 0
    while len(text) - at > LINE_MAX:
        end = text.find("\n", at, at + LINE_MAX + 1)
        if end < 0:
            return at
        at = end + 1
    return None


def frames(text: str, at: int = 0, number: int = 1) -> Iterator[CellsRow | Damage | Oddity]:
    """The rows of ``text`` from offset ``at`` on, which is the start of row ``number``."""
    end = len(text)
    blank_said = False
    while at < end:
        blank = _BLANK.match(text, at)
        if blank:
            if not blank_said:
                blank_said = True
                yield Oddity("TDK-BLANK-LINE", max(number - 1, 1))
            at = blank.end()
            continue
        row = _ROW.match(text, at)
        if row is None:
            yield _broken(text, at, number)
            return
        raw = row[1]
        count = raw.count(",") + 1
        if count > CELLS_MAX:
            yield CellsRow(number, [], _cells_in(raw))
        else:
            cells = raw.split(",") if '"' not in raw else [plain(cell) for cell in _CELLS.findall(raw + ",")]
            yield CellsRow(number, cells, len(cells))
        at = row.end()
        number += 1
        if at == end and text[at - 1] != "\n":
            yield Oddity("TDK-LAST-LINE-END", number - 1)


def plain(cell: str) -> str:
    """A cell without the quotes that free text stands in."""
    return cell[1:-1].replace('""', '"') if cell.startswith('"') else cell


def _cells_in(raw: str) -> int:
    return sum(1 for _ in _CELLS.finditer(raw + ","))


def _broken(text: str, at: int, number: int) -> Damage:
    """Where in row ``number``, which starts at ``at``, the frame breaks: the first cell that does not end."""
    column = 1
    while True:
        cell = _CELL.match(text, at)
        after = cell.end() if cell else at
        if cell is None or text[after : after + 1] != ",":
            break
        at = after + 1
        column += 1
    return Damage("TDK-FRAMING", number, column)


def _place(before: str, code: str) -> Damage:
    """Row and column of the place right after the text ``before``, which may end inside a quoted cell."""
    number, at = 1, 0
    while at < len(before):
        row = _BLANK.match(before, at) or _ROW.match(before, at)
        if row is None or before[row.end() - 1] != "\n":
            break
        number += 0 if row.re is _BLANK else 1
        at = row.end()
    return Damage(code, number, _broken(before, at, number).column)


def batches(pattern: re.Pattern[str], text: str) -> Iterator[tuple[list[tuple[str, ...]], int]]:
    """The picks of good rows from the start of ``text`` on, a batch at a time, and the offset behind each batch.

    The last offset is short of ``len(text)`` when a row was not good; small files are then given back from the start.
    """
    if len(text) <= _ONE_BATCH:
        rows = pattern.findall(text)
        whole = not rows or bool(rows[-1][0])
        yield (rows, len(text)) if whole else ([], 0)
        return
    matches = pattern.finditer(text)
    while batch := list(islice(matches, _BATCH_ROWS)):
        bad = batch.pop() if batch[-1][1] is None else None
        at = bad.start() if bad else batch[-1].end()
        yield [match.groups("") for match in batch], at


_ONE_BATCH = 262_144  # characters: about 2,000 rows of form 6, a few MB of captured strings
_BATCH_ROWS = 2_048


def read_rows(file: DataFile, layout: Layout | None = None) -> ReadResult:
    """The rows of a data file, whatever state it is in; the file's kind and version come from its name.

    Quoted and bare cells, CRLF and LF are read alike; a quoted null is a null. Rows of the wrong length are handed out
    as they are, with a finding; the date 登録日 that some 202208 files hold before 更新業者コード is left out, so
    that every column stands where the layout says. Only the frame is judged here: ``check_unit`` judges the rest.
    """
    name = parse_name(file.name)
    if layout is None:
        if name is None or name.branch is not None:
            return ReadResult([], [Finding("TDK-NAME", "error", file.name)])
        layout = layout_of(name.kind, name.csv_version)
    text = text_of(file.data)
    if isinstance(text, Damage):
        return ReadResult([], [Finding(text.code, "error", file.name, text.row, text.column)])
    rows: list[tuple[str, ...]] = []
    findings: list[Finding] = []
    for found in frames(text):
        match found:
            case CellsRow():
                drop_spare(layout, found)
                if found.count != len(layout.columns):
                    findings.append(miscounted(file.name, layout, found))
                rows.append(tuple(found.cells))
            case Damage():
                findings.append(Finding(found.code, "error", file.name, found.row, found.column))
            case Oddity():
                findings.append(Finding(found.code, "warning", file.name, found.row))
    return ReadResult(rows, findings)


def drop_spare(layout: Layout, row: CellsRow) -> None:
    """Take the date 登録日 out of a row that has it, so that the columns behind it stand where the layout says."""
    if layout.spare_at is None or len(row.cells) != len(layout.columns) + 1:
        return
    if is_real_day(row.cells[layout.spare_at]):
        del row.cells[layout.spare_at]
        row.count -= 1


def miscounted(file: str, layout: Layout, row: CellsRow) -> Finding:
    """The finding for a row that has more or fewer cells than its layout has columns."""
    return Finding(
        "TDK-COLUMN-COUNT",
        "warning" if layout.kind.columns_inferred else "error",
        file,
        row.number,
        detail={"actual": row.count, "expected": len(layout.columns)},
    )
