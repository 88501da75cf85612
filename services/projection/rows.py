"""Facts and rows on their way into the tables: folded in Python first, then written with one statement per table."""

import dataclasses
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Literal, Protocol
from uuid import UUID

from services.projection.rules import (
    NOTHING,
    PUSHED,
    Box,
    State,
    happened_at,
    package_of,
    recipient_may_know,
    state_of,
)
from todoke.events import (
    Downloaded,
    MessageAccepted,
    MessageEvent,
    MessageHeld,
    MessageRejected,
    MessageSubmitted,
    MessageUndeliverable,
    Package,
    Recalled,
    RecallRequested,
    ReminderDue,
)


class HeardEvent(Protocol):
    """What this module needs of a heard record."""

    @property
    def event(self) -> Any:
        """The event."""
        ...

    @property
    def event_id(self) -> UUID:
        """Its id."""
        ...

    @property
    def service(self) -> str:
        """Who said it."""
        ...

    @property
    def time(self) -> datetime:
        """When it was recorded."""
        ...


@dataclasses.dataclass(frozen=True, slots=True)
class FactRow:
    """One event, as it will stand in the table `fact`."""

    event: MessageEvent
    event_id: UUID
    service: str
    at: datetime

    @classmethod
    def of(cls, heard: HeardEvent) -> "FactRow":
        """The fact of a heard record."""
        at = happened_at(heard.event, heard.time)
        return cls(heard.event, heard.event_id, heard.service, at)


def fact_values(facts: Sequence[FactRow]) -> dict[str, Any]:
    """The columns of `keep_facts`, and the least and the greatest message id."""
    return {
        "low": min(fact.event.message_id for fact in facts),
        "high": max(fact.event.message_id for fact in facts),
        "message_ids": [fact.event.message_id for fact in facts],
        "event_ids": [fact.event_id for fact in facts],
        "services": [fact.service for fact in facts],
        "types": [fact.event.type_name() for fact in facts],
        "ats": [fact.at for fact in facts],
        "actor_kinds": [fact.event.actor.kind for fact in facts],
        "actor_ids": [fact.event.actor.id for fact in facts],
        "senders": [fact.event.sender for fact in facts],
        "recipients": [
            fact.event.recipient if recipient_may_know(fact.event, fact.service) else None for fact in facts
        ],
        "details": [_detail(fact.event) for fact in facts],
    }


def _detail(event: MessageEvent) -> str | None:
    """What findings and evidence need of an event beyond its time, as JSON."""
    found: dict[str, Any]
    match event:
        case MessageSubmitted() | Downloaded():
            found = {"receipt": event.receipt_sealed}
        case MessageAccepted() | MessageRejected():
            findings = [finding.model_dump(exclude_none=True) for finding in event.findings]
            found = {"errors": event.counts.errors, "warnings": event.counts.warnings, "findings": findings}
        case MessageUndeliverable():
            found = {"reason": event.reason}
        case RecallRequested():
            found = {"recall_reason": event.reason_sealed}
        case Recalled() if event.reason_sealed is not None:
            found = {"recall_reason": event.reason_sealed}
        case ReminderDue():
            found = {"days": event.days}
        case MessageHeld():
            found = {"cause": event.cause}
        case _:
            return None
    return json.dumps(found, ensure_ascii=False)


@dataclasses.dataclass(slots=True)
class Row:
    """Everything that a batch says of one message in one box.

    `was` tells how the box had the row before: not at all, without a package (so in no list), or listed; None until
    the tables were asked.
    """

    message_id: UUID
    sender: str
    recipient: str
    state: State = NOTHING
    package: Package | None = None
    was: Literal["absent", "unlisted", "listed"] | None = None

    @property
    def listed(self) -> bool:
        """Whether the row is in the list after this batch."""
        return self.was == "listed" or self.package is not None

    @property
    def late(self) -> bool:
        """Whether the row comes into the list only now, after facts that nobody could be told of yet."""
        return self.was == "unlisted" and self.package is not None

    def absorb(self, fact: FactRow) -> None:
        """Merge one more fact."""
        self.state |= state_of(fact.event, fact.service)
        self.package = self.package or package_of(fact.event)


def folded(facts: Iterable[FactRow]) -> list[Row]:
    """All facts of one message in one row; the rows in key order."""
    rows: dict[UUID, Row] = {}
    for fact in facts:
        event = fact.event
        row = rows.get(event.message_id)
        if row is None:
            row = rows[event.message_id] = Row(event.message_id, event.sender, event.recipient)
        row.absorb(fact)
    return sorted(rows.values(), key=lambda row: row.message_id)


