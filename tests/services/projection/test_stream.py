"""The push stream and the waiting calls, over a real socket and a real clock."""

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
import uvicorn

from todoke.relay.clock import Ports
from todoke.relay.limits import STREAMS_PER_USER_MAX
from todoke.relay.testing import Stage
from todoke.relay.web import application

from .conftest import RECIPIENT, SENDER, STRANGER, Office, Story

Tell = Callable[..., Story]
Event = dict[str, Any]


@pytest.fixture
def ports() -> Ports:
    """The machine's clock: a stream waits for real."""
    return Ports.real()


@pytest.fixture
async def client(projection: Stage) -> AsyncIterator[httpx.AsyncClient]:
    """The service behind a real server: an in-process client would wait for the end of a stream."""

    async def health() -> dict[str, object]:
        return {"status": "ready", "parts": {}}

    runtime = projection.runtime
    app = application(
        "projection", projection.service.routers, metrics=runtime.metrics, health=health, ids=runtime.ports.ids
    )
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
    listening = socket.create_server(("127.0.0.1", 0))
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    port = listening.getsockname()[1]
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=10) as made:
        yield made
    assert projection.service.stop is not None
    await projection.service.stop()  # ends the streams that are still open
    server.should_exit = True
    await serving


@contextlib.asynccontextmanager
async def listening(reader: Office, after: str | None = None) -> AsyncIterator[AsyncIterator[Event]]:
    """The events of one stream, connected."""
    headers = {**reader.headers, **({"Last-Event-ID": after} if after else {})}
    async with reader._client.stream("GET", "/v1/stream", headers=headers) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        events = _events(answer)
        first = await anext(events)  # the place where the stream begins
        assert set(first) == {"retry", "id"}
        yield events


async def _events(answer: httpx.Response) -> AsyncIterator[Event]:
    event: Event = {}
    async for line in answer.aiter_lines():
        if line:
            name, _, value = line.partition(": ")
            event[name] = json.loads(value) if name == "data" else value
        elif event:
            yield event
            event = {}


async def some(events: AsyncIterator[Event], n: int) -> list[Event]:
    async with asyncio.timeout(10):
        return [await anext(events) for _ in range(n)]


async def test_what_is_pushed_is_already_listed(
    projection: Stage, tell: Tell, sender: Office, recipient: Office
) -> None:
    story = tell()
    async with listening(sender) as mine, listening(recipient) as theirs:
        await projection.hear(*story.until_delivered(1))
        [pushed] = await some(theirs, 1)
        assert pushed["event"] == "delivered"
        assert pushed["data"] == {"message_id": str(story.message_id), "delivery_no": 1}
        assert [item["status"] for item in await recipient.items("received")] == ["delivered"]
        await projection.hear(story.opened(), story.downloaded(1))
        assert [event["event"] for event in await some(mine, 3)] == ["delivered", "opened", "downloaded"]


async def test_that_a_message_is_held_and_goes_on_is_pushed_to_its_sender(
    projection: Stage, tell: Tell, sender: Office
) -> None:
    story = tell()
    async with listening(sender) as mine:
        await projection.hear(story.submitted(), story.held())
        [pushed] = await some(mine, 1)
        assert (pushed["event"], pushed["data"]["message_id"]) == ("held", str(story.message_id))
        assert [item["held"] for item in await sender.items("sent")] == [True]
        await projection.hear(story.released())
        [pushed] = await some(mine, 1)
        assert (pushed["event"], pushed["data"]["message_id"]) == ("released", str(story.message_id))
        assert [item["held"] for item in await sender.items("sent")] == [False]


async def test_a_message_that_an_operator_gives_up_is_pushed_as_undeliverable_with_its_reason(
    projection: Stage, tell: Tell, sender: Office
) -> None:
    story = tell()
    async with listening(sender) as mine:
        await projection.hear(story.submitted(), story.held(), story.discarded())
        assert [event["event"] for event in await some(mine, 2)] == ["held", "undeliverable"]
        [item] = await sender.items("sent")
        assert (item["status"], item["held"]) == ("undeliverable", False)
        assert item["reason"] is not None


