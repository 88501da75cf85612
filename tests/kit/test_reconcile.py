"""Journal and topic are compared and mended: an older database, an emptied topic, both, a death anywhere."""

import asyncio
import contextlib
import dataclasses
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from services.routing.restore import restore
from tests.kit.topology import SYSTEM, TOPIC, Count, Topology, remake_topics, undeliverable
from todoke.events import Event, MessageDiscarded, MessageHeld, MessageReleased, read_headers
from todoke.relay.kafka import read_topic
from todoke.relay.postgres import Database, administrator
from todoke.relay.reconcile import Reconciler
from todoke.relay.reports import Report, last_was_clean, reports, wish

pytestmark = [pytest.mark.long]
PARTITIONS = 3


class Died(Exception):  # noqa: N818 (named for what happens)
    """The process ended here."""


class DieAt:
    """A crash point that ends the run the n-th time it is reached."""

    def __init__(self, name: str, nth: int = 1) -> None:
        self.name, self.left = name, nth

    def reach(self, name: str) -> None:
        if name == self.name:
            self.left -= 1
            if self.left == 0:
                raise Died(name)


def reconciler(topology: Topology, owner: str = "a", crash: DieAt | None = None) -> Reconciler:
    ports = dataclasses.replace(topology.ports, crash=crash) if crash else topology.ports
    return Reconciler(
        "routing",
        owner,
        topology.sayer,
        ports,
        topology.metrics,
        topology.log,
        kafka=topology.kafka,
        restore=restore,
    )


async def wish_for_all(topology: Topology) -> None:
    async with topology.sayer.worker() as tx:
        await wish(tx, "op-1")


async def compare(topology: Topology) -> Report:
    """What a start of the saying service finds."""
    await reconciler(topology).at_start()
    return (await reports(topology.sayer))[0]


async def rows(topology: Topology, query: str) -> list[Any]:
    """Rows of the saying service."""
    async with topology.sayer.connection() as db:
        return list(await db.fetch(query))


async def journal(topology: Topology) -> set[str]:
    return {str(row["event_id"]) for row in await rows(topology, "SELECT event_id FROM journal")}


async def log_of(topology: Topology) -> Counter[str]:
    """How often each event stands in the topic."""
    async with await read_topic(topology.kafka, TOPIC) as reader:
        return Counter([str(read_headers(raw.headers).event_id) async for raws in reader.batches() for raw in raws])


async def publish(topology: Topology, *events: Event) -> None:
    """Say events, and relay until nothing waits."""
    await topology.say(*events)

    async def nothing_waits() -> bool:
        return not await rows(topology, "SELECT FROM outbox LIMIT 1")

    async with topology.publishing():
        await topology.wait_for(nothing_waits, "everything is relayed")


def events(topology: Topology, first: int, count: int) -> list[Event]:
    return [undeliverable(topology.ports, number) for number in range(first, first + count)]


@contextlib.asynccontextmanager
async def older_copy(topology: Topology) -> AsyncIterator[Callable[[], Any]]:
    """A copy of the database as it is now; what is yielded puts the copy in the original's place."""
    name = urlsplit(topology.dsn).path.lstrip("/")
    await topology.close()
    async with administrator(topology.dsn.replace(name, "postgres")) as db:
        await db.execute(f'CREATE DATABASE "{name}_old" TEMPLATE "{name}" STRATEGY FILE_COPY')
    copy = topology.dsn.replace(name, f"{name}_old")
    await _open(topology, topology.dsn)

    async def put_back() -> None:
        await topology.close()
        await _open(topology, copy)

    try:
        yield put_back
    finally:
        await topology.close()
        async with administrator(topology.dsn.replace(name, "postgres")) as db:
            await db.execute(f'DROP DATABASE "{name}_old" WITH (FORCE)')


async def _open(topology: Topology, dsn: str) -> None:
    for attribute, service in (("sayer", "routing"), ("hearer", "storage")):
        opened = await Database.open(
            service, address=dsn, passwords=topology.secrets.password, ports=topology.ports, size=4
        )
        setattr(topology, attribute, opened)


async def test_a_start_with_nothing_to_mend_reads_one_record_of_each_partition(topology: Topology) -> None:
    first = await compare(topology)
    assert (first.looked_at, first.clean) == (0, True)
    await publish(topology, *events(topology, 0, 300))
    for _ in range(2):
        report = await compare(topology)
        assert (report.trigger, report.compared, report.mismatch) == ("start", "tail", None)
        assert 0 < report.looked_at <= PARTITIONS
        assert (report.taken_back, report.published_again, report.clean) == (0, 0, True)
    await publish(topology, *events(topology, 300, 20))
    assert (await compare(topology)).looked_at <= PARTITIONS


