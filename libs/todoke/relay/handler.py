"""What a service gives the consumer: handlers of batches, and timers."""

import dataclasses
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any, ClassVar, Generic, Protocol, TypeAlias, TypeVar, runtime_checkable
from uuid import UUID

from todoke.events import Event
from todoke.relay.postgres import Tx

EventT_co = TypeVar("EventT_co", bound=Event, covariant=True)


@dataclasses.dataclass(frozen=True, slots=True)
class Heard(Generic[EventT_co]):
    """One event as it came from the log. `replay` says that outside effects (mail, webhooks) must not run."""

    event: EventT_co
    event_id: UUID
    service: str
    topic: str
    partition: int
    offset: int
    time: datetime
    traceparent: str | None = None
    replay: bool = False


Batch: TypeAlias = Sequence[Heard[Any]]
"""Events in log order per partition, repeated ids dropped. No order is promised between two partitions or topics."""


class Handler(Protocol):
    """Turns batches of events into rows and new events.

    All types of one topic that a service hears belong to one handler, so that a partition has one order.
    """

    hears: ClassVar[tuple[type[Event], ...]]

    async def prepare(self, batch: Batch) -> Any:
        """Everything slow: object storage, parsing, HTTP. No transaction is open here.

        Raises `Transient` to be called again later, anything else for a record that cannot be handled.
        """
        ...

    async def apply(self, prepared: Any, tx: Tx) -> Sequence[Event]:
        """A statement per table, in the transaction that also moves the offset. Answers the events to say.

        A repeated event changes nothing and says nothing.
        """
        ...


@runtime_checkable
class HearsOfHolds(Protocol):
    """A handler that wants to know when a subject is parked or goes on."""

    async def on_parked(self, subjects: Sequence[str], tx: Tx) -> None:
        """These subjects (message ids or office numbers) are held from now on."""
        ...

    async def on_released(self, subjects: Sequence[str], tx: Tx) -> None:
        """These go on."""
        ...


@dataclasses.dataclass(frozen=True, slots=True)
class Timer:
    """Something done again and again by one process at a time."""

    name: str
    every_seconds: float
    run: Callable[[], Awaitable[None]]
