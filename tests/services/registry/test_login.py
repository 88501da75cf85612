"""The two-step login: what it answers, and that every failure looks and costs the same."""

from datetime import timedelta

import httpx
import pytest
from structlog.testing import capture_logs

from services.registry.passwords import Passwords

from .conftest import HELPER, MANAGER, OFFICE_PASSWORD, Login, Registry, bearer

WRONG = "not the password at all"


async def test_both_steps_open_a_session(registry: Registry) -> None:
    first = await registry.first_step(MANAGER.c_id)
    assert first.status_code == 200
    assert first.json()["expires_in"] == 600
    answer = await registry.second_step(first.json()["step_token"], MANAGER.kj_id)
    body = answer.json()
    assert answer.status_code == 200
    assert body["token_type"] == "Bearer"
    assert (body["expires_in"], body["refresh_expires_in"]) == (3600, 28800)
    assert body["must_change"] == []
    assert body["office"]["number"] == MANAGER.office
    assert body["user"] == {"id": MANAGER.c_id, "name": "練習 花子", "roles": ["admin"]}
    assert body["failed_logins_at"] == []


async def test_full_width_letters_and_spaces_are_accepted(registry: Registry) -> None:
    answer = await registry.first_step(
        " ｃ" + MANAGER.c_id[1:].translate(str.maketrans("0123456789", "０１２３４５６７８９"))
    )
    assert answer.status_code == 200


async def test_step_token_opens_nothing_else(registry: Registry) -> None:
    step = (await registry.first_step(MANAGER.c_id)).json()["step_token"]
    answer = await registry.http.get("/v1/office", headers=bearer(step))
    assert (answer.status_code, answer.json()["code"]) == (401, "TDK-NO-SESSION")


async def test_access_token_is_no_step_token(registry: Registry) -> None:
    session = await registry.log_in(MANAGER)
    answer = await registry.second_step(session["access_token"], MANAGER.kj_id)
    assert (answer.status_code, answer.json()["code"]) == (401, "TDK-NO-SESSION")


async def test_half_session_ends_after_ten_minutes(registry: Registry) -> None:
    step = (await registry.first_step(MANAGER.c_id)).json()["step_token"]
    registry.clock.move(timedelta(seconds=601))
    answer = await registry.second_step(step, MANAGER.kj_id)
    assert (answer.status_code, answer.json()["number"]) == (401, "E-109")


@pytest.mark.parametrize("user_id", [MANAGER.c_id, "c9999999999", "", "x" * 200, "c\0000000018", "日本", MANAGER.kj_id])
async def test_every_wrong_first_step_is_the_same_after_the_same_work(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, user_id: str
) -> None:
    checks = _counted(monkeypatch)
    answer = await registry.first_step(user_id, WRONG)
    assert _failure(answer) == (401, "TDK-LOGIN-FAILED", "E-102", "ユーザIDかパスワードが違います。")
    assert checks == [1]


@pytest.mark.parametrize(
    ("user_id", "password"),
    [
        (MANAGER.kj_id, WRONG),
        ("KJ990000000000", OFFICE_PASSWORD),
        (HELPER.kj_id, OFFICE_PASSWORD),
        (HELPER.kj_id, WRONG),
        (MANAGER.c_id, OFFICE_PASSWORD),
    ],
)
async def test_every_wrong_second_step_is_the_same_after_the_same_work(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, user_id: str, password: str
) -> None:
    step = (await registry.first_step(MANAGER.c_id)).json()["step_token"]
    checks = _counted(monkeypatch)
    answer = await registry.second_step(step, user_id, password)
    assert _failure(answer) == (401, "TDK-LOGIN-FAILED", "E-102", "ユーザIDかパスワードが違います。")
    assert checks == [1]


async def test_failures_are_told_at_the_next_login_once(registry: Registry) -> None:
    await registry.log_in(MANAGER)
    for _ in range(2):
        await registry.first_step(MANAGER.c_id, WRONG)
    step = (await registry.first_step(MANAGER.c_id)).json()["step_token"]
    await registry.second_step(step, MANAGER.kj_id, WRONG)
    session = await registry.log_in(MANAGER)
    assert len(session["failed_logins_at"]) == 3
    assert (await registry.log_in(MANAGER))["failed_logins_at"] == []


@pytest.mark.parametrize("user_id", [MANAGER.c_id, "c9999999999"])
async def test_ten_failures_lock_known_and_unknown_ids_alike(registry: Registry, user_id: str) -> None:
    for _ in range(10):
        assert (await registry.first_step(user_id, WRONG)).status_code == 401
    locked = await registry.first_step(user_id)
    assert (locked.status_code, locked.json()["code"]) == (429, "TDK-LOCKED")
    assert 0 < int(locked.headers["Retry-After"]) <= 300
    assert (await registry.first_step(HELPER.c_id)).status_code == 200


