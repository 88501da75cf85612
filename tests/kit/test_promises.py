"""Promises of the kit that need a broker or a database to break them, and belong to no other test."""

import asyncio
import contextlib
from typing import Any

import asyncpg
import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from services import process
from tests.kit.topology import TOPIC, Count, Topology, undeliverable
from todoke.relay import host
from todoke.relay.consumer import Discipline
from todoke.relay.limits import EXIT_NO_PROGRESS
from todoke.relay.postgres import administrator
from todoke.relay.service import Service
from todoke.relay.settings import S3Settings
from todoke.relay.testing import settings_for

pytestmark = [pytest.mark.long]

BROKER_BYTES_MAX = 2000
"""What the broker of these tests takes at most in one batch."""


async def test_what_the_broker_never_takes_is_set_aside_and_the_relay_goes_on(topology: Topology) -> None:
    await _limit_batches(topology.kafka)
    small = [undeliverable(topology.ports, number) for number in range(6)]
    large = small[3].model_copy(update={"message_id": topology.ports.ids.uuid7(), "reason": "TDK-" + "X" * 3000})
    async with topology.publishing(), topology.hearing("bare", Count()):
        await topology.say(*small[:3], large, *small[3:])
        await topology.wait_for_effects(6)

        async def everything_left() -> bool:
            return await _count(topology, "routing.outbox") == 0

        await topology.wait_for(everything_left, "an empty outbox")
    assert {row["reason"] for row in await topology.effects()} == {event.reason for event in small}
    async with administrator(topology.dsn) as db:
        aside = await db.fetch("SELECT subject_id, error FROM routing.parked_out")
    assert [(row["subject_id"], row["error"]) for row in aside] == [(large.message_id, "MessageSizeTooLargeError")]


@pytest.mark.parametrize("change", ["UPDATE journal SET type = 'Other'", "DELETE FROM journal", "TRUNCATE journal"])
async def test_nobody_changes_a_journal(topology: Topology, change: str) -> None:
    await topology.say(undeliverable(topology.ports, 1))
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with topology.sayer.worker() as tx:
            await tx.db.execute(change)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with topology.sayer.api("9970100018") as tx:
            await tx.db.execute(change)
    if not change.startswith("TRUNCATE"):
        async with administrator(topology.dsn) as db:
            with pytest.raises(asyncpg.RaiseError, match="insert-only"):
                await db.execute(change.replace("journal", "routing.journal"))
    assert await _count(topology, "routing.journal") == 1


async def test_a_process_that_does_not_get_on_ends_with_70(
    topology: Topology, engines: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    async def get_stuck(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(Discipline, "poll", get_stuck)
    monkeypatch.setattr(host, "NO_PROGRESS_SECONDS_MAX", 1)
    monkeypatch.setattr(host, "GAUGE_SECONDS", 0.2)
    monkeypatch.setattr(process, "configure_logging", lambda *_, **__: None)  # it would outlive the test
    monkeypatch.setattr(process, "builds", lambda _: {"storage": lambda _: Service("storage", handlers=(Count(),))})
    s3 = S3Settings(endpoint=engines.s3.endpoint, access_key=engines.s3.access_key, secret_key=engines.s3.secret_key)
    settings = settings_for(tmp_path, postgres=topology.dsn, kafka=topology.kafka, s3=s3)
    settings = settings.model_copy(update={"driver": "bare"})  # it lets go of a stuck handler when it is told to
    async with topology.publishing(), _database_keys(topology, monkeypatch):
        await topology.say(*(undeliverable(topology.ports, number) for number in range(30)))
        ports = {"port": 0, "operator_port": 0}
        code = await asyncio.wait_for(process.run(settings, ["storage"], serves=False, works=True, **ports), 25)
    assert code == EXIT_NO_PROGRESS


@contextlib.asynccontextmanager
async def _database_keys(topology: Topology, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The process opens the database with the passwords of the test's home, not with its own."""
    monkeypatch.setattr("todoke.relay.service.Secrets", lambda _: topology.secrets)
    yield


async def _count(topology: Topology, table: str) -> int:
    async with administrator(topology.dsn) as db:
        return int(await db.fetchval(f"SELECT count(*) FROM {table}"))


async def _limit_batches(kafka: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    try:
        config = {"max.message.bytes": str(BROKER_BYTES_MAX), "flush.messages": "1"}
        config |= {"message.timestamp.type": "LogAppendTime", "retention.ms": "-1"}
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, TOPIC, config)])
    finally:
        await admin.close()
