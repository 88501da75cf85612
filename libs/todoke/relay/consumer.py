"""How a service hears: batches in order, effect and offset in one transaction, failing messages parked.

The discipline is free of any library: a driver (`todoke.relay.kafka`) hands it records and a `Log` to steer. Offsets
live in PostgreSQL; Kafka's group offset is only a mirror. Nothing here ever raises into the driver.
"""

import asyncio
import collections
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from structlog.typing import FilteringBoundLogger

from todoke.events import Event, Undecodable, decode, read_headers, service_of, subject_of, topic_of
from todoke.relay.clock import Ports
from todoke.relay.faults import NotYet, Poison, SetAside, Transient
from todoke.relay.handler import Batch, Handler, Heard
from todoke.relay.lagging import Lagging
from todoke.relay.limits import (
    BATCH_SECONDS_MAX,
    PARKS_IN_A_ROW_MAX,
    PARKS_IN_TEN_MINUTES_MAX,
)
from todoke.relay.metrics import ConsumerMetrics
from todoke.relay.parking import Cause, Decisions, Parking, Raw, decisions_of
from todoke.relay.postgres import Database, DatabaseAway, Statements, TooSlow, Tx, queries
from todoke.relay.steering import Log, Place

if TYPE_CHECKING:
    from uuid import UUID

ATTEMPTS_MAX = 3
"""So often a single record is tried before its subject is parked."""

BACKOFF_SECONDS_FIRST = 0.05
BACKOFF_SECONDS_MAX = 10.0
"""Pause of a partition after trouble that passes: doubling, with jitter."""

CAREFUL_RECORDS = 50
"""After an unclean exit so many records are handled one by one before batches are trusted again."""

TEN_MINUTES = 600.0

MIRROR_SECONDS = 1.0
"""Offsets are mirrored to Kafka's group so often."""

PASSED_SECONDS = 1.0
"""Offsets behind records that nobody here wants are written so often: hearing them again would change nothing."""

PACE_SECONDS = 0.02
"""Polls that bring something begin so far apart: the first after a quiet time at once, a stream of them in batches."""


@dataclasses.dataclass(slots=True)
class _Item:
    """A record of a batch: raw, and either decoded (`heard`), not wanted (both None) or undecodable (`broken`)."""

    raw: Raw
    subject: str
    heard: Heard[Any] | None = None
    broken: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class _Identity:
    """What proves that the log is still the one an offset was about: the last applied record."""

    event_id: str | None
    append_time: int | None


class Moved(Exception):  # noqa: N818 (named for what happened)
    """Another instance has moved these partitions on: what is in hand is not ours any more."""

    def __init__(self, places: Iterable[Place]) -> None:
        super().__init__("moved")
        self.places = frozenset(places)


