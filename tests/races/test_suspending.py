"""An office is suspended while others send to it, or while it sends: each send is refused or comes to an end."""

import asyncio
import dataclasses
import itertools
import secrets
import time
from collections import Counter as Tally
from typing import Any

import httpx
import pytest

from tests.races.conftest import Counter
from tests.races.product import RECIPIENT, SENDER, Product
from tests.races.racing import outcome, race, rounds

pytestmark = pytest.mark.long
SENDS = 6
APART_SECONDS = 0.03

TOGETHER = 8
WORD = {"reason": "休止の届けが出たため", "ticket": "OPS-8"}
ENDS = {"delivered", "undeliverable"}
NUMBERS = itertools.count(9_970_300_000)


async def _suspend(counter: Counter, office: str) -> None:
    url = f"{counter.product.operators}/v1/operator/offices/{office}/suspend"
    answer = await counter.webs[0].post(url, json=WORD, headers=counter.operator())
    assert answer.json() == {"number": office, "changed": True}


async def _ended(counter: Counter, sender: str, message_id: str) -> dict[str, Any]:
    """The message in the sender's eyes once it has come to an end."""
    end = time.monotonic() + 20
    while True:
        item: dict[str, Any] = (await counter.get(0, sender, f"/v1/messages/{message_id}")).json()
        if item.get("status") in ENDS:
            return item
        assert time.monotonic() < end, f"{message_id} comes to no end: {item}"
        await asyncio.sleep(0.05)


@dataclasses.dataclass
class Sent:
    """A send: when it began and when it was answered, and what became of it."""

    began: float
    answered: float
    answer: httpx.Response
    fate: str = ""


async def _round(counter: Counter, turn: int, *, sender: str, recipient: str, suspended: str) -> list[Sent]:
    """Sends one after the other while one side is suspended, and what became of each."""
    run = secrets.token_hex(4)
    so_far: list[Sent] = []
    answered = asyncio.Semaphore(0)

    async def send(number: int) -> Sent:
        began = time.monotonic()
        body = {"recipient": recipient, "text": "あ"}
        answer = await counter.send(number, body, key=f"{run}-{number}", sender=sender)
        so_far.append(Sent(began, time.monotonic(), answer))
        answered.release()
        return so_far[-1]

    async def suspend() -> None:
        """After so many answers, in every third round when the first message has arrived."""
        for _ in range(turn % SENDS):
            await answered.acquire()
        if so_far and turn % 3 == 1:
            await _ended(counter, sender, so_far[0].answer.json()["message_id"])
        await _suspend(counter, suspended)

    calls: list[Any] = [lambda number=number: send(number) for number in range(SENDS)]
    await race(*calls, suspend, delays=[*(number * APART_SECONDS for number in range(SENDS)), 0.0])
    assert await _until_refused(send) == ("TDK-SUSPENDED" if suspended == sender else "TDK-OFFICE-NOT-TAKING-PART")
    for one in so_far:
        one.fate = str(outcome(one.answer))
        if one.answer.status_code == 202:
            item = await _ended(counter, sender, one.answer.json()["message_id"])
            one.fate = f"{item['status']} {item['reason']['code']}" if item["reason"] else item["status"]
    return so_far


def _judge(series: list[list[Sent]], fates: tuple[str, str, str]) -> None:
    """`fates` from the best to the worst: only these were met, and nobody who came later fared better."""
    met = Tally(one.fate for sent in series for one in sent)
    assert met.keys() == set(fates), met
    for sent in series:
        for one, other in itertools.permutations(sent, 2):
            if one.answered < other.began:
                assert fates.index(one.fate) <= fates.index(other.fate), [each.fate for each in sent]


async def _until_refused(send: Any) -> str:
    """The refusal that holds once everybody has heard of the suspension, at both processes."""
    end = time.monotonic() + 20
    number = SENDS
    codes: set[int | str] = set()
    while 202 in codes or not codes:
        assert time.monotonic() < end, "sends are never refused"
        codes = {outcome((await send(number + web)).answer) for web in range(2)}
        number += 2
    [code] = codes
    return str(code)


async def _series(counter: Counter, product: Product, rounds: int, *, sends: bool) -> list[list[Sent]]:
    found: list[list[Sent]] = []
    for begin in range(0, rounds, TOGETHER):
        lanes = [str(next(NUMBERS)) for _ in range(begin, min(begin + TOGETHER, rounds))]
        await product.register(dict.fromkeys(lanes, "43" if sends else "11"))
        found += await asyncio.gather(
            *(
                _round(
                    counter,
                    begin + place,
                    sender=lane if sends else SENDER,
                    recipient=RECIPIENT if sends else lane,
                    suspended=lane,
                )
                for place, lane in enumerate(lanes)
            )
        )
    return found


@rounds(10)
async def test_a_send_to_an_office_that_is_suspended_is_refused_or_comes_to_an_end(
    counter: Counter, product: Product, rounds: int
) -> None:
    series = await _series(counter, product, rounds, sends=False)
    refused = "TDK-OFFICE-NOT-TAKING-PART"
    _judge(series, ("delivered", f"undeliverable {refused}", refused))


@rounds(10)
async def test_what_a_suspended_office_sends_at_that_moment_is_refused_or_comes_to_an_end(
    counter: Counter, product: Product, rounds: int
) -> None:
    series = await _series(counter, product, rounds, sends=True)
    _judge(series, ("delivered", "undeliverable TDK-SUSPENDED", "TDK-SUSPENDED"))
