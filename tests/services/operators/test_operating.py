"""What operators see of services and do to them, over HTTP: held messages, the breaker, how far they are, a story."""

from typing import Any, get_args
from uuid import UUID

import pytest

from todoke.events import MessageHeld, MessageReleased, topic_of
from todoke.relay.kafka import ensure_topics
from todoke.relay.objects import ObjectsAway
from todoke.relay.operating import Operating
from todoke.relay.reports import Run, write_report
from todoke.relay.restore import ADVICE, Kind, Unhealed
from todoke.relay.seal import Binding, epoch_of
from todoke.relay.testing import operator_token

from .conftest import RECIPIENT, SENDER, WORD, Room, parking, undeliverable

MESSAGE = "01990000-0000-7000-8000-000000000001"
READS = [
    "/status",
    f"/messages/{MESSAGE}/trace",
    "/services/routing/status",
    "/services/routing/lag",
    "/services/routing/breaker",
    "/services/routing/reconcile",
    "/services/routing/reconcile/1",
    "/services/routing/parked",
    f"/services/routing/parked/{MESSAGE}",
    f"/services/routing/journal/{MESSAGE}",
]
CHANGES = [
    f"/services/routing/parked/{MESSAGE}/retry",
    f"/services/routing/parked/{MESSAGE}/discard",
    "/services/routing/breaker/trip",
    "/services/routing/breaker/reset",
    "/services/routing/reconcile",
]


WORDS: list[dict[str, Any]] = [
    {},
    {"reason": "x"},
    {"ticket": "OPS-1"},
    {"reason": " ", "ticket": "OPS-1"},
    {"reason": "x" * 201, "ticket": "OPS-1"},
    {"reason": "x", "ticket": "two words"},
    {"reason": "x", "ticket": ""},
    {"reason": "x", "ticket": "OPS-1", "more": 1},
]


async def test_without_an_operators_session_nothing_is_answered(room: Room) -> None:
    ended = room.routing.runtime.ports.ids.uuid7()
    room.routing.runtime.access.ended.end(ended)
    tokens = {
        "": (401, "TDK-NO-SESSION"),
        "Bearer nonsense": (401, "TDK-NO-SESSION"),
        f"Bearer {operator_token(room.routing.runtime.shared, session=ended)}": (401, "TDK-SESSION-ENDED"),
        room.routing.token(SENDER)["Authorization"]: (403, "TDK-NOT-ALLOWED"),
    }
    calls = [("GET", path) for path in READS] + [("POST", path) for path in CHANGES]
    for method, path in calls:
        for token, expected in tokens.items():
            headers = {"Authorization": token} if token else {}
            answer = await room.http.request(method, f"/v1/operator{path}", json=WORD, headers=headers)
            assert (answer.status_code, answer.json()["code"]) == expected, path


async def test_the_office_listener_has_none_of_these_paths(room: Room) -> None:
    async with room.routing.client() as offices:
        for path in READS + CHANGES:
            assert (await offices.get(f"/v1/operator{path}", headers=room.routing.operator())).status_code == 404
            answer = await offices.post(f"/v1/operator{path}", json=WORD, headers=room.routing.operator())
            assert answer.status_code == 404


async def test_a_change_needs_a_reason_and_a_ticket(room: Room) -> None:
    for path in CHANGES:
        for word in WORDS:
            answer = await room.post(path, word)
            assert (answer.status_code, answer.json()["code"]) == (422, "TDK-INVALID"), (path, word)
    assert await room.said("routing") == []


async def test_what_is_not_there_is_404(room: Room) -> None:
    paths = ("/services/nobody/parked", "/services/storage/breaker", f"/services/routing/parked/{MESSAGE}")
    for path in (*paths, "/services/routing/reconcile/7"):
        assert (await room.get(path)).status_code == 404


async def test_held_messages_are_listed_page_by_page_and_shown_without_their_bodies(room: Room) -> None:
    messages = [room.message() for _ in range(3)]
    for message in messages:
        await room.hold("projection", message, records=2)
    first = (await room.get("/services/projection/parked", limit=2)).json()
    rest = (await room.get("/services/projection/parked", limit=2, cursor=first["next"])).json()
    assert [item["subject"] for item in first["items"] + rest["items"]] == [str(message) for message in messages]
    assert rest["next"] is None
    assert first["items"][0]["records"] == 2
    shown = (await room.get(f"/services/projection/parked/{messages[0]}")).json()
    assert [record["type"] for record in shown["parked"]] == ["jp.todoke.message-undeliverable"] * 2
    assert shown["parked"][0]["bytes"] > 100
    assert "TDK-UNKNOWN-OFFICE" not in str(shown)
    assert SENDER not in str(shown)
    assert (await room.get("/services/projection/parked", cursor="!")).status_code == 422
    assert (await room.get("/services/projection/parked", cursor="4pyT")).status_code == 422


