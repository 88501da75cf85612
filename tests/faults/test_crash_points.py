"""Every crash point of the source: the process dies there, is started again, and the account is settled.

A point that every service has is armed in all of them at once; the others one by one, in the process that reaches them.
"""

import asyncio
import functools
import signal
from collections.abc import Mapping
from uuid import UUID

import pytest

from services.registry import offices
from tests.faults.crashes import points
from tests.faults.outside import Outside
from tests.faults.stack import WORKERS, Stack
from tests.faults.traffic import RECIPIENTS, SENDERS, Traffic, client_of, picture, recall_once_known, until
from todoke.client import ApiError, AsyncClient, Outgoing, Upload
from todoke.client.shapes import MailTarget, NotificationSettings
from todoke.relay.clock import CRASH_AT

IN_WORKERS = {"prepared": 3, "before-mirror": 3, "before-commit": 6, "after-commit": 6}
"""Points on a consumer's way, and the how-manieth time kills: the first commits are those of the start."""

SAYERS = ("registry", "ingest", "validation", "routing", "storage")

IN_RELAYS = ("relay.before-send", "relay.before-forget")

IN_RECONCILIATION = tuple(
    f"reconcile.after-{step}" for step in ("taking-back", "mark", "reading", "collecting", "publishing")
)
"""Tried without processes, by an exception in the place of death: tests/kit/test_reconcile.py."""

IN_SENDING = ("portal.row-begun", "portal.row-sent")
"""Likewise: tests/services/portal/test_sending.py."""

IN_WEB = (
    "ingest.before-put",
    "ingest.after-put",
    "ingest.before-commit",
    "ingest.after-commit",
    "storage.fetch.before-log",
    "storage.fetch.after-log",
    "storage.receipt.before",
    "storage.receipt.after",
    "storage.before-commit",
    "storage.after-commit",
)
IN_RECALL = ("storage.recall.before", "storage.recall.after")
IN_ERASURE = ("storage.erase.after-mark", "storage.erase.after-delete", "storage.erase.after-pack")
IN_SWEEP = "storage.sweep.after-delete"
IN_RETIREMENT = "storage.retire.after-destroy"
"""Tried without processes: tests/services/storage/test_retiring.py."""

IN_TELLING = {
    "notification.mail.after-claim": "mails",
    "notification.mail.after-send": "mails",
    "notification.webhook.after-claim": "calls",
    "notification.webhook.after-send": "calls",
}

UNCOUNTED = ("9970100414", "9970100513")
"""Offices whose messages the account knows nothing of."""

YEARLY_SECONDS = 100 * 24 * 3600
"""A clock so far ahead that contents which ended now are to be erased."""


def test_no_crash_point_is_forgotten() -> None:
    every = {point.tail for point in points() if point.of_every_service}
    single = {point.tail for point in points() if not point.of_every_service}
    assert every == {*IN_WORKERS, *IN_RELAYS, *IN_RECONCILIATION}
    tried = {*IN_WEB, *IN_SENDING, *IN_RECALL, *IN_ERASURE, IN_SWEEP, IN_RETIREMENT, *IN_TELLING}
    assert single == {name for name in tried if name.partition(".")[2] not in IN_WORKERS}


@pytest.mark.parametrize("tail", IN_WORKERS)
async def test_a_consumer_dies_on_its_way(stack: Stack, tail: str) -> None:
    async with Traffic(stack, pause=0.3).flowing() as traffic:
        await traffic.until_collected(2)
        armed = {name: f"{name}.{tail}:{IN_WORKERS[tail]}" for name in WORKERS}
        if tail == "prepared":  # ingest hears nothing of a message that simply arrives
            armed["ingest"] = "ingest.prepared"
        crashing = asyncio.create_task(crash(stack, armed))
        async with client_of(stack, UNCOUNTED[0]) as client:
            name = f"recalled-{tail}-{stack.port}"
            sent = await client.send(UNCOUNTED[1], files=[Upload("写真.png", picture(name))], idempotency_key=name)
            await recall_once_known(client, sent.message_id)
        await crashing
        await traffic.until_collected(4)


