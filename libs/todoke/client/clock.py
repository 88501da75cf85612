"""The client's only way to time and chance, handed to everything else as a port."""

import random
import secrets
import time
from datetime import UTC, datetime
from typing import Protocol

KEY_BYTES = 24
"""Random bytes of a fresh idempotency key: 32 visible characters."""


class Clock(Protocol):
    """Where time and chance come from; a test hands in its own."""

    def now(self) -> datetime:
        """The time in UTC, with time zone."""
        ...

    def monotonic(self) -> float:
        """Seconds that only grow."""
        ...

    def fraction(self) -> float:
        """A number from 0 to 1, for jitter."""
        ...

    def key(self) -> str:
        """A fresh random text, fit for an idempotency key."""
        ...


class SystemClock:
    """The machine's clock and randomness."""

    def now(self) -> datetime:
        """The machine's time in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """`time.monotonic`."""
        return time.monotonic()

    def fraction(self) -> float:
        """Spreads retries; nothing secret hangs on it."""
        return random.random()  # noqa: S311 (jitter)

    def key(self) -> str:
        """`secrets.token_urlsafe`."""
        return secrets.token_urlsafe(KEY_BYTES)
