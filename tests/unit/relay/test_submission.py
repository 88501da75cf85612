"""What is refused at once, rule by rule, and what a message becomes that is not."""

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

import pytest

from todoke.events import OfficeFacts
from todoke.relay.limits import Limits
from todoke.relay.problem import Problem, wordings
from todoke.relay.submission import Draft, MessageBody, Refused, judge, parse_message, recipient_named

NOW = datetime(2026, 3, 31, 14, 59, 59, tzinfo=UTC)  # 23:59:59 in Japan
SENDER, RECIPIENT, OTHER = "9970100018", "9970100117", "9970100216"
PLAN = f"UPPLAN_202509_{SENDER}_43_{RECIPIENT}_11_20250825121901.CSV"
ANNEX = f"UPSIKYU_202509_{SENDER}_43_{RECIPIENT}_11_20250825121901.csv"
EXTRA = f"UPHOSOKU_000000_{SENDER}_43_{RECIPIENT}_11_20250825121901.CSV"
LIMITS = Limits(text_characters_max=10, attachments_per_message_max=2, files_per_message_max=4)


@dataclasses.dataclass(frozen=True)
class Row:
    """An office as a directory has it."""

    number: str
    version: int
    facts: OfficeFacts


def row(number: str, **facts: Any) -> Row:
    known = {"name": f"office {number}", "participation": "active", "licence_until": date(2026, 3, 31)}
    return Row(number, 7, OfficeFacts(**{**known, **facts}))


OFFICES: Mapping[str, Row] = {number: row(number) for number in (SENDER, RECIPIENT, OTHER)}


def draft(names: Sequence[str] = (), offices: Mapping[str, Row] = OFFICES, now: datetime = NOW, **body: Any) -> Draft:
    return judge(MessageBody(**body), names, sender=OFFICES[SENDER], offices=offices, now=now, limits=LIMITS)


def refusals(names: Sequence[str] = (), **given: Any) -> list[tuple[str, str]]:
    with pytest.raises(Refused) as caught:
        draft(names, **given)
    problem = caught.value.problem()
    assert problem.status == wordings()[caught.value.refusals[0].code].status
    assert all(entry["message"] for entry in problem.body()["errors"])
    return [(one.code, one.where) for one in caught.value.refusals]


def test_a_set_tells_everything_by_its_names() -> None:
    made = draft([PLAN, "記録.pdf", EXTRA])
    assert (made.recipient.number, made.sequence, made.sequence_made) == (RECIPIENT, "20250825121901", False)
    assert (made.csv_version, made.months, made.sender_service, made.service_type) == (
        "202407",
        ("202509",),
        "43",
        "11",
    )
    assert [(file.n, file.role, file.kind) for file in made.files] == [
        (1, "data", "UPPLAN"),
        (2, "attachment", None),
        (3, "data", "UPHOSOKU"),
    ]


def test_what_body_and_names_both_say_may_agree() -> None:
    assert draft([PLAN], recipient=RECIPIENT, sequence="20250825121901").sequence == "20250825121901"


def test_names_of_the_old_version_have_no_service_types() -> None:
    made = draft([f"UP1KYO_{SENDER}_{RECIPIENT}_20250225101502.CSV"])
    assert (made.csv_version, made.months, made.service_type) == ("202208", (), None)


def test_without_data_files_the_sequence_is_made_in_japan_time() -> None:
    made = draft(["表.pdf"], recipient=RECIPIENT)
    assert (made.sequence, made.sequence_made, made.csv_version) == ("20260331235959", True, None)


def test_a_text_alone_is_a_message() -> None:
    made = draft(recipient=RECIPIENT, text="お願い\nします", sequence="20250101000000")
    assert (made.text, made.sequence, made.sequence_made) == ("お願い\nします", "20250101000000", False)


def test_a_licence_lasts_until_midnight_in_japan() -> None:
    assert draft(recipient=RECIPIENT, text="a").recipient.version == 7
    midnight = datetime(2026, 3, 31, 15, 0, tzinfo=UTC)
    assert refusals(recipient=RECIPIENT, text="a", now=midnight) == [("TDK-OFFICE-NOT-TAKING-PART", "recipient")]


@pytest.mark.parametrize("facts", [{"participation": "suspended"}, {"participation": "none", "licence_until": None}])
def test_an_office_that_takes_no_part_is_refused(facts: dict[str, Any]) -> None:
    offices = {**OFFICES, RECIPIENT: row(RECIPIENT, **facts)}
    assert refusals([PLAN], offices=offices) == [("TDK-OFFICE-NOT-TAKING-PART", "recipient")]


