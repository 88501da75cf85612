"""S-39: every error is a page that says what to do, with a number that operators find in the log."""

import json
from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import Response

from services.portal.app import _portal
from services.portal.portal import Portal
from services.portal.routes import Elsewhere, Forbidden, NotThere
from todoke.client import ApiError, Unreachable, Unreadable
from todoke.client.shapes import Problem as Refusal
from todoke.relay.faults import Transient
from todoke.relay.problem import Problem
from todoke.relay.service import Runtime, Shared
from todoke.relay.web import application

SECRET = "山田太郎"

TROUBLES: dict[str, tuple[Exception, int, str]] = {
    "role": (Forbidden(), 403, "E-605"),
    "nothing": (NotThere(), 404, "E-600"),
    "state": (ApiError(409, Refusal(title="相手が先に", status=409, code="TDK-X", number="E-402")), 409, "E-402"),
    "size": (Problem("TDK-BODY-TOO-LARGE"), 413, "E-699"),
    "many": (Problem("TDK-TOO-MANY", retry_after=7, seconds=7), 429, "E-602"),
    "away": (Unreachable("ConnectError", sent=False), 503, "E-603"),
    "engine": (Transient("postgres"), 503, "E-603"),
    "stranger": (Unreadable("no JSON"), 503, "E-603"),
    "mistake": (RuntimeError(SECRET), 500, "E-699"),
}


@pytest.fixture
async def portal(shared: Shared) -> AsyncIterator[Portal]:
    runtime: Runtime = await shared.runtime("portal")
    portal = _portal(runtime)
    yield portal
    await portal.api.close()
    await runtime.db.close()


@pytest.fixture
async def client(portal: Portal, shared: Shared) -> AsyncIterator[httpx.AsyncClient]:
    screens = portal.router()

    @screens.get("/fails/{what}")
    async def fails(what: str) -> None:
        raise TROUBLES[what][0]

    @screens.get("/elsewhere")
    async def elsewhere() -> None:
        raise Elsewhere("/first")

    @screens.get("/number/{n}")
    async def number(n: int) -> None:
        del n

    @screens.post("/careless")
    async def careless() -> Response:
        return Response()

    async def health() -> dict[str, object]:
        return {"status": "ready", "parts": {}}

    app = application(
        "t",
        [screens],
        metrics=shared.metrics,
        health=health,
        ids=shared.ports.ids,
        nowhere=portal.troubles.nowhere,
    )
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as made:
        yield made


@pytest.mark.parametrize("what", TROUBLES)
async def test_s39_each_trouble_has_its_status_its_sentence_and_its_number(
    client: httpx.AsyncClient, what: str, capfd: pytest.CaptureFixture[str]
) -> None:
    answer = await client.get(f"/fails/{what}")
    _, status, number = TROUBLES[what]
    assert answer.status_code == status
    assert f"（{number}）" in answer.text
    assert 'data-screen="S-39"' in answer.text
    reference = answer.headers["trace-id"][:12]
    assert f'id="reference">{reference}<' in answer.text
    said = "".join(capfd.readouterr())
    assert reference in said
    assert SECRET not in answer.text + said
    assert "RuntimeError" not in answer.text
    assert answer.headers["content-security-policy"].startswith("default-src 'self'")


async def test_what_may_succeed_later_says_when(client: httpx.AsyncClient) -> None:
    assert (await client.get("/fails/many")).headers["retry-after"] == "7"
    assert int((await client.get("/fails/away")).headers["retry-after"]) > 0


async def test_a_path_that_is_none_is_a_page_for_a_browser_and_a_problem_for_a_program(
    client: httpx.AsyncClient,
) -> None:
    for path in ("/nowhere", "/number/x", "/careless"):
        page = await client.get(path, headers={"Accept": "text/html,*/*"})
        assert (page.status_code, "E-600" in page.text) == (404, True)
        assert page.headers["content-security-policy"].startswith("default-src 'self'")
    for path, accept in (("/nowhere", "application/json"), ("/v1/nowhere", "text/html")):
        program = await client.get(path, headers={"Accept": accept})
        assert json.loads(program.text)["code"] == "TDK-NOT-FOUND"


async def test_each_listener_leads_back_to_a_page_of_its_own(portal: Portal) -> None:
    assert b'href="/"' in portal.troubles.nowhere().body
    assert b'href="/operator/offices"' in portal.troubles.nowhere("operator").body


async def test_a_form_whose_proof_nobody_looked_at_is_a_mistake_of_ours(client: httpx.AsyncClient) -> None:
    own = {"Origin": "http://127.0.0.1", "Sec-Fetch-Site": "same-origin"}
    assert (await client.post("/careless", headers=own)).status_code == 500
    assert (await client.post("/careless")).status_code == 403


async def test_a_fragment_is_led_elsewhere_as_a_whole_page(client: httpx.AsyncClient) -> None:
    assert (await client.get("/elsewhere")).headers["location"] == "/first"
    fragment = await client.get("/elsewhere", headers={"HX-Request": "true"})
    assert (fragment.status_code, fragment.headers["hx-redirect"]) == (200, "/first")
