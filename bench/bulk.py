"""How many messages a second get from submission into the recipients' lists, with one process per service."""

import asyncio
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path

import aiohttp

from bench.measured import Measured
from bench.messages import office_numbers, plan_sets
from bench.meter import Meter
from bench.stand import Stand

PAIRS = 16
CONCURRENT = 32
SINGLES = 2000
BATCHES = 300
BATCH_MESSAGES = 10
WARM_UP = 200
DRAIN_SECONDS_MAX = 120.0


def measure(home: Path) -> list[Measured]:
    """Messages one by one (an object each), then ten to a request (one object for ten)."""
    numbers = office_numbers(2 * PAIRS)
    pairs = list(zip(numbers[::2], numbers[1::2], strict=True))
    offices = {sender: "43" for sender, _ in pairs} | {recipient: "11" for _, recipient in pairs}
    with Stand(home, offices, split=True) as stand:
        return asyncio.run(_measure(stand, pairs))


async def _measure(stand: Stand, pairs: Sequence[tuple[str, str]]) -> list[Measured]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=CONCURRENT)) as http:
        load = _Load(stand, pairs, http)
        await load.run(WARM_UP, 1)
        rows = []
        for what, requests, each in (
            ("Todoke bulk, one message a request", SINGLES, 1),
            (f"Todoke bulk, {BATCH_MESSAGES} messages a request", BATCHES, BATCH_MESSAGES),
        ):
            meter = Meter(stand.pids() | {"clients": os.getpid()})
            meter.start()
            began = time.perf_counter()
            await load.run(requests, each)
            took = time.perf_counter() - began
            rows.append(Measured(what, requests * each, took, meter.stop()))
        return rows


class _Load:
    def __init__(self, stand: Stand, pairs: Sequence[tuple[str, str]], http: aiohttp.ClientSession) -> None:
        self._stand = stand
        self._pairs = pairs
        self._http = http
        self._sets = {sender: plan_sets(sender, recipient, 20260901000000) for sender, recipient in pairs}
        self._promised = 0

    async def run(self, requests: int, messages_each: int) -> None:
        """Send so many requests, `CONCURRENT` at a time, and wait until everything stands in a list."""
        waiting = iter(range(requests))

        async def client() -> None:
            for number in waiting:
                await self._send(self._pairs[number % len(self._pairs)][0], messages_each)

        await asyncio.gather(*(client() for _ in range(CONCURRENT)))
        self._promised += requests * messages_each
        until = time.perf_counter() + DRAIN_SECONDS_MAX
        while (listed := await self._listed()) < self._promised:
            if time.perf_counter() > until:
                raise TimeoutError(f"{listed} of {self._promised} listed after {DRAIN_SECONDS_MAX} s")
            await asyncio.sleep(0.05)

    async def _send(self, sender: str, count: int) -> None:
        form = aiohttp.FormData()
        headers = {"Authorization": f"Bearer {self._stand.tokens[sender]}"}
        if count == 1:
            path = "/v1/messages"
            headers["Idempotency-Key"] = os.urandom(12).hex()
            form.add_field("message", b"{}", content_type="application/json")
            for name, data in next(self._sets[sender]):
                form.add_field("files", data, filename=name, content_type="text/csv")
        else:
            path = "/v1/batches"
            messages: list[dict[str, object]] = []
            files: list[tuple[str, str, bytes]] = []
            for _ in range(count):
                named = [
                    (f"f{len(files) + n}", name, data) for n, (name, data) in enumerate(next(self._sets[sender]), 1)
                ]
                files += named
                messages.append({"idempotency_key": os.urandom(12).hex(), "files": [part for part, _, _ in named]})
            form.add_field("messages", json.dumps(messages), content_type="application/json")
            for part, name, data in files:
                form.add_field(part, data, filename=name, content_type="text/csv")
        async with self._http.post(self._stand.url_of("ingest") + path, data=form, headers=headers) as answer:
            body = await answer.json()
            if answer.status >= 400 or any(one["status"] != 202 for one in body.get("results", ())):  # noqa: PLR2004 (HTTP statuses)
                raise RuntimeError(f"{answer.status}: {body.get('code') or body['results'][0]}")

    async def _listed(self) -> int:
        total = 0
        for _, recipient in self._pairs:
            headers = {"Authorization": f"Bearer {self._stand.tokens[recipient]}"}
            url = self._stand.url_of("projection") + "/v1/counts"
            async with self._http.get(url, headers=headers) as answer:
                total += (await answer.json())["received"].get("delivered", 0)
        return total
