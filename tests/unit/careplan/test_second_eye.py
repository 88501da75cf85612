"""What a second reading of the standard found: one cause is one finding, and silence of the standard is no refusal."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from careplan import Context, DataFile, OfficeFacts, check_unit, parse_name, sample_sets
from careplan.findings import Finding, FindingLog

if TYPE_CHECKING:
    from tests.unit.careplan.conftest import MessageSet

    Sets = type[MessageSet]

CARE_MANAGER, PROVIDER, THIRD = "9970100018", "9970100117", "9970100999"
PLAN_123 = "202407/plan_123_to_provider_a"
PLAN_67 = "202407/plan_67_to_provider_a"
RESULTS = "202407/results_from_provider_a"
BASIC = "202407/prevention_basic"
SUPPORT = "202407/prevention_plan"
STRANGERS = 16_000
STRANGERS_SECONDS = 6.0
"""About ten times what it takes; comparing everyone with everyone took longer."""


# Kind, row, column: the side that a row names wrongly, and a third office that the standard does not forbid.
OFFICES = [
    (PLAN_67, "UPPLAN", 2, "plan_office", PROVIDER),
    (PLAN_67, "UPPLAN", 2, "updater_office", PROVIDER),
    (PLAN_123, "UP1KYO", 1, "plan_office", PROVIDER),
    (RESULTS, "UPJSK", 2, "plan_office", PROVIDER),
    (RESULTS, "UPJSK", 2, "provider_office", CARE_MANAGER),
    (RESULTS, "UPJSK", 2, "updater_office", CARE_MANAGER),
]


@pytest.mark.parametrize(("folder", "kind", "row", "column", "other"), OFFICES)
def test_the_other_party_in_the_wrong_column_is_an_error_a_third_office_a_warning(
    sets: Sets, folder: str, kind: str, row: int, column: str, other: str
) -> None:
    sets.of(folder).set(kind, row, column, other).only("TDK-NAME-CONTENT", kind, row, column)
    sets.of(folder).set(kind, row, column, THIRD).only("TDK-NAME-CONTENT", kind, row, column, "warning")


@pytest.mark.parametrize("folder", sorted(sample_sets()))
def test_a_set_between_other_offices_than_its_rows_name_is_not_refused(folder: str) -> None:
    files = [DataFile(_between_others(name), data) for name, data in sample_sets()[folder]]
    first = parse_name(files[0].name)
    assert first
    sender = OfficeFacts(first.sender_office, frozenset(filter(None, [first.sender_service])))
    recipient = OfficeFacts(first.recipient_office, frozenset(filter(None, [first.recipient_service])))
    report = check_unit(files, Context(sender, recipient))
    assert not report.errors, report.findings


def _between_others(name: str) -> str:
    parsed = parse_name(name)
    assert parsed
    return name.replace(parsed.sender_office, "9990000001").replace(parsed.recipient_office, "9990000002")


def test_a_warning_does_not_hide_an_error_of_the_same_cause(sets: Sets) -> None:
    plan = sets.of(PLAN_123).set("UP1KYO", 1, "updater_office", PROVIDER)
    plan.only("TDK-NAME-CONTENT", "UP1KYO", 1, "updater_office", "warning")
    plan.rows["UP1KYO"].append(list(plan.rows["UP1KYO"][0]))
    plan.set("UP1KYO", 2, "plan_office", PROVIDER)
    assert [(finding.row, finding.column) for finding in plan.check().findings if finding.severity == "error"] == [
        (2, plan.layout("UP1KYO").column("plan_office").no)
    ]


def test_a_cause_beyond_the_remembered_ones_is_never_passed_over() -> None:
    log = FindingLog()
    for number in range(6_000):
        assert log.first("TDK-NAME-CONTENT", str(number))
    assert log.first("TDK-VERSION", "202410")
    log.add(Finding("TDK-VERSION", "error"))
    assert log.count("error") == 1


def test_a_service_type_that_all_names_have_wrong_is_said_once(sets: Sets) -> None:
    for code, wrong in (("ZZ", "TDK-NAME-TYPE"), ("33", "TDK-NAME-TYPE-NOT-LINKABLE")):
        sets.of(PLAN_67).rename_all(recipient_service=code).only(wrong, "UPHOSOKU", None, None)


def test_a_month_of_the_names_that_is_none_is_said_once(sets: Sets) -> None:
    sets.of(PLAN_67).rename_all(target_month="202513").only("TDK-NAME-MONTH", "UPHOSOKU", None, None)


@pytest.mark.parametrize("kind", ["UPPLAN", "UPSIKYU", "UPHOSOKU"])
def test_a_name_with_the_month_of_an_earlier_version_draws_no_second_finding(sets: Sets, kind: str) -> None:
    sets.of(PLAN_67).rename(kind, target_month="202501").only("TDK-MONTHS-MIXED", kind, None, None)


def test_the_supplement_of_a_plan_under_an_old_month_draws_no_second_finding(sets: Sets) -> None:
    plan = sets.of("202208/plan_12_to_provider_a").rename("UPHOSOKU", target_month="202509")
    plan.only("TDK-MONTHS-MIXED", "UPHOSOKU", None, None)


def test_rows_of_one_other_version_in_all_files_are_said_once(sets: Sets) -> None:
    plan = sets.of(PLAN_67)
    for kind, rows in plan.rows.items():
        for number in range(1, len(rows) + 1):
            plan.set(kind, number, "csv_version", "202504")
    plan.only("TDK-VERSION", "UPPLAN", 1, "csv_version")


def test_a_message_to_oneself_draws_no_word_about_persons(sets: Sets) -> None:
    own = sets.of(PLAN_67).rename_all(recipient_office=CARE_MANAGER)
    own.sender = own.recipient = OfficeFacts(CARE_MANAGER, frozenset({"43", "11"}))
    own.only("TDK-OWN-OFFICE", None, None, None)


def test_a_file_of_blank_lines_is_empty_and_nothing_else(sets: Sets) -> None:
    plan = sets.of(PLAN_67)
    plan.raw["UPSIKYU"] = b"\r\n\r\n"
    plan.only("TDK-EMPTY-FILE", "UPSIKYU", None, None)


def test_an_escape_in_a_text_is_a_control_character_at_its_place(sets: Sets) -> None:
    sets.of(PLAN_67).set("UPPLAN", 3, "planner_name", "髙橋\x1b$B").only("TDK-CONTROL", "UPPLAN", 3, "planner_name")


def test_a_file_in_iso_2022_jp_is_of_the_wrong_encoding(sets: Sets) -> None:
    plan = sets.of(SUPPORT)
    plan.raw["UPYOBO"] = "202407,999012,高橋\r\n".encode("iso2022_jp")
    plan.only("TDK-ENCODING", "UPYOBO", 1, "csv_version")


def _with_picture(sets: Sets, named: str, sent: str) -> MessageSet:
    basics = sets.of(BASIC)
    stem = "UPKIHON_IMAGE_" + basics.names["UPKIHON"].removeprefix("UPKIHON_").removesuffix(".CSV")
    basics.attachments.append(f"{stem}_{sent}")
    return basics.set("UPKIHON", 1, "family_image_file", f"{stem}_{named}")


def test_a_picture_under_another_number_is_said_at_the_row_that_names_it(sets: Sets) -> None:
    assert not _with_picture(sets, "0001.jpg", "0001.jpg").check().findings
    misnamed = _with_picture(sets, "0002.jpg", "0001.jpg")
    misnamed.only("TDK-PICTURE-MISSING", "UPKIHON", 1, "family_image_file", "warning")


@pytest.mark.parametrize("sent", ["001.jpg", "00001.jpg"])
def test_a_picture_whose_own_name_is_wrong_is_not_missing_as_well(sets: Sets, sent: str) -> None:
    report = _with_picture(sets, "0001.jpg", sent).check()
    assert [(finding.code, finding.file is not None) for finding in report.findings] == [("TDK-NAME", True)]


def test_the_fixed_office_code_is_missed_once(sets: Sets) -> None:
    plan = sets.of(PLAN_67)
    for row in range(2, len(plan.rows["UPSIKYU"]) + 1):
        plan.set("UPSIKYU", row, "fixed_office_code", "")
    plan.only("TDK-NEEDED", "UPSIKYU", 2, "fixed_office_code", "warning")


def _support(sets: Sets) -> MessageSet:
    """The sample's support plan with a second service under the first of its plans."""
    plan = sets.of(SUPPORT)
    first = list(plan.rows["UPYOBO_SUB"][0])
    plan.rows["UPYOBO_SUB"].insert(1, first)
    for column in ("overall_issue", "proposal", "proposal_wish", "goal"):
        plan.set("UPYOBO_SUB", 2, column, "")
    for column in ("support_point", "support_informal", "support_formal"):
        plan.set("UPYOBO_SUB", 2, column, "")
    return plan.set("UPYOBO_SUB", 2, "service_no", "2")


