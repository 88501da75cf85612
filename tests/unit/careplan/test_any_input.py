"""No input whatever raises, and hostile files are done within the time that their size explains."""

from __future__ import annotations

import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import careplan
from careplan import Context, DataFile, OfficeFacts

OFFICES = (OfficeFacts("9970100018", frozenset({"43"})), OfficeFacts("9970100117", frozenset({"11"})))
SAMPLES = [file for files in careplan.sample_sets().values() for file in files]
NAMES = [name for name, _ in SAMPLES]
NASTY = (
    b'"',
    b'""',
    b",",
    b"\r",
    b"\n",
    b"\r\n",
    b"\x00",
    b"\x1a",
    b"\x81",
    b"\xf0\x40",
    b"\xff",
    b"999999",
    b"-",
    b"202407",
    b" ",
    b"H",
)
HOSTILE_BYTES = 1_048_576


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.one_of(st.sampled_from(NAMES), st.text(max_size=80)), st.binary(max_size=300)), max_size=4)
)
@example([])
@example([("", b"")])
def test_no_names_and_no_bytes_raise(files: list[tuple[str, bytes]]) -> None:
    given_files = [DataFile(name, data) for name, data in files]
    report = careplan.check_unit(given_files, Context(*OFFICES, attachments=[name for name, _ in files]))
    assert report.errors + report.warnings >= len(report.findings)
    assert all(careplan.wording(finding).message for finding in report.findings)
    for file in given_files:
        careplan.read_rows(file)


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(SAMPLES),
    st.lists(st.tuples(st.integers(0, 4_000), st.integers(0, 6), st.sampled_from(NASTY)), max_size=4),
)
def test_damaged_samples_never_raise(sample: tuple[str, bytes], cuts: list[tuple[int, int, bytes]]) -> None:
    name, data = sample
    for place, length, what in cuts:
        at = place % (len(data) + 1)
        data = data[:at] + what + data[at + length :]
    parsed = careplan.parse_name(name)
    assert parsed
    offices = (OfficeFacts(parsed.sender_office, frozenset()), OfficeFacts(parsed.recipient_office, frozenset()))
    report = careplan.check_unit([DataFile(name, data)], Context(*offices))
    assert len({(f.code, f.row, f.column) for f in report.findings}) == len(report.findings)
    careplan.read_rows(DataFile(name, data))


RESULTS = "UPJSK_202509_9970100117_11_9970100018_43_20250825121905.CSV"
SUPPORT = "UPYOBO_9900100015_46_99A0100019_A2_20250902143002.CSV"
PLAN = "UP3KYO_9970100018_43_9970100117_11_20250825121902.CSV"
LINE = dict(SAMPLES)[RESULTS].split(b"\r\n", maxsplit=1)[0]

HOSTILE: dict[str, tuple[str, bytes]] = {
    "quotes": (RESULTS, b'"' * HOSTILE_BYTES),
    "commas": (RESULTS, b"," * HOSTILE_BYTES),
    "one cell": (RESULTS, b"a" * HOSTILE_BYTES),
    "an open quote": (RESULTS, LINE[:50] + b'"' + b"a" * HOSTILE_BYTES),
    "doubled quotes": (RESULTS, LINE[:52] + b'"' + b'""' * (HOSTILE_BYTES // 2)),
    "thirty long texts and no end": (
        SUPPORT,
        b"202407,999012,9000000033,20250902,1,1," + (b'"' + b'""' * 16_000 + b'",') * 30,
    ),
    "thirty texts and a bad last cell": (SUPPORT, dict(SAMPLES)[SUPPORT].replace(b"\r\n", b"x\r\n") * 2_000),
    "row starts inside quotes": (RESULTS, b'202407,999011,9000000011,20250101,"' * 30_000),
    "a bad cell in every row": (RESULTS, (LINE.replace(b"20250901", b"2025090x") + b"\r\n") * 7_000),
    "bad cells only": (RESULTS, (b"x," * 24 + b"x\r\n") * 20_000),
    "a new version in every row": (RESULTS, b"".join(b"%06d" % n + LINE[6:] + b"\r\n" for n in range(7_000))),
    "a new person in every row": (
        PLAN,
        b"".join(b"202407,999011,%010d,20250120,20250120,,,,,,,,x\r\n" % n for n in range(20_000)),
    ),
    "the same row": (RESULTS, (LINE + b"\r\n") * 7_000),
    "blank lines": (RESULTS, b" \t\r\n" * 200_000),
}


@pytest.mark.parametrize(("name", "data"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_megabyte_ends_within_the_limit_of_a_test(name: str, data: bytes) -> None:
    parsed = careplan.parse_name(name)
    assert parsed
    offices = (OfficeFacts(parsed.sender_office, frozenset()), OfficeFacts(parsed.recipient_office, frozenset()))
    report = careplan.check_unit([DataFile(name, data)], Context(*offices))
    assert report.findings
    assert len(report.findings) <= careplan.FINDINGS_MAX


@pytest.mark.parametrize(("name", "data"), HOSTILE.values(), ids=HOSTILE)
def test_four_times_the_size_takes_no_more_than_its_size_explains(name: str, data: bytes) -> None:
    """Steps that grow with the square of the size would take sixteen times as long."""
    quarter = data[: len(data) // 4]
    assert _seconds(name, data) < 8 * _seconds(name, quarter) + 0.05


def _seconds(name: str, data: bytes) -> float:
    """The least CPU time of three checks, in seconds."""
    parsed = careplan.parse_name(name)
    assert parsed
    offices = (OfficeFacts(parsed.sender_office, frozenset()), OfficeFacts(parsed.recipient_office, frozenset()))
    taken = []
    for _ in range(3):
        began = time.process_time()
        careplan.check_unit([DataFile(name, data)], Context(*offices))
        taken.append(time.process_time() - began)
    return min(taken)
