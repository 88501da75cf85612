"""What an operator sees of one service and does to it: held messages, the breaker, how far it has heard, its journal.

Nothing here shows the body of a record, or anything that an event keeps sealed.
"""

import base64
import binascii
import dataclasses
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel

from careplan.numbers import OfficeNumber
from todoke.events import Actor, Event, MessageEvent, Undecodable, decode, read_headers, topic_of
from todoke.relay.access import Operator
from todoke.relay.acts import Acts, Word
from todoke.relay.consumer import Place
from todoke.relay.faults import Transient
from todoke.relay.kafka import ends_of
from todoke.relay.postgres import Statements, queries
from todoke.relay.problem import Problem
from todoke.relay.reports import Asked, Findings, Reports, findings_page, reports_page, wish
from todoke.relay.service import Runtime

RECORDS_SHOWN_MAX = 200
"""Parked records of one subject that are shown; the count is of all."""

RECORDS_READ_MAX = 20
"""Parked records that are read to find out what a hold is about."""


class Hold(BaseModel):
    """A subject (a message, or an office for events about offices) at which a service stopped.

    `state` is held, or retry and discard while an operator's word waits to be carried out, or how the hold ended.
    `nth` counts the holds of this subject, `attempts` the tries, `records` its parked records.
    """

    service: str
    subject: str
    state: Literal["held", "retry", "discard", "released", "discarded"]
    nth: int
    error: str
    attempts: int
    records: int
    held_at: datetime
    decided_at: datetime | None
    decided_by: str | None


class HoldPage(BaseModel):
    """Holds, the oldest first; `next` is the cursor of the next page."""

    items: list[Hold]
    next: str | None


class ParkedRecord(BaseModel):
    """One raw record of a held subject: where it stands, what it says it is, how large it is; never what is in it."""

    topic: str
    partition: int
    offset: int
    type: str | None
    event_id: str | None
    said_at: datetime | None
    bytes: int
    error: str
    parked_at: datetime


class HoldDetail(Hold):
    """A hold with the first of its records."""

    parked: list[ParkedRecord]


class Decided(BaseModel):
    """An operator's word is noted; the service carries it out within seconds."""

    service: str
    subject: str
    state: Literal["retry", "discard"]
    records: int


class Breaker(BaseModel):
    """Whether the service has stopped consuming, why, and since when."""

    service: str
    open: bool
    reason: str | None = None
    tripped_at: datetime | None = None


class BreakerChanged(BaseModel):
    """How the breaker stands now, and whether this call changed it."""

    service: str
    open: bool
    changed: bool


class PartitionLag(BaseModel):
    """How far one partition was heard; `end` and `behind` are null while Kafka is away."""

    topic: str
    partition: int
    next: int
    end: int | None
    behind: int | None


class Lag(BaseModel):
    """What a service has not heard yet, what it said and Kafka does not hold yet, and what Kafka will never take."""

    service: str
    behind: int | None
    outbox_rows: int
    outbox_seconds: float
    refused: int
    partitions: list[PartitionLag]


class ServiceStatus(BaseModel):
    """One service at a glance."""

    service: str
    held: int
    breaker_open: bool
    behind: int | None
    outbox_rows: int
    outbox_seconds: float
    refused: int


class Step(BaseModel):
    """One event of a message's story: ids, offices, and who did it by id."""

    at: datetime
    type: str
    service: str
    topic: str
    event_id: UUID
    actor: Actor
    sender: str | None
    recipient: str | None
    act: str | None
    ticket: str | None


class Story(BaseModel):
    """What one service, or several, said about a message, by time; and where it was held."""

    message_id: UUID
    services: list[str]
    events: list[Step]
    holds: list[Hold]


@dataclasses.dataclass(frozen=True, slots=True)
class _About:
    """What a hold is about, as far as its records can be read."""

    message: MessageEvent | None
    office: str | None


