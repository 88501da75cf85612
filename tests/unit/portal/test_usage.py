"""What 利用状況Webサイト and the console make of an office's affairs."""

from datetime import UTC, date, datetime
from typing import Any

import pytest

from services.portal.announcing import announcing
from services.portal.console import is_day, next_port, office_state, takes_part
from services.portal.forms import Form
from services.portal.usage import calendar_day, mistakes_of, read, state_of
from todoke.client.office_shapes import OwnOffice
from todoke.client.ops_shapes import Facts

NOW = datetime(2026, 11, 3, 15, 42, tzinfo=UTC)  # the fourth, in Japan
RENEWAL = {"renews": True, "possible": False, "possible_from": "2026-12-31", "possible_until": "2027-04-30"}


def office(until: str | None = "2027-03-31", **more: Any) -> OwnOffice:
    known = {
        "number": "9970100018",
        "name": "見本事業所",
        "participation": "active",
        "kj_id": "KJ999970100018",
        "standing": "licensed",
        "licence_until": until,
        "renewal": RENEWAL if until else None,
        "password": {"changed_at": "2026-11-01T00:00:00Z", "must_change": False},
    }
    return OwnOffice(**{**known, **more})


def applied(state: str) -> dict[str, Any]:
    return {
        "id": "01900000-0000-7000-8000-000000000000",
        "kind": "new",
        "contact_name": "例示 春子",
        "mail": "haruko@example.jp",
        "auto_renew": True,
        "state": state,
        "received_at": "2026-03-01T15:00:00Z",
    }


def test_s04_2_a_licensed_office_has_nothing_to_do_and_reads_its_days() -> None:
    state = state_of(office(certificate={"issuer": "x", "serial": "AA", "not_after": "2027-03-14T15:00:00Z"}), NOW)
    assert (state.line, state.may_apply, state.may_renew, state.may_switch) == ("done", False, False, True)
    assert (state.licence_days, state.certificate_days, state.password_days) == (147, 131, None)
    assert (state.renewal_begins, state.next_renewal) == (date(2026, 12, 31), date(2027, 4, 1))


@pytest.mark.parametrize(
    ("given", "line", "may_apply", "may_renew"),
    [
        (office(None), "none", True, False),
        (office(None, application=applied("received")), "received", False, False),
        (office(None, application=applied("refused")), "refused", True, False),
        (office(application=applied("approved")), "done", False, False),
        (office(application=applied("refused")), "done", False, False),
        (office(renewal={**RENEWAL, "possible": True, "possible_from": "2026-10-01"}), "done", False, True),
        (
            office("2026-11-03", renewal={**RENEWAL, "possible": True, "possible_until": "2026-12-03"}),
            "over",
            False,
            True,
        ),
        (office("2026-10-01", renewal={**RENEWAL, "possible_until": "2026-11-03"}), "over", True, False),
    ],
)
def test_what_may_be_done_now(given: OwnOffice, line: str, may_apply: bool, may_renew: bool) -> None:
    state = state_of(given, NOW)
    assert (state.line, state.may_apply, state.may_renew) == (line, may_apply, may_renew)


def test_s06_1_after_the_last_day_nothing_is_stopped_or_resumed() -> None:
    assert state_of(office("2026-11-04"), NOW).may_switch
    over = state_of(office("2026-11-03"), NOW)
    assert (over.may_switch, over.next_renewal, over.licence_days) == (False, None, -1)


def test_a_form_is_read_as_it_was_meant_and_says_what_is_missing() -> None:
    fields = {
        "kind": "renewal",
        "contact_name": " 例示\t春子 ",
        "mail": " ｈａｒｕ＠ｅｘａｍｐｌｅ．ｊｐ ",
        "terms": "yes",
    }
    asked = read(Form(list(fields.items())))
    assert (asked.kind, asked.contact_name, asked.mail, asked.auto_renew) == (
        "renewal",
        "例示春子",
        "haru@example.jp",
        False,
    )
    assert mistakes_of(asked) == []
    for name, value, number in (
        ("contact_name", " ", "E-116"),
        ("contact_name", "長" * 101, "E-119"),
        ("mail", "haru@", "E-117"),
        ("mail", f"haru@{'long.' * 50}example.jp", "E-117"),
        ("terms", "", "E-118"),
    ):
        [(where, sentence)] = mistakes_of(read(Form(list({**fields, name: value}.items()))))
        assert (where, sentence.number) == (name, number)


def test_days_are_those_of_japan() -> None:
    assert calendar_day(datetime(2026, 3, 1, 15, tzinfo=UTC)) == "2026/03/02"
    assert calendar_day(date(2026, 3, 2)) == "2026/03/02"


@pytest.mark.parametrize("day", ["", "x", "2019-04-30", "2200-01-01"])
def test_a_letter_has_no_such_day(day: str) -> None:
    """The API refuses it too, but not so that the page could say which field is meant."""
    assert not is_day(day)
    assert is_day("2019-05-01")


@pytest.mark.parametrize("at", ["x", "0001-01-01T00:00", "1999-12-31T23:59", "2200-01-01T00:00"])
def test_a_notice_has_no_such_moment(at: str) -> None:
    fields = [("title", "点検"), ("text", "点検"), ("reason", "x"), ("ticket", "OPS-1")]
    assert [sentence.number for _, sentence in announcing(Form([*fields, ("at", at)])).mistakes()] == ["E-132"]
    assert announcing(Form([*fields, ("at", "2026-11-04T09:00")])).mistakes() == []


@pytest.mark.parametrize(
    ("address", "operators"),
    [
        ("http://127.0.0.1:8080", "http://127.0.0.1:8081"),
        ("https://todoke.example.jp", "https://todoke.example.jp:444"),
        ("http://[::1]:8080", "http://[::1]:8081"),
    ],
)
def test_the_operators_listener_is_one_port_further(address: str, operators: str) -> None:
    assert next_port(address) == operators


def test_an_office_s_state_in_the_list() -> None:
    """And whether it takes part: not after its licence's end."""
    words = [
        (office_state(facts, NOW).word, takes_part(facts, NOW))
        for participation, until in (
            ("active", date(2026, 11, 4)),
            ("suspended", date(2027, 3, 31)),
            ("active", date(2026, 11, 3)),
            ("active", date(2026, 10, 1)),
            ("none", None),
        )
        for facts in [Facts(name="x", participation=participation, licence_until=until)]
    ]
    assert words == [
        ("利用中", "参加"),
        ("休止", "休止"),
        ("期限切れ（取得のみ）", "不参加"),
        ("期限切れ（一覧のみ）", "不参加"),
        ("利用なし", "不参加"),
    ]
