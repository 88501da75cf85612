"""A flood of one office, or of nobody, does not slow another office's sends by more than half.

Over the product as it is started by hand. What is compared was measured in the same minute: sends with and without the
flood, in turns, each time by the median. In `make soak` only: on a machine that does other things too it would fail for
their sake. CI holds each mechanism by itself (`unit/relay`: `test_turns.py`, `test_pacing.py`, `test_rates.py`).
"""

import asyncio
import contextlib
import dataclasses
import io
import json
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
import pytest_asyncio
from PIL import Image

from tests.spine import flooding
from tests.spine.product import Product
from todoke.client import AsyncClient
from todoke.relay.clock import Ports

VICTIM, RECIPIENT, FLOODER = "9970100018", "9970100117", "9970100216"
CONNECTIONS = 24
SENDS = 12
"""In each round: with the pauses between rounds an office may send so many for ever."""

SLOWER_MAX = 2.0
"""Twice as long is half as fast. Without turns and pacing it was 7 to 40 times as long."""

ANSWERS: Mapping[str, tuple[str, int]] = {
    "small": ("202", CONNECTIONS),
    "large": ("202", 4),
    "bad": ("422", CONNECTIONS),
    "check": ("200", CONNECTIONS),
    "lists": ("200", CONNECTIONS),
    "absent": ("404", CONNECTIONS),
    "forged": ("401", CONNECTIONS),
    "nobody": ("401", CONNECTIONS),
    "nowhere": ("404", CONNECTIONS),
    "public": ("200", CONNECTIONS),
}
"""What each kind of flood is answered unless it is told to wait (429), and how often at the least: else it is none."""

BUILD_UP_SECONDS = 0.5
CALM_SECONDS = 0.5

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.soak]


@dataclasses.dataclass
class Sea:
    """The product, the office that sends, and how to flood."""

    product: Product
    whole: bytes
    line: flooding.Line
    flood: flooding.Flood
    kinds: Mapping[str, Mapping[str, Any]]

    async def sends(self) -> list[float]:
        """The milliseconds of some sends, one after the other."""
        took = []
        for _ in range(SENDS):
            began = time.perf_counter()
            assert await self.line.ask(self.flood.with_own_key(self.whole)) == 202
            took.append((time.perf_counter() - began) * 1000)
        return took

    async def compared(self, *kinds: str, rounds: int) -> tuple[float, float, Counter[str]]:
        """The medians in quiet and in the flood, and what was answered to the flood."""
        quiet: list[float] = []
        loud: list[float] = []
        seen: Counter[str] = Counter()
        for _ in range(rounds):
            quiet += await self.sends()
            async with self.flooded(kinds, seen):
                await asyncio.sleep(BUILD_UP_SECONDS)
                loud += await self.sends()
            await asyncio.sleep(CALM_SECONDS)
        return statistics.median(quiet), statistics.median(loud), seen

    @contextlib.asynccontextmanager
    async def flooded(self, kinds: tuple[str, ...], seen: Counter[str]) -> AsyncIterator[None]:
        """Flood inside the block, from a process of its own."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, flooding.__file__, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert process.stdin is not None
        assert process.stdout is not None
        told = {"port": self.product.port, "connections": CONNECTIONS, "requests": [self.kinds[kind] for kind in kinds]}
        process.stdin.write(json.dumps(told).encode() + b"\n")
        try:
            assert await process.stdout.readline() == b"on\n"
            yield
        finally:
            process.stdin.close()
            said, _ = await process.communicate()
            seen.update(json.loads(said))


def kinds_of_flood(token: str) -> dict[str, dict[str, Any]]:
    """What the flooder sends: by name a request as `flooding` reads it."""
    mine = {"Authorization": f"Bearer {token}"}
    message = {"recipient": RECIPIENT, "text": "x"}
    send = {"method": "POST", "path": "/v1/messages", "headers": mine, "message": message}
    nothing = f"/v1/messages/{Ports.real().ids.uuid7()}"
    return {
        "small": {**send, "files": [["a.png", 2000]]},
        "large": {**send, "files": [["a.png", 4 << 20], ["b.png", 4 << 20], ["c.png", 4 << 20]]},
        "bad": {**send, "message": {"recipient": "x"}, "files": [["a.png", 1 << 20]]},
        "check": {**send, "path": "/v1/messages/check", "files": [["a.png", 1 << 20]]},
        "lists": {"method": "GET", "path": "/v1/sent", "headers": mine},
        "absent": {"method": "GET", "path": f"{nothing}/files/1", "headers": mine},
        "forged": {"method": "GET", "path": "/v1/sent", "headers": {"Authorization": f"Bearer {token[:-6]}AAAAAA"}},
        "nobody": {**send, "headers": {}},
        "nowhere": {"method": "GET", "path": "/v1/nothing", "headers": {}},
        "public": {"method": "GET", "path": "/v1/status", "headers": {}},
    }


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sea(product: Product) -> AsyncIterator[Sea]:
    """Two offices are logged in; the connection of the one that sends is warm."""
    tokens = {}
    for office in (VICTIM, FLOODER):
        client = AsyncClient(product.address)
        await client.login(*product.login_of(office))
        assert client.session is not None
        tokens[office] = client.session.access_token
        await client.close()
    picture = io.BytesIO()
    Image.new("RGB", (8, 8), "white").save(picture, "PNG")
    whole = flooding.request(
        "POST",
        "/v1/messages",
        {"Authorization": f"Bearer {tokens[VICTIM]}"},
        {"recipient": RECIPIENT, "text": "a"},
        [("a.png", picture.getvalue())],
    )
    line = flooding.Line(product.port)
    made = Sea(product, whole, line, flooding.Flood(product.port, []), kinds_of_flood(tokens[FLOODER]))
    await made.sends()
    yield made
    line.close()


async def test_a_flood_of_everything_does_not_make_another_offices_sends_half_as_fast(sea: Sea) -> None:
    quiet, loud, seen = await sea.compared(*sea.kinds, rounds=4)
    assert loud <= SLOWER_MAX * quiet, (quiet, loud, seen)
    answers = {status for status, _ in ANSWERS.values()}
    assert answers <= seen.keys() <= answers | {"429"}, seen
    assert seen.total() >= 2 * CONNECTIONS, seen


@pytest.mark.parametrize("kind", ANSWERS)
async def test_no_kind_of_flood_does_either(sea: Sea, kind: str) -> None:
    quiet, loud, seen = await sea.compared(kind, rounds=2)
    assert loud <= SLOWER_MAX * quiet, (quiet, loud, seen)
    status, least = ANSWERS[kind]
    assert seen.keys() <= {status, "429"}, seen
    assert seen[status] >= least, seen
