"""Bytes: what is read alike, and damage to the frame of a file, each said once at its place."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import careplan
from careplan import DataFile

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.careplan.conftest import MessageSet

    Sets = type[MessageSet]

RESULTS = "202407/results_from_provider_a"
PLAN_123 = "202407/plan_123_to_provider_a"
PLAN_67_OLD = "202208/plan_67_to_provider_a"


def damaged(sets: Sets, change: Callable[[bytes], bytes], folder: str = RESULTS, kind: str = "UPJSK") -> MessageSet:
    broken = sets.of(folder)
    broken.raw[kind] = change(broken.bytes_of(kind))
    return broken


def unquoted(data: bytes) -> bytes:
    return data.replace(b'"', b"")


def all_quoted(data: bytes) -> bytes:
    return b"".join(b'"' + b'","'.join(unquoted(line).split(b",")) + b'"\r\n' for line in data.splitlines())


READ_ALIKE: dict[str, Callable[[bytes], bytes]] = {
    "LF": lambda data: data.replace(b"\r\n", b"\n"),
    "LF and CRLF": lambda data: data.replace(b"\r\n", b"\n", 3),
    "all bare": unquoted,
    "all quoted, nulls too": all_quoted,
    "some quoted": lambda data: data.replace(b",202509,", b',"202509",', 4),
}


@pytest.mark.parametrize("change", READ_ALIKE.values(), ids=READ_ALIKE)
def test_forms_that_are_read_alike(sets: Sets, change: Callable[[bytes], bytes]) -> None:
    as_written = sets.of(RESULTS)
    other = damaged(sets, change)
    assert not other.check().findings
    name = other.names["UPJSK"]
    rows = careplan.read_rows(DataFile(name, other.raw["UPJSK"])).rows
    assert [list(row) for row in rows] == as_written.rows["UPJSK"]


@pytest.mark.parametrize(
    "text", ["①㈱Ⅲ髙﨑～－∥", "ﾐﾎﾝ ﾊﾅｺ", "a,b", "一行目\r\n二行目", "一行目\n二行目", '"引用"', "\t字下げ", "纊ⅰ￤＇＂"]
)
def test_texts_of_ms932_with_commas_quotes_and_line_breaks_are_kept(sets: Sets, text: str) -> None:
    plan = sets.of(PLAN_123).set("UP1KYO", 1, "overall_policy", text)
    assert not plan.check().findings
    assert plan.bytes_of("UP1KYO").decode("cp932").count(text.replace('"', '""')) == 1


DAMAGE: list[tuple[str, Callable[[bytes], bytes], str, str, int | None, int | None]] = [
    ("UTF-8 with mark", lambda d: d.decode("cp932").encode("utf-8-sig"), "TDK-ENCODING-UTF8", "error", 1, None),
    ("UTF-8", lambda d: d.decode("cp932").encode("utf-8"), "TDK-ENCODING-UTF8", "error", 1, None),
    ("UTF-16", lambda d: d.decode("cp932").encode("utf-16"), "TDK-ENCODING", "error", 1, 1),
    ("UTF-16 without mark", lambda d: d.decode("cp932").encode("utf-16-le"), "TDK-ENCODING", "error", 1, 1),
    (
        "ISO-2022-JP",
        lambda d: d.decode("cp932").replace("髙", "高").encode("iso2022-jp"),
        "TDK-ENCODING",
        "error",
        1,
        1,
    ),
    ("lead byte before the quote", lambda d: nth(d, b'"', 7, b'\x81"'), "TDK-ENCODING", "error", 2, 21),
    ("undefined pair", lambda d: nth(d, b'",', 3, b'\x81\xad",'), "TDK-ENCODING", "error", 2, 7),
    ("byte 80", lambda d: nth(d, b'",', 3, b'\x80",'), "TDK-ENCODING", "error", 2, 7),
    ("byte A0", lambda d: nth(d, b'",', 3, b'\xa0",'), "TDK-ENCODING", "error", 2, 7),
    ("byte FD", lambda d: nth(d, b'",', 4, b'\xfd",'), "TDK-ENCODING", "error", 2, 21),
    ("byte FF", lambda d: nth(d, b'",', 4, b'\xff",'), "TDK-ENCODING", "error", 2, 21),
    ("first user-defined character", lambda d: nth(d, b'",', 3, b'\xf0\x40",'), "TDK-GAIJI", "error", 2, 7),
    ("last user-defined character", lambda d: nth(d, b'",', 4, b'\xf9\xfc",'), "TDK-GAIJI", "error", 2, 21),
    ("NUL", lambda d: nth(d, b'",', 4, b'\x00",'), "TDK-NUL", "error", 2, 21),
    ("NUL in a number", lambda d: nth(d, b"202407", 3, b"2024\x007"), "TDK-NUL", "error", 3, 1),
    ("escape", lambda d: nth(d, b'",', 4, b'\x1b",'), "TDK-CONTROL", "error", 2, 21),
    ("delete", lambda d: nth(d, b'",', 4, b'\x7f",'), "TDK-CONTROL", "error", 2, 21),
    ("CR alone in quotes", lambda d: nth(d, b'",', 4, b'\rx",'), "TDK-FRAMING", "error", 2, 21),
    ("CR alone between cells", lambda d: nth(d, b",9970100018", 2, b"\r,9970100018"), "TDK-FRAMING", "error", 2, 5),
    ("CR for line ends", lambda d: d.replace(b"\r\n", b"\r"), "TDK-FRAMING", "error", 1, 25),
    ("quote not closed", lambda d: nth(d, b'",', 4, b","), "TDK-FRAMING", "error", 2, 21),
    ("last quote not closed", lambda d: d[: d.rindex(b'"')] + d[d.rindex(b'"') + 1 :], "TDK-FRAMING", "error", 16, 21),
    ("quote not opened", lambda d: nth(d, b',"', 4, b","), "TDK-FRAMING", "error", 2, 21),
    ("text after the quote", lambda d: nth(d, b'",', 4, b'"x,'), "TDK-FRAMING", "error", 2, 21),
    ("quote not doubled", lambda d: nth(d, b'",', 4, b'"x",'), "TDK-FRAMING", "error", 2, 21),
    ("quote in a number", lambda d: nth(d, b"202509,", 2, b'2025"09,'), "TDK-FRAMING", "error", 2, 5),
    ("end of file in a row", lambda d: d[:-9], "TDK-COLUMN-COUNT", "error", 16, None),
    ("a cell more", lambda d: nth(d, b"\r\n", 2, b",\r\n"), "TDK-COLUMN-COUNT", "error", 2, None),
    ("a cell less", lambda d: nth(d, b",\r\n", 2, b"\r\n"), "TDK-COLUMN-COUNT", "error", 2, None),
    ("a bare comma in a text", lambda d: nth(d, b'\x8c\xa9\x96\x7b"', 2, b'\x8c\xa9,\x96\x7b"'), "", "", None, None),
    ("every row a cell more", lambda d: d.replace(b"\r\n", b",\r\n"), "TDK-COLUMN-COUNT", "error", 1, None),
    ("tabs for commas", lambda d: d.replace(b",", b"\t"), "TDK-FRAMING", "error", 1, 1),
    ("a line broken in two", lambda d: nth(d, b",9970100018", 5, b"\r\n,9970100018"), "", "error", 3, None),
    ("rubbish", lambda _: b"%PDF-1.7\r\n", "TDK-COLUMN-COUNT", "error", 1, None),
    ("nothing", lambda _: b"", "TDK-EMPTY-FILE", "error", None, None),
    ("blank lines only", lambda _: b"\r\n\r\n", "", "", None, None),
    ("no last line end", lambda d: d[:-2], "TDK-LAST-LINE-END", "warning", 16, None),
    ("a blank line", lambda d: nth(d, b"\r\n", 3, b"\r\n\r\n"), "TDK-BLANK-LINE", "warning", 3, None),
    ("blank lines at the end", lambda d: d + b"\r\n\r\n", "TDK-BLANK-LINE", "warning", 16, None),
    (
        "a text of 10,001 characters",
        lambda d: nth(d, b'",', 4, b"x" * 9_990 + b'",'),
        "TDK-TEXT-LENGTH",
        "error",
        2,
        21,
    ),
    ("a line of 10 MB", lambda d: nth(d, b'",', 4, b"x" * 10_000_000 + b'",'), "TDK-LINE-LENGTH", "error", 2, None),
    (
        "shifted cells",
        lambda d: nth(d, b"999011,", 2, b"").replace(b",\r\n", b",,\r\n", 2).replace(b",,\r\n", b",\r\n", 1),
        "TDK-ROW-SHIFTED",
        "error",
        2,
        2,
    ),
]


def nth(data: bytes, what: bytes, number: int, by: bytes) -> bytes:
    """Replace the nth occurrence, counted from 1."""
    parts = data.split(what)
    assert len(parts) > number
    return what.join(parts[:number]) + by + what.join(parts[number:])


@pytest.mark.parametrize(
    ("change", "code", "severity", "row", "column"), [case[1:] for case in DAMAGE], ids=[case[0] for case in DAMAGE]
)
def test_damage_is_said_once_where_it_is(
    sets: Sets, change: Callable[[bytes], bytes], code: str, severity: str, row: int | None, column: int | None
) -> None:
    report = damaged(sets, change).check()
    if code:
        assert [(f.code, f.severity, f.row, f.column) for f in report.findings] == [(code, severity, row, column)]
    assert report.errors or severity == "warning" or not severity


def test_a_head_row_is_said_once(sets: Sets) -> None:
    names = ",".join(column.name_ja for column in sets.of(RESULTS).layout("UPJSK").columns)
    damaged(sets, lambda data: names.encode("cp932") + b"\r\n" + data).only("TDK-HEAD-ROW", "UPJSK", 1, None)


def test_rows_of_the_wrong_length_are_warnings_where_the_number_is_inferred(sets: Sets) -> None:
    short = sets.of(PLAN_67_OLD)
    short.raw["UPPLAN"] = nth(short.bytes_of("UPPLAN"), b",\r\n", 2, b"\r\n")
    short.only("TDK-COLUMN-COUNT", "UPPLAN", 2, None, "warning")


@pytest.mark.parametrize("kind", ["UPHOSOKU", "UPSIKYU"])
def test_old_files_with_the_date_of_201910_are_read(sets: Sets, kind: str) -> None:
    longer = sets.of(PLAN_67_OLD)
    place = longer.layout(kind).places["updater_office"]
    lines = longer.bytes_of(kind).split(b"\r\n")[:-1]
    cells = [line.split(b",") for line in lines]
    longer.raw[kind] = b"".join(b",".join([*row[:place], b"20250225", *row[place:]]) + b"\r\n" for row in cells)
    assert not longer.check().findings
    read = careplan.read_rows(DataFile(longer.names[kind], longer.raw[kind]))
    assert [list(row) for row in read.rows] == longer.rows[kind]
    longer.raw[kind] = longer.raw[kind].replace(b",20250225,9970100018,", b",2025022x,9970100018,", 1)
    longer.only("TDK-COLUMN-COUNT", kind, 1, None, "warning")


def test_midnight_is_read_in_both_forms(sets: Sets) -> None:
    late = sets.of(RESULTS)
    late.set("UPJSK", 1, "start_time", "2300").set("UPJSK", 1, "end_time", "0000")
    late.set("UPJSK", 2, "start_time", "0000").set("UPJSK", 2, "end_time", "2400")
    assert not late.check().findings


def test_negative_units_are_read(sets: Sets) -> None:
    assert not sets.of(RESULTS).set("UPJSK", 1, "units", "-12345").check().findings


def test_several_satellites_may_stand_in_one_file(sets: Sets) -> None:
    results = sets.of(RESULTS)
    results.rows["UPJSK"].append(list(results.rows["UPJSK"][0]))
    results.set("UPJSK", 17, "satellite_no", "1")
    results.rows["UPJSK"].append(list(results.rows["UPJSK"][0]))
    results.set("UPJSK", 18, "satellite_no", "A2")
    assert not results.check().findings


def test_the_count_of_findings_is_whole_and_their_list_is_not(sets: Sets) -> None:
    many = sets.of(RESULTS)
    many.rows["UPJSK"] = [[*many.rows["UPJSK"][0][:9], "x", *many.rows["UPJSK"][0][10:]] for _ in range(3_000)]
    report = many.check()
    assert report.errors == 3_000
    assert len(report.findings) == careplan.FINDINGS_MAX
    assert report.per_file[many.names["UPJSK"]].errors == 3_000
