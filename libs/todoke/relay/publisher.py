"""How a service says: the relay from the outbox to Kafka.

One loop per service leads, under a lease row; the others only wake it. Rows leave the outbox after Kafka has
acknowledged them, in the order they were said. An unknown outcome means: new producer, again from the oldest row. So
the log may hold a record twice, but first occurrences are in order and nothing is skipped. There is deliberately no
"last sequence number sent": numbers become visible out of order.
"""

import asyncio
import contextlib
import dataclasses
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Protocol
from uuid import UUID

from structlog.typing import FilteringBoundLogger

from todoke.events import Record
from todoke.relay.clock import Ports
from todoke.relay.faults import Transient
from todoke.relay.limits import OUTBOX_ROWS_MAX, RELAY_IDLE_SECONDS_MAX
from todoke.relay.metrics import Metrics
from todoke.relay.postgres import Database, DatabaseAway, Statements, queries

LEASE_SECONDS = 4.0
"""How long another process waits before it leads in the place of one that says nothing."""

LEASE_RENEWED_AFTER_SECONDS = 1.0
"""The leader says again so often that it lives."""

PACE_SECONDS = 0.01
"""Rounds begin so far apart: the first after a quiet time at once, a stream of events in batches."""

NOTIFY_PAUSE_SECONDS = 0.002
"""Commits within this time share one wake-up of a leader in another process."""


class OutcomeUnknown(Transient):
    """Kafka did not say whether it holds the round: it must be sent again."""


@dataclasses.dataclass(frozen=True, slots=True)
class Outgoing:
    """One outbox row: its sequence number and the record it stands for."""

    seq: int
    record: Record


@dataclasses.dataclass(frozen=True, slots=True)
class Reached:
    """Where the acknowledged rows of a partition stand in the log: from `begins` up to and without `next`.

    `event_id` and `append_time` (ms) are those of the last one.
    """

    partition: int
    begins: int
    next: int
    event_id: str
    append_time: int


@dataclasses.dataclass(frozen=True, slots=True)
class Sent:
    """What became of a round: acknowledged rows, and rows the broker will never take, with its reason.

    `reached` says for each partition how far the log goes now, as far as the broker told it.
    """

    acknowledged: Sequence[int]
    refused: Sequence[int] = ()
    error: str = ""
    reached: Sequence[Reached] = ()


def further(reached: Sequence[Reached], place: Reached) -> list[Reached]:
    """The places reached, one for each partition, once this one is reached too."""
    before = next((each for each in reached if each.partition == place.partition), None)
    if before is not None:
        place = dataclasses.replace(place, begins=min(before.begins, place.begins))
    return [*(each for each in reached if each.partition != place.partition), place]


class Sender(Protocol):
    """The way to Kafka."""

    async def send(self, rows: Sequence[Outgoing]) -> Sent:
        """Send a prefix of the rows, one batch per partition, and wait for every acknowledgement.

        Raises `OutcomeUnknown`; the sender is then as new.
        """
        ...

    async def close(self) -> None:
        """Give up connections within a second, whatever state they are in."""
        ...