async def test_what_an_older_database_forgot_is_taken_back(topology: Topology) -> None:
    await compare(topology)
    await publish(topology, *events(topology, 0, 60))
    async with older_copy(topology) as put_back:
        await publish(topology, *events(topology, 60, 40))
        whole = await journal(topology)
        await put_back()
        assert len(await journal(topology)) == 60
        report = await compare(topology)
        assert (report.compared, report.taken_back, report.published_again) == ("tail", 40, 0)
        assert await journal(topology) == whole
        assert len(await rows(topology, "SELECT FROM routed")) == 40
        assert not await rows(topology, "SELECT FROM outbox")
        assert await last_was_clean(topology.sayer)
        times = await rows(topology, "SELECT FROM journal WHERE recorded_at > now() - interval '1 hour'")
        assert len(times) == 100
        again = await compare(topology)
        assert (again.taken_back, again.looked_at <= PARTITIONS) == (0, True)
        async with topology.publishing(), topology.hearing("bare", Count()):
            await topology.wait_for_effects(100)
        assert set((await log_of(topology)).values()) == {1}


async def test_what_an_emptied_topic_lacks_is_published_again_and_heard_once(topology: Topology) -> None:
    await compare(topology)
    async with topology.hearing("bare", Count()):
        await publish(topology, *events(topology, 0, 30))
        await topology.wait_for_effects(30)
    await publish(topology, *events(topology, 30, 30))
    await remake_topics(topology.kafka, [TOPIC])
    report = await compare(topology)
    assert (report.compared, report.mismatch) == ("topic", "the log ends before its mark")
    assert (report.taken_back, report.published_again) == (0, 60)
    async with topology.hearing("bare", Count(), instance="2"):
        await publish(topology, *events(topology, 60, 5))
        await topology.wait_for_effects(65)
    assert set((await log_of(topology)).values()) == {1}
    said = await rows(topology, "SELECT event_id FROM journal ORDER BY seq")
    in_log = await _ids_by_partition(topology)
    place = {str(row["event_id"]): at for at, row in enumerate(said)}
    assert all([place[one] for one in line] == sorted(place[one] for one in line) for line in in_log)
    assert (await compare(topology)).looked_at <= PARTITIONS


async def test_records_that_were_deleted_from_the_beginning_are_published_again(topology: Topology) -> None:
    await compare(topology)
    await publish(topology, *events(topology, 0, 60))
    whole = await journal(topology)
    admin = AIOKafkaAdminClient(bootstrap_servers=topology.kafka)
    await admin.start()
    try:
        await admin.delete_records({TopicPartition(TOPIC, 0): RecordsToDelete(before_offset=5)})
    finally:
        await admin.close()
    report = await compare(topology)
    assert (report.mismatch, report.published_again) == ("the log begins later than before", 5)
    await publish(topology)
    assert set(await log_of(topology)) == whole
    assert (await compare(topology)).mismatch is None


@pytest.mark.parametrize(
    "point",
    [
        None,
        "routing.reconcile.after-taking-back",
        "routing.reconcile.after-reading",
        "routing.reconcile.after-collecting",
        "routing.reconcile.after-publishing",
    ],
)
async def test_both_at_once_are_mended_wherever_the_first_try_dies(
    topology: Topology, monkeypatch: pytest.MonkeyPatch, point: str | None
) -> None:
    monkeypatch.setattr("todoke.relay.reconcile.PAGE_ROWS", 15)
    await compare(topology)
    await publish(topology, *events(topology, 0, 40))
    async with older_copy(topology) as put_back:
        await remake_topics(topology.kafka, [TOPIC])
        await compare(topology)
        await rows(topology, "DELETE FROM outbox RETURNING 1")  # the log that only the newer database knew
        await publish(topology, *events(topology, 40, 20))
        whole = await journal(topology)
        await put_back()
        if point is not None:
            with pytest.raises(Died):
                await reconciler(topology, crash=DieAt(point)).at_start()
        report = await compare(topology)
        assert await journal(topology) == whole
        assert report.published_again == 40 or point == "routing.reconcile.after-publishing"
        await publish(topology)
        assert await log_of(topology) == Counter(whole)
        assert (await compare(topology)).mismatch is None
        assert len(await rows(topology, "SELECT FROM routed")) == 20


@pytest.mark.parametrize("point", ["routing.reconcile.after-mark", "routing.reconcile.after-taking-back"])
async def test_taking_back_goes_on_where_it_died(topology: Topology, point: str) -> None:
    await compare(topology)
    async with older_copy(topology) as put_back:
        await publish(topology, *events(topology, 0, 40))
        whole = await journal(topology)
        await put_back()
        with pytest.raises(Died):
            await reconciler(topology, crash=DieAt(point)).at_start()
        there = len(await journal(topology))
        assert 0 < there < 40
        report = await compare(topology)
        assert (report.taken_back, await journal(topology)) == (40 - there, whole)
        assert len(await rows(topology, "SELECT FROM routed")) == 40


