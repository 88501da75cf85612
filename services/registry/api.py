"""`/v1/session…`: the two-step login, tokens, sessions, passwords; the feed of ended sessions; the receipt keys."""

import hmac
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Request, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, ConfigDict, Field

from services.registry.logins import Logins, Typed
from services.registry.password_changes import PasswordChange, PasswordChanges
from services.registry.sessions import Opened, Sessions
from todoke.relay.access import FEED_PATH, INTERNAL_SECRET_HEADER, Access, Bearer, EndedPage, Source
from todoke.relay.clock import Clock
from todoke.relay.network import Networks
from todoke.relay.problem import Problem
from todoke.relay.tokens import STEP_SECONDS, AccessTokens, SigningKey, TokenRefused, jwks

_STEP = HTTPBearer(auto_error=False, scheme_name="StepToken", description="step_token of POST /v1/session/system")


class Body(BaseModel):
    """A request body: unknown members are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Pair(Body):
    """An ID and its password."""

    user_id: str = Field(max_length=200)
    password: str = Field(max_length=1000)


class Refresh(Body):
    """A refresh token."""

    refresh_token: str = Field(max_length=200)


class NewPassword(Body):
    """The old and the new password of the person or of the office."""

    which: Literal["person", "office"]
    old: str = Field(max_length=1000)
    new: str = Field(max_length=1000)


class Step(BaseModel):
    """The first step is passed; the token is good for the second step only."""

    step_token: str
    expires_in: int = STEP_SECONDS


class SessionOffice(BaseModel):
    """The office of a session; service types as codes."""

    number: str
    name: str
    service_types: list[str]


class SessionUser(BaseModel):
    """The person of a session."""

    id: str
    name: str
    roles: list[str]


class Session(BaseModel):
    """A session with its tokens.

    `must_change` names the passwords without whose change nothing else is served, `expired_at` those among them that
    have expired, and when; the others are temporary.
    """

    access_token: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 (RFC 6749 calls it so)
    expires_in: int
    refresh_token: str
    refresh_expires_in: int
    must_change: list[Literal["person", "office"]]
    expired_at: dict[Literal["person", "office"], datetime]
    office: SessionOffice
    user: SessionUser | None
    failed_logins_at: list[datetime]


class SessionItem(BaseModel):
    """One open session; `current` is the one that asks."""

    id: UUID
    office: str
    scope: Literal["office", "usage"]
    created_at: datetime
    used_at: datetime
    until: datetime
    current: bool


class SessionList(BaseModel):
    """One's open sessions, newest first."""

    items: list[SessionItem]


def session_routes(
    *,
    access: Access,
    tokens: AccessTokens,
    logins: Logins,
    sessions: Sessions,
    changes: PasswordChanges,
    networks: Networks,
    clock: Clock,
) -> APIRouter:
    """The calls of api.md, section "Session"."""
    router = APIRouter(prefix="/v1/session", tags=["session"])
    _add_logins(router, tokens, logins, sessions, networks, clock)
    _add_sessions(router, access, sessions, changes, networks)
    return router


def _add_logins(
    router: APIRouter, tokens: AccessTokens, logins: Logins, sessions: Sessions, networks: Networks, clock: Clock
) -> None:
    @router.post("/system")
    async def log_in_person(pair: Pair, request: Request) -> Step:
        """First step: the person (c-ID)."""
        login = await logins.check(Typed("person", pair.user_id, pair.password, networks.of(request)))
        return Step(step_token=tokens.issue_step(login["subject"], clock.now()))

    @router.post("/office")
    async def log_in_office(
        pair: Pair, request: Request, step: Annotated[HTTPAuthorizationCredentials | None, Depends(_STEP)]
    ) -> Session:
        """Second step: the office (KJ-ID), with the step token as Bearer."""
        person = _passed_first_step(tokens, step, clock.now())
        login = await logins.check(Typed("office", pair.user_id, pair.password, networks.of(request), person))
        return _shown(await sessions.open_for_person(login, person))

    @router.post("/usage")
    async def log_in_usage(pair: Pair, request: Request) -> Session:
        """The office alone, for the usage-state site (利用状況Webサイト)."""
        login = await logins.check(Typed("office", pair.user_id, pair.password, networks.of(request)))
        return _shown(await sessions.open_for_office(login))

    @router.post("/refresh")
    async def refresh(body: Refresh) -> Session:
        """New tokens for an old refresh token, which works once."""
        return _shown(await sessions.refresh(body.refresh_token))


