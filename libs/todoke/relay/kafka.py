"""The only home of aiokafka and FastStream: topics, the sender, and the two drivers of a consumer.

FastStream drives in production, because its AsyncAPI document and metrics describe the subscription that really runs.
The bare loop is its twin: the fault scenarios run over both, so that an upgrade which changes a default is seen. Both
hand raw records to `consumer.Discipline` and never let an exception pass.
"""

import asyncio
import contextlib
import dataclasses
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from types import GenericAlias
from typing import Any, Self, Union

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import (
    CorruptRecordException,
    IllegalStateError,
    InvalidTimestampError,
    KafkaError,
    MessageSizeTooLargeError,
    for_code,
)
from aiokafka.partitioner import DefaultPartitioner
from faststream import AckPolicy
from faststream.kafka import KafkaBroker
from faststream.kafka.message import KafkaAckableMessage
from faststream.specification import AsyncAPI
from structlog.typing import FilteringBoundLogger

from todoke.events import Event, topic_of, topic_settings
from todoke.relay.consumer import Discipline, Place
from todoke.relay.faults import Transient
from todoke.relay.limits import BATCH_RECORDS_MAX, KAFKA_BATCH_BYTES_MAX
from todoke.relay.membership import FETCH_BYTES_MAX, POLL_MS, consumer_settings
from todoke.relay.publisher import OutcomeUnknown, Outgoing, Reached, Sent, further

PATIENCE_SECONDS = 30.0
"""An idempotent batch waits for its broker; only after this long is the outcome called unknown."""

CONNECT_SECONDS = 5.0
BOUNDS_SECONDS = 10.0
METADATA_MS = 15_000
"""A topic that was made after a consumer had started is noticed after this long (the library's default: 5 minutes)."""

KEYS_CACHED = 100_000
"""Partitions of keys kept: the pure-Python murmur2 is worth remembering, 250,000 offices are not all busy at once."""

LOOK_SECONDS = 0.5
QUIET_SECONDS_MAX = 10.0
"""A reader to whom Kafka gives nothing for so long, though there is something, gives up: Kafka is away."""

REFUSALS = (MessageSizeTooLargeError, CorruptRecordException, InvalidTimestampError)
"""Errors with which the broker says that it will never take this batch."""


class KafkaAway(Transient):
    """Kafka cannot be reached or does not answer in time."""


# --- topics --------------------------------------------------------------------------------------------------------


async def ensure_topics(servers: str, topics: Sequence[str], *, partitions: int, replication: int) -> None:
    """Make the topics that are missing and wait until each partition has a leader.

    Raises `KafkaAway`, `ValueError` for a topic that cannot be made.
    """
    config = topic_settings(replication)
    admin = AIOKafkaAdminClient(bootstrap_servers=servers, request_timeout_ms=10_000)
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            await admin.start()
        there = set(await admin.list_topics())
        new = [NewTopic(t, partitions, replication, topic_configs=config) for t in topics if t not in there]
        if new:
            answer = await admin.create_topics(new)
            for topic, code, *_ in answer.topic_errors:  # errors come back as values, not as exceptions
                if code not in (0, 36):  # 36: somebody else made it meanwhile
                    raise ValueError(f"{topic}: {for_code(code).__name__}")
        await _wait_for_leaders(admin, topics)
    except (KafkaError, TimeoutError, OSError) as trouble:
        raise KafkaAway(type(trouble).__name__) from trouble
    finally:
        with contextlib.suppress(Exception):
            async with asyncio.timeout(2):
                await admin.close()


async def _wait_for_leaders(admin: AIOKafkaAdminClient, topics: Sequence[str]) -> None:
    for _ in range(100):
        described = await admin.describe_topics(list(topics))
        if all(
            topic["error_code"] == 0 and all(p["leader"] >= 0 and p["error_code"] == 0 for p in topic["partitions"])
            for topic in described
        ):
            return
        await asyncio.sleep(0.1)
    raise TimeoutError


async def kafka_answers(servers: str) -> bool:
    """Whether a broker accepts connections."""
    host, _, port = servers.split(",", 1)[0].rpartition(":")
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            _, writer = await asyncio.open_connection(host, int(port))
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


# --- saying --------------------------------------------------------------------------------------------------------


