"""Tokens that are about to end are renewed once, however many tabs ask; what a page renews on its way is kept."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import httpx
import pytest

from services.portal.apis import Api
from services.portal.visitors import Visitors
from services.portal.websessions import Held, Owner, WebSession, WebSessions
from todoke.client import NotLoggedIn, Session
from todoke.client.shapes import SessionOffice, SessionUser
from todoke.relay.service import Shared
from todoke.relay.testing import ManualClock

OFFICE = SessionOffice(number="9970100018", name="見本事業所")
USER = SessionUser(id="c0000000018", name="例示 春子", roles=("admin",))


class Registry:
    """The API's side of a refresh: counts, gives new tokens, or says that the session is over."""

    def __init__(self) -> None:
        self.refreshed = 0
        self.over = False
        self.heard: list[httpx.Headers] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.heard.append(request.headers)
        if self.over:
            return httpx.Response(401, json={"title": "x", "status": 401, "code": "TDK-SESSION-ENDED"})
        if request.url.path == "/v1/session/refresh":
            self.refreshed += 1
            return httpx.Response(
                200,
                json={
                    "access_token": f"access-{self.refreshed}",
                    "expires_in": 3600,
                    "refresh_token": f"refresh-{self.refreshed}",
                    "refresh_expires_in": 20000,
                    "office": OFFICE.model_dump(),
                    "user": USER.model_dump(),
                },
            )
        return httpx.Response(200, json={"sent": {}, "received": {}})


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
async def visitors(shared: Shared, registry: Registry) -> AsyncIterator[Visitors]:
    runtime = await shared.runtime("portal")
    sessions = WebSessions(runtime.db, runtime.seal, runtime.secrets, runtime.ports.ids, idle_minutes=30)
    api = Api("http://127.0.0.1:9", b"s" * 32)
    api._transport = httpx.MockTransport(registry)  # type: ignore[assignment]
    yield Visitors(sessions, api, runtime.ports.clock)
    await runtime.db.close()


async def begun(visitors: Visitors, minutes: float) -> WebSession:
    """A session whose access token ends in so many minutes."""
    clock = visitors.clock
    assert isinstance(clock, ManualClock)
    session = Session(
        url="http://127.0.0.1:9",
        access_token="access-0",
        access_until=clock.now() + timedelta(minutes=minutes),
        refresh_token="refresh-0",
        refresh_until=clock.now() + timedelta(hours=8),
        office=OFFICE,
        user=USER,
    )
    cookie = await visitors.sessions.begin(Owner("office", OFFICE.number, USER.id), Held(session=session))
    found = await visitors.sessions.find("office", cookie)
    assert found is not None
    return found


async def test_a_token_that_lasts_is_used_as_it_is(visitors: Visitors, registry: Registry) -> None:
    visitor = await visitors.of(await begun(visitors, 30), "proof", "203.0.113.9")
    assert registry.refreshed == 0
    assert (visitor.office, visitor.user_id, visitor.may_handle()) == (OFFICE.number, USER.id, True)
    await visitor.client.counts()
    assert registry.heard[-1]["forwarded"] == "for=203.0.113.9"
    assert registry.heard[-1]["todoke-portal"] == (b"s" * 32).hex()


async def test_eight_tabs_at_once_renew_once_and_all_go_on(visitors: Visitors, registry: Registry) -> None:
    web = await begun(visitors, 5)
    made = await asyncio.gather(*(visitors.of(web, "proof", None) for _ in range(8)))
    assert registry.refreshed == 1
    assert {visitor.session.access_token for visitor in made} == {"access-1"}
    kept = await visitors.sessions.by_id(web.id)
    assert kept is not None
    assert kept.held.session is not None
    assert kept.held.session.refresh_token == "refresh-1"


async def test_a_session_that_the_api_has_ended_makes_no_visitor(visitors: Visitors, registry: Registry) -> None:
    web = await begun(visitors, 5)
    registry.over = True
    with pytest.raises(NotLoggedIn):
        await visitors.of(web, "proof", None)


async def test_what_ends_while_a_page_is_made_ends_the_browser_s_session(
    visitors: Visitors, registry: Registry
) -> None:
    visitor = await visitors.of(await begun(visitors, 30), "proof", None)
    registry.over = True
    with pytest.raises(NotLoggedIn):
        await visitor.client.counts()
    await visitors.keep(visitor)
    over = await visitors.sessions.by_id(visitor.web.id)
    assert over is not None
    assert not over.alive
