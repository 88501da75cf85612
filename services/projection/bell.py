"""Readers that wait for the lists to change: woken by the commit, with a look at the clock in between."""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Iterator
from uuid import UUID

from todoke.relay.clock import Clock

CHANNEL = "projection_lists"
"""NOTIFY channel; the payload names offices, and their messages by `mark`, separated by blanks."""


def mark(office: str, message_id: UUID) -> str:
    """What an office's message is called at the bell, by the id's random end: two of one name cost a look, no more."""
    return f"{office}/{message_id.hex[-8:]}"


class Bell:
    """Wakes those in this process who wait for an office, or for one of its messages."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waiting: defaultdict[str, set[asyncio.Event]] = defaultdict(set)

    def ring(self, names: str) -> None:
        """Wake who waits for one of these; all when none is named (a notification may have been missed)."""
        for name in names.split() or list(self._waiting):
            for waiting in self._waiting.get(name, ()):
                waiting.set()

    @contextlib.contextmanager
    def waiting(self, name: str) -> Iterator["Wait"]:
        """Be woken for an office or a message from here on: what changes after this line is not missed."""
        rung = asyncio.Event()
        self._waiting[name].add(rung)
        try:
            yield Wait(rung, self._clock)
        finally:
            self._waiting[name].discard(rung)
            if not self._waiting[name]:
                del self._waiting[name]


class Wait:
    """One reader's place at the bell."""

    def __init__(self, rung: asyncio.Event, clock: Clock) -> None:
        self._rung = rung
        self._clock = clock

    async def woken(self, seconds_max: float) -> None:
        """Wait until what is waited for changes, or so many seconds."""
        waits = {asyncio.ensure_future(self._rung.wait()), asyncio.ensure_future(self._clock.sleep(seconds_max))}
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        self._rung.clear()