def test_later_rows_of_a_support_plan_leave_the_upper_texts_empty(sets: Sets) -> None:
    assert not _support(sets).check().findings
    for row, column in (
        (2, "overall_issue"),
        (2, "goal"),
        (3, "proposal"),
        (2, "support_point"),
        (2, "support_formal"),
    ):
        repeated = _support(sets).set("UPYOBO_SUB", row, column, "もう一度")
        repeated.only("TDK-UPPER-TEXT", "UPYOBO_SUB", row, column, "warning")
    new = _support(sets).set("UPYOBO_SUB", 2, "issue_no", "2").set("UPYOBO_SUB", 2, "overall_issue", "別の課題")
    assert not new.check().findings


def test_a_record_without_children_is_said_in_the_column_that_differs(sets: Sets) -> None:
    plan = sets.of(PLAN_67)
    plan.set("UPPLAN", 2, "insurer_no", "999099").only("TDK-FORMS-6-7", "UPPLAN", 2, "insurer_no", "warning")


def test_thousands_of_strangers_take_no_longer_than_their_number_explains(sets: Sets) -> None:
    plan = sets.of(PLAN_67)
    at = plan.layout("UPPLAN").places["insured_no"]
    patterns = {kind: plan.rows[kind][0] for kind in ("UPPLAN", "UPSIKYU", "UPHOSOKU")}
    for kind, first in (("UPPLAN", 0), ("UPSIKYU", 10**9), ("UPHOSOKU", 10**9)):
        row = patterns[kind]
        plan.rows[kind] = [[*row[:at], f"{first + number:010}", *row[at + 1 :]] for number in range(STRANGERS)]
    files, context = plan.files(), plan.context()
    started = time.process_time()
    report = check_unit(files, context)
    assert report.errors == STRANGERS
    assert time.process_time() - started < STRANGERS_SECONDS
