"""How far a consumer is behind, in records and in seconds."""

from collections.abc import Mapping
from datetime import UTC, datetime

from todoke.relay.clock import Clock
from todoke.relay.steering import Place


class Lagging:
    """Watches partitions. Nobody looks into records that were not heard yet, so their age is bounded from above.

    The oldest of them is younger than the last look at which nothing was left, and younger than the last record that
    was heard: the later of both moments counts.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._level_at: dict[Place, datetime] = {}
        self._appended_at: dict[Place, datetime] = {}

    def heard(self, place: Place, append_time: int) -> None:
        """A partition was heard up to a record that was written at this time (milliseconds since 1970)."""
        self._appended_at[place] = datetime.fromtimestamp(append_time / 1000, UTC)

    def seconds(self, left: Mapping[Place, int]) -> float:
        """The age of the oldest record that was not heard, 0 when there is none; `left` counts them by partition."""
        now, oldest = self._clock.now(), 0.0
        for place, count in left.items():
            if not count:
                self._level_at[place] = now
                continue
            moments = [at[place] for at in (self._level_at, self._appended_at) if place in at]
            since = max(moments) if moments else self._level_at.setdefault(place, now)
            oldest = max(oldest, (now - since).total_seconds())
        return oldest

    def forget(self) -> None:
        """These partitions are not ours any more."""
        self._level_at.clear()
        self._appended_at.clear()
