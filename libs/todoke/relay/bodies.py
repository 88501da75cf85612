"""What every request body meets before a route reads it, and what becomes of one that nobody read to its end.

Uploads have bounds of their own (`todoke.relay.upload`); these are for all other bodies, and for the connection.
"""

import asyncio
import contextlib
import re

from fastapi import HTTPException as Refusing
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from todoke.relay.limits import JSON_BODY_BYTES_MAX

SMALL_BODY_SECONDS_MAX = 20.0
"""It must have arrived in this time."""

LINGER_SECONDS_MAX = 2.0
"""How long a body that was answered early is still read and thrown away, so that its sender can read the answer."""


class SmallBodies:
    """Bodies other than uploads are stopped while they are read: by their size, and by the time they take."""

    def __init__(self, app: ASGIApp, uploads: tuple[re.Pattern[str], ...]) -> None:
        self._app = app
        self._uploads = uploads

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request (ASGI)."""
        if scope["type"] != "http" or not has_body(scope) or self._is_upload(scope["path"]):
            await self._app(scope, receive, send)
            return
        left = JSON_BODY_BYTES_MAX
        until = asyncio.get_running_loop().time() + SMALL_BODY_SECONDS_MAX
        arrived = False

        async def measured() -> Message:
            nonlocal left, arrived
            if arrived:  # what comes now is the end of the connection, which may take its time
                return await receive()
            try:
                async with asyncio.timeout_at(until):
                    message = await receive()
            except TimeoutError:
                raise Refusing(408) from None
            left -= len(message.get("body", b""))
            if left < 0:
                raise Refusing(413)  # of FastAPI's own kind: it would hide any other behind a 400
            arrived = not message.get("more_body", False)
            return message

        await self._app(scope, measured, send)

    def _is_upload(self, path: str) -> bool:
        return any(pattern.match(path) for pattern in self._uploads)


class EarlyAnswers:
    """An answer that goes out before the body has arrived ends the connection (RFC 9112 section 9.6).

    Without this the rest of a refused upload would be read and thrown away for as long as its sender likes. It is still
    read for a moment: a connection that is closed on a sender in the middle of its body may lose the answer.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request (ASGI)."""
        if scope["type"] != "http" or not has_body(scope):
            await self._app(scope, receive, send)
            return
        arrived = early = False

        async def watched() -> Message:
            nonlocal arrived
            message = await receive()
            arrived = not message.get("more_body", False)
            return message

        async def answer(message: Message) -> None:
            nonlocal early
            if message["type"] == "http.response.start" and not arrived:
                early = True
                message["headers"] = [*message["headers"], (b"connection", b"close")]
            elif early and not message.get("more_body", False):
                await send({**message, "more_body": True})
                await _thrown_away(watched)
                message = {"type": "http.response.body"}
            await send(message)

        async def _thrown_away(rest: Receive) -> None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LINGER_SECONDS_MAX):
                    while not arrived:
                        await rest()

        await self._app(scope, watched, answer)


def has_body(scope: Scope) -> bool:
    """Whether the request announces a body (RFC 9112 section 6.3)."""
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and value.strip(b"0 "))
        for name, value in scope["headers"]
    )