class Publisher:
    """The relay of one service in one process."""

    def __init__(
        self,
        service: str,
        owner: str,
        database: Database,
        sender: Sender,
        ports: Ports,
        metrics: Metrics,
        log: FilteringBoundLogger,
    ) -> None:
        self._service = service
        self._owner = owner
        self._database = database
        self._sender = sender
        self._ports = ports
        self._log = log
        self._sql: Statements = queries("todoke.relay", "journal.sql")
        self._woken = asyncio.Event()
        self._leads = False
        self._renewed = 0.0
        self._notifying: asyncio.Task[None] | None = None
        self._metrics = metrics
        self._published = metrics.published.labels(service)
        self.channel = f"todoke_{service}_said"

    @property
    def leads(self) -> bool:
        """Whether this process relays for the service now."""
        return self._leads

    def wake(self) -> None:
        """Something was said: called after each commit that wrote to the outbox."""
        if self._leads:
            self._woken.set()
        elif self._notifying is None or self._notifying.done():
            self._notifying = asyncio.get_running_loop().create_task(self._notify())

    def _told(self, _: str) -> None:
        """Another process has written to the outbox. Whoever follows only looks whether the leader still lives."""
        if self._leads:
            self._woken.set()

    async def run(self) -> None:
        """Relay until cancelled."""
        listener = asyncio.create_task(self._database.hear(self.channel, self._told), name=f"{self._service}-listen")
        try:
            await self._rounds()
        finally:
            listener.cancel()
            await asyncio.gather(listener, return_exceptions=True)
            await self._sender.close()
            await self._resign()

    async def _rounds(self) -> None:
        clock = self._ports.clock
        while True:
            self._woken.clear()
            began = clock.monotonic()
            try:
                more = await self._lead() and await self.round()
            except Transient as trouble:
                self._metrics.unknown.labels(self._service).inc()
                self._log.warning("relay_waits", reason=type(trouble).__name__, cause=str(trouble))
                await clock.sleep(0.2)
                continue
            if not more:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(RELAY_IDLE_SECONDS_MAX):
                        await self._woken.wait()
            await clock.sleep(max(0.0, began + PACE_SECONDS - clock.monotonic()))

    async def round(self) -> bool:
        """Send the oldest rows and forget what Kafka holds. Answers whether more of them are known to wait."""
        async with self._database.connection() as db:
            oldest = await self._sql.oldest_unsaid(db, rows_max=OUTBOX_ROWS_MAX)
        rows = [_outgoing(row, self._service) for row in oldest]
        if not rows:
            return False
        self._ports.crash.reach(f"{self._service}.relay.before-send")
        sent = await self._sender.send(rows)
        self._ports.crash.reach(f"{self._service}.relay.before-forget")
        async with self._database.connection() as db:
            if sent.acknowledged:
                await self._sql.acknowledged(
                    db,
                    seqs=list(sent.acknowledged),
                    partitions=[place.partition for place in sent.reached],
                    begins=[place.begins for place in sent.reached],
                    nexts=[place.next for place in sent.reached],
                    event_ids=[place.event_id for place in sent.reached],
                    append_times=[place.append_time for place in sent.reached],
                )
            if sent.refused:
                self._log.critical("broker_refuses", rows=len(sent.refused), error=sent.error)
                self._metrics.refused_out.labels(self._service).inc(len(sent.refused))
                now = self._ports.clock.now()
                await self._sql.refused(db, seqs=list(sent.refused), error=sent.error, refused_at=now)
        self._published.inc(len(sent.acknowledged))
        return len(rows) == OUTBOX_ROWS_MAX or len(rows) > len(sent.acknowledged) + len(sent.refused)

    async def _lead(self) -> bool:
        now = self._ports.clock.monotonic()
        if self._leads and now - self._renewed < LEASE_RENEWED_AFTER_SECONDS:
            return True
        async with self._database.connection() as db:
            owner = await self._sql.take_lease(db, name="relay", owner=self._owner, seconds=LEASE_SECONDS)
        if (owner is not None) is not self._leads:
            self._log.info("relay_leads" if owner else "relay_follows")
        self._leads = owner is not None
        self._renewed = now
        return self._leads

    async def _resign(self) -> None:
        if self._leads:
            self._leads = False
            with contextlib.suppress(DatabaseAway):
                async with self._database.connection() as db:
                    await self._sql.drop_lease(db, name="relay", owner=self._owner)

    async def _notify(self) -> None:
        await self._ports.clock.sleep(NOTIFY_PAUSE_SECONDS)
        with contextlib.suppress(DatabaseAway):  # the leader looks by itself within half a second
            async with self._database.connection() as db:
                await self._sql.notify(db, channel=self.channel)


def _outgoing(row: Any, service: str) -> Outgoing:
    recorded: datetime = row["recorded_at"]
    return Outgoing(
        seq=row["seq"],
        record=Record(
            event_id=_uuid(row["event_id"]),
            type_name=row["type"],
            version=row["version"],
            source=service,
            subject=row["subject"],
            subject_id=_uuid(row["subject_id"]),
            key=row["key"],
            time=recorded.astimezone(UTC),
            traceparent=row["traceparent"],
            body=row["payload"].encode(),
        ),
    )


def _uuid(value: Any) -> UUID:
    return value if type(value) is UUID else UUID(int=value.int)
