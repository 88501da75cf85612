"""Turns: how much of one office a process works on at a time, so that no office has a process for itself.

What waits for its turn has not been read yet: it costs a connection, no memory and no work. Offices share nothing here,
so the more one of them asks, the longer it alone waits.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from todoke.relay.problem import Problem

WAITING_MAX = 64
"""Requests of one office that wait; whoever comes then is told to come again."""

WAITING_SECONDS_MAX = 8.0
"""Longest wait for a turn: every request is answered within 10 s."""

AGAIN_SECONDS = 5
"""Retry-After of who got no turn."""


@dataclass(slots=True)
class _Queue:
    """One office: how many of its requests are at work, and who waits, the oldest first."""

    busy: int = 0
    waiting: deque[asyncio.Future[None]] = field(default_factory=deque)


class Turns:
    """At most `at_once` requests of an office at work; the others wait, in the order they came."""

    def __init__(self, at_once: int) -> None:
        self._at_once = at_once
        self._queues: dict[str, _Queue] = {}

    @contextlib.asynccontextmanager
    async def of(self, office: str) -> AsyncIterator[None]:
        """Wait for a turn and have it inside the block.

        Raises `Problem` 429 `TDK-TOO-MANY`: too many of this office wait already, or it would take too long.
        """
        queue = self._queues.setdefault(office, _Queue())
        if queue.busy < self._at_once:
            queue.busy += 1
        else:
            await self._wait(office, queue)
        try:
            yield
        finally:
            self._hand_over(office, queue)

    async def _wait(self, office: str, queue: _Queue) -> None:
        if len(queue.waiting) >= WAITING_MAX:
            raise _too_many()
        turn = asyncio.get_running_loop().create_future()
        queue.waiting.append(turn)
        try:
            async with asyncio.timeout(WAITING_SECONDS_MAX):
                await turn
        except (TimeoutError, asyncio.CancelledError) as given_up:
            if turn in queue.waiting:
                queue.waiting.remove(turn)
            elif not turn.cancelled():
                self._hand_over(office, queue)  # it got its turn in the very moment it was given up
            if isinstance(given_up, TimeoutError):
                raise _too_many() from None
            raise

    def _hand_over(self, office: str, queue: _Queue) -> None:
        """The next that waits takes the place that became free."""
        while queue.waiting:
            turn = queue.waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        queue.busy -= 1
        if not queue.busy:
            del self._queues[office]

    def __len__(self) -> int:
        return len(self._queues)


def _too_many() -> Problem:
    return Problem("TDK-TOO-MANY", retry_after=AGAIN_SECONDS, seconds=AGAIN_SECONDS)
