"""The frame of a page: poorer when the API is away, never an error; its bands say what is wrong with the office."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest

from services.portal.apis import SessionSlot
from services.portal.frame import FACTS_SECONDS, STATUS_SECONDS, Frames
from services.portal.visitors import Visitor
from services.portal.websessions import Held, WebSession
from todoke.client import AsyncClient, NotLoggedIn, Patience, Session
from todoke.client.shapes import SessionOffice, SessionUser
from todoke.relay.testing import ManualClock

NOW = datetime(2026, 11, 4, 0, 42, tzinfo=UTC)
LATER = NOW + timedelta(hours=8)
SESSION = Session(
    url="http://127.0.0.1",
    access_token="access",
    access_until=datetime(2100, 1, 1, tzinfo=UTC),
    refresh_token="refresh",
    refresh_until=datetime(2100, 1, 1, tzinfo=UTC),
    office=SessionOffice(number="9970100018", name="見本事業所"),
    user=SessionUser(id="c0000000018", name="例示 春子", roles=("admin",)),
)


class Api:
    """Answers of the API by path; a path without one is a 503."""

    def __init__(self, **answers: Any) -> None:
        self.answers = {f"/v1/{name}": body for name, body in answers.items()}
        self.asked: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.url.path)
        if request.url.path not in self.answers:
            return httpx.Response(503, json={"title": "x", "status": 503, "code": "TDK-ENGINE-AWAY"})
        body = self.answers[request.url.path]
        return httpx.Response(body) if isinstance(body, int) else httpx.Response(200, json=body)


def visitor_of(api: Api) -> Visitor:
    slot = SessionSlot(SESSION)
    client = AsyncClient(
        "http://127.0.0.1", store=slot, patience=Patience(seconds=0.01), transport=httpx.MockTransport(api)
    )
    web = WebSession(UUID(int=1), "office", "9970100018", "c0000000018", Held(), NOW, LATER, LATER, alive=True)
    return Visitor(web, slot, client, "proof")


def office_until(licence: str | None, fetching: str | None) -> dict[str, Any]:
    """One's own office with a licence until a day, which may fetch until another."""
    return {
        "number": "9970100018",
        "name": "見本事業所",
        "participation": "active",
        "kj_id": "KJ999970100018",
        "licence_until": licence,
        "fetch_until": fetching,
        "standing": "licensed",
        "password": {"changed_at": "2026-11-01T00:00:00Z", "must_change": False},
    }


def healthy(**more: Any) -> Api:
    answers = {
        "counts": {"sent": {}, "received": {"delivered": 7, "downloaded": 2}},
        "office": office_until("2027-03-31", "2027-04-30"),
        "status": {"state": "normal", "sentence": "正常です。"},
    }
    return Api(**{**answers, **more})


async def test_it_tells_who_is_here_and_how_much_waits() -> None:
    frame = await Frames(ManualClock(NOW)).of(visitor_of(healthy()), "/received")
    assert (frame.office_name, frame.office_number, frame.person) == ("見本事業所", "9970100018", "例示 春子")
    assert (frame.here, frame.unread, frame.bands) == ("/received", 7, ())


async def test_an_api_that_is_away_takes_nothing_but_the_number() -> None:
    frame = await Frames(ManualClock(NOW)).of(visitor_of(Api()), "/")
    assert (frame.office_name, frame.unread, frame.bands) == ("見本事業所", None, ())


@pytest.mark.parametrize(
    ("until", "fetching", "told"),
    [
        ("2026-11-04", "2026-12-04", []),
        (
            "2026-11-03",
            "2026-12-03",
            ["ライセンスの期限（2026/11/3）が過ぎました。送信ができません。取得は2026/12/3までできます。"],
        ),
        ("2026-10-04", "2026-11-03", ["ライセンスの期限（2026/10/4）から30日が過ぎました。取得ができません。"]),
        (None, None, []),
    ],
)
async def test_s10_6_a_licence_that_has_ended_is_a_band_on_every_page(
    until: str | None, fetching: str | None, told: list[str]
) -> None:
    office = office_until(until, fetching)
    frame = await Frames(ManualClock(NOW)).of(visitor_of(healthy(office=office)), "/")
    assert [band.what for band in frame.bands] == told
    assert {band.number for band in frame.bands} <= {"E-601"}


async def test_maintenance_is_a_band_with_its_end() -> None:
    down = {"state": "down", "sentence": "停止中", "until": "2026-11-04T03:00:00Z"}
    frame = await Frames(ManualClock(NOW)).of(visitor_of(healthy(status=down)), "/")
    assert [band.what for band in frame.bands] == ["ただいま点検中です。（2026/11/04 12:00まで）"]


async def test_what_changes_rarely_is_asked_rarely() -> None:
    clock, api = ManualClock(NOW), healthy()
    frames = Frames(clock)
    for _ in range(3):
        await frames.of(visitor_of(api), "/")
    assert (api.asked.count("/v1/office"), api.asked.count("/v1/status"), api.asked.count("/v1/counts")) == (1, 1, 3)
    clock.move(timedelta(seconds=STATUS_SECONDS))
    await frames.of(visitor_of(api), "/")
    assert (api.asked.count("/v1/office"), api.asked.count("/v1/status")) == (1, 2)
    clock.move(timedelta(seconds=FACTS_SECONDS))
    await frames.of(visitor_of(api), "/")
    assert api.asked.count("/v1/office") == 2


async def test_a_session_that_is_over_is_no_poor_frame() -> None:
    over = Api(**{"counts": 401, "office": 401, "status": 401, "session/refresh": 401})
    with pytest.raises(NotLoggedIn):
        await Frames(ManualClock(NOW)).of(visitor_of(over), "/")
