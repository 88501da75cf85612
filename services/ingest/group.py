"""Group commit: requests that wait at the same moment share one transaction or look-up. Nobody waits for company."""

import asyncio
import enum
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from todoke.relay.faults import Transient
from todoke.relay.problem import Problem

T = TypeVar("T")
R = TypeVar("R")

MEMBERS_MAX = 200
"""Members of one group: more make the statements long without making them cheaper (design section 11)."""


class Again(enum.Enum):
    """What a commit says of a member that must come back in the next group."""

    AGAIN = "again"


class GroupCommit(Generic[T, R]):
    """Takes members as they come; while one group commits, the next one gathers.

    `commit` answers, for each member in order, its result, the problem it alone has, or `Again.AGAIN`.
    """

    def __init__(self, commit: Callable[[Sequence[T]], Awaitable[Sequence[R | Problem | Again]]]) -> None:
        self._commit = commit
        self._waiting: deque[tuple[T, asyncio.Future[R]]] = deque()
        self._leader: asyncio.Task[None] | None = None

    async def join(self, member: T) -> R:
        """Commit `member` together with whoever waits.

        Raises whatever its own commit raises: a failing member does not fail the others.
        """
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((member, future))
        if self._leader is None:
            self._leader = asyncio.create_task(self._lead(), name="group commit")
        return await future

    async def stop(self) -> None:
        """Wait until everybody who joined has an answer."""
        if self._leader is not None:
            await asyncio.wait([self._leader])

    async def _lead(self) -> None:
        try:
            while self._waiting:
                count = min(len(self._waiting), MEMBERS_MAX)
                await self._settle([self._waiting.popleft() for _ in range(count)])
        finally:
            self._leader = None

    async def _settle(self, group: Sequence[tuple[T, asyncio.Future[R]]]) -> None:
        """Commit a group; if it fails for a reason that will not pass, each member alone."""
        try:
            results = await self._commit([member for member, _ in group])
        except Exception as trouble:  # noqa: BLE001 (handed to those who wait; nobody else could hear it)
            if isinstance(trouble, Transient) or len(group) == 1:
                for _, future in group:
                    _fail(future, trouble)
            else:
                for entry in group:
                    await self._settle([entry])
            return
        for (member, future), result in zip(group, results, strict=True):
            if isinstance(result, Again):
                self._waiting.append((member, future))
            elif isinstance(result, Problem):
                _fail(future, result)
            elif not future.done():  # its request may have been given up meanwhile
                future.set_result(result)


def _fail(future: "asyncio.Future[R]", trouble: Exception) -> None:
    if not future.done():
        future.set_exception(trouble)
