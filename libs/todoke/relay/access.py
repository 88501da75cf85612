"""Who asks: the FastAPI dependencies that turn a Bearer token into a `Caller`, and the sessions that were ended.

Tokens are verified with the public key alone, so every process can do it without asking anybody. What a token cannot
know is that its session was ended: each process polls the registry's feed of ended sessions every two seconds.
"""

import contextlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

import httpx
from fastapi import Depends
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, ConfigDict

from todoke.relay.clock import Clock
from todoke.relay.faults import Transient
from todoke.relay.policy import Act, Caller, Scope, may
from todoke.relay.problem import Problem
from todoke.relay.rates import RateLimits
from todoke.relay.tokens import ACCESS_SECONDS, SKEW_SECONDS, AccessVerifier, Claims, TokenRefused

__all__ = ["INTERNAL_SECRET_HEADER", "Access", "Bearer", "Caller", "EndedPage", "EndedSessions", "Operator"]

POLL_SECONDS = 2.0
"""How often the feed is asked: an ended session's token stops working everywhere within 5 s."""

STALE_SECONDS = 10.0
"""Without an answer for so long the process goes on serving, but its health says degraded (decision 0004)."""

FEED_ROWS_MAX = 5000
"""Ended sessions of one answer of the feed; a full answer is asked on at once."""

FEED_PATH = "/internal/sessions/ended"
INTERNAL_SECRET_HEADER = "X-Todoke-Internal"  # noqa: S105 (the name of a header)
INTERNAL_SECRET_LABEL = "internal"  # noqa: S105 (what `Secrets.hmac_key` derives it by)

REMEMBERED_SECONDS = ACCESS_SECONDS + SKEW_SECONDS
"""An ended session is remembered until its last access token has expired by itself."""

TOKENS_CACHED = 4096
"""Verified tokens kept, so that a client's next request costs no second signature check."""

_BEARER = HTTPBearer(auto_error=False, description="access_token of POST /v1/session/office")
Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)]


class EndedPage(BaseModel):
    """One answer of the registry's feed: numbers rise in the order of the commits, without gaps."""

    model_config = ConfigDict(frozen=True)

    last: int
    """The feed's newest number; lower than the one asked after when the database was restored to an older copy."""
    upto: int
    """The number up to which `sessions` answers."""
    sessions: tuple[UUID, ...]


Source = Callable[[int], Awaitable[EndedPage]]
"""Answers the sessions ended after a number. Raises `Transient` when the registry is away."""


class EndedSessions:
    """What this process knows of ended sessions."""

    def __init__(self, source: Source, clock: Clock) -> None:
        self._source = source
        self._clock = clock
        self._after = 0
        self._ended: OrderedDict[UUID, float] = OrderedDict()
        self._answered_at: float | None = None

    def __contains__(self, session: UUID) -> bool:
        return session in self._ended

    @property
    def fresh(self) -> bool:
        """Whether the registry has answered lately; False makes the process degraded."""
        return self._answered_at is not None and self._clock.monotonic() - self._answered_at <= STALE_SECONDS

    def end(self, session: UUID) -> None:
        """Refuse a session here at once: this process ended it itself."""
        self._ended.setdefault(session, self._clock.monotonic())

    async def poll(self) -> None:
        """Ask the feed for what is new. Raises `Transient`."""
        while True:
            page = await self._source(self._after)
            self._answered_at = self._clock.monotonic()
            if page.last < self._after:
                self._after = 0  # the registry's database was restored: start over, which is harmless
                continue
            for session in page.sessions:
                self.end(session)
            self._after = max(self._after, page.upto)
            if self._after >= page.last:
                self._forget_old()
                return

    async def run(self) -> None:
        """Poll until cancelled. While the registry is away the process serves with what it knows."""
        while True:
            with contextlib.suppress(Transient):  # `fresh` tells the health page; the next round asks again
                await self.poll()
            await self._clock.sleep(POLL_SECONDS)

    def _forget_old(self) -> None:
        oldest_kept = self._clock.monotonic() - REMEMBERED_SECONDS
        while self._ended and next(iter(self._ended.values())) < oldest_kept:
            self._ended.popitem(last=False)


class RegistryAway(Transient):
    """The registry did not answer, or not as it should."""


def ask_registry(address: str, secret: bytes, client: httpx.AsyncClient) -> Source:
    """The feed of a registry in another process, at `address` (`http://host:port`); `secret` is the internal one."""

    async def ended_after(number: int) -> EndedPage:
        try:
            answer = await client.get(
                address + FEED_PATH, params={"after": number}, headers={INTERNAL_SECRET_HEADER: secret.hex()}
            )
            answer.raise_for_status()
            return EndedPage.model_validate_json(answer.content)
        except (httpx.HTTPError, ValueError) as trouble:
            raise RegistryAway(type(trouble).__name__) from None

    return ended_after


@dataclass(frozen=True, slots=True)
class Bearer:
    """A caller of the session calls, with what only they need: which passwords must be changed, and who is subject."""

    caller: Caller
    subject: str
    must_change: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Operator:
    """An operator with a valid session on the operators' listener."""

    user_id: str
    session: UUID


