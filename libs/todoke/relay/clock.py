"""Time, ids and crash points as ports: the only place where the wall clock and randomness are read.

Everything else is handed a `Ports`, so that a test can run thousands of fault schedules over the same code.
"""

import asyncio
import dataclasses
import os
import secrets
import signal
import time
from datetime import UTC, datetime, timedelta, timezone
from typing import Protocol
from uuid import UUID

import uuid_utils

JAPAN = timezone(timedelta(hours=9), "JST")
"""Japan has had no summer time since 1951: a fixed offset is exact."""

UUID7_TIME_SHIFT = 80
"""The millisecond of a UUIDv7 stands above this many bits (RFC 9562 section 5.7)."""

CRASH_AT = "TODOKE_CRASH_AT"
"""Environment variable that names one crash point: `name`, or `name:3` for the third time it is reached."""


class Clock(Protocol):
    """Where time comes from."""

    def now(self) -> datetime:
        """The time in UTC, with time zone."""
        ...

    def monotonic(self) -> float:
        """Seconds that only grow, for time-outs."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class Ids(Protocol):
    """Where ids and other random bytes come from."""

    def uuid7(self) -> UUID:
        """A UUIDv7 (RFC 9562 section 5.7), monotonic within the process, stamped with the clock's time."""
        ...

    def secret(self, length: int) -> bytes:
        """Random bytes fit for keys and salts."""
        ...

    def fraction(self) -> float:
        """A random number from 0 to 1, for jitter."""
        ...


class CrashPoints(Protocol):
    """Named places before and after each arrow of the design at which a test may end the process."""

    def reach(self, name: str) -> None:
        """Say that the place is reached."""
        ...


class SystemClock:
    """The machine's clock; `TODOKE_CLOCK_OFFSET_SECONDS` moves it (practice and tests only)."""

    def __init__(self, offset: timedelta = timedelta()) -> None:
        self._offset = offset

    def now(self) -> datetime:
        """The machine's time in UTC plus the offset."""
        return datetime.now(UTC) + self._offset

    def monotonic(self) -> float:
        """`time.monotonic`."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """`asyncio.sleep`."""
        await asyncio.sleep(seconds)


class SystemIds:
    """Ids from a library and the operating system's randomness; `offset` moves their time as it moves the clock."""

    def __init__(self, offset: timedelta = timedelta()) -> None:
        self._shift = int(offset.total_seconds() * 1000) << UUID7_TIME_SHIFT

    def uuid7(self) -> UUID:
        """A UUIDv7; a constant shift keeps the library's rising order."""
        return UUID(int=uuid_utils.uuid7().int + self._shift)

    def secret(self, length: int) -> bytes:
        """`secrets.token_bytes`."""
        return secrets.token_bytes(length)

    def fraction(self) -> float:
        """A random float."""
        return secrets.randbelow(1_000_000) / 1_000_000


class NoCrash:
    """Crash points in ordinary running: nothing happens."""

    def reach(self, name: str) -> None:
        """Go on."""


class CrashAt:
    """Kill the process (SIGKILL, as a power cut of the process would) the n-th time a named point is reached."""

    def __init__(self, name: str, nth: int) -> None:
        self._name = name
        self._left = nth

    def reach(self, name: str) -> None:
        """Count down and, at zero, die without any cleaning up."""
        if name == self._name:
            self._left -= 1
            if self._left <= 0:
                os.kill(os.getpid(), signal.SIGKILL)


@dataclasses.dataclass(frozen=True)
class Ports:
    """The three ports that code with effects is handed."""

    clock: Clock
    ids: Ids
    crash: CrashPoints

    @classmethod
    def real(cls, clock_offset: timedelta = timedelta()) -> "Ports":
        """The machine's clock and randomness; crash points as `TODOKE_CRASH_AT` says."""
        name, _, nth = os.environ.get(CRASH_AT, "").partition(":")
        crash = CrashAt(name, int(nth or 1)) if name else NoCrash()
        return cls(clock=SystemClock(clock_offset), ids=SystemIds(clock_offset), crash=crash)


def in_japan(moment: datetime) -> datetime:
    """The same moment on Japan's clock: licences, months and versions are judged there."""
    return moment.astimezone(JAPAN)


def time_of(message_id: UUID) -> datetime:
    """The time inside a UUIDv7 (RFC 9562 section 5.7), millisecond precision, UTC."""
    return datetime.fromtimestamp((message_id.int >> UUID7_TIME_SHIFT) / 1000, UTC)


def first_id_of(moment: datetime) -> UUID:
    """The smallest id of this moment: every UUIDv7 that was made since is greater."""
    return UUID(int=int(moment.timestamp() * 1000) << UUID7_TIME_SHIFT)
