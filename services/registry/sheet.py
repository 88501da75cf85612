"""The list of offices as a file: CSV (RFC 4180), UTF-8 with or without a byte order mark, one office a line.

The first line names the columns, in English or in Japanese (`COLUMNS`): `number` and `name` are needed, `service_types`
(codes with spaces between them), `prefecture`, `address`, `phone` and `fax` are taken when they are there,
`licence_days` (of practice lists) is passed over. Pure: bytes in, rows or reasons out. A reason never repeats what
stands in a cell.
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

COLUMNS: Mapping[str, str] = {
    "number": "事業所番号",
    "name": "事業所名",
    "service_types": "サービス種類",
    "prefecture": "都道府県",
    "address": "住所",
    "phone": "電話番号",
    "fax": "FAX番号",
}
"""The columns that are taken, and what people call them."""

NEEDED = ("number", "name")
PASSED_OVER = ("licence_days",)
_NAMES = {**{name: name for name in (*COLUMNS, *PASSED_OVER)}, **{told: name for name, told in COLUMNS.items()}}


class Refused(Exception):  # noqa: N818 (named for what happened)
    """Something that is not taken.

    `code` names its row in the kit's table of sentences, `fill` goes into it; `column` is the place of the column (from
    1) and `name` what people call it, where one is to blame. The text says the same in English.
    """

    def __init__(self, code: str, text: str, *, column: int | None = None, name: str = "", **fill: str | int) -> None:
        super().__init__(text)
        self.code = code
        self.column = column
        self.name = name
        self.fill = fill


class HeaderRefused(Refused):
    """The first line names no columns that can be read."""


class LineRefused(Refused):
    """A line that is not taken."""


@dataclasses.dataclass(frozen=True, slots=True)
class Listed:
    """One office of a list: its number, and the columns that the list has (service types as a tuple of codes)."""

    number: str
    values: Mapping[str, Any]


class Sheet:
    """The columns of one list, and how its lines are read. A number is taken once."""

    def __init__(self, header: bytes) -> None:
        try:
            told = _cells(header.removeprefix(b"\xef\xbb\xbf"))
        except LineRefused as refused:
            raise HeaderRefused("TDK-LIST-HEADER", str(refused)) from None
        names = [_NAMES.get(cell.strip(), "") for cell in told]
        if "" in names:
            place = names.index("") + 1
            raise HeaderRefused("TDK-LIST-COLUMN-UNKNOWN", f"column {place} is not known", column=place)
        if missing := [name for name in NEEDED if name not in names]:
            label = COLUMNS[missing[0]]
            raise HeaderRefused("TDK-LIST-COLUMN-MISSING", f"column {missing[0]} is missing", name=label)
        if len(set(names)) < len(names):
            raise HeaderRefused("TDK-LIST-COLUMN-TWICE", "a column stands twice")
        self._names = names
        self._seen: set[str] = set()

    def read(self, line: bytes) -> Listed:
        """One line. Raises `LineRefused`."""
        if len(line) > LINE_BYTES_MAX:
            raise LineRefused("TDK-LINE-LONG", f"longer than {LINE_BYTES_MAX} bytes")
        cells = _cells(line)
        if len(cells) != len(self._names):
            raise LineRefused("TDK-LINE-CELLS", f"{len(cells)} cells, not {len(self._names)}")
        row = dict(zip(self._names, cells, strict=True))
        number = row["number"]
        if not OfficeNumber.fits(number):
            raise self._refused("number", "TDK-LINE-NUMBER", "not ten characters 0-9 A-Z")
        values: dict[str, Any] = {name: self._text(name, row[name]) for name in CHARACTERS_MAX if name in row}
        if not values["name"]:
            raise self._refused("name", "TDK-LINE-NAME", "empty")
        if "service_types" in row:
            values["service_types"] = self._service_types(row["service_types"])
        if number in self._seen:
            raise self._refused("number", "TDK-LINE-TWICE", "stands twice in this list")
        self._seen.add(number)
        return Listed(number, values)

    def _text(self, name: str, cell: str) -> str:
        text, longest = cell.strip(), CHARACTERS_MAX[name]
        if len(text) > longest:
            raise self._refused(name, "TDK-LINE-TEXT", f"longer than {longest} characters", characters=longest)
        if any(unicodedata.category(each) in {"Cc", "Cs"} for each in text):
            raise self._refused(name, "TDK-LINE-CONTROL", "a control character")
        return text

    def _service_types(self, cell: str) -> tuple[str, ...]:
        codes = tuple(cell.split())
        if any(code not in SERVICE_TYPES for code in codes):
            raise self._refused("service_types", "TDK-LINE-SERVICE", "a code that is not known")
        return codes

    def _refused(self, name: str, code: str, text: str, **fill: str | int) -> LineRefused:
        place = self._names.index(name) + 1
        return LineRefused(code, f"{name}: {text}", column=place, name=COLUMNS[name], **fill)


def _cells(line: bytes) -> Sequence[str]:
    """Raises `LineRefused`."""
    try:
        text = line.decode()
    except UnicodeDecodeError:
        raise LineRefused("TDK-LINE-ENCODING", "not UTF-8") from None
    try:
        return next(csv.reader([text], strict=True))
    except (csv.Error, StopIteration):
        raise LineRefused("TDK-LINE-QUOTES", "quotes do not match, or a cell holds a line break") from None
