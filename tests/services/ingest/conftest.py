"""ingest on real PostgreSQL and SeaweedFS, with three offices in its directory."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import date, timedelta
from typing import Any

import httpx
import pytest

from todoke.events import Actor, MessageSubmitted, OfficeFacts, OfficeRegistered
from todoke.relay.clock import Ports, in_japan
from todoke.relay.service import Shared
from todoke.relay.testing import Stage, journalled

SENDER, RECIPIENT, OTHER = "9970100018", "9970100117", "9970100216"
NAMES = {SENDER: "見本ケアプランセンター", RECIPIENT: "見本ヘルパーステーション", OTHER: "見本レンタル"}
TYPES = {SENDER: ("43",), RECIPIENT: ("11",), OTHER: ("17",)}

StageFactory = Callable[..., Awaitable[Stage]]


def registered(office: str, until: date, **facts: Any) -> OfficeRegistered:
    known: dict[str, Any] = {
        "name": NAMES.get(office, office),
        "service_types": TYPES.get(office, ("11",)),
        "participation": "active",
        "licence_until": until,
    }
    actor = Actor(kind="system", id="registry")
    return OfficeRegistered(actor=actor, office=office, version=1, facts=OfficeFacts(**{**known, **facts}))


def until_next_year(ports: Ports) -> date:
    return (in_japan(ports.clock.now()) + timedelta(days=365)).date()


class Client:
    """Sends as one office."""

    def __init__(self, http: httpx.AsyncClient, headers: dict[str, str]) -> None:
        self.http = http
        self.headers = headers

    async def send(
        self,
        body: dict[str, Any] | bytes,
        files: Sequence[tuple[str, bytes]] = (),
        *,
        key: str | None = "key-1",
        path: str = "/v1/messages",
        part: str = "message",
    ) -> httpx.Response:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        parts: list[tuple[str, Any]] = [(part, (None, raw, "application/json"))]
        parts += [("files", (name, data, "application/octet-stream")) for name, data in files]
        headers = self.headers if key is None else {**self.headers, "Idempotency-Key": key}
        return await self.http.post(path, files=parts, headers=headers)


@pytest.fixture
async def ingest(on_stage: StageFactory, ports: Ports) -> Stage:
    stage = await on_stage("ingest")
    await stage.hear(*(registered(office, until_next_year(ports)) for office in NAMES))
    return stage


@pytest.fixture
async def client(ingest: Stage) -> AsyncIterator[Client]:
    async with ingest.client() as http:
        yield Client(http, ingest.token(SENDER))


async def said(stage: Stage) -> list[MessageSubmitted]:
    """Everything that ingest said of messages."""
    async with stage.db.worker() as tx:
        rows = await journalled(tx)
    return [MessageSubmitted.model_validate_json(payload) for kind, payload in rows if kind == "MessageSubmitted"]


async def objects_of(shared: Shared, prefix: str) -> list[str]:
    return [entry.key async for entry in shared.objects.list(prefix)]
