"""`/v1/operator/session`: operators log in on their own listener, with a password and a code that works once."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import pyotp
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from services.registry.logins import Logins, SecondFactor, Typed
from todoke.relay.access import Access, Operator
from todoke.relay.clock import Ids
from todoke.relay.network import Networks
from todoke.relay.postgres import Database, Tx, queries
from todoke.relay.tokens import ACCESS_SECONDS, AccessTokens, Claims

_store = queries("services.registry")

TOTP_LABEL = "registry/totp"
"""Purpose of the key that seals the secrets of second factors."""

STEP_SECONDS = 30
"""RFC 6238 section 5.2."""

DRIFT_STEPS = (-1, 0, 1)
"""Codes of the step before and after are taken too: telephones' clocks are off by seconds."""

NONCE_BYTES = 12


class SecondFactors:
    """Seals the secrets of second factors and checks their codes (TOTP, RFC 6238)."""

    def __init__(self, key: bytes, ids: Ids) -> None:
        self._cipher = AESGCM(key)
        self._ids = ids

    def seal(self, operator: str, secret: str) -> bytes:
        """The base32 secret of an operator, sealed to that operator (AES-256-GCM, nonce in front)."""
        nonce = self._ids.secret(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, secret.encode(), operator.encode())

    def expects(self, code: str) -> SecondFactor:
        """A check for the login gate: the code fits now, and neither it nor a later one was taken before."""

        async def fits(row: Mapping[str, Any], tx: Tx) -> bool:
            step = self._step_of(row, code, int(tx.now.timestamp()) // STEP_SECONDS)
            if step is None:
                return False
            return bool(await _store.take_totp_step(tx.db, id=row["subject"], step=step))

        return fits

    def _step_of(self, row: Mapping[str, Any], code: str, now_step: int) -> int | None:
        sealed, operator = row["totp_sealed"], row["subject"]
        secret = self._cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], operator.encode()).decode()
        totp = pyotp.TOTP(secret, interval=STEP_SECONDS)
        for drift in DRIFT_STEPS:
            if pyotp.utils.strings_equal(totp.at((now_step + drift) * STEP_SECONDS), code):
                return now_step + drift
        return None


class OperatorLogin(BaseModel):
    """Password and second factor, together."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    user_id: str = Field(max_length=200)
    password: str = Field(max_length=1000)
    totp: str = Field(max_length=20)


class OperatorSession(BaseModel):
    """An operator's token; there is no refresh: after an hour the code is asked again."""

    access_token: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 (RFC 6749 calls it so)
    expires_in: int = ACCESS_SECONDS


def operator_routes(
    access: Access, db: Database, tokens: AccessTokens, logins: Logins, factors: SecondFactors, networks: Networks
) -> APIRouter:
    """Logging in and out, for the operators' listener."""
    router = APIRouter(prefix="/v1/operator/session", tags=["operator"])

    @router.post("")
    async def log_in_operator(body: OperatorLogin, request: Request) -> OperatorSession:
        """Password and code at once: which of the two was wrong is not told."""
        typed = Typed("operator", body.user_id, body.password, networks.of(request))
        login = await logins.check(typed, factors.expects(body.totp))
        claims = Claims(
            subject=login["subject"],
            office=None,
            roles=(),
            licence_until=None,
            session=str(db.ports.ids.uuid7()),
            scope="operator",
        )
        return OperatorSession(access_token=tokens.issue(claims, db.ports.clock.now()))

    @router.delete("", status_code=204)
    async def log_out_operator(operator: Annotated[Operator, Depends(access.operator)]) -> Response:
        """Log out; the token stops working everywhere within seconds."""
        async with db.api(None) as tx:
            await _store.feed_ended(tx.db, ids=[operator.session], now=tx.now)
            tx.after_commit(lambda: access.ended.end(operator.session))
        return Response(status_code=204)

    return router