async def test_an_operators_word_is_noted_said_and_carried_out(room: Room) -> None:
    message = room.message()
    await room.hold("routing", message)
    answer = await room.post(f"/services/routing/parked/{message}/discard", WORD)
    assert (answer.status_code, answer.json()) == (
        202,
        {"service": "routing", "subject": str(message), "state": "discard", "records": 1},
    )
    again = await room.post(f"/services/routing/parked/{message}/retry", WORD)
    assert (again.status_code, again.json()["code"]) == (409, "TDK-NOT-HELD")
    ((kind, act),) = await room.said("routing")
    assert (kind, act["act"], act["object"], act["ticket"]) == (
        "OperatorActed", "parked.discard", str(message), WORD["ticket"],
    )  # fmt: skip
    assert act["actor"] == {"kind": "operator", "id": "operator-1"}
    assert act["office"] == SENDER
    assert await room.reason_of(act) == WORD["reason"]
    assert WORD["reason"] not in str(act)

    assert await parking(room.routing).settle_one()
    kind, gone = (await room.said("routing"))[-1]
    assert (kind, gone["actor"]["id"]) == ("MessageDiscarded", "operator-1")
    shown = (await room.get(f"/services/routing/parked/{message}")).json()
    assert (shown["state"], shown["decided_by"], shown["parked"]) == ("discarded", "operator-1", [])
    assert (await room.get("/services/routing/parked")).json()["items"] == []


async def test_the_reason_of_a_discard_goes_with_the_message_once_its_month_has_a_key(room: Room) -> None:
    message = room.message()
    await room.hold("routing", message)
    await room.post("/services/routing/breaker/trip", WORD)  # the first act of a month makes its key
    await room.post(f"/services/routing/parked/{message}/discard", WORD)
    await parking(room.routing).settle_one()
    _, gone = (await room.said("routing"))[-1]
    binding = Binding(message, SENDER, RECIPIENT, epoch_of(message))
    assert await room.unsealed(gone["reason_sealed"], binding) == WORD["reason"]


async def test_a_record_that_nobody_can_read_can_be_given_up_too(room: Room) -> None:
    message = room.message()
    await room.hold("projection", message, readable=False)
    assert (await room.post(f"/services/projection/parked/{message}/discard", WORD)).status_code == 202
    ((_, act),) = await room.said("projection")
    assert act["office"] == RECIPIENT
    assert await parking(room.projection).settle_one()


async def test_the_breaker_is_opened_and_closed_once_each(room: Room) -> None:
    assert (await room.get("/services/routing/breaker")).json()["open"] is False
    for changed in (True, False):
        answer = await room.post("/services/routing/breaker/trip", WORD)
        assert answer.json() == {"service": "routing", "open": True, "changed": changed}
    shown = (await room.get("/services/routing/breaker")).json()
    assert shown["open"]
    assert WORD["ticket"] in shown["reason"]
    assert WORD["reason"] not in shown["reason"]
    for changed in (True, False):
        answer = await room.post("/services/routing/breaker/reset", WORD)
        assert answer.json() == {"service": "routing", "open": False, "changed": changed}
    acts = [(act["act"], act["object"]) for _, act in await room.said("routing")]
    assert acts == [("breaker.trip", "routing"), ("breaker.reset", "routing")]
    assert (await room.get("/services/projection/breaker")).json()["open"] is False


async def test_comparisons_are_listed_page_by_page_the_newest_first(room: Room) -> None:
    began = room.routing.runtime.ports.clock.now()
    for n in range(3):
        run = Run("demand", began, compared="topic", looked_at=n)
        run.unhealed = [Unhealed("unreadable", f"0/{at}") for at in range(n)]
        await write_report(room.routing.db, run)
    first = (await room.get("/services/routing/reconcile", limit=2)).json()
    rest = (await room.get("/services/routing/reconcile", limit=2, cursor=first["next"])).json()
    assert [each["looked_at"] for each in first["items"] + rest["items"]] == [2, 1, 0]
    assert (first["clean"], rest["next"]) == (False, None)
    assert first["items"][0]["unhealed"] == [
        {"kind": "unreadable", "subject": "0/0"}, {"kind": "unreadable", "subject": "0/1"},
    ]  # fmt: skip
    assert first["advice"] == {"unreadable": ADVICE["unreadable"]}
    path = f"/services/routing/reconcile/{first['items'][0]['id']}"
    found = (await room.get(path, limit=1)).json()
    last = (await room.get(path, limit=1, cursor=found["next"])).json()
    assert [each["subject"] for each in found["items"] + last["items"]] == ["0/0", "0/1"]
    assert (last["next"], last["advice"]) == (None, {"unreadable": ADVICE["unreadable"]})
    assert (await room.get("/services/routing/reconcile", cursor="x")).status_code == 422


