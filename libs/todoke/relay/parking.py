"""Messages that cannot be handled: held with their raw records, retried or discarded by an operator."""

import contextlib
import dataclasses
from collections.abc import Collection, Sequence
from typing import Any, Literal, Protocol, TypeAlias

from structlog.typing import FilteringBoundLogger

from todoke.events import (
    Actor,
    Event,
    MessageDiscarded,
    MessageEvent,
    MessageHeld,
    MessageReleased,
    Undecodable,
    decode,
    read_headers,
    service_of,
    topic_of,
)
from todoke.relay.clock import Ports
from todoke.relay.faults import SetAside, Transient
from todoke.relay.handler import Handler, Heard, HearsOfHolds
from todoke.relay.postgres import Database, Statements, TooSlow, Tx, queries

Cause: TypeAlias = Literal["parked", "scan"]
"""Why a subject is held: an operator must decide, or it comes again by itself."""


async def try_set_aside(database: Database, cause: Cause) -> None:
    """Have every subject that was set aside for this cause tried again; each failure makes its next pause longer."""
    async with database.worker() as tx:
        await queries("todoke.relay", "consumer.sql").try_set_aside(tx.db, cause=cause, now=tx.now)


class Raw(Protocol):
    """A record as the driver hands it over (aiokafka's ConsumerRecord has this shape). `timestamp` is in ms."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]


def record_of_log(raw: Raw) -> str:
    """What a record is known by after a replay or a remade topic: its event id, or its place where it has none."""
    for name, value in raw.headers:
        if name == "ce_id" and value:
            return value[:64].decode("ascii", "replace")
    return f"{raw.topic}/{raw.partition}/{raw.offset}/{raw.timestamp}"


@dataclasses.dataclass(frozen=True, slots=True)
class Decisions:
    """What holds subjects back: those that are held, and (subject, record) of what operators gave up."""

    held: frozenset[str] = frozenset()
    given_up: frozenset[tuple[str, str]] = frozenset()

    def about(self, subjects: Collection[str]) -> "Decisions":
        """Those of these subjects only."""
        return Decisions(self.held.intersection(subjects), frozenset(x for x in self.given_up if x[0] in subjects))

    def corrected(self, subjects: Collection[str], truth: "Decisions") -> "Decisions":
        """With the truth about these subjects in place of what was believed."""
        others = frozenset(x for x in self.given_up if x[0] not in subjects)
        return Decisions(self.held.difference(subjects) | truth.held, others | truth.given_up)

    def passes_over(self, subject: str, raw: Raw) -> bool:
        """Whether an operator gave this record up."""
        return bool(self.given_up) and (subject, record_of_log(raw)) in self.given_up


def decisions_of(rows: Sequence[Any]) -> Decisions:
    """Decisions as `advance_and_lock` answers them: `subject`, `is_held`, and a given-up `record` or None."""
    return Decisions(
        frozenset(row["subject"] for row in rows if row["is_held"]),
        frozenset((row["subject"], row["record"]) for row in rows if row["record"] is not None),
    )


class Parking:
    """The held subjects of one service. Only what an event can know is kept: ids, and the sealed raw record."""

    def __init__(
        self,
        service: str,
        handlers: Sequence[Handler],
        database: Database,
        ports: Ports,
        log: FilteringBoundLogger,
        *,
        says_holds: bool,
    ) -> None:
        self._service = service
        self._handler_of = {topic_of(s): h for h in handlers for event in h.hears for s in event.SAID_BY}
        self._wanted = {event.wire_type() for handler in handlers for event in handler.hears}
        self._database = database
        self._ports = ports
        self._log = log
        self._says_holds = says_holds
        self._sql: Statements = queries("todoke.relay", "consumer.sql")

    async def keep(self, tx: Tx, subject: str, raw: Raw, error: str) -> None:
        """Keep one raw record of a held subject."""
        names, values = zip(*raw.headers, strict=True) if raw.headers else ((), ())
        await self._sql.park(
            tx.db,
            subject=subject,
            topic=raw.topic,
            partition=raw.partition,
            log_offset=raw.offset,
            record=record_of_log(raw),
            append_time=raw.timestamp,
            key=raw.key,
            header_names=list(names),
            header_values=list(values),
            value=raw.value,
            error=error,
            parked_at=tx.now,
        )

    async def park(
        self,
        tx: Tx,
        handler: Handler,
        subject: str,
        raw: Raw,
        error: str,
        about: Event | None,
        cause: Cause = "parked",
    ) -> None:
        """Hold a subject because of this record, and say so where the offices are to see it."""
        nth = await self._sql.hold_subject(tx.db, subject=subject, cause=cause, error=error, attempts=1, held_at=tx.now)
        await self.keep(tx, subject, raw, error)
        if self._says_holds and isinstance(about, MessageEvent):
            tx.say(
                MessageHeld(
                    actor=self._actor(),
                    message_id=about.message_id,
                    sender=about.sender,
                    recipient=about.recipient,
                    cause=cause,
                    held_at=tx.now,
                    nth=nth,
                )
            )
        if isinstance(handler, HearsOfHolds):
            await handler.on_parked([subject], tx)

    async def settle_one(self) -> bool:
        """Carry out one operator's word, if there is any. Answers whether there was."""
        async with self._database.connection() as db:
            decided = await self._sql.decided(db)
            if decided is None:
                return False
            subject = decided["subject"]
            rows = await self._sql.parked_of(db, subject=subject)
        try:
            await (self._give_up(subject, rows) if decided["state"] == "discard" else self._try_again(subject, rows))
        except Exception as trouble:
            if isinstance(trouble, Transient) and not isinstance(trouble, TooSlow):
                raise
            # held again, with the new reason
            cause = trouble.cause if isinstance(trouble, SetAside) else "parked"
            async with self._database.worker() as tx:
                await self._sql.settle_hold(
                    tx.db, subject=subject, state="held", cause=cause, error=type(trouble).__name__, attempts=1
                )
            self._log.error("retry_fails", subject=subject, error=type(trouble).__name__)
        return True

    async def _try_again(self, subject: str, rows: Sequence[Any]) -> None:
        heard = [one for row in rows if (one := self._heard(row)) is not None]
        prepared = [(self._handler_of[h.topic], await self._handler_of[h.topic].prepare([h])) for h in heard]
        async with self._database.worker({h.event.subject_id(): h.traceparent for h in heard}) as tx:
            hold = await self._still(tx, subject, "retry", rows)
            if hold is None:
                return
            for handler, ready in prepared:
                tx.say(*await handler.apply(ready, tx))
            if about := self._about(heard):
                tx.say(MessageReleased(**self._ended(about, hold), released_at=tx.now, nth=hold["nth"]))
            await self._settle(tx, subject, "released")

    async def _give_up(self, subject: str, rows: Sequence[Any]) -> None:
        heard = []
        for row in rows:
            with contextlib.suppress(Undecodable):
                heard.append(self._heard(row))
        async with self._database.worker() as tx:
            hold = await self._still(tx, subject, "discard", rows)
            if hold is None:
                return
            await self._sql.give_up(tx.db, subject=subject, given_up_at=tx.now)
            if about := self._about(heard):
                reason = hold["reason_sealed"]
                tx.say(MessageDiscarded(**self._ended(about, hold), discarded_at=tx.now, reason_sealed=reason))
            await self._settle(tx, subject, "discarded")

    async def _still(self, tx: Tx, subject: str, state: str, rows: Sequence[Any]) -> Any | None:
        """The hold under lock, if the operator's word stands and no further record was parked meanwhile."""
        hold = await self._sql.lock_hold(tx.db, subject=subject)
        if hold is None or hold["state"] != state:
            return None
        now_parked = await self._sql.parked_of(tx.db, subject=subject)
        return hold if [row["id"] for row in now_parked] == [row["id"] for row in rows] else None

    async def _settle(self, tx: Tx, subject: str, state: str) -> None:
        for handler in {id(handler): handler for handler in self._handler_of.values()}.values():
            if isinstance(handler, HearsOfHolds):
                await handler.on_released([subject], tx)
        await self._sql.unpark(tx.db, subject=subject)
        await self._sql.settle_hold(tx.db, subject=subject, state=state, cause=None, error=None, attempts=0)
        self._log.info("hold_ends", subject=subject, state=state)

    def _heard(self, row: Any) -> Heard[Any] | None:
        headers = read_headers(list(zip(row["header_names"], row["header_values"], strict=True)))
        if headers.wire_type not in self._wanted:
            return None
        return Heard(
            event=decode(headers, row["value"] or b""),
            event_id=headers.event_id,
            service=service_of(row["topic"]),
            topic=row["topic"],
            partition=row["partition"],
            offset=row["log_offset"],
            time=headers.time,
            traceparent=headers.traceparent,
        )

    def _about(self, heard: Sequence[Heard[Any] | None]) -> MessageEvent | None:
        """The message of a hold, if this service tells the offices of its holds."""
        events = (one.event for one in heard if one is not None)
        return next((e for e in events if isinstance(e, MessageEvent)), None) if self._says_holds else None

    def _ended(self, about: MessageEvent, hold: Any) -> dict[str, Any]:
        who = self._actor() if hold["decided_by"] is None else Actor(kind="operator", id=hold["decided_by"])
        return {"actor": who, "message_id": about.message_id, "sender": about.sender, "recipient": about.recipient}

    def _actor(self) -> Actor:
        return Actor(kind="system", id=self._service)
