"""Tokens and receipts: what is believed, for how long, and everything that is not."""

import base64
import dataclasses
import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from todoke.relay import tokens
from todoke.relay.keyfile import KeyFileRefused
from todoke.relay.tokens import (
    AccessTokens,
    AccessVerifier,
    Claims,
    ReceiptSigner,
    ReceiptVerifier,
    SigningKey,
    TokenRefused,
)

NOW = datetime(2025, 8, 28, 3, 0, tzinfo=UTC)
ISSUER = "http://127.0.0.1:8080"
CLAIMS = Claims(
    subject="c1234567",
    office="9970100018",
    roles=("admin", "staff"),
    licence_until=date(2026, 3, 31),
    session="0198f2a0-1c00-7000-8000-000000000001",
    scope="office",
    must_change=("person",),
)
RECEIPT = {"iss": ISSUER, "typ": "submission", "message_id": "0198f2a0-1c00-7000-8000-000000000001", "files": []}


@pytest.fixture(name="key")
def key_fixture(tmp_path: Path) -> SigningKey:
    return SigningKey.load_or_create(tmp_path / "tokens.pem")


@pytest.fixture(name="access")
def access_fixture(key: SigningKey) -> AccessTokens:
    return AccessTokens(key, ISSUER)


def refusal(verifier: AccessVerifier, token: str, now: datetime = NOW) -> str:
    with pytest.raises(TokenRefused) as refused:
        verifier.verify(token, now)
    return refused.value.reason


def part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def header_of(token: str) -> dict[str, Any]:
    return jwt.get_unverified_header(token)


def body_of(token: str) -> dict[str, Any]:
    middle = token.split(".")[1]
    body: dict[str, Any] = json.loads(base64.urlsafe_b64decode(middle + "=" * (-len(middle) % 4)))
    return body


def signed(body: dict[str, Any], key: SigningKey, **header: str) -> str:
    headers = {"typ": tokens.ACCESS_TYPE, "kid": key.key_id, **header}
    return jwt.PyJWS().encode(json.dumps(body).encode(), key.private, algorithm="EdDSA", headers=headers)


def test_an_access_token_says_what_was_put_in(access: AccessTokens) -> None:
    found = access.verify(access.issue(CLAIMS, NOW), NOW + timedelta(minutes=59))
    assert found == dataclasses.replace(CLAIMS, expires_at=NOW + timedelta(hours=1))


def test_another_process_verifies_with_the_public_key_alone(access: AccessTokens, key: SigningKey) -> None:
    verifier = AccessVerifier(tokens.keys_of_jwks(tokens.jwks([key.public])), ISSUER)
    assert verifier.verify(access.issue(CLAIMS, NOW), NOW).office == "9970100018"


@pytest.mark.parametrize("scope", ["usage", "operator"])
def test_tokens_without_user_or_office_are_possible(access: AccessTokens, scope: tokens.Scope) -> None:
    claims = Claims(subject="x", office=None, roles=(), licence_until=None, session="s", scope=scope)
    assert access.verify(access.issue(claims, NOW), NOW).scope == scope


def test_an_access_token_ends_after_an_hour_to_the_second(access: AccessTokens) -> None:
    token = access.issue(CLAIMS, NOW)
    access.verify(token, NOW + timedelta(seconds=3599))
    assert refusal(access, token, NOW + timedelta(seconds=3600)) == "expired"


def test_a_token_from_the_future_is_refused(access: AccessTokens) -> None:
    token = access.issue(CLAIMS, NOW + timedelta(seconds=120))
    assert refusal(access, token) == "issued in the future"


def test_a_step_token_lasts_ten_minutes_and_is_no_access_token(access: AccessTokens) -> None:
    token = access.issue_step("c1234567", NOW)
    assert access.verify_step(token, NOW + timedelta(seconds=599)).subject == "c1234567"
    with pytest.raises(TokenRefused, match="expired"):
        access.verify_step(token, NOW + timedelta(seconds=600))
    assert refusal(access, token) == "type"


def test_an_access_token_is_no_step_token(access: AccessTokens) -> None:
    with pytest.raises(TokenRefused, match="type"):
        access.verify_step(access.issue(CLAIMS, NOW), NOW)


def test_the_audience_is_checked_besides_the_type(access: AccessTokens, key: SigningKey) -> None:
    body = {**body_of(access.issue(CLAIMS, NOW)), "aud": "step"}
    assert refusal(access, signed(body, key)) == "audience"


def test_a_token_of_another_issuer_is_refused(access: AccessTokens, key: SigningKey) -> None:
    assert refusal(access, AccessTokens(key, "http://elsewhere").issue(CLAIMS, NOW)) == "issuer"


def test_a_receipt_key_cannot_make_an_access_token(access: AccessTokens, key: SigningKey, tmp_path: Path) -> None:
    receipts = SigningKey.load_or_create(tmp_path / "receipts.pem")
    forged = AccessTokens(receipts, ISSUER).issue(CLAIMS, NOW)
    assert refusal(access, forged) == "unknown key"
    body = body_of(forged)
    assert refusal(access, signed(body, receipts, kid=key.key_id)) == "signature"


def test_a_receipt_is_no_access_token_even_of_the_same_key(access: AccessTokens, key: SigningKey) -> None:
    assert refusal(access, ReceiptSigner(key).sign(body_of(access.issue(CLAIMS, NOW)))) == "type"


def test_an_access_token_is_no_receipt(access: AccessTokens, key: SigningKey) -> None:
    with pytest.raises(TokenRefused, match="type"):
        ReceiptVerifier([key.public]).verify(access.issue(CLAIMS, NOW))


