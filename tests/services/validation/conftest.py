"""validation on real PostgreSQL and SeaweedFS, fed with real bundles that ingest made."""

import dataclasses
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

import pytest

from tests.services.ingest.conftest import Client, registered
from tests.services.ingest.conftest import said as said_by_ingest
from todoke.events import MessageSubmitted, record_of, topic_of
from todoke.relay.clock import Ports, in_japan
from todoke.relay.consumer import Discipline, Place
from todoke.relay.service import Shared
from todoke.relay.testing import Stage, journalled

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
        events = {str(event.message_id): event for event in await said_by_ingest(self.ingest)}
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


# --- the real consumer over one partition, without a broker ---


@dataclasses.dataclass
class Record:
    """A record as a driver hands it over."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]


class Steering:
    """The log is as long as it is; nothing has to be steered in these tests."""

    def seek(self, place: Place, offset: int) -> None:
        """Every poll of these tests gives what is expected."""

    def pause(self, place: Place) -> None:
        """The same."""

    def resume(self, place: Place) -> None:
        """The same."""

    async def bounds(self, places: Sequence[Place]) -> Mapping[Place, tuple[int, int]]:
        """A log that nobody has heard of yet."""
        return dict.fromkeys(places, (0, 0))

    async def mirror(self, offsets: Mapping[Place, int]) -> None:
        """There is no group."""


PLACE = Place(topic_of("ingest"), 0)


@pytest.fixture
async def discipline(sender: Sender, shared: Shared) -> Discipline:
    """The real consumer of validation over its one partition."""
    stage = sender.validation
    made = Discipline(
        "validation",
        stage.service.handlers,
        stage.db,
        stage.runtime.ports,
        shared.metrics.consumer("validation"),
        stage.runtime.log,
        says_holds=True,
    )
    made.steer = Steering()
    await made.assigned([PLACE])
    return made


async def heard(discipline: Discipline, ports: Ports, *messages: MessageSubmitted) -> None:
    """Hand messages over as one batch of records."""
    first = discipline.expected[PLACE]
    records = []
    for offset, message in enumerate(messages, first):
        record = record_of(message, "ingest", ports.clock.now(), None)
        raw = Record(PLACE.topic, 0, offset, 0, record.key.encode(), record.body, record.headers())
        records.append(raw)
    await discipline.poll({PLACE: records})
    assert discipline.expected[PLACE] == first + len(messages), "the partition waits for nobody"


async def said(sender: Sender) -> list[tuple[str, str]]:
    """(type, message id) of everything validation said but FileValidated."""
    async with sender.validation.db.worker() as tx:
        rows = await journalled(tx)
    return [(kind, payload) for kind, payload in rows if kind != "FileValidated"]