class KafkaSender:
    """Closed batches, one per partition and never two in flight: then a late batch is a duplicate, never a gap."""

    def __init__(self, servers: str, topic: str, log: FilteringBoundLogger) -> None:
        self._servers = servers
        self._topic = topic
        self._log = log
        self._producer: AIOKafkaProducer | None = None
        self._partitions: list[int] = []
        self._partition_of: dict[str, int] = {}
        self._choose = DefaultPartitioner()

    async def send(self, rows: Sequence[Outgoing]) -> Sent:
        """See `publisher.Sender`."""
        producer = await self._connected()
        taken, outcomes = await self._try(producer, rows)
        refused = {partition for partition, outcome in outcomes.items() if isinstance(outcome, REFUSALS)}
        unknown = Counter(
            type(outcome).__name__
            for p, outcome in outcomes.items()
            if isinstance(outcome, BaseException) and p not in refused
        )
        if unknown:
            await self.close()
            raise OutcomeUnknown(", ".join(f"{name} x{count}" for name, count in sorted(unknown.items())))
        fine = [row.seq for partition, lines in taken.items() if partition not in refused for row in lines]
        reached = [_reached(p, outcomes[p], lines) for p, lines in taken.items() if lines and p not in refused]
        sent = Sent(fine, reached=[place for place in reached if place])
        if not refused:
            return sent
        return await self._one_by_one(producer, sent, [row for p in sorted(refused) for row in taken[p]])

    async def close(self) -> None:
        """`stop()` would wait for a flush that may never end: close sockets first, then cancel the sender task.

        Touches private names of the pinned aiokafka; the engine tests would show it if they changed.
        """
        producer, self._producer = self._producer, None
        if producer is None:
            return
        producer._closed = True  # noqa: SLF001 (no public way: `stop` can hang for ever)
        producer._message_accumulator._closed = True  # noqa: SLF001 (as above)
        with contextlib.suppress(Exception):
            async with asyncio.timeout(1):
                await producer.client.close()
        task = producer._sender.sender_task  # noqa: SLF001 (as above)
        for _ in range(4):  # the first cancel makes the sender await its children, which may hang; the next breaks that
            if task is None or task.done():
                break
            task.cancel()
            await asyncio.wait([task], timeout=0.25)
        if task is not None and task.done() and not task.cancelled():
            task.exception()

    async def _connected(self) -> AIOKafkaProducer:
        if self._producer is not None:
            return self._producer
        producer = AIOKafkaProducer(
            bootstrap_servers=self._servers,
            enable_idempotence=True,
            acks="all",
            linger_ms=0,
            max_batch_size=KAFKA_BATCH_BYTES_MAX,
            request_timeout_ms=10_000,
            retry_backoff_ms=50,
            metadata_max_age_ms=30_000,
        )
        self._producer = producer
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await producer.start()
                self._partitions = sorted(await producer.partitions_for(self._topic))
        except (KafkaError, OSError, TimeoutError) as trouble:
            await self.close()
            raise KafkaAway(type(trouble).__name__) from trouble
        self._partition_of.clear()
        return producer

    async def _try(
        self, producer: AIOKafkaProducer, rows: Sequence[Outgoing]
    ) -> tuple[dict[int, list[Outgoing]], dict[int, Any]]:
        """What was taken, and by partition how it went: the batch's metadata, or the exception."""
        try:
            return await self._send_batches(producer, rows)
        except (KafkaError, OSError, TimeoutError) as trouble:
            await self.close()
            raise OutcomeUnknown(type(trouble).__name__) from trouble

    async def _send_batches(
        self, producer: AIOKafkaProducer, rows: Sequence[Outgoing]
    ) -> tuple[dict[int, list[Outgoing]], dict[int, Any]]:
        builders: dict[int, Any] = {}
        taken: dict[int, list[Outgoing]] = {}
        for row in rows:
            partition = self._partition(row.record.key)
            builder = builders.get(partition)
            if builder is None:
                builder = builders[partition] = producer.create_batch()
                taken[partition] = []
            record = row.record
            if (
                builder.append(key=record.key.encode(), value=record.body, timestamp=None, headers=record.headers())
                is None
            ):
                break  # full: the round ends here, or a later row would overtake this one
            taken[partition].append(row)
        futures = {}
        for partition, builder in builders.items():
            builder.close()
            if taken[partition]:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    futures[partition] = await producer.send_batch(builder, self._topic, partition=partition)
        await asyncio.wait(futures.values(), timeout=PATIENCE_SECONDS)
        return taken, {partition: _outcome(future) for partition, future in futures.items()}

    async def _one_by_one(self, producer: AIOKafkaProducer, sent: Sent, rows: Sequence[Outgoing]) -> Sent:
        """Find which rows of a refused batch the broker will never take; the others go out in order."""
        fine, reached = list(sent.acknowledged), list(sent.reached)
        refused: list[int] = []
        error = ""
        for row in rows:
            _, outcomes = await self._try(producer, [row])
            partition, outcome = next(iter(outcomes.items()))
            if isinstance(outcome, REFUSALS):
                refused.append(row.seq)
                error = type(outcome).__name__
            elif isinstance(outcome, BaseException):
                await self.close()
                raise OutcomeUnknown(type(outcome).__name__)
            else:
                fine.append(row.seq)
                place = _reached(partition, outcome, [row])
                reached = further(reached, place) if place else reached
        return Sent(fine, refused, error, reached)

    def _partition(self, key: str) -> int:
        found = self._partition_of.get(key)
        if found is None:
            if len(self._partition_of) >= KEYS_CACHED:
                self._partition_of.clear()
            found = self._choose(key.encode(), self._partitions, self._partitions)
            self._partition_of[key] = found
        return found


