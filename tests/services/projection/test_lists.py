"""The rows of both lists, status by status, as their offices read them."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from todoke.events import Delivered, MessageEvent
from todoke.relay.clock import Ports, in_japan
from todoke.relay.testing import ManualClock, Stage

from .conftest import FILE_NAME, PDF_NAME, RECIPIENT, SENDER, STRANGER, TEXT, Office, Story

Tell = Callable[..., Story]


def stamp(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


async def test_a_submitted_message_stands_in_the_send_list_with_every_field(
    projection: Stage, tell: Tell, sender: Office
) -> None:
    story = tell()
    await projection.hear(story.submitted())
    [item] = await sender.items("sent")
    assert item == {
        "message_id": str(story.message_id),
        "sequence": "20250825121901",
        "sender": {"number": SENDER, "name": "やまびこ居宅介護支援"},
        "recipient": {"number": RECIPIENT, "name": "訪問介護ひなた"},
        "service_type": "11",
        "text": TEXT,
        "csv_version": "202407",
        "months": ["202509"],
        "status": "submitted",
        "held": False,
        "erased": False,
        "submitted_at": stamp(story.submitted_at),
        "delivered_at": None,
        "opened_at": None,
        "downloaded_at": None,
        "delivery_no": None,
        "files": [
            {"n": 1, "name": FILE_NAME, "kind": "UPPLAN", "label": "登録", "size": 100, "sha256": story.sha256s[0]},
            {"n": 2, "name": PDF_NAME, "kind": None, "label": "PDF等", "size": 200, "sha256": story.sha256s[1]},
        ],
        "findings": {"errors": 0, "warnings": 0},
        "reason": None,
        "recall_requested_at": None,
    }


Ways = dict[str, tuple[Callable[[Story], list[MessageEvent]], str]]

WAYS: Ways = {
    "submitted": (lambda s: [s.submitted()], "submitted"),
    "accepted": (lambda s: [s.submitted(), s.accepted()], "accepted"),
    "rejected": (lambda s: [s.submitted(), s.rejected()], "rejected"),
    "routed": (lambda s: [s.submitted(), s.accepted(), s.routed()], "routed"),
    "undeliverable": (lambda s: [s.submitted(), s.accepted(), s.undeliverable()], "undeliverable"),
    "delivered": (lambda s: s.until_delivered(1), "delivered"),
    "downloaded": (lambda s: [*s.until_delivered(1), s.opened(), s.downloaded(1)], "downloaded"),
    "recalled": (lambda s: [*s.until_delivered(1), s.recalled(1)], "recalled"),
    "expired": (lambda s: [*s.until_delivered(1), s.reminder(), s.expired(1)], "expired"),
    "discarded": (lambda s: [s.submitted(), s.held(), s.discarded()], "undeliverable"),
}


@pytest.mark.parametrize("way", WAYS)
async def test_each_side_sees_the_status_that_it_may_see(
    projection: Stage, tell: Tell, sender: Office, recipient: Office, way: str
) -> None:
    story = tell()
    events, status = WAYS[way]
    await projection.hear(*events(story))
    assert [item["status"] for item in await sender.items("sent")] == [status]
    arrived = status in ("delivered", "downloaded", "recalled", "expired")
    assert [item["status"] for item in await recipient.items("received")] == ([status] if arrived else [])
    assert await sender.items("received") == []
    assert await recipient.items("sent") == []


@pytest.mark.parametrize("way", ["delivered", "downloaded", "expired"])
async def test_the_receive_list_is_built_from_the_topic_of_storage_alone(
    projection: Stage, tell: Tell, sender: Office, recipient: Office, way: str
) -> None:
    story = tell()
    whole = WAYS[way][0](story)
    from_storage = [event for event in whole if event.SAID_BY == ("storage",)]
    await projection.hear(*from_storage)
    [received] = await recipient.items("received")
    await projection.hear(*[event for event in whole if event not in from_storage])
    assert await recipient.items("received") == [received]
    [sent] = await sender.items("sent")
    assert received == sent  # nothing of what the sender sees here is hidden from the recipient


async def test_a_rejection_tells_the_sender_its_first_error(projection: Stage, tell: Tell, sender: Office) -> None:
    story = tell()
    await projection.hear(story.submitted(), story.rejected())
    [item] = await sender.items("sent")
    assert item["reason"] == {
        "code": "TDK-NAME-CONTENT",
        "number": "E-203",
        "message": "中身の事業所番号・年月が、名前と違います。（12行目　事業所番号）",
    }
    assert item["findings"] == {"errors": 1, "warnings": 1}


async def test_an_undeliverable_message_says_why(projection: Stage, tell: Tell, sender: Office) -> None:
    story, other = tell(), tell()
    await projection.hear(story.submitted(), story.undeliverable(), other.submitted(), other.held(), other.discarded())
    reasons = [item["reason"] for item in await sender.items("sent")]
    assert [reason["code"] for reason in reasons] == ["TDK-DISCARDED", "TDK-OFFICE-NOT-TAKING-PART"]
    assert [reason["number"] for reason in reasons] == ["E-303", "E-302"]


async def test_a_recalled_message_hides_its_content_from_the_recipient_only(
    projection: Stage, tell: Tell, sender: Office, recipient: Office
) -> None:
    story = tell()
    await projection.hear(*story.until_delivered(1), story.recalled(1))
    [item] = await recipient.items("received")
    assert item["text"] is None
    assert item["findings"] == {"errors": 0, "warnings": 0}
    assert item["files"] == [
        {"n": 1, "name": None, "kind": "UPPLAN", "label": "登録", "size": 100, "sha256": None},
        {"n": 2, "name": None, "kind": None, "label": "PDF等", "size": 200, "sha256": None},
    ]
    [own] = await sender.items("sent")
    assert (own["text"], own["files"][0]["name"]) == (TEXT, FILE_NAME)


async def test_an_erased_message_hides_its_content_from_both(
    projection: Stage, tell: Tell, sender: Office, recipient: Office
) -> None:
    story = tell()
    await projection.hear(*story.until_delivered(1), story.downloaded(1), story.erased(1))
    for item in (*await sender.items("sent"), *await recipient.items("received")):
        assert item["erased"]
        assert item["status"] == "downloaded"
        assert item["text"] is None
        assert {file["name"] for file in item["files"]} == {None}


async def test_a_recall_that_is_only_asked_for_is_the_senders_affair(
    projection: Stage, tell: Tell, sender: Office, recipient: Office
) -> None:
    story = tell()
    await projection.hear(*story.until_delivered(1), story.recall_requested())
    [own] = await sender.items("sent")
    [theirs] = await recipient.items("received")
    assert own["recall_requested_at"] is not None
    assert theirs["recall_requested_at"] is None


async def test_held_is_a_flag_that_ends_with_its_release(projection: Stage, tell: Tell, sender: Office) -> None:
    story = tell()
    await projection.hear(story.submitted(), story.held())
    assert [item["held"] for item in await sender.items("sent")] == [True]
    await projection.hear(story.released())
    assert [item["held"] for item in await sender.items("sent")] == [False]
    await projection.hear(story.held(nth=2))
    assert [item["held"] for item in await sender.items("sent")] == [True]


async def test_a_message_whose_record_is_parked_here_is_held(projection: Stage, tell: Tell, sender: Office) -> None:
    story = tell()
    await projection.hear(*story.until_delivered(1))
    lists: Any = projection.handler_of(story.submitted())
    async with projection.db.worker() as tx:
        await lists.on_parked([str(story.message_id), SENDER], tx)
    assert [item["held"] for item in await sender.items("sent")] == [True]
    changes = (await sender.get("/v1/changes")).json()["items"]
    assert [change["event"] for change in changes] == ["held", "delivered"]
    async with projection.db.worker() as tx:
        await lists.on_released([str(story.message_id)], tx)
    assert [item["held"] for item in await sender.items("sent")] == [False]


async def test_the_send_list_is_newest_first_with_the_last_of_a_batch_on_top(
    projection: Stage, tell: Tell, sender: Office
) -> None:
    stories = [tell(place=place) for place in range(3)]
    at = stories[0].submitted_at
    told = [
        story.submitted().model_copy(update={"package": story.package.model_copy(update={"submitted_at": at})})
        for story in stories
    ]
    later = tell()
    await projection.hear(*told, later.submitted())
    ids = [item["message_id"] for item in await sender.items("sent")]
    assert ids == [str(story.message_id) for story in (later, stories[2], stories[1], stories[0])]


async def test_pages_follow_each_other_without_gap_or_repetition(
    projection: Stage, tell: Tell, sender: Office, recipient: Office
) -> None:
    stories = [tell() for _ in range(7)]
    for number, story in enumerate(stories, 1):
        await projection.hear(*story.until_delivered(number))
    newest_first = [str(story.message_id) for story in reversed(stories)]
    for box, reader in (("sent", sender), ("received", recipient)):
        seen, cursor = [], None
        for _ in range(3):
            page = (await reader.get(f"/v1/{box}", limit=3, **({"cursor": cursor} if cursor else {}))).json()
            seen += [item["message_id"] for item in page["items"]]
            cursor = page["next"]
        assert seen == newest_first
        assert cursor is None


async def test_a_cursor_of_another_office_is_worthless(
    projection: Stage, tell: Tell, sender: Office, office: Callable[..., Office]
) -> None:
    for _ in range(2):
        await projection.hear(tell().submitted())
    cursor = (await sender.get("/v1/sent", limit=1)).json()["next"]
    answers = [await office(STRANGER).get("/v1/sent", cursor=text) for text in (cursor, "AAAA", "x" * 150)]
    assert [answer.status_code for answer in answers] == [422, 422, 422]
    assert len({answer.text for answer in answers}) == 1
    assert (await sender.get("/v1/received", cursor=cursor)).json()["code"] == "TDK-CURSOR"


FILTERS: list[tuple[dict[str, Any], list[int]]] = [
    ({"status": "delivered"}, [0]),
    ({"status": ["submitted", "delivered"]}, [1, 0]),
    ({"partner": STRANGER}, [1]),
    ({"month": "202510"}, [1]),
    ({"kind": "UPJSK"}, [1]),
    ({"sequence": "20250825121902"}, [1]),
    ({"service_type": "15"}, [1]),
    ({"csv_version": "202407"}, [1, 0]),
    ({"csv_version": "202208"}, []),
    ({"findings": "true"}, [0]),
    ({"from": "2020-01-01"}, [1, 0]),
    ({"to": "2020-01-01T00:00:00+09:00"}, []),
]


@pytest.mark.parametrize(("query", "found"), FILTERS)
async def test_filters_narrow_the_send_list(
    projection: Stage, tell: Tell, sender: Office, query: dict[str, Any], found: list[int]
) -> None:
    stories = [
        tell(),
        tell(
            recipient=STRANGER,
            months=("202509", "202510"),
            names=("UPJSK_x.CSV",),
            sequence="20250825121902",
            service_type="15",
        ),
    ]
    await projection.hear(*stories[0].until_delivered(1), stories[1].submitted())
    ids = [item["message_id"] for item in await sender.items("sent", **query)]
    assert ids == [str(stories[n].message_id) for n in found]


RECEIVED_FILTERS: list[tuple[dict[str, Any], list[int]]] = [
    ({"status": "delivered"}, [2, 0]),
    ({"status": ["delivered", "downloaded"]}, [2, 1, 0]),
    ({"partner": STRANGER}, [1]),
    ({"month": "202510"}, [1]),
    ({"kind": "UPJSK"}, [1]),
    ({"sequence": "20250825121902"}, [1]),
    ({"service_type": "15"}, [1]),
    ({"csv_version": "202407"}, [2, 1, 0]),
    ({"csv_version": "202208"}, []),
    ({"findings": "true"}, [2, 0]),
    ({"findings": "false"}, [1]),
    ({"from": "day of the second delivery"}, [2, 1]),
    ({"to": "day of the second delivery"}, [1, 0]),
    ({"from": "day of the second delivery", "to": "day of the second delivery"}, [1]),
    ({"from": "moment of the second delivery"}, [2, 1]),
    ({"to": "moment of the second delivery"}, [0]),
    ({"from": "second before the third delivery"}, [2]),
]


@pytest.mark.parametrize(("query", "found"), RECEIVED_FILTERS)
async def test_filters_narrow_the_receive_list_and_its_days_are_those_of_delivery(
    projection: Stage,
    tell: Tell,
    office: Callable[..., Office],
    ports: Ports,
    query: dict[str, Any],
    found: list[int],
) -> None:
    """All are submitted on one day and delivered on three: by the submission no day would tell them apart."""
    assert isinstance(ports.clock, ManualClock)
    unlike = {"months": ("202510",), "names": ("UPJSK_x.CSV",), "sequence": "20250825121902", "service_type": "15"}
    stories = [tell(), tell(sender=STRANGER, **unlike), tell()]
    delivered = []
    for number, story in enumerate(stories, 1):
        ports.clock.move(timedelta(days=1))
        events = story.until_delivered(number, warnings=0 if number == 2 else 1)
        await projection.hear(*events)
        assert isinstance(events[-1], Delivered)
        delivered.append(events[-1].delivered_at)
    await projection.hear(stories[1].downloaded(2))
    _, second, third = delivered
    moments = {
        "day of the second delivery": in_japan(second).date().isoformat(),
        "moment of the second delivery": second.isoformat(),
        "second before the third delivery": (third - timedelta(seconds=1)).isoformat(),
    }
    asked = {name: value if isinstance(value, list) else moments.get(value, value) for name, value in query.items()}
    ids = [item["message_id"] for item in await office(RECIPIENT).items("received", **asked)]
    assert ids == [str(stories[n].message_id) for n in found]


async def test_since_answers_every_number_and_stops_before_a_gap(
    projection: Stage, tell: Tell, recipient: Office
) -> None:
    stories = [tell() for _ in range(6)]
    for number, story in enumerate(stories, 1):
        if number != 5:
            await projection.hear(*story.until_delivered(number))
    await projection.hear(stories[1].recalled(2), stories[2].expired(3))
    await projection.hear(stories[3].downloaded(4), stories[3].erased(4))
    items = await recipient.items("received", since=0)
    assert [item["delivery_no"] for item in items] == [1, 2, 3, 4]
    assert items[1:] == [
        {"delivery_no": number, "message_id": str(stories[number - 1].message_id), "status": status}
        for number, status in ((2, "recalled"), (3, "expired"), (4, "downloaded"))
    ]
    assert await recipient.items("received", since=4) == []
    await projection.hear(stories[4].delivered(5))
    assert [item["delivery_no"] for item in await recipient.items("received", since=4)] == [5, 6]
    assert [item["delivery_no"] for item in await recipient.items("received", since=1, limit=2)] == [2, 3]


async def test_since_goes_with_no_filter(recipient: Office) -> None:
    answer = await recipient.get("/v1/received", since=0, status="delivered")
    assert (answer.status_code, answer.json()["code"]) == (422, "TDK-SINCE-FILTERED")


async def test_unchanged_lists_answer_304_until_something_changes(
    projection: Stage, tell: Tell, sender: Office, office: Callable[..., Office]
) -> None:
    story = tell()
    await projection.hear(story.submitted())
    etag = (await sender.get("/v1/sent")).headers["ETag"]
    same = await sender.get("/v1/sent", headers={"If-None-Match": etag})
    assert (same.status_code, same.content, same.headers["ETag"]) == (304, b"", etag)
    assert (await office(STRANGER).get("/v1/sent", headers={"If-None-Match": etag})).status_code == 200
    await projection.hear(story.accepted())
    assert (await sender.get("/v1/sent", headers={"If-None-Match": etag})).status_code == 200


async def test_wait_for_answers_when_the_status_is_reached(projection: Stage, tell: Tell, sender: Office) -> None:
    story = tell()
    await projection.hear(story.submitted())
    waited = await sender.items("sent", wait_for=f"{story.message_id}:delivered")
    assert [item["status"] for item in waited] == ["submitted"]  # the time was over
    await projection.hear(story.accepted(), story.routed(), story.delivered(1))
    reached = await sender.items("sent", wait_for=f"{story.message_id}:delivered")
    assert [item["status"] for item in reached] == ["delivered"]
    assert (await sender.get("/v1/sent", wait_for="nonsense")).status_code == 422


@pytest.mark.parametrize(
    ("text", "hits"),
    [
        ("ヘルパー", 1),
        ("へるぱー", 1),
        ("ﾍﾙﾊﾟｰ", 1),
        ("山田 地図", 1),
        ("upplan_202509", 1),
        (RECIPIENT, 1),
        ("いない人", 0),
    ],
)
async def test_search_finds_texts_names_and_offices_in_any_kana(
    projection: Stage, tell: Tell, sender: Office, recipient: Office, text: str, hits: int
) -> None:
    story, other = tell(), tell(recipient=STRANGER, text="別の話", names=("別紙.pdf",))
    await projection.hear(*story.until_delivered(1), other.submitted())
    for box, reader in (("sent", sender), ("received", recipient)):
        answer = await reader.search(box=box, text=text)
        assert answer.status_code == 200, answer.text
        assert [item["message_id"] for item in answer.json()["items"]] == [str(story.message_id)] * hits


async def test_a_search_goes_on_where_it_stopped(projection: Stage, tell: Tell, sender: Office) -> None:
    stories = [tell() for _ in range(5)]
    await projection.hear(*[story.submitted() for story in stories])
    seen, cursor = [], None
    for _ in range(3):
        page = (await sender.search(box="sent", text="ひなた", limit=2, cursor=cursor)).json()
        seen += [item["message_id"] for item in page["items"]]
        cursor = page["next"]
    assert seen == [str(story.message_id) for story in reversed(stories)]


async def test_a_search_looks_through_so_many_messages_and_goes_on_in_the_next_call(
    projection: Stage, tell: Tell, sender: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.projection.reading.SEARCHED_MAX", 3)
    monkeypatch.setattr("services.projection.reading.SEARCH_ROWS", 1)
    wanted, *others = [tell(text=text) for text in ("さがす文", *["別の話"] * 7)]
    await projection.hear(wanted.submitted(), *[story.submitted() for story in others])
    pages = [(await sender.search(box="sent", text="さがす文")).json()]
    while (cursor := pages[-1]["next"]) is not None:
        pages.append((await sender.search(box="sent", text="さがす文", cursor=cursor)).json())
    found = [[item["message_id"] for item in page["items"]] for page in pages]
    assert found == [[], [], [str(wanted.message_id)]]  # the oldest of eight: three, three, two
