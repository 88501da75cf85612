"""Arrival: numbers without a gap, once each, in order."""

import asyncio
import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from todoke.events import Delivered, MessageRouted, Package, Recalled
from todoke.relay.postgres import DatabaseAway
from todoke.relay.testing import Stage, heard, journalled

SENDER, RECIPIENT, OTHER = "9970100018", "9970100117", "9970100216"
SQL = "SELECT delivery_no, delivered_at, status FROM delivery WHERE recipient = $1 ORDER BY delivery_no"


def routed(storage: Stage, recipient: str = RECIPIENT, count: int = 1) -> list[MessageRouted]:
    """Routed messages without content."""
    ports = storage.runtime.ports
    package = {"sequence": "20250825121901", "sender_name": "a", "recipient_name": "b", "epoch": "2026-11"}
    return [
        MessageRouted.model_validate(
            {
                "actor": {"kind": "system", "id": "routing"},
                "message_id": ports.ids.uuid7(),
                "sender": SENDER,
                "recipient": recipient,
                "counts": {},
                "package": {**package, "submitted_at": ports.clock.now(), "object_key": "x", "manifest": "AA=="},
            }
        )
        for _ in range(count)
    ]


async def rows(storage: Stage, recipient: str = RECIPIENT) -> list[Any]:
    async with storage.db.worker() as tx:
        return list(await tx.db.fetch(SQL, recipient))


async def test_a_batch_gets_dense_numbers_per_recipient_in_log_order(storage: Stage) -> None:
    ours, theirs = routed(storage, count=3), routed(storage, OTHER, 2)
    batch = [ours[1], theirs[0], ours[0], theirs[1], ours[2]]
    said = await storage.hear(*batch)
    assert [type(event) for event in said] == [Delivered] * 5
    numbers = {event.message_id: event.delivery_no for event in said if isinstance(event, Delivered)}
    assert [numbers[event.message_id] for event in (ours[1], ours[0], ours[2])] == [1, 2, 3]
    assert [numbers[event.message_id] for event in theirs] == [1, 2]


async def test_what_is_delivered_carries_package_and_counts_unchanged(storage: Stage, post: Any) -> None:
    sent = await post.send(SENDER, RECIPIENT)
    [said] = await storage.hear(sent.routed)
    assert isinstance(said, Delivered)
    assert said.package == sent.package
    assert isinstance(said.package, Package)
    assert said.counts == sent.routed.counts
    assert said.key() == RECIPIENT


async def test_a_repeated_event_changes_nothing_and_says_nothing(storage: Stage) -> None:
    batch = routed(storage, count=4)
    await storage.hear(*batch)
    before = await rows(storage)
    assert await storage.hear(*batch) == []
    assert await storage.hear(*reversed(batch), *batch) == []
    new = routed(storage)
    [said] = await storage.hear(batch[0], *new, batch[3])
    assert isinstance(said, Delivered)
    assert said.delivery_no == 5
    assert (await rows(storage))[:4] == before


async def test_concurrent_batches_for_one_recipient_leave_no_gap_and_no_time_goes_back(storage: Stage) -> None:
    ports = storage.runtime.ports
    messages = [*routed(storage, count=80), *routed(storage, OTHER, 80)]
    handler = storage.service.handlers[0]
    shuffle = random.Random(7)  # noqa: S311 (an order to be tried, no secret)

    async def deliver(batch: list[MessageRouted]) -> None:
        prepared = await handler.prepare([heard(event, offset) for offset, event in enumerate(batch)])
        async with storage.db.worker() as tx:
            said = await handler.apply(prepared, tx)
            ports.clock.move(timedelta(seconds=shuffle.choice((-5, 1))))  # type: ignore[attr-defined]
            tx.say(*said)

    # Eight owners at once, every message in three of their batches, each in its own order.
    copies = [event for event in messages for _ in range(3)]
    shuffle.shuffle(copies)
    await asyncio.gather(*(deliver(copies[start::8]) for start in range(8)))
    for recipient in (RECIPIENT, OTHER):
        found = await rows(storage, recipient)
        assert [row["delivery_no"] for row in found] == list(range(1, 81))
        times = [row["delivered_at"] for row in found]
        assert times == sorted(times)
    async with storage.db.worker() as tx:
        assert len(await journalled(tx)) == 160


async def test_a_number_is_not_earlier_than_the_one_before_when_a_clock_is_behind(storage: Stage, ports: Any) -> None:
    await storage.hear(*routed(storage))
    ports.clock.move(timedelta(minutes=-10))
    await storage.hear(*routed(storage))
    first, second = await rows(storage)
    assert first["delivered_at"] <= second["delivered_at"]


async def test_a_rolled_back_batch_leaves_no_gap(storage: Stage) -> None:
    handler = storage.service.handlers[0]
    lost, kept = routed(storage, count=2), routed(storage)
    prepared = await handler.prepare([heard(event) for event in lost])
    with pytest.raises(DatabaseAway):  # noqa: PT012 (the whole transaction is what fails)
        async with storage.db.worker() as tx:
            await handler.apply(prepared, tx)
            raise ConnectionError
    [said] = await storage.hear(*kept)
    assert isinstance(said, Delivered)
    assert said.delivery_no == 1
    async with storage.db.worker() as tx:
        assert [event.delivery_no for event in await handler.apply(prepared, tx)] == [2, 3]  # type: ignore[attr-defined]


async def test_routed_may_be_heard_before_submitted(storage: Stage, post: Any, office: Callable[..., Any]) -> None:
    sent = await post.send(SENDER, RECIPIENT)
    assert len(await storage.hear(sent.routed)) == 1
    assert await storage.hear(sent.submitted) == []
    assert (await office(RECIPIENT).get(f"{sent.url}/files/1")).status_code == 200


async def test_a_message_that_ended_before_is_not_delivered(storage: Stage, post: Any) -> None:
    for end in ("rejected", "undeliverable", "discarded"):
        sent = await post.send(SENDER, RECIPIENT)
        assert await storage.hear(getattr(sent, end)) == []
        assert await storage.hear(sent.submitted, sent.routed) == []
    assert await rows(storage) == []


async def test_a_recall_before_arrival_takes_effect_on_arrival(
    storage: Stage, post: Any, office: Callable[..., Any]
) -> None:
    sent, next_one = await post.send(SENDER, RECIPIENT), await post.send(SENDER, RECIPIENT)
    await storage.hear(sent.submitted)
    for _ in range(2):
        answer = await office(SENDER).recall(sent)
        assert (answer.status_code, answer.json()) == (202, {"status": "recall_requested"})
    said = await storage.hear(sent.routed, next_one.routed)
    recalled = next(event for event in said if isinstance(event, Recalled))
    assert (recalled.delivery_no, recalled.opened_at) == (None, None)
    assert recalled.reason_sealed
    assert await storage.hear(sent.routed) == []
    answer = await office(SENDER).recall(sent)
    assert (answer.status_code, answer.json()) == (200, {"status": "recalled", "opened_at": None})
    storage.runtime.ports.clock.move(timedelta(minutes=2))  # type: ignore[attr-defined]
    assert (await office(RECIPIENT).get(f"{sent.url}/files/1")).status_code == 404
    [row] = [row for row in await rows(storage) if row["delivery_no"]]
    assert row["delivery_no"] == 1
    async with storage.db.worker() as tx:
        assert [kind for kind, _ in await journalled(tx)] == ["RecallRequested", "Delivered", "Recalled"]
