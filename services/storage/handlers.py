"""What storage does with what it hears: it takes messages into custody, delivers them, and notes their ends."""

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from services.storage.rules import Counter, Number, numbered
from todoke.events import (
    Actor,
    Delivered,
    Event,
    MessageDiscarded,
    MessageRejected,
    MessageRouted,
    MessageSubmitted,
    MessageUndeliverable,
    Recalled,
)
from todoke.relay.handler import Batch
from todoke.relay.postgres import Statements, Tx, queries

_SYSTEM = Actor(kind="system", id="storage")


@dataclasses.dataclass(frozen=True, slots=True)
class End:
    """A message came to an end before it could arrive."""

    sender: str
    recipient: str
    cause: str
    at: datetime


@dataclasses.dataclass(slots=True)
class Folded:
    """A batch by message: what comes into custody, what arrives (in log order), what ends."""

    kept: dict[UUID, MessageSubmitted] = dataclasses.field(default_factory=dict)
    arriving: dict[UUID, MessageRouted] = dataclasses.field(default_factory=dict)
    ends: dict[UUID, End] = dataclasses.field(default_factory=dict)


class Keep:
    """Deliver routed messages once, number them without a gap, and keep what is needed to hand out their content.

    Two topics come in no order: a message may be routed before its submission is heard. Both carry the package, so
    either takes it into custody.
    """

    hears: ClassVar[tuple[type[Event], ...]] = (
        MessageSubmitted,
        MessageRejected,
        MessageRouted,
        MessageUndeliverable,
        MessageDiscarded,
    )

    def __init__(self) -> None:
        self._sql: Statements = queries("services.storage")

    async def prepare(self, batch: Batch) -> Folded:
        """All facts of a message together."""
        folded = Folded()
        for heard in batch:
            event = heard.event
            if isinstance(event, MessageSubmitted):
                folded.kept.setdefault(event.message_id, event)
            if isinstance(event, MessageRouted):
                folded.arriving.setdefault(event.message_id, event)
            end = _end_of(event)
            if end is not None:
                folded.ends.setdefault(event.message_id, end)
        return folded

    async def apply(self, prepared: Folded, tx: Tx) -> Sequence[Event]:
        """A statement per table; locks in the order custody, delivery, counter, ended."""
        await self._keep(prepared.kept.values(), tx)
        ends = dict(prepared.ends)  # `prepared` stays as it is: after a rollback it is applied again
        said: list[Event] = []
        arriving = {key: event for key, event in prepared.arriving.items() if key not in ends}
        if arriving:
            said = await self._arrive(arriving, ends, tx)
        await self._end(ends, tx)
        return said

    async def _keep(self, events: Iterable[MessageSubmitted | MessageRouted], tx: Tx) -> None:
        kept = list(events)
        if kept:
            await self._sql.keep_custody(
                tx.db,
                message_ids=[event.message_id for event in kept],
                senders=[event.sender for event in kept],
                recipients=[event.recipient for event in kept],
                object_keys=[event.package.object_key for event in kept],
                packages=[event.package.model_dump_json() for event in kept],
            )

    async def _end(self, ends: dict[UUID, End], tx: Tx) -> None:
        if ends:
            await self._sql.end_messages(
                tx.db,
                message_ids=list(ends),
                senders=[end.sender for end in ends.values()],
                recipients=[end.recipient for end in ends.values()],
                causes=[end.cause for end in ends.values()],
                times=[end.at for end in ends.values()],
            )

    async def _arrive(self, arriving: dict[UUID, MessageRouted], ends: dict[UUID, End], tx: Tx) -> list[Event]:
        asked = {"message_ids": list(arriving), "low": min(arriving), "high": max(arriving)}
        locked = await self._sql.lock_custody(tx.db, **asked)
        if len(locked) < len(arriving):  # routed before its submission was heard here
            await self._keep(arriving.values(), tx)
            locked = await self._sql.lock_custody(tx.db, **asked)
        wanted_back = {row["message_id"]: row for row in locked if row["recall_requested_at"] is not None}
        ended = {row["message_id"] for row in await self._sql.ended_among(tx.db, **asked)}
        claimed = await self._claim([event for key, event in arriving.items() if key not in ended], wanted_back, tx)
        back = [event for event in claimed if event.message_id in wanted_back]
        for event in back:
            ends[event.message_id] = End(event.sender, event.recipient, "recalled", tx.now)
        delivered = await self._number([event for event in claimed if event.message_id not in wanted_back], tx)
        return [*delivered, *(_recalled(event, wanted_back[event.message_id], tx.now) for event in back)]

    async def _claim(
        self, arriving: Sequence[MessageRouted], wanted_back: dict[UUID, Any], tx: Tx
    ) -> list[MessageRouted]:
        """Those that arrive for the first time, in log order."""
        rows = await self._sql.claim_deliveries(
            tx.db,
            message_ids=[event.message_id for event in arriving],
            senders=[event.sender for event in arriving],
            recipients=[event.recipient for event in arriving],
            statuses=["recalled" if event.message_id in wanted_back else "claimed" for event in arriving],
            recalled=[tx.now if event.message_id in wanted_back else None for event in arriving],
        )
        claimed = {row["message_id"] for row in rows}
        return [event for event in arriving if event.message_id in claimed]

    async def _number(self, claimed: Sequence[MessageRouted], tx: Tx) -> list[Event]:
        """Draw numbers under the locks of the recipients' counters, and say Delivered."""
        if not claimed:
            return []
        by_recipient: dict[str, list[UUID]] = defaultdict(list)
        for event in claimed:
            by_recipient[event.recipient].append(event.message_id)
        counters = await self._sql.lock_counters(tx.db, recipients=list(by_recipient))
        numbers: dict[UUID, Number] = {}
        last: dict[str, Number] = {}
        for row in counters:
            counter = Counter(row["last_no"], row["last_at"])
            drawn = numbered(by_recipient[row["recipient"]], counter, tx.now)
            numbers |= drawn
            last[row["recipient"]] = list(drawn.values())[-1]
        await self._sql.number_deliveries(
            tx.db,
            message_ids=list(numbers),
            low=min(numbers),
            high=max(numbers),
            numbers=[number.delivery_no for number in numbers.values()],
            times=[number.delivered_at for number in numbers.values()],
            recipients=list(last),
            last_numbers=[number.delivery_no for number in last.values()],
            last_times=[number.delivered_at for number in last.values()],
        )
        return [_delivered(event, numbers[event.message_id]) for event in claimed]


def _end_of(event: Event) -> End | None:
    match event:
        case MessageRejected():
            return End(event.sender, event.recipient, "rejected", event.rejected_at)
        case MessageUndeliverable():
            return End(event.sender, event.recipient, "undeliverable", event.decided_at)
        case MessageDiscarded():
            return End(event.sender, event.recipient, "discarded", event.discarded_at)
        case _:
            return None


def _delivered(event: MessageRouted, number: Number) -> Delivered:
    return Delivered(
        actor=_SYSTEM,
        message_id=event.message_id,
        sender=event.sender,
        recipient=event.recipient,
        package=event.package,
        counts=event.counts,
        delivery_no=number.delivery_no,
        delivered_at=number.delivered_at,
    )


def _recalled(event: MessageRouted, request: Any, now: datetime) -> Recalled:
    """Recalled before it arrived: it has no number, and the recipient never sees it."""
    return Recalled(
        actor=_SYSTEM,
        message_id=event.message_id,
        sender=event.sender,
        recipient=event.recipient,
        recalled_at=now,
        reason_sealed=request["recall_reason_sealed"],
    )
