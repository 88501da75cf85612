"""One deadline per request: whatever it waits for, turns and engines alike, it is answered in time.

The time runs from the request's beginning, stands still while its body arrives, and ends with the first byte of the
answer. When it is over, the answer is 503: also while the request itself still hangs on an engine that froze in the
middle of a statement and does not even let go of its connection.
"""

import asyncio
from collections.abc import Callable
from contextvars import ContextVar

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from todoke.relay.bodies import has_body
from todoke.relay.problem import Problem

ANSWER_SECONDS_MAX = 8.0
"""Every request is answered in this time, not counting its body: never a hang over 10 s, also in a busy process."""

WORK_SECONDS = 1.0
"""Of them, what whoever waited for a turn keeps for the work: it takes a fraction of that."""

AWAY_SECONDS = 5
"""Retry-After of who got no answer in time: an engine restarts in about so long."""

_API = "/v1/"
_OPERATORS = "/v1/operator/"
"""An operator's import of a whole list may take its time."""


class Deadline:
    """A stopwatch that runs backwards; `late` is called when nothing is left."""

    def __init__(self, late: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._late = late
        self._left = ANSWER_SECONDS_MAX
        self._timer: asyncio.TimerHandle | None = None
        self._ended = False
        self.run()

    def run(self) -> None:
        """Let the time run."""
        if self._timer is None and not self._ended:
            self._timer = self._loop.call_later(self._left, self._late)

    def stand(self) -> None:
        """Let the time stand still."""
        if self._timer is not None:
            self._left = self.left
            self._timer.cancel()
            self._timer = None

    def end(self) -> None:
        """No more deadline: the answer has begun, or the work has no bound but its own."""
        self.stand()
        self._ended = True

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return self._left if self._timer is None else max(0.0, self._timer.when() - self._loop.time())


deadline_now: ContextVar[Deadline | None] = ContextVar("deadline_now", default=None)
"""The deadline of the request at hand; None for work that nobody waits for."""


def seconds_to_wait() -> float:
    """How long this request may still wait for a turn."""
    deadline = deadline_now.get()
    return max(0.0, (ANSWER_SECONDS_MAX if deadline is None else deadline.left) - WORK_SECONDS)


def unbounded() -> None:
    """From here on this request takes as long as its content takes."""
    deadline = deadline_now.get()
    if deadline is not None:
        deadline.end()


def away() -> Problem:
    """The answer of who waited in vain."""
    return Problem("TDK-ENGINE-AWAY", retry_after=AWAY_SECONDS)


class _Watched:
    """One request: its deadline, its body and answer as they pass, and the answer that is given in its place."""

    def __init__(self, asked: tuple[Scope, Receive, Send], refusal: Callable[[], ASGIApp]) -> None:
        self._asked = asked
        self._refusal = refusal
        self._working = asyncio.current_task()
        self._arriving = has_body(asked[0])
        self.refusing: asyncio.Task[None] | None = None
        self.deadline = Deadline(self._give_up)

    async def receive(self) -> Message:
        """A piece of the body; while it is waited for, the time stands still."""
        receive = self._asked[1]
        if not self._arriving:  # what comes now is the end of the connection
            return await receive()
        self.deadline.stand()
        message = await receive()
        if not message.get("more_body", False):
            self._arriving = False
            self.deadline.run()
        return message

    async def answer(self, message: Message) -> None:
        """A piece of the answer, unless another one was given."""
        if self.refusing is None:
            self.deadline.end()
            await self._asked[2](message)

    def is_stopped_by_others(self) -> bool:
        """Of a request that is being cancelled: whether anybody but its deadline does so."""
        return self.refusing is None or (self._working is not None and self._working.cancelling() > 1)

    async def settle(self) -> None:
        """The work is over; so is the answer when this returns."""
        self.deadline.end()
        if self.refusing is not None:
            if self._working is not None:
                self._working.uncancel()
            await self.refusing

    def _give_up(self) -> None:
        structlog.get_logger().warning("engine_away", reason="deadline")
        self.refusing = asyncio.create_task(self._refuse(), name="refusal")
        if self._working is not None:
            self._working.cancel()

    async def _refuse(self) -> None:
        await self._refusal()(*self._asked)


class Deadlines:
    """Answers every request of the API in time (ASGI); `refusal` makes the answer when the time is over."""

    def __init__(self, app: ASGIApp, refusal: Callable[[], ASGIApp]) -> None:
        self._app = app
        self._refusal = refusal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http" or not scope["path"].startswith(_API) or scope["path"].startswith(_OPERATORS):
            await self._app(scope, receive, send)
            return
        watched = _Watched((scope, receive, send), self._refusal)
        before = deadline_now.set(watched.deadline)
        try:
            await self._app(scope, watched.receive, watched.answer)
        except asyncio.CancelledError:
            if watched.is_stopped_by_others():
                raise
        finally:
            deadline_now.reset(before)
            await watched.settle()
