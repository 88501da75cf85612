"""Which files make a message, and which cannot be used."""

import io
import itertools
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.portal import grouping, texts, unpacking
from services.portal.grouping import Dropped
from services.portal.unpacking import Bounds, ZipRefused

OWN, PARTNER, OTHER = "9970100018", "9970100117", "9970100216"
KINDS = ("UPHOSOKU", "UPPLAN", "UPSIKYU")


def files_of(recipient: str, sequence: str, end: str = ".CSV") -> list[Dropped]:
    """A set by its names; the contents do not matter here."""
    return [Dropped.of(f"{kind}_202611_{OWN}_43_{recipient}_11_{sequence}{end}", b"") for kind in KINDS]


@given(st.randoms())
def test_files_in_any_order_make_the_same_rows(random: object) -> None:
    sets = [files_of(PARTNER, f"202610261219{n:02}") for n in range(5)] + [files_of(OTHER, "20261026121903")]
    files = list(itertools.chain(*sets))
    random.shuffle(files)  # type: ignore[attr-defined]
    made = grouping.group(files, sender=OWN, file_bytes_max=10)
    assert [(unit.sequence, unit.recipient) for unit in made.units] == sorted(
        [(f"202610261219{n:02}", PARTNER) for n in range(5)] + [("20261026121903", OTHER)]
    )
    assert all(len(unit.files) == 3 for unit in made.units)
    assert (made.attachments, made.unusable) == ((), ())


def test_small_and_large_letters_of_the_ending_are_one_row() -> None:
    small, large = files_of(PARTNER, "20261026121909", ".csv"), files_of(PARTNER, "20261026121909")
    [unit] = grouping.group([small[0], *large[1:]], sender=OWN, file_bytes_max=10).units
    assert [file.name for file in unit.files] == [small[0].name, *(file.name for file in large[1:])]


@pytest.mark.parametrize(
    ("name", "size", "code"),
    [
        ("ハザードマップ.pdf", 10, None),
        ("写真.JPEG", 10, None),
        ("写真.jpg", 11, "TDK-FILE-TOO-LARGE"),
        ("おたより.docx", 1, "TDK-ATTACHMENT-KIND"),
        ("UPPLAN_なにか.CSV", 1, "TDK-FILE-NAME"),
        ("家計簿.csv", 1, "TDK-FILE-NAME"),
        (files_of(PARTNER, "20261026121909")[0].name.replace(OWN, OTHER), 1, "TDK-SENDER-MISMATCH"),
    ],
)
def test_what_cannot_be_used_says_why(name: str, size: int, code: str | None) -> None:
    assert grouping.unfit(name, size, sender=OWN, file_bytes_max=10) == code
    made = grouping.group([Dropped.of(name, b"x" * size)], sender=OWN, file_bytes_max=10)
    assert [each.code for each in made.unusable] == ([code] if code else [])
    assert len(made.attachments) == (code is None)


def test_a_folder_before_the_name_does_not_count() -> None:
    assert grouping.bare_name("令和8年11月/9970100117/a.CSV") == "a.CSV"
    assert grouping.bare_name("C:\\fakepath\\a.CSV") == "a.CSV"


def packed(*members: tuple[str, bytes]) -> bytes:
    """A ZIP of these files."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return out.getvalue()


def windows_zip(name: str, data: bytes) -> bytes:
    """A ZIP whose one name is in cp932 without the UTF-8 flag."""
    raw = name.encode("cp932")
    marker = "x" * len(raw)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(marker, data)
    return out.getvalue().replace(marker.encode(), raw)


def test_a_zip_gives_its_files_under_their_bare_names() -> None:
    data = packed(("予定/a.CSV", b"1"), ("b.pdf", b"22"), ("__MACOSX/._a.CSV", b""), ("予定/Thumbs.db", b""))
    assert [(file.name, file.size, file.read()) for file in unpacking.unpack(data)] == [
        ("a.CSV", 1, b"1"),
        ("b.pdf", 2, b"22"),
    ]
    [file] = unpacking.unpack(windows_zip("表/ハザードマップ表.pdf", b"1"))
    assert file.name == "ハザードマップ表.pdf", "also where the second byte of a character is a backslash"


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"no zip", "damaged"),
        pytest.param(packed(("a", b"x" * 1000))[:-30], "damaged", id="cut"),  # a ZIP holds the time
        (packed(("../a.CSV", b"")), "path"),
        (packed(("a/../../b.CSV", b"")), "path"),
        (packed(("/etc/passwd", b"")), "path"),
        (packed(("C:/a.CSV", b"")), "path"),
        (packed(("a\\..\\..\\b.CSV", b"")), "path"),
        (packed(("a/b/c/d.CSV", b"")), "deep"),
        (packed(("a.zip", b"")), "nested"),
        (packed(*((f"{n}.CSV", b"") for n in range(4))), "many"),
        (packed(("a.CSV", b"0" * 2001)), "large"),
    ],
)
def test_a_zip_that_breaks_a_bound_gives_nothing(data: bytes, why: str) -> None:
    with pytest.raises(ZipRefused) as refused:
        unpacking.unpack(data, Bounds(files_max=3, unpacked_bytes_max=2000, depth_max=2))
    assert refused.value.why == why


def test_a_zip_that_lies_about_its_sizes_is_damaged() -> None:
    data = packed(("a.CSV", b"0" * 5000))
    lie = data.replace((5000).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    [file] = unpacking.unpack(lie)
    with pytest.raises(ZipRefused):
        file.read()


def test_place_holders_are_filled_and_unknown_ones_stay() -> None:
    text = "{事業所名}様 {月}分です。{担当者}・{事業所}"
    assert texts.filled(text, office_name="見本", months=("202610", "202611"), person="例示") == (
        "見本様 令和8年10月・令和8年11月分です。例示・{事業所}"
    )
    assert texts.filled("{月}", office_name="", months=(), person="") == "{月}"


def test_months_are_found_in_both_calendars() -> None:
    assert texts.months_named("令和8年11月分と2026年9月分、令和 元 年5月、R8.10は読まない") == {
        "202611",
        "202609",
        "201905",
    }
    assert texts.months_named("令和８年１０月") == {"202610"}
