"""What each fact does to a row of a list: pure decisions, the same whatever order the topics are heard in.

Every event becomes a small `State`; two states of one row merge by `|`, which is commutative, associative and
idempotent. So a row is the merge of all its facts, in any order, in any batches, however often they come.
"""

import dataclasses
import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Literal, TypeAlias, TypeVar

from todoke.events import (
    ContentOpened,
    Counts,
    Delivered,
    Downloaded,
    Erased,
    Event,
    Expired,
    MessageAccepted,
    MessageDiscarded,
    MessageHeld,
    MessageRejected,
    MessageReleased,
    MessageRouted,
    MessageSubmitted,
    MessageUndeliverable,
    Package,
    Recalled,
    RecallRequested,
    ReminderDue,
)

Status: TypeAlias = Literal[
    "submitted", "accepted", "rejected", "routed", "undeliverable", "delivered", "downloaded", "recalled", "expired"
]
Box: TypeAlias = Literal["sent", "received"]

RANKS: Mapping[Status, int] = {
    "submitted": 0,
    "accepted": 1,
    "routed": 2,
    "delivered": 3,
    "rejected": 4,
    "undeliverable": 5,
    "expired": 6,
    "recalled": 7,
    "downloaded": 8,
}
"""The one total order of statuses: of two that are claimed the greater stands. 済 is final, so it stands highest."""

RECEIVED_STATUSES: tuple[Status, ...] = ("delivered", "downloaded", "recalled", "expired")
"""What a recipient can see."""

DISCARDED = "TDK-DISCARDED"
"""Reason code of a message that an operator gave up."""

REJECTED = "TDK-REJECTED"
"""Reason code of a rejection whose event lists no error."""

CHANGES_KEPT = 2000
"""Newest changes of an office that its feed keeps: weeks for a large office, and a bound for a quarter of a million."""

T = TypeVar("T", int, datetime, str)


def greater(one: T | None, other: T | None) -> T | None:
    """The greater of two, where None is less than anything."""
    if one is None or other is None:
        return one if other is None else other
    return max(one, other)


def earlier(one: datetime | None, other: datetime | None) -> datetime | None:
    """The earlier of two, where None says nothing."""
    if one is None or other is None:
        return one if other is None else other
    return min(one, other)


@dataclasses.dataclass(frozen=True, slots=True)
class State:
    """Everything of a row that facts change after its package is known.

    `reason` is JSON: a code and, for a rejection, the place of its first error. `hold_…` is 2·n after the n-th hold of
    that service and 2·n+1 after its release. Times are UTC.
    """

    status: Status = "submitted"
    delivery_no: int | None = None
    delivered_at: datetime | None = None
    opened_at: datetime | None = None
    downloaded_at: datetime | None = None
    recall_requested_at: datetime | None = None
    erased_at: datetime | None = None
    errors: int = 0
    warnings: int = 0
    reason: str | None = None
    hold_validation: int = 0
    hold_routing: int = 0
    hold_storage: int = 0

    def __or__(self, other: "State") -> "State":
        if self is NOTHING or other is NOTHING:
            return other if self is NOTHING else self
        return State(
            status=max(self.status, other.status, key=RANKS.__getitem__),
            delivery_no=greater(self.delivery_no, other.delivery_no),
            delivered_at=earlier(self.delivered_at, other.delivered_at),
            opened_at=earlier(self.opened_at, other.opened_at),
            downloaded_at=earlier(self.downloaded_at, other.downloaded_at),
            recall_requested_at=earlier(self.recall_requested_at, other.recall_requested_at),
            erased_at=earlier(self.erased_at, other.erased_at),
            errors=max(self.errors, other.errors),
            warnings=max(self.warnings, other.warnings),
            reason=greater(self.reason, other.reason),
            hold_validation=max(self.hold_validation, other.hold_validation),
            hold_routing=max(self.hold_routing, other.hold_routing),
            hold_storage=max(self.hold_storage, other.hold_storage),
        )


NOTHING = State()
"""What a fact says of its row that only says that there is one."""


def _judged(status: Status, counts: Counts, reason: str | None = None) -> State:
    return State(status=status, errors=counts.errors, warnings=counts.warnings, reason=reason)


def _rejected(event: MessageRejected) -> State:
    first = next((finding for finding in event.findings if finding.severity == "error"), None)
    if first is None:
        return _judged("rejected", event.counts, _reason(REJECTED))
    place = first.model_dump_json(exclude={"severity", "part"}, exclude_none=True)
    return _judged("rejected", event.counts, place)


def _reason(code: str) -> str:
    return json.dumps({"code": code})


def _delivered(event: Delivered) -> State:
    return State(
        status="delivered",
        delivery_no=event.delivery_no,
        delivered_at=event.delivered_at,
        errors=event.counts.errors,
        warnings=event.counts.warnings,
    )


def _downloaded(event: Downloaded) -> State:
    return State(status="downloaded", delivery_no=event.delivery_no, downloaded_at=event.downloaded_at)