def package_values(rows: Sequence[Row]) -> dict[str, list[Any]]:
    """The columns that a package fills; null where it is not known yet."""
    packages = [row.package for row in rows]
    return {
        "message_ids": [row.message_id for row in rows],
        "sequences": [package and package.sequence for package in packages],
        "csv_versions": [package and package.csv_version for package in packages],
        "months": [None if package is None else " ".join(package.months) for package in packages],
        "kinds": [None if package is None else _kinds(package) for package in packages],
        "sender_names": [package and package.sender_name for package in packages],
        "recipient_names": [package and package.recipient_name for package in packages],
        "service_types": [package and package.service_type for package in packages],
        "submitted_ats": [package and package.submitted_at for package in packages],
        "places": [None if package is None else package.place for package in packages],
        "epochs": [package and package.epoch for package in packages],
        "parts": [None if package is None else _parts(package) for package in packages],
        "manifests": [package and package.manifest for package in packages],
    }


def _kinds(package: Package) -> str:
    return " ".join(sorted({part.kind for part in package.parts if part.kind is not None}))


def _parts(package: Package) -> str:
    return json.dumps(
        [
            {"n": part.ordinal, "kind": part.kind, "size": part.size, "sealed_sha256": part.sealed_sha256}
            for part in package.parts
        ],
    )


def state_values(rows: Sequence[Row], box: Box) -> dict[str, list[Any]]:
    """The columns that facts change: all of `State` in the send list, storage's part of it in the receive list."""
    states = [row.state for row in rows]
    values: dict[str, list[Any]] = {
        "message_ids": [row.message_id for row in rows],
        "statuses": [state.status for state in states],
        "delivery_nos": [state.delivery_no for state in states],
        "delivered_ats": [state.delivered_at for state in states],
        "opened_ats": [state.opened_at for state in states],
        "downloaded_ats": [state.downloaded_at for state in states],
        "erased_ats": [state.erased_at for state in states],
        "errors": [state.errors for state in states],
        "warnings": [state.warnings for state in states],
        "holds_storage": [state.hold_storage for state in states],
    }
    if box == "sent":
        values |= {
            "recall_requested_ats": [state.recall_requested_at for state in states],
            "reasons": [state.reason for state in states],
            "holds_validation": [state.hold_validation for state in states],
            "holds_routing": [state.hold_routing for state in states],
        }
    return values


def state_from(record: Sequence[Any]) -> State:
    """The state of a locked row: its columns after the first two, in the order of `State`'s fields."""
    return State(*record[2:])


@dataclasses.dataclass(frozen=True, slots=True)
class Change:
    """One entry of an office's change feed."""

    office: str
    event: str
    message_id: UUID
    delivery_no: int | None
    at: datetime


class Ledger:
    """What a batch does to offices: counts, versions and changes, summed up before anything is written.

    Without `feeds` nothing is pushed: the read set that is filled is not the one that people see.
    """

    def __init__(self, *, feeds: bool) -> None:
        self.feeds = feeds
        self.tallies: Counter[tuple[str, str, str]] = Counter()
        self.versions: Counter[str] = Counter()
        self.messages: set[tuple[str, UUID]] = set()
        self.changes: list[Change] = []

    def moved(self, box: Box, office: str, before: str | None, after: str) -> None:
        """A listed row of `office` went from one status to another; `before` is None for a row new in the list."""
        if before == after:
            return
        if before is not None:
            self.tallies[office, box, before] -= 1
        self.tallies[office, box, after] += 1

    def saw(self, office: str, message_id: UUID) -> None:
        """The office may see one more fact about a message."""
        self.versions[office] += 1
        self.messages.add((office, message_id))

    def push(self, office: str, type_name: str, message_id: UUID, delivery_no: int | None, at: datetime) -> None:
        """Add a fact to the office's feed, if facts of its type are pushed."""
        event = PUSHED.get(type_name)
        if event is not None and self.feeds:
            self.changes.append(Change(office, event, message_id, delivery_no, at))

    def values(self) -> dict[str, list[Any]]:
        """The columns of `settle`, in key order; without counts that come to nothing."""
        moved = [(key, n) for key, n in sorted(self.tallies.items()) if n != 0]
        heads = sorted(self.versions)
        pushed = Counter(change.office for change in self.changes)
        feeds = sorted(pushed)
        left, behind = Counter(pushed), []
        for change in self.changes:
            left[change.office] -= 1
            behind.append(left[change.office])
        return {
            "tally_offices": [key[0] for key, _ in moved],
            "tally_boxes": [key[1] for key, _ in moved],
            "tally_statuses": [key[2] for key, _ in moved],
            "tally_ns": [n for _, n in moved],
            "head_offices": heads,
            "head_versions": [self.versions[office] for office in heads],
            "feed_offices": feeds,
            "feed_changes": [pushed[office] for office in feeds],
            "offices": [change.office for change in self.changes],
            "behind": behind,
            "events": [change.event for change in self.changes],
            "message_ids": [change.message_id for change in self.changes],
            "delivery_nos": [change.delivery_no for change in self.changes],
            "ats": [change.at for change in self.changes],
        }