@pytest.mark.parametrize("tail", IN_RELAYS)
async def test_a_relay_dies_on_its_way(stack: Stack, tail: str) -> None:
    async with Traffic(stack, pause=0.3).flowing() as traffic:
        await traffic.until_collected(2)
        for name in ("web", *SAYERS):
            stack.kill(name)
        for name in SAYERS:
            stack.start(name, **{CRASH_AT: f"{name}.{tail}"})
        await asyncio.sleep(0)
        await let_the_registry_speak(stack)
        for name in SAYERS:
            await until(functools.partial(_leads_or_died, stack, name), f"{name} relays")
        stack.start("web")
        await see_them_die(stack, SAYERS)
        for name in SAYERS:
            stack.start(name)
        await traffic.until_collected(4)


@pytest.mark.parametrize("points_in_row", [IN_WEB[:5], IN_WEB[5:]], ids=["sending", "fetching"])
async def test_the_web_process_dies_on_its_way(stack: Stack, points_in_row: tuple[str, ...]) -> None:
    async with Traffic(stack, pause=0.3).flowing() as traffic:
        for point in points_in_row:
            await traffic.until_collected(2)
            await crash(stack, {"web": f"{point}:2"})
        await traffic.until_collected(4)


@pytest.mark.parametrize("point", IN_RECALL)
async def test_the_web_process_dies_in_a_recall(stack: Stack, point: str) -> None:
    async with client_of(stack, SENDERS[0]) as client, client_of(stack, RECIPIENTS[0]) as recipient:
        name = f"{point}-{stack.port}"
        sent = await client.send(RECIPIENTS[0], files=[Upload("写真.png", picture(name))], idempotency_key=name)
        await until(lambda: _has_status(client, sent.message_id, "delivered"), "arrival")
        stack.kill("web")
        stack.start("web", **{CRASH_AT: point})
        recalling = asyncio.create_task(client.recall(sent.message_id, "誤り"))
        await see_them_die(stack, ["web"])
        stack.start("web")
        assert (await recalling).status == "recalled"
        await until(lambda: _has_status(recipient, sent.message_id, "recalled"), "取消 at the recipient")
        said = await stack.fetch(
            "SELECT type FROM storage.journal WHERE message_id = $1 AND type = 'Recalled'", sent.message_id
        )
        assert len(said) == 1


@pytest.mark.parametrize("point", IN_TELLING)
async def test_telling_dies_on_its_way(stack: Stack, outside: Outside, point: str) -> None:
    """A row whose try ended nowhere is tried again, under the same id, and never by itself twice."""
    told: list[str] = getattr(outside, IN_TELLING[point])
    async with client_of(stack, RECIPIENTS[0]) as recipient:
        if IN_TELLING[point] == "mails":
            target = MailTarget(address=f"{abs(hash(point))}@example.jp", events=("delivered",))
            await recipient.set_notifications(NotificationSettings(mail=(target,)))
            hook = None
        else:
            hook = await recipient.add_webhook(outside.url, ["delivered"])
        before = len(told)
        stack.kill("notification")
        if hook is not None:
            stack.start("notification", **{CRASH_AT: point})
        else:
            stack.start("notification")
        async with client_of(stack, SENDERS[0]) as client:
            name = f"{point}-{stack.port}"
            await client.send(RECIPIENTS[0], files=[Upload("写真.png", picture(name))], idempotency_key=name)
        if hook is None:  # a mail waits for more to tell: then it is later
            await until(lambda: _something_waits(stack), "a mail in the queue")
            stack.kill("notification")
            stack.offset_seconds["notification"] += 600
            stack.start("notification", **{CRASH_AT: point})
        await see_them_die(stack, ["notification"])
        stack.offset_seconds["notification"] += 600
        stack.start("notification")
        await until(lambda: len(told) > before, "the second try")
        await until(lambda: _nothing_waits(stack), "the queue is empty")
        new = told[before:]
        assert len(set(new)) == 1
        assert len(new) == (2 if point.endswith("after-send") else 1)
        if hook is not None:
            await recipient.remove_webhook(hook.id)
        else:
            await recipient.set_notifications(NotificationSettings())