def _outcome(future: "asyncio.Future[Any]") -> Any:
    if not future.done():
        future.cancel()
        return TimeoutError()
    if future.cancelled():
        return asyncio.CancelledError()
    return future.exception() or future.result()


def _reached(partition: int, written: Any, rows: Sequence[Outgoing]) -> Reached | None:
    """Where a batch stands in the log. Nothing for one that the broker had already: it does not say where."""
    if written.offset < 0:
        return None
    last = rows[-1].record.event_id
    return Reached(partition, written.offset, written.offset + len(rows), str(last), written.timestamp)


# --- hearing -------------------------------------------------------------------------------------------------------


class _Steering:
    """`consumer.Log` over an aiokafka consumer that may not exist yet."""

    def __init__(self, consumer: Callable[[], AIOKafkaConsumer | None]) -> None:
        self._consumer = consumer

    def seek(self, place: Place, offset: int) -> None:
        self._quietly(lambda c: c.seek(_tp(place), offset))

    def pause(self, place: Place) -> None:
        self._quietly(lambda c: c.pause(_tp(place)))

    def resume(self, place: Place) -> None:
        self._quietly(lambda c: c.resume(_tp(place)))

    async def bounds(self, places: Sequence[Place]) -> Mapping[Place, tuple[int, int]]:
        consumer = self._consumer()
        if consumer is None:
            raise KafkaAway("no consumer")
        partitions = [_tp(place) for place in places]
        try:
            async with asyncio.timeout(BOUNDS_SECONDS):
                first = await consumer.beginning_offsets(partitions)
                end = await consumer.end_offsets(partitions)
        except (KafkaError, TimeoutError, OSError) as trouble:
            raise KafkaAway(type(trouble).__name__) from trouble
        return {place: (first[_tp(place)], end[_tp(place)]) for place in places}

    async def mirror(self, offsets: Mapping[Place, int]) -> None:
        consumer = self._consumer()
        if consumer is None:
            return
        mine = consumer.assignment()
        due = {_tp(place): offset for place, offset in offsets.items() if _tp(place) in mine}
        if due:
            async with asyncio.timeout(5):
                await consumer.commit(due)

    def left(self, expected: Mapping[Place, int]) -> dict[Place, int]:
        """By partition, records known to be in the log and not heard yet."""
        consumer, found = self._consumer(), dict.fromkeys(expected, 0)
        if consumer is not None:
            for place, offset in expected.items():
                with contextlib.suppress(IllegalStateError):
                    found[place] = max(0, (consumer.highwater(_tp(place)) or 0) - offset)
        return found

    def _quietly(self, act: Callable[[AIOKafkaConsumer], None]) -> None:
        consumer = self._consumer()
        if consumer is not None:
            with contextlib.suppress(IllegalStateError):  # not assigned any more
                act(consumer)


