"""Sends at the same moment over two processes: one key is one message, one sequence is used once."""

import secrets
from datetime import datetime, timedelta
from typing import Any

import pytest

import careplan
from tests.races.conftest import PICTURE, Counter
from tests.races.product import RECIPIENT, SENDER
from tests.races.racing import apart, outcome, race, rounds

pytestmark = pytest.mark.long
SAMPLE = careplan.sample_sets()["202407/plan_67_to_provider_a"]
SAMPLE_SEQUENCE = "20250825121901"
OVERLAP_SECONDS = 0.008
"""So far apart begin the two of a race at most: a send takes about as long."""


@rounds(10)
async def test_one_key_eight_times_over_two_processes_is_one_message(counter: Counter, rounds: int) -> None:
    run = secrets.token_hex(4)
    first_at = set[int]()
    message_ids = []
    for turn in range(rounds):
        body = {"recipient": RECIPIENT, "text": f"{turn}"}
        files = [("図.png", PICTURE)] if turn % 3 == 0 else []

        async def send(web: int, key: str = f"{run}-{turn}", body: Any = body, files: Any = files) -> Any:
            return await counter.send(web, body, files, key=key)

        answers = await race(*(lambda web=web: send(web) for web in range(8)), delays=apart(turn, OVERLAP_SECONDS / 2))
        assert [answer.status_code for answer in answers] == [202] * 8
        said = [answer.json() for answer in answers]
        replayed = [one.pop("replayed") for one in said]
        assert sorted(replayed) == [False] + [True] * 7
        assert said == [said[0]] * 8
        first_at.add(replayed.index(False) % 2)
        message_ids.append(said[0]["message_id"])
    assert first_at == {0, 1}, "one process always came first"
    assert await counter.said("ingest", message_ids) == {one: ["MessageSubmitted"] for one in message_ids}
    assert await _kept(counter, message_ids) == rounds
    assert await _submitted_since(counter, message_ids) == rounds


@rounds(10)
async def test_of_two_contents_under_one_key_one_is_accepted(counter: Counter, rounds: int) -> None:
    run = secrets.token_hex(4)
    won = []
    message_ids = []
    for turn in range(rounds):

        async def send(web: int, key: str = f"{run}-{turn}") -> Any:
            return await counter.send(web, {"recipient": RECIPIENT, "text": f"内容{web}"}, key=key)

        answers = await race(lambda: send(0), lambda: send(1), delays=apart(turn, OVERLAP_SECONDS))
        outcomes = [outcome(answer) for answer in answers]
        assert sorted(map(str, outcomes)) == ["202", "TDK-IDEMPOTENCY-MISMATCH"], turn
        winner = outcomes.index(202)
        won.append(winner)
        message_ids.append(answers[winner].json()["message_id"])
        again = [await send(web) for web in (winner, 1 - winner)]
        assert [outcome(answer) for answer in again] == [202, "TDK-IDEMPOTENCY-MISMATCH"]
        assert again[0].json() == {**answers[winner].json(), "replayed": True}
    assert set(won) == {0, 1}, "both orders must have been met"
    assert await counter.said("ingest", message_ids) == {one: ["MessageSubmitted"] for one in message_ids}
    assert await _submitted_since(counter, message_ids) == rounds
    texts = [(await counter.listed("sent", SENDER, message_ids[turn], "delivered"))["text"] for turn in (0, -1)]
    assert texts == [f"内容{won[0]}", f"内容{won[-1]}"]


@rounds(9)
async def test_a_sequence_that_two_use_at_once_is_used_once(counter: Counter, rounds: int) -> None:
    run = secrets.token_hex(4)
    won = []
    message_ids = []
    for turn, files in enumerate(_sets(rounds)):

        async def send(web: int, files: Any = files, turn: int = turn, *, again: bool = False) -> Any:
            return await counter.send(web, {"text": f"{web}"}, files, key=f"{run}-{turn}-{web}-{again}")

        answers = await race(*(lambda web=web: send(web) for web in range(4)), delays=apart(turn, OVERLAP_SECONDS))
        [winner] = [web for web, answer in enumerate(answers) if outcome(answer) == 202]
        won.append(winner % 2)
        message_ids.append(answers[winner].json()["message_id"])
        losers = [answer.json() for web, answer in enumerate(answers) if web != winner]
        assert [(loser["code"], loser["message_id"]) for loser in losers] == [
            ("TDK-SEQUENCE-USED", message_ids[-1])
        ] * 3, turn
        later = await send(winner + 1, again=True)
        assert (outcome(later), later.json()["message_id"]) == ("TDK-SEQUENCE-USED", message_ids[-1])
    assert set(won) == {0, 1}, "both orders must have been met"
    assert await _submitted_since(counter, message_ids) == rounds
    rows = await counter.fetch(
        "SELECT live::text[] AS live FROM ingest.sequence_use WHERE live && $1::uuid[]", message_ids
    )
    assert sorted(row["live"][0] for row in rows if len(row["live"]) == 1) == sorted(message_ids)
    await counter.listed("sent", SENDER, message_ids[-1], "delivered")


@rounds(9)
async def test_sending_again_on_purpose_wins_beside_whoever_does_not_mean_it(counter: Counter, rounds: int) -> None:
    run = secrets.token_hex(4)
    met = set()
    message_ids = []
    for turn, files in enumerate(_sets(rounds, after=timedelta(days=30))):

        async def send(meant: bool, files: Any = files, turn: int = turn) -> Any:
            body = {"allow_resend": meant}
            return await counter.send(int(meant) + turn // 9, body, files, key=f"{run}-{turn}-{meant}")

        plain, meant = await race(lambda: send(False), lambda: send(True), delays=apart(turn, OVERLAP_SECONDS))
        assert outcome(meant) == 202
        accepted = [answer.json()["message_id"] for answer in (plain, meant) if outcome(answer) == 202]
        if outcome(plain) != 202:
            assert (outcome(plain), plain.json()["message_id"]) == ("TDK-SEQUENCE-USED", accepted[0])
        met.add(outcome(plain))
        message_ids += accepted
    assert met == {202, "TDK-SEQUENCE-USED"}, "both orders must have been met"
    assert await _submitted_since(counter, message_ids) == len(message_ids)


def _sets(count: int, after: timedelta = timedelta()) -> list[list[tuple[str, bytes]]]:
    """The sample set under sequences that nobody has used."""
    begin = datetime.now() + after  # noqa: DTZ005 (a sequence is a clock's digits, whatever the zone)
    made = []
    for step in range(count):
        sequence = (begin + timedelta(seconds=step)).strftime("%Y%m%d%H%M%S")
        made.append(
            [
                (
                    name.replace(SAMPLE_SEQUENCE, sequence),
                    data.decode("cp932").replace(SAMPLE_SEQUENCE, sequence).encode("cp932"),
                )
                for name, data in SAMPLE
            ]
        )
    return made


async def _kept(counter: Counter, message_ids: list[str]) -> int:
    [row] = await counter.fetch(
        "SELECT count(*) AS n FROM ingest.idempotency i JOIN ingest.submission s USING (message_id) "
        "WHERE s.message_id = ANY($1::uuid[])",
        message_ids,
    )
    return int(row["n"])


async def _submitted_since(counter: Counter, message_ids: list[str]) -> int:
    """How many messages were submitted from the first of these on: what lost its race is kept nowhere."""
    [row] = await counter.fetch("SELECT count(*) AS n FROM ingest.submission WHERE message_id >= $1", min(message_ids))
    return int(row["n"])
