"""validation on real PostgreSQL and SeaweedFS, fed with real bundles that ingest made."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest

from tests.services.ingest.conftest import Client, registered, said
from todoke.events import MessageSubmitted
from todoke.relay.clock import Ports, in_japan
from todoke.relay.testing import Stage

StageFactory = Callable[..., Awaitable[Stage]]

CENTRE, HELPER, RENTAL = "9970100018", "9970100117", "9970100216"
SUPPORT, PREVENTION = "9900100015", "99A0100019"
TYPES = {CENTRE: ("43",), HELPER: ("11",), RENTAL: ("17",), SUPPORT: ("46",), PREVENTION: ("A2",)}


class Sender:
    """Hands in messages at ingest and gives what it said to validation."""

    def __init__(self, ingest: Stage, validation: Stage) -> None:
        self.ingest = ingest
        self.validation = validation

    async def submit(
        self, office: str, body: dict[str, Any], files: Sequence[tuple[str, bytes]] = (), key: str = "key"
    ) -> MessageSubmitted:
        """A message in ingest, as it says it."""
        async with self.ingest.client() as http:
            response = await Client(http, self.ingest.token(office)).send(body, files, key=key)
        assert response.status_code == 202, response.json()
        events = {str(event.message_id): event for event in await said(self.ingest)}
        return events[response.json()["message_id"]]

    async def judge(self, *submitted: MessageSubmitted) -> list[Any]:
        """What validation says of submitted messages."""
        return await self.validation.hear(*submitted)

    async def check(self, office: str, body: dict[str, Any], files: Sequence[tuple[str, bytes]] = ()) -> dict[str, Any]:
        """The answer of `check`."""
        async with self.validation.client() as http:
            client = Client(http, self.validation.token(office))
            response = await client.send(body, files, key=None, path="/v1/messages/check")
        assert response.status_code == 200, response.json()
        answer: dict[str, Any] = response.json()
        return answer


@pytest.fixture
async def validation(on_stage: StageFactory, ports: Ports) -> Stage:
    """Validation with the practice offices in its directory."""
    return await _with_offices(await on_stage("validation"), ports)


@pytest.fixture
async def sender(on_stage: StageFactory, validation: Stage, ports: Ports) -> Sender:
    """Ingest and validation side by side over the same object storage."""
    return Sender(await _with_offices(await on_stage("ingest"), ports), validation)


async def _with_offices(stage: Stage, ports: Ports) -> Stage:
    until = (in_japan(ports.clock.now()) + timedelta(days=365)).date()
    await stage.hear(*(registered(office, until, service_types=types) for office, types in TYPES.items()))
    return stage
