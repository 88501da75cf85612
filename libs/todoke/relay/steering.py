"""What the discipline asks of the consumer that it steers."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Protocol


@dataclasses.dataclass(frozen=True, slots=True, order=True)
class Place:
    """A partition of a topic."""

    topic: str
    partition: int


class Log(Protocol):
    """What the discipline asks of the consumer it steers (aiokafka's, behind either driver)."""

    def seek(self, place: Place, offset: int) -> None:
        """Read on from `offset`; a partition that is not assigned any more is ignored."""
        ...

    def pause(self, place: Place) -> None:
        """Hand out nothing of this partition for now."""
        ...

    def resume(self, place: Place) -> None:
        """Hand it out again."""
        ...

    async def bounds(self, places: Sequence[Place]) -> Mapping[Place, tuple[int, int]]:
        """First offset and end offset of each partition."""
        ...

    async def mirror(self, offsets: Mapping[Place, int]) -> None:
        """Commit offsets to Kafka's group as a mirror; failures are the caller's to ignore."""
        ...
