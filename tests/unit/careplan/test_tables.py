"""The tables, the names, the numbers, the wording and the samples."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

import careplan
from careplan import FileName, Finding, InsuredNumber, OfficeNumber, Sequence, ServiceMonth

COUNTS = {
    "202208": {
        "UPHOSOKU": 63,
        "UP1KYO": 28,
        "DLT1KYO": 4,
        "UP2KYO": 22,
        "UPPLAN": 22,
        "UPJSK": 22,
        "DLTPLAN": 4,
        "DLTJSK": 6,
        "UPSIKYU": 34,
    },
    "202407": {
        "UPHOSOKU": 63,
        "UP1KYO": 28,
        "DLT1KYO": 4,
        "UP2KYO": 22,
        "UP3KYO": 13,
        "UPPLAN": 25,
        "UPJSK": 25,
        "DLTPLAN": 4,
        "DLTJSK": 6,
        "UPSIKYU": 37,
        "UPKIHON": 71,
        "DLTKIHON": 4,
        "UPKIHON_SUB1": 7,
        "UPKIHON_SUB2": 11,
        "UPYOBO": 57,
        "DLTYOBO": 4,
        "UPYOBO_SUB": 17,
        "UPKIHON_IMAGE": 0,
    },
}


def test_all_kinds_of_both_versions_have_the_standards_number_of_columns() -> None:
    assert {key: kind.columns for key, kind in careplan.KINDS.items()} == {
        (version, kind): columns for version, kinds in COUNTS.items() for kind, columns in kinds.items()
    }
    assert len(careplan.KINDS) == 27
    for (version, kind), known in careplan.KINDS.items():
        if known.columns:
            layout = careplan.layout_of(kind, version)
            assert [column.no for column in layout.columns] == list(range(1, known.columns + 1))
            assert layout.column("csv_version").allowed == {version: version}


def test_every_column_has_a_known_type() -> None:
    types = {
        column.type
        for (v, k), kind in careplan.KINDS.items()
        if kind.columns
        for column in careplan.layout_of(k, v).columns
    }
    assert types == {
        "digits",
        "alnum",
        "id",
        "insured",
        "code",
        "date8",
        "month6",
        "time4",
        "integer",
        "decimal",
        "flags31",
        "postal",
        "phone",
        "tais",
        "text",
        "unused",
    }


def test_roles_follow_the_service_type() -> None:
    assert careplan.role_of("43") == "care_management"
    assert {careplan.role_of("46"), careplan.role_of("AF")} == {"support_centre"}
    assert careplan.role_of("11") == careplan.role_of("A2") == "service"
    assert not careplan.SERVICE_TYPES["33"].linkable
    assert careplan.SERVICE_TYPES["59"].categories == {"介護給付", "予防給付"}


offices = st.from_regex("[0-9A-Z]{10}", fullmatch=True)
services = st.sampled_from(sorted(careplan.SERVICE_TYPES))
sequences = st.from_regex("[0-9]{14}", fullmatch=True)
months = st.from_regex("20[0-9]{2}(0[1-9]|1[0-2])", fullmatch=True)


parts = st.tuples(months, offices, services, offices, services, sequences, st.from_regex("[0-9]{4}", fullmatch=True))


@given(st.sampled_from(sorted(careplan.KINDS)), parts, st.sampled_from([".CSV", ".csv"]))
def test_names_and_parts_are_the_same_thing(known: tuple[str, str], parts: tuple[str, ...], suffix: str) -> None:
    version, kind = known
    month, sender, of_sender, recipient, of_recipient, sequence, branch = parts
    typed = version == "202407"
    picture = kind == "UPKIHON_IMAGE"
    name = FileName(
        kind=kind,
        csv_version=version,
        target_month=month if careplan.KINDS[known].has_month else None,
        sender_office=sender,
        sender_service=of_sender if typed else None,
        recipient_office=recipient,
        recipient_service=of_recipient if typed else None,
        sequence=sequence,
        branch=branch if picture else None,
    )
    written = name.render() if picture else name.render(suffix)
    assert careplan.parse_name(written) == name
    assert careplan.looks_like_data_name(written)


@given(st.text(max_size=100))
def test_no_text_is_a_name_by_accident(text: str) -> None:
    parsed = careplan.parse_name(text)
    assert parsed is None or parsed.render(text[text.rindex(".") :]) == text


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("お知らせ.pdf", False),
        ("2025.03.01.pdf", False),
        ("UPPLAN_説明.pdf", False),
        ("写真.jpg", False),
        ("表.csv", True),
        ("UPPLAN_202509.txt", True),
        ("UPPLAN", True),
        ("UPPLANNER.pdf", False),
        ("UPKIHON_IMAGE_1.jpg", True),
        ("upplan_1.dat", True),
        ("", False),
    ],
)
def test_what_is_meant_as_a_data_file(name: str, meant: bool) -> None:
    assert careplan.looks_like_data_name(name) is meant


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (OfficeNumber, ["9970100018", "99A0100019"], ["997010001", "99a0100019", "９970100018", "9970100018\n"]),
        (InsuredNumber, ["9000000011", "H990000012"], ["A990000012", "H99000001", "90000000111"]),
        (ServiceMonth, ["202509", "000101"], ["202513", "202500", "000001", "20259"]),
        (Sequence, ["20250825121901", "99999999999999"], ["2025082512190", "202508251219011"]),
    ],
)
def test_checked_types_hold_only_what_fits(kind: type[OfficeNumber], good: list[str], bad: list[str]) -> None:
    assert [kind(value) for value in good] == good
    for value in bad:
        with pytest.raises(ValueError, match=r"^not ") as caught:
            kind(value)
        assert value not in str(caught.value)


def test_a_sequence_can_be_moved_on() -> None:
    assert Sequence("20250131235959").later(1) == "20250201000000"
    with pytest.raises(ValueError, match="beyond"):
        Sequence("99991231235959").later(1)
    with pytest.raises(ValueError, match="no real time"):
        Sequence("99999999999999").later(1)
    assert [ServiceMonth(month).days for month in ("202402", "202302", "190002", "200002", "202509")] == [
        29,
        28,
        28,
        29,
        30,
    ]


def test_every_sample_comes_back_byte_for_byte() -> None:
    files = [file for members in careplan.sample_sets().values() for file in members]
    assert len(files) == 46
    for name, data in files:
        parsed = careplan.parse_name(name)
        assert parsed
        assert (
            careplan.write_rows(parsed.kind, parsed.csv_version, careplan.read_rows(careplan.DataFile(name, data)).rows)
            == data
        )


def test_every_ibm_character_is_written_as_windows_does() -> None:
    pairs = [bytes((lead, trail)) for lead in (0xFA, 0xFB, 0xFC) for trail in range(0x40, 0xFD) if trail != 0x7F]
    text = b"".join(pair for pair in pairs if _decodes(pair)).decode("cp932")
    written = careplan.write_rows("UP3KYO", "202407", [["", "", "", "", "", text, *[""] * 7]])
    kanji = [pair for pair in pairs if _decodes(pair) and "一" <= pair.decode("cp932") <= "龥"]
    assert len(kanji) > 300
    assert all(pair in written for pair in kanji)


def _decodes(pair: bytes) -> bool:
    try:
        pair.decode("cp932")
    except UnicodeDecodeError:
        return False
    return True


def test_the_writer_replaces_what_ms932_lacks_and_normalises_the_wave_dash() -> None:
    row = ["202407", "", "", "", "", "〜−😀\ue000é\u00a0", *[""] * 7]
    data = careplan.write_rows("UP3KYO", "202407", [row])
    assert data.decode("cp932") == '202407,,,,,"～－〓〓〓〓",,,,,,,\r\n'
    with pytest.raises(ValueError, match="row 1 has 2 cells, not 13"):
        careplan.write_rows("UP3KYO", "202407", [["a", "b"]])


def test_fresh_samples_have_their_own_sequences_in_the_old_order() -> None:
    sets = list(careplan.fresh_sample_sets("20261122235950"))
    parsed = [[careplan.parse_name(name) for name, _ in files] for _, files in sets]
    sequences = [{name.sequence for name in names if name} for names in parsed]
    assert all(len(each) == 1 for each in sequences)
    assert [each.pop() for each in sequences] == sorted({name.sequence for names in parsed for name in names if name})
    assert len({folder for folder, _ in sets}) == len(sets) == len(careplan.sample_sets())
    old = {
        name.sequence
        for files in careplan.sample_sets().values()
        for name in map(careplan.parse_name, dict(files))
        if name
    }
    for files in careplan.sample_sets().values():
        assert not any(sequence.encode() in data for _, data in files for sequence in old)
    with pytest.raises(ValueError, match="real time"):
        list(careplan.fresh_sample_sets("20261322000000"))


def test_files_are_grouped_into_messages_by_their_names() -> None:
    names = [name for files in careplan.sample_sets().values() for name, _ in files]
    planned = careplan.plan_units([*names, "お知らせ.pdf", "UPPLAN_1.csv"])
    assert len(planned) == len(careplan.sample_sets())
    assert sorted(name for each in planned for name in each.names) == sorted(names)
    assert [each.sequence for each in planned] == sorted(each.sequence for each in planned)
    assert all(each.unit and not each.missing for each in planned)
    (lacking,) = careplan.plan_units(
        [name for name in names if name.startswith("UPPLAN_202509_9970100018_43_9970100117")]
    )
    assert (lacking.unit, lacking.missing, lacking.months) == (None, ("UPHOSOKU", "UPSIKYU"), ("202509",))


# --- wording ----------------------------------------------------------------------------------------------------------


def test_every_code_of_the_library_has_a_wording_and_every_wording_a_code() -> None:
    from importlib.resources import files  # noqa: PLC0415 - only here

    root = files("careplan")
    sources = [
        path.read_text(encoding="utf-8")
        for folder in (root, root / "checks")
        for path in folder.iterdir()
        if path.name.endswith(".py")
    ]
    used = {code for source in sources for code in re.findall(r'"(TDK-[A-Z0-9-]+)"', source)}
    of_any_file = {code for code in careplan.finding_texts() if code.startswith(("TDK-ATTACHMENT-", "TDK-FILE-"))}
    assert used | of_any_file == set(careplan.finding_texts())


def test_numbers_are_used_once_and_in_their_range() -> None:
    texts = careplan.finding_texts().values()
    numbers = [text.number for text in texts if not text.code.startswith("TDK-ATTACHMENT-")]
    assert len(set(numbers)) == len(numbers)
    assert all(re.fullmatch("E-2[0-9][0-9]", number) for number in numbers)


def test_no_sentence_is_longer_than_sixty_characters() -> None:
    longest = max(
        (
            column
            for (v, k), kind in careplan.KINDS.items()
            if kind.columns
            for column in careplan.layout_of(k, v).columns
        ),
        key=lambda column: len(column.name_ja),
    )
    kinds = " ".join(sorted({kind for _, kind in careplan.KINDS}))
    detail: dict[str, str | int] = {
        "actual": 9999,
        "expected": 71,
        "missing": kinds,
        "present": kinds,
        "most": 10_000,
        "cells": 999,
    }
    for code in careplan.finding_texts():
        finding = Finding(code, "error", "UPPLAN.CSV", 999_999, 71, longest.name_ja, detail)
        content = dict.fromkeys(
            ("氏名", "値", "日付", "月", "番号", "自分の番号", "入れた番号", "コード", "名前", "理由"),
            "九九九九九九九九九九",
        )
        for words in (careplan.wording(finding), careplan.wording_with_content(finding, content)):
            sentences = [each for text in words[1:] for each in re.split("(?<=。)", text)]
            assert all(len(sentence) <= 60 for sentence in sentences), sentences
            assert "{" not in words.message + words.advice


def test_content_fills_the_wording_of_screens_only() -> None:
    finding = Finding("TDK-REQUIRED", "error", "a.CSV", 3, 7, "プラン担当者名")
    assert careplan.wording(finding).message == "プラン担当者名が空です。（3行目）"
    assert (
        careplan.wording_with_content(finding, {"氏名": "見本花子"}).message
        == "見本花子 様のプラン担当者名が空です。（3行目）"
    )
    assert careplan.wording_with_content(finding, {}).message == "プラン担当者名が空です。（3行目）"
