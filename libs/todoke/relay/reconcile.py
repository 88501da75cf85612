"""Whether a service's journal and its own topic still hold the same, and what is done when they do not.

Before a service relays, hears or serves it takes back from its topic what its journal lacks (the database was
restored to an older copy), and publishes again what the topic lacks (it was emptied, cut or made anew). An ordinary
start reads one record per partition and whatever stands behind the marks of `own_log`; only where these do not fit the
topic is everything compared. All of it may run beside another process's relay, and may end anywhere: the next run goes
on.

The order of looks makes that so. A record in the topic was committed to the journal before, so one that the journal
lacks was forgotten. A row of the journal that was in no outbox *before* the topic's end was asked for stands before
that end, so one that is not found there is gone.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from structlog.typing import FilteringBoundLogger

from todoke.events import MessageDiscarded, MessageHeld, MessageReleased, topic_of
from todoke.relay.clock import Ports
from todoke.relay.faults import Transient
from todoke.relay.kafka import read_topic
from todoke.relay.metrics import Metrics
from todoke.relay.ownlog import Line, Mark, Numbers, is_witness, line_of, mismatch
from todoke.relay.postgres import Database, DatabaseAway, Statements, Tx, queries
from todoke.relay.reports import Run, Trigger, write_report
from todoke.relay.restore import Inspect, Inspection, Look, Restore, Said, Unhealed

LEASE = "reconcile"
LEASE_SECONDS = 10.0
"""How long others wait for one that compares and says nothing more."""

LEASE_RENEWED_SECONDS = 2.0

LOOK_AGAIN_SECONDS = 5.0
"""After an engine was away while objects were looked at."""

WATCH_SECONDS = 2.0
"""How often wishes and suspicion are looked for."""

PAGE_ROWS = 2000
"""Rows of the journal that one statement reads or hands to the outbox."""

_sql: Statements = queries("todoke.relay", "reconcile.sql")
_journal: Statements = queries("todoke.relay", "journal.sql")
_consumer: Statements = queries("todoke.relay", "consumer.sql")

NO_EVENT = UUID(int=0)


class Mismatch(Exception):  # noqa: N818 (named for what was found)
    """The topic is not the one that the marks are about."""


class Reconciler:
    """One per service and process; only one of them compares at a time, under a lease row."""

    def __init__(
        self,
        service: str,
        owner: str,
        database: Database,
        ports: Ports,
        metrics: Metrics,
        log: FilteringBoundLogger,
        *,
        kafka: str,
        restore: Restore | None = None,
        inspect: Inspect | None = None,
    ) -> None:
        self._service = service
        self._owner = owner
        self._database = database
        self._ports = ports
        self._log = log
        self._kafka = kafka
        self._restore = restore
        self._inspect = inspect
        self._running = metrics.reconciling.labels(service)
        self._taken_back = metrics.taken_back.labels(service)
        self._published_again = metrics.published_again.labels(service)
        self._unhealed = metrics.unhealed.labels(service)
        self._look: Look | None = None

    # --- when --------------------------------------------------------------------------------------------------

    async def at_start(self) -> None:
        """Compare before anything else runs; waits for engines, and for another process that is at it already.

        What another one has compared since we began need not be compared again.
        """
        began: datetime | None = None
        while True:
            try:
                began = began or await self._now()
                async with self._alone():
                    if not await self._compared_since(began):
                        run = await self._journal_and_topic("start")
                        self._look = Look("since", run.since) if run.since else Look("newest")
            except Transient as trouble:
                self._log.warning("reconcile_waits", reason=type(trouble).__name__)
                await self._ports.clock.sleep(1)
            else:
                return

    async def look_after_start(self) -> None:
        """Look at objects once if it was this process that compared, beside the running service: it takes a while."""
        while self._look is not None:
            try:
                await self._objects("start", self._look)
                self._look = None
            except Transient as trouble:
                self._log.warning("reconcile_waits", reason=type(trouble).__name__)
                await self._ports.clock.sleep(LOOK_AGAIN_SECONDS)

    async def watch(self) -> None:
        """Wait for an operator's wish or for suspicion, until cancelled."""
        while True:
            await self.settle()
            await self._ports.clock.sleep(WATCH_SECONDS)

    async def settle(self) -> bool:
        """Carry out a wish, or clear a suspicion. Answers whether there was anything. Raises `Transient`."""
        if not await self._is_wanted():
            return False
        async with self._alone():
            async with self._database.connection() as db:
                cause = await _sql.cause(db)
            if cause["wished_at"] is not None:
                await self._journal_and_topic("demand")
                async with self._database.connection() as db:
                    await _sql.fulfil(db, asked_at=cause["wished_at"])
            elif cause["suspect"]:
                await self._journal_and_topic("suspect")
        if cause["wished_at"] is not None:  # not under the lease: a large bucket takes minutes, and others may start
            await self._objects("demand", Look("all"))
        return True

    async def _is_wanted(self) -> bool:
        async with self._database.connection() as db:
            cause = await _sql.cause(db)
        return cause["wished_at"] is not None or bool(cause["suspect"])

    async def _now(self) -> datetime:
        async with self._database.connection() as db:
            now: datetime = await _sql.now(db)
        return now

    async def _compared_since(self, moment: datetime) -> bool:
        async with self._database.connection() as db:
            return bool(await _sql.compared_since(db, moment=moment))

    @contextlib.asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        """Hold the lease inside the block; wait for it first. Raises `DatabaseAway`."""
        while not await self._take_lease():
            await self._ports.clock.sleep(0.2)
        renewing = asyncio.create_task(self._renew(), name=f"{self._service}-reconcile-lease")
        try:
            yield
        finally:
            renewing.cancel()
            await asyncio.gather(renewing, return_exceptions=True)
            with contextlib.suppress(DatabaseAway):
                async with self._database.connection() as db:
                    await _journal.drop_lease(db, name=LEASE, owner=self._owner)

    async def _take_lease(self) -> bool:
        async with self._database.connection() as db:
            return (await _journal.take_lease(db, name=LEASE, owner=self._owner, seconds=LEASE_SECONDS)) is not None

    async def _renew(self) -> None:
        while True:
            await self._ports.clock.sleep(LEASE_RENEWED_SECONDS)
            with contextlib.suppress(DatabaseAway):  # then the comparison fails too, and begins again
                await self._take_lease()

    # --- journal and topic -------------------------------------------------------------------------------------

    async def _journal_and_topic(self, trigger: Trigger) -> Run:
        """Compare, mend, report. A start looks at what is behind the marks; all else looks at everything."""
        run = Run(trigger, await self._now())
        self._log.info("reconcile_begins", trigger=trigger)
        self._running.set(1)
        try:
            try:
                await self._tail(run, read_it=trigger == "start")
            except Mismatch as found:
                run.mismatch = str(found)
                self._log.error("log_and_journal_differ", why=run.mismatch)
            if run.mismatch is not None or trigger != "start":
                run.compared = "topic"
                await self._whole(run)
            await self._report(run)
        finally:
            self._running.set(0)
        return run

    async def _tail(self, run: Run, *, read_it: bool) -> None:
        """Look whether the topic is the one that the marks are about; take back what stands behind them.

        Raises `Mismatch`.
        """
        async with await read_topic(self._kafka, topic_of(self._service)) as reader:
            marks = await self._marks(reader.bounds)
            why = mismatch(marks, reader.bounds)
            if why is not None:
                raise Mismatch(why)
            if not read_it:
                return
            begin = {partition: _begin(mark) for partition, mark in marks.items() if partition in reader.bounds}
            async for raws in reader.batches(begin):
                mark = marks[raws[0].partition]
                if is_witness(mark, raws[0]) is False:
                    raise Mismatch("another record stands there")
                run.looked_at += len(raws)
                fresh = [raw for raw in raws if raw.offset >= mark.next]
                if fresh:
                    marks[fresh[0].partition] = await self._beyond(run, mark, fresh)

    async def _beyond(self, run: Run, mark: Mark, raws: Sequence[Any]) -> Mark:
        """Take back what of these records the journal lacks, and move the mark behind them."""
        await self._compare(run, raws)
        moved = _mark_at(raws[-1], mark.first)
        async with self._database.connection() as db:
            await _sql.move_mark(
                db,
                partition=raws[0].partition,
                next=moved.next,
                event_id=moved.event_id,
                append_time=moved.append_time,
                expected=mark.next,
            )
        self._ports.crash.reach(f"{self._service}.reconcile.after-mark")
        return moved

    async def _marks(self, partitions: Mapping[int, Any]) -> dict[int, Mark]:
        """The marks, one for each of these partitions at least: the relay moves only what is there."""
        async with self._database.connection() as db:
            for partition in partitions:
                await _sql.known_partition(db, partition=partition)
            rows = await _sql.marks(db)
        return {
            row["partition"]: Mark(row["first"], row["next"], row["event_id"], row["append_time"], row["suspect"])
            for row in rows
        }

    async def _whole(self, run: Run) -> None:
        """Compare every record and every row; publish again what the topic lacks."""
        async with self._database.connection() as db:
            last = int(await _sql.last_seq(db))
            there = Numbers(row["seq"] for row in await _sql.not_in_topic(db))
        marks = await self._marks({})
        ends: dict[int, Mark] = {}
        async with await read_topic(self._kafka, topic_of(self._service)) as reader:
            bounds = reader.bounds
            async for raws in reader.batches():
                run.looked_at += len(raws)
                there.add(await self._compare(run, raws))
                ends[raws[0].partition] = _mark_at(raws[-1], bounds[raws[0].partition][0])
        self._ports.crash.reach(f"{self._service}.reconcile.after-reading")
        await self._publish_again(run, there, last)
        for partition in sorted(marks.keys() | bounds.keys()):
            first, end = bounds.get(partition, (0, 0))
            await self._renew_mark(partition, marks.get(partition, Mark()), ends.get(partition, Mark(first, end)))

    async def _renew_mark(self, partition: int, before: Mark, now: Mark) -> None:
        async with self._database.connection() as db:
            await _sql.renew_mark(
                db,
                partition=partition,
                first=now.first,
                next=now.next,
                event_id=now.event_id,
                append_time=now.append_time,
                expected=before.next,
            )

    async def _compare(self, run: Run, raws: Sequence[Any]) -> list[int]:
        """Take back what of these records the journal lacks; answers the numbers of those that it holds."""
        lines: dict[UUID, Line] = {}
        for raw in raws:
            line = line_of(raw)
            if line is None:
                run.unhealed.append(_unreadable(raw))
            else:
                lines.setdefault(line.headers.event_id, line)
        async with self._database.connection() as db:
            rows = await _sql.journalled(
                db, subject_ids=[line.subject_id for line in lines.values()], event_ids=list(lines)
            )
        known = {_uuid(row["event_id"]) for row in rows}
        lost = [line for event_id, line in lines.items() if event_id not in known]
        run.unhealed += [_unreadable(line.raw) for line in lost if not line.has_body()]
        lost = [line for line in lost if line.has_body()]
        if lost:
            await self._take_back(run, lost)
        return [row["seq"] for row in rows]

    # --- taking back -------------------------------------------------------------------------------------------

    async def _take_back(self, run: Run, lost: Sequence[Line]) -> None:
        """Journal these events again and set up again what they stand for, in one transaction."""
        async with self._database.worker() as tx:
            back: set[UUID] = set()
            for about_message in (True, False):
                lines = [line for line in lost if line.about_message is about_message]
                back |= await _journal_again(tx, lines) if lines else set()
            lines = [line for line in lost if line.headers.event_id in back]
            said = [(line, line.event()) for line in lines]
            unknown = [Unhealed("unknown event", line.headers.subject) for line, event in said if event is None]
            known = [Said(event, line.headers.time) for line, event in said if event is not None]
            await _hold_again(tx, known)
            unhealed = list(await self._restore(known, tx)) if self._restore is not None and known else []
        run.taken_back += len(lines)
        run.unhealed += [*unknown, *unhealed]
        times = [line.headers.time for line in lines]
        run.since = min([*times, run.since] if run.since else times, default=None)
        self._taken_back.inc(len(lines))
        self._ports.crash.reach(f"{self._service}.reconcile.after-taking-back")

    # --- publishing again --------------------------------------------------------------------------------------

    async def _publish_again(self, run: Run, there: Numbers, last: int) -> None:
        """Put into the outbox, in the order it was said, what the journal held up to `last` and nothing else holds."""
        async with self._database.connection() as db:
            await _sql.forget_missing(db)
            for page, about_office in ((_sql.journal_page, False), (_sql.journal_office_page, True)):
                await self._collect(db, page, there, last, about_office=about_office)
        self._ports.crash.reach(f"{self._service}.reconcile.after-collecting")
        while True:
            async with self._database.connection() as db:
                handed = int(await _sql.publish_missing(db, rows_max=PAGE_ROWS))
            if not handed:
                break
            run.published_again += handed
            self._published_again.inc(handed)
            self._database.said()
            self._ports.crash.reach(f"{self._service}.reconcile.after-publishing")

    @staticmethod
    async def _collect(
        db: Any, page: Callable[..., Awaitable[Any]], there: Numbers, last: int, *, about_office: bool
    ) -> None:
        subject_id, event_id = NO_EVENT, NO_EVENT
        while rows := await page(db, subject_id=subject_id, event_id=event_id, rows_max=PAGE_ROWS):
            missing = [row for row in rows if row["seq"] <= last and row["seq"] not in there]
            if missing:
                await _sql.collect_missing(
                    db,
                    about_office=about_office,
                    seqs=[row["seq"] for row in missing],
                    subject_ids=[row["subject_id"] for row in missing],
                    event_ids=[row["event_id"] for row in missing],
                )
            subject_id, event_id = rows[-1]["subject_id"], rows[-1]["event_id"]

    # --- objects -----------------------------------------------------------------------------------------------

    async def _objects(self, trigger: Trigger, look: Look) -> None:
        """Compare rows and objects, where this service has any."""
        if self._inspect is None:
            return
        run = Run(trigger, await self._now(), compared="objects")
        found: Inspection | None = await self._inspect(look)
        if found is None:
            return
        run.looked_at, run.orphans = found.looked_at, found.orphans
        run.unhealed += found.unhealed
        await self._report(run)

    # --- telling -----------------------------------------------------------------------------------------------

    async def _report(self, run: Run) -> None:
        number = await write_report(self._database, run)
        left = len(set(run.unhealed))
        self._unhealed.set(left)
        told = self._log.error if left else self._log.info
        told(
            "reconcile_ends",
            trigger=run.trigger,
            compared=run.compared,
            looked_at=run.looked_at,
            taken_back=run.taken_back,
            published_again=run.published_again,
            orphans=run.orphans,
            unhealed=left,
            report=number,
        )


