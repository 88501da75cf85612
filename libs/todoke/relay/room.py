"""Room on the disk that this machine's own engines fill: sending stops while they can still finish what they began.

A database that cannot write its log ends, and the broker with it. They come back when there is room, but until then
nobody can even fetch; so new contents are refused before.
"""

import shutil
from pathlib import Path
from typing import Final

from todoke.relay.clock import Clock
from todoke.relay.problem import Problem

FREE_BYTES_MIN: Final = 128 * 1024 * 1024
"""Below it nothing new is taken: the engines need some of it for what they hold, and to be started again."""

LOOK_SECONDS: Final = 1.0
"""How long one look at the disk is believed."""

RETRY_SECONDS: Final = 60
"""Retry-After: somebody has to free some space first."""


class Room:
    """The disk of a folder, or none: then there is always room, as far as this process knows."""

    def __init__(self, folder: Path | None, clock: Clock) -> None:
        self._folder = folder
        self._clock = clock
        self._looked_at: float | None = None
        self._has_room = True

    @property
    def has_room(self) -> bool:
        """Whether new contents may be taken."""
        now = self._clock.monotonic()
        if self._folder is not None and (self._looked_at is None or now - self._looked_at > LOOK_SECONDS):
            self._looked_at = now
            self._has_room = shutil.disk_usage(self._folder).free >= FREE_BYTES_MIN
        return self._has_room

    def require(self) -> None:
        """Raises `Problem` 503 TDK-ENGINE-AWAY when the disk is nearly full."""
        if not self.has_room:
            raise Problem("TDK-ENGINE-AWAY", retry_after=RETRY_SECONDS)