async def test_a_stream_goes_on_after_the_last_event_that_was_seen(
    projection: Stage, tell: Tell, recipient: Office
) -> None:
    stories = [tell() for _ in range(4)]
    async with listening(recipient) as events:
        await projection.hear(*stories[0].until_delivered(1))
        [seen] = await some(events, 1)
    for number, story in enumerate(stories[1:], 2):
        await projection.hear(*story.until_delivered(number))
    async with listening(recipient, seen["id"]) as events:
        assert [event["data"]["delivery_no"] for event in await some(events, 3)] == [2, 3, 4]


async def test_a_stream_id_of_another_office_is_worthless(
    projection: Stage, tell: Tell, sender: Office, recipient: Office
) -> None:
    await projection.hear(*tell().until_delivered(1))
    async with listening(sender) as events:
        await projection.hear(*tell().until_delivered(2))
        [mine] = await some(events, 1)
    async with listening(recipient, mine["id"]) as events:  # so it begins now
        await projection.hear(*tell().until_delivered(3))
        assert [event["data"]["delivery_no"] for event in await some(events, 1)] == [3]


async def test_nothing_of_others_is_pushed(
    projection: Stage, tell: Tell, office: Callable[..., Office], recipient: Office
) -> None:
    async with listening(office(STRANGER)) as events:
        await projection.hear(*tell().until_delivered(1))
        await projection.hear(*tell(recipient=STRANGER).until_delivered(1))
        [event] = await some(events, 1)
        assert event["data"]["message_id"] != (await recipient.items("received"))[0]["message_id"]


async def test_a_stream_ends_with_its_session(projection: Stage, office: Callable[..., Office], ports: Ports) -> None:
    session = ports.ids.uuid7()
    async with listening(office(RECIPIENT, session=session)) as events:
        projection.runtime.access.ended.end(session)
        async with asyncio.timeout(5):
            assert [event async for event in events] == []


async def test_a_user_has_so_many_streams_and_gets_one_back_for_each_that_ends(recipient: Office) -> None:
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(STREAMS_PER_USER_MAX):
            await stack.enter_async_context(listening(recipient))
        refused = await recipient.get("/v1/stream")
        assert (refused.status_code, refused.json()["code"]) == (429, "TDK-STREAMS")
        assert "Retry-After" in refused.headers
    async with asyncio.timeout(10):
        while True:
            with contextlib.suppress(AssertionError):
                async with listening(recipient):
                    return
            await asyncio.sleep(0.1)


async def test_wait_for_is_woken_by_the_commit(projection: Stage, tell: Tell, recipient: Office) -> None:
    story = tell()

    async def deliver() -> float:
        await asyncio.sleep(0.2)
        await projection.hear(*story.until_delivered(1))
        return time.monotonic()

    items, _ = await asyncio.gather(recipient.items("received", wait_for=f"{story.message_id}:delivered"), deliver())
    assert [item["message_id"] for item in items] == [str(story.message_id)]


async def test_a_message_that_is_not_listed_yet_is_waited_for(projection: Stage, tell: Tell, sender: Office) -> None:
    story = tell()

    async def submit() -> None:
        await asyncio.sleep(0.2)
        await projection.hear(story.submitted())

    answer, _ = await asyncio.gather(sender.get(f"/v1/messages/{story.message_id}"), submit())
    assert (answer.status_code, answer.json()["status"]) == (200, "submitted")


async def test_an_unknown_young_message_is_404_after_the_wait(ports: Ports, office: Callable[..., Office]) -> None:
    answer = await office(SENDER).get(f"/v1/messages/{ports.ids.uuid7()}")
    assert answer.status_code == 404
