"""Refreshing, listing and ending sessions; changing passwords."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from fastapi.security import HTTPAuthorizationCredentials

from services.registry import offices
from services.registry.sessions import ended_feed
from todoke.relay.access import FEED_PATH, INTERNAL_SECRET_HEADER, Access, EndedPage, EndedSessions
from todoke.relay.faults import Transient
from todoke.relay.limits import Limits
from todoke.relay.problem import Problem
from todoke.relay.rates import RateLimits
from todoke.relay.testing import ManualClock

from .conftest import HELPER, MANAGER, OFFICE_PASSWORD, PERSON_PASSWORD, Login, Registry, bearer

NEW_PASSWORD = "another long sentence"


async def test_refresh_gives_other_tokens_for_the_same_session(registry: Registry) -> None:
    session = await registry.log_in(MANAGER)
    registry.clock.move(timedelta(hours=1))
    assert (await registry.get("/v1/office", session)).json()["code"] == "TDK-SESSION-ENDED"
    answer = await registry.refresh(session["refresh_token"])
    assert answer.status_code == 200
    assert answer.json()["refresh_token"] != session["refresh_token"]
    assert answer.json()["refresh_expires_in"] <= 28800 - 3600
    assert (await registry.get("/v1/office", answer.json())).status_code == 200
    listed = await registry.get("/v1/session/list", answer.json())
    assert [item["current"] for item in listed.json()["items"]] == [True]


async def test_eight_refreshes_at_once_give_one_successor(registry: Registry) -> None:
    session = await registry.log_in(MANAGER)
    answers = await asyncio.gather(*(registry.refresh(session["refresh_token"]) for _ in range(8)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["refresh_token"] for answer in answers}) == 1


async def test_same_token_within_thirty_seconds_gives_the_same_successor(registry: Registry) -> None:
    session = await registry.log_in(MANAGER)
    first = (await registry.refresh(session["refresh_token"])).json()
    registry.clock.move(timedelta(seconds=29))
    assert (await registry.refresh(session["refresh_token"])).json()["refresh_token"] == first["refresh_token"]


async def test_later_reuse_ends_the_session(registry: Registry) -> None:
    session = await registry.log_in(MANAGER)
    successor = (await registry.refresh(session["refresh_token"])).json()
    registry.clock.move(timedelta(seconds=31))
    reused = await registry.refresh(session["refresh_token"])
    assert (reused.status_code, reused.json()["code"]) == (401, "TDK-SESSION-ENDED")
    assert (await registry.refresh(successor["refresh_token"])).status_code == 401
    assert (await registry.get("/v1/office", successor)).json()["code"] == "TDK-SESSION-ENDED"


async def test_session_lasts_eight_hours_at_most(registry: Registry) -> None:
    session = await registry.log_in(MANAGER)
    for _ in range(8):
        registry.clock.move(timedelta(minutes=58))
        session = (await registry.refresh(session["refresh_token"])).json()
    assert session["expires_in"] <= 16 * 60
    assert session["expires_in"] <= session["refresh_expires_in"]
    registry.clock.move(timedelta(minutes=17))
    assert (await registry.refresh(session["refresh_token"])).status_code == 401


@pytest.mark.parametrize("token", ["", "x", "9970100018.", "9970100018." + "A" * 43, "../..", "9970100018.あ"])
async def test_unknown_refresh_tokens_are_refused(registry: Registry, token: str) -> None:
    assert (await registry.refresh(token)).json()["code"] == "TDK-SESSION-ENDED"


async def test_refresh_of_another_office_is_refused(registry: Registry) -> None:
    session = await registry.log_in(MANAGER)
    moved = HELPER.office + session["refresh_token"][10:]
    assert (await registry.refresh(moved)).status_code == 401
    assert (await registry.refresh(session["refresh_token"])).status_code == 200


async def test_logged_out_session_stops_here_at_once_and_elsewhere_with_the_next_poll(registry: Registry) -> None:
    runtime = registry.stage.runtime
    elsewhere = EndedSessions(ended_feed(registry.stage.db), runtime.ports.clock)
    await elsewhere.poll()
    session = await registry.log_in(MANAGER)
    gone = await registry.http.delete("/v1/session", headers=bearer(session["access_token"]))
    assert gone.status_code == 204
    assert (await registry.get("/v1/office", session)).json()["code"] == "TDK-SESSION-ENDED"
    assert (await registry.refresh(session["refresh_token"])).status_code == 401
    await elsewhere.poll()
    rates = RateLimits(Limits(), runtime.ports.clock)
    access = Access(runtime.tokens, elsewhere, rates, runtime.ports.clock)
    with pytest.raises(Problem, match="TDK-SESSION-ENDED"):
        await access.caller(_credentials(session["access_token"]))


async def test_one_session_ends_another_of_the_same_person_only(registry: Registry) -> None:
    here, there = await registry.log_in(MANAGER), await registry.log_in(MANAGER)
    stranger = await registry.log_in(HELPER)
    items = (await registry.get("/v1/session/list", here)).json()["items"]
    other = next(item["id"] for item in items if not item["current"])
    path = f"/v1/session/{other}"
    refused = await registry.http.delete(path, headers=bearer(stranger["access_token"]))
    assert (refused.status_code, refused.json()["code"]) == (404, "TDK-NOT-FOUND")
    assert (await registry.http.delete(path, headers=bearer(here["access_token"]))).status_code == 204
    assert (await registry.get("/v1/office", there)).status_code == 401
    assert (await registry.get("/v1/office", here)).status_code == 200


async def test_person_sees_and_ends_own_sessions_at_other_offices(registry: Registry) -> None:
    async with registry.stage.db.worker() as tx:
        await offices.set_user(tx, HELPER.office, MANAGER.c_id, ["viewer"], "active")
    here = await registry.log_in(MANAGER)
    there = await registry.log_in(Login(HELPER.office, MANAGER.c_id))
    items = (await registry.get("/v1/session/list", here)).json()["items"]
    assert {item["office"] for item in items} == {MANAGER.office, HELPER.office}
    other = next(item["id"] for item in items if item["office"] == HELPER.office)
    await registry.http.delete(f"/v1/session/{other}", headers=bearer(here["access_token"]))
    assert (await registry.get("/v1/office", there)).status_code == 401


async def test_changed_password_ends_the_other_sessions(registry: Registry) -> None:
    here, there = await registry.log_in(MANAGER), await registry.log_in(MANAGER)
    changed = await _change(registry, here, "person", PERSON_PASSWORD, NEW_PASSWORD)
    assert changed.status_code == 204
    assert (await registry.get("/v1/office", there)).status_code == 401
    assert (await registry.get("/v1/office", here)).status_code == 200
    assert (await registry.first_step(MANAGER.c_id)).status_code == 401
    assert (await registry.first_step(MANAGER.c_id, NEW_PASSWORD)).status_code == 200


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("wrong", NEW_PASSWORD, "TDK-PASSWORD-WRONG"),
        (PERSON_PASSWORD, "short", "TDK-PASSWORD-SHORT"),
        (PERSON_PASSWORD, PERSON_PASSWORD, "TDK-PASSWORD-SAME"),
        (PERSON_PASSWORD, "x" * 201, "TDK-PASSWORD-LONG"),
    ],
)
async def test_refused_passwords_say_why(registry: Registry, old: str, new: str, code: str) -> None:
    session = await registry.log_in(MANAGER)
    answer = await _change(registry, session, "person", old, new)
    assert (answer.status_code, answer.json()["code"]) == (422, code)


async def test_temporary_password_must_be_changed_first(registry: Registry) -> None:
    newcomer = Login("9970100216", "c0000000034", must_change=True)
    await registry.add(newcomer)
    session = await registry.log_in(newcomer)
    assert session["must_change"] == ["person"]
    refused = await registry.get("/v1/office", session)
    assert (refused.status_code, refused.json()["code"]) == (403, "TDK-PASSWORD-CHANGE")
    assert (await _change(registry, session, "person", PERSON_PASSWORD, NEW_PASSWORD)).status_code == 204
    session = (await registry.refresh(session["refresh_token"])).json()
    assert session["must_change"] == []
    assert (await registry.get("/v1/office", session)).status_code == 200


async def test_office_password_is_changed_by_its_administrator(registry: Registry) -> None:
    staff = await registry.log_in(HELPER)
    refused = await _change(registry, staff, "office", OFFICE_PASSWORD, NEW_PASSWORD)
    assert (refused.status_code, refused.json()["code"]) == (403, "TDK-NOT-ALLOWED")
    admin = await registry.log_in(MANAGER)
    assert (await _change(registry, admin, "office", OFFICE_PASSWORD, NEW_PASSWORD)).status_code == 204
    step = (await registry.first_step(MANAGER.c_id)).json()["step_token"]
    assert (await registry.second_step(step, MANAGER.kj_id)).status_code == 401
    assert (await registry.second_step(step, MANAGER.kj_id, NEW_PASSWORD)).status_code == 200


async def test_ended_membership_ends_the_session_at_its_next_refresh(registry: Registry) -> None:
    session = await registry.log_in(MANAGER)
    async with registry.stage.db.worker() as tx:
        await offices.set_user(tx, MANAGER.office, MANAGER.c_id, ["admin"], "ended")
    assert (await registry.refresh(session["refresh_token"])).status_code == 401


async def test_feed_answers_only_who_knows_the_secret(registry: Registry) -> None:
    session = await registry.log_in(MANAGER)
    await registry.http.delete("/v1/session", headers=bearer(session["access_token"]))
    assert (await registry.http.get(FEED_PATH)).status_code == 404
    secret = registry.stage.runtime.secrets.hmac_key("internal").hex()
    answer = await registry.http.get(FEED_PATH, headers={INTERNAL_SECRET_HEADER: secret})
    page = EndedPage.model_validate(answer.json())
    assert (page.last, len(page.sessions)) == (1, 1)


async def test_restored_feed_is_read_from_the_start() -> None:
    pages = [EndedPage(last=7, upto=7, sessions=(UUID(int=1),)), EndedPage(last=3, upto=7, sessions=())]
    pages.append(EndedPage(last=3, upto=3, sessions=(UUID(int=2),)))
    asked: list[int] = []

    async def source(after: int) -> EndedPage:
        asked.append(after)
        return pages.pop(0)

    ended = EndedSessions(source, ManualClock())
    await ended.poll()
    await ended.poll()
    assert asked == [0, 7, 0]
    assert UUID(int=1) in ended
    assert UUID(int=2) in ended


async def test_process_without_registry_serves_and_says_so() -> None:
    clock = ManualClock()
    answers = [EndedPage(last=0, upto=0, sessions=())]

    async def source(_: int) -> EndedPage:
        if not answers:
            raise Transient
        return answers.pop()

    ended = EndedSessions(source, clock)
    fresh = [ended.fresh]
    await ended.poll()
    fresh.append(ended.fresh)
    clock.move(timedelta(seconds=11))
    with pytest.raises(Transient):
        await ended.poll()
    fresh.append(ended.fresh)
    assert fresh == [False, True, False]


async def test_an_office_that_a_restored_database_has_forgotten_gets_a_refusal(registry: Registry) -> None:
    session = await registry.log_in(MANAGER)
    async with registry.stage.db.worker() as tx:
        await tx.db.execute("DELETE FROM office_credential WHERE office = $1", MANAGER.office)
    answer = await _change(registry, session, "office", OFFICE_PASSWORD, NEW_PASSWORD)
    assert (answer.status_code, answer.json()["code"]) == (422, "TDK-PASSWORD-WRONG")


async def _change(registry: Registry, session: dict[str, Any], which: str, old: str, new: str) -> httpx.Response:
    return await registry.http.post(
        "/v1/session/password",
        json={"which": which, "old": old, "new": new},
        headers=bearer(session["access_token"]),
    )


def _credentials(token: str) -> HTTPAuthorizationCredentials:
    return HTTPAuthorizationCredentials(scheme="Bearer", credentials=token)
