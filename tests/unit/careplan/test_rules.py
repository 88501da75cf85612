"""Every rule between cells, rows, files and names: one defect, one finding, at its place."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from careplan import OfficeFacts

if TYPE_CHECKING:
    from tests.unit.careplan.conftest import MessageSet

    Sets = type[MessageSet]

PLAN_12 = "202208/plan_12_to_provider_a"
PLAN_67_OLD = "202208/plan_67_to_provider_a"
RESULTS_OLD = "202208/results_from_provider_a"
PLAN_123 = "202407/plan_123_to_provider_a"
PLAN_67 = "202407/plan_67_to_provider_a"
RESULTS = "202407/results_from_provider_a"
EQUIPMENT_RESULTS = "202407/results_from_provider_b"
DELETE_RESULTS = "202407/delete_results"
BASIC = "202407/prevention_basic"
SUPPORT = "202407/prevention_plan"
PREVENTIVE_67 = "202407/prevention_plan_67"
PREVENTIVE_RESULTS = "202407/prevention_results"

# Kind, row, column, value → code, severity, and the place if it is another.
CELLS = [
    # a month or a day that is not the file's
    (PLAN_67, "UPPLAN", 3, "target_month", "202510", "TDK-NAME-CONTENT", "error"),
    (PLAN_67, "UPSIKYU", 2, "target_month", "202508", "TDK-NAME-CONTENT", "error"),
    (PLAN_67, "UPHOSOKU", 2, "target_month", "202510", "TDK-NAME-CONTENT", "error"),
    (PLAN_67, "UPHOSOKU", 2, "target_month", "000000", "TDK-NAME-CONTENT", "error"),
    (PLAN_123, "UPHOSOKU", 1, "target_month", "202509", "TDK-NAME-CONTENT", "error"),
    (RESULTS, "UPJSK", 5, "target_month", "202510", "TDK-NAME-CONTENT", "error"),
    ("202407/delete_plan", "DLTPLAN", 1, "target_month", "202510", "TDK-NAME-CONTENT", "error"),
    (DELETE_RESULTS, "DLTJSK", 1, "target_month", "202510", "TDK-NAME-CONTENT", "error"),
    (PLAN_67, "UPPLAN", 4, "service_date", "20251001", "TDK-MONTH", "error"),
    (RESULTS, "UPJSK", 4, "service_date", "20250831", "TDK-MONTH", "error"),
    (PLAN_67_OLD, "UPPLAN", 4, "service_date", "20250401", "TDK-MONTH", "error"),
    (PLAN_67, "UPHOSOKU", 1, "plan_date", "20250120", "TDK-DATE-OR-MONTH", "error"),
    (PLAN_123, "UPHOSOKU", 1, "plan_date", "00000000", "TDK-DATE-OR-MONTH", "error"),
    # office numbers that are not the name's
    (PLAN_67, "UPPLAN", 6, "plan_office", "9970100999", "TDK-NAME-CONTENT", "warning"),
    (PLAN_67, "UPPLAN", 6, "updater_office", "9970100117", "TDK-NAME-CONTENT", "error"),
    (PLAN_123, "UP1KYO", 1, "plan_office", "9970100999", "TDK-NAME-CONTENT", "warning"),
    (PLAN_123, "UP1KYO", 1, "updater_office", "9970100999", "TDK-NAME-CONTENT", "warning"),
    (PLAN_123, "UP2KYO", 1, "updater_office", "9970100999", "TDK-NAME-CONTENT", "warning"),
    (PLAN_67, "UPSIKYU", 1, "updater_office", "9970100999", "TDK-NAME-CONTENT", "warning"),
    (PLAN_67, "UPHOSOKU", 1, "consent_office", "9970100999", "TDK-NAME-CONTENT", "warning"),
    (RESULTS, "UPJSK", 2, "plan_office", "9970100999", "TDK-NAME-CONTENT", "warning"),
    (RESULTS, "UPJSK", 2, "provider_office", "9970100216", "TDK-NAME-CONTENT", "warning"),
    (RESULTS, "UPJSK", 2, "updater_office", "9970100018", "TDK-NAME-CONTENT", "error"),
    (PREVENTIVE_RESULTS, "UPJSK", 2, "provider_office", "9970100216", "TDK-NAME-CONTENT", "warning"),
    (DELETE_RESULTS, "DLTJSK", 1, "provider_office", "9970100117", "TDK-NAME-CONTENT", "warning"),
    # service types and codes
    (PLAN_67, "UPPLAN", 2, "service_code", "331111", "TDK-NOT-LINKABLE", "error"),
    (PLAN_67, "UPPLAN", 2, "service_code", "431111", "TDK-NOT-LINKABLE", "error"),
    (PLAN_67, "UPPLAN", 2, "service_code", "ZZ1111", "TDK-VALUE", "error"),
    (PLAN_67, "UPPLAN", 2, "service_code", "11AAAA", "TDK-VALUE", "error"),
    (PLAN_67, "UPPLAN", 2, "service_code", "999999", "TDK-VALUE", "error"),
    (PLAN_67, "UPSIKYU", 1, "service_code", "511111", "TDK-NOT-LINKABLE", "error"),
    (RESULTS, "UPJSK", 2, "service_code", "151111", "TDK-OTHER-TYPE", "warning"),
    (DELETE_RESULTS, "DLTJSK", 1, "service_type", "11", "TDK-OTHER-TYPE", "warning"),
    (DELETE_RESULTS, "DLTJSK", 1, "service_type", "33", "TDK-NOT-LINKABLE", "error"),
    (PLAN_67, "UPPLAN", 10, "equipment_notice_code", "", "TDK-EQUIPMENT-CODE", "error", "tais_code"),
    (PLAN_67, "UPPLAN", 11, "tais_code", "", "TDK-EQUIPMENT-CODE", "error"),
    (PLAN_67, "UPSIKYU", 3, "tais_code", "", "TDK-EQUIPMENT-CODE", "warning"),
    (PLAN_67, "UPPLAN", 1, "tais_code", "00123-000045", "TDK-EQUIPMENT-ELSEWHERE", "warning"),
    (PLAN_67, "UPPLAN", 1, "equipment_notice_code", "00123-000045", "TDK-EQUIPMENT-ELSEWHERE", "warning"),
    (PLAN_67, "UPPLAN", 1, "detail_code", "1", "TDK-DETAIL-CODE", "error"),
    (PLAN_67_OLD, "UPPLAN", 1, "detail_code", "1", "TDK-DETAIL-CODE", "warning"),
    (PLAN_67, "UPPLAN", 11, "detail_code", "", "TDK-DETAIL-NUMBER", "warning"),
    (PLAN_67, "UPPLAN", 12, "detail_code", "", "TDK-DETAIL-NUMBER", "warning"),
    (PLAN_67, "UPPLAN", 12, "detail_code", "3", "TDK-DETAIL-NUMBER", "warning"),
    (PLAN_67, "UPPLAN", 12, "detail_code", "1", "TDK-REPEATED", "warning", None),
    (PLAN_67, "UPPLAN", 10, "detail_code", "0", "TDK-DETAIL-NUMBER", "warning"),
    (PLAN_67, "UPPLAN", 10, "detail_code", "1", "TDK-DETAIL-NUMBER", "warning"),
    (EQUIPMENT_RESULTS, "UPJSK", 1, "detail_code", "1", None, "error"),
    (PLAN_67, "UPPLAN", 3, "units", "", "TDK-NEEDED", "warning"),
    (PLAN_67, "UPPLAN", 11, "units", "", "TDK-NEEDED", "warning"),
    (PLAN_67, "UPPLAN", 11, "service_code", "111111", "TDK-DETAIL-CODE", "error", "detail_code"),
    (PLAN_67, "UPPLAN", 11, "service_code", "331111", "TDK-NOT-LINKABLE", "error"),
    (PLAN_67, "UPPLAN", 12, "units", "301", "TDK-DETAIL-NUMBER", "warning", "detail_code", 11),
    (PLAN_67, "UPSIKYU", 1, "service_code", "999999", "TDK-TOTAL-ROW", "error"),
    (PLAN_67, "UPSIKYU", 6, "service_code", "111111", "TDK-TOTAL-ROW", "error", "provider_office"),
    (PLAN_67_OLD, "UPPLAN", 3, "units", "", "TDK-NEEDED", "warning"),
    # times and days
    (PLAN_67, "UPPLAN", 1, "start_time", "1101", "TDK-TIME-ORDER", "warning"),
    (PLAN_67, "UPPLAN", 1, "start_time", "9999", "TDK-TIME-HALF", "warning"),
    (PLAN_67, "UPPLAN", 1, "end_time", "9999", "TDK-TIME-HALF", "warning"),
    (PLAN_123, "UP3KYO", 1, "service_start", "1200", "TDK-TIME-ORDER", "warning"),
    (PREVENTIVE_67, "UPPLAN", 2, "prorated_days", "1" * 31, "TDK-PRORATED-DAY", "warning"),
    # form 7
    (PLAN_67, "UPSIKYU", 6, "provider_office", "9970100117", "TDK-TOTAL-ROW", "error"),
    (PLAN_67, "UPSIKYU", 2, "provider_office", "9999999999", "TDK-TOTAL-ROW", "error"),
    (PLAN_67, "UPSIKYU", 5, "units", "1400", "TDK-TOTAL-ROW", "error"),
    (PLAN_67, "UPSIKYU", 6, "units", "1", "TDK-TOTAL-ROW", "error"),
    (PLAN_67, "UPSIKYU", 5, "discount_rate", "95", "TDK-TOTAL-ROW", "error"),
    (PLAN_67, "UPSIKYU", 6, "discounted_units", "0", "TDK-TOTAL-ROW", "error"),
    (PLAN_67_OLD, "UPSIKYU", 6, "units", "1", "TDK-TOTAL-ROW", "warning"),
    # the supplement's slots
    (PLAN_67, "UPHOSOKU", 1, "slot1_service_type", "ZZ", "TDK-SLOT-TYPE", "warning"),
    (PLAN_67, "UPHOSOKU", 1, "slot1_service_type", "23", "TDK-SLOT-SHORT-STAY", "error"),
    (PLAN_67, "UPHOSOKU", 1, "slot1_service_type", "2A", "TDK-SLOT-SHORT-STAY", "error"),
    (PLAN_67, "UPHOSOKU", 1, "slot1_service_type", "25", "TDK-SLOT-SHORT-STAY", "warning"),
    (PLAN_67, "UPHOSOKU", 1, "slot2_service_type", "11", "TDK-SLOT-ORDER", "error"),
    (PLAN_67, "UPHOSOKU", 1, "slot9_limit_units", "0", None, "error"),
    # forms 1 to 3
    (PLAN_123, "UP1KYO", 1, "home_help_other_reason", "理由", "TDK-NOTE-ELSEWHERE", "warning"),
    (PLAN_123, "UP2KYO", 1, "issue_no", "0", "TDK-VALUE", "error"),
    (PLAN_123, "UP2KYO", 1, "goal_no", "-1", "TDK-VALUE", "error"),
    (PLAN_12, "UP2KYO", 1, "content_no", "00", "TDK-VALUE", "error"),
    (PLAN_123, "UP2KYO", 2, "content_no", "1", "TDK-REPEATED", "warning", None),
    (PLAN_123, "UP2KYO", 2, "provider_office", "9970100117", "TDK-OUTSIDE-INSURANCE", "warning"),
    (PLAN_123, "UP3KYO", 1, "other_service", "通院", "TDK-ROW-KIND", "error"),
    (PLAN_123, "UP3KYO", 5, "weekday", "1", "TDK-ROW-KIND", "error"),
    (PLAN_123, "UP3KYO", 3, "service_content", "訪問介護", "TDK-ROW-KIND", "error"),
    (PLAN_123, "UP3KYO", 1, "weekday", "", "TDK-REQUIRED", "error"),
    (PLAN_123, "UP3KYO", 1, "service_content", "", "TDK-REQUIRED", "error"),
    (PLAN_123, "UP3KYO", 3, "activity_end", "", "TDK-REQUIRED", "error"),
    (PLAN_123, "UP3KYO", 5, "other_service", "", "TDK-ROW-KIND", "error", None),
    # preventive care
    (BASIC, "UPKIHON", 1, "entrusted", "", "TDK-NEEDED", "warning"),
    (SUPPORT, "UPYOBO", 1, "entrusted", "", "TDK-NEEDED", "warning"),
    (BASIC, "UPKIHON", 1, "contact_method_other", "", "TDK-NEEDED", "warning"),
    (BASIC, "UPKIHON", 1, "living_status", "02", "TDK-NEEDED", "warning", "living_status_note"),
    (BASIC, "UPKIHON", 1, "family_image_file", "写真.jpg", "TDK-PICTURE-NAME", "error"),
    (BASIC, "UPKIHON", 1, "care_level", "06", "TDK-VALUE", "error"),
    (SUPPORT, "UPYOBO_SUB", 2, "support_no", "1", "TDK-REPEATED", "warning", None),
    # relations
    (PLAN_123, "UP2KYO", 3, "plan_date", "20250121", "TDK-RELATION", "error"),
    (PLAN_123, "UP2KYO", 4, "plan_date", "20250121", "TDK-RELATION", "error"),
    (PLAN_123, "UP3KYO", 3, "insured_no", "9000000012", "TDK-RELATION", "error"),
    (PLAN_123, "UPHOSOKU", 1, "plan_date", "20250121", "TDK-RELATION", "error"),
    (PLAN_123, "UPHOSOKU", 1, "insurer_no", "999012", "TDK-RELATION", "error"),
    (PLAN_123, "UP1KYO", 1, "insured_no", "9000000012", "TDK-RELATION", "error"),
    (PLAN_123, "UP1KYO", 2, "insurer_no", "999012", "TDK-RELATION", "error"),
    (PLAN_123, "UP1KYO", 2, "plan_date", "20250121", "TDK-RELATION", "error"),
    (PLAN_12, "UP1KYO", 1, "plan_date", "20250121", "TDK-RELATION", "error"),
    (PLAN_67, "UPSIKYU", 1, "insured_no", "9000000012", "TDK-FORMS-6-7", "error"),
    (PLAN_67, "UPSIKYU", 6, "insured_no", "9000000012", "TDK-FORMS-6-7", "error"),
    (PLAN_67, "UPSIKYU", 6, "insurer_no", "999012", "TDK-FORMS-6-7", "error"),
    (PLAN_67, "UPHOSOKU", 1, "insured_no", "9000000012", "TDK-RELATION", "error"),
    (PLAN_67, "UPPLAN", 1, "insured_no", "9000000012", "TDK-FORMS-6-7", "warning"),
    (PLAN_67, "UPPLAN", 12, "insured_no", "9000000012", "TDK-FORMS-6-7", "warning"),
    (BASIC, "UPKIHON", 1, "consulted_on", "20250902", "TDK-RELATION", "error"),
    (BASIC, "UPKIHON", 1, "insured_no", "9000000034", "TDK-RELATION", "error"),
    (BASIC, "UPKIHON_SUB1", 2, "consulted_on", "20250902", "TDK-RELATION", "error"),
    (BASIC, "UPKIHON_SUB2", 1, "insured_no", "9000000034", "TDK-RELATION", "error"),
    (SUPPORT, "UPYOBO", 1, "plan_date", "20250903", "TDK-RELATION", "error"),
    (SUPPORT, "UPYOBO_SUB", 1, "plan_date", "20250903", "TDK-RELATION", "error"),
    (SUPPORT, "UPYOBO_SUB", 2, "insured_no", "9000000034", "TDK-RELATION", "error"),
]


@pytest.mark.parametrize("case", CELLS, ids=lambda case: "-".join([*case[:1], case[1], str(case[2]), *case[3:5]]))
def test_a_cell_that_breaks_a_rule_is_said_once(sets: Sets, case: tuple[str, ...]) -> None:
    folder, kind, row, column, value, code, severity, *place = case
    broken = sets.of(folder).set(kind, int(row), column, value)
    if code is None:
        assert not broken.check().errors
        return
    where = place[0] if place else column
    broken.only(code, kind, int(place[1] if len(place) > 1 else row), where, severity)


VERSIONS = [
    (PLAN_67, "UPPLAN", "202208", "TDK-VERSIONS-MIXED"),
    (PLAN_67, "UPSIKYU", "202410", "TDK-VERSION"),
    (PLAN_67_OLD, "UPHOSOKU", "202407", "TDK-VERSIONS-MIXED"),
    (PLAN_123, "UP3KYO", "202504", "TDK-VERSION"),
    (PLAN_123, "UP3KYO", "", "TDK-VERSION"),
    (PLAN_12, "UP1KYO", "abc", "TDK-VERSION"),
]


@pytest.mark.parametrize(("folder", "kind", "version", "code"), VERSIONS)
def test_a_wrong_version_is_said_once_whether_in_one_row_or_in_all(
    sets: Sets, folder: str, kind: str, version: str, code: str
) -> None:
    one = sets.of(folder).set(kind, 2, "csv_version", version)
    one.only(code, kind, 2, "csv_version")
    every = sets.of(folder)
    for row in range(1, len(every.rows[kind]) + 1):
        every.set(kind, row, "csv_version", version)
    every.only(code, kind, 1, "csv_version")


def test_a_new_file_under_an_old_name_is_one_finding(sets: Sets) -> None:
    old, new = sets.of(PLAN_67_OLD), sets.of(PLAN_67)
    old.raw["UPPLAN"] = new.bytes_of("UPPLAN")
    old.only("TDK-VERSIONS-MIXED", "UPPLAN", 1, "csv_version")


def test_a_whole_month_of_another_file_is_said_once(sets: Sets) -> None:
    every = sets.of(RESULTS)
    for row in range(1, len(every.rows["UPJSK"]) + 1):
        every.set("UPJSK", row, "target_month", "202510")
    every.only("TDK-NAME-CONTENT", "UPJSK", 1, "target_month")


def test_a_set_sent_under_another_month_is_said_once(sets: Sets) -> None:
    sets.of(PLAN_67).rename_all(target_month="202510").only("TDK-NAME-CONTENT", "UPPLAN", 1, "target_month")


def test_files_of_another_office_are_said_once(sets: Sets) -> None:
    other = sets.of(PLAN_67).rename_all(sender_office="9970100999")
    other.only("TDK-NAME-CONTENT", "UPPLAN", 1, "plan_office", "warning")


# --- rows too many, rows too few --------------------------------------------------------------------------------------

MISSING_ROWS = [
    (PLAN_67, "UPSIKYU", 6, ("TDK-GRAND-TOTAL", "error", "UPSIKYU", 5, 9)),
    (PLAN_67, "UPSIKYU", 8, ("TDK-GRAND-TOTAL", "error", "UPSIKYU", 7, 9)),
    (PLAN_67, "UPSIKYU", 5, ("TDK-SUBTOTAL", "error", "UPSIKYU", 4, 9)),
    (PLAN_67_OLD, "UPSIKYU", 6, ("TDK-GRAND-TOTAL", "warning", "UPSIKYU", 5, 9)),
    (PLAN_67, "UPHOSOKU", 1, ("TDK-RELATION", "warning", "UPPLAN", 1, 3)),
    (PLAN_123, "UPHOSOKU", 2, ("TDK-RELATION", "warning", "UP1KYO", 2, 3)),
    (PLAN_123, "UP2KYO", 4, ("TDK-RELATION", "warning", "UP1KYO", 2, 3)),
    (PLAN_123, "UP1KYO", 2, ("TDK-RELATION", "error", "UP2KYO", 4, 3)),
    (PLAN_67, "UPPLAN", 11, ("TDK-DETAIL-NUMBER", "warning", "UPPLAN", 11, 19)),
]


@pytest.mark.parametrize(("folder", "kind", "row", "said"), MISSING_ROWS)
def test_a_row_that_is_missing_is_said_once(
    sets: Sets, folder: str, kind: str, row: int, said: tuple[object, ...]
) -> None:
    lacking = sets.of(folder)
    del lacking.rows[kind][row - 1]
    found = [(f.code, f.severity, f.file, f.row, f.column) for f in lacking.check().findings]
    code, severity, where, number, column = said
    assert found == [(code, severity, lacking.names[str(where)], number, column)]


def test_a_person_without_rows_in_form_7_is_a_warning(sets: Sets) -> None:
    lacking = sets.of(PLAN_67)
    del lacking.rows["UPSIKYU"][6:]
    lacking.only("TDK-FORMS-6-7", "UPPLAN", 13, "insured_no", "warning")


REPEATED = [
    (PLAN_67, "UPPLAN", 1),
    (PLAN_67, "UPPLAN", 10),
    (PLAN_67, "UPPLAN", 11),
    (PLAN_67, "UPSIKYU", 1),
    (PLAN_67, "UPSIKYU", 5),
    (PLAN_67, "UPHOSOKU", 1),
    (PLAN_123, "UP1KYO", 1),
    (PLAN_123, "UP2KYO", 1),
    (PLAN_123, "UP3KYO", 1),
    (PLAN_123, "UPHOSOKU", 1),
    (RESULTS, "UPJSK", 1),
    (EQUIPMENT_RESULTS, "UPJSK", 1),
    (BASIC, "UPKIHON", 1),
    (BASIC, "UPKIHON_SUB1", 1),
    (BASIC, "UPKIHON_SUB2", 1),
    (SUPPORT, "UPYOBO", 1),
    (SUPPORT, "UPYOBO_SUB", 1),
    ("202407/delete_plan", "DLTPLAN", 1),
    ("202407/delete_form1", "DLT1KYO", 1),
    (DELETE_RESULTS, "DLTJSK", 1),
]


@pytest.mark.parametrize(("folder", "kind", "row"), REPEATED)
def test_a_row_that_stands_twice_is_a_warning_at_the_second(sets: Sets, folder: str, kind: str, row: int) -> None:
    twice = sets.of(folder)
    twice.rows[kind].append(list(twice.rows[kind][row - 1]))
    twice.only("TDK-REPEATED", kind, len(twice.rows[kind]), None, "warning")


def test_a_second_grand_total_is_an_error(sets: Sets) -> None:
    twice = sets.of(PLAN_67)
    twice.rows["UPSIKYU"].append(list(twice.rows["UPSIKYU"][7]))
    twice.only("TDK-GRAND-TOTAL-TWICE", "UPSIKYU", 9, "service_code")


def test_a_person_whom_the_recipient_does_not_serve_is_a_warning(sets: Sets) -> None:
    strange = sets.of(PLAN_67)
    for row in range(13, 22):
        strange.set("UPPLAN", row, "provider_office", "9970100999")
    strange.set("UPSIKYU", 7, "provider_office", "9970100999")
    strange.only("TDK-NOT-SERVED", "UPPLAN", 13, "insured_no", "warning")
    plan = sets.of(PLAN_123).set("UP2KYO", 4, "provider_office", "9970100999")
    plan.only("TDK-NOT-SERVED", "UP1KYO", 2, "insured_no", "warning")


def test_the_slots_of_the_supplement_may_all_be_filled(sets: Sets) -> None:
    full = sets.of(PLAN_67)
    for slot in range(1, 10):
        for column, value in (
            ("service_type", "22"),
            ("limit_units", "1000"),
            ("total_units", "-5"),
            ("over_units", "0"),
        ):
            full.set("UPHOSOKU", 1, f"slot{slot}_{column}", value)
    assert not full.check().findings
    for column in ("service_type", "limit_units", "total_units", "over_units"):
        full.set("UPHOSOKU", 1, f"slot3_{column}", "")
    full.only("TDK-SLOT-ORDER", "UPHOSOKU", 1, "slot4_service_type")


def test_office_numbers_of_a_third_office_are_no_finding_in_preventive_care(sets: Sets) -> None:
    entrusted = sets.of(PREVENTIVE_67)
    for row in range(1, 4):
        entrusted.set("UPPLAN", row, "plan_office", "9970100018").set("UPPLAN", row, "updater_office", "9970100018")
    assert not entrusted.check().findings


# --- pictures ---------------------------------------------------------------------------------------------------------

PICTURE = "UPKIHON_IMAGE_9900100015_46_99A0100019_A2_20250902143001_0001.jpg"


def test_a_picture_that_is_named_and_sent_is_no_finding(sets: Sets) -> None:
    with_picture = sets.of(BASIC).set("UPKIHON", 1, "family_image_file", PICTURE)
    with_picture.attachments = [PICTURE.replace(".jpg", ".JPG"), "お知らせ.pdf"]
    report = with_picture.check()
    assert not report.findings
    assert report.unit == "202407-Y1"


def test_a_picture_that_is_named_but_not_sent_is_a_warning(sets: Sets) -> None:
    sets.of(BASIC).set("UPKIHON", 1, "family_image_file", PICTURE).only(
        "TDK-PICTURE-MISSING", "UPKIHON", 1, "family_image_file", "warning"
    )


def test_a_picture_that_nobody_names_is_a_warning(sets: Sets) -> None:
    unnamed = sets.of(BASIC)
    unnamed.attachments = [PICTURE]
    (said,) = unnamed.check().findings
    assert (said.code, said.severity, said.file) == ("TDK-PICTURE-UNNAMED", "warning", PICTURE)


def test_a_picture_with_the_parts_of_another_message_is_an_error(sets: Sets) -> None:
    other = PICTURE.replace("20250902143001", "20250902143009")
    named = sets.of(BASIC).set("UPKIHON", 1, "family_image_file", other)
    named.only("TDK-PICTURE-NAME", "UPKIHON", 1, "family_image_file")
    sent = sets.of(BASIC)
    sent.attachments = [other]
    (said,) = sent.check().findings
    assert (said.code, said.severity, said.file) == ("TDK-OTHER-UNIT", "error", other)


def test_a_picture_without_the_form_that_names_it_is_an_error(sets: Sets) -> None:
    sent = sets.of(SUPPORT)
    picture = PICTURE.replace("143001", "143002")
    sent.attachments = [picture]
    (said,) = sent.check().findings
    assert (said.code, said.severity, said.file) == ("TDK-MISSING-FILE", "error", None)
    assert said.detail["missing"] == "UPKIHON"


# --- the directory, the calendar --------------------------------------------------------------------------------------


def test_roles_in_the_old_version_come_from_the_directory(sets: Sets) -> None:
    old = sets.of(PLAN_67_OLD)
    old.sender = OfficeFacts("9970100018", frozenset({"43"}))
    old.recipient = OfficeFacts("9970100117", frozenset({"11", "A2"}))
    assert not old.check().findings
    old.recipient = OfficeFacts("9970100117", frozenset({"46"}))
    old.only("TDK-ROLE", None, None, None)
    old.recipient = OfficeFacts("9970100117", frozenset({"11"}))
    old.sender = OfficeFacts("9970100018", frozenset({"11"}))
    old.only("TDK-ROLE", None, None, None)


def test_an_old_version_is_a_warning_from_the_month_of_the_new_one(sets: Sets) -> None:
    late = sets.of("202208/delete_plan").rename_all(target_month="202504").set("DLTPLAN", 1, "target_month", "202504")
    late.only("TDK-OLD-VERSION", None, None, None, "warning")
    undated = sets.of("202208/delete_form1")
    assert not undated.check().findings
    undated.month_now = "202611"
    undated.only("TDK-OLD-VERSION", None, None, None, "warning")


@pytest.mark.parametrize(("folder", "month"), [("202208/delete_plan", "202212"), ("202407/delete_plan", "202503")])
def test_a_version_before_its_first_month_is_a_warning(sets: Sets, folder: str, month: str) -> None:
    early = sets.of(folder).rename_all(target_month=month).set("DLTPLAN", 1, "target_month", month)
    early.only("TDK-EARLY-VERSION", None, None, None, "warning")
