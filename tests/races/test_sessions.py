"""Refreshes at the same moment over two processes: one successor, one session; a stolen token ends it, wherever."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from services.registry import offices
from services.registry.passwords import Argon2Cost, Passwords
from services.registry.rules import kj_id
from services.registry.sessions import Opened, Sessions
from tests.races.conftest import Counter
from tests.races.product import SENDER
from tests.races.racing import apart, outcome, race, rounds
from todoke.relay.postgres import queries
from todoke.relay.service import Runtime

pytestmark = pytest.mark.long
PERSON = "c0000000018"
OVERLAP_SECONDS = 0.008
ENDED_SECONDS_MAX = 5.0
_store = queries("services.registry")


@pytest.fixture
async def registry(counter: Counter) -> AsyncIterator[Runtime]:
    """The registry's tools, with a person who has a login."""
    runtime = await counter.shared.runtime("registry")
    passwords = Passwords(runtime.ports.ids, Argon2Cost(memory_kib=64, passes=1, lanes=1))
    password = {"password_hash": await passwords.hash("correct horse battery"), "must_change": False}
    await passwords.close()
    async with runtime.db.worker() as tx:
        now = tx.now
        await _store.insert_person(tx.db, id=PERSON, name="練習 花子", now=now, **password)
        await _store.insert_credential(tx.db, office=SENDER, kj_id=kj_id(SENDER), c_id=PERSON, now=now, **password)
        await offices.set_user(tx, SENDER, PERSON, ("admin",), "active")
    yield runtime
    await runtime.db.close()


async def log_in(registry: Runtime) -> Opened:
    """A session as a right second step opens one."""
    sessions = Sessions(registry.db, registry.tokens, registry.shared.ended)
    return await sessions.open_for_person({"office": SENDER, "last_login_at": None}, PERSON)


async def refresh(counter: Counter, web: int, token: str) -> httpx.Response:
    return await counter.webs[web % 2].post("/v1/session/refresh", json={"refresh_token": token})


@rounds(10)
async def test_eight_refreshes_at_once_over_two_processes_give_one_successor(
    counter: Counter, registry: Runtime, rounds: int
) -> None:
    token = (await log_in(registry)).refresh_token
    session = None
    for turn in range(rounds):
        answers = await race(
            *(lambda web=web, token=token: refresh(counter, web, token) for web in range(8)),
            delays=[step * OVERLAP_SECONDS / 8 for step in (0, 0, turn % 5, turn % 3, 0, turn % 7)],
        )
        assert [answer.status_code for answer in answers] == [200] * 8, turn
        [token] = {answer.json()["refresh_token"] for answer in answers}
        for web, answer in enumerate(answers):
            found = await _sessions(counter, web, answer.json()["access_token"])
            session = session or found["id"]
            assert found["id"] == session
    rows = await counter.fetch(
        "SELECT count(*) FILTER (WHERE used_at IS NULL) AS unused, count(*) AS n FROM registry.refresh_token "
        "WHERE session = $1",
        session,
    )
    assert [(row["unused"], row["n"]) for row in rows] == [(1, rounds + 1)]


async def _sessions(counter: Counter, web: int, token: str) -> Any:
    """The session that a token stands for, as its list shows it."""
    answer = await counter.webs[web % 2].get("/v1/session/list", headers={"Authorization": f"Bearer {token}"})
    return next(item for item in answer.json()["items"] if item["current"])


@rounds(10)
async def test_a_stolen_token_ends_the_session_though_its_owner_refreshes_at_that_moment(
    counter: Counter, registry: Runtime, rounds: int
) -> None:
    met = set()
    tokens: list[str] = []
    for turn in range(rounds):
        stolen = (await log_in(registry)).refresh_token
        current = (await refresh(counter, turn, stolen)).json()
        await _half_a_minute_passes(counter)
        owner, thief = await race(
            lambda web=turn, token=current["refresh_token"]: refresh(counter, web, token),
            lambda web=turn, token=stolen: refresh(counter, web + 1, token),
            delays=apart(turn, OVERLAP_SECONDS),
        )
        assert outcome(thief) == "TDK-SESSION-ENDED"
        met.add(outcome(owner))
        left = owner.json() if owner.status_code == 200 else current
        for web in range(2):
            assert outcome(await refresh(counter, web, left["refresh_token"])) == "TDK-SESSION-ENDED"
        tokens += [current["access_token"], left["access_token"]]
    assert met == {200, "TDK-SESSION-ENDED"}, "both orders must have been met"
    await _nobody_works_with(counter, tokens)


async def _half_a_minute_passes(counter: Counter) -> None:
    await counter.fetch(
        "UPDATE registry.refresh_token SET used_at = used_at - interval '31 seconds' WHERE used_at IS NOT NULL"
    )


@rounds(10)
async def test_a_session_that_is_ended_during_its_refresh_stays_ended(
    counter: Counter, registry: Runtime, rounds: int
) -> None:
    met = set()
    tokens: list[str] = []
    for turn in range(rounds):
        opened = await log_in(registry)
        bearer = {"Authorization": f"Bearer {opened.access_token}"}
        ended, refreshed = await race(
            lambda web=turn, bearer=bearer: counter.webs[web % 2].delete("/v1/session", headers=bearer),
            lambda web=turn, token=opened.refresh_token: refresh(counter, web + 1, token),
            delays=apart(turn, OVERLAP_SECONDS),
        )
        assert ended.status_code == 204
        met.add(outcome(refreshed))
        last = refreshed.json()["refresh_token"] if refreshed.status_code == 200 else opened.refresh_token
        assert outcome(await refresh(counter, turn, last)) == "TDK-SESSION-ENDED"
        tokens += [opened.access_token, *([refreshed.json()["access_token"]] if refreshed.status_code == 200 else [])]
    assert met == {200, "TDK-SESSION-ENDED"}, "both orders must have been met"
    await _nobody_works_with(counter, tokens)


async def _nobody_works_with(counter: Counter, tokens: list[str]) -> None:
    """Within five seconds no process takes any of these access tokens."""
    end = time.monotonic() + ENDED_SECONDS_MAX
    for token in tokens:
        for web in counter.webs:
            while (await web.get("/v1/counts", headers={"Authorization": f"Bearer {token}"})).status_code != 401:
                assert time.monotonic() < end, "a session that was ended goes on"
                await asyncio.sleep(0.1)
