"""Persons of an office: added, changed, stopped; at several offices; the last administrator stays."""

import asyncio
from typing import Any

import httpx
import pytest

from .conftest import HELPER, MANAGER, Registry, bearer

USERS = "/v1/office/users"


@pytest.fixture
async def session(registry: Registry) -> dict[str, Any]:
    return await registry.log_in(MANAGER)


async def changed(registry: Registry, session: dict[str, Any], user: str, **body: Any) -> httpx.Response:
    headers = bearer(session["access_token"])
    return await registry.http.patch(f"{USERS}/{user}", json=body, headers=headers)


async def added(registry: Registry, session: dict[str, Any], *roles: str) -> dict[str, Any]:
    answer = await registry.post(USERS, session, {"name": "練習 次郎", "roles": list(roles)})
    assert answer.status_code == 201, answer.text
    issued: dict[str, Any] = answer.json()
    return issued


async def log_in(registry: Registry, issued: dict[str, Any]) -> httpx.Response:
    step = await registry.first_step(issued["user"]["id"], issued["password"])
    return await registry.second_step(step.json()["step_token"], MANAGER.kj_id)


async def test_a_new_person_logs_in_with_the_first_password_and_must_change_it(
    registry: Registry, session: dict[str, Any]
) -> None:
    issued = await added(registry, session, "viewer")
    mine = (await log_in(registry, issued)).json()
    assert (mine["must_change"], mine["user"]["roles"]) == (["person"], ["viewer"])
    listed = (await registry.get(USERS, session)).json()["items"]
    assert issued["user"]["id"] in {user["id"] for user in listed}
    _, event = (await registry.events("UserChanged"))[-1]
    assert (event["user_id"], event["roles"], event["version"]) == (issued["user"]["id"], ["viewer"], 1)
    assert event["actor"] == {"kind": "person", "id": MANAGER.c_id}
    said = str(await registry.events())
    assert "次郎" not in said
    assert issued["password"] not in said


async def test_a_stopped_person_is_out_at_once_and_stays_out(registry: Registry, session: dict[str, Any]) -> None:
    issued = await added(registry, session, "staff")
    theirs = (await log_in(registry, issued)).json()
    stopped = await changed(registry, session, issued["user"]["id"], state="ended")
    assert stopped.json()["user"]["state"] == "ended"
    assert (await registry.get("/v1/session/list", theirs)).status_code == 401
    assert (await registry.refresh(theirs["refresh_token"])).status_code == 401
    assert (await log_in(registry, issued)).status_code == 401
    back = await changed(registry, session, issued["user"]["id"], state="active", roles=["viewer", "staff"])
    assert back.json()["user"]["roles"] == ["staff", "viewer"]
    assert (await log_in(registry, issued)).status_code == 200


async def test_other_roles_end_what_was_open_and_the_same_ones_do_not(
    registry: Registry, session: dict[str, Any]
) -> None:
    issued = await added(registry, session, "staff")
    theirs = (await log_in(registry, issued)).json()
    await changed(registry, session, issued["user"]["id"], roles=["staff"])
    assert (await registry.get("/v1/session/list", theirs)).status_code == 200
    await changed(registry, session, issued["user"]["id"], roles=["viewer"])
    assert (await registry.get("/v1/session/list", theirs)).status_code == 401


async def test_the_last_administrator_stays_also_when_two_give_up_at_once(
    registry: Registry, session: dict[str, Any]
) -> None:
    for body in ({"roles": ["staff"]}, {"state": "ended"}):
        refused = await changed(registry, session, MANAGER.c_id, **body)
        assert (refused.status_code, refused.json()["code"], refused.json()["number"]) == (
            409, "TDK-LAST-ADMIN", "E-606",
        )  # fmt: skip
    second = (await added(registry, session, "admin"))["user"]["id"]
    answers = await asyncio.gather(
        *(changed(registry, session, user, roles=["staff"]) for user in (MANAGER.c_id, second))
    )
    assert sorted(answer.status_code for answer in answers) == [200, 409]


async def test_a_new_password_and_a_name_are_the_business_of_the_only_office(
    registry: Registry, session: dict[str, Any]
) -> None:
    issued = await added(registry, session, "staff")
    again = (await changed(registry, session, issued["user"]["id"], new_password=True, name="練習 三郎")).json()
    assert again["user"]["name"] == "練習 三郎"
    assert (await registry.first_step(issued["user"]["id"], issued["password"])).status_code == 401
    assert (await registry.first_step(issued["user"]["id"], again["password"])).status_code == 200

    shared = {"name": "練習　花子", "roles": ["viewer"], "user_id": HELPER.c_id}
    linked = await registry.post(USERS, session, shared)
    assert (linked.status_code, linked.json()["password"]) == (201, None)
    assert (await registry.post(USERS, session, shared)).json()["code"] == "TDK-USER-THERE"
    for body in ({"new_password": True}, {"name": "別の名"}):
        refused = await changed(registry, session, HELPER.c_id, **body)
        assert (refused.status_code, refused.json()["code"]) == (409, "TDK-USER-SHARED")
    step = (await registry.first_step(HELPER.c_id)).json()["step_token"]
    both = [(await registry.second_step(step, login.kj_id)).json() for login in (MANAGER, HELPER)]
    assert [each["user"]["roles"] for each in both] == [["viewer"], ["staff"]]
    await changed(registry, session, HELPER.c_id, end_sessions=True)
    assert [(await registry.get("/v1/session/list", each)).status_code for each in both] == [401, 200]


async def test_an_unknown_id_and_a_wrong_name_are_the_same_to_who_asks(
    registry: Registry, session: dict[str, Any]
) -> None:
    answers = [
        await registry.post(USERS, session, {"name": name, "roles": ["staff"], "user_id": user})
        for name, user in (("だれか", HELPER.c_id), ("練習 花子", "c9999999999"))
    ]
    assert [(answer.status_code, answer.json()) for answer in answers] == [(404, answers[0].json())] * 2
    assert answers[0].json()["code"] == "TDK-NO-USER"
    assert (await changed(registry, session, HELPER.c_id, roles=["admin"])).status_code == 404