class Operating:
    """One service as operators meet it."""

    def __init__(self, runtime: Runtime) -> None:
        self.name = runtime.name
        self._db = runtime.db
        self._kafka = runtime.settings.kafka
        self._clock = runtime.ports.clock
        self._acts = Acts(runtime)
        self._sql: Statements = queries("todoke.relay", "operating.sql")
        self._consumer_sql: Statements = queries("todoke.relay", "consumer.sql")
        self._journal_sql: Statements = queries("todoke.relay", "journal.sql")

    # --- held messages -----------------------------------------------------------------------------------------

    async def holds(self, limit: int, cursor: str | None) -> HoldPage:
        """What is held now. Raises `Problem` TDK-INVALID for a cursor that is none."""
        held_at, subject = _read_cursor(cursor)
        async with self._db.connection() as db:
            rows = await self._sql.holds_page(db, held_at=held_at, subject=subject, rows_max=limit + 1)
        more = _cursor(rows[limit - 1]) if len(rows) > limit else None
        return HoldPage(items=[self._hold(row) for row in rows[:limit]], next=more)

    async def hold(self, subject: str) -> HoldDetail:
        """One hold, also one that is over. Raises `Problem` TDK-NOT-FOUND."""
        async with self._db.connection() as db:
            row = await self._sql.hold_of(db, subject=subject)
            records = await self._sql.records_of(db, subject=subject, rows_max=RECORDS_SHOWN_MAX)
        if row is None:
            raise Problem("TDK-NOT-FOUND")
        return HoldDetail(**self._hold(row).model_dump(), parked=[_record(record) for record in records])

    async def decide(self, operator: Operator, subject: str, word: Word, *, discard: bool) -> Decided:
        """Note an operator's word about a held subject, and that it was given.

        Raises `Problem` TDK-NOT-FOUND for what was never held, TDK-NOT-HELD for what is not any more or is decided.
        """
        hold = await self.hold(subject)
        if hold.state != "held":
            raise Problem("TDK-NOT-HELD", state=hold.state)
        about = await self._about(subject)
        act = "parked.discard" if discard else "parked.retry"
        acted = await self._acts.noted(operator, word, act, subject, office=about.office)
        sealed = await self._acts.sealed_for(word, about.message) if discard and about.message else None
        state: Literal["retry", "discard"] = "discard" if discard else "retry"
        async with self._db.worker() as tx:
            records = await self._consumer_sql.decide(
                tx.db,
                subject=subject,
                state=state,
                decided_at=tx.now,
                decided_by=operator.user_id,
                reason_sealed=sealed,
            )
            if records is None:
                raise Problem("TDK-NOT-HELD", state="decided")
            tx.say(acted)
        return Decided(service=self.name, subject=subject, state=state, records=records)

    async def _about(self, subject: str) -> _About:
        async with self._db.connection() as db:
            rows = await self._sql.bodies_of(db, subject=subject, rows_max=RECORDS_READ_MAX)
        messages = (event for row in rows if isinstance(event := _event(row), MessageEvent))
        keys = (row["key"].decode("ascii", "replace") for row in rows if row["key"] is not None)
        return _About(next(messages, None), next((key for key in keys if OfficeNumber.fits(key)), None))

    def _hold(self, row: Mapping[str, Any]) -> Hold:
        return Hold(service=self.name, **row)

    # --- the breaker -------------------------------------------------------------------------------------------

    async def breaker(self) -> Breaker:
        """How the breaker stands."""
        async with self._db.connection() as db:
            row = await self._sql.breaker_row(db)
        return Breaker(service=self.name, open=row is not None, **(row or {}))

    async def trip(self, operator: Operator, word: Word) -> BreakerChanged:
        """Let the service stop consuming; every process of it follows within two seconds."""
        acted = await self._acts.noted(operator, word, "breaker.trip", self.name)
        async with self._db.worker() as tx:
            reason = f"by an operator ({word.ticket})"
            changed = bool(await self._sql.open_breaker(tx.db, reason=reason, tripped_at=tx.now))
            if changed:
                tx.say(acted)
        return BreakerChanged(service=self.name, open=True, changed=changed)

    async def reset(self, operator: Operator, word: Word) -> BreakerChanged:
        """Let it consume again, as soon."""
        acted = await self._acts.noted(operator, word, "breaker.reset", self.name)
        async with self._db.worker() as tx:
            changed = bool(await self._sql.close_breaker(tx.db))
            if changed:
                tx.say(acted)
        return BreakerChanged(service=self.name, open=False, changed=changed)

    # --- journal, topic and objects -----------------------------------------------------------------------------

    async def comparisons(self, limit: int, cursor: str | None) -> Reports:
        """What comparisons found and mended, and what they could not."""
        return await reports_page(self._db, self.name, limit, cursor)

    async def findings(self, report: int, limit: int, cursor: str | None) -> Findings:
        """All that one of them could not mend. Raises `Problem` TDK-NOT-FOUND."""
        found = await findings_page(self._db, self.name, report, limit, cursor)
        if found is None:
            raise Problem("TDK-NOT-FOUND")
        return found

    async def compare(self, operator: Operator, word: Word) -> Asked:
        """Let the service compare everything."""
        acted = await self._acts.noted(operator, word, "reconcile.now", self.name)
        async with self._db.worker() as tx:
            await wish(tx, operator.user_id)
            tx.say(acted)
            return Asked(service=self.name, asked_at=tx.now)

    # --- how far it is -----------------------------------------------------------------------------------------

    async def lag(self) -> Lag:
        """How far it has heard and said. Without Kafka the ends of the partitions are left out."""
        async with self._db.connection() as db:
            offsets = await self._sql.offsets(db)
            outbox = await self._journal_sql.outbox_age(db)
            refused = await self._sql.refused_out(db)
        ends = await self._ends([Place(row["topic"], row["partition"]) for row in offsets])
        partitions = [_partition(row, ends) for row in offsets]
        behind = [each.behind for each in partitions if each.behind is not None]
        age = (self._clock.now() - outbox["oldest"]).total_seconds() if outbox["oldest"] else 0.0
        return Lag(
            service=self.name,
            behind=None if len(behind) < len(partitions) else sum(behind),
            outbox_rows=outbox["waiting"],
            outbox_seconds=max(0.0, age),
            refused=refused,
            partitions=partitions,
        )

    async def _ends(self, places: Sequence[Place]) -> Mapping[Place, int]:
        if not places:
            return {}
        try:
            return await ends_of(self._kafka, places)
        except Transient:
            return {}

    async def status(self) -> ServiceStatus:
        """Everything of it that a glance needs."""
        lag = await self.lag()
        async with self._db.connection() as db:
            held = await self._consumer_sql.count_holds(db)
            row = await self._sql.breaker_row(db)
        return ServiceStatus(held=held, breaker_open=row is not None, **lag.model_dump(exclude={"partitions"}))

    # --- the story of a message --------------------------------------------------------------------------------

    async def story(self, message_id: UUID) -> Story:
        """What this service said about a message, what operators did to it here, and whether it was held here."""
        async with self._db.connection() as db:
            said = await self._sql.said_about(db, message_id=message_id)
            hold = await self._sql.hold_of(db, subject=str(message_id))
        return Story(
            message_id=message_id,
            services=[self.name],
            events=[self._step(row) for row in said],
            holds=[] if hold is None else [self._hold(hold)],
        )

    def _step(self, row: Mapping[str, Any]) -> Step:
        body = json.loads(row["payload"])
        shown = {name: body.get(name) for name in ("actor", "sender", "recipient", "act", "ticket")}
        return Step(
            at=row["recorded_at"],
            type=row["type"],
            service=self.name,
            topic=topic_of(self.name),
            event_id=row["event_id"],
            **shown,
        )


