"""Pacing: answers that are worth nothing go out slowly to whoever gets many of them.

Refusing costs a process almost as much as serving, and a program that asks again at once after each refusal would take
it all from the others. Nobody is refused here: an answer is held back, and whoever waits for it does not ask meanwhile.
"""

import asyncio

from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from todoke.relay.access import Access
from todoke.relay.clock import Clock
from todoke.relay.deadline import seconds_to_wait
from todoke.relay.network import Networks
from todoke.relay.rates import Buckets

AT_ONCE = 200
"""So many refusals come at once: a client that lost its session, with all its windows, notices nothing."""

PER_SECOND = 20.0
"""Further ones at this rate to each office, and to each network of those that have no session."""

SECONDS_MAX = 5.0
"""Longest time an answer is held back."""

_API = "/v1/"
"""Where everybody but at the login has a token. Pages know their visitors in another way, and load many parts."""


class Pace:
    """How long to hold an answer back. Offices are known by their tokens, all others by their network."""

    def __init__(self, access: Access, networks: Networks, clock: Clock) -> None:
        self._access = access
        self._networks = networks
        self._buckets = Buckets(capacity=AT_ONCE, per_second=PER_SECOND, clock=clock)

    def seconds(self, scope: Scope, status: int) -> float:
        """How long this answer has to wait: it refuses, or it is a call that serves somebody without a session."""
        request = Request(scope)
        office = self._access.office_of(request.headers.get("authorization", ""))
        refuses = 400 <= status < 500  # noqa: PLR2004 (RFC 9110 section 15.5)
        if not refuses and (office is not None or not scope["path"].startswith(_API)):
            return 0
        return self._buckets.owe(office or self._networks.of(request), 1, SECONDS_MAX)


class Paced:
    """Holds answers back (ASGI)."""

    def __init__(self, app: ASGIApp, pace: Pace) -> None:
        self._app = app
        self._pace = pace

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                seconds = self._pace.seconds(scope, message["status"])
                if seconds:
                    await asyncio.sleep(min(seconds, seconds_to_wait()))
            await send(message)

        await self._app(scope, receive, answer)
