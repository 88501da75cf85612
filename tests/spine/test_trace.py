"""One trace from the sender's request through every journal, topic and log to the list (W3C Trace Context)."""

import json
import time
from typing import Any

import asyncpg
import httpx

from services import ground
from tests.spine.product import Product
from todoke.client import Client
from todoke.events import SERVICES, topic_of
from todoke.relay.kafka import read_topic

SENDER, RECIPIENT = "9970100018", "9970100117"
TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACE = f"00-{TRACE_ID}-00f067aa0ba902b7-01"
ON_ITS_WAY = ("ingest", "validation", "routing", "storage")
SHOWN = {"MessageSubmitted", "MessageAccepted", "MessageRouted", "Delivered"}
"""What a timeline is made of, up to the delivery."""


async def test_a_given_trace_is_in_every_record_of_its_message_and_in_the_log(product: Product) -> None:
    message_id = sent(product)
    settings = ground.settings_of(product.home, product.address)
    traced = dict[str, str]()
    for service in ON_ITS_WAY:
        traces = {event: trace async for event, trace in traces_of(settings.kafka, topic_of(service), message_id)}
        assert set(traces.values()) == {TRACE}, service
        traced |= traces
    db = await asyncpg.connect(settings.postgres.get_secret_value())
    try:
        for service in SERVICES:
            rows = await db.fetch(f"SELECT traceparent FROM {service}.journal WHERE message_id = $1", message_id)
            # The services behind the last one say nothing of a message, so they have no rows.
            assert {row["traceparent"] for row in rows} == ({TRACE} if service in ON_ITS_WAY else set()), service
        # Lists keep no trace: they keep the id of each event that made them, and its record has the trace.
        facts = await db.fetch(
            "SELECT event_id::text, type FROM projection_lists.fact WHERE message_id = $1", message_id
        )
        assert {fact["type"] for fact in facts} == SHOWN
        assert {traced.get(fact["event_id"]) for fact in facts} == {TRACE}
    finally:
        await db.close()
    lines = [
        json.loads(line) for line in (product.home / "logs" / "web.log").read_text().splitlines() if TRACE_ID in line
    ]
    assert [(line["route"], line["status"]) for line in lines if line["event"] == "request"] == [("/v1/messages", 202)]


def sent(product: Product) -> str:
    """A message that was sent under the trace and has come into both lists."""
    with Client(product.address) as client:
        session = client.login(*product.login_of(SENDER))
        answer = httpx.post(
            f"{product.address}/v1/messages",
            headers={
                "Authorization": f"Bearer {session.access_token}",
                "Idempotency-Key": f"trace-{time.monotonic_ns()}",
                "traceparent": TRACE,
            },
            files={"message": (None, json.dumps({"recipient": RECIPIENT, "text": "よろしく"}), "application/json")},
            timeout=30,
        )
        assert answer.status_code == 202
        assert answer.headers["traceparent"] == TRACE
        message_id: str = answer.json()["message_id"]
        end = time.monotonic() + 100
        while client.message(message_id).status != "delivered":
            assert time.monotonic() < end
            time.sleep(0.1)
    return message_id


async def traces_of(kafka: str, topic: str, message_id: str) -> Any:
    """Event id and traceparent of each record of a topic about a message."""
    async with await read_topic(kafka, topic) as reader:
        async for batch in reader.batches():
            for raw in batch:
                headers = dict(raw.headers)
                if headers["ce_subject"] == message_id.encode():
                    yield headers["ce_id"].decode(), headers["traceparent"].decode()
