"""The log heard in any batches, any interleaving of topics and as often as one likes gives the same tables."""

import asyncio
import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from services.projection.rows import FactRow, Row
from services.projection.rules import HEARD, State, state_of
from todoke.events import CATALOGUE, MessageEvent
from todoke.relay.handler import Handler
from todoke.relay.postgres import Database
from todoke.relay.testing import Stage, heard

from .conftest import RECIPIENT, SENDER, STRANGER, Story, forget_everything, tables

Tell = Callable[..., Story]
Heard = list[tuple[str, MessageEvent]]

MESSAGES = 8
OFFICES = (SENDER, RECIPIENT, STRANGER)


def dice(seed: int) -> random.Random:
    """The same throws for the same seed."""
    return random.Random(seed)  # noqa: S311 (a test's choices are no secret)


def lives(tell: Tell, rng: random.Random) -> Heard:
    """What happened to some messages between three offices, each event with the service that says it."""
    numbers: dict[str, int] = defaultdict(int)
    told: Heard = []
    for _ in range(MESSAGES):
        sender, recipient = rng.sample(OFFICES, 2)
        story = tell(sender=sender, recipient=recipient)
        told += [
            (event.SAID_BY[0] if len(event.SAID_BY) == 1 else service, event)
            for service, event in _life(story, numbers, rng)
        ]
    return told


def _life(story: Story, numbers: dict[str, int], rng: random.Random) -> Heard:
    end = rng.choice(["rejected", "undeliverable", "discarded", "delivered", "downloaded", "recalled", "expired"])
    told: Heard = [("ingest", story.submitted())]
    if rng.random() < 0.4:
        told += [("validation", story.held()), ("validation", story.released())]
    if end == "rejected":
        return [*told, ("validation", story.rejected()), ("storage", story.erased(None))]
    told.append(("validation", story.accepted()))
    if end == "undeliverable":
        return [*told, ("routing", story.undeliverable())]
    if end == "discarded":
        return [*told, ("routing", story.held()), ("routing", story.discarded())]
    told.append(("routing", story.routed()))
    if rng.random() < 0.4:
        told += [("storage", story.held()), ("storage", story.recall_requested()), ("storage", story.released())]
    numbers[story.recipient] += 1
    number = numbers[story.recipient]
    told.append(("storage", story.delivered(number)))
    if end != "delivered" and rng.random() < 0.5:
        told.append(("storage", story.opened()))
    if end == "downloaded":
        told += [
            ("storage", story.reminder()),
            ("storage", story.downloaded(number)),
            ("storage", story.erased(number)),
        ]
    elif end == "recalled":
        told.append(("storage", story.recalled(number)))
    elif end == "expired":
        told.append(("storage", story.expired(number)))
    return told


def shuffled(log: Heard, rng: random.Random) -> Heard:
    """Another interleaving: the order within one topic's partition (topic and key) stays."""
    partitions: dict[tuple[str, str], Heard] = defaultdict(list)
    for service, event in log:
        partitions[service, event.key()].append((service, event))
    order = [key for key, told in partitions.items() for _ in told]
    rng.shuffle(order)
    return [partitions[key].pop(0) for key in order]


async def hear_in_batches(stage: Stage, log: Heard, rng: random.Random, batch_max: int = 12) -> None:
    """Hear a log in batches of any size; now and then a batch comes twice, as after a lost acknowledgement."""
    start = 0
    while start < len(log):
        end = start + rng.randint(1, batch_max)
        await hear(stage, log[start:end])
        if rng.random() < 0.2:
            await hear(stage, log[max(0, start - 3) : end])
        start = end


async def hear(stage: Stage, told: Heard) -> None:
    await told_to(stage.service.handlers[0], stage.db, told)


async def told_to(lists: Handler, db: Database, told: Heard) -> None:
    """Hand a batch to a handler over a database."""
    prepared = await lists.prepare([_heard(service, event) for service, event in told])
    async with db.worker() as tx:
        assert await lists.apply(prepared, tx) == ()


def _heard(service: str, event: MessageEvent) -> Any:
    return heard(event, said_by=service)


