"""The practice offices: loaded once, with logins that work and stay the same; the practice operator."""

import json
import stat
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyotp

from services.registry.demo import load_demo
from todoke.relay.clock import in_japan
from todoke.relay.testing import journalled

from .conftest import Registry, bearer


async def test_practice_offices_are_loaded_once(registry: Registry, tmp_path: Path) -> None:
    runtime = registry.stage.runtime
    await load_demo(runtime, tmp_path, "http://127.0.0.1:8080", "http://127.0.0.1:8081")
    async with registry.stage.db.worker() as tx:
        said = await journalled(tx)
    first = _read(tmp_path)
    registry.clock.move(timedelta(days=3))
    (tmp_path / "demo.json").unlink()
    await load_demo(runtime, tmp_path, "http://127.0.0.1:9090", "http://127.0.0.1:9091")
    second = _read(tmp_path)
    async with registry.stage.db.worker() as tx:
        assert await journalled(tx) == said
    assert (second["url"], second["operator"]["url"]) == ("http://127.0.0.1:9090", "http://127.0.0.1:9091")
    assert second["offices"] == first["offices"]
    assert second["operator"] == first["operator"] | {"url": "http://127.0.0.1:9091"}
    assert stat.S_IMODE((tmp_path / "demo.json").stat().st_mode) == 0o600


async def test_every_practice_login_works_and_is_final(registry: Registry, tmp_path: Path) -> None:
    await load_demo(registry.stage.runtime, tmp_path, "http://127.0.0.1:8080", "http://127.0.0.1:8081")
    document = _read(tmp_path)
    assert set(document) == {"url", "offices", "operator"}
    assert len(document["offices"]) == 8
    today = in_japan(registry.clock.now()).date()
    # Two offices of the list have the numbers of this suite's own: those keep the logins they had.
    for office in document["offices"][2:]:
        assert min(len(office["c_password"]), len(office["kj_password"])) >= 13
        step = (await registry.first_step(office["c_id"], office["c_password"])).json()["step_token"]
        session = (await registry.second_step(step, office["kj_id"], office["kj_password"])).json()
        assert session["must_change"] == []
        own = (await registry.get("/v1/office", session)).json()
        assert {"number": own["number"], "name": own["name"]} == {k: office[k] for k in ("number", "name")}
        days = (date.fromisoformat(own["licence_until"]) - today).days
        assert days == (28 if office["number"] == "9970100414" else 365)


async def test_operator_logs_in_with_password_and_a_code_that_works_once(registry: Registry, tmp_path: Path) -> None:
    await load_demo(registry.stage.runtime, tmp_path, "http://127.0.0.1:8080", "http://127.0.0.1:8081")
    operator = _read(tmp_path)["operator"]
    code = pyotp.TOTP(operator["totp_secret"]).at(registry.clock.now())
    body = {"user_id": operator["user_id"], "password": operator["password"], "totp": code}
    path = "/v1/operator/session"
    wrong = f"{(int(code) + 1) % 1_000_000:06d}"
    async with registry.stage.operators_client() as operators:
        for refused in ({"totp": wrong}, {"password": "x"}, {"user_id": "nobody"}, {"totp": ""}, {"totp": "１２"}):
            answer = await operators.post(path, json=body | refused)
            assert (answer.status_code, answer.json()["code"]) == (401, "TDK-LOGIN-FAILED")
        session = (await operators.post(path, json=body)).json()
        assert (await operators.post(path, json=body)).status_code == 401
        office = await registry.get("/v1/office", session)
        assert (office.status_code, office.json()["code"]) == (403, "TDK-NOT-ALLOWED")
        token = bearer(session["access_token"])
        assert (await operators.get("/v1/operator/status", headers=token)).status_code == 200
        assert (await operators.delete(path, headers=token)).status_code == 204
        assert (await operators.delete(path, headers=token)).status_code == 401
        assert (await operators.get("/v1/operator/status", headers=token)).status_code == 401


async def test_operators_who_guess_are_locked_out_for_their_network(registry: Registry, tmp_path: Path) -> None:
    await load_demo(registry.stage.runtime, tmp_path, "http://127.0.0.1:8080", "http://127.0.0.1:8081")
    body = {"user_id": _read(tmp_path)["operator"]["user_id"], "password": "wrong", "totp": "000000"}
    async with registry.stage.operators_client() as operators:
        answers = [await operators.post("/v1/operator/session", json=body) for _ in range(11)]
    assert [answer.status_code for answer in answers] == [401] * 10 + [429]
    assert "Retry-After" in answers[-1].headers


def _read(home: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((home / "demo.json").read_text(encoding="utf-8"))
    return document