def test_no_signature_at_all_is_refused(access: AccessTokens) -> None:
    token = access.issue(CLAIMS, NOW)
    for algorithm in ("none", "None", "NONE"):
        header = part({**header_of(token), "alg": algorithm})
        assert refusal(access, f"{header}.{token.split('.')[1]}.") in {"algorithm", "malformed"}


def test_the_public_key_does_not_serve_as_a_shared_secret(access: AccessTokens, key: SigningKey) -> None:
    token = access.issue(CLAIMS, NOW)
    for public in (
        key.public.public_bytes(Encoding.Raw, PublicFormat.Raw),
        base64.b64encode(key.public.public_bytes(Encoding.Raw, PublicFormat.Raw)),
    ):
        forged = jwt.PyJWS().encode(
            json.dumps(body_of(token)).encode(),
            public,
            algorithm="HS256",
            headers={"typ": tokens.ACCESS_TYPE, "kid": key.key_id},
        )
        assert refusal(access, forged) == "algorithm"


def test_a_changed_body_is_refused(access: AccessTokens) -> None:
    header, _, signature = access.issue(CLAIMS, NOW).split(".")
    body = {**body_of(access.issue(CLAIMS, NOW)), "office": "9970100117"}
    assert refusal(access, f"{header}.{part(body)}.{signature}") == "signature"


@pytest.mark.parametrize(
    "token", ["", ".", "..", "a.b.c", "é.é.é", "e30.e30.e30", "[]", "\x00", "a" * 10_000, "W10.W10.W10", "." * 50]
)
def test_rubbish_is_refused_and_never_raises_anything_else(access: AccessTokens, token: str) -> None:
    assert refusal(access, token) in {"malformed", "too long", "algorithm"}


@pytest.mark.parametrize(
    "change",
    [{"exp": None}, {"exp": "9999999999"}, {"exp": True}, {"iat": None}, {"scope": "root"}, {"licence_until": "soon"}],
)
def test_a_signed_body_of_the_wrong_shape_is_refused(
    access: AccessTokens, key: SigningKey, change: dict[str, Any]
) -> None:
    body = {**body_of(access.issue(CLAIMS, NOW)), **change}
    assert refusal(access, signed(body, key)) == "malformed"


def test_a_signed_body_that_is_no_object_is_refused(access: AccessTokens, key: SigningKey) -> None:
    headers = {"typ": tokens.ACCESS_TYPE, "kid": key.key_id}
    for raw in (b"[]", b"1", b"not json", b"\xff", b"[" * 4000):
        assert refusal(access, jwt.PyJWS().encode(raw, key.private, algorithm="EdDSA", headers=headers)) == "malformed"


def test_a_refusal_repeats_nothing_of_the_token(access: AccessTokens) -> None:
    token = access.issue(CLAIMS, NOW)
    with pytest.raises(TokenRefused) as refused:
        access.verify(token, NOW + timedelta(days=1))
    assert str(refused.value) == "expired"


def test_equal_receipts_have_equal_bytes_and_verify_from_the_published_keys(key: SigningKey) -> None:
    signer = ReceiptSigner(key)
    receipt = signer.sign(RECEIPT)
    assert receipt == signer.sign(dict(reversed(RECEIPT.items())))
    published = json.loads(json.dumps(tokens.jwks([key.public])))
    assert ReceiptVerifier(tokens.keys_of_jwks(published)).verify(receipt) == RECEIPT


def test_a_changed_receipt_is_refused(key: SigningKey) -> None:
    header, _, signature = ReceiptSigner(key).sign(RECEIPT).split(".")
    with pytest.raises(TokenRefused, match="signature"):
        ReceiptVerifier([key.public]).verify(f"{header}.{part({**RECEIPT, 'typ': 'download'})}.{signature}")


def test_any_jose_library_verifies_a_receipt_from_the_jwks(key: SigningKey) -> None:
    (member,) = tokens.jwks([key.public])["keys"]
    assert set(member) == {"kty", "crv", "x", "kid", "use", "alg"}
    found = jwt.PyJWS().decode(ReceiptSigner(key).sign(RECEIPT), jwt.PyJWK(member).key, algorithms=["EdDSA"])
    assert json.loads(found) == RECEIPT


def test_the_thumbprint_is_the_one_of_rfc_8037() -> None:
    document = {"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}
    (key,) = tokens.keys_of_jwks(document)
    assert tokens.key_id(key) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


def test_keys_of_other_kinds_in_a_jwks_are_passed_over() -> None:
    assert tokens.keys_of_jwks({"keys": [{"kty": "RSA", "n": "x", "e": "AQAB"}, {"kty": "OKP", "crv": "X25519"}]}) == []


def test_a_key_file_is_found_again_and_kept_private(tmp_path: Path) -> None:
    path = tmp_path / "tokens.pem"
    first = SigningKey.load_or_create(path)
    assert SigningKey.load_or_create(path).key_id == first.key_id
    path.chmod(0o644)
    with pytest.raises(KeyFileRefused, match="chmod 600"):
        SigningKey.load_or_create(path)


def test_a_key_of_another_kind_is_refused(tmp_path: Path) -> None:
    curve = generate_private_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for number, content in enumerate((curve, b"", b"rubbish")):
        path = tmp_path / f"{number}.pem"
        path.write_bytes(content)
        path.chmod(0o600)
        with pytest.raises(KeyFileRefused, match="no Ed25519"):
            SigningKey.load_or_create(path)
