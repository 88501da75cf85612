"""Ingest's rows are set up again from its own events: keys, sequences, receipts; bundles without a row are named."""

from datetime import UTC, datetime, timedelta
from typing import Any

from todoke.events import MessageRejected
from todoke.events.examples import EXAMPLES
from todoke.relay.clock import Ports
from todoke.relay.restore import Look, Said, Unhealed
from todoke.relay.service import Shared
from todoke.relay.testing import ManualClock, Stage

from .conftest import RECIPIENT, Client, said
from .test_sending import PLAN

TABLES = ("submission", "idempotency", "sequence_use")


async def tables(ingest: Stage) -> dict[str, list[str]]:
    async with ingest.db.connection() as db:
        return {name: [row[0] for row in await db.fetch(f"SELECT t::text FROM {name} t ORDER BY 1")] for name in TABLES}


async def forget(ingest: Stage) -> None:
    async with ingest.db.connection() as db:
        for name in TABLES:
            await db.execute(f"DELETE FROM {name}")


async def restore(ingest: Stage, events: Any) -> list[Unhealed]:
    assert ingest.service.restore is not None
    async with ingest.db.worker() as tx:
        return list(await ingest.service.restore([Said(event, datetime.now(UTC)) for event in events], tx))


async def test_the_same_key_gives_the_same_message_and_sequences_stay_in_use(client: Client, ingest: Stage) -> None:
    first = (await client.send({}, [(PLAN, b"x")], key="1")).json()
    await client.send({"allow_resend": True}, [(PLAN, b"y")], key="2")
    await client.send({"recipient": RECIPIENT, "text": "本文"}, key="3")
    before, events = await tables(ingest), await said(ingest)
    await forget(ingest)
    assert await restore(ingest, events) == []
    assert await tables(ingest) == before
    assert await restore(ingest, events) == []
    assert await tables(ingest) == before
    again = (await client.send({}, [(PLAN, b"x")], key="1")).json()
    assert again == {**first, "replayed": True}
    refused = await client.send({}, [(PLAN, b"z")], key="4")
    assert (refused.status_code, refused.json()["code"]) == (409, "TDK-SEQUENCE-USED")


async def test_an_end_that_is_heard_again_frees_the_sequence_again(client: Client, ingest: Stage) -> None:
    await client.send({}, [(PLAN, b"x")], key="1")
    [event] = await said(ingest)
    await forget(ingest)
    await restore(ingest, [event])
    ended = EXAMPLES["MessageRejected"].model_copy(
        update={"message_id": event.message_id, "sender": event.sender, "recipient": event.recipient}
    )
    assert isinstance(ended, MessageRejected)
    await ingest.hear(ended)
    assert (await client.send({}, [(PLAN, b"z")], key="2")).status_code == 202


async def test_two_messages_under_one_key_are_named(client: Client, ingest: Stage) -> None:
    await client.send({}, [(PLAN, b"x")], key="1")
    [event] = await said(ingest)
    await forget(ingest)
    other = event.model_copy(update={"message_id": ingest.runtime.ports.ids.uuid7()})
    assert await restore(ingest, [event]) == []
    assert await restore(ingest, [other]) == [Unhealed("key of another message", str(other.message_id))]


async def test_bundles_that_were_accepted_and_forgotten_are_named_after_a_restore(
    client: Client, ingest: Stage, shared: Shared, ports: Ports
) -> None:
    inspect: Any = ingest.service.inspect
    since = ports.clock.now()
    await client.send({}, [(PLAN, b"x")], key="1")
    await client.send({"allow_resend": True}, [(PLAN, b"y")], key="2")
    kept, lost = await said(ingest)
    await forget(ingest)
    await restore(ingest, [kept])
    assert await inspect(Look("newest")) is None
    found = await inspect(Look("since", since))
    name = lost.package.object_key.rpartition("/")[2]
    assert Unhealed("bundle without submission", name) in found.unhealed
    assert kept.package.object_key.rpartition("/")[2] not in {one.subject for one in found.unhealed}
    assert isinstance(ports.clock, ManualClock)
    ports.clock.move(timedelta(hours=2))
    counted = await inspect(Look("all"))
    assert counted.orphans >= 1
    assert counted.unhealed == []
    await shared.objects.delete(lost.package.object_key)
    assert (await inspect(Look("all"))).orphans == counted.orphans - 1
