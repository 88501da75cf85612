"""Who looks at a page: their session, their rights, and a client of the API that acts as them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID
from weakref import WeakValueDictionary

from services.portal.apis import Api, SessionSlot
from services.portal.websessions import WebSession, WebSessions
from todoke.client import AsyncClient, NotLoggedIn, Session
from todoke.relay.clock import Clock

RENEW_BEFORE = timedelta(minutes=10)
"""Tokens are renewed when they end sooner than this, before a page begins: no request lasts as long."""


@dataclass(frozen=True, slots=True)
class Visitor:
    """A person at an office (or, on the usage-state site, the office itself) with a session that is alive."""

    web: WebSession
    slot: SessionSlot
    client: AsyncClient
    csrf: str

    @property
    def session(self) -> Session:
        """The API's session. Raises `NotLoggedIn` once it has ended."""
        if self.slot.session is None:
            raise NotLoggedIn("the session has ended")
        return self.slot.session

    @property
    def office(self) -> str:
        """The office's number."""
        return self.session.office.number

    @property
    def user_id(self) -> str:
        """The person's c-ID; empty on the usage-state site."""
        return self.session.user.id if self.session.user else ""

    @property
    def roles(self) -> frozenset[str]:
        """`admin`, `staff`, `viewer`."""
        return frozenset(self.session.user.roles) if self.session.user else frozenset()

    def may_handle(self) -> bool:
        """Whether this person may send, fetch and see contents."""
        return not self.roles.isdisjoint({"admin", "staff"})


@dataclass(slots=True)
class Visitors:
    """Makes visitors of sessions; renews tokens once, however many tabs ask at the same moment."""

    sessions: WebSessions
    api: Api
    clock: Clock
    _locks: WeakValueDictionary[UUID, asyncio.Lock] = field(default_factory=WeakValueDictionary)

    async def of(self, web: WebSession, csrf: str, browser: str | None) -> Visitor:
        """The visitor of a living session, with tokens that last.

        Raises:
            NotLoggedIn: the API's session has ended.
            Unreachable: the API gave no answer.
        """
        session = web.held.session
        if session is None:
            raise NotLoggedIn("no session")
        if self.clock.now() >= session.access_until - RENEW_BEFORE:
            web = await self._renewed(web, browser)
        slot = SessionSlot(web.held.session)
        return Visitor(web, slot, self.api.client(slot, browser), csrf)

    async def without_browser(self, session_id: UUID) -> Visitor | None:
        """The visitor of a session whose browser asks nothing just now; None once it has ended.

        Raises `NotLoggedIn`, `Unreachable` as `of`.
        """
        web = await self.sessions.by_id(session_id)
        if web is None or web.held.session is None:
            return None
        return await self.of(web, "", None)

    async def keep(self, visitor: Visitor) -> None:
        """Keep the tokens that a page has renewed on its way; end the session whose API session has ended."""
        if not visitor.slot.changed:
            return
        if visitor.slot.session is None:
            await self.sessions.end(visitor.web.id)
        else:
            held = visitor.web.held.model_copy(update={"session": visitor.slot.session})
            await self.sessions.keep(visitor.web, held)
        visitor.slot.changed = False

    async def _renewed(self, web: WebSession, browser: str | None) -> WebSession:
        async with self._one_at_a_time(web.id):
            now = await self.sessions.by_id(web.id)
            if now is None or now.held.session is None:
                raise NotLoggedIn("the session has ended")
            if self.clock.now() < now.held.session.access_until - RENEW_BEFORE:
                return now  # another tab was faster
            slot = SessionSlot(now.held.session)
            await self.api.client(slot, browser).refresh()
            await self.sessions.keep(now, now.held.model_copy(update={"session": slot.session}))
            return await self.sessions.by_id(web.id) or now

    @contextlib.asynccontextmanager
    async def _one_at_a_time(self, session_id: UUID) -> AsyncIterator[None]:
        lock = self._locks.get(session_id)
        if lock is None:
            lock = self._locks[session_id] = asyncio.Lock()
        async with lock:
            yield