def _recalled(event: Recalled) -> State:
    return State(status="recalled", delivery_no=event.delivery_no, opened_at=event.opened_at)


_STATES: Mapping[type[Event], Callable[[Any], State]] = {
    MessageSubmitted: lambda _: NOTHING,
    MessageAccepted: lambda event: _judged("accepted", event.counts),
    MessageRejected: _rejected,
    MessageRouted: lambda event: _judged("routed", event.counts),
    MessageUndeliverable: lambda event: State(status="undeliverable", reason=_reason(event.reason)),
    MessageDiscarded: lambda _: State(status="undeliverable", reason=_reason(DISCARDED)),
    Delivered: _delivered,
    ContentOpened: lambda event: State(opened_at=event.opened_at),
    Downloaded: _downloaded,
    RecallRequested: lambda event: State(recall_requested_at=event.requested_at),
    Recalled: _recalled,
    ReminderDue: lambda _: NOTHING,
    Expired: lambda event: State(status="expired", delivery_no=event.delivery_no),
    Erased: lambda event: State(delivery_no=event.delivery_no, erased_at=event.erased_at),
}

HEARD: tuple[type[Event], ...] = (*_STATES, MessageHeld, MessageReleased)
"""Every event type that the lists are made of."""


def state_of(event: Event, service: str) -> State:
    """What one event, said by `service`, says of its row."""
    match event:
        case MessageHeld():
            return _hold(service, 2 * event.nth)
        case MessageReleased():
            return _hold(service, 2 * event.nth + 1)
        case _:
            return _STATES[type(event)](event)


def _hold(service: str, value: int) -> State:
    match service:
        case "validation":
            return State(hold_validation=value)
        case "routing":
            return State(hold_routing=value)
        case _:
            return State(hold_storage=value)


def package_of(event: Event) -> Package | None:
    """The submission's package, where the event carries it."""
    if isinstance(event, MessageSubmitted | MessageAccepted | MessageRouted | Delivered):
        return event.package
    return None


_TIMES: Mapping[type[Event], str] = {
    MessageRejected: "rejected_at",
    MessageUndeliverable: "decided_at",
    MessageDiscarded: "discarded_at",
    Delivered: "delivered_at",
    ContentOpened: "opened_at",
    Downloaded: "downloaded_at",
    RecallRequested: "requested_at",
    Recalled: "recalled_at",
    ReminderDue: "due_at",
    Expired: "expired_at",
    Erased: "erased_at",
    MessageHeld: "held_at",
    MessageReleased: "released_at",
}


def happened_at(event: Event, recorded_at: datetime) -> datetime:
    """When it happened, by the event itself; `recorded_at` for those that carry no time of their own."""
    if isinstance(event, MessageSubmitted):
        return event.package.submitted_at
    name = _TIMES.get(type(event))
    moment = recorded_at if name is None else getattr(event, name)
    if not isinstance(moment, datetime):
        raise TypeError(type(event).__name__)
    return moment


PUSHED: Mapping[str, str] = {
    "MessageRejected": "rejected",
    "MessageUndeliverable": "undeliverable",
    "MessageDiscarded": "undeliverable",
    "Delivered": "delivered",
    "ContentOpened": "opened",
    "Downloaded": "downloaded",
    "Recalled": "recalled",
    "Expired": "expired",
    "MessageHeld": "held",
    "MessageReleased": "released",
}
"""The change that a fact is in the feed, by its type; facts that are not here change a list without a push."""

NUMBERED = frozenset({"Delivered", "ContentOpened", "Downloaded", "Recalled", "Expired"})
"""Facts about something delivered: their changes name the delivery number."""

TIMELINE: Mapping[str, str] = {
    **PUSHED,
    "MessageSubmitted": "submitted",
    "MessageAccepted": "accepted",
    "MessageRouted": "routed",
    "MessageDiscarded": "discarded",
    "RecallRequested": "recall_requested",
    "ReminderDue": "reminded",
    "Erased": "erased",
}
"""The word for a fact in a timeline, by its type."""


def in_receive_list(event: Event, service: str) -> bool:
    """Whether the fact belongs to the recipient's row: storage's own, and about something that was delivered."""
    if service != "storage":
        return False
    if isinstance(event, RecallRequested | MessageDiscarded):
        return False
    if isinstance(event, Recalled | Erased):
        return event.delivery_no is not None
    return True


def recipient_may_know(event: Event, service: str) -> bool:
    """Whether row-level security lets the recipient read the fact.

    What happened to a delivered message, the receipt of its submission and the findings it was accepted with; how it
    came to be delivered (holds, routing, a recall asked for before it arrived) is the sender's affair. Whether it was
    delivered at all is asked of the receive list before any fact is read.
    """
    if isinstance(event, MessageSubmitted | MessageAccepted):
        return True
    return in_receive_list(event, service) and not isinstance(event, MessageHeld | MessageReleased)


def sender_acted(type_name: str) -> bool:
    """Whether the person behind a fact of this type belongs to the sender (else to the recipient)."""
    return type_name in ("MessageSubmitted", "RecallRequested", "Recalled")
