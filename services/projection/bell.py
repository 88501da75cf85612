"""Readers that wait for their office's lists to change: woken by the commit, with a look at the clock in between."""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Iterator

from todoke.relay.clock import Clock

CHANNEL = "projection_lists"
"""NOTIFY channel; the payload names offices, separated by blanks."""


class Bell:
    """Wakes those who wait for an office in this process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waiting: defaultdict[str, set[asyncio.Event]] = defaultdict(set)

    def ring(self, offices: str) -> None:
        """Wake the readers of these offices; of all when none is named (a notification may have been missed)."""
        for office in offices.split() or list(self._waiting):
            for waiting in self._waiting.get(office, ()):
                waiting.set()

    @contextlib.contextmanager
    def waiting(self, office: str) -> Iterator["Wait"]:
        """Be woken for an office from here on: what changes after this line is not missed."""
        rung = asyncio.Event()
        self._waiting[office].add(rung)
        try:
            yield Wait(rung, self._clock)
        finally:
            self._waiting[office].discard(rung)
            if not self._waiting[office]:
                del self._waiting[office]


class Wait:
    """One reader's place at the bell."""

    def __init__(self, rung: asyncio.Event, clock: Clock) -> None:
        self._rung = rung
        self._clock = clock

    async def woken(self, seconds_max: float) -> None:
        """Wait until the office's lists change, or so many seconds."""
        waits = {asyncio.ensure_future(self._rung.wait()), asyncio.ensure_future(self._clock.sleep(seconds_max))}
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        self._rung.clear()
