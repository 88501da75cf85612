"""One message: its timeline, findings and evidence, for each of the two sides."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from todoke.events import Actor, NoticePublished, NoticeWithdrawn
from todoke.relay.seal import KeyEpochGone
from todoke.relay.testing import Stage

from .conftest import FILE_NAME, RECIPIENT, SENDER, TEXT, Office, Story

Tell = Callable[..., Story]

NOBODY = {"office": None, "user": None}


async def read(reader: Office, story: Story, path: str = "") -> dict[str, Any]:
    answer = await reader.get(f"/v1/messages/{story.message_id}{path}")
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def test_the_timeline_names_users_of_the_own_side_only(
    projection: Stage, tell: Tell, sender: Office, recipient: Office
) -> None:
    story = tell()
    await projection.hear(*story.until_delivered(1), story.opened(), story.downloaded(1))
    mine = [(entry["event"], entry["by"]) for entry in (await read(sender, story))["timeline"]]
    assert sorted(event for event, _ in mine) == sorted(
        ["submitted", "accepted", "routed", "delivered", "opened", "downloaded"]
    )
    assert dict(mine)["submitted"] == {"office": SENDER, "user": "c0000000018"}
    assert dict(mine)["opened"] == {"office": RECIPIENT, "user": None}
    assert dict(mine)["delivered"] == NOBODY
    theirs = [(entry["event"], entry["by"]) for entry in (await read(recipient, story))["timeline"]]
    assert [event for event, _ in theirs] == ["submitted", "delivered", "opened", "downloaded"]
    assert dict(theirs)["submitted"] == {"office": SENDER, "user": None}
    assert dict(theirs)["downloaded"] == {"office": RECIPIENT, "user": "c0000000117"}


async def test_a_message_is_its_list_item_with_a_timeline(projection: Stage, tell: Tell, sender: Office) -> None:
    story = tell()
    await projection.hear(*story.until_delivered(1))
    message = await read(sender, story)
    message.pop("timeline")
    assert [message] == await sender.items("sent")


async def test_a_young_message_is_waited_for(projection: Stage, tell: Tell, sender: Office) -> None:
    story = tell()

    async def later() -> None:
        for _ in range(3):
            await asyncio.sleep(0)
        await projection.hear(story.submitted())

    answer, _ = await asyncio.gather(sender.get(f"/v1/messages/{story.message_id}"), later())
    assert answer.status_code in (200, 404)  # the test's clock runs as fast as it is asked
    assert (await read(sender, story))["status"] == "submitted"


async def test_findings_say_what_is_wrong_where_and_what_to_do(
    projection: Stage, tell: Tell, sender: Office, office: Callable[..., Office]
) -> None:
    story = tell()
    await projection.hear(story.submitted(), story.rejected())
    verdict = await read(sender, story, "/findings")
    assert (verdict["verdict"], verdict["counts"]) == ("reject", {"errors": 1, "warnings": 1})
    assert verdict["findings"][1] == {
        "code": "TDK-NAME-CONTENT",
        "number": "E-203",
        "severity": "error",
        "file": FILE_NAME,
        "row": 12,
        "column": 7,
        "column_name": "事業所番号",
        "message": "中身の事業所番号・年月が、名前と違います。（12行目　事業所番号）",
        "advice": "介護ソフトで、もう一度データを作ってください。",
    }
    viewed = await read(office(SENDER, roles=("viewer",)), story, "/findings")
    assert (viewed["findings"], viewed["counts"]) == ([], {"errors": 1, "warnings": 1})


async def test_the_recipient_reads_the_warnings_of_what_was_delivered(
    projection: Stage, tell: Tell, recipient: Office
) -> None:
    story = tell()
    await projection.hear(*story.until_delivered(1, warnings=2))
    verdict = await read(recipient, story, "/findings")
    assert (verdict["verdict"], len(verdict["findings"])) == ("accept_with_warning", 2)
    await projection.hear(story.recalled(1))
    hidden = await read(recipient, story, "/findings")
    assert (hidden["findings"], hidden["counts"]) == ([], {"errors": 0, "warnings": 0})


async def test_before_the_judgement_the_office_is_told_to_wait(projection: Stage, tell: Tell, sender: Office) -> None:
    story = tell()
    await projection.hear(story.submitted())
    answer = await sender.get(f"/v1/messages/{story.message_id}/findings")
    assert (answer.status_code, answer.json()["code"], answer.json()["number"]) == (409, "TDK-NOT-JUDGED", "E-304")


async def test_evidence_holds_events_hashes_and_both_receipts(
    projection: Stage, tell: Tell, sender: Office, recipient: Office
) -> None:
    story = tell()
    events = [*story.until_delivered(1), story.downloaded(1)]
    await projection.hear(*events)
    for reader in (sender, recipient):
        evidence = await read(reader, story, "/evidence")
        assert evidence["receipts"] == {
            "submission": f"submission.{story.message_id}",
            "download": f"download.{story.message_id}",
        }
        assert [file["sha256"] for file in evidence["files"]] == story.sha256s
        assert [file["sealed_sha256"] for file in evidence["files"]] == [
            part.sealed_sha256 for part in story.package.parts
        ]
        assert evidence["message"]["message_id"] == str(story.message_id)
    mine = {event["id"] for event in (await read(sender, story, "/evidence"))["events"]}
    assert mine == {str(event.event_id(event.SAID_BY[0])) for event in events}
    theirs = [event["type"] for event in (await read(recipient, story, "/evidence"))["events"]]
    assert theirs == ["MessageSubmitted", "Delivered", "Downloaded"]


async def test_the_reason_of_a_recall_is_for_the_senders_side(
    projection: Stage, tell: Tell, sender: Office, recipient: Office
) -> None:
    story = tell()
    await projection.hear(*story.until_delivered(1), story.recalled(1))
    reasons = [event["reason"] for event in (await read(sender, story, "/evidence"))["events"]]
    assert [reason for reason in reasons if reason] == ["送り先をまちがえました"]
    theirs = await read(recipient, story, "/evidence")
    assert {event["reason"] for event in theirs["events"]} == {None}
    assert theirs["receipts"] == {"submission": None, "download": None}
    assert {file["sha256"] for file in theirs["files"]} == {None}


async def test_counts_say_how_many_messages_there_are(
    projection: Stage, tell: Tell, sender: Office, recipient: Office
) -> None:
    first, second = tell(), tell()
    await projection.hear(*first.until_delivered(1), second.submitted())
    await projection.hear(first.downloaded(1))
    sent = (await sender.get("/v1/counts")).json()["sent"]
    assert {status: n for status, n in sent.items() if n} == {"submitted": 1, "downloaded": 1}
    received = (await recipient.get("/v1/counts")).json()["received"]
    assert received == {"delivered": 0, "downloaded": 1, "recalled": 0, "expired": 0}


async def test_changes_are_newest_first_and_say_nothing_of_the_way(
    projection: Stage, tell: Tell, sender: Office, recipient: Office
) -> None:
    story = tell()
    await projection.hear(*story.until_delivered(1))
    await projection.hear(story.opened(), story.downloaded(1))
    for reader in (sender, recipient):
        items = (await reader.get("/v1/changes")).json()["items"]
        assert [item["event"] for item in items] == ["downloaded", "opened", "delivered"]
        assert {item["message_id"] for item in items} == {str(story.message_id)}
    assert len((await sender.get("/v1/changes", limit=1)).json()["items"]) == 1


async def test_what_comes_before_its_message_is_pushed_with_it(projection: Stage, tell: Tell, sender: Office) -> None:
    story = tell()
    await projection.hear(story.rejected())
    assert (await sender.get("/v1/changes")).json()["items"] == []
    assert await sender.items("sent") == []
    await projection.hear(story.submitted())
    assert [item["event"] for item in (await sender.get("/v1/changes")).json()["items"]] == ["rejected"]
    assert [item["status"] for item in await sender.items("sent")] == ["rejected"]


async def test_the_status_of_the_system_follows_the_oldest_message_on_its_way(
    projection: Stage, tell: Tell, office: Callable[..., Office], ports: Any
) -> None:
    anybody = office(SENDER)
    anybody.headers = {}
    [timer] = projection.service.timers

    async def state() -> str:
        answer: str = (await anybody.get("/v1/status")).json()["state"]
        return answer

    assert await state() == "down"
    await timer.run()
    assert await state() == "normal"
    story = tell()
    await projection.hear(story.submitted())
    ports.clock.move(timedelta(seconds=61))
    await timer.run()
    assert await state() == "slow"
    await projection.hear(story.held())
    await timer.run()
    assert await state() == "normal"
    ports.clock.move(timedelta(seconds=61))
    assert await state() == "down"


async def test_the_operators_word_stands_above_what_was_measured_until_its_end_or_its_withdrawal(
    projection: Stage, office: Callable[..., Office], ports: Any
) -> None:
    anybody = office(SENDER)
    anybody.headers = {}
    operator = Actor(kind="operator", id="operator-1")
    [timer] = projection.service.timers
    first, second = (UUID(f"01990000-0000-7000-8000-00000000000{n}") for n in (1, 2))
    begin = ports.clock.now() + timedelta(minutes=10)

    def said(notice: UUID, **values: Any) -> NoticePublished:
        return NoticePublished(actor=operator, notice_id=notice, published_at=begin, important=True, **values)

    async def told() -> tuple[str, str | None]:
        await timer.run()
        answer = (await anybody.get("/v1/status")).json()
        return answer["state"], answer["until"]

    until = begin + timedelta(hours=1)
    await projection.hear(said(first, state="down", until=until), said(second))
    assert await told() == ("normal", None)
    ports.clock.move(timedelta(minutes=11))
    state, end = await told()
    assert (state, datetime.fromisoformat(end or "")) == ("down", until)
    await projection.hear(NoticeWithdrawn(actor=operator, notice_id=first, withdrawn_at=ports.clock.now()))
    assert await told() == ("normal", None)
    third = UUID(int=first.int + 7)
    withdrawn = NoticeWithdrawn(actor=operator, notice_id=third, withdrawn_at=ports.clock.now())
    for event in (withdrawn, said(third, state="slow")):
        await projection.hear(event)
    assert await told() == ("normal", None)


@pytest.mark.parametrize("url", ["/v1/sent?limit=0", "/v1/sent?limit=201", "/v1/sent?status=lost", "/v1/sent?month=1",
                                 "/v1/received?since=-1", "/v1/sent?from=yesterday", "/v1/changes?limit=x",
                                 "/v1/sent?from=9999-12-31", "/v1/sent?to=0001-01-01T00:00:00%2B14:00"])  # fmt: skip
async def test_a_query_that_makes_no_sense_is_refused_with_its_place(sender: Office, url: str) -> None:
    answer = await sender.get(url)
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"]


async def test_a_feed_keeps_its_newest_changes(
    projection: Stage, tell: Tell, sender: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.projection.handlers.CHANGES_KEPT", 3)
    stories = [tell() for _ in range(5)]
    for number, story in enumerate(stories, 1):
        await projection.hear(*story.until_delivered(number))
    kept = [item["message_id"] for item in (await sender.get("/v1/changes")).json()["items"]]
    assert kept == [str(story.message_id) for story in reversed(stories[2:])]


async def test_a_damaged_manifest_hides_its_row_and_leaves_the_list_standing(
    projection: Stage, tell: Tell, sender: Office
) -> None:
    story, sound = tell(), tell()
    damaged = story.package.model_copy(update={"manifest": sound.package.manifest})  # sealed for another message
    await projection.hear(story.submitted().model_copy(update={"package": damaged}), sound.submitted())
    assert [item["text"] for item in await sender.items("sent")] == [TEXT, None]


async def test_a_destroyed_month_key_hides_what_it_sealed(
    projection: Stage, tell: Tell, sender: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def gone(epoch: str) -> bytes:
        raise KeyEpochGone(epoch)

    await projection.hear(tell().submitted())
    monkeypatch.setattr(projection.runtime.keys, "key", gone)
    [item] = await sender.items("sent")
    assert (item["text"], item["files"][0]["name"], item["sequence"]) == (None, None, "20250825121901")
