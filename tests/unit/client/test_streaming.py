"""The push stream, line by line and over a lost connection."""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx

from todoke.client import AsyncClient, Client
from todoke.client.streaming import RETRY_SECONDS, RETRY_SECONDS_MAX, StreamReader

MESSAGE = "01990000-0000-7000-8000-000000000001"
DATA = json.dumps({"message_id": MESSAGE, "delivery_no": 7})


def read(reader: StreamReader, *lines: str) -> list[tuple[str, int | None]]:
    found = [reader.feed(line) for line in lines]
    return [(event.event, event.delivery_no) for event in found if event is not None]


def test_an_event_is_complete_at_its_empty_line() -> None:
    reader = StreamReader()
    assert read(reader, "id: 5", "event: delivered", f"data: {DATA}", "") == [("delivered", 7)]
    assert reader.last_event_id == "5"


def test_comments_and_unknown_fields_are_passed_over() -> None:
    reader = StreamReader()
    assert read(reader, ": keep-alive", "", "colour: red", "event:opened", f"data:{DATA}", "") == [("opened", 7)]


def test_half_an_event_of_a_lost_connection_is_dropped() -> None:
    reader = StreamReader("4")
    assert read(reader, "id: 5", "event: delivered", f"data: {DATA}") == []
    reader.connected()
    assert read(reader, "") == []
    assert reader.last_event_id == "4"
    assert reader.headers()["Last-Event-ID"] == "4"


def test_data_of_another_shape_is_passed_over_but_its_place_is_kept() -> None:
    reader = StreamReader()
    assert read(reader, "id: 6", "event: delivered", "data: [1]", "") == []
    assert read(reader, "id: 7", "event: delivered", "data: {", "") == []
    assert reader.last_event_id == "7"


def test_the_pause_is_the_service_s_within_reason() -> None:
    reader = StreamReader()
    assert reader.retry_seconds == RETRY_SECONDS
    read(reader, "retry: 500")
    assert reader.retry_seconds == 0.5
    read(reader, "retry: 99999999")
    assert reader.retry_seconds == RETRY_SECONDS_MAX


class Pushes(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body that pushes some events and then breaks."""

    def __init__(self, *chunks: str) -> None:
        self.chunks = chunks

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self.chunks:
            yield chunk.encode()
        raise httpx.ReadError("gone")

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self:
            yield chunk


def answers(asked: list[httpx.Request]) -> Any:
    """Two connections that break after an event each, and a session renewed in between."""
    renewal = {
        "access_token": "access-2",
        "expires_in": 3600,
        "refresh_token": "r2",
        "refresh_expires_in": 28800,
        "office": {"number": "9970100018", "name": "甲"},
        "user": None,
    }
    problem = {"title": "題", "status": 401, "code": "TDK-SESSION-ENDED"}
    script = [
        httpx.Response(200, stream=Pushes(f"id: 1\nevent: delivered\ndata: {DATA}\n", "\n")),
        httpx.Response(401, json=problem),
        httpx.Response(200, json=renewal),
        httpx.Response(503, json={**problem, "status": 503}),
        httpx.Response(200, stream=Pushes(f"id: 2\nevent: opened\ndata: {DATA}\n\n")),
    ]

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return script.pop(0)

    return answer


def test_the_stream_goes_on_after_the_last_event_with_a_renewed_session(kept_session: Any) -> None:
    asked: list[httpx.Request] = []
    client = Client(store=kept_session, transport=httpx.MockTransport(answers(asked)), sleep=lambda _: None)
    stream = client.stream()
    assert [next(stream).event, next(stream).event] == ["delivered", "opened"]
    assert [request.headers.get("Last-Event-ID") for request in asked] == [None, "1", None, "1", "1"]
    assert asked[-1].headers["Authorization"] == "Bearer access-2"


async def test_the_asynchronous_stream_does_the_same(kept_session: Any) -> None:
    asked: list[httpx.Request] = []

    async def at_once(_: float) -> None:
        return None

    client = AsyncClient(store=kept_session, transport=httpx.MockTransport(answers(asked)), sleep=at_once)
    found = []
    async for event in client.stream():
        found.append(event.event)
        if len(found) == 2:
            break
    assert found == ["delivered", "opened"]
    assert asked[-1].headers["Last-Event-ID"] == "1"
