"""An operator before a consumer that really runs: the breaker trips, is reset over HTTP, and consuming goes on."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.kit.topology import Count, Topology, poison, running, undeliverable
from todoke.relay.consumer import Discipline
from todoke.relay.limits import PARKS_IN_A_ROW_MAX
from todoke.relay.operating import Operating
from todoke.relay.operating_api import operator_routes
from todoke.relay.service import Service, Shared
from todoke.relay.settings import S3Settings
from todoke.relay.testing import asgi_client, operator_token, settings_for

pytestmark = [pytest.mark.long]
WORD = {"reason": "直しました", "ticket": "OPS-1"}


@dataclasses.dataclass
class Operators:
    """The operators' listener of the hearing service."""

    http: httpx.AsyncClient

    async def get(self, path: str) -> Any:
        answer = await self.http.get(f"/v1/operator/services/storage{path}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def act(self, path: str) -> Any:
        answer = await self.http.post(f"/v1/operator/services/storage{path}", json=WORD)
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
    runtime = await shared.runtime("storage")
    routes = operator_routes(shared.access, {"storage": Operating(runtime)})
    try:
        async with asgi_client(Service("storage"), runtime, routers=[routes]) as http:
            http.headers["Authorization"] = f"Bearer {operator_token(shared)}"
            yield Operators(http)
    finally:
        await runtime.db.close()
        await shared.close()


@contextlib.asynccontextmanager
async def looked_after(discipline: Discipline) -> AsyncIterator[None]:
    """What the host does beside hearing: look at the breaker, carry out operators' words."""

    async def look() -> None:
        while True:
            await discipline.watch_breaker()
            if not await discipline.parking.settle_one():
                await asyncio.sleep(0.05)

    async with running(look()):
        yield


async def test_the_breaker_trips_and_an_operator_resets_it_and_consuming_goes_on(
    topology: Topology, operators: Operators
) -> None:
    handler = Count()
    handler.fails = RuntimeError
    async with topology.publishing(), topology.hearing("bare", handler) as discipline, looked_after(discipline):
        await topology.say(*(undeliverable(topology.ports, number) for number in range(30)))

        async def tripped() -> bool:
            return bool((await operators.get("/breaker"))["open"])

        await topology.wait_for(tripped, "the breaker")
        held = (await operators.get("/parked"))["items"]
        assert len(held) == PARKS_IN_A_ROW_MAX
        assert (await operators.get("/lag"))["behind"] == 30 - PARKS_IN_A_ROW_MAX
        assert await topology.effects() == []

        handler.fails = lambda _: None
        assert (await operators.act("/breaker/reset"))["changed"]
        await topology.wait_for_effects(30 - PARKS_IN_A_ROW_MAX)
        for hold in held:
            await operators.act(f"/parked/{hold['subject']}/retry")
        await topology.wait_for_effects(30)
        assert (await operators.get("/parked"))["items"] == []
        assert (await operators.get("/lag"))["behind"] == 0
    said = [row["type"] for row in await topology.fetch("SELECT type FROM journal_office ORDER BY seq")]
    assert said == ["OperatorActed"] * (1 + PARKS_IN_A_ROW_MAX)


async def test_a_service_that_an_operator_stops_hears_nothing_until_it_may_again(
    topology: Topology, operators: Operators
) -> None:
    handler = Count()
    async with topology.publishing(), topology.hearing("bare", handler) as discipline, looked_after(discipline):
        await operators.act("/breaker/trip")

        async def stopped() -> bool:
            return discipline.breaker_open

        await topology.wait_for(stopped, "the service to follow")
        await topology.say(*(undeliverable(topology.ports, number) for number in range(10)))

        async def waiting() -> bool:
            return bool((await operators.get("/lag"))["behind"] == 10)

        await topology.wait_for(waiting, "ten records behind")
        assert await topology.effects() == []
        await operators.act("/breaker/reset")
        await topology.wait_for_effects(10)


async def test_a_retry_that_fails_again_is_held_again_until_it_is_given_up(
    topology: Topology, operators: Operators
) -> None:
    handler = Count()
    handler.fails = lambda reason: poison(reason) if reason == "TDK-3" else None
    async with topology.publishing(), topology.hearing("bare", handler) as discipline, looked_after(discipline):
        await topology.say(*(undeliverable(topology.ports, number) for number in range(5)))
        await topology.wait_for_effects(4)
        await topology.wait_for(lambda: topology.fetch("SELECT 1 FROM hold"), "a hold")
        (hold,) = (await operators.get("/parked"))["items"]
        path = f"/parked/{hold['subject']}"
        await operators.act(f"{path}/retry")

        async def tried() -> bool:
            shown = await operators.get(path)
            return bool(shown["state"] == "held" and shown["attempts"] > hold["attempts"])

        await topology.wait_for(tried, "a retry that failed")
        await operators.act(f"{path}/discard")

        async def given_up() -> bool:
            return bool((await operators.get(path))["state"] == "discarded")

        await topology.wait_for(given_up, "the end of the hold")
    said = [row["type"] for row in await topology.fetch("SELECT type FROM journal ORDER BY seq")]
    assert said == ["MessageHeld", "MessageDiscarded"]
