"""Two of a kind at once, over a real Kafka and PostgreSQL: two relays of a service, two owners of a partition."""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from typing import Any, ClassVar

import pytest

from tests.kit.topology import TOPIC, Topology, running, undeliverable
from tests.races.racing import rounds
from todoke.events import Event, MessageUndeliverable
from todoke.relay.consumer import Discipline, Place
from todoke.relay.handler import Batch
from todoke.relay.kafka import Alone, KafkaSender, ends_of, read_topic
from todoke.relay.postgres import Tx, administrator
from todoke.relay.publisher import Outgoing, Publisher, Sent

pytestmark = [pytest.mark.long]
PLACES = [Place(TOPIC, number) for number in range(3)]
APPLIED = """
CREATE TABLE storage.applied (
    id bigint GENERATED ALWAYS AS IDENTITY, message_id uuid, recipient text, number int, by text);
GRANT ALL ON storage.applied TO storage_worker
"""
SAID_TOGETHER = 4


class Hesitant:
    """A sender to Kafka that waits between being handed rows and sending them, each time for another while."""

    def __init__(self, topology: Topology) -> None:
        self._sender = KafkaSender(topology.kafka, TOPIC, topology.log)
        self._turn = 0

    async def send(self, rows: Sequence[Outgoing]) -> Sent:
        self._turn += 1
        await asyncio.sleep(self._turn % 5 * 0.003)
        sent = await self._sender.send(rows)
        await asyncio.sleep(self._turn % 3 * 0.003)
        return sent

    async def close(self) -> None:
        await self._sender.close()


@rounds(80)
async def test_two_relays_that_both_believe_they_lead_keep_the_order_and_skip_nothing(
    topology: Topology, rounds: int
) -> None:
    relays = [
        Publisher("routing", owner, topology.sayer, Hesitant(topology), topology.ports, topology.metrics, topology.log)
        for owner in ("a", "b")
    ]
    led = set()
    said: list[MessageUndeliverable] = []
    async with running(relays[0].run()), running(relays[1].run()), asyncio.TaskGroup() as slow:
        for turn in range(rounds):
            late = undeliverable(topology.ports, turn, office=f"99702{turn:05d}")
            slow.create_task(_say_late(topology, late, turn % 6 * 0.005))
            events = [undeliverable(topology.ports, turn * SAID_TOGETHER + n) for n in range(SAID_TOGETHER)]
            await topology.say(*events)
            said += [late, *events]
            await _of_sayer(topology, "UPDATE lease SET until = now() - interval '1 second' RETURNING 1")
            for relay in relays:
                relay.wake()
            led |= {number for number, relay in enumerate(relays) if relay.leads}
            await asyncio.sleep(turn % 4 * 0.004)
        await topology.wait_for(lambda: _is_said(topology, len(said)), "an empty outbox")
    assert led == {0, 1}, "one relay led all the time"
    records = await _records(topology)
    repeated = sum(map(len, records.values())) - len(said)
    assert repeated > 0, "they never sent the same rows"
    first: dict[str, list[str]] = {place: list(dict.fromkeys(ids)) for place, ids in records.items()}
    wanted = defaultdict(list)
    for event in said:
        wanted[event.recipient].append(str(event.event_id("routing")))
    for office, ids in wanted.items():
        [here] = [[one for one in line if one in set(ids)] for line in first.values() if set(ids) & set(line)]
        assert here == ids, f"{office}: out of order, or something is missing"
    assert sum(map(len, first.values())) == len(said)
    assert not await _of_sayer(topology, "SELECT 1 FROM parked_out")


async def _of_sayer(topology: Topology, query: str) -> list[Any]:
    async with topology.sayer.connection() as db:
        return list(await db.fetch(query))


async def _say_late(topology: Topology, event: MessageUndeliverable, seconds: float) -> None:
    """Draw the number of an event, and let others come first before it can be seen."""
    async with topology.sayer.worker() as tx:
        tx.say(event)
        await tx.write_events()
        await asyncio.sleep(seconds)