def _add_sessions(
    router: APIRouter, access: Access, sessions: Sessions, changes: PasswordChanges, networks: Networks
) -> None:
    @router.post("/password", status_code=204)
    async def change_password(
        body: NewPassword, request: Request, bearer: Annotated[Bearer, Depends(access.session)]
    ) -> Response:
        """A new password; refresh afterwards to get a token without `must_change`."""
        wanted = PasswordChange(body.which, body.old, body.new, networks.of(request))
        await changes.change(bearer, wanted)
        return Response(status_code=204)

    @router.get("/list")
    async def list_sessions(bearer: Annotated[Bearer, Depends(access.session)]) -> SessionList:
        """One's open sessions."""
        caller = bearer.caller
        rows = await sessions.listed(caller.office, caller.user_id)
        return SessionList(items=[SessionItem(**row, current=row["id"] == caller.session) for row in rows])

    @router.delete("", status_code=204)
    async def log_out(bearer: Annotated[Bearer, Depends(access.session)]) -> Response:
        """Log out here."""
        await sessions.end(bearer.caller.office, bearer.caller.user_id, bearer.caller.session)
        return Response(status_code=204)

    @router.delete("/{session}", status_code=204)
    async def log_out_there(session: UUID, bearer: Annotated[Bearer, Depends(access.session)]) -> Response:
        """Log out another session of one's own."""
        await sessions.end(bearer.caller.office, bearer.caller.user_id, session)
        return Response(status_code=204)


def internal_routes(feed: Source, secret: bytes, receipt_key: SigningKey) -> APIRouter:
    """The feed that every process polls, behind the secret they share, and the public keys of receipts."""
    router = APIRouter()

    @router.get(FEED_PATH, include_in_schema=False)
    async def ended_sessions(
        after: int = 0, shown: Annotated[str, Header(alias=INTERNAL_SECRET_HEADER)] = ""
    ) -> EndedPage:
        """Sessions ended after a number of the feed."""
        if not hmac.compare_digest(shown.encode("utf-8", "replace"), secret.hex().encode()):
            raise Problem("TDK-NOT-FOUND")
        return await feed(max(after, 0))

    @router.get("/.well-known/jwks.json", tags=["receipts"])
    async def receipt_keys() -> dict[str, Any]:
        """The public keys of receipts (RFC 7517). Access tokens have another key, which is nobody's business."""
        return jwks([receipt_key.public])

    return router


def _passed_first_step(tokens: AccessTokens, step: HTTPAuthorizationCredentials | None, now: datetime) -> str:
    if step is None:
        raise Problem("TDK-NO-SESSION")
    try:
        return tokens.verify_step(step.credentials, now).subject
    except TokenRefused as refused:
        raise Problem("TDK-STEP-EXPIRED" if refused.reason == "expired" else "TDK-NO-SESSION") from None


def _shown(opened: Opened) -> Session:
    user = None
    if opened.user_id is not None:
        user = SessionUser(id=opened.user_id, name=opened.user_name, roles=list(opened.roles))
    return Session(
        access_token=opened.access_token,
        expires_in=opened.expires_in,
        refresh_token=opened.refresh_token,
        refresh_expires_in=opened.refresh_expires_in,
        must_change=list(opened.must_change),
        expired_at=dict(opened.expired_at),
        office=SessionOffice(number=opened.office, name=opened.office_name, service_types=list(opened.service_types)),
        user=user,
        failed_logins_at=list(opened.failed_logins_at),
    )
