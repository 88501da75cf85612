"""The one policy function over its whole table: state of the office × act, role × act, and midnight in Japan."""

from datetime import UTC, date, datetime, timedelta
from typing import get_args
from uuid import UUID

import pytest

from todoke.events import OfficeFacts
from todoke.relay.policy import Act, Caller, lists_findings, may, may_be_sent_to, may_send, standing
from todoke.relay.problem import Problem

LAST_DAY = date(2026, 3, 31)
ACTS = get_args(Act)
NOON = datetime(2026, 3, 31, 3, tzinfo=UTC)
"""12:00 in Japan on the licence's last day."""

ALL = frozenset(ACTS)
FETCHING = ALL - {"send", "check"}
READING = FETCHING - {"fetch", "receipt"}
OUTSIDE = frozenset({"own_office", "manage"})


def caller(role: str = "admin", *, until: date | None = LAST_DAY, suspended: bool = False) -> Caller:
    return Caller("c0000000018", "9970100018", frozenset({role}), until, suspended, UUID(int=1))


def code(who: Caller, act: Act, now: datetime) -> str | None:
    try:
        may(who, act, now)
    except Problem as refused:
        body = refused.body()
        return refused.code if body["status"] == 403 and "{" not in str(body["title"]) else repr(body)
    return None


@pytest.mark.parametrize(
    ("days_after", "suspended", "allowed"),
    [
        (-300, False, ALL),
        (0, False, ALL),
        (1, False, FETCHING),
        (30, False, FETCHING),
        (31, False, READING),
        (60, False, READING),
        (61, False, OUTSIDE),
        (4000, False, OUTSIDE),
        (0, True, FETCHING),
        (30, True, FETCHING),
        (31, True, READING),
        (61, True, OUTSIDE),
    ],
)
@pytest.mark.parametrize("act", ACTS)
def test_state_of_the_office_decides(days_after: int, suspended: bool, allowed: frozenset[str], act: Act) -> None:
    refused = code(caller(suspended=suspended), act, NOON + timedelta(days=days_after))
    assert (refused is None) is (act in allowed)


@pytest.mark.parametrize("act", ACTS)
def test_never_licensed_has_the_usage_site_only(act: Act) -> None:
    assert code(caller(until=None), act, NOON) == (None if act in OUTSIDE else "TDK-NO-LICENCE-ANY")


@pytest.mark.parametrize(
    ("role", "refused"),
    [
        ("admin", frozenset()),
        ("staff", frozenset({"manage"})),
        ("viewer", frozenset({"send", "check", "fetch", "receipt", "recall", "manage"})),
        ("stranger", ALL),
    ],
)
@pytest.mark.parametrize("act", ACTS)
def test_role_decides(role: str, refused: frozenset[str], act: Act) -> None:
    assert code(caller(role), act, NOON) == ("TDK-NOT-ALLOWED" if act in refused else None)


@pytest.mark.parametrize("act", ACTS)
def test_usage_session_acts_for_the_office_alone(act: Act) -> None:
    office = Caller(None, "9970100018", frozenset(), LAST_DAY, suspended=False, session=UUID(int=1), scope="usage")
    assert code(office, act, NOON) == (None if act in OUTSIDE else "TDK-NOT-ALLOWED")


def test_refusal_tells_why() -> None:
    assert code(caller(suspended=True), "send", NOON) == "TDK-SUSPENDED"
    assert code(caller(), "send", NOON + timedelta(days=1)) == "TDK-NO-LICENCE"
    assert code(caller(), "fetch", NOON + timedelta(days=31)) == "TDK-NO-LICENCE-FETCH"
    assert code(caller(), "lists", NOON + timedelta(days=61)) == "TDK-NO-LICENCE-ANY"


def test_licence_ends_at_midnight_in_japan() -> None:
    midnight = datetime(2026, 3, 31, 15, tzinfo=UTC)
    assert standing(LAST_DAY, midnight - timedelta(microseconds=1)) == "licensed"
    assert standing(LAST_DAY, midnight) == "fetching"
    assert standing(LAST_DAY, midnight + timedelta(days=30)) == "reading"
    assert standing(LAST_DAY, midnight + timedelta(days=60)) == "outside"


@pytest.mark.parametrize(
    ("facts", "days_after", "refused"),
    [
        (OfficeFacts(name="x", participation="active", licence_until=LAST_DAY), 0, False),
        (OfficeFacts(name="x", participation="active", licence_until=LAST_DAY), 1, True),
        (OfficeFacts(name="x", participation="suspended", licence_until=LAST_DAY), 0, True),
        (OfficeFacts(name="x"), 0, True),
    ],
)
def test_only_licensed_offices_are_sent_to_and_send(facts: OfficeFacts, days_after: int, refused: bool) -> None:
    now = NOON + timedelta(days=days_after)
    if not refused:
        may_be_sent_to(facts, now)
        may_send(facts, now)
        return
    with pytest.raises(Problem) as sent_to:
        may_be_sent_to(facts, now)
    assert (sent_to.value.status, sent_to.value.code) == (409, "TDK-OFFICE-NOT-TAKING-PART")
    with pytest.raises(Problem) as sending:
        may_send(facts, now)
    assert sending.value.status == 403


def test_directory_overrides_the_token() -> None:
    suspended = OfficeFacts(name="x", participation="suspended", licence_until=LAST_DAY)
    assert code(caller().as_of(suspended), "send", NOON) == "TDK-SUSPENDED"
    renewed = OfficeFacts(name="x", participation="active", licence_until=LAST_DAY + timedelta(days=365))
    assert code(caller().as_of(renewed), "send", NOON + timedelta(days=1)) is None


def test_findings_are_listed_for_those_who_work_on_them() -> None:
    assert lists_findings(caller("admin"))
    assert lists_findings(caller("staff"))
    assert not lists_findings(caller("viewer"))


def test_who_may_not_send_any_more_is_told_until_when_to_fetch() -> None:
    with pytest.raises(Problem) as refused:
        may(caller(until=date(2026, 3, 31)), "send", datetime(2026, 4, 2, 3, 0, tzinfo=UTC))
    title = refused.value.body()["title"]
    assert title == "ライセンスの期限（2026年3月31日）が過ぎました。送信ができません。取得は2026年4月30日までできます。"