@pytest.mark.parametrize(
    ("names", "body", "found"),
    [
        ([], {"recipient": RECIPIENT}, [("TDK-NOTHING-TO-SEND", "files")]),
        ([], {"recipient": RECIPIENT, "text": " \n"}, [("TDK-NOTHING-TO-SEND", "files")]),
        ([], {"recipient": RECIPIENT, "text": "a\x00"}, [("TDK-INVALID", "text")]),
        ([], {"text": "a"}, [("TDK-NO-RECIPIENT", "recipient")]),
        (["a.pdf"], {}, [("TDK-NO-RECIPIENT", "recipient")]),
        ([], {"recipient": SENDER, "text": "a"}, [("TDK-OWN-NUMBER", "recipient")]),
        ([], {"recipient": "9979999999", "text": "a"}, [("TDK-UNKNOWN-OFFICE", "recipient")]),
        ([], {"recipient": "", "text": "a"}, [("TDK-NO-RECIPIENT", "recipient")]),
        ([], {"recipient": RECIPIENT, "text": "a", "sequence": "2025"}, [("TDK-SEQUENCE-FORM", "sequence")]),
        ([], {"recipient": RECIPIENT, "text": "a" * 11}, [("TDK-TEXT-TOO-LONG", "text")]),
        ([f"{n}.pdf" for n in range(3)], {"recipient": RECIPIENT}, [("TDK-ATTACHMENTS-TOO-MANY", "files")]),
        ([PLAN], {"recipient": OTHER}, [("TDK-RECIPIENT-MISMATCH", "recipient")]),
        ([PLAN], {"sequence": "20250825121902"}, [("TDK-SEQUENCE-MISMATCH", "sequence")]),
        ([PLAN.replace(SENDER, OTHER)], {}, [("TDK-SENDER-MISMATCH", "files[1]")]),
        ([PLAN, ANNEX.replace("901.csv", "902.csv")], {}, [("TDK-NAMES-DISAGREE", "files")]),
        ([PLAN, ANNEX.replace(RECIPIENT, OTHER)], {}, [("TDK-NAMES-DISAGREE", "files")]),
        ([PLAN.replace("CSV", "TXT")], {}, [("TDK-FILE-NAME", "files[1]")]),
        (["あ.csv", PLAN, "upplan_x.docx"], {}, [("TDK-FILE-NAME", "files[1]"), ("TDK-FILE-NAME", "files[3]")]),
        ([PLAN, "../a.pdf"], {}, [("TDK-FILE-NAME-PATH", "files[2]")]),
        (["C:\\a.pdf"], {"recipient": RECIPIENT}, [("TDK-FILE-NAME-PATH", "files[1]")]),
        (["a\r\n.pdf"], {"recipient": RECIPIENT}, [("TDK-FILE-NAME-CONTROL", "files[1]")]),
        ([PLAN.replace(SENDER, SENDER[1:])], {}, [("TDK-FILE-NAME-OFFICE", "files[1]")]),
        ([PLAN.replace("20250825121901", "2025082512190")], {}, [("TDK-FILE-NAME-SEQUENCE", "files[1]")]),
        (["upplan_x.csv", PLAN], {}, [("TDK-FILE-NAME", "files[1]")]),
        (["a" * 252 + ".pdf"], {"recipient": RECIPIENT}, [("TDK-FILE-NAME-TOO-LONG", "files[1]")]),
        ([PLAN, PLAN], {}, [("TDK-FILE-NAME-TWICE", "files[2]")]),
        (["a.pdf", "A.PDF"], {"recipient": RECIPIENT}, [("TDK-FILE-NAME-ALIKE", "files[2]")]),
    ],
)
def test_each_rule_refuses_at_once(names: list[str], body: dict[str, Any], found: list[tuple[str, str]]) -> None:
    assert refusals(names, **body) == found


def test_another_kind_of_file_is_left_to_validation() -> None:
    assert draft(["a.docx"], recipient=RECIPIENT).files[0].role == "attachment"


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b'"a"', b"\xff", b'{"text": "\\ud800"}'])
def test_a_json_part_that_cannot_be_read_is_400(raw: bytes) -> None:
    with pytest.raises(Problem) as caught:
        parse_message(raw)
    assert caught.value.code == "TDK-BODY-MALFORMED"


@pytest.mark.parametrize("raw", [b'{"recipient": 1}', b'{"allow_resend": "yes"}', b'{"canary-name": "x"}'])
def test_a_wrong_or_unknown_field_is_422_and_repeats_nothing(raw: bytes) -> None:
    with pytest.raises(Problem) as caught:
        parse_message(raw)
    assert caught.value.code == "TDK-INVALID"
    assert "canary" not in str(caught.value.body())


def test_the_order_of_fields_does_not_change_what_a_message_says() -> None:
    one, two = b'{"text":"a","recipient":"b"}', b'{"recipient": "b", "sequence": null, "text": "a"}'
    assert parse_message(one).canonical() == parse_message(two).canonical()


def test_the_recipient_is_known_before_the_judgement() -> None:
    assert recipient_named(MessageBody(), ["a.pdf", PLAN]) == RECIPIENT
    assert recipient_named(MessageBody(recipient=OTHER), [PLAN]) == OTHER
    assert recipient_named(MessageBody(), []) is None