async def _is_said(topology: Topology, count: int) -> bool:
    """Whether so many events were said and none of them waits."""
    [row] = await _of_sayer(
        topology, "SELECT (SELECT count(*) FROM journal) AS n, EXISTS (SELECT FROM outbox) AS waits"
    )
    return bool(row["n"] == count and not row["waits"])


async def _records(topology: Topology) -> dict[str, list[str]]:
    """The event ids of each partition in the order of the log."""
    found: dict[str, list[str]] = defaultdict(list)
    async with await read_topic(topology.kafka, TOPIC) as reader:
        async for raws in reader.batches():
            for raw in raws:
                found[str(raw.partition)].append(dict(raw.headers)["ce_id"].decode())
    return found


class Note:
    """Writes down what it is handed as often as it is handed it."""

    hears: ClassVar[tuple[type[Event], ...]] = (MessageUndeliverable,)

    def __init__(self, by: str) -> None:
        self._by = by
        self._turn = 0

    async def prepare(self, batch: Batch) -> list[MessageUndeliverable]:
        self._turn += 1
        await asyncio.sleep(self._turn % 5 * 0.003)
        return [heard.event for heard in batch]

    async def apply(self, prepared: list[MessageUndeliverable], tx: Tx) -> Sequence[Event]:
        rows = [(event.message_id, event.recipient, int(event.reason[4:]), self._by) for event in prepared]
        await tx.db.executemany("INSERT INTO applied (message_id, recipient, number, by) VALUES ($1, $2, $3, $4)", rows)
        return ()


@contextlib.asynccontextmanager
async def _owner_of_everything(topology: Topology, by: str) -> AsyncIterator[Discipline]:
    """A consumer that was given every partition, as a group never does for two at once."""
    metrics = topology.metrics.consumer("storage")
    discipline = Discipline(
        "storage", [Note(by)], topology.hearer, topology.ports, metrics, topology.log, says_holds=False
    )

    async def hear() -> None:
        reader = Alone(topology.kafka, 20)
        discipline.steer = reader
        async with reader.running():
            reader.assign(PLACES)
            await discipline.assigned(PLACES)
            while True:
                records: dict[Place, list[Any]] = await reader.some(PLACES, 7)
                await discipline.poll(records)

    async with running(hear()):
        yield discipline


@rounds(80)
async def test_two_owners_of_a_partition_apply_each_record_once_and_in_order(topology: Topology, rounds: int) -> None:
    async with administrator(topology.dsn) as db:
        await db.execute(APPLIED)
    count = rounds * SAID_TOGETHER

    async def all_applied() -> bool:
        [row] = await topology.fetch("SELECT count(DISTINCT message_id) AS n FROM applied")
        return bool(row["n"] == count)

    async with (
        topology.publishing(),
        _owner_of_everything(topology, "one"),
        _owner_of_everything(topology, "two"),
    ):
        for turn in range(rounds):
            await topology.say(*(undeliverable(topology.ports, turn * SAID_TOGETHER + n) for n in range(SAID_TOGETHER)))
            await asyncio.sleep(turn % 4 * 0.004)
        await topology.wait_for(all_applied, "everything applied", seconds=25 + rounds / 10)
        ends = await ends_of(topology.kafka, PLACES)
    rows = await topology.fetch("SELECT recipient, number, by FROM applied ORDER BY id")
    assert len(rows) == count, "a record was applied twice"
    assert {row["by"] for row in rows} == {"one", "two"}, "one of the two did everything"
    by_office = defaultdict(list)
    for row in rows:
        by_office[row["recipient"]].append(row["number"])
    assert all(numbers == sorted(numbers) for numbers in by_office.values())
    lost = topology.metrics.registry.get_sample_value("todoke_consumer_lost_races_total", {"service": "storage"})
    assert lost, "they never met"
    offsets = await topology.fetch("SELECT partition, next FROM consumer_offset ORDER BY partition")
    assert {row["partition"]: row["next"] for row in offsets} == {place.partition: end for place, end in ends.items()}
    assert not await topology.fetch("SELECT 1 FROM hold")
