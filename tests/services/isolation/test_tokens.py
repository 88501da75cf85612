"""Tokens that must not be believed, at every call of both listeners: one answer for all of them, and no work done."""

import base64
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from services.registry.sessions import ended_feed
from tests.services.registry.conftest import Registry
from todoke.relay.access import POLL_SECONDS, Access, EndedPage, EndedSessions
from todoke.relay.limits import Limits
from todoke.relay.rates import RateLimits
from todoke.relay.testing import ManualClock, operator_token
from todoke.relay.tokens import (
    ACCESS_TYPE,
    RECEIPT_TYPE,
    AccessTokens,
    Claims,
    ReceiptSigner,
    SigningKey,
    TokenRefused,
)

from .conftest import OWNER, PARTNER, STRANGER, Scene
from .test_matrix import OPERATIONS, filled, operations, sendable

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.long]

HTTP_SECONDS = 1
"""How long the registry's answer may take, so that the promise of 5 s holds."""


def encoded(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def body_of(token: str) -> dict[str, Any]:
    middle = token.split(".")[1]
    body: dict[str, Any] = json.loads(base64.urlsafe_b64decode(middle + "=" * (-len(middle) % 4)))
    return body


def signed(body: dict[str, Any], key: SigningKey, **header: str) -> str:
    headers = {"typ": ACCESS_TYPE, "kid": key.key_id, **header}
    return jwt.PyJWS().encode(json.dumps(body).encode(), key.private, algorithm="EdDSA", headers=headers)


@pytest.fixture
def unbelievable(scene: Scene, tmp_path: Path) -> dict[str, str]:
    """Tokens that look like an administrator's of the owner's office, and what is wrong with each."""
    shared = scene.product.shared
    now, tokens, key = shared.ports.clock.now(), shared.tokens, shared.tokens._key
    claims = Claims(
        subject=OWNER.c_id,
        office=OWNER.office,
        roles=("admin",),
        licence_until=(now + timedelta(days=99)).date(),
        session=str(shared.ports.ids.uuid7()),
        scope="office",
    )
    good = tokens.issue(claims, now)
    header, middle, signature = good.split(".")
    body, issuer = body_of(good), shared.settings.address
    strange = SigningKey.load_or_create(tmp_path / "strange.pem")
    public = key.public.public_bytes(Encoding.Raw, PublicFormat.Raw)
    tampered = {**body_of(scene.token(STRANGER.office)["Authorization"].split()[1]), "office": OWNER.office}
    head = {"alg": "EdDSA", "typ": ACCESS_TYPE, "kid": key.key_id}
    return {
        "wrong key": AccessTokens(strange, issuer).issue(claims, now),
        "wrong key under the right name": signed(body, strange, kid=key.key_id),
        "key unknown": signed(body, key, kid="unknown"),
        "the receipts' key": AccessTokens(shared.receipt_key, issuer).issue(claims, now),
        "the receipts' key under the right name": signed(body, shared.receipt_key, kid=key.key_id),
        "a receipt": scene.owned.receipt,
        "an access token's body as a receipt": ReceiptSigner(key).sign(body),
        "of the receipts' type": signed(body, key, typ=RECEIPT_TYPE),
        "without a type": signed(body, key, typ=""),
        "a step token": scene.owned.step,
        "a refresh token": scene.owned.refresh,
        "another audience": signed({**body, "aud": "step"}, key),
        "another issuer": AccessTokens(key, "https://elsewhere.example").issue(claims, now),
        "issued in the future": tokens.issue(claims, now + timedelta(minutes=3)),
        "without an end": signed({name: value for name, value in body.items() if name != "exp"}, key),
        "no algorithm": f"{encoded({**head, 'alg': 'none'})}.{middle}.",
        "no signature": f"{header}.{middle}.",
        "the public key as a secret": jwt.PyJWS().encode(
            json.dumps(body).encode(), public, algorithm="HS256", headers={"typ": ACCESS_TYPE, "kid": key.key_id}
        ),
        "another office written in": f"{header}.{encoded(tampered)}.{signature}",
        "another office under its own signature": f"{header}.{encoded({**body, 'office': '9970100315'})}.{signature}",
        "cut": good[:-4],
        "twice": f"{good} {good}",
        "the access key of a header": f"{encoded({**head, 'jwk': {'kty': 'OKP'}})}.{middle}.{signature}",
    }


async def test_no_call_believes_any_of_them(scene: Scene, unbelievable: dict[str, str]) -> None:
    documents = {
        False: operations((await scene.ask("GET", "/openapi.json")).json()),
        True: operations((await scene.ask("GET", "/openapi.json", operators=True)).json()),
    }
    believed = []
    absent = await scene.ask("GET", "/v1/counts")
    for operators, document in documents.items():
        for number, operation in enumerate(sorted(document)):
            op = OPERATIONS.get(operation)
            if operation == "POST /v1/operator/session" or (op is not None and op.about == "open"):
                continue
            method, path = operation.split(" ")
            body = sendable(op.body if op else {}, upload=op.upload if op else path.endswith("import"))
            # Who looks at a token is one function: every call tries some of them, one call all.
            tried = unbelievable if number == 0 else dict(list(unbelievable.items())[number % 5 :: 5])
            for what, token in tried.items():
                scene.work.taken()
                headers = {"Authorization": f"Bearer {token}"}
                answer = await scene.ask(
                    method, filled(path, scene.owned.delivered), headers, operators=operators, **body
                )
                if (answer.status, answer.body, scene.work.taken()) != (401, absent.body, []):
                    believed.append((operation, what, answer))
    assert believed == []


async def test_the_schemes_of_others_are_no_session(scene: Scene) -> None:
    token = scene.token(OWNER.office)["Authorization"].split()[1]
    for header in (f"Basic {token}", token, f"Token {token}", "Bearer", f"DPoP {token}"):
        assert (await scene.ask("GET", "/v1/counts", {"Authorization": header})).status == 401, header
    for query in ({"access_token": token}, {"token": token}):
        assert (await scene.ask("GET", "/v1/counts", params=query)).status == 401
    assert (await scene.ask("GET", "/v1/counts", {"Cookie": f"access_token={token}"})).status == 401


async def test_only_a_step_token_passes_for_one(scene: Scene) -> None:
    pair = {"user_id": OWNER.kj_id, "password": "x"}
    good = scene.token(OWNER.office)["Authorization"].split()[1]
    for token in (good, scene.owned.refresh, scene.owned.receipt, "rubbish"):
        scene.work.taken()
        answer = await scene.ask("POST", "/v1/session/office", {"Authorization": f"Bearer {token}"}, json=pair)
        assert (answer.status, answer.json()["code"], scene.work.taken()) == (401, "TDK-NO-SESSION", [])


async def test_an_access_token_is_no_refresh_token(scene: Scene) -> None:
    good = scene.token(OWNER.office)["Authorization"].split()[1]
    for token in (good[:199], scene.owned.step[:199], scene.owned.receipt[:199]):
        assert (await scene.ask("POST", "/v1/session/refresh", json={"refresh_token": token})).status == 401


def access_of(scene: Scene, ended: EndedSessions, clock: ManualClock) -> Access:
    """What another process knows of who asks."""
    return Access(scene.product.shared.tokens, ended, RateLimits(Limits(), clock), clock)


def bearer(token: str) -> Any:
    class Credentials:
        credentials = token

    return Credentials()


async def outcome(access: Access, token: str) -> str:
    try:
        await access.caller(bearer(token))
    except Exception as refused:  # noqa: BLE001 (its code is what is asked)
        return str(getattr(refused, "code", type(refused).__name__))
    return "served"


async def test_a_token_ends_with_its_hour_also_where_it_was_believed_before(scene: Scene) -> None:
    async def nobody(number: int) -> EndedPage:
        return EndedPage(last=number, upto=number, sessions=())

    clock = ManualClock(scene.product.shared.ports.clock.now())
    access = access_of(scene, EndedSessions(nobody, clock), clock)
    token = scene.token(OWNER.office)["Authorization"].split()[1]
    assert await outcome(access, token) == "served"
    clock.move(timedelta(minutes=59))
    assert await outcome(access, token) == "served"
    clock.move(timedelta(minutes=2))
    assert await outcome(access, token) == "TDK-SESSION-ENDED"
    with pytest.raises(TokenRefused, match="expired"):
        scene.product.shared.tokens.verify(token, clock.now())


async def test_a_session_that_was_ended_is_over_in_every_process_with_its_next_look(scene: Scene) -> None:
    """Each process looks every 2 s: within 5 s none believes the token; here the looks are made by hand."""
    clock = ManualClock(scene.product.shared.ports.clock.now())
    stage = scene.product.stages["registry"]
    session = await Registry(stage, scene.http).log_in(PARTNER)
    tokens = {"person": session["access_token"], "operator": operator_token(scene.product.shared)}
    processes = []
    for _ in range(3):
        ended = EndedSessions(ended_feed(stage.db), clock)
        processes.append((ended, access_of(scene, ended, clock)))
    person, operator = ({"Authorization": f"Bearer {token}"} for token in tokens.values())
    assert (await scene.ask("DELETE", "/v1/session", person)).status == 204
    assert (await scene.ask("DELETE", "/v1/operator/session", operator, operators=True)).status == 204
    for ended, access in processes:
        assert [await outcome(access, tokens[who]) for who in tokens] == ["served", "TDK-NOT-ALLOWED"]
        await ended.poll()
        assert [await outcome(access, token) for token in tokens.values()] == ["TDK-SESSION-ENDED"] * 2
    assert POLL_SECONDS + HTTP_SECONDS < 5
