"""Kit tests share one Kafka and its topic names, so they run in one group, one after the other."""

import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.kit.topology import EFFECTS, Topology
from todoke.relay.clock import Ports
from todoke.relay.kafka import consumer_settings
from todoke.relay.postgres import administrator
from todoke.relay.testing import fresh_database, secrets_of_home


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One worker for everything that uses the kit's topics."""
    for item in items:
        if "tests/kit/" in str(item.path):
            item.add_marker(pytest.mark.xdist_group("kit"))


@pytest.fixture
async def topology(engines: Any, run_home: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Topology]:
    """The two test services over fresh tables, fresh topics and a fresh consumer group.

    A group of the test before would still be bound to the topic that was deleted, and its joins fail for a while.
    """
    group = secrets.token_hex(4)
    monkeypatch.setattr(
        "todoke.relay.kafka.consumer_settings",
        lambda service, instance: consumer_settings(service, instance) | {"group_id": f"todoke.{service}.{group}"},
    )
    ports = Ports.real()
    derived = secrets_of_home(run_home, ports)
    async with fresh_database(engines.postgres, derived, ["routing", "storage"]) as dsn:
        async with administrator(dsn) as db:
            await db.execute(EFFECTS)
        made = Topology(dsn, engines.kafka, derived, ports)
        await made.open()
        try:
            yield made
        finally:
            await made.close()
