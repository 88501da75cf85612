"""Kit tests share one Kafka and its topic names, so they wait for each other."""

import dataclasses
import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import Alone
from tests.kit.topology import EFFECTS, Topology
from todoke.relay.clock import Ports
from todoke.relay.membership import consumer_settings
from todoke.relay.operating import Operating
from todoke.relay.operating_api import operator_routes
from todoke.relay.postgres import administrator
from todoke.relay.service import Service, Shared
from todoke.relay.settings import S3Settings
from todoke.relay.testing import asgi_client, fresh_database, operator_token, secrets_of_home, settings_for

WORD = {"reason": "直しました", "ticket": "OPS-1"}


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
        lambda service, *more: consumer_settings(service, *more) | {"group_id": f"todoke.{service}.{group}"},
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


@dataclasses.dataclass
class Operators:
    """The operators' listener of both services; the hearing one is meant unless another is named."""

    http: httpx.AsyncClient

    async def get(self, path: str, service: str = "storage") -> Any:
        answer = await self.http.get(f"/v1/operator/services/{service}{path}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def act(self, path: str, service: str = "storage") -> Any:
        answer = await self.http.post(f"/v1/operator/services/{service}{path}", json=WORD)
        assert answer.status_code in {200, 202}, answer.text
        return answer.json()


@pytest.fixture
async def operators(topology: Topology, engines: Any, run_home: Path) -> AsyncIterator[Operators]:
    """An operator who is logged in."""
    s3 = S3Settings(
        endpoint=engines.s3.endpoint,
        access_key=engines.s3.access_key,
        secret_key=engines.s3.secret_key,
        bucket=engines.s3.bucket,
        region=engines.s3.region,
    )
    shared = await Shared.open(settings_for(run_home, postgres=topology.dsn, kafka=topology.kafka, s3=s3))
    await shared.objects.ensure_bucket()
    runtimes = [await shared.runtime(name) for name in ("storage", "routing")]
    routes = operator_routes(shared.access, {runtime.name: Operating(runtime) for runtime in runtimes})
    try:
        async with asgi_client(Service("storage"), runtimes[0], routers=[routes]) as http:
            http.headers["Authorization"] = f"Bearer {operator_token(shared)}"
            yield Operators(http)
    finally:
        for runtime in runtimes:
            await runtime.db.close()
        await shared.close()
