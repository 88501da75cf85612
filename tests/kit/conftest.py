"""Kit tests share one Kafka and its topic names, so they wait for each other."""

import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Alone
from tests.kit.topology import EFFECTS, Topology
from todoke.relay.clock import Ports
from todoke.relay.kafka import consumer_settings
from todoke.relay.postgres import administrator
from todoke.relay.testing import fresh_database, secrets_of_home


@pytest.fixture
def kit_topics(alone: Alone) -> Iterator[None]:
    """The topics of the kit tests, for one test at a time.

    A lock, not a group of pytest-xdist: from pytest 9.2 on xdist 3.8 takes no notice of its groups.
    """
    with alone("kit-topics"):
        yield


@pytest.fixture
async def topology(
    kit_topics: None,  # noqa: ARG001 (held, not used)
    engines: Any,
    run_home: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Topology]:
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