async def test_every_login_is_a_line_that_names_no_network_and_nothing_typed(
    registry: Registry, capfd: pytest.CaptureFixture[str]
) -> None:
    with capture_logs() as said:
        await registry.log_in(MANAGER)
        for user_id in (MANAGER.c_id, "山田太郎"):
            await registry.first_step(user_id, WRONG)
        for _ in range(9):
            await registry.first_step(MANAGER.c_id, WRONG)
        await registry.first_step(MANAGER.c_id)
    lines = [line for line in said if line["event"] in ("login", "login_locked")]
    told = [(line["event"], line.get("outcome"), line["kind"], line.get("id")) for line in lines]
    assert told[:4] == [
        ("login", "in", "person", MANAGER.c_id),
        ("login", "in", "office", MANAGER.kj_id),
        ("login", "refused", "person", MANAGER.c_id),
        ("login", "refused", "person", None),
    ]
    assert told[-3:] == [
        ("login", "refused", "person", MANAGER.c_id),
        ("login_locked", None, "person", MANAGER.c_id),
        ("login", "locked", "person", None),
    ]
    assert [line["minutes"] for line in lines if line["event"] == "login_locked"] == [5]
    assert len({line["network"] for line in lines}) == 1
    everything = str(said) + "".join(capfd.readouterr())
    assert not [word for word in (WRONG, "山田", "127.0.0.1", "testclient") if word in everything]


async def test_lock_ends_and_doubles_with_the_next_failure(registry: Registry) -> None:
    for _ in range(10):
        await registry.first_step(MANAGER.c_id, WRONG)
    registry.clock.move(timedelta(minutes=5, seconds=1))
    assert (await registry.first_step(MANAGER.c_id, WRONG)).status_code == 401
    assert int((await registry.first_step(MANAGER.c_id)).headers["Retry-After"]) > 300
    registry.clock.move(timedelta(minutes=10, seconds=1))
    assert (await registry.first_step(MANAGER.c_id)).status_code == 200


async def test_outsider_locks_nobody_else_out(registry: Registry) -> None:
    outside = httpx.ASGITransport(app=registry.http._transport.app, client=("203.0.113.9", 1))  # type: ignore[attr-defined]
    async with httpx.AsyncClient(transport=outside, base_url="http://registry") as stranger:
        body = {"user_id": MANAGER.c_id, "password": WRONG}
        answers = [await stranger.post("/v1/session/system", json=body) for _ in range(11)]
    assert [answer.status_code for answer in answers] == [401] * 10 + [429]
    assert (await registry.first_step(MANAGER.c_id)).status_code == 200


async def test_locked_network_keeps_out_only_ids_unknown_there(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.registry.rules.NETWORK_FAILURES_FREE", 3)
    await registry.log_in(MANAGER)
    for guess in range(3):
        assert (await registry.first_step(f"c000000{guess}000", WRONG)).status_code == 401
    assert (await registry.first_step(HELPER.c_id)).status_code == 429
    await registry.log_in(MANAGER)
    registry.clock.move(timedelta(minutes=16))
    await registry.log_in(HELPER)


async def test_success_forgets_the_failures(registry: Registry) -> None:
    for _ in range(2):
        for _ in range(9):
            await registry.first_step(MANAGER.c_id, WRONG)
        assert (await registry.first_step(MANAGER.c_id)).status_code == 200


async def test_office_without_licence_has_the_usage_site_only(registry: Registry) -> None:
    newcomer = Login("9970100216", "c0000000034", licence_days=None)
    await registry.add(newcomer)
    step = (await registry.first_step(newcomer.c_id)).json()["step_token"]
    answer = await registry.second_step(step, newcomer.kj_id)
    assert (answer.status_code, answer.json()["code"]) == (403, "TDK-NO-LICENCE-ANY")
    usage = await registry.http.post("/v1/session/usage", json={"user_id": newcomer.kj_id, "password": OFFICE_PASSWORD})
    assert usage.status_code == 200
    assert usage.json()["user"] is None
    assert (await registry.get("/v1/office", usage.json())).json()["c_id"] == newcomer.c_id
    assert (await registry.get("/v1/offices", usage.json())).status_code == 403


@pytest.mark.parametrize(
    "body", ["{", "[]", '{"user_id": 1, "password": "x"}', '{"user_id": "\\ud800", "password": ""}']
)
async def test_bad_bodies_are_refused(registry: Registry, body: str) -> None:
    answer = await registry.http.post("/v1/session/system", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in {400, 422}


def _counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    counted = [0]
    check = Passwords.check

    async def counting(self: Passwords, password: str, stored: str | None) -> bool:
        counted[0] += 1
        return await check(self, password, stored)

    monkeypatch.setattr(Passwords, "check", counting)
    return counted


def _failure(answer: httpx.Response) -> tuple[int, str, str, str]:
    body = answer.json()
    return answer.status_code, body["code"], body["number"], body["title"]