async def test_of_several_processes_that_start_together_one_compares(topology: Topology) -> None:
    await compare(topology)
    async with older_copy(topology) as put_back:
        await publish(topology, *events(topology, 0, 30))
        await put_back()
        before = len(await reports(topology.sayer))
        await asyncio.gather(*(reconciler(topology, owner).at_start() for owner in ("web", "work", "work 2")))
        assert [report.taken_back for report in (await reports(topology.sayer))[: -before or None]] == [30]


async def test_a_topic_made_anew_under_a_running_relay_is_noticed_and_filled_again(topology: Topology) -> None:
    await compare(topology)
    one = reconciler(topology)
    async with topology.publishing():
        await topology.say(*events(topology, 0, 30))
        await topology.wait_for(lambda: _nothing_waits(topology), "everything is relayed")
        assert not await one.settle()
        await remake_topics(topology.kafka, [TOPIC])
        await topology.say(*events(topology, 30, 30))
        await topology.wait_for(one.settle, "suspicion", 60)
        await topology.wait_for(lambda: _nothing_waits(topology), "everything is relayed again")
    report = (await reports(topology.sayer))[0]
    assert (report.trigger, report.mismatch) == ("suspect", "the log went on below its mark")
    assert set(await log_of(topology)) == await journal(topology)
    assert (await compare(topology)).mismatch is None


async def test_what_nobody_can_read_is_named_and_stays_unclean_until_it_is_gone(topology: Topology) -> None:
    await compare(topology)
    await publish(topology, *events(topology, 0, 5))
    producer = AIOKafkaProducer(bootstrap_servers=topology.kafka)
    await producer.start()
    try:
        await producer.send_and_wait(TOPIC, b"{", key=b"9970100117", headers=[("ce_id", b"?")], partition=1)
    finally:
        await producer.stop()
    report = await compare(topology)
    [named] = report.unhealed
    assert (named.kind, named.subject.partition("/")[0], report.count, report.clean) == ("unreadable", "1", 1, False)
    assert not (await compare(topology)).clean
    await wish_for_all(topology)
    assert await reconciler(topology).settle()
    assert not await last_was_clean(topology.sayer)
    await remake_topics(topology.kafka, [TOPIC])
    assert not (await compare(topology)).clean
    await publish(topology)
    await wish_for_all(topology)
    assert await reconciler(topology).settle()
    report = (await reports(topology.sayer))[0]
    assert (report.trigger, report.compared, report.published_again, report.clean) == ("demand", "topic", 0, True)
    assert not await reconciler(topology).settle()


async def test_holds_that_were_forgotten_are_set_up_again(topology: Topology) -> None:
    await compare(topology)
    ids = [topology.ports.ids.uuid7() for _ in range(3)]
    async with older_copy(topology) as put_back:
        for message_id in ids:
            await topology.say(_held(topology, message_id, 1))
        await topology.say(_ended(MessageReleased, topology, ids[0], nth=1, released_at=topology.ports.clock.now()))
        await topology.say(_ended(MessageDiscarded, topology, ids[1], discarded_at=topology.ports.clock.now()))
        await topology.say(_held(topology, ids[0], 2))
        await publish(topology)
        await put_back()
        assert (await compare(topology)).taken_back == 6
        holds = {row["subject"]: (row["state"], row["nth"]) for row in await rows(topology, "SELECT * FROM hold")}
    assert holds == {str(ids[0]): ("held", 2), str(ids[1]): ("discarded", 1), str(ids[2]): ("held", 1)}


def _held(topology: Topology, message_id: Any, nth: int) -> Event:
    return _ended(MessageHeld, topology, message_id, nth=nth, cause="parked", held_at=topology.ports.clock.now())


def _ended(kind: Any, _: Topology, message_id: Any, **facts: Any) -> Event:
    event: Event = kind(
        actor=SYSTEM, message_id=message_id, sender="9970100018", recipient=f"997010{message_id.int % 7:04}", **facts
    )
    return event


async def _nothing_waits(topology: Topology) -> bool:
    return not await rows(topology, "SELECT FROM outbox LIMIT 1")


async def _ids_by_partition(topology: Topology) -> list[list[str]]:
    found: dict[int, list[str]] = {}
    async with await read_topic(topology.kafka, TOPIC) as reader:
        async for raws in reader.batches():
            found.setdefault(raws[0].partition, []).extend(str(read_headers(raw.headers).event_id) for raw in raws)
    return list(found.values())
