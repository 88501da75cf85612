"""How much one user or office may ask in a time: token buckets in the memory of a process, bounded in number.

The bounds are per process, as `GET /v1/limits` says: they keep one user from harming others, they are no accounting.
"""

import math
from collections import OrderedDict

from todoke.relay.clock import Clock
from todoke.relay.limits import Limits
from todoke.relay.problem import Problem

BUCKETS_MAX = 50_000
"""Users or offices that one process keeps apart at a time: every office of a region; the longest idle goes first."""

SECONDS_PER_MINUTE = 60
SECONDS_PER_HOUR = 3600


class Buckets:
    """Token buckets by name: each holds at most `capacity` and fills by `per_second`."""

    def __init__(self, *, capacity: float, per_second: float, clock: Clock, buckets_max: int = BUCKETS_MAX) -> None:
        self._capacity = capacity
        self._per_second = per_second
        self._clock = clock
        self._buckets_max = buckets_max
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, name: str, amount: float) -> float:
        """Take from a bucket, whole or not at all.

        Answers the seconds after which it may be tried again: 0 when taken, infinity when it can never be enough.
        """
        now = self._clock.monotonic()
        level, since = self._levels.pop(name, (self._capacity, now))
        level = min(self._capacity, level + (now - since) * self._per_second)
        taken = amount <= level
        self._levels[name] = (level - amount if taken else level, now)
        if len(self._levels) > self._buckets_max:
            self._levels.popitem(last=False)  # least recently used: full again, or soon
        if taken:
            return 0.0
        return math.inf if amount > self._capacity else (amount - level) / self._per_second

    def __len__(self) -> int:
        return len(self._levels)


class RateLimits:
    """The three rates of api.md: requests of a user, messages and bytes of an office."""

    def __init__(self, limits: Limits, clock: Clock) -> None:
        minute, hour = limits.requests_per_minute_user, limits.bytes_per_hour_office
        self._requests = Buckets(capacity=minute, per_second=minute / SECONDS_PER_MINUTE, clock=clock)
        self._sends = Buckets(
            capacity=limits.sends_reserve_office, per_second=limits.sends_per_second_office, clock=clock
        )
        self._bytes = Buckets(capacity=hour, per_second=hour / SECONDS_PER_HOUR, clock=clock)

    def request(self, user: str) -> None:
        """Count one request of a user. Raises `Problem` 429 `TDK-TOO-MANY`."""
        _refuse_if_early(self._requests.take(user, 1))

    def sends(self, office: str, messages: int = 1) -> None:
        """Count messages of an office, a batch whole or not at all. Raises `Problem` 429 `TDK-TOO-MANY`."""
        _refuse_if_early(self._sends.take(office, messages))

    def upload(self, office: str, size_bytes: int) -> None:
        """Count uploaded bytes of an office. Raises `Problem` 429 `TDK-TOO-MANY`."""
        _refuse_if_early(self._bytes.take(office, size_bytes))


def _refuse_if_early(wait_seconds: float) -> None:
    if wait_seconds > 0:
        seconds = SECONDS_PER_HOUR if math.isinf(wait_seconds) else math.ceil(wait_seconds)
        raise Problem("TDK-TOO-MANY", retry_after=seconds, seconds=seconds)
