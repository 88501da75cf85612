"""Records that cannot be handled: their message is held, all others flow, an operator's word is carried out."""

import functools
from datetime import UTC, datetime
from uuid import UUID

import pytest
from aiokafka import AIOKafkaProducer

from tests.faults.operators import Operator
from tests.faults.stack import Stack, where_it_hears
from tests.faults.traffic import RECIPIENTS, SENDERS, Traffic, client_of, picture, until
from todoke.client import AsyncClient, Upload
from todoke.events import Actor, MessageUndeliverable, record_of, topic_of

HEARERS_OF_ROUTING = ("projection", "notification", "ingest", "storage")
"""storage last: what it says when a message is given up must not meet a hold of the others."""

DAMAGES = ("an unknown version", "a header that is no text", "a body that is no JSON")


async def put_broken(stack: Stack, message_id: UUID, damage: str) -> None:
    """A record of routing about a real message, broken."""
    event = MessageUndeliverable(
        actor=Actor(kind="system", id="routing"),
        message_id=message_id,
        sender=SENDERS[0],
        recipient=RECIPIENTS[0],
        reason="TDK-UNKNOWN-OFFICE",
        decided_at=datetime.now(UTC),
    )
    record = record_of(event, "routing", event.decided_at, None)
    headers, body = dict(record.headers()), record.body
    if damage == "an unknown version":
        headers["ce_dataschema"] = b"urn:todoke:event:message-undeliverable:99"
    elif damage == "a header that is no text":
        headers["ce_time"] = b"\xff\xfe"
    else:
        body = b"{"
    producer = AIOKafkaProducer(bootstrap_servers=stack.settings.kafka)
    await producer.start()
    try:
        await producer.send_and_wait(topic_of("routing"), body, key=record.key.encode(), headers=list(headers.items()))
    finally:
        await producer.stop()


async def state_of_hold(stack: Stack, service: str, message_id: UUID) -> str | None:
    """`held`, `retry`, `discard`, `released`, `discarded`, or None."""
    hold = f"{where_it_hears(service)}.hold"
    rows = await stack.fetch(f"SELECT state FROM {hold} WHERE subject = $1", str(message_id))
    return str(rows[0]["state"]) if rows else None


async def decide(stack: Stack, service: str, message_id: UUID, *, discard: bool) -> None:
    """An operator's word."""
    act = "discard" if discard else "retry"
    operator = await Operator.of(stack)
    await operator.did("POST", f"/services/{service}/parked/{message_id}/{act}")


async def send_one(client: AsyncClient, name: str) -> UUID:
    """A message of the first sender to the first recipient."""
    sent = await client.send(RECIPIENTS[0], files=[Upload(f"{name}.png", picture(name))], idempotency_key=name)
    return sent.message_id


@pytest.mark.parametrize("damage", DAMAGES)
async def test_a_record_that_nobody_can_read_holds_its_message_only(stack: Stack, damage: str) -> None:
    name = f"broken-{DAMAGES.index(damage)}-{stack.port}"
    async with client_of(stack, SENDERS[0]) as client:
        stack.kill("routing")
        message_id = await send_one(client, name)
        await client.message(message_id)
        await until(lambda: _kept(stack, message_id), "custody")
        await put_broken(stack, message_id, damage)
        for service in HEARERS_OF_ROUTING:
            await until(functools.partial(_holds, stack, service, message_id, "held"), f"a hold of {service}")
        await until(lambda: _says_held(stack), "a hold that the metrics show")
        await stack.restart("routing")
        async with Traffic(stack).flowing() as traffic:
            await traffic.until_collected(10)
        assert (await client.message(message_id)).held
        assert str(message_id) in {str(item.message_id) for item in (await client.sent()).items if item.held}
        await _until_parked(stack, message_id, 2)

        await decide(stack, "storage", message_id, discard=False)
        await until(lambda: _tried_again(stack, message_id), "a retry that failed")
        for service in HEARERS_OF_ROUTING:
            await decide(stack, service, message_id, discard=True)
            await until(functools.partial(_holds, stack, service, message_id, "discarded"), f"{service} gave it up")
        await until(lambda: _is_ended(client, message_id), "the sender is told")
        assert (await client.message(message_id)).reason is not None
    assert stack.ended() == []


async def test_a_message_that_cannot_be_judged_goes_on_once_its_cause_is_gone(stack: Stack) -> None:
    name = f"bundle-{stack.port}"
    async with client_of(stack, SENDERS[0]) as client, stack.runtime("ingest") as runtime:
        stack.kill("validation")
        message_id = await send_one(client, name)
        await until(lambda: _kept(stack, message_id), "custody")
        rows = await stack.fetch("SELECT object_key FROM storage.custody WHERE message_id = $1", message_id)
        key = rows[0]["object_key"]
        bundle = await runtime.objects.get(key)
        await runtime.objects.delete(key)
        await stack.restart("validation")
        await until(lambda: _holds(stack, "validation", message_id, "held"), "a hold")
        await until(lambda: _is_held(client, message_id), "確認中 in the list")
        async with Traffic(stack).flowing() as traffic:
            await traffic.until_collected(6)
        await runtime.objects.put(key, bundle)
        await decide(stack, "validation", message_id, discard=False)
        async with client_of(stack, RECIPIENTS[0]) as recipient:
            await until(lambda: _has_arrived(client, message_id), "arrival")
            arrived = await recipient.message(message_id)
            assert await recipient.fetch_file(message_id, 1) == picture(name)
            await recipient.receipt(message_id, [file.sha256 or "" for file in arrived.files])
        assert not (await client.message(message_id)).held


async def _says_held(stack: Stack) -> bool:
    return await stack.metric("storage", "todoke_held", service="storage") >= 1


async def _holds(stack: Stack, service: str, message_id: UUID, state: str) -> bool:
    return await state_of_hold(stack, service, message_id) == state


async def _tried_again(stack: Stack, message_id: UUID) -> bool:
    rows = await stack.fetch("SELECT state, attempts FROM storage.hold WHERE subject = $1", str(message_id))
    return bool(rows[0]["state"] == "held" and rows[0]["attempts"] >= 2)


async def _until_parked(stack: Stack, message_id: UUID, count: int) -> None:
    async def parked() -> bool:
        rows = await stack.fetch("SELECT 1 FROM storage.parked WHERE subject = $1", str(message_id))
        return len(rows) >= count

    await until(parked, "the later record waits behind the broken one")


async def _kept(stack: Stack, message_id: UUID) -> bool:
    return bool(await stack.fetch("SELECT 1 FROM storage.custody WHERE message_id = $1", message_id))


async def _is_held(client: AsyncClient, message_id: UUID) -> bool:
    return (await client.message(message_id)).held


async def _has_arrived(client: AsyncClient, message_id: UUID) -> bool:
    return (await client.message(message_id)).status == "delivered"


async def _is_ended(client: AsyncClient, message_id: UUID) -> bool:
    told = await client.message(message_id)
    return told.status == "undeliverable" and not told.held
