"""Sessions of browsers on a clock that the test moves: what ends them, what keeps them, what the table gives away."""

import hashlib
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from services.portal.websessions import Held, Owner, WebSessions
from todoke.relay.postgres import Tx
from todoke.relay.seal import SealBroken
from todoke.relay.service import Shared
from todoke.relay.testing import ManualClock

OWNER = Owner("office", "9970100018", "c0000000000")
HELD = Held(typed_id="c0000000000", step_token="secret-token", wanted="/received")


@pytest.fixture
async def sessions(shared: Shared) -> AsyncIterator[WebSessions]:
    runtime = await shared.runtime("portal")
    yield WebSessions(runtime.db, runtime.seal, runtime.secrets, runtime.ports.ids, idle_minutes=30)
    await runtime.db.close()


@pytest.fixture
def clock(shared: Shared) -> ManualClock:
    found = shared.ports.clock
    assert isinstance(found, ManualClock)
    return found


async def test_a_session_lives_as_long_as_it_is_used_and_eight_hours_at_most(
    sessions: WebSessions, clock: ManualClock
) -> None:
    cookie = await sessions.begin(OWNER, HELD)
    for _ in range(16):
        clock.move(timedelta(minutes=29))
        found = await sessions.find("office", cookie)
        assert found is not None
        assert found.alive
        assert found.held == HELD
    clock.move(timedelta(minutes=29))
    over = await sessions.find("office", cookie)
    assert over is not None
    assert not over.alive
    assert over.held == Held(), "what belongs to a session is not handed out after its end"


async def test_half_an_hour_without_use_ends_it_and_a_mere_question_is_no_use(
    sessions: WebSessions, clock: ManualClock
) -> None:
    cookie = await sessions.begin(OWNER, HELD)
    clock.move(timedelta(minutes=20))
    asked = await sessions.find("office", cookie, used=False)
    assert asked is not None
    assert asked.alive
    clock.move(timedelta(minutes=11))
    over = await sessions.find("office", cookie)
    assert over is not None
    assert not over.alive
    assert (over.office, over.user_id) == (OWNER.office, OWNER.user_id), "a late form still finds its writer"


async def test_a_cookie_is_good_for_its_kind_of_session_only(sessions: WebSessions) -> None:
    cookie = await sessions.begin(OWNER, HELD)
    for kind in ("step", "usage", "operator"):
        assert await sessions.find(kind, cookie) is None


async def test_an_ended_session_is_over_at_once_and_forgotten_after_a_day(
    sessions: WebSessions, clock: ManualClock
) -> None:
    cookie = await sessions.begin(OWNER, HELD)
    found = await sessions.find("office", cookie)
    assert found is not None
    await sessions.end(found.id)
    over = await sessions.find("office", cookie)
    assert over is not None
    assert not over.alive
    clock.move(timedelta(hours=25))
    await sessions.sweep()
    assert await sessions.find("office", cookie) is None


async def test_the_table_holds_neither_cookies_nor_tokens(sessions: WebSessions) -> None:
    cookie = await sessions.begin(OWNER, HELD)
    async with sessions._db.worker() as tx:
        (row,) = await _rows(tx)
    assert row["hash"] == hashlib.sha256(cookie.encode()).digest()
    assert b"secret-token" not in row["sealed"]
    assert cookie.encode() not in row["sealed"]


async def test_tokens_moved_to_another_session_do_not_open(sessions: WebSessions) -> None:
    mine = await sessions.begin(OWNER, HELD)
    theirs = await sessions.begin(Owner("office", "9970100117", "c1"), Held(step_token="theirs"))
    async with sessions._db.worker() as tx:
        await tx.db.execute(
            "UPDATE web_session SET sealed = (SELECT sealed FROM web_session WHERE hash = $2) WHERE hash = $1",
            hashlib.sha256(mine.encode()).digest(),
            hashlib.sha256(theirs.encode()).digest(),
        )
    with pytest.raises(SealBroken):
        await sessions.find("office", mine)


async def _rows(tx: Tx) -> list[dict[str, bytes]]:
    return [dict(row) for row in await tx.db.fetch("SELECT hash, sealed FROM web_session")]
