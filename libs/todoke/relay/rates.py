"""How much one user or office may ask in a time: token buckets in the memory of a process, bounded in number.

The bounds are per process, as `GET /v1/limits` says: they keep one user from harming others, they are no accounting.
"""

import contextlib
import math
from collections import OrderedDict
from collections.abc import AsyncIterator

from todoke.relay.clock import Clock
from todoke.relay.limits import MEBIBYTE, Limits
from todoke.relay.problem import Problem
from todoke.relay.turns import Turns
from todoke.relay.upload import BytesInFlight, Foresight, Form, Incoming, Upload, receiving

BUCKETS_MAX = 50_000
"""Users or offices that one process keeps apart at a time: every office of a region; the longest idle goes first."""

LONG_BYTES = MEBIBYTE
"""An upload of more than this is a long one: it takes about as much work as twenty small ones."""

READINGS_AT_ONCE = 30
"""Lists and messages that an office is given without waiting: several screens that are opened at the same moment."""

READING_USERS = 2
"""Further ones come as evenly as if so many users of the office asked as often as each of them may."""

READING_SECONDS_MAX = 5.0
"""Longest wait of a reader: whoever asks over many connections still gets an answer in time."""

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
        level = self._filled(name, now)
        taken = amount <= level
        self._keep(name, level - amount if taken else level, now)
        if taken:
            return 0.0
        return math.inf if amount > self._capacity else (amount - level) / self._per_second

    def owe(self, name: str, amount: float, seconds_max: float) -> float:
        """Take from a bucket whether it holds so much or not; the seconds after which it would have.

        Never more than `seconds_max` are owed, however much was taken: what follows a flood does not pay for it.
        """
        now = self._clock.monotonic()
        level = max(self._filled(name, now) - amount, -seconds_max * self._per_second)
        self._keep(name, level, now)
        return max(0.0, -level / self._per_second)

    def give(self, name: str, amount: float) -> None:
        """Put back what was taken and not used."""
        now = self._clock.monotonic()
        self._keep(name, min(self._capacity, self._filled(name, now) + amount), now)

    def _filled(self, name: str, now: float) -> float:
        level, since = self._levels.get(name, (self._capacity, now))
        return min(self._capacity, level + (now - since) * self._per_second)

    def _keep(self, name: str, level: float, now: float) -> None:
        self._levels[name] = (level, now)
        self._levels.move_to_end(name)
        if len(self._levels) > self._buckets_max:
            self._levels.popitem(last=False)  # least recently used: full again, or soon

    def __len__(self) -> int:
        return len(self._levels)


class Quota:
    """What one office may still upload, drawn while its body arrives."""

    def __init__(self, bytes_left: Buckets, office: str) -> None:
        self._bytes_left = bytes_left
        self._office = office

    def take(self, count: int) -> None:
        """Count so many bytes. Raises `Problem` 429 `TDK-TOO-MANY`: none of them is counted."""
        _refuse_if_early(self._bytes_left.take(self._office, count))

    def give(self, count: int) -> None:
        """So many of them did not come."""
        self._bytes_left.give(self._office, count)


class RateLimits:
    """The three rates of api.md (requests of a user, messages and bytes of an office), and how much goes on at once."""

    def __init__(self, limits: Limits, clock: Clock) -> None:
        self._body_seconds_max = limits.body_seconds_max
        waiting = limits.waiting_max()
        self._bodies = Turns(limits.bodies_at_once_office, waiting)
        self._uploads = Turns(limits.uploads_at_once_office, waiting)
        self._long_uploads = Turns(limits.long_uploads_at_once_office, waiting)
        self._fetches = Turns(limits.fetches_at_once_office, waiting)
        minute, hour = limits.requests_per_minute_user, limits.bytes_per_hour_office
        self._requests = Buckets(capacity=minute, per_second=minute / SECONDS_PER_MINUTE, clock=clock)
        self._sends = Buckets(
            capacity=limits.sends_reserve_office, per_second=limits.sends_per_second_office, clock=clock
        )
        evenly = READING_USERS * minute / SECONDS_PER_MINUTE
        self._readings = Buckets(capacity=READINGS_AT_ONCE, per_second=evenly, clock=clock)
        self._bytes = Buckets(capacity=hour, per_second=hour / SECONDS_PER_HOUR, clock=clock)

    def request(self, user: str) -> None:
        """Count one request of a user. Raises `Problem` 429 `TDK-TOO-MANY`."""
        _refuse_if_early(self._requests.take(user, 1))

    def sends(self, office: str, messages: int = 1) -> None:
        """Count messages of an office, a batch whole or not at all. Raises `Problem` 429 `TDK-TOO-MANY`."""
        _refuse_if_early(self._sends.take(office, messages))

    def reading_wait(self, office: str) -> float:
        """How many seconds a reader of an office has to wait, so that its readers come evenly and not all at once."""
        return self._readings.owe(office, 1, READING_SECONDS_MAX)

    @contextlib.asynccontextmanager
    async def uploading(
        self,
        office: str,
        request: Incoming,
        form: Form,
        in_flight: BytesInFlight,
        *,
        kept: bool = True,
        foresight: Foresight | None = None,
    ) -> AsyncIterator[Upload]:
        """Read a body of an office when it is its turn, and work on it, in the block, when it is its turn again.

        Its bytes count, good or bad; `kept` says whether it is more than checked.
        Raises `Problem`: 429 `TDK-TOO-MANY`, 503 `TDK-ENGINE-AWAY` (it gets no turn in time), and as `receiving`.
        """
        quota, seconds_max = Quota(self._bytes, office), self._body_seconds_max
        async with (
            self._bodies.of(office, self._uploads, self._long_uploads),
            receiving(request, form, in_flight, seconds_max=seconds_max, quota=quota, foresight=foresight) as upload,
        ):
            is_long = not kept or upload.size > LONG_BYTES
            async with (self._long_uploads if is_long else self._uploads).of(office):
                yield upload

    def fetching(self, office: str) -> contextlib.AbstractAsyncContextManager[None]:
        """The turn of an office to be given content. Raises `Problem` 429 `TDK-TOO-MANY`, 503 `TDK-ENGINE-AWAY`."""
        return self._fetches.of(office)


def _refuse_if_early(wait_seconds: float) -> None:
    if wait_seconds > 0:
        seconds = SECONDS_PER_HOUR if math.isinf(wait_seconds) else math.ceil(wait_seconds)
        raise Problem("TDK-TOO-MANY", retry_after=seconds, seconds=seconds)
