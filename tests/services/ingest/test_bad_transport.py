"""Bad bodies over a real connection to a real server: each is answered, the connection ends, and nothing is kept."""

import asyncio
import contextlib
import dataclasses
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from todoke.relay.clock import Ports, in_japan
from todoke.relay.host import serve
from todoke.relay.limits import Limits
from todoke.relay.problem import wordings
from todoke.relay.rates import RateLimits
from todoke.relay.service import Shared
from todoke.relay.testing import Stage
from todoke.relay.upload import BytesInFlight, process_budget
from todoke.relay.web import application

from .conftest import NAMES, RECIPIENT, SENDER, registered

StageFactory = Callable[..., Awaitable[Stage]]

LIMITS = Limits(
    file_bytes_max=2**20,
    message_bytes_max=2**20,
    body_seconds_max=1,
    files_per_message_max=3,
    bytes_in_flight_max=2**22,
)


def message_part(**fields: object) -> bytes:
    return (
        b'--b0undary\r\nContent-Disposition: form-data; name="message"\r\nContent-Type: application/json\r\n\r\n'
        + json.dumps({"text": "a", **fields}).encode()
        + b"\r\n"
    )


MESSAGE = message_part(recipient=RECIPIENT)
FILE = b'--b0undary\r\nContent-Disposition: form-data; name="files"; filename="a.pdf"\r\n\r\n'
BODY = MESSAGE + b"--b0undary--\r\n"
MULTIPART = "multipart/form-data; boundary=b0undary"
ANSWER_SECONDS = 20
"""Longest wait for an answer, and for the end of the connection."""


@dataclasses.dataclass
class Served:
    """ingest behind a real listener."""

    port: int
    ingest: Stage
    budget: BytesInFlight
    put: list[str]
    peak: list[int]

    def head(self, length: int | None, kind: str = MULTIPART, path: str = "/v1/messages") -> bytes:
        how = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
        token = self.ingest.token(SENDER)["Authorization"]
        return (
            f"POST {path} HTTP/1.1\r\nHost: t\r\nAuthorization: {token}\r\nIdempotency-Key: key\r\n"
            f"Content-Type: {kind}\r\n{how}\r\n\r\n"
        ).encode()

    async def kept(self) -> int:
        async with self.ingest.db.worker() as tx:
            return int(
                await tx.db.fetchval("SELECT (SELECT count(*) FROM submission) + (SELECT count(*) FROM idempotency)")
            )


@pytest.fixture
async def served(
    shared: Shared, on_stage: StageFactory, ports: Ports, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Served]:
    shared.settings = shared.settings.model_copy(update={"limits": LIMITS})
    shared.access.rates = RateLimits(LIMITS, ports.clock)
    ingest = await on_stage("ingest")
    until = (in_japan(ports.clock.now()) + timedelta(days=365)).date()
    await ingest.hear(*(registered(office, until) for office in NAMES))
    monkeypatch.setattr("todoke.relay.bodies.LINGER_SECONDS_MAX", 0.3)
    put: list[str] = []
    really = shared.objects.put

    async def noted(key: str, *args: Any, **options: Any) -> None:
        put.append(key)
        await really(key, *args, **options)

    monkeypatch.setattr(shared.objects, "put", noted)
    peak = [0]
    take = BytesInFlight.take

    def measured(self: BytesInFlight, count: int) -> None:
        take(self, count)
        peak[0] = max(peak[0], self.held)

    monkeypatch.setattr(BytesInFlight, "take", measured)

    async def health() -> dict[str, object]:
        return {"status": "ready", "parts": {}}

    app = application("t", ingest.service.routers, metrics=shared.metrics, health=health, ids=ports.ids)
    stopping = asyncio.Event()
    port = _free_port()
    serving = asyncio.create_task(serve(app, address="127.0.0.1", port=port, stopping=stopping))
    await wait_until(lambda: _listens(port))
    try:
        yield Served(port, ingest, process_budget(LIMITS.bytes_in_flight_max), put, peak)
    finally:
        stopping.set()
        await serving