async def _journal_again(tx: Tx, lines: Sequence[Line]) -> set[UUID]:
    """Put records of one kind of subject back into the journal; answers those that were not there."""
    values: dict[str, Any] = {
        "subject_ids": [line.subject_id for line in lines],
        "event_ids": [line.headers.event_id for line in lines],
        "keys": [(line.raw.key or b"").decode() for line in lines],
        "types": [line.type_name() for line in lines],
        "versions": [line.headers.version for line in lines],
        "payloads": [(line.raw.value or b"").decode() for line in lines],
        "traceparents": [line.headers.traceparent for line in lines],
        "times": [line.headers.time for line in lines],
    }
    if lines[0].about_message:
        rows = await _sql.take_back_messages(tx.db, **values)
    else:
        rows = await _sql.take_back_offices(tx.db, subjects=[line.headers.subject for line in lines], **values)
    return {_uuid(row["event_id"]) for row in rows}


async def _hold_again(tx: Tx, said: Sequence[Said]) -> None:
    """Holds of this service as its own events tell them, in whatever order: their records come when heard again."""
    for one in said:
        event = one.event
        if isinstance(event, MessageHeld) and event.cause == "parked":
            await _sql.hold_again(tx.db, subject=event.subject(), nth=event.nth, held_at=event.held_at)
        elif isinstance(event, MessageReleased | MessageDiscarded):
            state, nth = ("released", event.nth) if isinstance(event, MessageReleased) else ("discarded", 1)
            await _sql.end_hold_again(tx.db, subject=event.subject(), state=state, nth=nth, held_at=one.recorded_at)
            if state == "discarded":
                await _consumer.give_up(tx.db, subject=event.subject(), given_up_at=one.recorded_at)
            await _consumer.unpark(tx.db, subject=event.subject())


def _unreadable(raw: Any) -> Unhealed:
    return Unhealed("unreadable", f"{raw.partition}/{raw.offset}")


def _begin(mark: Mark) -> int:
    """Where to begin reading: at the last acknowledged record, which is the witness, if there is one."""
    return mark.next if mark.event_id is None else max(mark.next - 1, mark.first)


def _mark_at(raw: Any, first: int) -> Mark:
    """The mark behind a record."""
    found = next((value for name, value in raw.headers if name == "ce_id" and value is not None), b"")
    return Mark(first, raw.offset + 1, found.decode("ascii", "replace"), raw.timestamp)


def _uuid(value: Any) -> UUID:
    return value if type(value) is UUID else UUID(int=value.int)
