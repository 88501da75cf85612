"""Names and combinations: which files make a message, who may send it to whom."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import pytest

import careplan
from careplan import Context, DataFile, OfficeFacts

if TYPE_CHECKING:
    from tests.unit.careplan.conftest import MessageSet

    Sets = type[MessageSet]

PLAN_67_OLD = "202208/plan_67_to_provider_a"
PLAN_123 = "202407/plan_123_to_provider_a"
PLAN_67 = "202407/plan_67_to_provider_a"
RESULTS = "202407/results_from_provider_a"
BASIC = "202407/prevention_basic"
SUPPORT = "202407/prevention_plan"


@pytest.mark.parametrize("folder", careplan.sample_sets())
def test_every_sample_set_is_valid(sets: Sets, folder: str) -> None:
    report = sets.of(folder).check()
    assert not report.findings
    assert report.unit is not None
    assert report.csv_version == folder[:6]
    assert all(entry.label == ("削除" if "delete" in folder else "登録") for entry in report.per_file.values())


def test_what_the_report_says_of_a_set(sets: Sets) -> None:
    report = sets.of(PLAN_67).check()
    assert report.unit == "202407-K2"
    assert report.months == ("202509",)
    assert report.kinds == ("UPHOSOKU", "UPPLAN", "UPSIKYU")
    assert report.sequence == "20250825121901"
    assert (report.sender_service, report.recipient_service) == ("43", "11")


MISSING = [
    (folder, kind)
    for folder in (PLAN_67_OLD, PLAN_123, PLAN_67, "202208/plan_12_to_provider_a", SUPPORT, "202407/prevention_plan_67")
    for kind in sorted(
        {name.kind for file, _ in careplan.sample_sets()[folder] for name in [careplan.parse_name(file)] if name}
    )
]


@pytest.mark.parametrize(("folder", "kind"), MISSING)
def test_a_missing_file_is_said_once(sets: Sets, folder: str, kind: str) -> None:
    lacking = sets.of(folder)
    del lacking.names[kind], lacking.rows[kind]
    lacking.only("TDK-MISSING-FILE", None, None, None)
    (said,) = lacking.check().findings
    assert said.detail["missing"] == kind


@pytest.mark.parametrize("kind", ["UPKIHON_SUB1", "UPKIHON_SUB2"])
def test_a_missing_sub_file_is_a_warning(sets: Sets, kind: str) -> None:
    lacking = sets.of(BASIC)
    del lacking.names[kind], lacking.rows[kind]
    lacking.only("TDK-MISSING-SUB-FILE", None, None, None, "warning")


def test_a_sub_file_without_its_form_is_an_error(sets: Sets) -> None:
    lacking = sets.of(BASIC)
    del lacking.names["UPKIHON"], lacking.rows["UPKIHON"]
    lacking.only("TDK-MISSING-FILE", None, None, None)


def test_an_empty_optional_file_is_a_warning_and_an_empty_mandatory_one_an_error(sets: Sets) -> None:
    empty = sets.of(BASIC)
    empty.raw["UPKIHON_SUB2"] = b""
    empty.only("TDK-EMPTY-FILE", "UPKIHON_SUB2", None, None, "warning")
    for kind in ("UPPLAN", "UPSIKYU", "UPHOSOKU"):
        plan = sets.of(PLAN_67)
        plan.raw[kind] = b""
        plan.only("TDK-EMPTY-FILE", kind, None, None)


PARTS = [
    ({"sequence": "20250825121999"}, "TDK-OTHER-UNIT"),
    ({"sequence": "20250825121902"}, "TDK-OTHER-UNIT"),
    ({"recipient_service": "15"}, "TDK-OTHER-UNIT"),
    ({"sender_service": "46"}, "TDK-OTHER-UNIT"),
    ({"sender_office": "9970100999"}, "TDK-NAME-SENDER"),
    ({"recipient_office": "9970100216"}, "TDK-NAME-RECIPIENT"),
    ({"recipient_service": "ZZ"}, "TDK-NAME-TYPE"),
    ({"recipient_service": "33"}, "TDK-NAME-TYPE-NOT-LINKABLE"),
    ({"target_month": "202510"}, "TDK-MONTHS-MIXED"),
    ({"target_month": "202513"}, "TDK-NAME-MONTH"),
]


@pytest.mark.parametrize(("parts", "code"), PARTS, ids=str)
@pytest.mark.parametrize("kind", ["UPPLAN", "UPSIKYU", "UPHOSOKU"])
def test_one_name_that_is_unlike_the_others_is_said_once(
    sets: Sets, kind: str, parts: dict[str, str], code: str
) -> None:
    odd = sets.of(PLAN_67)
    odd.sender = OfficeFacts("9970100018", frozenset({"43"}))
    odd.recipient = OfficeFacts("9970100117", frozenset({"11"}))
    odd.rename(kind, **parts).only(code, kind, None, None)


@pytest.mark.parametrize(
    ("kind", "parts", "code"),
    [
        ("UPPLAN", {"target_month": "000000"}, "TDK-NAME-MONTH"),
        ("UPHOSOKU", {"target_month": "000000"}, "TDK-MONTHS-MIXED"),
    ],
)
def test_a_plan_set_for_a_month_has_no_zeros_in_its_names(
    sets: Sets, kind: str, parts: dict[str, str], code: str
) -> None:
    sets.of(PLAN_67).rename(kind, **parts).only(code, kind, None, None)


def test_the_supplement_of_a_plan_has_no_month(sets: Sets) -> None:
    sets.of(PLAN_123).rename("UPHOSOKU", target_month="202509").only("TDK-MONTHS-MIXED", "UPHOSOKU", None, None)


def test_wrong_offices_in_all_names_are_said_once(sets: Sets) -> None:
    wrong = sets.of(PLAN_67)
    wrong.sender = OfficeFacts("9970100999", frozenset())
    wrong.recipient = OfficeFacts("9970100117", frozenset())
    wrong.only("TDK-NAME-SENDER", "UPHOSOKU", None, None)
    wrong.sender = OfficeFacts("9970100018", frozenset())
    wrong.recipient = OfficeFacts("9970100216", frozenset())
    wrong.only("TDK-NAME-RECIPIENT", "UPHOSOKU", None, None)


def test_an_office_does_not_send_to_itself(sets: Sets) -> None:
    own = sets.of("202407/delete_plan").rename_all(recipient_office="9970100018")
    own.only("TDK-OWN-OFFICE", None, None, None)


def test_files_of_both_versions_in_one_set_are_said_once(sets: Sets) -> None:
    mixed = sets.of(PLAN_67)
    mixed.raw["UPSIKYU"] = mixed.bytes_of("UPSIKYU")
    mixed.rename("UPSIKYU", csv_version="202208", sender_service=None, recipient_service=None)
    assert "TDK-VERSIONS-MIXED" in {finding.code for finding in mixed.check().findings}
    assert mixed.check().errors == 1


def test_two_units_in_one_message_are_said_once(sets: Sets) -> None:
    two = sets.of(PLAN_67)
    for kind, name in sets.of(PLAN_123).names.items():
        two.names[kind + "2"] = name
        two.raw[kind + "2"] = sets.of(PLAN_123).bytes_of(kind)
    assert [(f.code, f.severity) for f in two.check().findings] == [("TDK-OTHER-UNIT", "error")]


def test_a_second_file_of_a_kind_is_said_once(sets: Sets) -> None:
    twice = sets.of(RESULTS)
    name = twice.names["UPJSK"].replace(".CSV", ".csv")
    twice.names["again"] = name
    twice.raw["again"] = twice.bytes_of("UPJSK")
    assert [(f.code, f.file) for f in twice.check().findings] == [("TDK-KIND-TWICE", name)]


def test_a_file_that_belongs_to_no_such_unit_is_said_once(sets: Sets) -> None:
    more = sets.of(PLAN_67)
    name = more.names["UPPLAN"].replace("UPPLAN", "UPJSK")
    more.names["UPJSK"] = name
    more.raw["UPJSK"] = more.bytes_of("UPPLAN")
    found = more.check().findings
    assert [(f.code, f.file) for f in found] == [("TDK-COMBINATION", name)]


@pytest.mark.parametrize(
    "name",
    [
        "UPPLAN_202509_9970100018_43_9970100117_11_2025082512190.CSV",
        "UPPLAN_202509_9970100018_43_9970100117_11_202508251219011.CSV",
        "UPPLAN_202509_997010001_43_9970100117_11_20250825121901.CSV",
        "UPPLAN_202509_9970100018_43_9970100117_111_20250825121901.CSV",
        "UPPLAN_202509_9970100018_43_9970100117_20250825121901.CSV",
        "UPPLAN_9970100018_43_9970100117_11_20250825121901.CSV",
        "upplan_202509_9970100018_43_9970100117_11_20250825121901.CSV",
        "UPPLAN_202509_9970100018_43_9970100117_11_20250825121901.TXT",
        "UPPLAN_202509_9970100018_43_9970100117_11_20250825121901.CSV\n",
        "UPPLAN_202509_9970100018_43_9970100117_11_20250825121901 (1).CSV",
        "UPPLAN_202509_９９７0100018_43_9970100117_11_20250825121901.CSV",
    ],
)
def test_a_name_that_breaks_the_grammar_is_said_once(sets: Sets, name: str) -> None:
    assert careplan.parse_name(name) is None
    assert careplan.looks_like_data_name(name)
    broken = sets.of(PLAN_67)
    files = [DataFile(name if file.name.startswith("UPPLAN") else file.name, file.data) for file in broken.files()]
    offices = (OfficeFacts("9970100018", frozenset()), OfficeFacts("9970100117", frozenset()))
    report = careplan.check_unit(files, Context(*offices))
    assert [(f.code, f.file) for f in report.findings] == [("TDK-NAME", name)]


def test_a_sequence_that_is_no_time_is_a_warning(sets: Sets) -> None:
    odd = sets.of(PLAN_67).rename_all(sequence="99999999999999")
    odd.only("TDK-SEQUENCE-TIME", "UPHOSOKU", None, None, "warning")


SENDERS = {"43": "C", "46": "P", "AF": "P", "11": "S", "A2": "S"}
ALLOWED = {
    PLAN_123: {"CS"},
    PLAN_67: {"CS", "PS", "CP"},
    "202407/delete_form1": {"CS"},
    "202407/delete_plan": {"CS", "PS", "CP"},
    RESULTS: {"SC", "SP", "CP"},
    "202407/delete_results": {"SC", "SP", "CP"},
    BASIC: {"PS", "PC", "CS", "CP"},
    SUPPORT: {"PS", "PC", "CS", "CP"},
    "202407/prevention_delete_basic": {"PS", "PC", "CS", "CP"},
    "202407/prevention_delete_plan": {"PS", "PC", "CS", "CP"},
}


@pytest.mark.parametrize(("folder", "sender", "recipient"), list(product(ALLOWED, SENDERS, SENDERS)))
def test_who_may_send_what_to_whom(sets: Sets, folder: str, sender: str, recipient: str) -> None:
    codes = {
        f.code for f in sets.of(folder).rename_all(sender_service=sender, recipient_service=recipient).check().findings
    }
    assert ("TDK-ROLE" not in codes) == (SENDERS[sender] + SENDERS[recipient] in ALLOWED[folder])


@pytest.mark.parametrize(
    ("unit", "folder", "sender", "recipient"),
    [
        ("202407-K2", PLAN_67, "43", "11"),
        ("202407-Y4", PLAN_67, "43", "A2"),
        ("202407-Y4", PLAN_67, "46", "A2"),
        ("202407-Y4", PLAN_67, "43", "46"),
        ("202407-K4", "202407/delete_plan", "43", "11"),
        ("202407-Y7", "202407/delete_plan", "46", "63"),
        ("202407-S1", RESULTS, "11", "43"),
        ("202407-Y8", RESULTS, "A2", "43"),
        ("202407-Y8", RESULTS, "A2", "46"),
        ("202407-Y8", RESULTS, "43", "AF"),
        ("202407-Y9", "202407/delete_results", "62", "46"),
    ],
)
def test_the_unit_follows_from_kinds_roles_and_service_types(
    sets: Sets, unit: str, folder: str, sender: str, recipient: str
) -> None:
    assert sets.of(folder).rename_all(sender_service=sender, recipient_service=recipient).check().unit == unit


def test_a_set_of_support_plan_and_basic_form_is_one_unit(sets: Sets) -> None:
    both = sets.of(SUPPORT)
    basic = sets.of(BASIC).rename_all(sequence="20250902143002")
    both.names |= basic.names
    both.rows |= basic.rows
    report = both.check()
    assert report.unit == "202407-Y2"
    assert not report.findings
    both.set("UPKIHON", 1, "insured_no", "9000000034")
    for kind in ("UPKIHON_SUB1", "UPKIHON_SUB2"):
        for row in range(1, len(both.rows[kind]) + 1):
            both.set(kind, row, "insured_no", "9000000034")
    both.only("TDK-RELATION", "UPYOBO", 1, "insured_no", "warning")


def test_basic_forms_with_zeros_in_the_name_are_read(sets: Sets) -> None:
    zeros = sets.of(BASIC).rename("UPKIHON", target_month="000000")
    assert "UPKIHON_000000_" in zeros.names["UPKIHON"]
    assert not zeros.check().findings


def test_files_without_a_readable_name_are_findings_and_nothing_more() -> None:
    offices = (OfficeFacts("9970100018", frozenset()), OfficeFacts("9970100117", frozenset()))
    report = careplan.check_unit([DataFile("表.csv", b"\xff\x00"), DataFile("", b"")], Context(*offices))
    assert [finding.code for finding in report.findings] == ["TDK-NAME", "TDK-NAME"]
    assert report.unit is None
    assert report.per_file["表.csv"].label == "PDF等"