async def test_there_is_advice_about_everything_that_cannot_be_mended() -> None:
    assert set(ADVICE) == set(get_args(Kind))


async def test_status_and_lag_say_what_waits(room: Room) -> None:
    await room.hold("projection", room.message())
    await room.post("/services/projection/breaker/trip", WORD)
    kafka, topic = room.projection.runtime.settings.kafka, topic_of("notification")
    await ensure_topics(kafka, [topic], partitions=1, replication=1)
    async with room.projection.db.worker() as tx:
        await tx.db.execute("INSERT INTO consumer_offset (topic, partition, next) VALUES ($1, 0, 0)", topic)
    status = {each["service"]: each for each in (await room.get("/status")).json()["services"]}
    assert set(status) == {"routing", "projection"}
    assert (status["projection"]["held"], status["projection"]["breaker_open"]) == (1, True)
    assert (status["routing"]["held"], status["routing"]["breaker_open"]) == (0, False)
    assert (await room.get("/services/projection/status")).json() == status["projection"] | {
        "outbox_seconds": pytest.approx(status["projection"]["outbox_seconds"], abs=60)
    }
    lag = (await room.get("/services/projection/lag")).json()
    assert [(row["topic"], row["next"], row["behind"]) for row in lag["partitions"]] == [(topic, 0, 0)]
    assert (lag["behind"], lag["outbox_rows"], lag["refused"]) == (0, 1, 0)


async def test_without_kafka_an_operator_still_sees_what_was_heard(room: Room) -> None:
    async with room.projection.db.worker() as tx:
        await tx.db.execute("INSERT INTO consumer_offset (topic, partition, next) VALUES ('todoke.ingest.v1', 0, 7)")
    operating = Operating(room.projection.runtime)
    operating._kafka = "127.0.0.1:9"
    lag = await operating.lag()
    assert ([row.next for row in lag.partitions], lag.behind) == ([7], None)


async def test_a_story_is_told_by_time_over_services_and_names_nobody(room: Room) -> None:
    message, clock = room.message(), room.routing.runtime.ports.clock
    base: dict[str, Any] = {"message_id": message, "sender": SENDER, "recipient": RECIPIENT}
    async with room.routing.db.worker() as tx:
        tx.say(undeliverable(message))
        system = undeliverable(message).actor
        tx.say(MessageHeld(actor=system, **base, cause="parked", held_at=clock.now(), nth=1))
    await room.hold("projection", message)
    await room.post(f"/services/projection/parked/{message}/retry", WORD)
    async with room.routing.db.worker() as tx:
        tx.say(MessageReleased(actor=system, **base, released_at=clock.now(), nth=1))
    story = (await room.get(f"/messages/{message}/trace")).json()
    assert story["services"] == ["routing", "projection"]
    assert [(step["type"], step["service"]) for step in story["events"]] == [
        ("MessageUndeliverable", "routing"),
        ("MessageHeld", "routing"),
        ("OperatorActed", "projection"),
        ("MessageReleased", "routing"),
    ]
    assert story["events"][2]["act"] == "parked.retry"
    assert story["events"][2]["ticket"] == WORD["ticket"]
    assert [(hold["service"], hold["state"]) for hold in story["holds"]] == [("projection", "retry")]
    assert story["events"][0]["sender"] == SENDER
    own = (await room.get(f"/services/routing/journal/{message}")).json()
    assert own["events"] == [step for step in story["events"] if step["service"] == "routing"]
    assert (await room.get(f"/messages/{UUID(int=7)}/trace")).json()["events"] == []


async def test_an_act_is_refused_while_its_reason_cannot_be_sealed_and_nothing_is_changed(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object) -> bytes:
        raise ObjectsAway("away")

    monkeypatch.setattr(room.routing.runtime.keys, "_source", away)
    monkeypatch.setattr(room.routing.runtime.keys, "_keys", {})
    answer = await room.post("/services/routing/breaker/trip", WORD)
    assert (answer.status_code, answer.json()["code"]) == (503, "TDK-ENGINE-AWAY")
    assert (await room.get("/services/routing/breaker")).json()["open"] is False
