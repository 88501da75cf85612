"""Operators before two services of one process: routing and projection on real PostgreSQL, keys in real S3."""

import dataclasses
import json
from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import UUID

import httpx
import pytest

from todoke.events import Actor, Event, MessageUndeliverable, record_of, topic_of
from todoke.events.examples import EXAMPLES
from todoke.relay.manifest import REASON_LABEL, unseal_text
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
        event, sayer = (
            (accepted(message_id), "validation") if service == "routing" else (undeliverable(message_id), "routing")
        )
        stage = self.stage(service)
        now = stage.runtime.ports.clock.now()
        record = record_of(event, sayer, now, None)
        names, values = zip(*record.headers(), strict=True)
        async with stage.db.worker() as tx:
            await tx.db.execute(
                "INSERT INTO hold (subject, state, error, attempts, held_at) VALUES ($1, 'held', 'Poison: x', 3, $2)",
                str(message_id),
                now,
            )
            for offset in range(records):
                await tx.db.execute(
                    "INSERT INTO parked (subject, topic, partition, log_offset, append_time, key, header_names,"
                    " header_values, value, error, parked_at)"
                    " VALUES ($1, $2, 0, $3, 0, $4, $5, $6, $7, 'Poison: x', $8)",
                    str(message_id),
                    topic_of(sayer),
                    message_id.int % 1_000_000_007 + offset,
                    record.key.encode(),
                    list(names),
                    list(values),
                    record.body if readable else b"{",
                    now,
                )

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
