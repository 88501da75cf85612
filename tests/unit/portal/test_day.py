"""What トップ says of an office's day."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from services.portal import shown
from services.portal.day import claims_end, endings, last_moves
from todoke.client.office_shapes import OwnOffice
from todoke.client.shapes import Item, OfficeRef

NOW = datetime(2026, 11, 3, 15, 42, tzinfo=UTC)  # the fourth, in Japan
OWN, OTHER = OfficeRef(number="9970100018", name="あおぞら"), OfficeRef(number="9970100117", name="そよかぜ")


def office(**more: object) -> OwnOffice:
    known = {
        "number": OWN.number,
        "name": OWN.name,
        "participation": "active",
        "kj_id": "KJ999970100018",
        "standing": "licensed",
        "password": {"changed_at": NOW, "must_change": False},
    }
    return OwnOffice.model_validate({**known, **more})


def item(minutes: int, status: str, **more: object) -> Item:
    known = {
        "message_id": UUID(int=minutes + 1),
        "sequence": "20261104000000",
        "sender": OTHER,
        "recipient": OWN,
        "status": status,
        "submitted_at": NOW - timedelta(minutes=minutes),
    }
    return Item.model_validate({**known, **more})


def test_s10_4_what_ends_is_told_soonest_first_and_what_is_far_is_not_soon() -> None:
    password = {"changed_at": NOW, "must_change": False, "expires_at": "2026-11-29T15:00:00Z"}
    certificate = {"issuer": "x", "serial": "AA", "not_after": "2027-03-14T15:00:00Z"}
    found = endings(office(licence_until="2027-02-02", password=password, certificate=certificate), NOW)
    assert [(each.what, each.days, each.is_soon) for each in found] == [
        ("password", 26, True),
        ("licence", 90, True),
        ("certificate", 131, False),
    ]
    [over] = endings(office(licence_until="2026-11-03"), NOW)
    assert (over.days, over.is_soon) == (-1, True)
    assert endings(office(), NOW) == []


def test_the_last_moves_are_the_newest_steps_of_both_lists() -> None:
    received = [item(1, "delivered"), item(9, "downloaded", downloaded_at=NOW - timedelta(minutes=2))]
    sent = [
        item(3, "submitted"),
        item(8, "downloaded", downloaded_at=NOW),
        item(5, "rejected"),
        item(6, "recalled"),
    ]
    moves = last_moves(received, sent)
    assert [each.what for each in moves] == ["fetched_there", "arrived", "fetched_here", "sent", "failed"]
    assert {each.other.number for each in moves[1:3]} == {OTHER.number}


@pytest.mark.parametrize(
    ("now", "days", "told"),
    [
        ("2026-11-03T15:42:00Z", 6, "11/10（火）17:15"),
        ("2026-11-10T08:15:00Z", 0, "11/10（火）17:15"),
        ("2026-11-10T08:15:01Z", 30, "12/10（木）17:15"),
        ("2026-12-31T14:59:00Z", 10, "1/10（日）17:15"),
    ],
)
def test_s10_the_next_end_of_the_claims_is_the_tenth_in_japan(now: str, days: int, told: str) -> None:
    ends = claims_end(datetime.fromisoformat(now))
    assert (ends.days, shown.weekday_moment(ends.at)) == (days, told)
