"""The generated OpenAPI document is the truth: whatever is sent, no answer is a 500 or outside of what it says.

schemathesis makes the requests, also following links from one answer to the next request (stateful); the services are
the real ones behind a real listener, with events delivered in the background.
"""

import asyncio
import contextlib
import dataclasses
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest import SkipTest

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode, checks
from schemathesis.config import ProjectConfig, ProjectsConfig, SchemathesisConfig
from schemathesis.specs.openapi import checks as openapi_checks

from tests.services.ingest.conftest import Client
from tests.services.whole import Whole, whole
from todoke.relay.clock import Ports
from todoke.relay.host import serve
from todoke.relay.limits import Limits

GENEROUS = Limits(
    requests_per_minute_user=10**9,
    sends_per_second_office=10**6,
    sends_reserve_office=10**9,
    bytes_per_hour_office=10**15,
    wait_seconds_max=0.05,
)
OFFICES = {"9970100018": "43", "9970100117": "11"}
READY_SECONDS = 60
CHECKS = [
    checks.not_a_server_error,
    openapi_checks.status_code_conformance,
    openapi_checks.content_type_conformance,
    openapi_checks.response_headers_conformance,
    openapi_checks.response_schema_conformance,
]
NEVER_ENDING = "/v1/stream"


@dataclasses.dataclass(frozen=True)
class Running:
    """The services: where they are, who asks, and a message that this office sent and one that it received."""

    url: str
    headers: dict[str, str]
    message_ids: list[str]


@pytest.fixture
def running(engines: Any, run_home: Path) -> Iterator[Running]:
    """The running services."""
    told: dict[str, Any] = {}
    ready = threading.Event()
    stopping = threading.Event()
    thread = threading.Thread(
        target=lambda: asyncio.run(_running(engines, run_home, told, ready, stopping)), name="services"
    )
    thread.start()
    try:
        assert ready.wait(READY_SECONDS)
        yield told["running"]
    finally:
        stopping.set()
        thread.join(READY_SECONDS)
    assert told.get("trouble") is None, told["trouble"]


async def _running(
    engines: Any, home: Path, told: dict[str, Any], ready: threading.Event, stopping: threading.Event
) -> None:
    async with whole(engines, home, Ports.real(), limits=GENEROUS) as product:
        until = (product.shared.ports.clock.now() + timedelta(days=300)).date()
        for office, kind in OFFICES.items():
            await product.register(office, kind, until)
        port = _free_port()
        closing = asyncio.Event()
        serving = asyncio.create_task(serve(product.app(), address="127.0.0.1", port=port, stopping=closing))
        flowing = asyncio.create_task(_flow(product))
        url = f"http://127.0.0.1:{port}"
        await _answers(url)
        message_ids = [await _sent(product, *way) for way in (tuple(OFFICES), tuple(OFFICES)[::-1])]
        told["running"] = Running(url, product.token("9970100018"), message_ids)
        ready.set()
        while not stopping.is_set() and not flowing.done():  # noqa: ASYNC110 (set by another thread)
            await asyncio.sleep(0.05)
        flowing.cancel()
        [trouble] = await asyncio.gather(flowing, return_exceptions=True)
        told["trouble"] = None if isinstance(trouble, asyncio.CancelledError) else trouble
        closing.set()
        await serving


async def _sent(product: Whole, sender: str, recipient: str) -> str:
    async with product.client() as http:
        client = Client(http, product.token(sender))
        answer = await client.send({"recipient": recipient, "text": "a"}, key=sender)
    return str(answer.json()["message_id"])


async def _flow(product: Whole) -> None:
    """Deliver events as they come."""
    while True:
        for hearer in product.stages:
            await product.deliver(hearer)
        await asyncio.sleep(0.05)


async def _answers(url: str) -> None:
    async with httpx.AsyncClient() as http:
        while True:
            with contextlib.suppress(httpx.TransportError):
                await http.get(f"{url}/health/live")
                return
            await asyncio.sleep(0.02)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def document(running: Running, **parameters: str) -> Any:
    """The document that the services serve; `parameters` are given wherever a call takes one of that name."""
    project = ProjectConfig(headers=running.headers, request_timeout=20, parameters=parameters)
    config = SchemathesisConfig(projects=ProjectsConfig(default=project))
    schema = schemathesis.openapi.from_url(f"{running.url}/openapi.json", config=config)
    return schema.exclude(path=NEVER_ENDING).exclude(path="/v1/session", method="DELETE")


def judged(seen: Counter[int], response: Any, case: Any) -> None:
    case.validate_response(response, checks=CHECKS)
    seen[response.status_code] += 1


def bounded(examples: int, **more: Any) -> settings:
    return settings(
        max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True, **more
    )


def walk(running: Running, *, examples: int, steps: int) -> Counter[int]:
    """From answer to request to answer, each held against the document; how often each status came."""
    seen: Counter[int] = Counter()
    base: Any = document(running).as_state_machine()

    class Machine(base):  # type: ignore[misc]
        def validate_response(self, response: Any, case: Any, **_: Any) -> None:
            judged(seen, response, case)

    Machine.run(settings=bounded(examples, stateful_step_count=steps))
    return seen


def knock(running: Running, *, examples: int) -> Counter[int]:
    """At every call, with what it wants and with what it does not want, about messages that are there."""
    seen: Counter[int] = Counter()
    for message_id in running.message_ids:
        for found in document(running, message_id=message_id).get_all_operations():
            for mode in GenerationMode:

                @given(case=found.ok().as_strategy(generation_mode=mode))
                @bounded(examples)
                def call(case: Any) -> None:
                    judged(seen, case.call(), case)

                with contextlib.suppress(SkipTest, Unsatisfiable):  # nothing can be wrong with a call without anything
                    call()
    return seen


@pytest.mark.long
def test_no_answer_lies_outside_the_document(running: Running) -> None:
    seen = walk(running, examples=10, steps=10) + knock(running, examples=2)
    assert seen.keys() >= {200, 404, 422}


@pytest.mark.soak
def test_no_answer_lies_outside_the_document_for_thousands_of_requests(running: Running) -> None:
    seen = walk(running, examples=300, steps=30) + knock(running, examples=200)
    assert seen.keys() >= {200, 404, 422}
