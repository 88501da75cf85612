"""Rates of users and offices over HTTP, with a clock that the test moves: what `GET /v1/limits` says happens."""

import dataclasses
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.services.ingest.conftest import Client
from tests.services.test_two_offices import PICTURE
from tests.services.whole import Whole, whole
from todoke.relay.limits import MEBIBYTE, Limits
from todoke.relay.testing import ManualClock, manual_ports, token_for

pytestmark = pytest.mark.asyncio(loop_scope="module")

SENDER, RECIPIENT, OTHER = "9970100018", "9970100117", "9970100216"
SERVICES = ("registry", "ingest", "validation", "storage")
LIMITS = Limits(
    requests_per_minute_user=30, sends_per_second_office=2, sends_reserve_office=6, bytes_per_hour_office=MEBIBYTE
)
BATCHED = {"recipient": RECIPIENT, "text": "a"}


@dataclasses.dataclass
class Desk:
    """The product with small limits, and its limits as it tells them."""

    product: Whole
    http: httpx.AsyncClient
    told: dict[str, dict[str, Any]]

    def limit(self, name: str) -> int:
        return int(self.told[name]["value"])

    def move(self, **time: float) -> None:
        clock = self.product.shared.ports.clock
        assert isinstance(clock, ManualClock)
        clock.move(timedelta(**time))

    def user(self, office: str, user: str = "c0000000001", **claims: Any) -> dict[str, str]:
        return {"Authorization": f"Bearer {token_for(self.product.shared, office, user=user, **claims)}"}

    async def ask(self, office: str, user: str) -> httpx.Response:
        return await self.http.get("/v1/session/list", headers=self.user(office, user))

    async def send(self, office: str, size: int = 0, user: str = "c1", path: str = "") -> httpx.Response:
        """A message; with a size, one whose body has so many bytes more."""
        client = Client(self.http, self.user(office, user))
        body = {"recipient": RECIPIENT if office != RECIPIENT else SENDER, "text": "a"}
        files = [("図.png", PICTURE + bytes(size))] if size else []
        return await client.send(body, files, key=self.key(), path=path or "/v1/messages")

    def key(self) -> str:
        """An idempotency key that was not used yet."""
        return str(self.product.shared.ports.ids.uuid7())

    async def batch(self, office: str, count: int) -> httpx.Response:
        messages = [{**BATCHED, "idempotency_key": self.key()} for _ in range(count)]
        files = [("messages", (None, json.dumps(messages), "application/json"))]
        return await self.http.post("/v1/batches", files=files, headers=self.user(office))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def standing(engines: Any, run_home: Path) -> AsyncIterator[Desk]:
    """The product, for all tests of this file."""
    async with whole(engines, run_home, manual_ports(), SERVICES, LIMITS) as product, product.client() as http:
        until = (product.shared.ports.clock.now() + timedelta(days=99)).date()
        for office in (SENDER, RECIPIENT, OTHER):
            await product.register(office, "11", until)
        yield Desk(product, http, (await http.get("/v1/limits")).json())


@pytest.fixture
def desk(standing: Desk) -> Desk:
    """The product when an hour has passed: whatever was used up is there again."""
    standing.move(hours=1)
    return standing


def refused(answer: httpx.Response) -> int:
    """That an answer says it is too much, in words for an office; after how many seconds to come again."""
    assert answer.status_code == 429, answer.text
    said = answer.json()
    seconds = int(answer.headers["Retry-After"])
    assert (said["code"], said["number"]) == ("TDK-TOO-MANY", "E-602")
    assert "もう一度お試しください" in said["detail"]
    assert f"{seconds}秒" in said["detail"]
    return seconds


async def test_a_user_asks_as_often_as_the_limits_say(desk: Desk) -> None:
    allowed = desk.limit("requests_per_minute_user")
    answers = [await desk.ask(SENDER, "c1") for _ in range(allowed + 1)]
    assert [answer.status_code for answer in answers] == [200] * allowed + [429]
    seconds = refused(answers[-1])
    assert (await desk.ask(SENDER, "c2")).status_code == 200, "a colleague"
    assert (await desk.ask(OTHER, "c1")).status_code == 429, "the same person at another office"
    desk.move(seconds=seconds)
    assert (await desk.ask(SENDER, "c1")).status_code == 200
    assert (await desk.ask(SENDER, "c1")).status_code == 429
    fetched = await desk.http.get(
        f"/v1/messages/{desk.product.shared.ports.ids.uuid7()}/files/1", headers=desk.user(SENDER, "c1")
    )
    assert fetched.status_code == 404, "files do not count"
    desk.move(minutes=1)
    again = [(await desk.ask(SENDER, "c1")).status_code for _ in range(allowed + 1)]
    assert again == [200] * allowed + [429]