class Access:
    """The dependencies that routers name: `caller`, `uncounted`, `own_office`, `session`, `operator`."""

    def __init__(self, tokens: AccessVerifier, ended: EndedSessions, rates: RateLimits, clock: Clock) -> None:
        self.ended = ended
        self.rates = rates
        self._tokens = tokens
        self._clock = clock
        self._verified: OrderedDict[str, Claims] = OrderedDict()

    async def caller(self, credentials: Credentials) -> Caller:
        """A person at an office; the request counts against the user's rate.

        Raises:
            Problem: 401 `TDK-NO-SESSION`, `TDK-SESSION-ENDED`; 403 `TDK-PASSWORD-CHANGE`, `TDK-NOT-ALLOWED` (a session
                of the usage-state site or an operator's); 429 `TDK-TOO-MANY`.
        """
        return self._office_caller(credentials, scopes=("office",), counted=True)

    async def reader(self, credentials: Credentials) -> Caller:
        """As `caller`, for lists and messages: many at once are spread over time, and nobody else waits for them."""
        caller = self._office_caller(credentials, scopes=("office",), counted=True)
        if wait := self.rates.reading_wait(caller.office):
            await self._clock.sleep(wait)
        return caller

    async def uncounted(self, credentials: Credentials) -> Caller:
        """As `caller`, for file GETs and receipts, which do not count against the user's rate."""
        return self._office_caller(credentials, scopes=("office",), counted=False)

    async def own_office(self, credentials: Credentials) -> Caller:
        """As `caller`, and the office itself on the usage-state site (利用状況Webサイト)."""
        return self._office_caller(credentials, scopes=("office", "usage"), counted=True)

    async def session(self, credentials: Credentials) -> Bearer:
        """Anybody with a session of an office, also while a password must be changed.

        Raises:
            Problem: 401 `TDK-NO-SESSION`, `TDK-SESSION-ENDED`; 403 `TDK-NOT-ALLOWED` (an operator); 429 `TDK-TOO-MANY`.
        """
        claims = self._claims(credentials)
        caller = _caller_of(claims, ("office", "usage"))
        self.rates.request(claims.subject)
        return Bearer(caller=caller, subject=claims.subject, must_change=claims.must_change)

    async def operator(self, credentials: Credentials) -> Operator:
        """An operator. Raises `Problem`: 401 as above, 403 `TDK-NOT-ALLOWED` for anybody else."""
        claims = self._claims(credentials)
        if claims.scope != "operator":
            raise Problem("TDK-NOT-ALLOWED")
        return Operator(user_id=claims.subject, session=UUID(claims.session))

    def office_of(self, authorization: str) -> str | None:
        """The office (or operator) behind an Authorization header that this process has verified and that holds."""
        claims = self._verified.get(authorization.partition(" ")[2])
        if claims is None or claims.expires_at is None or self._clock.now() >= claims.expires_at:
            return None
        return claims.office or claims.subject

    def require(self, caller: Caller, act: Act) -> None:
        """`policy.may` at this moment. Raises `Problem` 403."""
        may(caller, act, self._clock.now())

    def _office_caller(self, credentials: Credentials, *, scopes: tuple[Scope, ...], counted: bool) -> Caller:
        claims = self._claims(credentials)
        caller = _caller_of(claims, scopes)
        if counted:
            self.rates.request(claims.subject)
        if claims.must_change:
            raise Problem("TDK-PASSWORD-CHANGE")
        return caller

    def _claims(self, credentials: Credentials) -> Claims:
        if credentials is None:
            raise Problem("TDK-NO-SESSION")
        try:
            claims = self._verified_claims(credentials.credentials)
            session = UUID(claims.session)
        except TokenRefused as refused:
            raise Problem("TDK-SESSION-ENDED" if refused.reason == "expired" else "TDK-NO-SESSION") from None
        except ValueError:
            raise Problem("TDK-NO-SESSION") from None
        if session in self.ended:
            raise Problem("TDK-SESSION-ENDED")
        return claims

    def _verified_claims(self, token: str) -> Claims:
        now = self._clock.now()
        known = self._verified.get(token)
        if known is not None and known.expires_at is not None and now < known.expires_at:
            self._verified.move_to_end(token)
            return known
        claims = self._tokens.verify(token, now)
        self._verified[token] = claims
        if len(self._verified) > TOKENS_CACHED:
            self._verified.popitem(last=False)
        return claims


def _caller_of(claims: Claims, scopes: tuple[Scope, ...]) -> Caller:
    if claims.scope == "operator" or claims.scope not in scopes or claims.office is None:
        raise Problem("TDK-NOT-ALLOWED")
    return Caller(
        user_id=claims.subject if claims.scope == "office" else None,
        office=claims.office,
        roles=frozenset(claims.roles),
        licence_until=claims.licence_until,
        suspended=claims.suspended,
        session=UUID(claims.session),
        scope=claims.scope,
    )
