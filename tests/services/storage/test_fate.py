"""Receipt and recall: what each state answers, and that of two at the same moment exactly one wins."""

import asyncio
import hashlib
from collections.abc import Callable
from typing import Any

import pytest

from todoke.events import Downloaded, Recalled
from todoke.relay.manifest import REASON_LABEL, RECEIPT_LABEL, unseal_text
from todoke.relay.seal import Binding
from todoke.relay.testing import Stage, journalled
from todoke.relay.tokens import ReceiptVerifier

SENDER, RECIPIENT = "9970100018", "9970100117"
ROUNDS = 40


@pytest.fixture
async def sent(storage: Stage, post: Any) -> Any:
    """A delivered message."""
    made = await post.send(SENDER, RECIPIENT)
    await storage.hear(made.submitted, made.routed)
    return made


async def payloads(storage: Stage, kind: str) -> list[str]:
    async with storage.db.worker() as tx:
        return [body for said, body in await journalled(tx) if said == kind]


async def unsealed(storage: Stage, sent: Any, sealed: str, label: str) -> str:
    runtime, epoch = storage.runtime, sent.package.epoch
    binding = Binding(sent.message_id, SENDER, RECIPIENT, epoch)
    return unseal_text(sealed, runtime.seal, month_key=await runtime.keys.key(epoch), binding=binding, label=label)


async def test_the_receipt_turns_the_message_once_and_says_what_was_received(
    storage: Stage, sent: Any, office: Callable[..., Any]
) -> None:
    first = await office(RECIPIENT).receive(sent)
    again = await office(RECIPIENT, user="c-other").receive(sent)
    assert (first.status_code, first.json()["status"]) == (200, "downloaded")
    assert again.json() == first.json()
    [body] = await payloads(storage, "Downloaded")
    downloaded = Downloaded.model_validate_json(body)
    assert await unsealed(storage, sent, downloaded.receipt_sealed, RECEIPT_LABEL) == first.json()["receipt"]
    said = ReceiptVerifier([storage.runtime.receipt_key.public]).verify(first.json()["receipt"])
    assert said == {
        "iss": storage.runtime.settings.address,
        "typ": "download",
        "message_id": str(sent.message_id),
        "sender": SENDER,
        "recipient": RECIPIENT,
        "sequence": sent.package.sequence,
        "files": [
            {
                "name_sha256": hashlib.sha256(name.encode()).hexdigest(),
                "sha256": hashlib.sha256(data).hexdigest(),
                "size": len(data),
            }
            for name, data in sent.files.items()
        ],
        "at": first.json()["downloaded_at"],
    }


async def test_wrong_hashes_leave_it_uncollected(storage: Stage, sent: Any, office: Callable[..., Any]) -> None:
    right = sent.hashes[0]
    for wrong in ([], ["0" * 64], [right, right], ["x"], [right[:-1]], [f"{right}\n"]):
        answer = await office(RECIPIENT).post(f"{sent.url}/receipt", {"sha256": wrong})
        assert (answer.status_code, answer.json()["code"]) == (409, "TDK-HASH-MISMATCH"), wrong
    assert await payloads(storage, "Downloaded") == []
    answer = await office(RECIPIENT).post(f"{sent.url}/receipt", {"sha256": [right.upper()]})
    assert answer.status_code == 200


async def test_a_receipt_of_another_shape_is_422(sent: Any, office: Callable[..., Any]) -> None:
    for body in ({}, {"sha256": "x"}, {"sha256": [1]}, {"sha256": ["x" * 129]}, {"sha256": [], "more": 1}):
        assert (await office(RECIPIENT).post(f"{sent.url}/receipt", body)).status_code == 422, body


async def test_the_sender_gives_no_receipt(sent: Any, office: Callable[..., Any]) -> None:
    answer = await office(SENDER).receive(sent)
    assert (answer.status_code, answer.json()["code"]) == (403, "TDK-NOT-RECIPIENT")


