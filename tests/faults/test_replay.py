"""The whole log heard again, in other batch sizes and interleavings: nothing changes, nobody is told twice."""

import asyncio
import hashlib
from collections.abc import Mapping

import pytest

from tests.faults.outside import Outside
from tests.faults.stack import WORKERS, Stack, where_it_hears
from tests.faults.traffic import RECIPIENTS, SENDERS, Traffic, client_of, picture, until
from todoke.client import Upload
from todoke.client.shapes import MailTarget, NotificationSettings

NO_STATE = frozenset(
    {"consumer_offset", "own_log", "reconcile_report", "running", "suspect", "lease", "outbox", "pulse"}
)
"""Tables about processes and their ways, not about messages and offices."""


async def state(stack: Stack) -> dict[str, str]:
    """A hash of each state table of each service, journals included."""
    names = await stack.fetch(
        "SELECT schemaname || '.' || tablename AS name, tablename FROM pg_tables t "
        "WHERE schemaname = ANY($1) AND NOT EXISTS (SELECT 1 FROM pg_inherits i "
        "WHERE i.inhrelid = format('%I.%I', t.schemaname, t.tablename)::regclass) ORDER BY 1",
        [*WORKERS, where_it_hears("projection")],
    )
    found = {}
    async with stack.database() as db:
        for row in names:
            if row["tablename"] in NO_STATE:
                continue
            text = await db.fetchval(f"SELECT string_agg(r::text, E'\\n' ORDER BY r::text) FROM {row['name']} r")
            found[row["name"]] = hashlib.sha256((text or "").encode()).hexdigest() if text else "empty"
    return found


async def heard(stack: Stack) -> dict[tuple[str, str, int], int]:
    """How far each service has heard each partition."""
    found: dict[tuple[str, str, int], int] = {}
    for service in WORKERS:
        rows = await stack.fetch(f"SELECT topic, partition, next FROM {where_it_hears(service)}.consumer_offset")
        found |= {(service, row["topic"], row["partition"]): row["next"] for row in rows}
    return found


async def nothing_waits(stack: Stack) -> bool:
    """Whether every outbox and every queue is empty."""
    for service in WORKERS:
        if await stack.fetch(f"SELECT 1 FROM {service}.outbox LIMIT 1"):
            return False
    return not await stack.fetch("SELECT 1 FROM notification.delivery_queue WHERE finished_at IS NULL")


async def replay(stack: Stack, before: Mapping[tuple[str, str, int], int], **environment: str) -> None:
    """Every service forgets how far it has heard, and hears everything again."""
    for service in WORKERS:
        async with stack.database() as db:
            await db.execute(f"DELETE FROM {where_it_hears(service)}.consumer_offset")
        stack.start(service, **environment)

    async def caught_up() -> bool:
        now = await heard(stack)
        return all(now.get(place, 0) >= offset for place, offset in before.items())

    await until(caught_up, "the whole log heard again", 240)
    await until(lambda: nothing_waits(stack), "nothing waits")
    for service in WORKERS:
        stack.stop(service)


@pytest.mark.timeout(600)
async def test_the_whole_log_heard_again_changes_nothing(stack: Stack, outside: Outside) -> None:
    async with client_of(stack, RECIPIENTS[1]) as recipient:
        target = MailTarget(address="replay@example.jp", events=("delivered", "recalled"))
        await recipient.set_notifications(NotificationSettings(mail=(target,)))
        hook = await recipient.add_webhook(outside.url, ["delivered", "recalled"])
        async with Traffic(stack).flowing() as traffic:
            await traffic.until_collected(60)
        async with client_of(stack, SENDERS[0]) as sender:
            name = f"replay-{stack.port}"
            sent = await sender.send(RECIPIENTS[1], files=[Upload("写真.png", picture(name))], idempotency_key=name)
            await sender.message(sent.message_id)
            await sender.recall(sent.message_id, "誤り")
    await until(lambda: _is_level(stack), "everything is heard")  # what comes after a letter waits for the next one
    stack.stop("notification")
    stack.offset_seconds["notification"] += 900  # what lingers or is quiet is due now
    stack.start("notification")
    await stack.until_ready()
    await until(lambda: nothing_waits(stack), "everybody is told")
    await until(lambda: _is_caught_up(stack), "everything is heard")
    for service in WORKERS:
        stack.stop(service)
    tables, offsets = await state(stack), await heard(stack)
    told = list(outside.mails), list(outside.calls)
    assert told[0]
    assert told[1]

    await replay(stack, offsets, TODOKE_DRIVER="bare")  # partitions side by side, not one after the other
    assert _differences(tables, await state(stack)) == {}
    for service in WORKERS:  # as after a kill: records one by one at first, then in batches
        await stack.fetch(f"UPDATE {service}.running SET clean = false RETURNING 1")
    await replay(stack, offsets)
    assert _differences(tables, await state(stack)) == {}
    assert (outside.mails, outside.calls) == told

    for service in WORKERS:
        stack.start(service)
    async with Traffic(stack).flowing() as traffic:
        await traffic.until_collected(6)
    async with client_of(stack, RECIPIENTS[1]) as recipient:
        await recipient.remove_webhook(hook.id)
        await recipient.set_notifications(NotificationSettings())


async def _is_level(stack: Stack) -> bool:
    """Whether nothing was heard for a while: every service has heard what the others said."""
    before = await heard(stack)
    await asyncio.sleep(2)
    return await heard(stack) == before


async def _is_caught_up(stack: Stack) -> bool:
    """Whether that is so and nothing is under way either."""
    return await _is_level(stack) and await nothing_waits(stack)


def _differences(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, tuple[str | None, str | None]]:
    return {
        name: (before.get(name), after.get(name))
        for name in before.keys() | after.keys()
        if before.get(name) != after.get(name)
    }
