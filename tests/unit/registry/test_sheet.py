"""The list of offices as a file: which headers and lines are taken, and that a reason repeats nothing of a cell."""

import pytest

from services.registry.sheet import LINE_BYTES_MAX, HeaderRefused, LineRefused, Sheet

WHOLE = b"number,name,service_types,prefecture,address,phone,fax,licence_days"
LINE = "9970100018,あおぞら,43 11,練習県,青空市1-1,099-555-0101,,365".encode()


def test_a_whole_line_is_read() -> None:
    listed = Sheet(WHOLE).read(LINE)
    assert listed.number == "9970100018"
    assert listed.values == {
        "name": "あおぞら",
        "service_types": ("43", "11"),
        "prefecture": "練習県",
        "address": "青空市1-1",
        "phone": "099-555-0101",
        "fax": "",
    }


def test_columns_may_be_few_and_in_any_order_behind_a_byte_order_mark() -> None:
    listed = Sheet(b"\xef\xbb\xbfname,number").read(b'"a, ""b""",9970100018')
    assert (listed.number, listed.values) == ("9970100018", {"name": 'a, "b"'})


def test_columns_may_have_the_names_that_people_give_them() -> None:
    listed = Sheet("事業所番号, 事業所名,サービス種類,FAX番号".encode()).read("9970100018,あおぞら,43,".encode())
    assert listed.values == {"name": "あおぞら", "service_types": ("43",), "fax": ""}


@pytest.mark.parametrize(
    ("header", "why"),
    [
        (b"number,names", "column 2 is not known"),
        (b"number", "column name is missing"),
        (b"", "column number is missing"),
        (b"number,name,name", "a column stands twice"),
        (b"number,\xff", "not UTF-8"),
        (b'number,"name', "quotes do not match, or a cell holds a line break"),
    ],
)
def test_a_header_that_names_no_columns_is_refused(header: bytes, why: str) -> None:
    with pytest.raises(HeaderRefused, match=why):
        Sheet(header)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"997010001,secret,,,,,,", "number: not ten characters 0-9 A-Z"),
        (b"997010001a,secret,,,,,,", "number: not ten characters 0-9 A-Z"),
        (b"9970100018, ,,,,,,", "name: empty"),
        (b"9970100018,secret", "2 cells, not 8"),
        (b"9970100018,secret,43 ZZ,,,,,", "service_types: a code that is not known"),
        (b"9970100018,sec\x00ret,,,,,,", "name: a control character"),
        (b"9970100018,secret,,,sec\tret,,,", "address: a control character"),
        (b"9970100018,secret,,,," + b"0" * 31 + b",,", "phone: longer than 30 characters"),
        (b"9970100018,\x82\xa0,,,,,,", "not UTF-8"),
        (b'9970100018,"secret,,,,,,', "quotes do not match, or a cell holds a line break"),
        (b"9970100018," + b"x" * LINE_BYTES_MAX, f"longer than {LINE_BYTES_MAX} bytes"),
    ],
)
def test_a_bad_line_is_refused_without_repeating_it(line: bytes, why: str) -> None:
    with pytest.raises(LineRefused) as refused:
        Sheet(WHOLE).read(line)
    assert str(refused.value) == why


def test_a_number_is_taken_once() -> None:
    sheet = Sheet(WHOLE)
    with pytest.raises(LineRefused):
        sheet.read(LINE.replace(b"43", b"ZZ"))
    sheet.read(LINE)
    with pytest.raises(LineRefused, match="stands twice"):
        sheet.read(LINE)
