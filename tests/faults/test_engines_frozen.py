"""An engine stops in its tracks: its connections stay open and say nothing. Whoever asks is told so in time."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import httpx
import pytest

from tests.faults.stack import Stack
from tests.faults.traffic import RECIPIENTS, SENDERS, client_of, picture, until
from todoke.client import AsyncClient, Upload

ANSWER_SECONDS_MAX = 10.0
"""From the moment it is asked to the last byte: a later answer is a failure."""

FILE_COUNT = 4
SENDS, FETCHES = 40, 12
"""Of one office at once, many more than have a turn: the turns of the waiting must not add up."""


class Office:
    """Asks once and never again, with ten seconds for each answer."""

    def __init__(self, http: httpx.AsyncClient, client: AsyncClient) -> None:
        assert client.session is not None
        self._http = http
        self._headers = {"Authorization": f"Bearer {client.session.access_token}"}

    async def send(self, key: str, content: bytes) -> httpx.Response:
        async with asyncio.timeout(ANSWER_SECONDS_MAX):
            return await self._http.post(
                "/v1/messages",
                headers={**self._headers, "Idempotency-Key": key},
                files=[
                    ("message", (None, f'{{"recipient": "{RECIPIENTS[0]}"}}', "application/json")),
                    ("files", ("写真.png", content, "image/png")),
                ],
            )

    async def get(self, path: str) -> httpx.Response:
        async with asyncio.timeout(ANSWER_SECONDS_MAX):
            return await self._http.get(path, headers=self._headers)


@asynccontextmanager
async def office_of(stack: Stack, number: str) -> AsyncIterator[tuple[Office, AsyncClient]]:
    unlimited = httpx.Limits(max_connections=None)
    async with (
        client_of(stack, number) as client,
        httpx.AsyncClient(base_url=stack.address, timeout=2 * ANSWER_SECONDS_MAX, limits=unlimited) as http,
    ):
        yield Office(http, client), client


def refused_in_time(answers: Sequence[httpx.Response]) -> None:
    said = {(answer.status_code, answer.json().get("code")) for answer in answers}
    assert said == {(503, "TDK-ENGINE-AWAY")}, said
    assert all(int(answer.headers["Retry-After"]) > 0 for answer in answers)


@pytest.mark.parametrize("engine", ["postgres", "s3"])
async def test_however_many_wait_for_a_frozen_engine_each_is_told_in_time(stack: Stack, engine: str) -> None:
    async with office_of(stack, SENDERS[2]) as (office, client):
        files = [Upload(name=f"写真{n}.png", content=picture(f"{engine}{n}")) for n in range(FILE_COUNT)]
        sent = await client.send(recipient=RECIPIENTS[0], files=files, idempotency_key=f"frozen-{engine}")
        path = f"/v1/messages/{sent.message_id}"
        assert (await office.get(f"{path}/files/1")).status_code == 200
        big = bytes(2 * 1024 * 1024)
        stack.freeze(engine)
        try:
            sends = [office.send(f"frozen-{engine}-{n}", big if n % 8 == 0 else picture(f"{n}")) for n in range(SENDS)]
            fetches = [office.get(f"{path}/files/{n % FILE_COUNT + 1}") for n in range(FETCHES)]
            zips = [office.get(f"{path}/zip") for _ in range(2)]
            lists = [office.get("/v1/sent"), office.get(path)] if engine == "postgres" else []
            refused_in_time(await asyncio.gather(*sends, *fetches, *zips, *lists))
        finally:
            stack.thaw(engine)

        async def is_back() -> bool:
            answers = [await office.send(f"frozen-{engine}-1", picture("1")), await office.get(f"{path}/files/2")]
            return [answer.status_code for answer in answers] == [202, 200]

        await until(is_back, "sends and fetches after the thaw", seconds=20)
        await stack.until_ready()
        after = await client.send(recipient=RECIPIENTS[0], text="あと", idempotency_key=f"after-{engine}")
        assert (await client.message(after.message_id)).message_id == after.message_id
    assert stack.ended() == [], "an engine's absence must not end a process"
