"""The list of offices as a file: CSV (RFC 4180), UTF-8 with or without a byte order mark, one office a line.

The first line names the columns: `number` and `name` are needed, `service_types` (codes with spaces between them),
`prefecture`, `address`, `phone` and `fax` are taken when they are there, `licence_days` (of practice lists) is passed
over. Pure: bytes in, rows or reasons out. A reason never repeats what stands in a cell.
"""

import csv
import dataclasses
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from careplan.kinds import SERVICE_TYPES
from careplan.numbers import OfficeNumber

LINE_BYTES_MAX = 4096
"""One line: name and address of some hundred characters, twice over."""

CHARACTERS_MAX: Mapping[str, int] = {"name": 200, "prefecture": 20, "address": 300, "phone": 30, "fax": 30}
"""Longest text of each column."""

NEEDED = ("number", "name")
TAKEN = (*NEEDED, "service_types", "prefecture", "address", "phone", "fax")
PASSED_OVER = ("licence_days",)


class HeaderRefused(Exception):  # noqa: N818 (named for what happened)
    """The first line names no columns that can be read; the text says what is the matter with it."""


class LineRefused(Exception):  # noqa: N818 (named for what happened)
    """A line that is not taken; the text says why."""


@dataclasses.dataclass(frozen=True, slots=True)
class Listed:
    """One office of a list: its number, and the columns that the list has (service types as a tuple of codes)."""

    number: str
    values: Mapping[str, Any]


class Sheet:
    """The columns of one list, and how its lines are read. A number is taken once."""

    def __init__(self, header: bytes) -> None:
        names = _cells(header.removeprefix(b"\xef\xbb\xbf"), HeaderRefused)
        unknown = [place for place, name in enumerate(names, 1) if name not in (*TAKEN, *PASSED_OVER)]
        if unknown:
            raise HeaderRefused(f"column {unknown[0]} is not known")
        if missing := [name for name in NEEDED if name not in names]:
            raise HeaderRefused(f"column {missing[0]} is missing")
        if len(set(names)) < len(names):
            raise HeaderRefused("a column stands twice")
        self._names = names
        self._seen: set[str] = set()

    def read(self, line: bytes) -> Listed:
        """One line. Raises `LineRefused`."""
        if len(line) > LINE_BYTES_MAX:
            raise LineRefused(f"longer than {LINE_BYTES_MAX} bytes")
        cells = _cells(line, LineRefused)
        if len(cells) != len(self._names):
            raise LineRefused(f"{len(cells)} cells, not {len(self._names)}")
        row = dict(zip(self._names, cells, strict=True))
        number = row["number"]
        if not OfficeNumber.fits(number):
            raise LineRefused("number: not ten characters 0-9 A-Z")
        values: dict[str, Any] = {name: _text(name, row[name]) for name in CHARACTERS_MAX if name in row}
        if not values["name"]:
            raise LineRefused("name: empty")
        if "service_types" in row:
            values["service_types"] = _service_types(row["service_types"])
        if number in self._seen:
            raise LineRefused("number: stands twice in this list")
        self._seen.add(number)
        return Listed(number, values)


def _cells(line: bytes, refused: type[Exception]) -> Sequence[str]:
    try:
        text = line.decode()
    except UnicodeDecodeError:
        raise refused("not UTF-8") from None
    try:
        return next(csv.reader([text], strict=True))
    except (csv.Error, StopIteration):
        raise refused("quotes do not match, or a cell holds a line break") from None


def _text(name: str, cell: str) -> str:
    text = cell.strip()
    if len(text) > CHARACTERS_MAX[name]:
        raise LineRefused(f"{name}: longer than {CHARACTERS_MAX[name]} characters")
    if any(unicodedata.category(each) in {"Cc", "Cs"} for each in text):
        raise LineRefused(f"{name}: a control character")
    return text


def _service_types(cell: str) -> tuple[str, ...]:
    codes = tuple(cell.split())
    if any(code not in SERVICE_TYPES for code in codes):
        raise LineRefused("service_types: a code that is not known")
    return codes
