"""Storage's rows are set up again from its own events, whatever part of them an older database still has."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from todoke.events import CATALOGUE, Event
from todoke.relay.clock import Ports
from todoke.relay.limits import Limits
from todoke.relay.restore import Look, Said, Unhealed
from todoke.relay.service import Shared
from todoke.relay.testing import ManualClock, Stage, journalled

from .conftest import Office, Post, Sent

SENDER, RECIPIENT, OTHER = "9970100018", "9970100117", "9970100216"
TABLES = ("delivery", "counter", "ended", "custody")
STATE = {name: f"SELECT t::text FROM {name} t ORDER BY 1" for name in TABLES} | {
    "ended": "SELECT (message_id, cause, ended_at, erase_started_at IS NULL, erased_at)::text FROM ended ORDER BY 1",
}
"""Everything but when erasing began: its event says when it was done."""


async def tables(storage: Stage) -> dict[str, list[str]]:
    """Every row of storage's state."""
    async with storage.db.connection() as db:
        return {name: [row[0] for row in await db.fetch(query)] for name, query in STATE.items()}


async def run(storage: Stage, name: str) -> None:
    await next(timer for timer in storage.service.timers if timer.name == f"storage.{name}").run()


async def forget(storage: Stage, *names: str) -> None:
    async with storage.db.connection() as db:
        for name in names:
            await db.execute(f"DELETE FROM {name}")


async def said(storage: Stage) -> list[Event]:
    async with storage.db.worker() as tx:
        return [CATALOGUE[kind].model_validate_json(payload) for kind, payload in await journalled(tx)]


async def restore(storage: Stage, events: list[Event]) -> list[Unhealed]:
    assert storage.service.restore is not None
    async with storage.db.worker() as tx:
        return list(await storage.service.restore([Said(event, datetime.now(UTC)) for event in events], tx))


@pytest.fixture
async def lives(storage: Stage, post: Post, office: Callable[..., Office], ports: Ports) -> list[Sent]:
    """Messages in every state: fetched, collected, recalled, reminded, expired, erased, waiting."""
    sent = [await post.send(SENDER, RECIPIENT if n % 2 else OTHER) for n in range(6)]
    early = await post.send(SENDER, RECIPIENT)
    await storage.hear(early.submitted)
    assert (await office(SENDER).recall(early)).status_code == 202
    await storage.hear(*(one.routed for one in sent), early.routed)
    assert (await office(OTHER).get(f"{sent[0].url}/files/1")).status_code == 200
    assert (await office(RECIPIENT).receive(sent[1])).status_code == 200
    assert (await office(SENDER).recall(sent[2])).status_code == 200
    assert isinstance(ports.clock, ManualClock)
    ports.clock.move(timedelta(days=Limits().remind_after_days + 1))
    await run(storage, "remind")
    ports.clock.move(timedelta(days=Limits().expire_after_days))
    await run(storage, "expire")
    await run(storage, "erase")
    late = await post.send(SENDER, RECIPIENT)
    await storage.hear(late.routed)
    return [*sent, early, late]


async def test_a_database_that_forgot_everything_has_every_row_again(storage: Stage, lives: list[Sent]) -> None:
    before, events = await tables(storage), await said(storage)
    assert {"ReminderDue", "Expired", "Erased", "Recalled", "Downloaded", "ContentOpened"} <= {
        event.type_name() for event in events
    }
    await forget(storage, *TABLES)
    assert await restore(storage, events) == []
    await storage.hear(*(one.submitted for one in lives))  # what others said is heard again
    assert await tables(storage) == before
    assert await storage.hear(*(one.routed for one in lives)) == []
    assert await restore(storage, events) == []
    assert await tables(storage) == before


@pytest.mark.parametrize("remembered", [1, 4, 7, 10, 13])
async def test_whatever_part_is_remembered_the_rest_is_added(
    storage: Stage, lives: list[Sent], remembered: int
) -> None:
    """Events in the order they were said, taken back in two parts, as two batches would."""
    before, events = await tables(storage), await said(storage)
    await forget(storage, *TABLES)
    await restore(storage, events[:remembered])
    await storage.hear(*(one.submitted for one in lives[:remembered]))
    assert await restore(storage, events[remembered:]) == []
    await storage.hear(*(one.submitted for one in lives))
    assert await tables(storage) == before


async def test_numbers_go_on_behind_the_last_that_was_seen(storage: Stage, post: Post, lives: list[Sent]) -> None:
    events = await said(storage)
    await forget(storage, *TABLES)
    await restore(storage, events)
    new = await post.send(SENDER, RECIPIENT)
    [delivered] = await storage.hear(new.routed)
    seen = [getattr(event, "delivery_no", None) or 0 for event in events if event.key() == RECIPIENT]
    assert delivered.delivery_no == max(seen) + 1  # type: ignore[attr-defined]
    assert lives


async def test_a_recall_that_waits_for_its_message_takes_effect_once_it_is_heard_again(
    storage: Stage, post: Post, office: Callable[..., Office]
) -> None:
    one = await post.send(SENDER, RECIPIENT)
    await storage.hear(one.submitted)
    assert (await office(SENDER).recall(one)).status_code == 202
    events = await said(storage)
    await forget(storage, "custody")
    assert await restore(storage, events) == []
    await storage.hear(one.submitted)
    assert [event.type_name() for event in await storage.hear(one.routed)] == ["Recalled"]


async def test_what_contradicts_the_events_is_named_and_stays(storage: Stage, lives: list[Sent]) -> None:
    before, events = await tables(storage), await said(storage)
    last = lives[-1]
    changed = [_changed(event, last) for event in events if getattr(event, "message_id", None) == last.message_id]
    assert await restore(storage, changed) == [Unhealed("another delivery number", str(last.message_id))]
    assert (await tables(storage))["delivery"] == before["delivery"]


def _changed(event: Event, _: Sent) -> Event:
    return event.model_copy(update={"delivery_no": 77})


async def test_content_that_is_not_there_is_named_by_its_message(storage: Stage, post: Post, shared: Shared) -> None:
    kept, pair = await post.send(SENDER, RECIPIENT), await post.send_together(SENDER, RECIPIENT, [{"a.CSV": b"a"}] * 2)
    text_only = await post.send(SENDER, RECIPIENT, {})
    await storage.hear(kept.routed, *(one.routed for one in pair), text_only.routed)
    for look in (Look("newest"), Look("all"), Look("since", shared.ports.clock.now())):
        assert await _missing(storage, look) == set()
    await shared.objects.delete(pair[0].package.object_key)
    for look in (Look("newest"), Look("all"), Look("since", shared.ports.clock.now())):
        assert await _missing(storage, look) == {str(one.message_id) for one in pair}
    assert await _missing(storage, Look("since", shared.ports.clock.now() + timedelta(days=2))) == set()


async def _missing(storage: Stage, look: Look) -> set[str]:
    assert storage.service.inspect is not None
    found: Any = await storage.service.inspect(look)
    assert {one.kind for one in found.unhealed} <= {"object missing"}
    return {one.subject for one in found.unhealed}
