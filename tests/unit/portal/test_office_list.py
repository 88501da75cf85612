"""Lists of offices as files: which are lists, in which encoding they are, and that nothing of a line gets lost."""

import hashlib

import pytest

from services.portal.office_list import BOM, BROKEN, LIST_BYTES_MAX, REST_BYTES_MAX, Encoding, Look, NoList, Recoder

TEXT = "事業所番号,事業所名,住所\r\n" + "".join(
    f"99701{n:05d},あおぞら介護～{n}①,練習県青空市{n}番\r\n" for n in range(50)
)


def looked(data: bytes, step: int) -> Look:
    look = Look()
    for start in range(0, len(data), step):
        look.feed(data[start : start + step])
    return look


def recoded(data: bytes, encoding: Encoding, step: int) -> tuple[bytes, int]:
    recoder = Recoder(encoding)
    pieces = [recoder.feed(data[start : start + step]) for start in range(0, len(data), step)]
    return b"".join([*pieces, recoder.end()]), recoder.lines


@pytest.mark.parametrize("step", [1, 7, 1000, 10**6])
@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        (TEXT.encode(), "utf-8"),
        (TEXT.encode("utf-8-sig"), "utf-8"),
        (TEXT.encode("cp932"), "cp932"),
        (TEXT.encode("cp932").rstrip(), "cp932"),
        (b"number,name\n9970100018,abc\n", "utf-8"),
    ],
    ids=["utf-8", "with-mark", "cp932", "without-last-end", "ascii"],
)
def test_what_people_have_is_read_however_it_is_cut(data: bytes, encoding: Encoding, step: int) -> None:
    look = looked(data, step)
    assert look.encoding() == encoding
    assert look.lines == len(data.splitlines())
    assert look.digest() == hashlib.sha256(data).hexdigest()
    text, lines = recoded(data, encoding, step)
    assert text == data.decode(encoding).encode()
    assert lines == look.lines


def test_the_first_lines_are_shown_in_their_cells() -> None:
    look = looked(BOM + '番号,名前\r\n1,"a, b"\r\n2,い\r\n3,う\r\n4,え\r\n'.encode(), 5)
    assert look.shown(look.encoding()) == [["番号", "名前"], ["1", "a, b"], ["2", "い"], ["3", "う"]]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "TDK-LIST-EMPTY"),
        (b" \r\n\r\n", "TDK-LIST-EMPTY"),
        (b"PK\x03\x04" + bytes(range(1, 200)), "E-720"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1", "E-720"),
        (b"number,name\n\0\0\n", "E-720"),
        (TEXT.encode("utf-16"), "E-721"),
        (TEXT.encode("utf-16-be", "replace"), "E-720"),
        (TEXT.replace("①", "").replace("～", "").encode("euc_jp"), "E-721"),
        (TEXT.replace("①", "").replace("～", "").encode("iso2022_jp"), "E-721"),
        (b"number,name\n" + b"9970100018,\xff\xfe\xfd\n" * 9, "E-721"),
    ],
)
def test_what_is_no_list_is_told_apart(data: bytes, code: str) -> None:
    with pytest.raises(NoList) as refused:
        looked(data, 11).encoding()
    assert refused.value.code == code


def test_a_file_that_is_too_large_is_refused_while_it_comes() -> None:
    look, piece = Look(), b"9970100018,abcd\n" * 65_536
    for _ in range(LIST_BYTES_MAX // len(piece)):
        look.feed(piece)
    with pytest.raises(NoList) as refused:
        look.feed(b"9")
    assert refused.value.code == "E-722"


@pytest.mark.parametrize("encoding", ["utf-8", "cp932"])
def test_a_line_that_cannot_be_read_spoils_no_other(encoding: Encoding) -> None:
    lines = [line.encode(encoding) for line in TEXT.splitlines()]
    lines[3] = b"9970100018,\xff\xff\xff"
    data = b"\n".join(lines)
    assert looked(data, 64).encoding() == encoding
    text, count = recoded(data, encoding, 64)
    found = text.split(b"\n")
    assert count == len(found) == len(lines)
    assert found[3] == (lines[3] if encoding == "utf-8" else BROKEN)
    assert [each.decode() for each in found[4:]] == TEXT.splitlines()[4:]


def test_a_line_without_an_end_takes_no_memory() -> None:
    recoder, look = Recoder("cp932"), Look()
    for _ in range(100):
        look.feed(b"x" * 10_000)
        assert recoder.feed(b"x" * 10_000) == b""
    assert look.encoding() == "utf-8"
    assert len(recoder.end()) == REST_BYTES_MAX
