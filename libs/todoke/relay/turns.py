"""Turns: how much of one office a process works on at a time, so that no office has a process for itself.

What waits for its turn has not been read yet: it costs a connection, no memory and no work. Offices share nothing here,
so the more one of them asks, the longer it alone waits.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from todoke.relay.deadline import away, seconds_to_wait
from todoke.relay.faults import Transient
from todoke.relay.problem import Problem

STILL_SECONDS = 4.0
"""When of an office's work nothing ended well for so long, an engine is away; work takes a fraction of it."""

AGAIN_SECONDS = 5
"""Retry-After of who got no turn."""


@dataclass(slots=True)
class _Queue:
    """One office: how many of its requests are at work, when the last one ended well, and who waits, the oldest first.

    `went_away`: the last one that ended did so because an engine is away.
    """

    moved_at: float
    went_away: bool = False
    busy: int = 0
    waiting: deque[asyncio.Future[None]] = field(default_factory=deque)


class Turns:
    """At most `at_once` requests of an office at work; `waiting_max` others wait, in the order they came."""

    def __init__(self, at_once: int, waiting_max: int) -> None:
        self._at_once = at_once
        self._waiting_max = waiting_max
        self._queues: dict[str, _Queue] = {}

    @contextlib.asynccontextmanager
    async def of(self, office: str, *behind: "Turns") -> AsyncIterator[None]:
        """Wait for a turn, as long as the request's deadline allows, and have it inside the block.

        `behind` are the turns for which whoever is at work here may wait in turn.
        Raises `Problem`: 503 `TDK-ENGINE-AWAY` when nothing moves here, 429 `TDK-TOO-MANY` when too many of this office
        wait already, or it would take too long.
        """
        queue = self._queues.setdefault(office, _Queue(_now()))
        if queue.busy < self._at_once:
            queue.busy += 1
        elif len(queue.waiting) >= self._waiting_max or not await self._waited(office, queue):
            still = queue.went_away or any(turns.stand_still(office) for turns in behind or (self,))
            raise away() if still else Problem("TDK-TOO-MANY", retry_after=AGAIN_SECONDS, seconds=AGAIN_SECONDS)
        try:
            yield
        except BaseException as error:
            queue.went_away = _is_away(error)
            raise
        else:
            queue.went_away = False
        finally:
            if not queue.went_away:
                queue.moved_at = _now()
            self._hand_over(office, queue)

    def stand_still(self, office: str) -> bool:
        """Whether requests of an office are at work here of which none has ended well for long."""
        queue = self._queues.get(office)
        return queue is not None and _now() - queue.moved_at >= STILL_SECONDS

    async def _waited(self, office: str, queue: _Queue) -> bool:
        """Wait for a turn; False when none came in time."""
        turn = asyncio.get_running_loop().create_future()
        queue.waiting.append(turn)
        try:
            async with asyncio.timeout(seconds_to_wait()):
                await turn
        except (TimeoutError, asyncio.CancelledError) as given_up:
            if turn in queue.waiting:
                queue.waiting.remove(turn)
            elif not turn.cancelled():
                self._hand_over(office, queue)  # it got its turn in the very moment it was given up
            if isinstance(given_up, TimeoutError):
                return False
            raise
        return True

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


def _is_away(error: BaseException) -> bool:
    """Whether work ended so because an engine is away; any other refusal shows that it is there."""
    if isinstance(error, Problem):
        return error.code == away().code
    return isinstance(error, Transient | TimeoutError | asyncio.CancelledError)


def _now() -> float:
    return asyncio.get_running_loop().time()
