"""Two services that exist in tests only: `routing` says MessageUndeliverable, `storage` hears it and counts.

Their names are borrowed for the topic and the schema; none of the real services' code runs here.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar
from uuid import UUID

import structlog
from aiokafka.admin import AIOKafkaAdminClient

from todoke.events import Actor, Event, MessageUndeliverable, topic_of
from todoke.relay.clock import Ports
from todoke.relay.consumer import Discipline
from todoke.relay.faults import Poison, Transient
from todoke.relay.handler import Batch
from todoke.relay.kafka import BareHearing, FastStreamHearing, Hearing, KafkaSender, ensure_topics
from todoke.relay.metrics import Metrics
from todoke.relay.postgres import Database, Tx
from todoke.relay.publisher import Publisher
from todoke.relay.rootsecret import Secrets

TOPIC = topic_of("routing")
DRIVERS: dict[str, type[Hearing]] = {"bare": BareHearing, "faststream": FastStreamHearing}
EFFECTS = """
CREATE TABLE IF NOT EXISTS storage.effect (
    id bigint GENERATED ALWAYS AS IDENTITY, message_id uuid PRIMARY KEY, recipient text, reason text);
GRANT ALL ON storage.effect TO storage_worker
"""
SYSTEM = Actor(kind="system", id="routing")


def undeliverable(
    ports: Ports, number: int, *, message_id: UUID | None = None, office: str | None = None
) -> MessageUndeliverable:
    """The `number`-th event of its recipient office."""
    return MessageUndeliverable(
        actor=SYSTEM,
        message_id=message_id or ports.ids.uuid7(),
        sender="9970100018",
        recipient=office or f"99701{number % 7:05d}",
        reason=f"TDK-{number}",
        decided_at=datetime.now(UTC),
    )


class Count:
    """Writes one row per message. What `fails` says of a reason decides whether and how it fails."""

    hears: ClassVar[tuple[type[Event], ...]] = (MessageUndeliverable,)

    def __init__(self) -> None:
        self.fails: Callable[[str], Exception | None] = lambda _: None
        self.seconds: Callable[[str], float] = lambda _: 0
        """How many seconds the database takes over an event."""
        self.batches: list[int] = []
        self.pause: asyncio.Event | None = None
        self.slow: set[str] = set()
        self.entered = asyncio.Event()

    async def prepare(self, batch: Batch) -> list[MessageUndeliverable]:
        self.entered.set()
        if self.pause is not None:
            await self.pause.wait()
        for heard in batch:
            if heard.event.reason in self.slow:
                await asyncio.sleep(5)
            trouble = self.fails(heard.event.reason)
            if trouble is not None:
                raise trouble
        self.batches.append(len(batch))
        return [heard.event for heard in batch]

    async def apply(self, prepared: list[MessageUndeliverable], tx: Tx) -> Sequence[Event]:
        if seconds := sum(self.seconds(event.reason) for event in prepared):
            await tx.db.execute("SELECT pg_sleep($1)", seconds)
        await tx.db.executemany(
            "INSERT INTO effect (message_id, recipient, reason) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
            [(event.message_id, event.recipient, event.reason) for event in prepared],
        )
        return ()


class Topology:
    """Both services over one database and one Kafka."""

    def __init__(self, dsn: str, kafka: str, secrets: Secrets, ports: Ports) -> None:
        self.dsn, self.kafka, self.secrets, self.ports = dsn, kafka, secrets, ports
        self.metrics = Metrics()
        self.log = structlog.get_logger()

    async def open(self) -> None:
        self.sayer = await Database.open("routing", address=self.dsn, passwords=self.secrets.password, ports=self.ports)
        self.hearer = await Database.open(
            "storage", address=self.dsn, passwords=self.secrets.password, ports=self.ports
        )
        await remake_topics(self.kafka, [TOPIC])

    async def reopen_hearer(self) -> None:
        """As the hearing service would open its database now."""
        await self.hearer.close()
        self.hearer = await Database.open(
            "storage", address=self.dsn, passwords=self.secrets.password, ports=self.ports
        )

    async def close(self) -> None:
        await self.sayer.close()
        await self.hearer.close()

    async def say(self, *events: Event) -> None:
        async with self.sayer.worker() as tx:
            tx.say(*events)

    def publisher(self, owner: str = "a") -> Publisher:
        sender = KafkaSender(self.kafka, TOPIC, self.log)
        made = Publisher("routing", owner, self.sayer, sender, self.ports, self.metrics, self.log)
        self.sayer.said = made.wake
        return made

    @contextlib.asynccontextmanager
    async def publishing(self) -> AsyncIterator[Publisher]:
        made = self.publisher()
        async with running(made.run()):
            yield made

    def discipline(self, handler: Count, *, careful: bool = False) -> Discipline:
        metrics = self.metrics.consumer("storage")
        return Discipline(
            "storage", [handler], self.hearer, self.ports, metrics, self.log, says_holds=True, careful=careful
        )

    @contextlib.asynccontextmanager
    async def hearing(self, driver: str, handler: Count, instance: str = "1") -> AsyncIterator[Discipline]:
        discipline = self.discipline(handler)
        async with running(DRIVERS[driver](discipline, self.kafka, instance, self.log).run()):
            yield discipline

    async def effects(self) -> list[Any]:
        async with self.hearer.connection() as db:
            return list(await db.fetch("SELECT message_id, recipient, reason FROM effect ORDER BY id"))

    async def fetch(self, query: str, *values: object) -> list[Any]:
        async with self.hearer.connection() as db:
            return list(await db.fetch(query, *values))

    async def wait_for(self, check: Callable[[], Any], what: str, seconds: float = 25) -> None:
        """Wait until an async check is true."""
        until = asyncio.get_running_loop().time() + seconds
        while not await check():
            if asyncio.get_running_loop().time() > until:
                raise AssertionError(f"did not happen: {what}")
            await asyncio.sleep(0.05)

    async def wait_for_effects(self, count: int) -> None:
        async def there() -> bool:
            return len(await self.effects()) >= count

        await self.wait_for(there, f"{count} effects")


@contextlib.asynccontextmanager
async def running(loop: Any) -> AsyncIterator[asyncio.Task[None]]:
    """Run a loop inside the block."""
    task = asyncio.create_task(loop)
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def remake_topics(kafka: str, topics: list[str]) -> None:
    """Topics without a record, also when they were there before."""
    await delete_topics(kafka, topics)
    await ensure_topics(kafka, topics, partitions=3, replication=1)


async def delete_topics(kafka: str, topics: list[str]) -> None:
    """Topics that are gone, whether they were there or not."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    try:
        there = [topic for topic in topics if topic in await admin.list_topics()]
        if there:
            await admin.delete_topics(there)
            while set(there) & set(await admin.list_topics()):  # noqa: ASYNC110 (Kafka tells nobody when it is done)
                await asyncio.sleep(0.05)
    finally:
        await admin.close()


def poison(reason: str) -> Poison:
    return Poison(f"cannot handle {reason}")


def transient(reason: str) -> Transient:
    return Transient(reason)
