"""What Todoke signs with Ed25519 (RFC 8037): access tokens and step tokens of a session, and receipts.

Tokens and receipts have different keys and different types (`typ`), so that neither can ever pass for the other. Every
verification names the one algorithm, the types and the audience it takes; the time comes from the caller.
"""

import base64
import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Literal, Self

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from todoke.relay import keyfile

ACCESS_SECONDS = 3600
"""Life of an access token."""

STEP_SECONDS = 600
"""Life of a step token: the time between the two steps of the login."""

SKEW_SECONDS = 60
"""How far another machine's clock may run ahead before its tokens are refused as issued in the future."""

TOKEN_BYTES_MAX = 8192
"""Longest token that is looked at: a header line of HTTP is not longer either."""

ALGORITHM = "EdDSA"
ACCESS_TYPE = "at+jwt"
STEP_TYPE = "step+jwt"
RECEIPT_TYPE = "receipt+jws"
ACCESS_AUDIENCE = "todoke"
STEP_AUDIENCE = "step"

Scope = Literal["office", "usage", "operator"]

_JWS = jwt.PyJWS(algorithms=[ALGORITHM])


class TokenRefused(Exception):  # noqa: N818 (named for what happened to it)
    """A token or receipt that is not believed. `reason` says why, for logs; nothing of the token is repeated."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class SigningKey:
    """An Ed25519 private key with its id, the RFC 7638 thumbprint of the public half."""

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self.private = private
        self.public = private.public_key()
        self.key_id = key_id(self.public)

    @classmethod
    def load_or_create(cls, path: Path) -> Self:
        """Read the key file (PKCS #8 PEM, mode 0600), or make it.

        Raises:
            keyfile.KeyFileRefused: others may read the file, or it holds no Ed25519 key.
        """
        pem = keyfile.load_or_create(path, _new_pem)
        try:
            private = load_pem_private_key(pem, password=None)
        except (ValueError, TypeError):
            private = None
        if not isinstance(private, Ed25519PrivateKey):
            message = f"the file {path} holds no Ed25519 private key in PEM; put the right file back"
            raise keyfile.KeyFileRefused(message)
        return cls(private)


def _new_pem() -> bytes:
    return Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def key_id(public: Ed25519PublicKey) -> str:
    """The key's id: SHA-256 over its canonical JWK (RFC 7638), base64url."""
    canonical = json.dumps(_members(public), separators=(",", ":"), sort_keys=True).encode()
    return _base64url(hashlib.sha256(canonical).digest())


def _members(public: Ed25519PublicKey) -> dict[str, str]:
    raw = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
    return {"crv": "Ed25519", "kty": "OKP", "x": _base64url(raw)}


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def jwks(keys: Iterable[Ed25519PublicKey]) -> dict[str, list[dict[str, str]]]:
    """The public keys as a JWK set (RFC 7517 section 5, RFC 8037 section 2)."""
    return {"keys": [{**_members(key), "kid": key_id(key), "use": "sig", "alg": ALGORITHM} for key in keys]}


def keys_of_jwks(document: Mapping[str, Any]) -> list[Ed25519PublicKey]:
    """The Ed25519 keys of a JWK set; keys of other kinds are passed over (RFC 7517 section 5)."""
    members = [key for key in document["keys"] if key.get("kty") == "OKP" and key.get("crv") == "Ed25519"]
    return [
        Ed25519PublicKey.from_public_bytes(base64.urlsafe_b64decode(key["x"] + "=" * (-len(key["x"]) % 4)))
        for key in members
    ]


@dataclasses.dataclass(frozen=True, slots=True)
class Claims:
    """What an access token says of its bearer.

    `subject` is the user's id (for scope `usage`: the office's KJ-ID), `office` the office number (None for an
    operator), `licence_until` the last licensed day in Japan, `must_change` the passwords to be changed first,
    `suspended` whether the office took no part when the token was made.
    """

    subject: str
    office: str | None
    roles: tuple[str, ...]
    licence_until: date | None
    session: str
    scope: Scope
    must_change: tuple[str, ...] = ()
    expires_at: datetime | None = None
    suspended: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class StepClaims:
    """What a step token says: this person has passed the first step of the login."""

    subject: str
    expires_at: datetime


class _Verifier:
    """Checks signature, algorithm, type and key; knows nothing of what is inside."""

    def __init__(self, keys: Iterable[Ed25519PublicKey]) -> None:
        self._keys = {key_id(key): key for key in keys}

    def payload(self, token: str, token_type: str) -> dict[str, Any]:
        """The payload of a compact JWS of this type.

        Raises:
            TokenRefused: it is malformed, of another type or algorithm, of an unknown key, or its signature is wrong.
        """
        if len(token) > TOKEN_BYTES_MAX:
            raise TokenRefused("too long")
        try:
            header = jwt.get_unverified_header(token)
            self._require_header(header, token_type)
            raw = _JWS.decode(token, self._keys[header["kid"]], algorithms=[ALGORITHM])
            payload = json.loads(raw)
        except jwt.InvalidSignatureError:
            raise TokenRefused("signature") from None
        except (jwt.PyJWTError, ValueError, RecursionError):
            raise TokenRefused("malformed") from None
        if not isinstance(payload, dict):
            raise TokenRefused("malformed")
        return payload

    def _require_header(self, header: Mapping[str, Any], token_type: str) -> None:
        if header.get("alg") != ALGORITHM:
            raise TokenRefused("algorithm")
        if header.get("typ") != token_type:
            raise TokenRefused("type")
        if header.get("kid") not in self._keys:
            raise TokenRefused("unknown key")


class AccessVerifier:
    """Verifies access and step tokens with the public keys alone."""

    def __init__(self, keys: Iterable[Ed25519PublicKey], issuer: str) -> None:
        self._verifier = _Verifier(keys)
        self._issuer = issuer

    def verify(self, token: str, now: datetime) -> Claims:
        """The claims of a valid access token.

        Raises:
            TokenRefused: expired, not ours, of another kind, or damaged.
        """
        payload = self._checked(token, ACCESS_TYPE, ACCESS_AUDIENCE, now)
        try:
            return _claims(payload)
        except (KeyError, TypeError, ValueError):
            raise TokenRefused("malformed") from None

    def verify_step(self, token: str, now: datetime) -> StepClaims:
        """The claims of a valid step token.

        Raises:
            TokenRefused: expired, not ours, of another kind, or damaged.
        """
        payload = self._checked(token, STEP_TYPE, STEP_AUDIENCE, now)
        return StepClaims(subject=str(payload.get("sub")), expires_at=datetime.fromtimestamp(payload["exp"], UTC))

    def _checked(self, token: str, token_type: str, audience: str, now: datetime) -> dict[str, Any]:
        payload = self._verifier.payload(token, token_type)
        if payload.get("iss") != self._issuer:
            raise TokenRefused("issuer")
        if payload.get("aud") != audience:
            raise TokenRefused("audience")
        issued, expires = payload.get("iat"), payload.get("exp")
        if type(issued) is not int or type(expires) is not int:
            raise TokenRefused("malformed")
        if issued > now.timestamp() + SKEW_SECONDS:
            raise TokenRefused("issued in the future")
        if expires <= now.timestamp():
            raise TokenRefused("expired")
        return payload


class AccessTokens(AccessVerifier):
    """Issues access and step tokens, and verifies them."""

    def __init__(self, key: SigningKey, issuer: str) -> None:
        super().__init__([key.public], issuer)
        self._key = key

    def issue(self, claims: Claims, now: datetime, seconds: int = ACCESS_SECONDS) -> str:
        """An access token that says `claims`, good for `seconds` from `now` (`claims.expires_at` is not used)."""
        body = {
            "sub": claims.subject,
            "office": claims.office,
            "roles": list(claims.roles),
            "licence_until": claims.licence_until.isoformat() if claims.licence_until else None,
            "sid": claims.session,
            "scope": claims.scope,
            "must_change": list(claims.must_change),
            "suspended": claims.suspended,
        }
        return self._signed(body, ACCESS_TYPE, ACCESS_AUDIENCE, now, seconds)

    def issue_step(self, subject: str, now: datetime) -> str:
        """A step token for the person who has passed the first step."""
        return self._signed({"sub": subject}, STEP_TYPE, STEP_AUDIENCE, now, STEP_SECONDS)

    def _signed(self, body: dict[str, Any], token_type: str, audience: str, now: datetime, seconds: int) -> str:
        times = {"iat": int(now.timestamp()), "exp": int((now + timedelta(seconds=seconds)).timestamp())}
        return _compact({"iss": self._issuer, "aud": audience, **times, **body}, token_type, self._key)


def _compact(payload: Mapping[str, Any], token_type: str, key: SigningKey) -> str:
    """A compact JWS (RFC 7515 section 7.1); Ed25519 has no randomness, so the same payload gives the same bytes."""
    body = json.dumps(payload, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()
    headers = {"typ": token_type, "kid": key.key_id}
    return _JWS.encode(body, key.private, algorithm=ALGORITHM, headers=headers)


def _claims(payload: Mapping[str, Any]) -> Claims:
    scope = payload["scope"]
    if scope not in ("office", "usage", "operator"):
        raise ValueError(scope)
    until = payload["licence_until"]
    return Claims(
        subject=payload["sub"],
        office=payload["office"],
        roles=tuple(payload["roles"]),
        licence_until=date.fromisoformat(until) if until else None,
        session=payload["sid"],
        scope=scope,
        must_change=tuple(payload["must_change"]),
        expires_at=datetime.fromtimestamp(payload["exp"], UTC),
        suspended=bool(payload.get("suspended", False)),
    )


class ReceiptSigner:
    """Signs receipts, with a key that signs nothing else."""

    def __init__(self, key: SigningKey) -> None:
        self.public = key.public
        self._key = key

    def sign(self, payload: Mapping[str, Any]) -> str:
        """The payload as a compact JWS; equal payloads give equal receipts."""
        return _compact(payload, RECEIPT_TYPE, self._key)


class ReceiptVerifier:
    """Verifies receipts with the public keys, as published at `/.well-known/jwks.json`."""

    def __init__(self, keys: Iterable[Ed25519PublicKey]) -> None:
        self._verifier = _Verifier(keys)

    def verify(self, receipt: str) -> dict[str, Any]:
        """The payload that was signed.

        Raises:
            TokenRefused: it is no receipt, of an unknown key, or changed.
        """
        return self._verifier.payload(receipt, RECEIPT_TYPE)
