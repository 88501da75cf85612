"""An operator who is registered on the machine: shown once, said, able to log in, and never registered over another."""

import json
from typing import Any

import pyotp
import pytest

from services.registry.new_operator import NotAnId, OperatorThere, add_operator
from todoke.relay.acts import Word
from todoke.relay.testing import journalled

from .conftest import Registry, bearer

WORD = Word(reason="新しい担当者です", ticket="OPS-1")


async def test_a_new_operator_logs_in_with_what_was_shown(registry: Registry) -> None:
    made = await add_operator(registry.stage.runtime, "ops-2", WORD)
    authenticator = pyotp.parse_uri(made.totp_address)
    assert isinstance(authenticator, pyotp.TOTP)
    body = {"user_id": "ops-2", "password": made.password, "totp": authenticator.at(registry.clock.now())}
    assert len(made.password.replace("-", "")) == 16
    async with registry.stage.operators_client() as operators:
        for refused in ({"password": made.password[:-1]}, {"totp": "000000"}, {"user_id": "ops-3"}):
            assert (await operators.post("/v1/operator/session", json=body | refused)).status_code == 401
        session = (await operators.post("/v1/operator/session", json=body)).json()
        token = bearer(session["access_token"])
        assert (await operators.get("/v1/operator/status", headers=token)).status_code == 200


async def test_that_an_operator_came_is_said_without_a_secret(registry: Registry) -> None:
    made = await add_operator(registry.stage.runtime, "ops-2", WORD)
    async with registry.stage.db.worker() as tx:
        [(kind, payload)] = [one for one in await journalled(tx) if one[0] == "OperatorActed"]
    said: dict[str, Any] = json.loads(payload)
    assert (kind, said["act"], said["object"], said["ticket"]) == ("OperatorActed", "operator.add", "ops-2", "OPS-1")
    assert said["actor"] == {"kind": "system", "id": "registry"}
    assert not any(secret in payload for secret in (WORD.reason, made.password, made.totp_secret))


async def test_nobody_is_registered_over_another(registry: Registry) -> None:
    made = await add_operator(registry.stage.runtime, "ops-2", WORD)
    with pytest.raises(OperatorThere):
        await add_operator(registry.stage.runtime, "ops-2", WORD)
    async with registry.stage.db.worker() as tx:
        assert len([one for one in await journalled(tx) if one[0] == "OperatorActed"]) == 1
    code = pyotp.TOTP(made.totp_secret).at(registry.clock.now())
    async with registry.stage.operators_client() as operators:
        body = {"user_id": "ops-2", "password": made.password, "totp": code}
        assert (await operators.post("/v1/operator/session", json=body)).status_code == 200


@pytest.mark.parametrize("user_id", ["", "ab", "Ops-2", "山田", "ops 2", "-ops", "x" * 41, "ops\n"])
async def test_an_id_is_plain(registry: Registry, user_id: str) -> None:
    with pytest.raises(NotAnId):
        await add_operator(registry.stage.runtime, user_id, WORD)
