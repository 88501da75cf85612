"""An engine goes away for a while: an answer in time, and everything comes back by itself."""

import asyncio
import functools
from typing import Any

import httpx
import pytest

from tests.faults.stack import WORKERS, Stack
from tests.faults.traffic import SENDERS, Traffic, client_of, picture, until, until_it_works
from todoke.client import AsyncClient

HEARERS = tuple(service for service in WORKERS if service != "portal")

ANSWER_SECONDS_MAX = 10.0
"""design: never a hang over ten seconds. As the client's time-out: a later answer is a failure."""

BYSTANDER = "9970100414"
"""Gets what these tests send by themselves, so that it stands in nobody's account."""

NEED: dict[str, list[tuple[str, str, dict[str, Any]]]] = {
    "postgres": [
        ("POST", "/v1/session/system", {"json": {"user_id": "c1000000001", "password": "wrong"}}),
        ("GET", "/v1/session/list", {}),
        ("GET", "/v1/offices", {}),
        ("GET", "/v1/sent", {}),
        ("GET", "/v1/received", {}),
        ("GET", "/v1/received?since=0", {}),
        ("POST", "/v1/search", {"json": {"box": "sent", "text": "だれ"}}),
        ("GET", "/v1/counts", {}),
        ("GET", "/v1/messages/{id}", {}),
        ("GET", "/v1/messages/{id}/findings", {}),
        ("GET", "/v1/messages/{id}/evidence", {}),
        ("GET", "/v1/messages/{id}/files/1", {}),
        ("GET", "/v1/messages/{id}/zip", {}),
        ("POST", "/v1/messages/{id}/receipt", {"json": {"sha256": ["0" * 64]}}),
        ("POST", "/v1/messages/{id}/recall", {"json": {"reason": "誤り"}}),
        ("GET", "/v1/notifications/own", {}),
    ],
    "s3": [("GET", "/v1/messages/{id}/files/1", {}), ("GET", "/v1/messages/{id}/zip", {})],
}
"""Calls that cannot be answered without an engine."""


async def state_of(stack: Stack) -> tuple[int, str]:
    """What `/health/ready` says."""
    async with httpx.AsyncClient(base_url=stack.address, timeout=ANSWER_SECONDS_MAX) as http:
        answer = await http.get("/health/ready")
        return answer.status_code, answer.json()["status"]


async def send_plainly(client: AsyncClient, stack: Stack, key: str) -> httpx.Response:
    """One request without any repetition, with ten seconds for its answer."""
    assert client.session is not None
    async with httpx.AsyncClient(base_url=stack.address, timeout=ANSWER_SECONDS_MAX) as http:
        return await http.post(
            "/v1/messages",
            headers={"Authorization": f"Bearer {client.session.access_token}", "Idempotency-Key": key},
            files=[
                ("message", (None, f'{{"recipient": "{BYSTANDER}"}}', "application/json")),
                ("files", ("写真.png", picture(key), "image/png")),
            ],
        )


async def test_without_kafka_sending_goes_on_and_everything_arrives_later(stack: Stack) -> None:
    async with Traffic(stack).flowing() as traffic:
        await traffic.until_collected(4)
        stack.kill("kafka")
        before = len(traffic.account.promises)
        await traffic.until_promised(15)
        await until(lambda: _is(stack, 200, "degraded"), "degraded")
        assert len(traffic.account.promises) >= before + 15
        for metric in ("todoke_outbox_rows", "todoke_outbox_seconds"):
            await until(functools.partial(_shows, stack, "ingest", metric), metric)
        await stack.restart("kafka")
        await stack.until_ready()
    await until(functools.partial(_shows, stack, "ingest", "todoke_outbox_rows", none=True), "an empty outbox")
    for service in HEARERS:
        await until(functools.partial(_shows, stack, service, "todoke_lag_events", none=True), f"{service} level")
        assert await stack.metric(service, "todoke_lag_seconds", service=service) == 0
    assert await stack.metric("projection", "todoke_listed_seconds_count") >= len(traffic.account.promises)
    assert stack.ended() == []


@pytest.mark.parametrize("engine", ["postgres", "s3"])
async def test_without_postgres_or_s3_sending_says_so_in_time(stack: Stack, engine: str) -> None:
    async with client_of(stack, SENDERS[0]) as client:
        first = await send_plainly(client, stack, f"before-{engine}")
        assert first.status_code in (200, 202)
        stack.kill(engine)
        try:
            for attempt in range(3):
                answer = await send_plainly(client, stack, f"away-{engine}-{attempt}")
                assert answer.status_code == 503, answer.text
                assert answer.json()["code"] == "TDK-ENGINE-AWAY"
                assert int(answer.headers["Retry-After"]) > 0
            await _everything_says_so(stack, client, engine, first.json()["message_id"])
            assert await state_of(stack) == (503, "away")
        finally:
            await stack.restart(engine)
        await stack.until_ready()

        async def send_again() -> str:
            answer = await send_plainly(client, stack, f"away-{engine}-0")
            return str(answer.json()["message_id"]) if answer.status_code == 202 else ""

        ids = [one for one in [await send_again() for _ in range(3)] if one]
        while len(ids) < 2:
            await asyncio.sleep(0.5)
            ids += [one for one in [await send_again()] if one]
        assert len(set(ids)) == 1, "the key of a refused try made two messages"
    assert stack.ended() == [], "an engine's absence must not end a process"
    async with Traffic(stack).flowing() as traffic:
        await traffic.until_collected(4)


@pytest.mark.parametrize("engine", ["postgres", "s3"])
async def test_requests_under_way_while_an_engine_dies_are_answered_in_time(stack: Stack, engine: str) -> None:
    async with client_of(stack, SENDERS[1]) as client:
        sending = [
            asyncio.create_task(send_plainly(client, stack, f"crowd-{engine}-{stack.port}-{number}"))
            for number in range(20)
        ]
        await asyncio.sleep(0.2)
        stack.kill(engine)
        try:
            codes = {answer.status_code for answer in await asyncio.gather(*sending)}
        finally:
            await stack.restart(engine)
        assert codes <= {202, 503}
        await stack.until_ready()
        await until_it_works(client.counts)


async def _everything_says_so(stack: Stack, client: AsyncClient, engine: str, message_id: str) -> None:
    """Every other call that needs the engine: 503 with a time to wait, none later than ten seconds."""
    assert client.session is not None
    mine = {"Authorization": f"Bearer {client.session.access_token}"}
    async with httpx.AsyncClient(base_url=stack.address, timeout=ANSWER_SECONDS_MAX, headers=mine) as http:
        renewal = ("POST", "/v1/session/refresh", {"json": {"refresh_token": client.session.refresh_token}})
        for method, path, body in (*NEED[engine], *([renewal] if engine == "postgres" else [])):
            answer = await http.request(method, path.format(id=message_id), **body)
            assert (answer.status_code, answer.json()["code"]) == (503, "TDK-ENGINE-AWAY"), path
            assert int(answer.headers["Retry-After"]) > 0


async def _shows(stack: Stack, service: str, metric: str, *, none: bool = False) -> bool:
    return (await stack.metric(service, metric, service=service) == 0) is none


async def _is(stack: Stack, code: int, status: str) -> bool:
    return await state_of(stack) == (code, status)