async def wait_until(reached: Callable[[], bool]) -> None:
    async with asyncio.timeout(ANSWER_SECONDS):
        while not reached():  # noqa: ASYNC110 (what is waited for is in another thread of events: a socket, a count)
            await asyncio.sleep(0.002)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _listens(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


@dataclasses.dataclass(frozen=True)
class Answer:
    """What came back before the connection ended."""

    status: int
    headers: dict[str, str]
    problem: dict[str, Any]


Sending = Callable[[asyncio.StreamWriter], Awaitable[None]]


async def talk(served: Served, *pieces: bytes, then: Sending | None = None) -> Answer | None:
    """Send the pieces, then what `then` sends; the answer, once the server has ended the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    for piece in pieces:
        writer.write(piece)
    feeding = asyncio.create_task(_feed(writer, then)) if then is not None else None
    said = b""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            with contextlib.suppress(ConnectionResetError):  # to a sender that never stops, after the answer
                while piece := await reader.read(65536):
                    said += piece
    finally:
        if feeding is not None:
            feeding.cancel()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
    return _parsed(said)


async def _feed(writer: asyncio.StreamWriter, then: Sending) -> None:
    with contextlib.suppress(ConnectionError):
        await then(writer)


def _parsed(said: bytes) -> Answer | None:
    if not said:
        return None
    head, _, body = said.partition(b"\r\n\r\n")
    status, *fields = head.decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
    assert len(body) == int(headers["content-length"]), "one answer, and nothing behind it"
    return Answer(int(status.split()[1]), headers, json.loads(body))


async def drip(writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.05)


async def silence(_: asyncio.StreamWriter) -> None:
    await asyncio.sleep(3600)


async def pour(writer: asyncio.StreamWriter) -> None:
    """Chunks without an end, as fast as they are taken."""
    while True:
        writer.write(chunk(bytes(64 * 1024)))
        await writer.drain()


def chunk(data: bytes) -> bytes:
    return b"%x\r\n" % len(data) + data + b"\r\n"


Case = Callable[[Served], Awaitable[Answer | None]]

CASES: dict[str, tuple[int, str, Case]] = {
    "not multipart": (
        415,
        "TDK-BODY-KIND",
        lambda s: talk(s, s.head(len(BODY), "application/json"), then=silence),
    ),
    "no boundary": (
        400,
        "TDK-BODY-BOUNDARY",
        lambda s: talk(s, s.head(len(BODY), "multipart/form-data"), then=silence),
    ),
    "another boundary": (
        400,
        "TDK-BODY-BOUNDARY",
        lambda s: talk(s, s.head(len(BODY) + 9, "multipart/form-data; boundary=other"), BODY, then=silence),
    ),
    "silent after a while": (
        408,
        "TDK-BODY-SLOW",
        lambda s: talk(s, s.head(10_000), MESSAGE, FILE, then=silence),
    ),
    "a drop at a time": (408, "TDK-BODY-SLOW", lambda s: talk(s, s.head(10_000), MESSAGE, FILE, then=drip)),
    "shorter than said, and silent": (
        408,
        "TDK-BODY-SLOW",
        lambda s: talk(s, s.head(len(BODY) + 10), BODY, then=silence),
    ),
    "longer than said": (400, "TDK-BODY-LENGTH", lambda s: talk(s, s.head(len(BODY)) + BODY + b"x" * 100)),
    "longer than said, cut in the middle": (
        400,
        "TDK-BODY-LENGTH",
        lambda s: talk(s, s.head(len(BODY) - 30) + BODY),
    ),
    "chunks of other lengths than they say": (
        400,
        "TDK-BODY-LENGTH",
        lambda s: talk(s, s.head(None), b"%x\r\n" % (len(MESSAGE) - 5), MESSAGE, b"\r\n"),
    ),
    "ends in a part": (
        400,
        "TDK-BODY-CUT",
        lambda s: talk(s, s.head(None), chunk(MESSAGE + FILE), b"0\r\n\r\n", then=closing_soon),
    ),
    "a bad file name, and then silence": (
        422,
        "TDK-FILE-NAME-DEVICE",
        lambda s: talk(s, s.head(None), chunk(MESSAGE + FILE.replace(b"a.pdf", b"con.pdf")), then=silence),
    ),
    "to oneself, and then silence": (
        422,
        "TDK-OWN-NUMBER",
        lambda s: talk(s, s.head(None), chunk(message_part(recipient=SENDER) + FILE), then=silence),
    ),
    "to nobody, and then silence": (
        422,
        "TDK-UNKNOWN-OFFICE",
        lambda s: talk(s, s.head(None), chunk(message_part(recipient="9970199999") + FILE), then=silence),
    ),
    "an unknown field, and then silence": (
        422,
        "TDK-INVALID",
        lambda s: talk(s, s.head(None), chunk(message_part(to=RECIPIENT) + FILE), then=silence),
    ),
    "said to be too large": (413, "TDK-MESSAGE-TOO-LARGE", lambda s: talk(s, s.head(10**9), then=silence)),
    "no HTTP": (400, "TDK-BODY-MALFORMED", lambda s: talk(s, b"\x16\x03\x01\x02\x00rubbish\r\n\r\n")),
}


async def closing_soon(writer: asyncio.StreamWriter) -> None:
    """A whole request keeps its connection; the client hangs up after the answer."""
    await asyncio.sleep(1)
    writer.write_eof()


@pytest.mark.parametrize("what", CASES)
async def test_a_bad_body_is_answered_and_kept_nowhere(what: str, served: Served) -> None:
    status, code, case = CASES[what]
    answer = await case(served)
    assert answer is not None
    words = wordings()[code]
    assert (answer.status, answer.problem["code"], answer.problem["number"]) == (status, code, words.number)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.problem["title"] == words.title
    assert (await served.kept(), served.put, served.budget.held) == (0, [], 0)


@pytest.mark.parametrize("endless", [True, False])
async def test_a_body_that_is_too_large_is_stopped_while_it_is_read(served: Served, *, endless: bool) -> None:
    more = bytes(LIMITS.file_bytes_max + 2**15)
    if endless:
        answer = await talk(served, served.head(None), chunk(MESSAGE + FILE), then=pour)
    else:
        answer = await talk(served, served.head(len(MESSAGE + FILE + more)), MESSAGE, FILE, more, then=closing_soon)
    assert answer is not None
    assert (answer.status, answer.problem["number"]) in {(413, "E-209"), (413, "E-282")}
    assert served.peak[0] <= LIMITS.file_bytes_max + 2**16
    assert (await served.kept(), served.put, served.budget.held) == (0, [], 0)


async def test_a_client_that_leaves_in_the_middle_leaves_nothing(served: Served) -> None:
    async def leave(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.2)
        writer.write_eof()

    assert await talk(served, served.head(10_000), MESSAGE, FILE, b"x" * 5000, then=leave) is None
    await wait_until(lambda: served.budget.held == 0)
    assert (await served.kept(), served.put) == (0, [])


async def test_a_whole_request_is_answered_though_rubbish_follows_it(served: Served) -> None:
    """Its bytes were as many as it said: what was done for it must not be denied."""
    whole = MESSAGE + FILE + b"%PDF-1.7\r\n--b0undary--\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(served.head(len(whole)) + whole)
    await wait_until(lambda: bool(served.put))
    writer.write(b"rubbish" * 10)
    async with asyncio.timeout(ANSWER_SECONDS):
        said = await reader.read()
    writer.close()
    assert said.startswith(b"HTTP/1.1 202 ")
    assert await served.kept() == 2