async def test_an_office_sends_as_much_as_the_limits_say_however_many_it_is(desk: Desk) -> None:
    reserve, rate = desk.limit("sends_reserve_office"), desk.limit("sends_per_second_office")
    users = ["c1", "c2", "c3"]
    statuses = [(await desk.send(SENDER, user=users[n % 3])).status_code for n in range(reserve)]
    assert statuses == [202] * reserve
    late = await desk.send(SENDER, user="c4")
    desk.move(seconds=refused(late))
    assert [(await desk.send(SENDER)).status_code for _ in range(rate + 1)] == [202] * rate + [429]
    assert (await desk.send(OTHER)).status_code == 202


async def test_each_message_of_a_batch_counts_and_one_over_the_reserve_is_refused_whole(desk: Desk) -> None:
    reserve, rate = desk.limit("sends_reserve_office"), desk.limit("sends_per_second_office")
    assert refused(await desk.batch(OTHER, reserve + 1)) == 3600, "it will never do"
    taken = await desk.batch(OTHER, reserve)
    assert [one["status"] for one in taken.json()["results"]] == [202] * reserve
    desk.move(seconds=refused(await desk.batch(OTHER, 2 * rate)) - 1)
    refused(await desk.batch(OTHER, 2 * rate))
    desk.move(seconds=1)
    assert (await desk.batch(OTHER, 2 * rate)).status_code == 200


async def test_an_office_uploads_as_many_bytes_an_hour_as_the_limits_say(desk: Desk) -> None:
    """Of `POST /v1/messages` and of `check` together, good bodies and bad."""
    most = desk.limit("bytes_per_hour_office")
    assert (await desk.send(SENDER, most // 3)).status_code == 202
    assert (await desk.send(SENDER, most // 3, path="/v1/messages/check")).status_code == 200
    seconds = refused(await desk.send(SENDER, most // 2, user="c2"))
    assert 60 < seconds < 3600
    assert (await desk.send(OTHER, most // 2)).status_code == 202
    desk.move(seconds=seconds)
    assert (await desk.send(SENDER, most // 2)).status_code == 202
    desk.move(hours=1)
    bad = desk.user(SENDER) | {"Content-Type": "multipart/form-data; boundary=x", "Idempotency-Key": "bad"}
    body = b"--x\r\nbroken" + bytes(most // 2)
    assert (await desk.http.post("/v1/messages", content=body, headers=bad)).status_code == 400
    refused(await desk.http.post("/v1/messages", content=body + bytes(4096), headers=bad))


async def test_a_body_that_is_too_much_is_refused_by_its_length_or_while_it_is_read(desk: Desk) -> None:
    most = desk.limit("bytes_per_hour_office")

    async def body() -> AsyncIterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name=files; filename="a.png"\r\n\r\n'
        for _ in range(2 * most // 65536):
            yield bytes(65536)

    headers = desk.user(SENDER) | {"Content-Type": "multipart/form-data; boundary=x", "Idempotency-Key": "k"}
    declared = {**headers, "Content-Length": str(most + 1)}
    assert refused(await desk.http.post("/v1/messages", content=body(), headers=declared)) == 3600
    assert (await desk.send(SENDER, most // 2)).status_code == 202, "nothing of it was counted"
    refused(await desk.http.post("/v1/messages", content=body(), headers=headers))
    refused(await desk.send(SENDER, most // 4))


async def test_what_was_announced_and_did_not_come_is_not_counted(desk: Desk) -> None:
    most = desk.limit("bytes_per_hour_office")
    headers = desk.user(SENDER) | {"Content-Type": "multipart/form-data; boundary=x", "Idempotency-Key": "k"}
    for _ in range(5):
        cut = await desk.http.post(
            "/v1/messages", content=b"--x", headers={**headers, "Content-Length": str(most - 99)}
        )
        assert cut.status_code == 400
    assert (await desk.send(SENDER, most // 2)).status_code == 202