async def test_a_recall_tells_whether_content_was_opened(
    storage: Stage, sent: Any, post: Any, office: Callable[..., Any]
) -> None:
    unopened = await office(SENDER).recall(sent)
    assert (unopened.status_code, unopened.json()) == (200, {"status": "recalled", "opened_at": None})
    seen = await post.send(SENDER, RECIPIENT)
    await storage.hear(seen.routed)
    await office(RECIPIENT).get(f"{seen.url}/files/1")
    first, again = await office(SENDER).recall(seen), await office(SENDER).recall(seen)
    assert first.json()["opened_at"] is not None
    assert again.json() == first.json()
    events = [Recalled.model_validate_json(body) for body in await payloads(storage, "Recalled")]
    assert [event.delivery_no for event in events] == [1, 2]
    assert [event.opened_at is None for event in events] == [True, False]
    reason = await unsealed(storage, sent, events[0].reason_sealed or "", REASON_LABEL)
    assert reason == "送り先をまちがえました"


async def test_a_recall_needs_a_reason(sent: Any, office: Callable[..., Any]) -> None:
    for body in ({}, {"reason": ""}, {"reason": "   "}, {"reason": "あ" * 201}, {"reason": None}):
        assert (await office(SENDER).post(f"{sent.url}/recall", body)).status_code == 422, body


async def test_who_only_views_may_neither_receive_nor_recall(sent: Any, office: Callable[..., Any]) -> None:
    assert (await office(RECIPIENT, roles=["viewer"]).receive(sent)).status_code == 403
    assert (await office(SENDER, roles=["viewer"]).recall(sent)).status_code == 403
    assert (await office(SENDER, roles=["viewer"]).get(f"{sent.url}/accesses")).status_code == 200


async def _state(storage: Stage, sent: Any, office: Callable[..., Any], state: str) -> None:
    """Bring a submitted message into a state."""
    if state in ("rejected", "undeliverable", "discarded"):
        await storage.hear(getattr(sent, state))
    elif state != "submitted":
        await storage.hear(sent.routed)
    if state == "downloaded":
        await office(RECIPIENT).receive(sent)
    if state == "recalled":
        await office(SENDER).recall(sent)
    if state in ("expired", "erased"):
        async with storage.db.worker() as tx:
            await tx.db.execute("UPDATE delivery SET status = 'expired', expired_at = now() WHERE status = 'delivered'")
            row = (sent.message_id, SENDER, RECIPIENT, tx.now if state == "erased" else None)
            await tx.db.execute("INSERT INTO ended VALUES ($1, $2, $3, 'expired', now(), $4, $4)", *row)
    await storage.runtime.ports.clock.sleep(61)  # nobody waits for a young message any more


@pytest.mark.parametrize(
    ("state", "sender_file", "recipient_file", "receipt", "recall"),
    [
        ("submitted", 200, "TDK-NO-MESSAGE", "TDK-NO-MESSAGE", 202),
        ("rejected", 200, "TDK-NO-MESSAGE", "TDK-NO-MESSAGE", "TDK-NOT-RECALLABLE"),
        ("undeliverable", 200, "TDK-NO-MESSAGE", "TDK-NO-MESSAGE", "TDK-NOT-RECALLABLE"),
        ("discarded", 200, "TDK-NO-MESSAGE", "TDK-NO-MESSAGE", "TDK-NOT-RECALLABLE"),
        ("delivered", 200, 200, 200, 200),
        ("downloaded", 200, 200, 200, "TDK-ALREADY-DOWNLOADED"),
        ("recalled", 200, "TDK-RECALLED", "TDK-NOT-RECEIVABLE", 200),
        ("expired", 200, "TDK-EXPIRED", "TDK-NOT-RECEIVABLE", "TDK-NOT-RECALLABLE"),
        ("erased", "TDK-ERASED", "TDK-ERASED", "TDK-NOT-RECEIVABLE", "TDK-NOT-RECALLABLE"),
    ],
)
async def test_each_state_has_its_answer_to_each_call(
    storage: Stage,
    post: Any,
    office: Callable[..., Any],
    state: str,
    sender_file: object,
    recipient_file: object,
    receipt: object,
    recall: object,
) -> None:
    async def fresh() -> Any:
        sent = await post.send(SENDER, RECIPIENT)
        await storage.hear(sent.submitted)
        await _state(storage, sent, office, state)
        return sent

    async def expect(answer: Any, expected: object) -> None:
        assert (answer.json()["code"] if answer.status_code >= 400 else answer.status_code) == expected
        if answer.status_code >= 400:
            statuses = {"TDK-NO-MESSAGE": 404, "TDK-RECALLED": 410, "TDK-EXPIRED": 410, "TDK-ERASED": 410}
            assert answer.status_code == statuses.get(str(expected), 409)
            assert "{" not in answer.json()["title"]

    sent = await fresh()
    for path in ("files/1", "zip"):
        await expect(await office(SENDER).get(f"{sent.url}/{path}"), sender_file)
        await expect(await office(RECIPIENT).get(f"{sent.url}/{path}"), recipient_file)
    await expect(await office(RECIPIENT).receive(sent), receipt)
    await expect(await office(SENDER).recall(await fresh()), recall)


