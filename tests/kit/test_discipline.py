"""What the consumer promises, over a real Kafka and a real PostgreSQL, with both drivers."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable

import pytest
from aiokafka import AIOKafkaProducer

from tests.kit.conftest import Operators
from tests.kit.topology import DRIVERS, TOPIC, Count, Topology, poison, remake_topics, transient, undeliverable
from todoke.client.core import segment
from todoke.events import record_of
from todoke.relay.consumer import Place
from todoke.relay.limits import PARKS_IN_A_ROW_MAX

pytestmark = [pytest.mark.long]
DRIVER = pytest.mark.parametrize("driver", sorted(DRIVERS))


@DRIVER
async def test_every_event_has_one_effect_in_the_order_of_its_office(topology: Topology, driver: str) -> None:
    events = [undeliverable(topology.ports, number) for number in range(600)]
    async with topology.publishing(), topology.hearing(driver, Count()):
        for at in range(0, 600, 50):
            await topology.say(*events[at : at + 50])
        await topology.wait_for_effects(600)
    by_office = defaultdict(list)
    for row in await topology.effects():
        by_office[row["recipient"]].append(int(row["reason"].removeprefix("TDK-")))
    assert sum(map(len, by_office.values())) == 600
    assert all(numbers == sorted(numbers) for numbers in by_office.values())


@DRIVER
async def test_trouble_that_passes_loses_and_repeats_nothing(topology: Topology, driver: str) -> None:
    handler, left = Count(), {"TDK-3": 4, "TDK-41": 2}

    def fails(reason: str) -> Exception | None:
        if left.get(reason, 0) > 0:
            left[reason] -= 1
            return transient(reason)
        return None

    handler.fails = fails
    async with topology.publishing(), topology.hearing(driver, handler):
        await topology.say(*(undeliverable(topology.ports, number) for number in range(60)))
        await topology.wait_for_effects(60)
    assert len(await topology.effects()) == 60
    assert not await topology.fetch("SELECT 1 FROM parked")


@DRIVER
async def test_a_poison_message_is_held_and_all_others_flow(
    topology: Topology, operators: Operators, driver: str
) -> None:
    handler = Count()
    handler.fails = lambda reason: poison(reason) if reason == "TDK-13" else None
    async with topology.publishing(), topology.hearing(driver, handler) as discipline:
        await topology.say(*(undeliverable(topology.ports, number) for number in range(40)))
        await topology.wait_for_effects(39)
        holds = await topology.fetch("SELECT subject, state, attempts FROM hold")
        assert [row["state"] for row in holds] == ["held"]
        said = await topology.fetch("SELECT type, payload::text FROM journal")
        assert [row["type"] for row in said] == ["MessageHeld"]
        handler.fails = lambda _: None
        assert (await operators.act(f"/parked/{holds[0]['subject']}/retry"))["records"] == 1
        assert await discipline.parking.settle_one()
    reasons = {row["reason"] for row in await topology.effects()}
    assert reasons == {f"TDK-{number}" for number in range(40)}
    said = await topology.fetch("SELECT type FROM journal ORDER BY seq")
    assert [row["type"] for row in said] == ["MessageHeld", "MessageReleased"]
    assert not await topology.fetch("SELECT 1 FROM parked")


async def test_work_that_takes_too_long_is_done_in_parts_and_only_what_is_slow_alone_is_held(
    topology: Topology, operators: Operators, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("todoke.relay.postgres.COMMAND_SECONDS_MAX", 0.4)
    await topology.reopen_hearer()
    handler = Count()
    handler.seconds = lambda reason: 5 if reason == "TDK-7" else 0.02
    await topology.say(*(undeliverable(topology.ports, number, office="9970100117") for number in range(40)))
    async with topology.publishing(), topology.hearing("bare", handler) as discipline:
        await topology.wait_for_effects(39)
        (hold,) = await topology.fetch("SELECT subject, error FROM hold")
        assert hold["error"].startswith("too slow")
        path = f"/parked/{hold['subject']}"
        await operators.act(f"{path}/retry")
        assert await discipline.parking.settle_one()
        assert (await operators.get(path))["state"] == "held"  # and nobody else waits for it
        handler.seconds = lambda _: 0
        await operators.act(f"{path}/retry")
        assert await discipline.parking.settle_one()
        assert (await operators.get(path))["state"] == "released"
    reasons = [row["reason"] for row in await topology.effects()]
    assert reasons == [f"TDK-{number}" for number in [*range(7), *range(8, 40), 7]]
    assert max(handler.batches) == 40


async def test_later_events_of_a_held_message_wait_behind_it_and_a_discard_ends_it(
    topology: Topology, operators: Operators
) -> None:
    handler = Count()
    handler.fails = lambda reason: poison(reason) if reason == "TDK-1" else None
    message = topology.ports.ids.uuid7()
    first = undeliverable(topology.ports, 1, message_id=message, office="9970100117")
    async with topology.publishing(), topology.hearing("bare", handler) as discipline:
        await topology.say(first)
        await topology.wait_for(lambda: topology.fetch("SELECT 1 FROM hold"), "a hold")
        again = record_of(first, "routing", topology.ports.clock.now(), None)
        await _send_raw(topology.kafka, again.key.encode(), again.body, again.headers())
        other = undeliverable(topology.ports, 2, office="9970100117")
        await topology.say(other)
        await topology.wait_for_effects(1)
        assert len(await topology.fetch("SELECT 1 FROM parked")) == 2
        await operators.act(f"/parked/{message}/discard")
        assert await discipline.parking.settle_one()
        assert not await discipline.parking.settle_one()
    assert [row["reason"] for row in await topology.effects()] == ["TDK-2"]
    said = await topology.fetch("SELECT type FROM journal ORDER BY seq")
    assert [row["type"] for row in said] == ["MessageHeld", "MessageDiscarded"]


@pytest.mark.parametrize("damage", ["none", "an unknown version", "no headers at all"])
async def test_what_an_operator_gave_up_is_passed_over_when_the_log_is_heard_again(
    topology: Topology, operators: Operators, damage: str
) -> None:
    handler = Count()
    handler.fails = lambda reason: poison(reason) if reason == "TDK-1" else None
    broken = record_of(undeliverable(topology.ports, 1), "routing", topology.ports.clock.now(), None)
    headers = dict(broken.headers())
    if damage == "an unknown version":
        headers["ce_dataschema"] = b"urn:todoke:event:message-undeliverable:99"
    elif damage == "no headers at all":
        headers = {}
    async with topology.publishing():
        await _send_raw(topology.kafka, broken.key.encode(), broken.body, list(headers.items()))
        async with topology.hearing("bare", handler) as discipline:
            await topology.say(undeliverable(topology.ports, 2))
            await topology.wait_for_effects(1)
            await topology.wait_for(lambda: topology.fetch("SELECT 1 FROM hold"), "a hold")
            subject = (await topology.fetch("SELECT subject FROM hold"))[0]["subject"]
            await operators.act(f"/parked/{segment(subject)}/discard")
            assert await discipline.parking.settle_one()
        said = await topology.fetch("SELECT type FROM journal ORDER BY seq")
        await topology.fetch("DELETE FROM consumer_offset RETURNING 1")
        await topology.fetch("DELETE FROM effect RETURNING 1")
        async with topology.hearing("bare", handler, instance="2"):  # a new process, which believes nothing yet
            await topology.wait_for_effects(1)
            await topology.say(undeliverable(topology.ports, 3))
            await topology.wait_for_effects(2)
            await topology.wait_for(_all_heard(topology, 3), "the whole log heard again")
    assert [row["state"] for row in await topology.fetch("SELECT state FROM hold")] == ["discarded"]
    assert not await topology.fetch("SELECT 1 FROM parked")
    assert await topology.fetch("SELECT type FROM journal ORDER BY seq") == said


@DRIVER
@pytest.mark.parametrize(
    "damage", ["a header that is no text", "an unknown version", "a body that is no JSON", "no headers at all"]
)
async def test_a_record_that_cannot_be_read_is_held_and_the_next_one_is_heard(
    topology: Topology, driver: str, damage: str
) -> None:
    record = record_of(undeliverable(topology.ports, 1), "routing", topology.ports.clock.now(), None)
    headers, body = dict(record.headers()), record.body
    if damage == "a header that is no text":
        headers["ce_time"] = b"\xff\xfe"
    elif damage == "an unknown version":
        headers["ce_dataschema"] = b"urn:todoke:event:message-undeliverable:99"
    elif damage == "a body that is no JSON":
        body = b"{"
    else:
        headers = {}
    async with topology.publishing(), topology.hearing(driver, Count()):
        await _send_raw(topology.kafka, record.key.encode(), body, list(headers.items()))
        await topology.say(undeliverable(topology.ports, 2))
        await topology.wait_for_effects(1)
        await topology.wait_for(lambda: topology.fetch("SELECT 1 FROM hold"), "a hold")
    parked = await topology.fetch("SELECT value, header_names, error FROM parked")
    assert len(parked) == 1
    assert parked[0]["value"] == body
    assert sorted(parked[0]["header_names"]) == sorted(headers)


async def test_a_type_nobody_asked_for_is_passed_over(topology: Topology) -> None:
    record = record_of(undeliverable(topology.ports, 1), "routing", topology.ports.clock.now(), None)
    headers = dict(record.headers()) | {"ce_type": b"jp.todoke.something-new"}
    async with topology.publishing(), topology.hearing("bare", Count()):
        await _send_raw(topology.kafka, record.key.encode(), b"whatever", list(headers.items()))
        await topology.say(undeliverable(topology.ports, 2))
        await topology.wait_for_effects(1)
    assert not await topology.fetch("SELECT 1 FROM hold")


async def test_a_zombie_whose_partition_moved_on_changes_nothing(topology: Topology) -> None:
    slow = Count()
    slow.pause = asyncio.Event()
    async with topology.publishing():
        await topology.say(*(undeliverable(topology.ports, number) for number in range(20)))
        async with topology.hearing("bare", slow, instance="zombie") as zombie:
            await asyncio.wait_for(slow.entered.wait(), 20)
            await topology.fetch("UPDATE consumer_offset SET next = next + 100, event_id = 'other' RETURNING 1")
            slow.pause.set()
            await topology.wait_for(_counted(topology, "todoke_consumer_lost_races_total"), "a lost race")
            assert await topology.effects() == []
            assert zombie.expected


async def test_a_topic_made_anew_is_heard_from_its_beginning(topology: Topology) -> None:
    first = [undeliverable(topology.ports, number) for number in range(30)]
    async with topology.publishing(), topology.hearing("bare", Count()):
        await topology.say(*first)
        await topology.wait_for_effects(30)
    await remake_topics(topology.kafka, [TOPIC])
    second = [undeliverable(topology.ports, number) for number in range(30, 40)]
    async with topology.publishing(), topology.hearing("bare", Count()):
        await topology.say(*second)
        await topology.wait_for_effects(40)
    assert len(await topology.effects()) == 40


async def test_another_record_at_the_last_offset_means_another_log(topology: Topology) -> None:
    async with topology.publishing():
        async with topology.hearing("bare", Count()):
            await topology.say(*(undeliverable(topology.ports, number) for number in range(30)))
            await topology.wait_for_effects(30)
        await topology.fetch("UPDATE consumer_offset SET event_id = 'somebody else' RETURNING 1")
        await topology.fetch("DELETE FROM effect RETURNING 1")
        async with topology.hearing("bare", Count(), instance="2"):
            await topology.wait_for_effects(30)


async def test_a_handler_that_always_fails_trips_the_breaker_and_parks_no_more(topology: Topology) -> None:
    handler = Count()
    handler.fails = lambda reason: RuntimeError(f"secret {reason}")
    async with topology.publishing(), topology.hearing("bare", handler) as discipline:
        await topology.say(*(undeliverable(topology.ports, number) for number in range(30)))
        await topology.wait_for(lambda: topology.fetch("SELECT 1 FROM breaker"), "the breaker")
        assert len(await topology.fetch("SELECT 1 FROM hold")) == PARKS_IN_A_ROW_MAX
        assert not [row for row in await topology.fetch("SELECT error FROM parked") if "secret" in row["error"]]
        handler.fails = lambda _: None
        await topology.fetch("DELETE FROM breaker RETURNING 1")
        await discipline.watch_breaker()
        await topology.wait_for_effects(30 - PARKS_IN_A_ROW_MAX)


async def test_messages_that_are_slow_to_read_are_held_and_stop_nobody_else(
    topology: Topology, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("todoke.relay.consumer.BATCH_SECONDS_MAX", 0.3)
    handler, slow = Count(), {f"TDK-{number}" for number in range(2 * PARKS_IN_A_ROW_MAX)}
    handler.slow = slow
    async with topology.publishing(), topology.hearing("bare", handler):
        await topology.say(*(undeliverable(topology.ports, number) for number in range(30)))
        await topology.wait_for_effects(30 - len(slow))
    assert len(await topology.fetch("SELECT 1 FROM hold")) == len(slow)
    assert not await topology.fetch("SELECT 1 FROM breaker")


async def test_after_an_unclean_exit_batches_begin_with_one(topology: Topology) -> None:
    handler = Count()
    discipline = topology.discipline(handler, careful=True)
    driver = DRIVERS["bare"](discipline, topology.kafka, "1", topology.log)
    async with topology.publishing():
        await topology.say(*(undeliverable(topology.ports, number) for number in range(80)))
        task = asyncio.create_task(driver.run())
        await topology.wait_for_effects(80)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert handler.batches[:50] == [1] * 50
    assert sum(handler.batches) == 80
    assert not await topology.fetch("SELECT 1 FROM suspect")


async def test_records_before_the_assignment_is_known_are_refused(topology: Topology) -> None:
    discipline = topology.discipline(Count())
    await discipline.poll({Place(TOPIC, 0): []})
    assert discipline.expected == {}
    assert await topology.effects() == []


def _all_heard(topology: Topology, records: int) -> Callable[[], Awaitable[bool]]:
    async def check() -> bool:
        return bool(
            (await topology.fetch("SELECT coalesce(sum(next), 0) = $1 AS all FROM consumer_offset", records))[0]["all"]
        )

    return check


def _counted(topology: Topology, name: str) -> Callable[[], Awaitable[bool]]:
    async def check() -> bool:
        return bool(topology.metrics.registry.get_sample_value(name, {"service": "storage"}))

    return check


async def _send_raw(kafka: str, key: bytes, value: bytes, headers: list[tuple[str, bytes]]) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=kafka)
    await producer.start()
    try:
        await producer.send_and_wait(TOPIC, value, key=key, headers=headers)
    finally:
        await producer.stop()
