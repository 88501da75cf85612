"""What becomes of one message when two want different things of it at the same moment: one of them, for everybody."""

import asyncio
import hashlib
import secrets
from collections.abc import AsyncIterator
from datetime import timedelta
from itertools import islice
from typing import Any

import pytest
from PIL import Image

from services.storage.timers import Eraser
from tests.races.conftest import PICTURE, Counter, png
from tests.races.product import LANES, RECIPIENT, SENDER, Product
from tests.races.racing import apart, outcome, race, rounds
from todoke.relay.clock import Ports
from todoke.relay.service import Shared

pytestmark = pytest.mark.long
OVERLAP_SECONDS = 0.004
"""A receipt and a recall take about as long."""

ON_ITS_WAY_SECONDS = 0.16
"""A message on its way to its recipient takes about as long."""

WAYS = 36
"""So many places on that way are tried, the last of them its end."""

TOGETHER = 50
"""Messages that are sent with one request."""

LARGE = png(Image.effect_noise((900, 900), 90))
"""Nearly a mebibyte, which object storage keeps in another way than some bytes."""

ENDS = {"Downloaded", "Recalled", "Expired"}
DIGEST = hashlib.sha256(PICTURE).hexdigest()


async def delivered(counter: Counter, count: int, *, picture: bytes | None = None) -> AsyncIterator[str]:
    """So many messages that their recipient has in the list, one after the other."""
    run = secrets.token_hex(4)
    for begin in range(0, count, TOGETHER):
        keys = [f"{run}-{number}" for number in range(begin, min(begin + TOGETHER, count))]
        sent = await counter.send_together(keys, picture=picture)
        await counter.listed("received", RECIPIENT, sent[-1], "delivered")
        for message_id in sent:
            yield message_id


@rounds(13)
async def test_of_a_recall_and_a_receipt_one_wins_for_everybody(counter: Counter, rounds: int) -> None:
    fates: dict[str, str] = {}
    turn = 0
    async for message_id in delivered(counter, rounds, picture=PICTURE):
        if turn % 2:
            assert (await counter.get(turn, RECIPIENT, f"/v1/messages/{message_id}/files/1")).content == PICTURE
        receipt, recall = await race(
            lambda one=message_id, web=turn: counter.receive(web, one, [DIGEST]),
            lambda one=message_id, web=turn: counter.recall(web + 1, one),
            delays=apart(turn, OVERLAP_SECONDS),
        )
        fate = {
            (200, "TDK-ALREADY-DOWNLOADED"): "downloaded",
            ("TDK-NOT-RECEIVABLE", 200): "recalled",
        }[outcome(receipt), outcome(recall)]
        fates[message_id] = fate
        if fate == "recalled":
            assert (recall.json()["opened_at"] is not None) == bool(turn % 2)
        again = await counter.receive(turn + 1, message_id, [DIGEST])
        assert (again.status_code, again.json().get("receipt")) == (receipt.status_code, receipt.json().get("receipt"))
        fetched = outcome(await counter.get(turn, RECIPIENT, f"/v1/messages/{message_id}/files/1"))
        assert fetched == (200 if fate == "downloaded" else "TDK-RECALLED")
        turn += 1
    assert set(fates.values()) == {"downloaded", "recalled"}, "both orders must have been met"
    ends = {
        one: [kind for kind in kinds if kind in ENDS]
        for one, kinds in (await counter.said("storage", list(fates))).items()
    }
    assert ends == {one: [fate.capitalize()] for one, fate in fates.items()}
    await _lists_agree(counter, fates)


async def _lists_agree(counter: Counter, fates: dict[str, str]) -> None:
    """Rows of storage and both offices' lists say of each message what was answered."""
    rows = await counter.fetch(
        "SELECT d.message_id::text AS id, d.status, e.cause FROM storage.delivery d "
        "JOIN storage.ended e USING (message_id) WHERE d.message_id = ANY($1::uuid[])",
        list(fates),
    )
    assert {row["id"]: (row["status"], row["cause"]) for row in rows} == {
        one: (fate, fate) for one, fate in fates.items()
    }
    last = list(fates)[-1]
    for box, office in (("sent", SENDER), ("received", RECIPIENT)):
        await counter.listed(box, office, last, fates[last])
        assert {one: await _status(counter, office, one) for one in fates} == fates, box


async def _status(counter: Counter, office: str, message_id: str) -> str:
    said: dict[str, Any] = (await counter.get(0, office, f"/v1/messages/{message_id}")).json()
    return str(said["status"])


@rounds(9)
async def test_eight_receipts_at_once_are_one(counter: Counter, rounds: int) -> None:
    seen = list[str]()
    async for message_id in delivered(counter, rounds, picture=PICTURE):
        calls = [
            lambda one=message_id, user=number: counter.receive(user, one, [DIGEST], user=f"c000000000{user}")
            for number in range(8)
        ]
        wrong, *answers = await race(
            lambda one=message_id: counter.receive(0, one, ["0" * 64]),
            *calls,
            delays=[step * OVERLAP_SECONDS / 8 for step in (len(seen) % 5, 0, 0, len(seen) % 3, 1)],
        )
        assert outcome(wrong) == "TDK-HASH-MISMATCH"
        assert [answer.status_code for answer in answers] == [200] * 8
        assert len({answer.text for answer in answers}) == 1, message_id
        seen.append(message_id)
    assert await counter.said("storage", seen) == {one: ["Delivered", "Downloaded"] for one in seen}
    await _lists_agree(counter, dict.fromkeys(seen, "downloaded"))


