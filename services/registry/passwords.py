"""Hashing and checking passwords with argon2id, in threads, a few at a time."""

import asyncio
import contextlib
import os
import unicodedata
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from todoke.relay.clock import Ids
from todoke.relay.problem import Problem

T = TypeVar("T")

SALT_BYTES = 16
"""RFC 9106 section 3.1."""

AT_ONCE_MAX = 4
"""Hashes computed at the same moment, at most one per core: each holds `memory_kib` and keeps a core busy."""

WAITING_MAX = 64
"""Logins that may wait for a turn: at 0.12 s each, two at a time, the last waits four seconds; above it 503."""


@dataclass(frozen=True, slots=True)
class Argon2Cost:
    """Parameters of argon2id. The default is RFC 9106 section 4, second recommended option (64 MiB, 3 passes, 4 lanes).

    Measured on two cores of 2020: 0.12 s and 0.2 CPU seconds; two at once hold 128 MiB.
    """

    memory_kib: int = 65_536
    passes: int = 3
    lanes: int = 4


class Passwords:
    """Makes and checks password hashes; whoever has no hash is checked against one that fits nothing."""

    def __init__(self, ids: Ids, cost: Argon2Cost) -> None:
        self._ids = ids
        self._hasher = PasswordHasher(time_cost=cost.passes, memory_cost=cost.memory_kib, parallelism=cost.lanes)
        at_once = min(AT_ONCE_MAX, os.cpu_count() or 1)
        self._threads = ThreadPoolExecutor(at_once, thread_name_prefix="argon2")
        self._turns = asyncio.Semaphore(at_once)
        self._waiting = 0
        self._unknown: str | None = None
        self.checks = 0
        """Checks made since the start, for the metric and for the test that unknown IDs cost the same."""

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """A turn to check one password.

        What must be seen before and written after belongs inside it: of guesses that are sent at the same moment no
        more than there are turns slip past the count. Raises `Problem` 503 `TDK-BUSY` when too many wait.
        """
        if self._waiting >= WAITING_MAX:
            raise Problem("TDK-BUSY", retry_after=2)
        self._waiting += 1
        try:
            await self._turns.acquire()
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._turns.release()

    async def check(self, password: str, stored: str | None) -> bool:
        """Whether the password fits; without a stored hash the same work is done for a sure no."""
        if self._unknown is None:
            self._unknown = await self.hash(self._ids.secret(SALT_BYTES).hex())
        self.checks += 1
        fits = await self._in_thread(partial(_fits, self._hasher, stored or self._unknown, _meant(password)))
        return fits and stored is not None

    async def hash(self, password: str) -> str:
        """The hash in PHC form."""
        return await self._in_thread(partial(self._hasher.hash, _meant(password), salt=self._ids.secret(SALT_BYTES)))

    async def prepare(self) -> None:
        """Make the hash that fits nothing before the first login needs it."""
        self._unknown = await self.hash(self._ids.secret(SALT_BYTES).hex())

    async def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


def _meant(password: str) -> str:
    """The same characters however the keyboard composed them (NIST SP 800-63B section 5.1.1.2)."""
    return unicodedata.normalize("NFKC", password)


def _fits(hasher: PasswordHasher, stored: str, password: str) -> bool:
    try:
        return hasher.verify(stored, password)
    except (VerificationError, InvalidHashError):
        return False
