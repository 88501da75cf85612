"""Five years later: a month's key is destroyed once nothing of the month is to be kept, and that is said once."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from services.storage.retiring import RECORDS_KEPT
from todoke.events import Erased, KeyEpochDestroyed
from todoke.relay.clock import Ports
from todoke.relay.seal import REMEMBERED_SECONDS, KeyEpochGone, epoch_of
from todoke.relay.service import Shared
from todoke.relay.testing import Stage, manual_ports

from .test_timers import RECIPIENT, SENDER, Crash, crash_at, events, move, run, run_all

YEARS = iter(range(1990, 2005))
"""A year for each test: other tests need the keys of today, which stand in the same bucket."""


@pytest.fixture
def ports() -> Ports:
    """A clock in a past that this test has for itself."""
    return manual_ports(datetime(next(YEARS), 3, 20, tzinfo=UTC))


async def gone(storage: Stage) -> set[str]:
    """Months whose end was said, each once; other tests' years may be among them."""
    said = [event.epoch for event in await events(storage, KeyEpochDestroyed)]
    assert len(said) == len(set(said))
    return set(said)


async def live_on(storage: Stage, days: float) -> None:
    """Let time pass with the timers running."""
    for _ in range(int(days // 30) + 1):
        move(storage, days / (days // 30 + 1))
        await run_all(storage)


async def test_contents_go_first_and_the_key_of_the_month_when_its_records_are_over(
    storage: Stage, shared: Shared, post: Any, office: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    collected, expired = await post.send(SENDER, RECIPIENT), await post.send(SENDER, RECIPIENT)
    epoch = epoch_of(collected.message_id)
    await storage.reconcile()
    await storage.hear(collected.submitted, expired.submitted, collected.routed, expired.routed)
    await office(RECIPIENT).receive(collected)
    await live_on(storage, 220)
    assert len(await events(storage, Erased)) == 2
    assert (await office(SENDER).get(f"{collected.url}/files/1")).status_code == 410
    assert await shared.keys.key(epoch)  # names, texts and receipts can still be read

    move(storage, RECORDS_KEPT.days - 220 + 89)
    await run(storage, "retire")
    assert epoch not in await gone(storage)  # one of the two expired after ninety days
    move(storage, 31)
    crash_at(storage, "storage.retire.after-destroy", monkeypatch)
    with pytest.raises(Crash):
        await run(storage, "retire")
    assert epoch not in await gone(storage)
    for _ in range(2):
        await run(storage, "retire")
    assert epoch in await gone(storage)
    move(storage, REMEMBERED_SECONDS / 86400)
    with pytest.raises(KeyEpochGone):
        await shared.keys.key(epoch)


async def test_a_message_that_never_ended_keeps_its_month_readable(storage: Stage, shared: Shared, post: Any) -> None:
    waiting = await post.send(SENDER, RECIPIENT)
    await storage.reconcile()
    await storage.hear(waiting.submitted)  # somewhere on the way it is held
    move(storage, 2 * RECORDS_KEPT.days)
    await run_all(storage)
    assert await shared.keys.key(epoch_of(waiting.message_id))
    await storage.hear(waiting.discarded.model_copy(update={"discarded_at": storage.runtime.ports.clock.now()}))
    await live_on(storage, 91)
    assert epoch_of(waiting.message_id) not in await gone(storage)


async def test_a_database_that_has_forgotten_messages_destroys_nothing(
    storage: Stage, shared: Shared, post: Any
) -> None:
    sent = await post.send(SENDER, RECIPIENT)
    move(storage, 2 * RECORDS_KEPT.days)
    await run(storage, "retire")
    assert await shared.keys.key(epoch_of(sent.message_id))
    await storage.reconcile()
    await run(storage, "retire")
    assert epoch_of(sent.message_id) in await gone(storage)