def merged(message_id: UUID, stories: Sequence[Story]) -> Story:
    """The stories of several services as one, by time."""
    return Story(
        message_id=message_id,
        services=[name for story in stories for name in story.services],
        events=sorted((step for story in stories for step in story.events), key=lambda step: step.at),
        holds=sorted((hold for story in stories for hold in story.holds), key=lambda hold: hold.held_at),
    )


def _partition(row: Mapping[str, Any], ends: Mapping[Place, int]) -> PartitionLag:
    end = ends.get(Place(row["topic"], row["partition"]))
    return PartitionLag(
        topic=row["topic"],
        partition=row["partition"],
        next=row["next"],
        end=end,
        behind=None if end is None else max(0, end - row["next"]),
    )


def _record(row: Mapping[str, Any]) -> ParkedRecord:
    try:
        headers = read_headers(_headers(row))
    except Undecodable:
        headers = None
    return ParkedRecord(
        topic=row["topic"],
        partition=row["partition"],
        offset=row["log_offset"],
        type=headers and headers.wire_type[:80],
        event_id=headers and str(headers.event_id),
        said_at=headers and headers.time,
        bytes=row["bytes"],
        error=row["error"],
        parked_at=row["parked_at"],
    )


def _event(row: Mapping[str, Any]) -> Event | None:
    try:
        return decode(read_headers(_headers(row)), row["value"] or b"")
    except Undecodable:
        return None


def _headers(row: Mapping[str, Any]) -> list[tuple[str, bytes | None]]:
    return list(zip(row["header_names"], row["header_values"], strict=True))


def _cursor(row: Mapping[str, Any]) -> str:
    place = f"{row['held_at'].isoformat()}|{row['subject']}"
    return base64.urlsafe_b64encode(place.encode()).decode().rstrip("=")


def _read_cursor(cursor: str | None) -> tuple[datetime, str]:
    if cursor is None:
        return datetime.min.replace(tzinfo=UTC), ""
    try:
        place = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode("ascii")
        at, _, subject = place.partition("|")
        return datetime.fromisoformat(at).astimezone(UTC), subject
    except (binascii.Error, ValueError):
        raise Problem("TDK-INVALID", where=[("cursor", "")]) from None