class _Rebalances(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    def __init__(self, discipline: Discipline) -> None:
        self._discipline = discipline

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:  # noqa: ARG002 (aiokafka's signature)
        await self._discipline.revoked()

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        await self._discipline.assigned([Place(tp.topic, tp.partition) for tp in assigned])


class Hearing(ABC):
    """A running consumer of one service, under either driver."""

    def __init__(self, discipline: Discipline, servers: str, instance: str, log: FilteringBoundLogger) -> None:
        self.discipline = discipline
        self._servers = servers
        self._settings = consumer_settings(discipline.service, instance, discipline.pace_seconds)
        self._log = log
        self.steering = _Steering(self._consumer)
        discipline.steer = self.steering

    @abstractmethod
    def _consumer(self) -> AIOKafkaConsumer | None:
        """The consumer that runs now, if one does."""

    @abstractmethod
    async def run(self) -> None:
        """Hear until cancelled, through every outage of Kafka."""

    def left(self) -> dict[Place, int]:
        """By partition, records in the log that were not heard yet."""
        return self.steering.left(self.discipline.expected)


class BareHearing(Hearing):
    """A plain getmany loop."""

    _current: AIOKafkaConsumer | None = None

    def _consumer(self) -> AIOKafkaConsumer | None:
        return self._current

    async def run(self) -> None:
        """See `Hearing.run`."""
        while True:
            self._current = AIOKafkaConsumer(
                bootstrap_servers=self._servers,
                enable_auto_commit=False,
                metadata_max_age_ms=METADATA_MS,
                request_timeout_ms=15_000,
                **self._settings,
            )
            self._current.subscribe(list(self.discipline.topics), listener=_Rebalances(self.discipline))
            try:
                await self._current.start()
                await self._loop(self._current)
            except (KafkaError, OSError, TimeoutError) as trouble:
                self._log.warning("consumer_waits", reason=type(trouble).__name__)
                await asyncio.sleep(0.5)
            finally:
                await _stop(self._current)

    async def _loop(self, consumer: AIOKafkaConsumer) -> None:
        while True:
            records = await consumer.getmany(timeout_ms=POLL_MS, max_records=BATCH_RECORDS_MAX)
            if records:
                await self.discipline.poll({Place(tp.topic, tp.partition): raws for tp, raws in records.items()})


class FastStreamHearing(Hearing):
    """FastStream's batch subscriber with our own raw parser: it never sees a header, a body or an exception."""

    def __init__(self, discipline: Discipline, servers: str, instance: str, log: FilteringBoundLogger) -> None:
        super().__init__(discipline, servers, instance, log)
        self.broker, self._subscriber = subscription(discipline, servers, self._settings)

    def _consumer(self) -> AIOKafkaConsumer | None:
        return self._subscriber.consumer

    async def run(self) -> None:
        """See `Hearing.run`."""
        while True:
            try:
                await self.broker.start()
                while True:
                    await asyncio.sleep(1)
                    if all(task.done() for task in self._subscriber.tasks):
                        break  # its loop ended by an error of the connection: start it again
            except (KafkaError, OSError, TimeoutError) as trouble:
                self._log.warning("consumer_waits", reason=type(trouble).__name__)
                await asyncio.sleep(0.5)
            finally:
                await _stop(self.broker)
            self.broker, self._subscriber = subscription(self.discipline, self._servers, self._settings)


class Alone(_Steering):
    """A consumer without a group, which moves nobody and has nothing to mirror: for hearing a second time."""

    def __init__(self, servers: str, poll_ms: int) -> None:
        self._reader = AIOKafkaConsumer(
            bootstrap_servers=servers,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_partition_fetch_bytes=FETCH_BYTES_MAX,
            fetch_max_wait_ms=poll_ms,
        )
        self._poll_ms = poll_ms
        super().__init__(lambda: self._reader)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Connected inside the block. Raises `KafkaAway`."""
        try:
            await self._reader.start()
            yield
        except (KafkaError, OSError, TimeoutError) as trouble:
            raise KafkaAway(type(trouble).__name__) from trouble
        finally:
            await _stop(self._reader)

    def assign(self, places: Iterable[Place]) -> None:
        """Read these partitions from now on; each must be sought first."""
        self._reader.assign([_tp(place) for place in places])

    async def some(self, places: Iterable[Place], records_max: int) -> dict[Place, list[Any]]:
        """The next records of these partitions, in order; nothing when none come in time."""
        found = await self._reader.getmany(*map(_tp, places), timeout_ms=self._poll_ms, max_records=records_max)
        return {Place(tp.topic, tp.partition): raws for tp, raws in found.items()}

    async def mirror(self, offsets: Mapping[Place, int]) -> None:
        """No group, nothing to commit."""
        del offsets


def subscription(discipline: Discipline, servers: str, settings: Mapping[str, Any]) -> tuple[KafkaBroker, Any]:
    """FastStream's broker and subscriber for a discipline. The handler gets raw records."""
    broker = KafkaBroker(
        servers,
        allow_auto_create_topics=False,
        metadata_max_age_ms=METADATA_MS,
        graceful_timeout=20,
        apply_types=False,
        logger=None,
    )
    subscriber = broker.subscriber(
        *discipline.topics, listener=_Rebalances(discipline), **_subscriber_settings(), **settings
    )

    @subscriber  # type: ignore[untyped-decorator]  # FastStream types its handlers as any callable
    async def hear(message: list[Any]) -> None:
        records: dict[Place, list[Any]] = {}
        for raw in message:
            records.setdefault(Place(raw.topic, raw.partition), []).append(raw)
        await discipline.poll(records)

    return broker, subscriber


def _subscriber_settings() -> dict[str, Any]:
    return {
        "batch": True,
        "max_records": BATCH_RECORDS_MAX,
        "batch_timeout_ms": POLL_MS,
        "ack_policy": AckPolicy.MANUAL,
        "no_reply": True,
        "parser": _raw,
        "decoder": _undecoded,
    }


async def _raw(message: Any, _original: Callable[[Any], Awaitable[Any]]) -> KafkaAckableMessage:
    """The stock parser decodes every header as UTF-8: one byte 0xff would drop the whole batch unseen."""
    return KafkaAckableMessage(
        body=b"",
        headers={},
        batch_headers=[],
        reply_to="",
        content_type=None,
        message_id="",
        correlation_id=None,
        raw_message=message,
        path={},
        consumer=None,
    )


async def _undecoded(message: Any, _original: Callable[[Any], Awaitable[Any]]) -> Any:
    return message.raw_message


async def _stop(stoppable: Any) -> None:
    with contextlib.suppress(Exception):
        async with asyncio.timeout(25):
            await stoppable.stop()


def describe(services: Sequence["Described"]) -> dict[str, Any]:
    """The AsyncAPI 3.0 document of what these services hear and say.

    FastStream makes it from subscribers and publishers of the kind that run.
    """
    broker = KafkaBroker("kafka:9092", apply_types=False, logger=None)
    for service in services:
        if service.hears:
            subscriber = broker.subscriber(
                *service.topics, title=f"{service.name} hears", **_subscriber_settings(), **service.settings
            )
            subscriber(_documented(service))
        if service.says:
            broker.publisher(topic_of(service.name), title=f"{service.name} says", schema=_any_of(service.says))
    document: dict[str, Any] = AsyncAPI(broker, title="Todoke", version="1").to_specification().to_jsonable()
    return document


def _documented(service: "Described") -> Callable[..., Awaitable[None]]:
    async def hear(records: Any) -> None:
        del records

    hear.__annotations__["records"] = GenericAlias(list, (_any_of(service.hears),))
    hear.__doc__ = f"What {service.name} hears, in batches; the group is {service.settings['group_id']}."
    return hear


def _any_of(events: tuple[type[Event], ...]) -> Any:
    return Union.__getitem__(events)


@dataclasses.dataclass(frozen=True)
class Described:
    """What the document needs to know of a service."""

    name: str
    topics: tuple[str, ...]
    hears: tuple[type[Event], ...]
    says: tuple[type[Event], ...]
    pace_seconds: float

    @property
    def settings(self) -> dict[str, Any]:
        """The settings with which its consumer runs."""
        return consumer_settings(self.name, "1", self.pace_seconds)


# --- reading without a group ---------------------------------------------------------------------------------------


async def read_topic(servers: str, topic: str) -> "TopicReader":
    """A reader of a whole topic that moves no live consumer: for replays, rebuilds and reconciliation.

    Raises `KafkaAway`.
    """
    there = await _partitions_of(servers, topic)
    consumer = AIOKafkaConsumer(bootstrap_servers=servers, enable_auto_commit=False, group_id=None)
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            await consumer.start()
    except (KafkaError, TimeoutError, OSError) as trouble:
        await _stop(consumer)
        raise KafkaAway(type(trouble).__name__) from trouble
    return TopicReader(consumer, [TopicPartition(topic, number) for number in there])


async def _partitions_of(servers: str, topic: str) -> list[int]:
    admin = AIOKafkaAdminClient(bootstrap_servers=servers, request_timeout_ms=10_000)  # a fresh consumer knows none
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            await admin.start()
        return sorted(p["partition"] for told in await admin.describe_topics([topic]) for p in told["partitions"])
    except (KafkaError, TimeoutError, OSError) as trouble:
        raise KafkaAway(type(trouble).__name__) from trouble
    finally:
        with contextlib.suppress(Exception):
            async with asyncio.timeout(2):
                await admin.close()


async def ends_of(servers: str, places: Sequence[Place]) -> Mapping[Place, int]:
    """The end offset of each of these partitions.

    Raises `KafkaAway`.
    """
    consumer = AIOKafkaConsumer(bootstrap_servers=servers, enable_auto_commit=False, group_id=None)
    wanted = [_tp(place) for place in places]
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            await consumer.start()
            consumer.assign(wanted)
            ends = await consumer.end_offsets(wanted)
    except (KafkaError, TimeoutError, OSError) as trouble:
        raise KafkaAway(type(trouble).__name__) from trouble
    finally:
        await _stop(consumer)
    return {Place(tp.topic, tp.partition): end for tp, end in ends.items()}


class TopicReader:
    """Reads assigned partitions from their beginning to where they ended when reading began."""

    def __init__(self, consumer: AIOKafkaConsumer, partitions: list[TopicPartition]) -> None:
        self._consumer = consumer
        self._partitions = partitions
        self.bounds: dict[int, tuple[int, int]] = {}
        """First offset and end offset of each partition, as they were when reading began."""

    async def __aenter__(self) -> Self:
        if not self._partitions:
            return self
        self._consumer.assign(self._partitions)
        try:
            async with asyncio.timeout(QUIET_SECONDS_MAX):
                first = await self._consumer.beginning_offsets(self._partitions)
                end = await self._consumer.end_offsets(self._partitions)
        except (KafkaError, TimeoutError, OSError) as trouble:
            await self.close()
            raise KafkaAway(type(trouble).__name__) from trouble
        self.bounds = {tp.partition: (first[tp], end[tp]) for tp in self._partitions}
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await _stop(self._consumer)

    async def batches(self, begin: Mapping[int, int] | None = None) -> AsyncIterator[list[Any]]:
        """Lists of raw records, each list of one partition and in order.

        `begin` says where to begin in each partition; those it does not name are read from their first record.
        Raises `KafkaAway` when nothing comes although there is something to read.
        """
        at = {tp: (begin or {}).get(tp.partition, self.bounds[tp.partition][0]) for tp in self._partitions}
        for tp, offset in at.items():
            self._consumer.seek(tp, offset)
        quiet = 0.0
        while open_ones := [tp for tp in self._partitions if at[tp] < self.bounds[tp.partition][1]]:
            try:
                found = await self._consumer.getmany(*open_ones, timeout_ms=int(LOOK_SECONDS * 1000))
            except (KafkaError, OSError) as trouble:
                raise KafkaAway(type(trouble).__name__) from trouble
            quiet = 0.0 if found else quiet + LOOK_SECONDS
            if quiet > QUIET_SECONDS_MAX:
                raise KafkaAway("no records")
            for tp, raws in found.items():
                at[tp] = raws[-1].offset + 1
                yield [raw for raw in raws if raw.offset < self.bounds[tp.partition][1]]


def _tp(place: Place) -> TopicPartition:
    return TopicPartition(place.topic, place.partition)
