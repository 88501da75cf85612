"""Every address of the portal that names something, tried with what belongs to others."""

import asyncio
import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from fastapi.routing import APIRoute

from tests.screens.browsing import Desk, proof_of
from todoke.client import Client
from tools import apidocs

SENDER, RECIPIENT, STRANGER = "9970100018", "9970100117", "9970100414"
PUBLIC = ("/static/", "/usage", "/operator")
"""Built files are for everybody; the other two sites have sessions and tests of their own."""

NOBODYS: Mapping[str, str] = {
    "message_id": "01900000-0000-7000-8000-000000000000",
    "n": "1",
}
"""A value for each parameter of a path that names nothing at all; a new parameter gets one here and in `foreign`."""


def screens() -> list[tuple[str, str]]:
    """(method, path) of every screen whose path has a parameter."""
    with ThreadPoolExecutor(1) as thread:  # Playwright's own loop runs in this one
        services, _ = thread.submit(asyncio.run, apidocs._wired()).result()
    return [
        (method, route.path)
        for service in services
        if service.name == "portal"
        for router in service.routers
        for route in router.routes
        if isinstance(route, APIRoute) and "{" in route.path and not route.path.startswith(PUBLIC)
        for method in sorted(route.methods or ())
    ]


@pytest.fixture(scope="module")
def foreign(desk: Desk) -> Mapping[str, str]:
    """What others have: a message of two other offices."""
    office = desk.office(SENDER)
    with Client(desk.url) as client:
        client.login(office.c_id, office.c_password, office.kj_id, office.kj_password)
        sent = client.send(RECIPIENT, text="これは、ほかの2つの事業所のものです。")
    return {"message_id": str(sent.message_id), "n": "1"}


def test_s00_10_what_belongs_to_others_is_as_absent_as_what_never_was(desk: Desk, foreign: Mapping[str, str]) -> None:
    unknown = {name for _, path in screens() for name in re.findall(r"\{(\w+)", path)} - NOBODYS.keys()
    assert unknown == set(), "say what of others it could name"
    cookies = desk.cookies(STRANGER)
    headers = {"Origin": desk.url, "Sec-Fetch-Site": "same-origin", "Accept": "text/html"}
    with httpx.Client(base_url=desk.url, cookies=cookies, headers=headers, timeout=60) as client:
        proof = proof_of(client.get("/sent").text)
        for method, path in screens():
            pages = []
            for values in (foreign, NOBODYS):
                place = re.sub(r"\{(\w+)[^}]*\}", r"{\1}", path).format_map(values)
                answer = client.request(method, place, data={"_form": proof} if method == "POST" else None)
                pages.append((answer.status_code, re.sub(r"[0-9a-f]{12}", "", answer.text)))
            assert pages[0] == pages[1], f"{method} {path}"
            assert pages[0][0] == 404, f"{method} {path}"
