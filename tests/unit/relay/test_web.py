"""What every answer has in common: problems, limits of small bodies, trace context."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

import httpx
import pytest
from fastapi import APIRouter, Body, Request

from todoke.relay import bodies
from todoke.relay.clock import Ports
from todoke.relay.faults import Transient
from todoke.relay.limits import JSON_BODY_BYTES_MAX
from todoke.relay.metrics import Metrics
from todoke.relay.postgres import traceparent_now
from todoke.relay.problem import Problem, wordings
from todoke.relay.upload import multipart_body
from todoke.relay.web import application

TRACE = "00-" + "1" * 32 + "-" + "2" * 16 + "-01"


@pytest.fixture
def client() -> httpx.AsyncClient:
    router = APIRouter()

    @router.post("/echo")
    async def echo(text: Annotated[str, Body(embed=True)]) -> dict[str, str | None]:
        return {"text": text, "trace": traceparent_now.get()}

    @router.post("/upload", openapi_extra=multipart_body("message", "files"))
    async def upload(request: Request) -> int:
        return sum([len(chunk) async for chunk in request.stream()])

    @router.get("/away")
    async def away() -> None:
        raise Transient("an engine")

    @router.get("/wrong")
    async def wrong() -> None:
        raise RuntimeError("山田太郎")

    @router.get("/refused")
    async def refused() -> None:
        raise Problem("TDK-NOT-FOUND", where=[("id", "ありません")])

    async def health() -> dict[str, object]:
        return {"status": "away", "parts": {"postgres": "away"}}

    gate = APIRouter()  # the host, too, puts each service's router behind one of its own
    gate.include_router(router)
    app = application("t", [gate], metrics=Metrics(), health=health, ids=Ports.real().ids)
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app=app, raise_app_exceptions=False), base_url="http://127.0.0.1"
    )


async def test_a_refusal_is_a_problem_document(client: httpx.AsyncClient) -> None:
    answer = await client.get("/refused")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "TDK-NOT-FOUND"
    assert answer.json()["errors"] == [{"where": "id", "message": "ありません"}]


async def test_an_engine_that_is_away_is_a_503_with_a_time(client: httpx.AsyncClient) -> None:
    answer = await client.get("/away")
    assert (answer.status_code, answer.json()["code"]) == (503, "TDK-ENGINE-AWAY")
    assert int(answer.headers["retry-after"]) > 0


async def test_a_mistake_of_ours_tells_nothing(client: httpx.AsyncClient, capfd: pytest.CaptureFixture[str]) -> None:
    answer = await client.get("/wrong")
    assert (answer.status_code, answer.json()["code"]) == (500, "TDK-INTERNAL")
    assert "山田" not in answer.text + "".join(capfd.readouterr())
    assert len(answer.headers["trace-id"]) == 32


@pytest.mark.parametrize(("path", "code"), [("/nothing", "TDK-NOT-FOUND"), ("/echo", "TDK-METHOD")])
async def test_paths_and_methods_that_are_not_there(client: httpx.AsyncClient, path: str, code: str) -> None:
    assert (await client.get(path)).json()["code"] == code


async def test_a_long_json_body_is_stopped(client: httpx.AsyncClient) -> None:
    answer = await client.post("/echo", json={"text": "x" * JSON_BODY_BYTES_MAX})
    assert (answer.status_code, answer.json()["code"]) == (413, "TDK-BODY-TOO-LARGE")


async def test_a_long_body_that_only_calls_itself_an_upload_is_stopped(
    client: httpx.AsyncClient,
) -> None:
    body = b'{"text": "' + b"x" * JSON_BODY_BYTES_MAX + b'"}'
    answer = await client.post("/echo", content=body, headers={"Content-Type": "multipart/form-data; boundary=a"})
    assert (answer.status_code, answer.json()["code"]) == (413, "TDK-BODY-TOO-LARGE")


async def test_a_route_that_takes_uploads_measures_them_itself(client: httpx.AsyncClient) -> None:
    body = b"x" * (JSON_BODY_BYTES_MAX + 1)
    answer = await client.post("/upload", content=body, headers={"Content-Type": "multipart/form-data; boundary=a"})
    assert answer.json() == len(body)


async def test_a_json_body_that_takes_too_long_is_stopped(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never_ending() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(60)

    monkeypatch.setattr(bodies, "SMALL_BODY_SECONDS_MAX", 0.05)
    monkeypatch.setattr(bodies, "LINGER_SECONDS_MAX", 0.05)
    answer = await client.post("/echo", content=never_ending(), headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (408, "TDK-BODY-SLOW")
    assert answer.headers["connection"] == "close"


@pytest.mark.parametrize("body", [b"{", b"\xff\xfe", b""])
async def test_a_body_that_is_no_json_is_refused(client: httpx.AsyncClient, body: bytes) -> None:
    answer = await client.post("/echo", content=body, headers={"content-type": "application/json"})
    assert answer.status_code in {400, 422}
    assert answer.json()["code"] in {"TDK-BODY-MALFORMED", "TDK-INVALID"}


async def test_the_trace_of_a_request_reaches_what_it_does(client: httpx.AsyncClient) -> None:
    answer = await client.post("/echo", json={"text": "a"}, headers={"traceparent": TRACE})
    assert answer.json()["trace"] == TRACE == answer.headers["traceparent"]
    made = await client.post("/echo", json={"text": "a"}, headers={"traceparent": "rubbish"})
    assert made.json()["trace"] != "rubbish"
    assert made.headers["trace-id"] in made.json()["trace"]


@pytest.mark.parametrize("path", ["/refused", "/away", "/wrong", "/nowhere", "/health/ready"])
async def test_no_answer_is_kept_framed_or_run_by_a_browser(client: httpx.AsyncClient, path: str) -> None:
    headers = (await client.get(path)).headers
    assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert (headers["cache-control"], headers["x-content-type-options"]) == ("no-store", "nosniff")


async def test_health_says_away_with_503(client: httpx.AsyncClient) -> None:
    assert (await client.get("/health/ready")).status_code == 503
    assert (await client.get("/health/live")).status_code == 200


def test_every_wording_says_what_to_do_in_short_sentences() -> None:
    for wording in wordings().values():
        assert wording.title
        assert wording.detail
        assert 400 <= wording.status < 600
        for sentence in (wording.title + wording.detail).split("。"):
            assert len(sentence) <= 60, wording.code
