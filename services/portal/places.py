"""Findings as a person reads them: whose row it is, which form, line and column, and what stands there.

Person and value are in no event and in no answer of the API: they are filled in from the bytes that the page's server
holds. Pure.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import careplan
from careplan import DataFile, FileName, Finding, Layout
from todoke.client import shapes

_VALUE_MAX = 40
"""Characters of a cell that are shown: a longer one is free text, and its column says enough."""


@dataclasses.dataclass(frozen=True, slots=True)
class Shown:
    """One finding in words. `person` is the insured person's name, `insured` the number, both empty where unknown."""

    code: str
    number: str
    severity: str
    message: str
    advice: str
    file: str | None = None
    form: str = ""
    row: int | None = None
    column: int | None = None
    column_name: str = ""
    person: str = ""
    insured: str = ""
    value: str = ""

    @property
    def place(self) -> tuple[str, str | None, int | None, int | None]:
        """What tells one finding from another."""
        return self.code, self.file, self.row, self.column

    @classmethod
    def of_document(cls, document: Mapping[str, Any]) -> "Shown":
        """A finding as it was kept."""
        return cls(**document)

    def document(self) -> dict[str, Any]:
        """To be kept."""
        return dataclasses.asdict(self)


def shown(findings: Sequence[Finding], files: Iterable[DataFile]) -> list[Shown]:
    """The findings of a message's data files, filled from their bytes, in the order given."""
    readers = {file.name: _Cells(file) for file in files}
    persons = _Persons(readers.values())
    return [_fill(finding, readers.get(finding.file or ""), persons) for finding in findings]


def of_service(finding: shapes.Finding) -> Shown:
    """A finding that the service said, of something that only it looks at."""
    parsed = careplan.parse_name(finding.file) if finding.file else None
    return Shown(
        code=finding.code,
        number=finding.number or "",
        severity=finding.severity,
        message=finding.message,
        advice=finding.advice,
        file=finding.file,
        form=careplan.SHORT_NAMES.get(parsed.kind, "") if parsed else "",
        row=finding.row,
        column=finding.column,
        column_name=finding.column_name or "",
    )


class _Cells:
    """The rows of one data file, read when first asked for."""

    def __init__(self, file: DataFile) -> None:
        self.name: FileName | None = careplan.parse_name(file.name)
        self._file = file
        self._rows: list[tuple[str, ...]] | None = None

    @property
    def layout(self) -> Layout | None:
        """None for a picture and a name that breaks the grammar."""
        if self.name is None or not careplan.KINDS[self.name.csv_version, self.name.kind].columns:
            return None
        return careplan.layout_of(self.name.kind, self.name.csv_version)

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """Row 1 first; empty for a file that cannot be read."""
        if self._rows is None:
            self._rows = careplan.read_rows(self._file).rows if self.layout is not None else []
        return self._rows

    def cell(self, row: int | None, column: int | None) -> str:
        """A cell by its numbers from 1; empty where there is none."""
        if row is None or column is None or not 1 <= row <= len(self.rows):
            return ""
        cells = self.rows[row - 1]
        return cells[column - 1] if 1 <= column <= len(cells) else ""

    def named(self, row: int | None, name_en: str) -> str:
        """A cell by the column's English name; empty where the layout lacks it."""
        layout = self.layout
        return self.cell(row, layout.places[name_en] + 1) if layout is not None and layout.has(name_en) else ""


class _Persons:
    """Names by insured number: most kinds carry the number only."""

    def __init__(self, files: Iterable[_Cells]) -> None:
        self._files = [file for file in files if file.layout is not None and file.layout.has("user_name")]
        self._names: dict[str, str] | None = None

    def name(self, insured: str) -> str:
        """The person's name, or nothing."""
        if self._names is None:
            self._names = {
                file.named(row, "insured_no"): file.named(row, "user_name")
                for file in self._files
                for row in range(1, len(file.rows) + 1)
            }
        return self._names.get(insured, "").strip() if insured else ""


def _fill(finding: Finding, cells: _Cells | None, persons: _Persons) -> Shown:
    insured = cells.named(finding.row, "insured_no") if cells else ""
    person = persons.name(insured)
    value = cells.cell(finding.row, finding.column) if cells else ""
    words = careplan.wording_with_content(finding, _content(finding, cells, person, value))
    kind = cells.name.kind if cells and cells.name else ""
    return Shown(
        code=finding.code,
        number=words.number,
        severity=finding.severity,
        message=words.message,
        advice=words.advice,
        file=finding.file,
        form=careplan.SHORT_NAMES.get(kind, ""),
        row=finding.row,
        column=finding.column,
        column_name=finding.column_name or "",
        person=person,
        insured=insured,
        value=value if len(value) <= _VALUE_MAX else "",
    )


def _content(finding: Finding, cells: _Cells | None, person: str, value: str) -> dict[str, str]:
    """What the wordings with content may name; what is empty is left out, so that the plain wording is used."""
    name = cells.name if cells else None
    found = {"名前": finding.file or "", "氏名": person, "値": value, "コード": value, "日付": value}
    if name is not None:
        found |= {"番号": name.sender_office, "連番": name.sequence, "月": name.target_month or ""}
    if cells is not None:
        found |= {"開始": cells.named(finding.row, "start_time"), "終了": cells.named(finding.row, "end_time")}
    if finding.code == "TDK-NAME-RECIPIENT" and name is not None:
        found["番号"] = name.recipient_office
    return {key: text for key, text in found.items() if text and (len(text) <= _VALUE_MAX or key == "名前")}
