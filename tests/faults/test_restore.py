"""The databases restored to an older copy, and topics made anew, while everything else went on: what comes of it."""

import contextlib
from typing import Any
from uuid import UUID

import pytest

from tests.faults.stack import PROCESSES, Stack
from tests.faults.traffic import RECIPIENTS, SENDERS, Traffic, client_of, picture, recall_once_known, until
from tests.kit.topology import delete_topics
from todoke.client import ApiError, AsyncClient, Upload
from todoke.events import topic_of
from todoke.relay.kafka import ensure_topics
from todoke.relay.postgres import administrator

SAYERS = ("registry", "ingest", "validation", "routing", "storage")
SEQUENCE = "20260825121901"


async def test_nothing_accepted_is_lost_when_the_databases_are_older_than_the_log(stack: Stack) -> None:
    async with Traffic(stack, pause=0.3).flowing() as traffic:
        await traffic.until_collected(4)
    await rest(stack)
    await copy_databases(stack)
    start(stack, PROCESSES)
    await stack.until_ready()

    async with Traffic(stack, pause=0.3).flowing() as traffic:
        await traffic.until_collected(8)
    async with client_of(stack, SENDERS[0]) as sender, client_of(stack, RECIPIENTS[0]) as recipient:
        waiting = await send(sender, "waits", SEQUENCE)
        recalled = await send(sender, "is recalled", None)
        for one in (waiting, recalled):
            await until(lambda one=one: has_status(recipient, one, "delivered"), "arrival")  # type: ignore[misc]
        await sender.recall(recalled, "誤り")
        await until(lambda: has_status(recipient, recalled, "recalled"), "取消")
        broken = await sender.send(
            RECIPIENTS[0], files=[Upload("写真.png", b"no picture")], idempotency_key=f"broken-{stack.port}"
        )
        await until(lambda: has_status(sender, broken.message_id, "rejected"), "refusal")
        await rest(stack, but=("web", "ingest", "storage"))
        early = await send(sender, "is wanted back before it arrives", None)
        assert (await recall_once_known(sender, early)).status == "recall_requested"
        await rest(stack)
        start(stack, PROCESSES)
        await stack.until_ready()
        await until(lambda: has_status(sender, early, "recalled"), "取消 on arrival")
    await rest(stack)
    start(stack, ("web", "projection"))
    await until(lambda: nothing_waits(stack), "everything is said")
    before = await lists(stack)
    await rest(stack)

    await put_copy_back(stack)
    start(stack, PROCESSES)
    await stack.until_ready()
    await until(lambda: same_lists(stack, before), "the same lists as before")
    for service in SAYERS[1:]:
        [report] = await stack.fetch(f"SELECT * FROM {service}.reconcile_report WHERE taken_back > 0")
        assert (report["trigger"], report["compared"], report["unhealed"]) == ("start", "tail", 0), service
    async with client_of(stack, SENDERS[0]) as sender:
        assert await send(sender, "waits", SEQUENCE) == waiting
        with pytest.raises(ApiError, match="TDK-SEQUENCE-USED"):
            await send(sender, "another one under this sequence", SEQUENCE)
    async with Traffic(stack, pause=0.3).flowing() as traffic:
        await traffic.until_collected(4)


async def test_topics_made_anew_are_filled_again_and_nobody_hears_anything_twice(stack: Stack) -> None:
    async with Traffic(stack, pause=0.3).flowing() as traffic:
        await traffic.until_collected(4)
    await rest(stack)
    topics = [topic_of(service) for service in SAYERS]
    await delete_topics(stack.settings.kafka, topics)
    await ensure_topics(
        stack.settings.kafka, topics, partitions=stack.settings.partitions, replication=stack.settings.replication
    )
    start(stack, ("web", "projection"))
    before = await lists(stack)
    start(stack, PROCESSES)
    await stack.until_ready()
    for service in SAYERS:
        journal = await stack.fetch(f"SELECT count(*) FROM {service}.journal")
        of_offices = await stack.fetch(f"SELECT count(*) FROM {service}.journal_office")
        [report] = await stack.fetch(f"SELECT * FROM {service}.reconcile_report ORDER BY published_again DESC LIMIT 1")
        assert report["published_again"] == journal[0][0] + of_offices[0][0], service
    async with Traffic(stack, pause=0.3).flowing() as traffic:
        await traffic.until_collected(4)
    after = await lists(stack)
    for office in before:
        assert {key: item for key, item in after[office].items() if key in before[office]} == before[office]


# --- pieces ------------------------------------------------------------------------------------------------------


async def send(sender: AsyncClient, name: str, sequence: str | None) -> UUID:
    """One message under a key of its own."""
    sent = await sender.send(
        RECIPIENTS[0], sequence, files=[Upload("写真.png", picture(name))], idempotency_key=name.replace(" ", "-")
    )
    return UUID(str(sent.message_id))


async def has_status(client: AsyncClient, message_id: Any, status: str) -> bool:
    try:
        return bool((await client.message(message_id)).status == status)
    except ApiError:
        return False


def start(stack: Stack, names: tuple[str, ...]) -> None:
    """Start those of these processes that do not run."""
    for name in names:
        if stack.processes[name].poll() is not None:
            stack.start(name)


async def rest(stack: Stack, but: tuple[str, ...] = ()) -> None:
    """End processes once everything that was said is in Kafka."""
    await until(lambda: nothing_waits(stack), "everything is relayed")
    ending = [name for name in PROCESSES if name not in but]
    for name in ending:
        stack.processes[name].terminate()
    for name in ending:
        await stack.wait_for_end(name)


async def nothing_waits(stack: Stack) -> bool:
    rows = [await stack.fetch(f"SELECT 1 FROM {service}.outbox LIMIT 1") for service in SAYERS]
    return not any(rows)


async def copy_databases(stack: Stack) -> None:
    """A copy of everything in PostgreSQL, as a backup would hold it."""
    async with maintenance(stack) as db:
        await db.execute("CREATE DATABASE older TEMPLATE todoke STRATEGY FILE_COPY")


async def put_copy_back(stack: Stack) -> None:
    """Restore the copy in the place of the newer one."""
    async with maintenance(stack) as db:
        await db.execute("DROP DATABASE todoke WITH (FORCE)")
        await db.execute("ALTER DATABASE older RENAME TO todoke")


def maintenance(stack: Stack) -> contextlib.AbstractAsyncContextManager[Any]:
    dsn = stack.settings.postgres.get_secret_value()
    return administrator(dsn.replace("/todoke", "/postgres"))


async def lists(stack: Stack) -> dict[str, dict[str, Any]]:
    """Every row of every list of the offices, by message."""
    found: dict[str, dict[str, Any]] = {}
    for office in SENDERS:
        async with client_of(stack, office) as client:
            found[f"{office} sent"] = {str(item.message_id): item async for item in client.each_sent()}
    for office in RECIPIENTS:
        async with client_of(stack, office) as client:
            found[f"{office} received"] = {str(item.message_id): item async for item in client.each_received()}
    return found


async def same_lists(stack: Stack, before: dict[str, dict[str, Any]]) -> bool:
    return await lists(stack) == before
