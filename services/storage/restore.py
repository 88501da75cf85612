"""What storage sets up again from its own events: what arrived under which number, and what became of it."""

import dataclasses
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from todoke.events import (
    ContentOpened,
    Delivered,
    Downloaded,
    Erased,
    Event,
    Expired,
    MessageEvent,
    Package,
    Recalled,
    RecallRequested,
    ReminderDue,
)
from todoke.relay.postgres import Statements, Tx, queries
from todoke.relay.restore import Said, Unhealed

_sql: Statements = queries("services.storage")


@dataclasses.dataclass(slots=True)
class Told:
    """Everything that a service's events tell of one message; None is what they do not tell."""

    message_id: UUID
    sender: str
    recipient: str
    package: Package | None = None
    delivery_no: int | None = None
    delivered_at: datetime | None = None
    opened_at: datetime | None = None
    reminded_at: datetime | None = None
    downloaded_at: datetime | None = None
    receipt_sealed: str | None = None
    recalled_at: datetime | None = None
    expired_at: datetime | None = None
    recall_requested_at: datetime | None = None
    recall_reason_sealed: str | None = None
    erased_at: datetime | None = None
    never_arrived: bool = False
    """It was recalled before it could arrive."""

    @property
    def end(self) -> tuple[str, datetime] | None:
        """How and when it ended, if it did."""
        ends = {"downloaded": self.downloaded_at, "recalled": self.recalled_at, "expired": self.expired_at}
        return next(((cause, at) for cause, at in ends.items() if at is not None), None)

    def take(self, event: Event) -> None:
        """Note what an event tells."""
        match event:
            case Delivered():
                self.package, self.delivery_no, self.delivered_at = event.package, event.delivery_no, event.delivered_at
            case ContentOpened():
                self.opened_at = event.opened_at
            case ReminderDue():
                self.reminded_at = event.due_at
            case Downloaded():
                self.downloaded_at, self.receipt_sealed = event.downloaded_at, event.receipt_sealed
            case RecallRequested():
                self.recall_requested_at, self.recall_reason_sealed = event.requested_at, event.reason_sealed
            case Recalled():
                self.recalled_at, self.never_arrived = event.recalled_at, event.delivery_no is None
            case Expired():
                self.expired_at = event.expired_at
            case Erased():
                self.erased_at = event.erased_at
            case _:
                pass


async def restore(said: Sequence[Said], tx: Tx) -> list[Unhealed]:
    """Custody, deliveries with their numbers, the counters, ends and erasures. Locks in the order of all of storage.

    What others say is heard again, so a message that is only wanted back waits for its submission (`early_recall`), and
    one that was erased for its end. Answered are messages that stand here under another number, or ended otherwise: the
    offices have seen what the events tell.
    """
    told: dict[UUID, Told] = {}
    for one in said:
        event = one.event
        if isinstance(event, MessageEvent):
            message = told.setdefault(event.message_id, Told(event.message_id, event.sender, event.recipient))
            message.take(event)
    messages = [told[key] for key in sorted(told)]
    await _custody([(message, message.package) for message in messages if message.package is not None], tx)
    await _recall_requests([message for message in messages if message.recall_requested_at is not None], tx)
    await _deliveries([message for message in messages if message.delivery_no or message.never_arrived], tx)
    await _fates([message for message in messages if not message.never_arrived], tx)
    await _counters(messages, tx)
    await _ends(messages, tx)
    rows = await _sql.fates_of(tx.db, message_ids=[message.message_id for message in messages])
    return [
        unhealed
        for row in rows
        for unhealed in _contradictions(told[UUID(int=row["message_id"].int)], row["delivery_no"], row["status"])
    ]


def _contradictions(message: Told, delivery_no: int | None, status: str) -> list[Unhealed]:
    found = []
    if message.delivery_no is not None and message.delivery_no != delivery_no:
        found.append(Unhealed("another delivery number", str(message.message_id)))
    if message.end is not None and message.end[0] != status:
        found.append(Unhealed("another end", str(message.message_id)))
    return found


async def _custody(kept: Sequence[tuple[Told, Package]], tx: Tx) -> None:
    if kept:
        await _sql.keep_custody(
            tx.db,
            message_ids=[message.message_id for message, _ in kept],
            senders=[message.sender for message, _ in kept],
            recipients=[message.recipient for message, _ in kept],
            object_keys=[package.object_key for _, package in kept],
            packages=[package.model_dump_json() for _, package in kept],
        )


async def _recall_requests(messages: Sequence[Told], tx: Tx) -> None:
    if messages:
        await _sql.restore_recall_requests(
            tx.db,
            message_ids=[message.message_id for message in messages],
            times=[message.recall_requested_at for message in messages],
            reasons_sealed=[message.recall_reason_sealed for message in messages],
        )


async def _deliveries(messages: Sequence[Told], tx: Tx) -> None:
    if messages:
        await _sql.restore_deliveries(
            tx.db,
            senders=[message.sender for message in messages],
            recipients=[message.recipient for message in messages],
            numbers=[message.delivery_no for message in messages],
            delivered=[message.delivered_at for message in messages],
            opened=[message.opened_at for message in messages],
            reminded=[message.reminded_at for message in messages],
            **_end_columns(messages),
        )


async def _fates(messages: Sequence[Told], tx: Tx) -> None:
    """What became of messages whose arrival this database remembers; of the others it is done already."""
    if messages:
        await _sql.restore_openings(
            tx.db,
            message_ids=[message.message_id for message in messages],
            opened=[message.opened_at for message in messages],
            reminded=[message.reminded_at for message in messages],
        )
    ended = [message for message in messages if message.end is not None]
    if ended:
        await _sql.restore_ends(tx.db, **_end_columns(ended))


def _end_columns(messages: Sequence[Told]) -> dict[str, list[Any]]:
    return {
        "message_ids": [message.message_id for message in messages],
        "statuses": [message.end[0] if message.end else "delivered" for message in messages],
        "downloaded": [message.downloaded_at for message in messages],
        "receipts_sealed": [message.receipt_sealed for message in messages],
        "recalled": [message.recalled_at for message in messages],
        "expired": [message.expired_at for message in messages],
    }


async def _counters(messages: Iterable[Told], tx: Tx) -> None:
    last: dict[str, Told] = {}
    for message in messages:
        if message.delivery_no is not None:
            before = last.get(message.recipient)
            if before is None or (before.delivery_no or 0) < message.delivery_no:
                last[message.recipient] = message
    if last:
        await _sql.restore_counters(
            tx.db,
            recipients=list(last),
            numbers=[message.delivery_no for message in last.values()],
            times=[message.delivered_at for message in last.values()],
        )


async def _ends(messages: Sequence[Told], tx: Tx) -> None:
    ended = [(message, message.end) for message in messages if message.end is not None]
    if ended:
        await _sql.end_messages(
            tx.db,
            message_ids=[message.message_id for message, _ in ended],
            senders=[message.sender for message, _ in ended],
            recipients=[message.recipient for message, _ in ended],
            causes=[cause for _, (cause, _) in ended],
            times=[at for _, (_, at) in ended],
        )
    erased = [message for message in messages if message.erased_at is not None]
    if erased:
        await _sql.restore_erasures(
            tx.db,
            message_ids=[message.message_id for message in erased],
            times=[message.erased_at for message in erased],
        )
