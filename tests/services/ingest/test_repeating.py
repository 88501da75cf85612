"""The same key finds the same message, a sequence is used once: also when requests run at once, in two processes."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest

from services.ingest.app import build
from services.ingest.timers import NotClean, Sweeper
from todoke.events import (
    Actor,
    Counts,
    Event,
    MessageDiscarded,
    MessageRejected,
    MessageUndeliverable,
    Recalled,
)
from todoke.relay.clock import Ports
from todoke.relay.objects import ObjectMissing
from todoke.relay.service import Shared
from todoke.relay.testing import ManualClock, Stage, asgi_client, stage

from .conftest import OTHER, RECIPIENT, SENDER, Client, objects_of, registered, said, until_next_year

PLAN = f"UPPLAN_202509_{SENDER}_43_{RECIPIENT}_11_20250825121901.CSV"
SYSTEM = Actor(kind="system", id="test")


async def test_the_same_key_and_content_give_the_same_message(client: Client, ingest: Stage) -> None:
    first = (await client.send({"text": "a"}, [(PLAN, b"x")])).json()
    again = await client.send({"text": "a", "recipient": None}, [(PLAN, b"x")])
    assert again.status_code == 202
    assert again.json() == {**first, "replayed": True}
    assert len(await said(ingest)) == 1


async def test_the_same_key_with_other_content_is_422(client: Client) -> None:
    await client.send({"text": "a"}, [(PLAN, b"x")])
    others: list[tuple[dict[str, Any], list[tuple[str, bytes]]]] = [
        ({"text": "b"}, [(PLAN, b"x")]),
        ({"text": "a"}, [(PLAN, b"y")]),
        ({"text": "a", "allow_resend": True}, [(PLAN, b"x")]),
        ({"text": "a"}, [(PLAN, b"x"), ("a.pdf", b"y")]),
        ({"text": "a"}, [("nonsense.csv", b"x")]),
    ]
    for body, files in others:
        response = await client.send(body, files)
        assert (response.status_code, response.json()["code"]) == (422, "TDK-IDEMPOTENCY-MISMATCH")


async def test_a_retry_finds_its_message_though_the_recipient_left_meanwhile(client: Client, ingest: Stage) -> None:
    first = (await client.send({"text": "a"}, [(PLAN, b"x")])).json()
    left = registered(RECIPIENT, until_next_year(ingest.runtime.ports), participation="suspended")
    await ingest.hear(left.model_copy(update={"version": 2}))
    again = await client.send({"text": "a"}, [(PLAN, b"x")])
    assert again.json() == {**first, "replayed": True}
    other = await client.send({"text": "a"}, [(PLAN, b"x")], key="key-2")
    assert (other.status_code, other.json()["code"]) == (409, "TDK-OFFICE-NOT-TAKING-PART")


async def test_another_office_may_use_the_same_key(client: Client, ingest: Stage) -> None:
    await client.send({"recipient": OTHER, "text": "a"})
    response = await Client(client.http, ingest.token(RECIPIENT)).send({"recipient": OTHER, "text": "a"})
    assert response.json()["replayed"] is False


async def _two_processes(shared: Shared, ingest: Stage) -> tuple[httpx.AsyncClient, httpx.AsyncClient, Any]:
    second = stage(build, "ingest", shared)
    other = await second.__aenter__()
    return ingest.client(), asgi_client(other.service, other.runtime), second


async def test_eight_at_once_over_two_processes_make_one_message(ingest: Stage, shared: Shared) -> None:
    one, two, second = await _two_processes(shared, ingest)
    try:
        headers = ingest.token(SENDER)
        clients = [Client(one, headers), Client(two, headers)] * 4
        answers = await asyncio.gather(*(each.send({"text": "a"}, [(PLAN, b"x")]) for each in clients))
        assert [answer.status_code for answer in answers] == [202] * 8
        assert len({answer.json()["message_id"] for answer in answers}) == 1
        assert sorted(answer.json()["replayed"] for answer in answers) == [False] + [True] * 7
        assert len({answer.json()["receipt"] for answer in answers}) == 1
        assert len(await said(ingest)) == 1
    finally:
        await one.aclose()
        await two.aclose()
        await second.__aexit__(None, None, None)


async def test_eight_different_messages_race_for_one_sequence_and_one_wins(ingest: Stage, shared: Shared) -> None:
    one, two, second = await _two_processes(shared, ingest)
    try:
        headers = ingest.token(SENDER)
        clients = [Client(one, headers), Client(two, headers)] * 4
        answers = await asyncio.gather(
            *(each.send({"text": str(n)}, [(PLAN, b"x")], key=f"key-{n}") for n, each in enumerate(clients))
        )
        [winner] = [answer.json() for answer in answers if answer.status_code == 202]
        losers = [answer.json() for answer in answers if answer.status_code == 409]
        assert len(losers) == 7
        assert {(loser["code"], loser["message_id"]) for loser in losers} == {
            ("TDK-SEQUENCE-USED", winner["message_id"])
        }
        again = await clients[0].send({"text": "changed"}, [(PLAN, b"x")], key="key-9")
        assert again.status_code == 409
        async with ingest.db.worker() as tx:
            assert await tx.db.fetchval("SELECT count(*) FROM idempotency") == 1
    finally:
        await one.aclose()
        await two.aclose()
        await second.__aexit__(None, None, None)


async def test_text_messages_at_once_over_two_processes_get_different_sequences(ingest: Stage, shared: Shared) -> None:
    one, two, second = await _two_processes(shared, ingest)
    try:
        headers = ingest.token(SENDER)
        clients = [Client(one, headers), Client(two, headers)] * 10
        answers = await asyncio.gather(
            *(each.send({"recipient": RECIPIENT, "text": "a"}, key=f"key-{n}") for n, each in enumerate(clients))
        )
        assert len({answer.json()["sequence"] for answer in answers}) == 20
    finally:
        await one.aclose()
        await two.aclose()
        await second.__aexit__(None, None, None)


async def test_sending_again_on_purpose_is_allowed(client: Client) -> None:
    first = (await client.send({}, [(PLAN, b"x")], key="1")).json()
    refused = await client.send({}, [(PLAN, b"x")], key="2")
    assert refused.json()["message_id"] == first["message_id"]
    assert (await client.send({"allow_resend": True}, [(PLAN, b"x")], key="3")).status_code == 202
    assert (await client.send({}, [(PLAN, b"x")], key="4")).status_code == 409


def _ends(message_id: UUID, now: Any) -> list[Event]:
    about: dict[str, Any] = {"actor": SYSTEM, "message_id": message_id, "sender": SENDER, "recipient": RECIPIENT}
    return [
        MessageRejected(**about, counts=Counts(errors=1), rejected_at=now),
        MessageUndeliverable(**about, reason="TDK-OFFICE-NOT-TAKING-PART", decided_at=now),
        MessageDiscarded(**about, discarded_at=now),
        Recalled(**about, recalled_at=now),
    ]


async def test_each_end_frees_the_sequence(client: Client, ingest: Stage) -> None:
    used = (await client.send({}, [(PLAN, b"x")], key="first")).json()["message_id"]
    for which in range(4):
        end = _ends(UUID(used), ingest.runtime.ports.clock.now())[which]
        await ingest.hear(end)
        used = (await client.send({}, [(PLAN, b"x")], key=f"next-{which}")).json()["message_id"]
        await ingest.hear(end)  # repeated: it is about the message before
        refused = await client.send({}, [(PLAN, b"x")], key=f"late-{which}")
        assert (refused.status_code, refused.json()["message_id"]) == (409, used)


async def test_one_that_lives_keeps_the_sequence(client: Client, ingest: Stage) -> None:
    first = (await client.send({}, [(PLAN, b"x")], key="1")).json()
    await client.send({"allow_resend": True}, [(PLAN, b"x")], key="2")
    await ingest.hear(_ends(UUID(first["message_id"]), ingest.runtime.ports.clock.now())[0])
    assert (await client.send({}, [(PLAN, b"x")], key="3")).status_code == 409


async def test_object_storage_away_is_503_and_the_retry_succeeds(
    client: Client, shared: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    await client.send({"recipient": RECIPIENT, "text": "a"})
    monkeypatch.setattr(shared.objects, "_base", "http://127.0.0.1:9")
    response = await client.send({}, [(PLAN, b"x")], key="2")
    assert (response.status_code, response.json()["code"]) == (503, "TDK-ENGINE-AWAY")
    assert int(response.headers["Retry-After"]) > 0
    monkeypatch.undo()
    assert (await client.send({}, [(PLAN, b"x")], key="2")).json()["replayed"] is False


async def test_the_sweeper_removes_what_no_submission_names(
    client: Client, ingest: Stage, shared: Shared, ports: Ports
) -> None:
    kept = (await client.send({}, [(PLAN, b"x")], key="1")).json()["message_id"]
    [event] = await said(ingest)
    prefix = event.package.object_key.rpartition("/")[0] + "/"
    before = await objects_of(shared, prefix)
    orphan = str((await client.send({}, [(PLAN, b"x")], key="2")).json()["message_id"])
    assert orphan == kept
    [lost] = set(await objects_of(shared, prefix)) - set(before)
    clock = ports.clock
    assert isinstance(clock, ManualClock)
    [sweep] = ingest.service.timers
    await ingest.reconcile()
    clock.move(timedelta(days=6))
    await sweep.run()
    assert await shared.objects.exists(lost)
    clock.move(timedelta(days=2))
    await sweep.run()
    assert not await shared.objects.exists(lost)
    with pytest.raises(ObjectMissing):
        await shared.objects.get(lost)
    assert await shared.objects.exists(event.package.object_key)


async def test_nothing_is_swept_while_something_is_unmended(
    client: Client, ingest: Stage, shared: Shared, ports: Ports
) -> None:
    for _ in range(2):
        await client.send({}, [(PLAN, b"x")], key="1")
    [event] = await said(ingest)
    prefix = event.package.object_key.rpartition("/")[0] + "/"
    before = await objects_of(shared, prefix)
    assert isinstance(ports.clock, ManualClock)
    ports.clock.move(timedelta(days=8))

    async def last_reconcile_was_clean() -> bool:
        return False

    with pytest.raises(NotClean):
        await Sweeper(ingest.db, shared.objects, ports.clock, last_reconcile_was_clean).run()
    assert await objects_of(shared, prefix) == before


async def test_a_batch_shares_one_object_and_answers_in_order(client: Client, ingest: Stage) -> None:
    messages = b"""[
        {"idempotency_key": "b1", "files": ["f1", "f2"]},
        {"idempotency_key": "b2", "recipient": "9979999999", "text": "x"},
        {"idempotency_key": "b3", "recipient": "9970100216", "files": ["f2"]},
        {"idempotency_key": "b4", "recipient": "9970100216", "files": ["f9"]},
        {"idempotency_key": "b1", "files": ["f1"]},
        {"idempotency_key": "", "recipient": "9970100216", "text": "x"}
    ]"""
    parts: dict[str, Any] = {
        "messages": (None, messages, "application/json"),
        "f1": (PLAN, b"plan"),
        "f2": ("記録.pdf", b"%PDF-"),
    }
    response = await client.http.post("/v1/batches", files=parts, headers=client.headers)
    assert response.status_code == 200
    results = response.json()["results"]
    assert [(one["idempotency_key"], one["status"]) for one in results] == [
        ("b1", 202),
        ("b2", 422),
        ("b3", 202),
        ("b4", 422),
        ("b1", 422),
        ("", 400),
    ]
    assert [one["problem"]["code"] for one in results if "problem" in one] == [
        "TDK-UNKNOWN-OFFICE",
        "TDK-PART-MISSING",
        "TDK-IDEMPOTENCY-MISMATCH",
        "TDK-IDEMPOTENCY-KEY",
    ]
    events = await said(ingest)
    assert len({event.package.object_key for event in events}) == 1
    assert [event.package.place for event in events] == [0, 2]
    again = await client.http.post("/v1/batches", files=parts, headers=client.headers)
    assert [one.get("replayed") for one in again.json()["results"]] == [True, None, True, None, None, None]


async def test_a_wrong_batch_is_refused_whole(client: Client) -> None:
    wrong = [
        (b"{}", (400, "TDK-BODY-MALFORMED")),
        (b"[", (400, "TDK-BODY-MALFORMED")),
        (b"[]", (422, "TDK-NOTHING-TO-SEND")),
        (b"[" + b",".join([b'{"idempotency_key": "a"}'] * 201) + b"]", (413, "TDK-BATCH-TOO-LONG")),
        (b'[{"idempotency_key": "a", "text": "b"}]', (422, "TDK-PART-UNKNOWN")),
        (b'[{"text": "b"}]', (422, "TDK-INVALID")),
    ]
    for messages, answer in wrong:
        parts: dict[str, Any] = {"messages": (None, messages, "application/json"), "f1": (PLAN, b"plan")}
        response = await client.http.post("/v1/batches", files=parts, headers=client.headers)
        assert (response.status_code, response.json()["code"]) == answer
