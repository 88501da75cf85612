"""Plain file names pass, whatever could mislead a person or a computer does not."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from todoke.relay import filenames
from todoke.relay.filenames import name_clashes, name_problem


@pytest.mark.parametrize(
    "name",
    [
        "UPPLAN_202509_9970100018_43_9970100117_11_20250825121901.CSV",
        "2025.03.01.pdf",
        "サービス担当者会議の要点（9月）.pdf",
        "写真 1.jpeg",
        "ｹｱﾌﾟﾗﾝ.PDF",
        "4／5枚目：表.png",
        "葛\U000e0100飾区.pdf",
        "か\u3099く.pdf",
        "TNFα.pdf",
        "Консоль.pdf",
        "contract.pdf",
        "com10.pdf",
        "a" * 251 + ".pdf",
        "..a.b..pdf"[2:],
        "見積+[1]#2~'&;@!$%^`{}=,.pdf",
    ],
)
def test_a_plain_name_passes(name: str) -> None:
    assert name_problem(name) is None


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("", filenames.EMPTY),
        (".", filenames.EMPTY),
        ("..", filenames.EMPTY),
        (" . ", filenames.EMPTY),
        ("\u3000", filenames.EMPTY),
        ("a/b.pdf", filenames.PATH),
        ("a\\b.pdf", filenames.PATH),
        ("../etc/passwd", filenames.PATH),
        ("C:\\a.pdf", filenames.PATH),
        ("a\u2215b.pdf", filenames.PATH),
        ("a\u2044b.pdf", filenames.PATH),
        ("．．／a.pdf", filenames.PATH),
        ("..＼a.pdf", filenames.PATH),
        ("a／…／b.pdf", filenames.PATH),
        ("a\x00.pdf", filenames.CONTROL),
        ("a\r\n.pdf", filenames.CONTROL),
        ("a\x7f.pdf", filenames.CONTROL),
        ("a\x85.pdf", filenames.CONTROL),
        ("a\u202efdp.exe", filenames.DIRECTION),
        ("a\u2066b.pdf", filenames.DIRECTION),
        ("a\u200fb.pdf", filenames.DIRECTION),
        ("a\u200bb.pdf", filenames.CHARACTER),
        ("\ufeffa.pdf", filenames.CHARACTER),
        ("a\u2028b.pdf", filenames.CONTROL),
        ("a\ue000.pdf", filenames.CHARACTER),
        ("a\ud800.pdf", filenames.CHARACTER),
        ("a\uffff.pdf", filenames.CHARACTER),
        ("a.pdf:hidden", filenames.CHARACTER),
        ("a?.pdf", filenames.CHARACTER),
        ('a".pdf', filenames.CHARACTER),
        ("a.pdf ", filenames.CHARACTER),
        ("a.pdf.", filenames.CHARACTER),
        (" a.pdf", filenames.CHARACTER),
        (".a.pdf", filenames.CHARACTER),
        ("CON", filenames.DEVICE),
        ("con.pdf", filenames.DEVICE),
        ("NUL.tar.pdf", filenames.DEVICE),
        ("aux .pdf", filenames.DEVICE),
        ("COM1.pdf", filenames.DEVICE),
        ("lpt9.pdf", filenames.DEVICE),
        ("COM¹.pdf", filenames.DEVICE),
        ("a" * 252 + ".pdf", filenames.TOO_LONG),
        ("あ" * 84 + ".pdf", filenames.TOO_LONG),
    ],
)
def test_a_name_that_is_not_plain_is_refused_for_its_reason(name: str, problem: str) -> None:
    assert name_problem(name) == problem


@given(st.text(max_size=300))
def test_any_text_whatever_is_judged_and_a_passing_name_can_be_written(name: str) -> None:
    if name_problem(name) is None:
        assert name.encode()
        assert not set(name) & set("/\\\x00")


@pytest.mark.parametrize(
    "names",
    [
        ("a.pdf", "a.pdf"),
        ("か\u3099.pdf", "が.pdf"),
    ],
)
def test_the_same_name_twice_is_named_at_its_second_place(names: tuple[str, str]) -> None:
    assert name_clashes(["other.csv", *names]) == {2: filenames.TWICE}


@pytest.mark.parametrize(
    "names",
    [
        ("a.pdf", "A.PDF"),
        ("ａ.pdf", "a.pdf"),
        ("plan.pdf", "рlаn.pdf"),
        ("ABO.pdf", "ΑΒΟ.pdf"),
        ("エ.pdf", "工.pdf"),
        ("カード.pdf", "力一ド.pdf"),
        ("葛.pdf", "葛\U000e0100.pdf"),
        ("a b.pdf", "a\u3000 b.pdf"),
        ("a-b.pdf", "a–b.pdf"),
        ("STRASSE.pdf", "straße.pdf"),
    ],
)
def test_names_that_look_alike_are_named(names: tuple[str, str]) -> None:
    assert name_clashes(names) == {1: filenames.ALIKE}


def test_names_that_differ_to_the_eye_do_not_clash() -> None:
    names = ["写真1.jpg", "写真2.jpg", "写真l.jpg", "か.pdf", "が.pdf", "は.pdf", "ハ.pdf", "ぱ.pdf", "a.pdf", "a.png"]
    assert name_clashes(names) == {}
    assert all(unicodedata.is_normalized("NFC", name) for name in names)
