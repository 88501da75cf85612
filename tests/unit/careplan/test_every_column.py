"""Every column of every layout: each cell of the standard's table is broken once, and exactly that is said."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import careplan
from careplan import Column, Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.unit.careplan.conftest import MessageSet

FOLDERS = (
    "202208/plan_12_to_provider_a",
    "202208/plan_67_to_provider_a",
    "202208/results_from_provider_a",
    "202208/delete_form1",
    "202208/delete_plan",
    "202208/delete_results",
    "202407/plan_123_to_provider_a",
    "202407/plan_67_to_provider_a",
    "202407/results_from_provider_a",
    "202407/delete_form1",
    "202407/delete_plan",
    "202407/delete_results",
    "202407/prevention_basic",
    "202407/prevention_plan",
    "202407/prevention_plan_67",
    "202407/prevention_delete_basic",
    "202407/prevention_delete_plan",
)


def damages(column: Column) -> Iterator[tuple[str, str, str]]:
    """Value, code, and the cell of the table that the rule rests on."""
    length = column.max_length or 0
    if column.type == "unused":
        return
    if column.required == "yes":
        yield "", "TDK-REQUIRED", "required"
    if column.allowed:
        for value in {"7" * length, "8" * length} - set(column.allowed):
            yield value, "TDK-VALUE", "allowed"
        yield "１", "TDK-VALUE", "allowed"
        yield next(iter(column.allowed)) + "0", "TDK-VALUE", "allowed"
        return
    if column.type == "text":
        if column.max_length:
            yield "1" * (length + 1), "TDK-FORMAT", "max_length"
        yield "a\x00b", "TDK-NUL", "encoding"
        return
    by_type = {
        "digits": [
            ("9" * (length + 1), "max_length"),
            ("9" * (length - 1), "max_length"),
            ("9" * (length - 1) + "A", "type"),
        ],
        "alnum": [
            ("9" * (length + 1), "max_length"),
            ("9" * (length - 1), "max_length"),
            ("9" * (length - 1) + "a", "type"),
        ],
        "id": [("9" * (length + 1), "max_length"), ("-", "type"), ("a", "type")],
        "insured": [("900000001", "type"), ("90000000111", "type"), ("A990000012", "type"), ("H99000001X", "type")],
        "date8": [
            ("2025011", "type"),
            ("202501200", "type"),
            ("2025-1-2", "type"),
            ("20250229", "real"),
            ("20251301", "real"),
            ("99999999", "real"),
            ("20250931", "real"),
            ("19000229", "real"),
            ("00000101", "real"),
        ],
        "month6": [("20251", "type"), ("2025-1", "type"), ("202513", "real"), ("202500", "real")],
        "time4": [
            ("900", "type"),
            ("09:00", "type"),
            ("2500", "real"),
            ("1060", "real"),
            ("2401", "real"),
            ("99", "type"),
        ],
        "integer": [
            ("1" * (length + 1), "max_length"),
            ("-" + "1" * length, "max_length"),
            ("x", "type"),
            ("1.5"[: max(length, 2)], "type"),
            ("+", "type"),
            ("-", "type"),
            ("１", "type"),
        ],
        "decimal": [("1000.00", "max_length"), ("10", "type"), ("10.0", "type"), ("1,0", "type"), ("-1.00", "type")],
        "flags31": [("1" * 30, "type"), ("1" * 32, "type"), ("2" + "0" * 30, "type")],
        "postal": [("9990011", "type"), ("99-0011", "type"), ("９９９-００１１", "type")],
        "phone": [("0" * (length + 1), "max_length"), ("０９９", "type")],
        "tais": [("00123000045", "type"), ("0012-000045", "type"), ("00123-00004", "type"), ("00123-0000456", "type")],
    }[column.type]
    for value, cell in by_type:
        yield value, "TDK-VALUE" if cell == "real" else "TDK-FORMAT", "type" if cell == "real" else cell
    yield "\ue000", "TDK-GAIJI", "encoding"


CASES = [
    pytest.param(folder, kind, column.name_en, id=f"{folder}-{kind}-{column.name_en}")
    for folder in FOLDERS
    for kind in sorted(
        {name.kind for file, _ in careplan.sample_sets()[folder] for name in [careplan.parse_name(file)] if name}
    )
    for column in careplan.layout_of(kind, folder[:6]).columns
    if column.name_en != "csv_version"
]


@pytest.mark.parametrize(("folder", "kind", "column"), CASES)
def test_a_broken_cell_is_said_once_and_where_it_stands(
    sets: type[MessageSet], folder: str, kind: str, column: str
) -> None:
    place = sets.of(folder).layout(kind).column(column)
    for value, code, rests_on in damages(place):
        broken = sets.of(folder)
        number = len(broken.rows[kind])
        broken.set(kind, number, column, value)
        if "\x00" in value or "\ue000" in value:
            broken.raw[kind] = raw_with(broken, kind, value)
        said = broken.check().findings
        severity = "error" if rests_on == "encoding" else place.severity(rests_on)
        assert [where(each) for each in said] == [(code, severity, broken.names[kind], number, place.no)], value
        assert said[0].column_name == place.name_ja


def where(finding: Finding) -> tuple[str, str, str | None, int | None, int | None]:
    return finding.code, finding.severity, finding.file, finding.row, finding.column


def raw_with(broken: MessageSet, kind: str, value: str) -> bytes:
    """The writer replaces what may not be written, so the byte is put in by hand."""
    mark = "@@MARK@@"
    layout = broken.layout(kind)
    rows = [[mark if cell == value else cell for cell in row] for row in broken.rows[kind]]
    data = careplan.write_rows(kind, layout.kind.csv_version, rows)
    return data.replace(mark.encode(), value.encode("cp932"))