async def test_two_receipts_at_once_are_one(storage: Stage, sent: Any, office: Callable[..., Any]) -> None:
    answers = await asyncio.gather(*(office(RECIPIENT, user=f"c-{n}").receive(sent) for n in range(8)))
    assert len({answer.text for answer in answers}) == 1
    assert len(await payloads(storage, "Downloaded")) == 1


@pytest.mark.long
@pytest.mark.timeout(300)
async def test_of_a_recall_and_a_receipt_exactly_one_wins(
    storage: Stage, post: Any, office: Callable[..., Any]
) -> None:
    recipient, sender = office(RECIPIENT), office(SENDER)
    outcomes = []
    for turn in range(ROUNDS):
        sent = await post.send(SENDER, RECIPIENT)
        await storage.hear(sent.submitted, sent.routed)
        calls = [recipient.receive(sent), recipient.receive(sent), sender.recall(sent), sender.recall(sent)]
        answers = await asyncio.gather(*(calls if turn % 2 else reversed(calls)))
        receipts, recalls = (answers[:2], answers[2:]) if turn % 2 else (answers[3:1:-1], answers[1::-1])
        outcome = ([a.status_code for a in receipts], [a.status_code for a in recalls])
        assert outcome in (([200, 200], [409, 409]), ([409, 409], [200, 200])), turn
        outcomes.append(outcome[0][0])
    assert set(outcomes) == {200, 409}
    downloaded, recalled = await payloads(storage, "Downloaded"), await payloads(storage, "Recalled")
    assert (len(downloaded), len(recalled)) == (outcomes.count(200), outcomes.count(409))
    async with storage.db.worker() as tx:
        assert await tx.db.fetchval("SELECT count(*) FROM ended") == ROUNDS


@pytest.mark.long
@pytest.mark.timeout(300)
async def test_a_recall_and_the_arrival_at_once_recall_the_message_either_way(
    storage: Stage, post: Any, office: Callable[..., Any]
) -> None:
    sender = office(SENDER)
    answers = []
    for turn in range(ROUNDS):
        sent = await post.send(SENDER, RECIPIENT)
        await storage.hear(sent.submitted)
        answer, said = await asyncio.gather(sender.recall(sent), _after(turn % 7, storage.hear(sent.routed)))
        answers.append(answer.status_code)
        kinds = [type(event).__name__ for event in said]
        assert (answer.status_code, kinds) in ((202, ["Recalled"]), (200, ["Delivered"])), turn
    async with storage.db.worker() as tx:
        assert await tx.db.fetchval("SELECT count(*) FROM delivery WHERE status = 'recalled'") == ROUNDS
        numbers = await tx.db.fetch("SELECT delivery_no FROM delivery WHERE delivery_no IS NOT NULL ORDER BY 1")
        assert [row["delivery_no"] for row in numbers] == list(range(1, answers.count(200) + 1))
    assert len(await payloads(storage, "Recalled")) == ROUNDS


async def _after(turns: int, call: Any) -> Any:
    """Let the loop go round some times first."""
    for _ in range(turns * 5):
        await asyncio.sleep(0)
    return await call