async def test_erasure_dies_on_its_way(stack: Stack) -> None:
    """Whatever step it dies at, in the end the contents are gone, and numbers stay dense."""
    async with client_of(stack, SENDERS[0]) as client, client_of(stack, RECIPIENTS[0]) as recipient:
        name = f"erase-{stack.port}"
        await client.send(RECIPIENTS[0], files=[Upload("写真.png", picture(name))], idempotency_key=name)
        pair = [
            Outgoing(f"{name}-{n}", RECIPIENTS[0], files=(Upload("写真.png", picture(f"{name}-{n}")),)) for n in (1, 2)
        ]
        results = await client.send_batch(pair)
        kept, gone = (result.submission.message_id for result in results if result.submission)
        await until(lambda: _has_status(recipient, gone, "delivered"), "arrival")
        await until(lambda: _has_status(recipient, kept, "delivered"), "arrival")
        for item in (await recipient.received(status="delivered", limit=200)).items:
            if item.message_id != kept:
                await recipient.receipt(item.message_id, [file.sha256 or "" for file in item.files])
        for point in (*IN_ERASURE, IN_SWEEP):
            ahead = YEARLY_SECONDS + (7200 if point == IN_SWEEP else 0)
            stack.kill("storage")
            await forget_timers(stack, "storage")
            stack.start("storage", TODOKE_CLOCK_OFFSET_SECONDS=str(ahead), **{CRASH_AT: point})
            await see_them_die(stack, ["storage"])
        await forget_timers(stack, "storage")
        stack.start("storage", TODOKE_CLOCK_OFFSET_SECONDS=str(YEARLY_SECONDS + 7200))
        await until(lambda: _is_erased(stack, gone), "erasure")
        stack.kill("storage")
        stack.start("storage")
        with pytest.raises(ApiError, match=r"410|TDK-ERASED"):
            await client.fetch_file(gone, 1)
        assert await client.fetch_file(kept, 1) == picture(f"{name}-1")
    async with Traffic(stack, pause=0.3).flowing() as traffic:
        await traffic.until_collected(2)


# --- pieces ------------------------------------------------------------------------------------------------------


async def crash(stack: Stack, armed: Mapping[str, str]) -> None:
    """Start these processes again with a crash point, see each die there, and start them without."""
    for name in armed:
        stack.kill(name)
    for name, point in armed.items():
        stack.start(name, **{CRASH_AT: point})
    await see_them_die(stack, armed)
    for name in armed:
        stack.start(name)


async def see_them_die(stack: Stack, names: Mapping[str, str] | list[str] | tuple[str, ...]) -> None:
    """Each of them ends by the signal of its crash point."""
    for name in names:
        code = await stack.wait_for_end(name, 90)
        assert code == -signal.SIGKILL, f"{name} ended with {code}: {stack.last_words(name)}"


async def let_the_registry_speak(stack: Stack) -> None:
    """One new fact about an office that takes no part here."""
    async with stack.runtime("registry") as runtime, runtime.db.worker() as tx:
        await offices.set_licence(tx, "9970100513", until=tx.now.date(), renews=False, cause="granted")


async def forget_timers(stack: Stack, service: str) -> None:
    """Its timers are due at once."""
    await stack.fetch(f"DELETE FROM {service}.lease WHERE name LIKE 'timer/%' RETURNING 1")


async def _leads_or_died(stack: Stack, name: str) -> bool:
    process = stack.processes[name]
    rows = await stack.fetch(f"SELECT owner FROM {name}.lease WHERE name = 'relay'")
    return process.poll() is not None or any(row["owner"].endswith(f"-{process.pid}") for row in rows)


async def _has_status(client: AsyncClient, message_id: UUID, status: str) -> bool:
    try:
        return bool((await client.message(message_id)).status == status)
    except ApiError:
        return False


async def _something_waits(stack: Stack) -> bool:
    return bool(await stack.fetch("SELECT 1 FROM notification.delivery_queue WHERE finished_at IS NULL"))


async def _nothing_waits(stack: Stack) -> bool:
    return not await _something_waits(stack)


async def _is_erased(stack: Stack, message_id: object) -> bool:
    rows = await stack.fetch("SELECT 1 FROM storage.journal WHERE message_id = $1 AND type = 'Erased'", message_id)
    return bool(rows)