async def everything(db: Database) -> dict[str, list[dict[str, Any]]]:
    """All tables of the read set, as far as they must not depend on how the log was heard."""
    async with db.worker() as tx:
        found = {
            name: [dict(row) for row in await getattr(tables, name)(tx.db)]
            for name in ("facts", "sent", "received", "tallies", "recount", "heads", "feeds", "changes", "numbers")
        }
    for fact in found["facts"]:
        if fact["type"] in ("MessageAccepted", "MessageRouted"):
            del fact["at"]  # these carry no time of their own but that of their record, which a test's record lacks
    return found


@pytest.mark.timeout(120)
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
@given(rng=st.randoms(use_true_random=False))
async def test_any_interleaving_and_batching_gives_the_same_tables(
    projection: Stage, tell: Tell, rng: random.Random
) -> None:
    await forget_everything(projection.db)
    log = lives(tell, rng)
    await hear(projection, log)
    wanted = await everything(projection.db)
    assert wanted["tallies"] == wanted["recount"]
    await forget_everything(projection.db)
    await hear_in_batches(projection, shuffled(log, rng), rng)
    assert await everything(projection.db) == wanted
    await hear_in_batches(projection, shuffled(log, rng), rng, batch_max=40)  # the whole log again
    assert await everything(projection.db) == wanted


@pytest.mark.timeout(120)
async def test_two_consumers_at_once_give_the_same_tables(projection: Stage, tell: Tell) -> None:
    rng = dice(4)
    log = lives(tell, rng)
    await hear(projection, log)
    wanted = await everything(projection.db)
    for _ in range(5):
        await forget_everything(projection.db)
        halves: tuple[Heard, Heard] = ([], [])
        for service, event in shuffled(log, rng):
            halves[service in ("ingest", "storage")].append((service, event))
        await asyncio.gather(*(hear_in_batches(projection, half, dice(7), batch_max=5) for half in halves))
        assert await everything(projection.db) == wanted


async def test_feeds_are_numbered_without_gaps(projection: Stage, tell: Tell) -> None:
    rng = dice(11)
    await hear_in_batches(projection, lives(tell, rng), rng)
    found = await everything(projection.db)
    for feed in found["numbers"]:
        assert feed["numbers"] == list(range(1, len(feed["numbers"]) + 1))
    assert {feed["office"]: feed["numbers"][-1] for feed in found["numbers"]} == {
        feed["office"]: feed["change_no"] for feed in found["feeds"]
    }


def test_every_message_event_but_the_check_of_a_file_is_heard() -> None:
    about_messages = {event for event in CATALOGUE.values() if issubclass(event, MessageEvent)}
    assert {event.type_name() for event in about_messages - set(HEARD)} == {"FileValidated"}


_EXAMPLE = st.builds(
    State,
    status=st.sampled_from(["submitted", "accepted", "routed", "delivered", "rejected", "recalled", "downloaded"]),
    delivery_no=st.none() | st.integers(1, 3),
    delivered_at=st.none() | st.datetimes(),
    opened_at=st.none() | st.datetimes(),
    errors=st.integers(0, 3),
    reason=st.none() | st.sampled_from(["a", "b"]),
    hold_storage=st.integers(0, 5),
)


@settings(deadline=None, suppress_health_check=[HealthCheck.differing_executors])
@given(_EXAMPLE, _EXAMPLE, _EXAMPLE)
def test_states_merge_in_any_order(one: State, two: State, three: State) -> None:
    assert one | two == two | one
    assert (one | two) | three == one | (two | three)
    assert one | one == one


async def test_a_row_is_the_merge_of_its_facts(tell: Tell) -> None:
    story = tell()
    told: Sequence[MessageEvent] = [*story.until_delivered(3), story.opened(), story.downloaded(3)]
    row = Row(story.message_id, story.sender, story.recipient)
    for event in reversed(told):
        row.absorb(FactRow.of(_heard(event.SAID_BY[0], event)))
    assert row.package == story.package
    merged = State()
    for event in told:
        merged |= state_of(event, event.SAID_BY[0])
    assert row.state == merged
    assert (row.state.status, row.state.delivery_no) == ("downloaded", 3)
