"""One defect, one finding, also where a defect of a name or of a whole file shows up in other places too."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from careplan import OfficeFacts, sample_sets

if TYPE_CHECKING:
    from tests.unit.careplan.conftest import MessageSet

    Sets = type[MessageSet]

PLAN_12 = "202208/plan_12_to_provider_a"
OLD_RESULTS = "202208/results_from_provider_a"
PLAN_123 = "202407/plan_123_to_provider_a"
PLAN_67 = "202407/plan_67_to_provider_a"
RESULTS = "202407/results_from_provider_a"
BASIC = "202407/prevention_basic"
SUPPORT = "202407/prevention_plan"
PICTURE = "UPKIHON_IMAGE_9900100015_46_99A0100019_A2_20250902143001_0001.jpg"
FIRST_OF_202407 = "202504"


def with_basic_information(sets: Sets) -> MessageSet:
    """A support plan together with the basic information of the same person (sending unit 202407-Y2)."""
    made, basic = sets.of(SUPPORT), sets.of(BASIC)
    sequence = "20250902143001"
    made.rename_all(sequence=sequence)
    made.names |= basic.names
    made.rows |= basic.rows
    assert made.check().findings == []
    return made


@pytest.mark.parametrize("kind", ["UP2KYO", "UPHOSOKU"])
@pytest.mark.parametrize("folder", [PLAN_12, PLAN_123])
def test_a_plan_file_without_rows_is_said_and_no_person_of_it(sets: Sets, folder: str, kind: str) -> None:
    made = sets.of(folder)
    made.rows[kind] = []
    made.only("TDK-EMPTY-FILE", kind, None, None)


@pytest.mark.parametrize("kind", ["UPYOBO", "UPKIHON"])
def test_an_empty_form_of_preventive_care_is_not_also_a_missing_person(sets: Sets, kind: str) -> None:
    made = with_basic_information(sets)
    made.rows[kind] = []
    made.only("TDK-EMPTY-FILE", kind, None, None)


def test_a_person_whom_no_other_form_knows_is_said_once(sets: Sets) -> None:
    made = with_basic_information(sets)
    made.rows["UPYOBO"].append(list(made.rows["UPYOBO"][0]))
    made.set("UPYOBO", 2, "insured_no", "9000000099")
    made.only("TDK-RELATION", "UPYOBO", 2, "insured_no", "warning")


def test_a_person_without_a_weekly_table_is_a_warning(sets: Sets) -> None:
    made = sets.of(PLAN_123)
    made.rows["UP3KYO"] = [row for row in made.rows["UP3KYO"] if row[2] == made.get("UP3KYO", 1, "insured_no")]
    made.only("TDK-RELATION", "UP1KYO", 2, "insured_no", "warning")


def test_a_file_too_many_does_not_also_name_wrong_offices(sets: Sets) -> None:
    made, results = sets.of("202208/delete_form1"), sets.of(OLD_RESULTS)
    made.names |= results.names
    made.rows |= results.rows
    made.rename("UPJSK", sender_office="9970100018", recipient_office="9970100117", sequence="20250225101506")
    made.only("TDK-COMBINATION", "DLT1KYO", None, None)


@pytest.mark.parametrize(
    ("folder", "types"), [(RESULTS, ("43", "11")), (PLAN_67, ("11", "15")), (PLAN_123, ("12", "A2"))]
)
def test_a_wrong_role_does_not_also_name_wrong_offices(sets: Sets, folder: str, types: tuple[str, str]) -> None:
    sets.of(folder).rename_all(sender_service=types[0], recipient_service=types[1]).only("TDK-ROLE", None, None, None)


@pytest.mark.parametrize("folder", sorted(sample_sets()))
def test_an_office_that_sends_to_itself_is_said_once(sets: Sets, folder: str) -> None:
    made = sets.of(folder)
    own = made.context().sender
    made.rename_all(recipient_office=own.number)
    made.recipient = OfficeFacts(own.number, frozenset())
    made.only("TDK-OWN-OFFICE", None, None, None)


def test_a_month_of_the_name_that_no_row_has_does_not_also_make_the_version_old(sets: Sets) -> None:
    made = sets.of(OLD_RESULTS).rename("UPJSK", target_month=FIRST_OF_202407)
    made.only("TDK-NAME-CONTENT", "UPJSK", 1, "target_month")


@pytest.mark.parametrize("wrong", ["UPYOBO-SUB", "UPYOBO__SUB", "upyobo_sub", "ＵＰＹＯＢＯ_SUB"])
def test_a_name_that_breaks_the_grammar_is_not_also_missing(sets: Sets, wrong: str) -> None:
    made = sets.of(SUPPORT)
    made.names["UPYOBO_SUB"] = made.names["UPYOBO_SUB"].replace("UPYOBO_SUB", wrong)
    made.only("TDK-NAME", "UPYOBO_SUB", None, None)


@pytest.mark.parametrize("parts", [{"sender_office": "9900100999"}, {"recipient_service": "ZZ"}])
@pytest.mark.parametrize("kind", ["UPYOBO", "UPYOBO_SUB"])
def test_of_two_files_the_one_with_the_wrong_name_is_blamed(sets: Sets, kind: str, parts: dict[str, str]) -> None:
    made = sets.of(SUPPORT)
    context = made.context()
    made.sender, made.recipient = context.sender, context.recipient
    code = "TDK-NAME-TYPE" if "recipient_service" in parts else "TDK-NAME-SENDER"
    made.rename(kind, **parts).only(code, kind, None, None)


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        (PICTURE.replace("143001", "143009"), "TDK-OTHER-UNIT"),
        (PICTURE.replace("9900100015", "9900100999"), "TDK-NAME-SENDER"),
        (PICTURE.replace("_0001", "_001"), "TDK-NAME"),
    ],
)
def test_a_picture_with_a_wrong_name_is_not_also_missing(sets: Sets, wrong: str, code: str) -> None:
    made = sets.of(BASIC).set("UPKIHON", 1, "family_image_file", PICTURE)
    made.attachments = [PICTURE]
    assert made.check().findings == []
    made.attachments = [wrong]
    assert [(finding.code, finding.file) for finding in made.check().findings] == [(code, wrong)]


def test_a_repeated_row_does_not_also_name_its_picture_twice(sets: Sets) -> None:
    made = sets.of(BASIC).set("UPKIHON", 1, "family_image_file", PICTURE)
    made.attachments = [PICTURE]
    made.rows["UPKIHON"].append(list(made.rows["UPKIHON"][0]))
    made.only("TDK-REPEATED", "UPKIHON", 2, None, "warning")


def test_another_type_in_the_results_does_not_hide_a_missing_code_of_equipment(sets: Sets) -> None:
    sets.of(RESULTS).set("UPJSK", 2, "service_code", "171003").only("TDK-EQUIPMENT-CODE", "UPJSK", 2, "tais_code")
    sets.of(RESULTS).set("UPJSK", 2, "service_code", "151111").only(
        "TDK-OTHER-TYPE", "UPJSK", 2, "service_code", "warning"
    )


@pytest.mark.parametrize("column", ["issue_no", "support_no", "service_no"])
def test_running_numbers_of_a_support_plan_are_numbers(sets: Sets, column: str) -> None:
    sets.of(SUPPORT).set("UPYOBO_SUB", 1, column, "A").only("TDK-VALUE", "UPYOBO_SUB", 1, column, "warning")


@pytest.mark.parametrize("column", ["issue_no", "support_no"])
def test_an_upper_running_number_is_repeated_on_each_row(sets: Sets, column: str) -> None:
    sets.of(SUPPORT).set("UPYOBO_SUB", 2, column, "").only("TDK-NEEDED", "UPYOBO_SUB", 2, column, "warning")


@pytest.mark.parametrize(
    ("folder", "kind"), [(PLAN_67, "UPPLAN"), (SUPPORT, "UPYOBO_SUB"), ("202407/delete_plan", "DLTPLAN")]
)
def test_a_line_break_that_tears_a_row_in_two_is_said_once(sets: Sets, folder: str, kind: str) -> None:
    whole = sets.of(folder).bytes_of(kind)
    end = whole.index(b"\r\n", whole.index(b"\r\n") + 2) if whole.count(b"\r\n") > 1 else len(whole) - 2
    first = 0 if whole.count(b"\r\n") == 1 else whole.index(b"\r\n") + 2
    quoted = False
    for place in range(first + 1, end):
        quoted ^= whole[place - 1 : place] == b'"'
        if quoted:
            continue
        made = sets.of(folder)
        made.raw[kind] = whole[:place] + b"\r\n" + whole[place:]
        report = made.check()
        assert report.errors + report.warnings == 1, (place, report.findings)


def test_two_short_rows_are_two_causes(sets: Sets) -> None:
    made = sets.of(PLAN_67)
    rows = made.bytes_of("UPPLAN").split(b"\r\n")
    rows[1], rows[3] = rows[1].rsplit(b",", 9)[0], rows[3].rsplit(b",", 8)[0]
    made.raw["UPPLAN"] = b"\r\n".join(rows)
    assert [(finding.code, finding.row) for finding in made.check().findings] == [
        ("TDK-COLUMN-COUNT", 2),
        ("TDK-COLUMN-COUNT", 4),
    ]