class Discipline:
    """One per service and process. See the module's docstring."""

    def __init__(
        self,
        service: str,
        handlers: Sequence[Handler],
        database: Database,
        ports: Ports,
        metrics: ConsumerMetrics,
        log: FilteringBoundLogger,
        *,
        says_holds: bool,
        careful: bool = False,
        pace_seconds: float = PACE_SECONDS,
    ) -> None:
        self.service = service
        self.pace_seconds = pace_seconds
        self._next_poll_at = 0.0
        self.topics, self._handler_of = _by_topic(handlers)
        self._wanted = {event.wire_type() for handler in handlers for event in handler.hears}
        self._database = database
        self._ports = ports
        self._metrics = metrics
        self._log = log
        self._sql: Statements = queries("todoke.relay", "consumer.sql")
        self.parking = Parking(service, handlers, database, ports, log, says_holds=says_holds)
        self.steer: Log | None = None
        self.expected: dict[Place, int] = {}
        self._stored: dict[Place, int] = {}
        self._passed: dict[Place, Raw] = {}
        self._passed_at = 0.0
        self._check_first: dict[Place, tuple[int, _Identity]] = {}
        self._tries: collections.Counter[Place] = collections.Counter()
        self._batch = asyncio.Lock()
        self._decisions = Decisions()
        self._unmirrored: dict[Place, int] = {}
        self._mirrored_at = 0.0
        self._careful_left = CAREFUL_RECORDS if careful else 0
        self._suspects: dict[tuple[Place, int], int] = {}
        self._parks_in_a_row = 0
        self._parks_at: collections.deque[float] = collections.deque()
        self.breaker_open = False
        self.began = False
        """Whether partitions were ever assigned to this process (or it heard that there are none for it)."""
        self.last_progress = ports.clock.monotonic()
        self.lagging = Lagging(ports.clock)

    @property
    def waiting(self) -> bool:
        """Whether some partition waits for an engine or a neighbour to come back."""
        return bool(self._tries)

    # --- what the driver calls ---------------------------------------------------------------------------------

    async def assigned(self, places: Sequence[Place]) -> None:
        """Begin with partitions: take the offset from PostgreSQL, check it against the log, seek. Retries for ever."""
        wait = BACKOFF_SECONDS_FIRST
        while True:
            try:
                await self._begin(places)
            except Transient as trouble:
                self._log.warning("assignment_waits", reason=type(trouble).__name__)
            except Exception as trouble:  # noqa: BLE001 (aiokafka would swallow it and go on without offsets)
                self._log.error("assignment_fails", reason=type(trouble).__name__)
            else:
                self.began = True
                return
            await self._ports.clock.sleep(wait)
            wait = min(wait * 2, BACKOFF_SECONDS_MAX)

    async def revoked(self) -> None:
        """Let the batch in hand commit, then forget every partition."""
        async with self._batch:
            await self._store_passed()
            await self._mirror(self._unmirrored)
            self.expected.clear()
            self._stored.clear()
            self._passed.clear()
            self._check_first.clear()
            self._tries.clear()
            self.lagging.forget()

    async def poll(self, records: Mapping[Place, Sequence[Raw]]) -> None:
        """Handle what one poll brought. Never raises but for cancellation."""
        clock = self._ports.clock
        if (early := self._next_poll_at - clock.monotonic()) > 0:
            await clock.sleep(early)
        self._next_poll_at = clock.monotonic() + self.pace_seconds
        async with self._batch:
            before = {place: self.expected.get(place) for place in records}
            if self.breaker_open:
                self._pause_all(records)
                return
            try:
                await self._handle(records)
            except Exception as mistake:  # noqa: BLE001 (the driver would go on behind records that were not handled)
                self._log.critical("poll_fails", error=_shape(mistake))
                for place in records:
                    self._back_off(place)
            moved = {p: self.expected[p] for p in records if p in self.expected and self.expected[p] != before[p]}
            if moved:
                self.last_progress = self._ports.clock.monotonic()
                for place, at in moved.items():
                    if before_it := [raw.timestamp for raw in records[place] if raw.offset < at]:
                        self.lagging.heard(place, before_it[-1])
                self._unmirrored |= moved
                await self._store_passed_if_due()
                await self._mirror_if_due()

    async def _handle(self, records: Mapping[Place, Sequence[Raw]]) -> None:
        by_handler: dict[int, tuple[Handler, dict[Place, list[Raw]]]] = {}
        for place, raws in records.items():
            fresh = await self._ours(place, raws)
            if fresh:
                handler = self._handler_of[place.topic]
                by_handler.setdefault(id(handler), (handler, {}))[1][place] = fresh
        for handler, slices in by_handler.values():
            if not self.breaker_open:
                await self._settle(handler, slices)

    # --- assignment --------------------------------------------------------------------------------------------

    async def _begin(self, places: Sequence[Place]) -> None:
        bounds = await self._steering.bounds(places)
        async with self._database.worker() as tx:
            self.breaker_open = bool(await self._sql.breaker(tx.db))
            rows = {
                place: await self._sql.begin_partition(tx.db, topic=place.topic, partition=place.partition)
                for place in places
            }
        for place, row in rows.items():
            first, end = bounds[place]
            if row["next"] > end:
                await self._start_over(place, row["next"], first, why="offset beyond the log")
            elif row["next"] < first:
                if row["next"] > 0 or first > 0:
                    self._log.error("log_begins_later", topic=place.topic, partition=place.partition, first=first)
                await self._start_over(place, row["next"], first, why="offset before the log")
            elif row["next"] > first and row["event_id"] is not None:
                self._check_first[place] = (row["next"] - 1, _Identity(row["event_id"], row["append_time"]))
                self._stand_at(place, row["next"])
                self._steering.seek(place, row["next"] - 1)
            else:
                self._stand_at(place, row["next"])
                self._steering.seek(place, row["next"])
        await self._mirror({place: self.expected[place] for place in places if place in self.expected})

    async def _start_over(self, place: Place, expected: int, first: int, *, why: str) -> None:
        self._log.error("log_mismatch", topic=place.topic, partition=place.partition, why=why, starts_at=first)
        self._metrics.mismatches.inc()
        async with self._database.worker() as tx:
            await self._sql.start_over(
                tx.db, topic=place.topic, partition=place.partition, expected=expected, next=first
            )
        self._check_first.pop(place, None)
        self._stand_at(place, first)
        self._steering.seek(place, first)

    def _stand_at(self, place: Place, offset: int) -> None:
        """Memory and PostgreSQL agree on where this partition stands."""
        self.expected[place] = self._stored[place] = offset
        self._passed.pop(place, None)

    async def _ours(self, place: Place, raws: Sequence[Raw]) -> list[Raw]:
        """What of a slice is to be handled now: of our partitions, from the expected offset on, of the right log."""
        if place not in self.expected:
            self._metrics.refused.inc(len(raws))
            return []
        check = self._check_first.get(place)
        if check is not None and raws and raws[0].offset <= check[0]:
            at, identity = check
            witness = next((raw for raw in raws if raw.offset == at), None)
            if witness is None:
                return []
            if _identity(witness) != identity:
                try:
                    first, _ = (await self._steering.bounds([place]))[place]
                    await self._start_over(place, self._stored[place], first, why="another record stands there")
                except Transient:
                    self._back_off(place)
                return []
        elif check is not None and raws:
            self._steering.seek(place, check[0])
            return []
        self._check_first.pop(place, None)
        if check is None and raws and raws[0].offset < self.expected[place]:
            await self._look_again(place)
            return []
        fresh = [raw for raw in raws if raw.offset >= self.expected[place]]
        if fresh and fresh[0].offset > self.expected[place]:  # our topics have no gaps: no transactions, no compaction
            self._steering.seek(place, self.expected[place])
            return []
        return fresh

    async def _look_again(self, place: Place) -> None:
        """We were handed old records unasked: the client began anew because our offset is not in the log any more.

        Passing them over as repeated would lose what is written up to the old offset in a log that was cut off.
        """
        try:
            await self._begin([place])
        except Transient:
            self._back_off(place)

    # --- one batch ---------------------------------------------------------------------------------------------

    async def _settle(self, handler: Handler, slices: dict[Place, list[Raw]]) -> None:
        items = {place: [self._read(raw) for raw in raws] for place, raws in slices.items()}
        for place in [place for place, line in items.items() if not any(item.heard or item.broken for item in line)]:
            del items[place]
            self._pass_over(place, slices.pop(place)[-1])
        if not items:
            return
        if self._careful_left > 0:
            await self._one_by_one(handler, items)
        else:
            await self._together(handler, items)

    async def _together(self, handler: Handler, items: Mapping[Place, Sequence[_Item]]) -> None:
        """Handle a batch in one transaction; find the record by which it fails, or the size at which it is quick."""
        slices = {place: [item.raw for item in line] for place, line in items.items()}
        try:
            await self._apply(handler, items)
        except Moved as lost:
            await self._lost(lost, slices)
        except TooSlow as trouble:
            await self._in_halves(handler, items, trouble)
        except Transient as trouble:
            self._wait_and_retry(slices, trouble)
        except asyncio.CancelledError:
            raise
        except Exception as trouble:  # noqa: BLE001 (whatever a handler raises: find the record)
            self._log.warning("batch_fails", reason=type(trouble).__name__, records=sum(map(len, items.values())))
            await self._one_by_one(handler, items)
        else:
            if any(item.heard for line in items.values() for item in line):
                self._parks_in_a_row = 0
            self._succeeded(slices)

    async def _in_halves(self, handler: Handler, items: Mapping[Place, Sequence[_Item]], trouble: TooSlow) -> None:
        """Too much for one transaction: the same again would never end. One alone is tried and then parked."""
        line = [(place, item) for place, items_of_place in items.items() for item in items_of_place]
        self._log.warning("batch_too_slow", reason=str(trouble), records=len(line))
        self._metrics.retried(type(trouble).__name__)
        if len(line) == 1:
            await self._one_by_one(handler, items)
            return
        for half in (line[: len(line) // 2], line[len(line) // 2 :]):
            part: dict[Place, list[_Item]] = {}
            for place, item in half:
                part.setdefault(place, []).append(item)
            due = {place: some for place, some in part.items() if self.expected.get(place) == some[0].raw.offset}
            if due and not self.breaker_open:
                await self._together(handler, due)

    async def _one_by_one(self, handler: Handler, items: Mapping[Place, Sequence[_Item]]) -> None:
        for place, line in items.items():
            for item in line:
                if self.breaker_open or place not in self.expected or not await self._alone(handler, place, item):
                    break

    async def _alone(self, handler: Handler, place: Place, item: _Item) -> bool:
        """Handle one record; park its subject when it fails for good. Answers whether the partition goes on."""
        careful, error, slow = self._careful_left > 0, "kills the process", False
        try:
            attempt = await self._suspected(place, item) if careful else 1
            while attempt <= ATTEMPTS_MAX:
                try:
                    await self._apply(handler, {place: [item]})
                except TooSlow as trouble:  # parking needs the database too, so one that is only away parks nothing
                    error = f"too slow: {trouble}"
                    attempt += 1
                except (Moved, Transient, asyncio.CancelledError):
                    raise
                except SetAside as aside:
                    return await self._park(handler, place, item, str(aside), ours=False, cause=aside.cause)
                except Exception as trouble:  # noqa: BLE001 (a handler may raise anything: it is sorted below)
                    error = f"{type(trouble).__name__}: {trouble}" if isinstance(trouble, Poison) else _shape(trouble)
                    slow = isinstance(trouble, TimeoutError)  # again would take as long, and hold up all others
                    attempt = ATTEMPTS_MAX + 1 if slow else attempt + 1
                    await self._ports.clock.sleep(BACKOFF_SECONDS_FIRST * attempt)
                else:
                    self._parks_in_a_row = 0 if item.heard else self._parks_in_a_row
                    self._careful_left = max(0, self._careful_left - 1)
                    if careful and self._careful_left == 0:
                        self._suspects.clear()
                        async with self._database.worker() as tx:
                            await self._sql.clear_suspects(tx.db)
                    self._succeeded({place: [item.raw]})
                    return True
            return await self._park(handler, place, item, error, ours=not slow)
        except Moved as lost:
            await self._lost(lost, {place: [item.raw]})
        except Transient as trouble:
            self._wait_and_retry({place: [item.raw]}, trouble)
        return False

    async def _suspected(self, place: Place, item: _Item) -> int:
        """How many processes have begun with this record; one that only waits for an engine is counted once."""
        known = self._suspects.get((place, item.raw.offset))
        if known is not None:
            return known
        async with self._database.worker() as tx:
            attempts = await self._sql.suspect(
                tx.db, topic=place.topic, partition=place.partition, log_offset=item.raw.offset
            )
        self._suspects[place, item.raw.offset] = int(attempts)
        return int(attempts)

    async def _apply(self, handler: Handler, items: Mapping[Place, Sequence[_Item]]) -> None:
        line = [item for items_of_place in items.values() for item in items_of_place]
        subjects = sorted({item.subject for item in line})
        decisions = self._decisions.about(subjects)
        wanted = [
            item for item in line if (item.heard or item.broken) and not decisions.passes_over(item.subject, item.raw)
        ]
        waiting = [item for item in wanted if item.subject in decisions.held]
        batch = _without_repeats(item.heard for item in wanted if item.heard and item.subject not in decisions.held)
        broken = [item for item in wanted if item.broken and item.subject not in decisions.held]
        if broken and (len(line) > 1):
            raise Undecodable(broken[0].broken)  # one by one, so that only the broken one is parked
        if broken:
            raise Poison(broken[0].broken)
        prepared = None
        if batch:
            async with asyncio.timeout(BATCH_SECONDS_MAX):
                prepared = await handler.prepare(batch)
            self.last_progress = self._ports.clock.monotonic()
        self._ports.crash.reach(f"{self.service}.prepared")
        traces = {heard.event.subject_id(): heard.traceparent for heard in batch}
        async with self._database.worker(traces) as tx:
            await self._advance(tx, items, subjects)
            for item in waiting:
                await self.parking.keep(tx, item.subject, item.raw, "waits behind a held record")
            if batch:
                tx.say(*await handler.apply(prepared, tx))
        for place, items_of_place in items.items():
            self._stand_at(place, items_of_place[-1].raw.offset + 1)
        self._metrics.applied.inc(len(line))

    async def _advance(self, tx: Tx, items: Mapping[Place, Sequence[_Item]], subjects: Sequence[str]) -> None:
        """Write down how far this batch goes, and lock what was decided of its subjects.

        Raises `Moved` if somebody else moved a partition, `NotYet` if the decisions are not those of our belief.
        """
        last = {place: line[-1].raw for place, line in items.items()}
        rows = await self._sql.advance_and_lock(tx.db, **self._offsets(last), subjects=subjects)
        _all_moved(last, [row for row in rows if row["topic"] is not None])
        truth = decisions_of(rows)
        if truth != self._decisions.about(subjects):
            self._decisions = self._decisions.corrected(subjects, truth)
            raise NotYet("decisions changed")  # once more, with the truth

    async def _move(self, tx: Tx, last: Mapping[Place, Raw]) -> None:
        """Write down how far these partitions are heard. Raises `Moved` if somebody else moved one."""
        _all_moved(last, await self._sql.advance(tx.db, **self._offsets(last)))

    def _offsets(self, last: Mapping[Place, Raw]) -> dict[str, list[Any]]:
        places = sorted(last)
        raws = [last[place] for place in places]
        return {
            "topics": [p.topic for p in places],
            "partitions": [p.partition for p in places],
            "expected": [self._stored[p] for p in places],
            "nexts": [raw.offset + 1 for raw in raws],
            "event_ids": [_identity(raw).event_id for raw in raws],
            "append_times": [raw.timestamp for raw in raws],
        }

    # --- what nobody here wants ----------------------------------------------------------------------------------

    def _pass_over(self, place: Place, last: Raw) -> None:
        """Go on behind records without a word to PostgreSQL: most of what a service hears is not for it."""
        self.expected[place] = last.offset + 1
        self._passed[place] = last
        self._succeeded([place])

    async def write_down(self) -> None:
        """Write now how far everything is heard, also behind records that nobody here wants."""
        async with self._batch:
            await self._store_passed()

    async def _store_passed_if_due(self) -> None:
        now = self._ports.clock.monotonic()
        if self._passed and now - self._passed_at >= PASSED_SECONDS:
            self._passed_at = now
            await self._store_passed()

    async def _store_passed(self) -> None:
        if not self._passed:
            return
        passed = dict(self._passed)
        try:
            async with self._database.worker() as tx:
                await self._move(tx, passed)
        except Moved as lost:
            await self._lost(lost, {place: [raw] for place, raw in passed.items()})
        except DatabaseAway:
            return  # later
        else:
            for place, raw in passed.items():
                self._stand_at(place, raw.offset + 1)

    # --- when it does not work ---------------------------------------------------------------------------------

    async def _lost(self, lost: Moved, slices: Mapping[Place, Sequence[Raw]]) -> None:
        """Someone else moved partitions on: take their offset for those, do the others again."""
        self._metrics.lost_races.inc(len(lost.places))
        for place in slices:
            if place in lost.places:
                try:
                    async with self._database.worker() as tx:
                        row = await self._sql.begin_partition(tx.db, topic=place.topic, partition=place.partition)
                except DatabaseAway:
                    self._back_off(place)  # from the old offset: the next batch is refused again and asks again
                    continue
                self._stand_at(place, row["next"])
            self._steering.seek(place, self.expected[place])

    def _wait_and_retry(self, slices: Mapping[Place, Sequence[Raw]], trouble: Transient) -> None:
        quiet = isinstance(trouble, NotYet)
        (self._log.debug if quiet else self._log.warning)("batch_waits", reason=type(trouble).__name__)
        self._metrics.retried(type(trouble).__name__)
        for place in slices:
            self._back_off(place)

    def _back_off(self, place: Place) -> None:
        self._tries[place] = min(self._tries[place] + 1, 12)
        longest = min(BACKOFF_SECONDS_FIRST * 2 ** self._tries[place], BACKOFF_SECONDS_MAX)
        pause = longest * (0.5 + self._ports.ids.fraction() / 2)
        if place in self.expected:
            at = self._check_first[place][0] if place in self._check_first else self.expected[place]
            self._steering.seek(place, at)
        self._steering.pause(place)
        asyncio.get_running_loop().call_later(pause, self._steering.resume, place)

    def _succeeded(self, places: Iterable[Place]) -> None:
        for place in places:
            self._tries.pop(place, None)

    async def _park(
        self, handler: Handler, place: Place, item: _Item, error: str, *, ours: bool, cause: Cause = "parked"
    ) -> bool:
        """Park a record; `ours` when many of its kind would mean that the program is wrong (the breaker counts it)."""
        now = self._ports.clock.monotonic()
        while self._parks_at and self._parks_at[0] < now - TEN_MINUTES:
            self._parks_at.popleft()
        if ours and (self._parks_in_a_row >= PARKS_IN_A_ROW_MAX or len(self._parks_at) >= PARKS_IN_TEN_MINUTES_MAX):
            await self._trip(error)
            return False
        async with self._database.worker() as tx:
            await self._advance(tx, {place: [item]}, [item.subject])
            await self.parking.park(tx, handler, item.subject, item.raw, error, _about(item), cause)
        self._stand_at(place, item.raw.offset + 1)
        self._decisions = dataclasses.replace(self._decisions, held=self._decisions.held | {item.subject})
        self._succeeded({place: [item.raw]})
        if ours:  # what one office sends may be slow to read; that alone must not stop everybody's messages
            self._parks_in_a_row += 1
            self._parks_at.append(now)
        trace = _trace_of(item.raw)
        if cause == "parked":
            self._metrics.parked.inc()
            self._log.error(
                "parked", subject=item.subject, topic=place.topic, offset=item.raw.offset, error=error, trace=trace
            )
        else:  # it comes again by itself: nobody has to be called
            self._log.warning("set_aside", subject=item.subject, cause=cause, error=error, trace=trace)
        return True

    async def _trip(self, error: str) -> None:
        async with self._database.worker() as tx:
            await self._sql.trip_breaker(tx.db, reason=error, tripped_at=tx.now)
        self.breaker_open = True  # only now: an open breaker that no table knows would close by itself
        self._metrics.breaker.set(1)
        self._log.critical("breaker_open", error=error)
        self._pause_all(self.expected)

    async def watch_breaker(self) -> None:
        """Look whether an operator has closed or opened the breaker. Called every few seconds by the driver."""
        async with self._batch:  # a batch that trips the breaker between our look and our word would be overruled
            async with self._database.worker() as tx:
                is_open = bool(await self._sql.breaker(tx.db))
                self._metrics.held.set(await self._sql.count_holds(tx.db))
            if self.breaker_open and not is_open:
                self._parks_in_a_row = 0
                self._parks_at.clear()
                self._log.warning("breaker_closed")
                for place in self.expected:
                    self._steering.resume(place)
            self.breaker_open = is_open
            self._metrics.breaker.set(int(is_open))
            await self._store_passed_if_due()
            await self._mirror_if_due()

    # --- small things ------------------------------------------------------------------------------------------

    @property
    def _steering(self) -> Log:
        if self.steer is None:
            raise RuntimeError("the driver must set `steer` first")
        return self.steer

    def _pause_all(self, places: Iterable[Place]) -> None:
        for place in places:
            if place in self.expected:
                self._steering.seek(place, self.expected[place])
            self._steering.pause(place)

    async def _mirror_if_due(self) -> None:
        """Lag tools need no more than a look a second; a commit after every batch would cost more than the batch."""
        now = self._ports.clock.monotonic()
        if self._unmirrored and now - self._mirrored_at >= MIRROR_SECONDS:
            self._ports.crash.reach(f"{self.service}.before-mirror")
            await self._mirror(self._unmirrored)
            self._mirrored_at = now

    async def _mirror(self, offsets: Mapping[Place, int]) -> None:
        self._unmirrored = {place: at for place, at in self._unmirrored.items() if place not in offsets}
        if not offsets:
            return
        try:
            await self._steering.mirror(offsets)
        except Exception as trouble:  # noqa: BLE001 (the truth is in PostgreSQL)
            self._metrics.mirror_failures.inc()
            self._log.debug("mirror_fails", reason=type(trouble).__name__)

    def _read(self, raw: Raw) -> _Item:
        headers = raw.headers
        subject = subject_of(headers, raw.key)
        try:
            read = read_headers(headers)
            if read.wire_type not in self._wanted:
                return _Item(raw, subject)
            event = decode(read, raw.value or b"")
        except Undecodable as broken:
            return _Item(raw, subject, broken=str(broken))
        except Exception as mistake:  # noqa: BLE001 (raised further, it would stop the partition at this record for ever)
            return _Item(raw, subject, broken=type(mistake).__name__)
        heard = Heard(
            event=event,
            event_id=read.event_id,
            service=service_of(raw.topic),
            topic=raw.topic,
            partition=raw.partition,
            offset=raw.offset,
            time=read.time,
            traceparent=read.traceparent,
        )
        return _Item(raw, event.subject(), heard=heard)


def _by_topic(handlers: Sequence[Handler]) -> tuple[tuple[str, ...], dict[str, Handler]]:
    found: dict[str, Handler] = {}
    for handler in handlers:
        for event in handler.hears:
            for service in event.SAID_BY:
                topic = topic_of(service)
                if found.setdefault(topic, handler) is not handler:
                    raise ValueError(f"two handlers hear {topic}: a partition must have one order")
    return tuple(sorted(found)), found


def _without_repeats(heard: Iterable[Heard[Any]]) -> Batch:
    seen: set[UUID] = set()
    batch: list[Heard[Any]] = []
    for one in heard:
        if one.event_id not in seen:
            seen.add(one.event_id)
            batch.append(one)
    return batch


def _all_moved(places: Iterable[Place], rows: Sequence[Any]) -> None:
    """Raise `Moved` for partitions that did not move because somebody else had moved them."""
    if left := set(places) - {Place(row["topic"], row["partition"]) for row in rows}:
        raise Moved(left)


def _identity(raw: Raw) -> _Identity:
    for name, value in raw.headers:
        if name == "ce_id" and value is not None:
            return _Identity(value[:64].decode("ascii", "replace"), raw.timestamp)
    return _Identity("?", raw.timestamp)


def _trace_of(raw: Raw) -> str | None:
    """The trace id of a record that may be unreadable (W3C Trace Context, section 3.2.2), or None."""
    for name, value in raw.headers:
        if name == "traceparent" and value is not None:
            return value[3:35].decode("ascii", "replace")
    return None


def _about(item: _Item) -> Event | None:
    return item.heard.event if item.heard else None


def _shape(trouble: Exception) -> str:
    """The kind and place of an unexpected failure; its text may hold anything and is not kept."""
    trace = trouble.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f" at {trace.tb_frame.f_code.co_name}:{trace.tb_lineno}" if trace else ""
    return f"{type(trouble).__name__}{where}"


__all__ = ["ATTEMPTS_MAX", "Discipline", "Log", "Moved", "Place"]
