"""Reminder, expiry, erasure: by a moved clock, once each, and taken up again after a crash."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from todoke.events import Erased, Expired, ReminderDue
from todoke.relay.clock import CrashPoints
from todoke.relay.objects import ObjectMissing
from todoke.relay.testing import Stage, journalled

SENDER, RECIPIENT = "9970100018", "9970100117"
A, B, C = {"あ.pdf": b"%PDF-A" * 50}, {"い.pdf": b"%PDF-B" * 50}, {"う.pdf": b"%PDF-C" * 50}


WAITING = """
WITH waiter AS (SELECT pid, pg_blocking_pids(pid) AS by FROM pg_locks WHERE NOT granted),
     behind_us AS (SELECT pid FROM waiter WHERE pg_backend_pid() = ANY(by))
SELECT count(*) FROM waiter WHERE pid IN (SELECT pid FROM behind_us) OR by && ARRAY(SELECT pid FROM behind_us)
"""
"""How many wait for this connection, or behind one that does."""


class Crash(Exception):  # noqa: N818 (named for what happens)
    """The process ends here."""


class CrashOnce(CrashPoints):
    """Ends the run the first time a named point is reached."""

    def __init__(self, name: str) -> None:
        self.name: str | None = name

    def reach(self, name: str) -> None:
        if name == self.name:
            self.name = None
            raise Crash(name)


def move(storage: Stage, days: float) -> None:
    storage.runtime.ports.clock.move(timedelta(days=days))  # type: ignore[attr-defined]


async def run(storage: Stage, name: str) -> None:
    await next(timer for timer in storage.service.timers if timer.name == f"storage.{name}").run()


async def run_all(storage: Stage) -> None:
    for timer in storage.service.timers:
        await timer.run()


async def events(storage: Stage, kind: type[Any]) -> list[Any]:
    async with storage.db.worker() as tx:
        return [kind.model_validate_json(body) for said, body in await journalled(tx) if said == kind.__name__]


def crash_at(storage: Stage, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ports = storage.runtime.ports
    monkeypatch.setattr(type(ports.crash), "reach", CrashOnce(name).reach)


async def test_the_recipient_is_reminded_once_after_seven_days(
    storage: Stage, post: Any, office: Callable[..., Any]
) -> None:
    waiting, collected = await post.send(SENDER, RECIPIENT), await post.send(SENDER, RECIPIENT)
    await storage.hear(waiting.routed, collected.routed)
    await office(RECIPIENT).receive(collected)
    move(storage, 6.99)
    await run_all(storage)
    assert await events(storage, ReminderDue) == []
    move(storage, 0.02)
    for _ in range(3):
        await run_all(storage)
        move(storage, 1)
    [reminder] = await events(storage, ReminderDue)
    assert (reminder.message_id, reminder.days, reminder.recipient) == (waiting.message_id, 7, RECIPIENT)


async def test_a_message_expires_once_after_ninety_days_and_cannot_be_collected_then(
    storage: Stage, post: Any, office: Callable[..., Any]
) -> None:
    sent, recalled = await post.send(SENDER, RECIPIENT), await post.send(SENDER, RECIPIENT)
    await storage.hear(sent.routed, recalled.routed)
    await office(SENDER).recall(recalled)
    move(storage, 89.9)
    await run_all(storage)
    assert await events(storage, Expired) == []
    assert (await office(RECIPIENT).get(f"{sent.url}/files/1")).status_code == 200
    move(storage, 0.2)
    await run_all(storage)
    await run_all(storage)
    [expired] = await events(storage, Expired)
    assert (expired.message_id, expired.delivery_no) == (sent.message_id, 1)
    assert (await office(RECIPIENT).receive(sent)).json()["code"] == "TDK-NOT-RECEIVABLE"


async def test_more_than_a_batch_is_done_in_one_run(storage: Stage, post: Any) -> None:
    messages = await post.send_together(SENDER, RECIPIENT, [{}] * 450)
    await storage.hear(*(sent.routed for sent in messages))
    move(storage, 8)
    await run(storage, "remind")
    assert len(await events(storage, ReminderDue)) == 450


@pytest.mark.parametrize("end", ["downloaded", "recalled", "expired", "rejected", "undeliverable", "discarded"])
async def test_contents_are_erased_ninety_days_after_each_end(
    storage: Stage, post: Any, office: Callable[..., Any], end: str
) -> None:
    sent = await post.send(SENDER, RECIPIENT)
    await storage.hear(sent.submitted)
    if end in ("rejected", "undeliverable", "discarded"):
        await storage.hear(getattr(sent, end))
    else:
        await storage.hear(sent.routed)
    if end == "downloaded":
        await office(RECIPIENT).receive(sent)
    elif end == "recalled":
        await office(SENDER).recall(sent)
    elif end == "expired":
        move(storage, 91)
        await run_all(storage)
    move(storage, 89)
    await run_all(storage)
    assert (await office(SENDER).get(f"{sent.url}/files/1")).status_code == 200
    move(storage, 2)
    await run_all(storage)
    await run_all(storage)
    [erased] = await events(storage, Erased)
    assert erased.message_id == sent.message_id
    assert erased.delivery_no == (1 if end in ("downloaded", "recalled", "expired") else None)
    with pytest.raises(ObjectMissing):
        await storage.runtime.objects.get(sent.package.object_key)
    answer = await office(SENDER).get(f"{sent.url}/files/1")
    assert (answer.status_code, answer.json()["code"]) == (410, "TDK-ERASED")
    recalled = await office(SENDER).recall(sent)
    assert recalled.status_code == (200 if end == "recalled" else 409)


async def test_what_is_not_ended_is_never_erased(storage: Stage, post: Any) -> None:
    delivered, submitted = await post.send(SENDER, RECIPIENT), await post.send(SENDER, RECIPIENT)
    await storage.hear(submitted.submitted, delivered.routed)
    move(storage, 89)
    await run_all(storage)
    move(storage, 400)
    await run(storage, "erase")
    assert await events(storage, Erased) == []
    assert await storage.runtime.objects.exists(submitted.package.object_key)


async def test_erasing_one_of_a_pack_leaves_its_neighbours_readable(
    storage: Stage, post: Any, office: Callable[..., Any]
) -> None:
    first, second, third = await post.send_together(SENDER, RECIPIENT, [A, B, C])
    await storage.hear(first.routed, second.routed, third.routed)
    old_key, objects = first.package.object_key, storage.runtime.objects
    before = await objects.get(old_key)
    await office(RECIPIENT).receive(second)
    move(storage, 85)
    await office(RECIPIENT).receive(first)
    move(storage, 6)
    await run(storage, "erase")
    [erased] = await events(storage, Erased)
    assert erased.message_id == second.message_id
    assert (await office(RECIPIENT).get(f"{second.url}/files/1")).status_code == 410
    for sent, files in ((first, A), (third, C)):
        answer = await office(SENDER).get(f"{sent.url}/files/1")
        assert answer.content == next(iter(files.values()))
    async with storage.db.worker() as tx:
        new_key = await tx.db.fetchval("SELECT DISTINCT object_key FROM custody")
    after, [part] = await objects.get(new_key), second.package.parts
    assert len(after) == len(before)
    assert after[part.offset : part.offset + part.length] == bytes(part.length)
    # Who looked the old key up before may read it for an hour more, then it goes.
    await run(storage, "sweep")
    assert await objects.exists(old_key)
    move(storage, 0.05)
    await run(storage, "sweep")
    assert not await objects.exists(old_key)
    await office(RECIPIENT).receive(third)
    move(storage, 91)
    await run(storage, "erase")
    assert len(await events(storage, Erased)) == 3
    assert not await objects.exists(new_key)


async def test_a_reader_that_meets_a_rewritten_object_looks_its_key_up_again(
    storage: Stage, post: Any, office: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, gone = await post.send_together(SENDER, RECIPIENT, [A, B])
    await storage.hear(kept.routed, gone.routed)
    await storage.hear(gone.discarded)
    old_key, objects = kept.package.object_key, storage.runtime.objects
    get_range = type(objects).get_range

    async def late(self: Any, key: str, offset: int, length: int) -> bytes:
        if key == old_key and await objects.exists(old_key):
            move(storage, 91)
            await run(storage, "erase")
            move(storage, 1)
            await run(storage, "sweep")
        return await get_range(self, key, offset, length)

    monkeypatch.setattr(type(objects), "get_range", late)
    answer = await office(SENDER).get(f"{kept.url}/files/1")
    assert (answer.status_code, answer.content) == (200, A["あ.pdf"])
    assert not await objects.exists(old_key)


async def test_nothing_is_said_of_a_message_after_its_erasure(
    storage: Stage, post: Any, office: Callable[..., Any]
) -> None:
    sent = await post.send(SENDER, RECIPIENT)
    await storage.hear(sent.routed)
    await office(RECIPIENT).receive(sent)
    move(storage, 91)
    async with storage.db.worker() as tx:
        await tx.db.fetch("SELECT FROM delivery WHERE message_id = $1 FOR UPDATE", sent.message_id)
        fetching = asyncio.create_task(office(RECIPIENT).get(f"{sent.url}/files/1"))
        while await tx.db.fetchval(WAITING) < 1:  # noqa: ASYNC110 (nobody rings)
            await asyncio.sleep(0.01)
        erasing = asyncio.create_task(run(storage, "erase"))
        while await tx.db.fetchval(WAITING) < 2 and not erasing.done():  # noqa: ASYNC110 (nobody rings)
            await asyncio.sleep(0.01)
    await asyncio.gather(fetching, erasing)
    async with storage.db.worker() as tx:
        said = [kind for kind, _ in await journalled(tx)]
    assert said == ["Delivered", "Downloaded", "ContentOpened", "Erased"]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    "point",
    ["storage.erase.after-mark", "storage.erase.after-delete", "storage.erase.after-pack", "storage.before-commit"],
)
async def test_erasure_is_taken_up_again_after_a_crash_anywhere(
    storage: Stage, post: Any, office: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, point: str, *, packed: bool
) -> None:
    messages = await post.send_together(SENDER, RECIPIENT, [A, B, C] if packed else [A])
    first, others, objects = messages[0], messages[1:], storage.runtime.objects
    await storage.hear(*(sent.routed for sent in messages))
    await office(RECIPIENT).receive(first)
    move(storage, 91)
    stored, put = [first.package.object_key], type(objects).put

    async def noted(self: Any, key: str, data: bytes, *, once: bool = False) -> None:
        stored.append(key)
        await put(self, key, data, once=once)

    monkeypatch.setattr(type(objects), "put", noted)
    crash_at(storage, point, monkeypatch)
    reached = point.endswith(("mark", "commit", "pack" if packed else "delete"))
    if reached:
        with pytest.raises(Crash):
            await run(storage, "erase")
        assert await events(storage, Erased) == []
    for _ in range(2):
        await run(storage, "erase")
        move(storage, 0.1)
        await run(storage, "sweep")
    [erased] = await events(storage, Erased)
    assert erased.message_id == first.message_id
    assert (await office(SENDER).get(f"{first.url}/files/1")).json()["code"] == "TDK-ERASED"
    for sent in others:
        assert (await office(SENDER).get(f"{sent.url}/files/1")).status_code == 200
    async with storage.db.worker() as tx:
        used = {row["object_key"] for row in await tx.db.fetch("SELECT object_key FROM custody")}
        assert await tx.db.fetchval("SELECT count(*) FROM doomed_object") == 0
    for key in stored:
        assert await objects.exists(key) is (packed and key in used)
