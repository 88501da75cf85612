"""The lists' two read sets change places again and again while events come in and offices look."""

import itertools
import secrets
from typing import Any

import pytest

from tests.faults.traffic import until
from tests.races.conftest import Counter
from tests.races.product import Product
from tests.races.racing import apart, race, rounds

pytestmark = pytest.mark.long
REBUILT_EVERY = 50
"""Rounds between two rebuilds: in between the read sets go there and back."""

SEEN = 40
"""The youngest messages, which each look must show as no older than the looks before."""

OVERLAP_SECONDS = 0.06
"""A switch takes about as long."""

RANK = ("submitted", "accepted", "routed", "delivered", "downloaded")
WORD = {"reason": "一覧を作り直します", "ticket": "OPS-7"}
OFFICES = (f"99811{number:05d}" for number in itertools.count())


class Watch:
    """Looks at an office's receive list, at either process; what it has seen once must stay and go forward only."""

    def __init__(self, counter: Counter, office: str) -> None:
        self._counter = counter
        self._office = office
        self._seen: dict[str, int] = {}
        self._total = 0
        self.last = 0

    async def look(self, web: int) -> list[dict[str, Any]]:
        """What is new or moved on; anything else is a failure.

        Of two looks at a time either may be answered first: each is held to what was seen before it was asked.
        """
        last, seen = self.last, dict(self._seen)
        first = max(0, last - SEEN)
        answer = await self._counter.get(web, self._office, f"/v1/received?since={first}&limit=200")
        items: list[dict[str, Any]] = answer.json()["items"]
        assert [item["delivery_no"] for item in items] == list(range(first + 1, first + 1 + len(items)))
        assert first + len(items) >= last, "a message that was listed is missing"
        for item in items:
            message_id, rank = item["message_id"], RANK.index(item["status"])
            assert rank >= seen.get(message_id, 0), "an older state than before"
            self._seen[message_id] = max(rank, self._seen.get(message_id, 0))
        self.last = max(self.last, first + len(items))
        total = self._total
        counts = (await self._counter.get(web, self._office, "/v1/counts")).json()["received"]
        assert sum(counts.values()) >= total, "fewer messages than before"
        self._total = max(self._total, sum(counts.values()))
        return [item for item in items if item["status"] == "delivered"]


async def _did(counter: Counter, method: str, path: str = "", body: Any = WORD) -> Any:
    url = f"{counter.product.operators}/v1/operator/services/projection/rebuild{path}"
    answer = await counter.webs[0].request(method, url, json=body, headers=counter.operator())
    assert answer.is_success, answer.text
    return answer.json() if answer.content else None


async def _rebuilt(counter: Counter) -> None:
    """A read set beside the live one that has heard everything."""
    if (await _did(counter, "GET", body=None))["run"] is not None:
        await _did(counter, "DELETE")
    await _did(counter, "POST")

    async def is_level() -> bool:
        standing = await _did(counter, "GET", body=None)
        return bool(
            standing["state"] == "ready" and standing["progress"]["total"] - standing["progress"]["heard"] < SEEN
        )

    await until(is_level, "a rebuild that is ready")


async def _differences(counter: Counter) -> list[Any]:
    """What a comparison of every row in both read sets finds."""
    await _did(counter, "POST", "/compare")

    async def is_done() -> bool:
        return bool((await _did(counter, "GET", "/compare", None))["state"] == "done")

    await until(is_done, "the end of a comparison")
    found = await _did(counter, "GET", "/compare", None)
    assert found["equal"] is (found["differences"] == [])
    assert all(sides["live"] > 0 for sides in found["tables"].values()), found["tables"]
    assert found["tables"].keys() == {"fact", "sent", "received", "tally"}
    return list(found["differences"])


@rounds(9)
async def test_a_switch_while_events_come_in_loses_nothing_and_shows_nothing_old(
    counter: Counter, product: Product, rounds: int
) -> None:
    office, run = next(OFFICES), secrets.token_hex(4)
    await product.register({office: "11"})
    watch = Watch(counter, office)
    sent, waiting = list[str](), list[dict[str, Any]]()

    async def send(turn: int) -> None:
        answer = await counter.send(turn, {"recipient": office, "text": "あ"}, key=f"{run}-{turn}")
        sent.append(answer.json()["message_id"])

    async def collect(turn: int) -> None:
        for item in waiting[:2]:
            answer = await counter.post(turn, office, f"/v1/messages/{item['message_id']}/receipt", {"sha256": []})
            assert answer.status_code == 200

    for turn in range(rounds):
        if turn % REBUILT_EVERY == 0:
            await _rebuilt(counter)
        ahead, behind = apart(turn, OVERLAP_SECONDS)
        await race(
            lambda: _did(counter, "POST", "/switch"),
            lambda turn=turn: send(turn),
            lambda turn=turn: collect(turn),
            lambda turn=turn: watch.look(turn),
            lambda turn=turn: watch.look(turn + 1),
            delays=[ahead, behind, behind, behind, behind + OVERLAP_SECONDS / 4],
        )
        waiting = await watch.look(turn)
        if turn % REBUILT_EVERY == REBUILT_EVERY - 1:
            assert await _differences(counter) == []

    async def all_there() -> bool:
        await watch.look(0)
        return watch.last == len(sent) == rounds

    await until(all_there, "every message in the list")
    assert await _differences(counter) == []
    await _did(counter, "DELETE")
    items = {item["message_id"] for item in await _all_received(counter, office)}
    assert items == set(sent)


async def _all_received(counter: Counter, office: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while items := (await counter.get(0, office, f"/v1/received?since={len(found)}&limit=200")).json()["items"]:
        found += items
    return found
