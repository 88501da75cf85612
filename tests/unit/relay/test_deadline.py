"""The deadline of a request: what counts, what does not, and that the answer waits for nobody."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from starlette.responses import JSONResponse
from starlette.types import Message, Receive, Scope, Send

from todoke.relay import deadline
from todoke.relay.deadline import Deadlines, deadline_now, seconds_to_wait, unbounded

Handler = Callable[[Receive, Send], Awaitable[None]]

IN_TIME = 5


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadline, "ANSWER_SECONDS_MAX", 0.05)


class Asked:
    """One request to a handler behind the deadline, and what came back."""

    def __init__(self, handler: Handler, path: str = "/v1/x", body: tuple[tuple[float, bytes], ...] = ()) -> None:
        self.said: list[Message] = []
        self.begun = asyncio.Event()
        self._body = list(body)
        self._handler = handler
        headers = [(b"content-length", b"9")] if body else []
        self._scope: Scope = {"type": "http", "path": path, "method": "POST", "headers": headers}
        self.task = asyncio.create_task(self._ask())

    async def _ask(self) -> None:
        async def app(_: Scope, receive: Receive, send: Send) -> None:
            await self._handler(receive, send)

        late = JSONResponse({}, 503)
        await Deadlines(app, refusal=lambda: late)(self._scope, self._receive, self._send)

    async def _receive(self) -> Message:
        pause, piece = self._body.pop(0)
        await asyncio.sleep(pause)
        return {"type": "http.request", "body": piece, "more_body": bool(self._body)}

    async def _send(self, message: Message) -> None:
        self.said.append(message)
        self.begun.set()

    @property
    def statuses(self) -> list[Any]:
        return [message["status"] for message in self.said if message["type"] == "http.response.start"]


async def read(receive: Receive) -> None:
    while (await receive())["more_body"]:
        pass


async def serve(_: Receive, send: Send) -> None:
    await JSONResponse({})({"type": "http"}, _, send)


async def hang(_: Receive, __: Send) -> None:
    await asyncio.Event().wait()


async def test_whoever_gets_no_answer_is_told_so() -> None:
    asked = Asked(hang)
    await asyncio.wait_for(asked.task, IN_TIME)
    assert asked.statuses == [503]


async def test_the_answer_does_not_wait_for_work_that_cannot_let_go() -> None:
    thawed = asyncio.Event()

    async def clinging(receive: Receive, send: Send) -> None:
        try:
            await hang(receive, send)
        finally:
            await thawed.wait()
            await serve(receive, send)  # too late: there is an answer

    asked = Asked(clinging)
    await asyncio.wait_for(asked.begun.wait(), IN_TIME)
    assert not asked.task.done()
    thawed.set()
    await asyncio.wait_for(asked.task, IN_TIME)
    assert asked.statuses == [503]


async def test_a_body_takes_its_time_and_what_follows_does_not() -> None:
    async def reading(receive: Receive, send: Send) -> None:
        await read(receive)
        assert seconds_to_wait() == 0
        assert (before := deadline_now.get()) is not None
        assert before.left > 0
        await serve(receive, send)

    slow = tuple((0.03, b"abc") for _ in range(3))
    asked = Asked(reading, body=slow)
    await asyncio.wait_for(asked.task, IN_TIME)
    assert asked.statuses == [200]

    async def stuck(receive: Receive, send: Send) -> None:
        await read(receive)
        await hang(receive, send)

    asked = Asked(stuck, body=slow)
    await asyncio.wait_for(asked.task, IN_TIME)
    assert asked.statuses == [503]


async def test_an_answer_that_has_begun_goes_on() -> None:
    async def streaming(_: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await asyncio.sleep(0.1)
        await send({"type": "http.response.body", "body": b"x"})

    asked = Asked(streaming)
    await asyncio.wait_for(asked.task, IN_TIME)
    assert [message.get("body") for message in asked.said] == [None, b"x"]


@pytest.mark.parametrize(("path", "lifted"), [("/v1/operator/x", False), ("/page", False), ("/v1/x", True)])
async def test_some_work_has_no_deadline(path: str, *, lifted: bool) -> None:
    async def long(receive: Receive, send: Send) -> None:
        if lifted:
            unbounded()
        await asyncio.sleep(0.1)
        await serve(receive, send)

    asked = Asked(long, path)
    await asyncio.wait_for(asked.task, IN_TIME)
    assert asked.statuses == [200]


async def test_whoever_stops_the_server_stops_the_request() -> None:
    asked = Asked(hang)
    await asyncio.sleep(0)
    asked.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked.task
    assert asked.said == []
