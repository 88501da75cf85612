"""Operators before two services of one process: routing and projection on real PostgreSQL, keys in real S3."""

import dataclasses
import json
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any
from uuid import UUID

import httpx
import pytest

from todoke.events import Actor, Event, MessageHeld, MessageUndeliverable, record_of, topic_of
from todoke.events.examples import EXAMPLES
from todoke.relay.manifest import REASON_LABEL, unseal_text
from todoke.relay.parking import Parking
from todoke.relay.seal import Binding, OfficeBinding, epoch_of
from todoke.relay.testing import Stage, asgi_client, journalled, operators_side

SENDER = "9970100018"
RECIPIENT = "9970100117"
WORD = {"reason": "原因を直しました", "ticket": "OPS-12"}


@dataclasses.dataclass
class Room:
    """The operators' listener of a process, and the services behind it."""

    routing: Stage
    projection: Stage
    http: httpx.AsyncClient

    def stage(self, service: str) -> Stage:
        return {"routing": self.routing, "projection": self.projection}[service]

    async def get(self, path: str, **params: Any) -> httpx.Response:
        return await self.http.get(f"/v1/operator{path}", params=params, headers=self.routing.operator())

    async def post(self, path: str, body: Any) -> httpx.Response:
        return await self.http.post(f"/v1/operator{path}", json=body, headers=self.routing.operator())

    def message(self) -> UUID:
        return self.routing.runtime.ports.ids.uuid7()

    async def hold(self, service: str, message_id: UUID, *, readable: bool = True, records: int = 1) -> None:
        """A hold as the consumer leaves one behind, with raw records of what the service hears."""
        sayer, event = (
            ("validation", accepted(message_id)) if service == "routing" else ("routing", undeliverable(message_id))
        )
        stage = self.stage(service)
        now = stage.runtime.ports.clock.now()
        record = record_of(event, sayer, now, None)
        body = record.body if readable else b"{"
        first = message_id.int % 1_000_000_007
        lines = [
            Line(topic_of(sayer), 0, first + n, 0, record.key.encode(), body, record.headers()) for n in range(records)
        ]
        handler = next(each for each in stage.service.handlers if type(event) in each.hears)
        async with stage.db.worker() as tx:
            await parking(stage).park(tx, handler, str(message_id), lines[0], "Poison: x", None)
            for line in lines[1:]:
                await parking(stage).keep(tx, str(message_id), line, "waits behind a held record")

    async def said(self, service: str) -> list[tuple[str, dict[str, Any]]]:
        async with self.stage(service).db.worker() as tx:
            return [(kind, json.loads(payload)) for kind, payload in await journalled(tx)]

    async def reason_of(self, act: dict[str, Any]) -> str:
        """What an auditor reads in an OperatorActed."""
        act_id = UUID(act["act_id"])
        return await self.unsealed(
            act["reason_sealed"], OfficeBinding(act.get("office") or act["service"], act_id, epoch_of(act_id))
        )

    async def unsealed(self, sealed: str, binding: Binding | OfficeBinding) -> str:
        runtime = self.routing.runtime
        key = await runtime.keys.key(binding.epoch)
        return unseal_text(sealed, runtime.seal, month_key=key, binding=binding, label=REASON_LABEL)


@dataclasses.dataclass
class Line:
    """A record as a driver hands it over."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]


def accepted(message_id: UUID) -> Event:
    return EXAMPLES["MessageAccepted"].model_copy(
        update={"message_id": message_id, "sender": SENDER, "recipient": RECIPIENT}
    )


def undeliverable(message_id: UUID) -> MessageUndeliverable:
    return MessageUndeliverable(
        actor=Actor(kind="system", id="routing"),
        message_id=message_id,
        sender=SENDER,
        recipient=RECIPIENT,
        reason="TDK-UNKNOWN-OFFICE",
        decided_at="2026-04-01T00:00:00Z",
    )


@pytest.fixture
async def room(on_stage: Callable[[str], Any]) -> AsyncIterator[Room]:
    """Both services behind one operators' listener."""
    routing, projection = await on_stage("routing"), await on_stage("projection")
    async with asgi_client(routing.service, routing.runtime, routers=operators_side(routing, projection)) as http:
        yield Room(routing, projection, http)


def parking(stage: Stage) -> Parking:
    """The part of a service's consumer that carries out operators' words."""
    runtime = stage.runtime
    says = MessageHeld in stage.service.says
    return Parking(stage.service.name, stage.service.handlers, runtime.db, runtime.ports, runtime.log, says_holds=says)