@rounds(36)
async def test_a_recall_on_the_way_takes_the_message_back_whether_it_has_arrived_or_not(
    counter: Counter, rounds: int
) -> None:
    run = secrets.token_hex(4)
    before = {lane: await _last_number(counter, lane) for lane in LANES}
    answered: dict[str, str] = {}
    lane_of: dict[str, str] = {}

    async def send_and_recall(turn: int, lane: str) -> None:
        sent = await counter.send(turn, {"recipient": lane, "text": "あ"}, key=f"{run}-{turn}")
        message_id = sent.json()["message_id"]
        if turn % WAYS == WAYS - 1:
            await counter.listed("received", lane, message_id, "delivered")
        await asyncio.sleep(turn % WAYS * ON_ITS_WAY_SECONDS / WAYS)
        recall = await counter.recall(turn, message_id)
        assert recall.status_code in (200, 202), recall.text
        answered[message_id] = recall.json()["status"]
        lane_of[message_id] = lane

    turns = iter(range(rounds))
    while some := list(islice(turns, 4)):
        await race(*(lambda turn=turn: send_and_recall(turn, LANES[turn % len(LANES)]) for turn in some))
    assert set(answered.values()) == {"recall_requested", "recalled"}, "both orders must have been met"
    for message_id in answered:
        await counter.listed("sent", SENDER, message_id, "recalled")
    told = await counter.said("storage", list(answered))
    for message_id, answer in answered.items():
        early, late = ["RecallRequested", "Recalled"], ["Delivered", "Recalled"]
        assert told[message_id] == (late if answer == "recalled" else early)
    arrived = [one for one, answer in answered.items() if answer == "recalled"]
    for lane in LANES:
        since = await _since(counter, lane, before[lane])
        assert [one["delivery_no"] for one in since] == list(range(before[lane] + 1, before[lane] + 1 + len(since)))
        assert {one["message_id"] for one in since} == {one for one in arrived if lane_of[one] == lane}
        assert all(one["status"] == "recalled" and "text" not in one for one in since)


async def _last_number(counter: Counter, office: str) -> int:
    items = (await counter.get(0, office, "/v1/received?limit=1")).json()["items"]
    return int(items[0]["delivery_no"]) if items else 0


async def _since(counter: Counter, office: str, number: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while items := (await counter.get(0, office, f"/v1/received?since={number}&limit=200")).json()["items"]:
        found += items
        number = items[-1]["delivery_no"]
    return found


@pytest.fixture
async def eraser(product: Product) -> AsyncIterator[Eraser]:
    """The eraser of a process whose clock is 91 days ahead: whatever has ended is due."""
    shared = await Shared.open(product.settings, Ports.real(timedelta(days=91)))
    runtime = await shared.runtime("storage")
    yield Eraser(runtime.db, runtime.objects, runtime.ports, runtime.settings.limits, runtime.log)
    await runtime.db.close()
    await shared.close()


@rounds(13)
async def test_a_fetch_during_the_erasure_gets_every_byte_or_a_410(
    counter: Counter, eraser: Eraser, rounds: int
) -> None:
    await eraser.erase()
    run = secrets.token_hex(4)
    met, erased = set(), []
    for turn in range(rounds):
        picture = LARGE if turn % 3 == 0 else PICTURE
        digest = hashlib.sha256(picture).hexdigest()
        # In every other round it shares its object with one that stays.
        message_id, *neighbours = await counter.send_together(
            [f"{run}-{turn}-{n}" for n in range(1 + turn % 2)], picture=picture
        )
        for one in (message_id, *neighbours):
            await counter.listed("received", RECIPIENT, one, "delivered")
        assert (await counter.receive(turn, message_id, [digest])).status_code == 200
        path = f"/v1/messages/{message_id}/files/1"
        fetch = [
            lambda web=turn + number, who=who, path=path: counter.get(web, who, path)
            for number, who in enumerate((RECIPIENT, SENDER, RECIPIENT))
        ]
        ahead, behind = apart(turn, 3 * OVERLAP_SECONDS)
        erasures = [eraser.erase] * (1 + turn % 2)
        delays = [ahead, ahead + OVERLAP_SECONDS / 2, ahead, behind, behind]
        answers = (await race(*fetch, *erasures, delays=delays))[: len(fetch)]
        outcomes = [outcome(answer) for answer in answers]
        assert set(outcomes) <= {200, "TDK-ERASED"}, turn
        for answer in answers:
            assert answer.status_code == 410 or answer.content == picture
        met |= set(outcomes)
        erased.append(message_id)
        logged = (await counter.get(turn, SENDER, f"/v1/messages/{message_id}/accesses")).json()["items"]
        assert len(logged) == outcomes.count(200)
        for web, who in enumerate((RECIPIENT, SENDER)):
            assert outcome(await counter.get(web, who, path)) == "TDK-ERASED"
        for one in neighbours:
            assert (await counter.get(turn, RECIPIENT, f"/v1/messages/{one}/files/1")).content == picture
    assert met == {200, "TDK-ERASED"}, "both orders must have been met"
    told = await counter.said("storage", erased)
    assert all(kinds.count("Erased") == 1 and kinds[-1] == "Erased" for kinds in told.values())
    [row] = await counter.fetch(
        "SELECT count(*) AS n FROM storage.ended WHERE erase_started_at IS NOT NULL AND erased_at IS NULL"
    )
    assert row["n"] == 0
