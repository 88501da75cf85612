"""An operator before a consumer that really runs: the breaker trips, is reset over HTTP, and consuming goes on."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from aiokafka import AIOKafkaProducer

from tests.kit.conftest import Operators
from tests.kit.topology import TOPIC, Count, Topology, poison, remake_topics, running, undeliverable
from todoke.relay.consumer import Discipline
from todoke.relay.kafka import read_topic
from todoke.relay.limits import PARKS_IN_A_ROW_MAX
from todoke.relay.reconcile import Reconciler

pytestmark = [pytest.mark.long]


@contextlib.asynccontextmanager
async def looked_after(discipline: Discipline) -> AsyncIterator[None]:
    """What the host does beside hearing: look at the breaker, carry out operators' words."""

    async def look() -> None:
        while True:
            await discipline.watch_breaker()
            if not await discipline.parking.settle_one():
                await asyncio.sleep(0.05)

    async with running(look()):
        yield


async def test_the_breaker_trips_and_an_operator_resets_it_and_consuming_goes_on(
    topology: Topology, operators: Operators
) -> None:
    handler = Count()
    handler.fails = RuntimeError
    async with topology.publishing(), topology.hearing("bare", handler) as discipline, looked_after(discipline):
        await topology.say(*(undeliverable(topology.ports, number) for number in range(30)))

        async def tripped() -> bool:
            return bool((await operators.get("/breaker"))["open"])

        await topology.wait_for(tripped, "the breaker")
        held = (await operators.get("/parked"))["items"]
        assert len(held) == PARKS_IN_A_ROW_MAX
        assert (await operators.get("/lag"))["behind"] == 30 - PARKS_IN_A_ROW_MAX
        assert await topology.effects() == []

        handler.fails = lambda _: None
        assert (await operators.act("/breaker/reset"))["changed"]
        await topology.wait_for_effects(30 - PARKS_IN_A_ROW_MAX)
        for hold in held:
            await operators.act(f"/parked/{hold['subject']}/retry")
        await topology.wait_for_effects(30)
        assert (await operators.get("/parked"))["items"] == []
        assert (await operators.get("/lag"))["behind"] == 0
    said = [row["type"] for row in await topology.fetch("SELECT type FROM journal_office ORDER BY seq")]
    assert said == ["OperatorActed"] * (1 + PARKS_IN_A_ROW_MAX)


async def test_a_service_that_an_operator_stops_hears_nothing_until_it_may_again(
    topology: Topology, operators: Operators
) -> None:
    handler = Count()
    async with topology.publishing(), topology.hearing("bare", handler) as discipline, looked_after(discipline):
        await operators.act("/breaker/trip")

        async def stopped() -> bool:
            return discipline.breaker_open

        await topology.wait_for(stopped, "the service to follow")
        await topology.say(*(undeliverable(topology.ports, number) for number in range(10)))

        async def waiting() -> bool:
            return bool((await operators.get("/lag"))["behind"] == 10)

        await topology.wait_for(waiting, "ten records behind")
        assert await topology.effects() == []
        await operators.act("/breaker/reset")
        await topology.wait_for_effects(10)


async def test_a_retry_that_fails_again_is_held_again_until_it_is_given_up(
    topology: Topology, operators: Operators
) -> None:
    handler = Count()
    handler.fails = lambda reason: poison(reason) if reason == "TDK-3" else None
    async with topology.publishing(), topology.hearing("bare", handler) as discipline, looked_after(discipline):
        await topology.say(*(undeliverable(topology.ports, number) for number in range(5)))
        await topology.wait_for_effects(4)
        await topology.wait_for(lambda: topology.fetch("SELECT 1 FROM hold"), "a hold")
        (hold,) = (await operators.get("/parked"))["items"]
        path = f"/parked/{hold['subject']}"
        await operators.act(f"{path}/retry")

        async def tried() -> bool:
            shown = await operators.get(path)
            return bool(shown["state"] == "held" and shown["attempts"] > hold["attempts"])

        await topology.wait_for(tried, "a retry that failed")
        await operators.act(f"{path}/discard")

        async def given_up() -> bool:
            return bool((await operators.get(path))["state"] == "discarded")

        await topology.wait_for(given_up, "the end of the hold")
    said = [row["type"] for row in await topology.fetch("SELECT type FROM journal ORDER BY seq")]
    assert said == ["MessageHeld", "MessageDiscarded"]


async def test_a_topic_that_was_emptied_is_filled_when_an_operator_has_it_compared(
    topology: Topology, operators: Operators
) -> None:
    service = Reconciler(
        "routing", "a", topology.sayer, topology.ports, topology.metrics, topology.log, kafka=topology.kafka
    )
    await service.at_start()
    handler = Count()
    async with topology.publishing(), topology.hearing("bare", handler):
        await topology.say(*(undeliverable(topology.ports, number) for number in range(20)))
        await topology.wait_for_effects(20)
    await remake_topics(topology.kafka, [TOPIC])
    async with one_unreadable_record(topology.kafka):
        await operators.act("/reconcile", "routing")
        assert (await operators.get("/reconcile", "routing"))["asked_by"] == "operator-1"
        assert await service.settle()
        told = await operators.get("/reconcile", "routing")
    report = told["items"][0]
    assert (report["trigger"], report["published_again"], report["count"]) == ("demand", 20, 1)
    assert report["unhealed"] == [{"kind": "unreadable", "subject": "1/0"}]
    assert (told["clean"], told["asked_by"], told["advice"].keys()) == (False, None, {"unreadable"})
    async with topology.publishing():
        await topology.wait_for(lambda: nothing_waits(topology), "everything is relayed again")
    async with await read_topic(topology.kafka, TOPIC) as reader:
        assert len([raw async for raws in reader.batches() for raw in raws]) == 22  # with what an operator did


@contextlib.asynccontextmanager
async def one_unreadable_record(kafka: str) -> AsyncIterator[None]:
    """Somebody else has written into the topic."""
    producer = AIOKafkaProducer(bootstrap_servers=kafka)
    await producer.start()
    try:
        await producer.send_and_wait(TOPIC, b"{", key=b"9970100117", headers=[("ce_id", b"?")], partition=1)
        yield
    finally:
        await producer.stop()


async def nothing_waits(topology: Topology) -> bool:
    async with topology.sayer.connection() as db:
        return not await db.fetch("SELECT FROM outbox LIMIT 1")
