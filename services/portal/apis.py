"""The way to the public API: one set of connections for all visitors, each visitor with a session of their own."""

from collections.abc import Sequence

import httpx

from todoke.client import AsyncClient, Patience, Session
from todoke.relay.network import PORTAL_SECRET_HEADER

PAGE_SECONDS = 8.0
"""Patience of a call that a page waits for: the visitor has an answer within ten seconds."""


class SessionSlot:
    """A visitor's API session in memory; `changed` tells that it was renewed meanwhile and has to be kept."""

    def __init__(self, session: Session | None) -> None:
        self.session = session
        self.changed = False

    def load(self) -> Session | None:
        """The session, or None."""
        return self.session

    def save(self, session: Session) -> None:
        """Hold a renewed one."""
        self.session = session
        self.changed = True

    def clear(self) -> None:
        """It has ended."""
        self.session = None
        self.changed = True


class Api:
    """The public API (or the operators') at one address.

    `secret` names us as the portal, so that lock-outs count the browser's network and not ours. With `socket_options`
    connections are made otherwise than the machine would.
    """

    def __init__(self, address: str, secret: bytes, socket_options: Sequence[tuple[int, int, int]] = ()) -> None:
        self.address = address.rstrip("/")
        self._secret = secret.hex()
        self._transport = httpx.AsyncHTTPTransport(
            limits=httpx.Limits(max_connections=200, keepalive_expiry=30), socket_options=socket_options
        )

    def client(self, slot: SessionSlot, browser: str | None, seconds: float = PAGE_SECONDS) -> AsyncClient:
        """A client for one visitor; closing it leaves the connections to the others. `browser` is its address."""
        told = {PORTAL_SECRET_HEADER: self._secret}
        if browser is not None:
            told["Forwarded"] = f'for="[{browser}]"' if ":" in browser else f"for={browser}"
        return AsyncClient(
            self.address, store=slot, patience=Patience(seconds=seconds), transport=_Told(self._transport, told)
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.aclose()


class _Told(httpx.AsyncBaseTransport):
    """The shared connections, with what every request of this visitor says besides."""

    def __init__(self, inner: httpx.AsyncBaseTransport, headers: dict[str, str]) -> None:
        self._inner = inner
        self._headers = headers

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        request.headers.update(self._headers)
        return await self._inner.handle_async_request(request)
