"""Every address of the portal that names something, tried with what belongs to others."""

import asyncio
import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import httpx
import pytest
from fastapi.routing import APIRoute

from tests.screens.browsing import Desk, proof_of
from tests.screens.operating import WORD, Operators
from todoke.client import Client
from todoke.client.ops_shapes import Audience, NewNotice
from tools import apidocs

SENDER, RECIPIENT, STRANGER = "9970100018", "9970100117", "9970100414"
PUBLIC = ("/static/", "/usage", "/operator")
"""Built files are for everybody; the other two sites have sessions and tests of their own."""

NOBODYS: Mapping[str, str] = {
    "message_id": "01900000-0000-7000-8000-000000000000",
    "n": "1",
    "draft": "01900000-0000-7000-8000-000000000001",
    "sheet": "01900000-0000-7000-8000-000000000002",
    "row": "01900000-0000-7000-8000-000000000003",
    "run": "01900000-0000-7000-8000-000000000004",
    "word": "01900000-0000-7000-8000-000000000005",
    "notice": "01900000-0000-7000-8000-000000000006",
    "action": "remove",
}
"""A value for each parameter of a path that names nothing at all; a new parameter gets one here and in `foreign`."""


OWN = "/compose/{draft}/"
"""What is posted here makes a draft under an id that the form drew: that it touches no other is seen below."""


def screens() -> list[tuple[str, str, bool]]:
    """Method, path and whether it takes files, of every screen whose path has a parameter."""
    with ThreadPoolExecutor(1) as thread:  # Playwright's own loop runs in this one
        services, _ = thread.submit(asyncio.run, apidocs._wired()).result()
    return [
        (method, route.path, bool(route.openapi_extra))
        for service in services
        if service.name == "portal"
        for router in service.routers
        for route in router.routes
        if isinstance(route, APIRoute) and "{" in route.path and not route.path.startswith(PUBLIC)
        for method in sorted(route.methods or ())
    ]


@pytest.fixture(scope="module")
def foreign(desk: Desk, operators: Operators) -> Mapping[str, str]:
    """What others have: a message of two other offices, a draft and a sheet of one of them, a notice to yet others."""
    elsewhere = Audience(kind="prefectures", values=("どこにもない県",))
    notice = NewNotice(title="ほかの県へ", text="ほかの県へ", audience=elsewhere)
    told = operators.client.publish_notice(operators.token, notice, WORD)
    office = desk.office(SENDER)
    with Client(desk.url) as client:
        client.login(office.c_id, office.c_password, office.kj_id, office.kj_password)
        sent = client.send(RECIPIENT, text=f"これは、ほかの2つの事業所のものです。{uuid4()}")
    with visiting(desk, SENDER) as visitor:
        page = visitor.get("/compose").text
        (draft,) = set(re.findall(r"/compose/([0-9a-f-]{36})/", page))
        form = fields(_form=proof_of(page), text="下書き", recipient=RECIPIENT)
        saved = visitor.post(f"/compose/{draft}/save", files=form)
        assert saved.status_code in {200, 303}
        (sheet,) = set(re.findall(r"/bulk/([0-9a-f-]{36})/", visitor.get("/bulk").text))
    return {
        **NOBODYS,
        "message_id": str(sent.message_id),
        "draft": draft,
        "sheet": sheet,
        "row": draft,
        "run": draft,
        "notice": str(told.id),
    }


def visiting(desk: Desk, office: str) -> httpx.Client:
    """A browser without scripts, logged in."""
    headers = {"Origin": desk.url, "Sec-Fetch-Site": "same-origin", "Accept": "text/html"}
    return httpx.Client(base_url=desk.url, cookies=desk.cookies(office), headers=headers, timeout=60)


def fields(**values: str) -> dict[str, tuple[None, str]]:
    """The fields of a form that takes files."""
    return {name: (None, value) for name, value in values.items()}


def test_s00_10_what_belongs_to_others_is_as_absent_as_what_never_was(desk: Desk, foreign: Mapping[str, str]) -> None:
    unknown = {name for _, path, _ in screens() for name in re.findall(r"\{(\w+)", path)} - NOBODYS.keys()
    assert unknown == set(), "say what of others it could name"
    with visiting(desk, STRANGER) as client:
        proof = proof_of(client.get("/sent").text)
        for method, path, takes_files in screens():
            if (method == "POST" and path.startswith(OWN)) or path == "/drafts/{action}":  # which drafts is in the form
                continue
            pages = []
            for values in (foreign, NOBODYS):
                place = re.sub(r"\{(\w+)[^}]*\}", r"{\1}", path).format_map(values)
                body = {"files": fields(_form=proof)} if takes_files else {"data": {"_form": proof}}
                answer = client.request(method, place, **(body if method == "POST" else {}))
                pages.append((answer.status_code, re.sub(r"[0-9a-f]{12}", "", answer.text)))
            assert pages[0] == pages[1], f"{method} {path}"
            assert pages[0][0] == 404, f"{method} {path}"


def test_what_is_posted_under_the_id_of_anothers_draft_touches_it_not(desk: Desk, foreign: Mapping[str, str]) -> None:
    draft = foreign["draft"]
    with visiting(desk, SENDER) as owner:
        before = owner.get("/drafts").text.count(draft)
        assert before
        with visiting(desk, STRANGER) as client:
            form = fields(_form=proof_of(client.get("/sent").text), text="よその下書き", recipient=RECIPIENT)
            assert client.post(f"/compose/{draft}/save", files=form).status_code < 500
            assert client.get(f"/compose/{draft}").status_code == 404
        assert owner.get("/drafts").text.count(draft) == before
        page = owner.get(f"/compose/{draft}").text
        assert "よその下書き" not in page
        assert "下書き</textarea>" in page


@pytest.mark.parametrize("site", ["/usage", "/operator"])
def test_every_address_of_the_other_sites_wants_a_session_of_its_own(desk: Desk, site: str) -> None:
    """An office's session of the portal opens none of them, read or written."""
    base = desk.url if site == "/usage" else desk.product.demo["operator"]["url"]
    headers = {"Origin": base, "Sec-Fetch-Site": "same-origin"}
    tried = 0
    with httpx.Client(base_url=base, cookies=desk.cookies(STRANGER), headers=headers, timeout=60) as client:
        for method, path in addresses(site):
            nobodys = NOBODYS["notice"]
            place = path.format(number=SENDER, act="suspend", notice=nobodys, import_id=nobodys)
            if place in (f"{site}/login", f"{site}/logged-out"):
                continue
            answer = client.request(method, place, data={"_form": "x"} if method == "POST" else None)
            assert answer.status_code == 303, f"{method} {path}"
            assert answer.headers["location"].partition("?")[0] == f"{site}/login", f"{method} {path}"
            tried += 1
    assert tried >= 8


def addresses(site: str) -> list[tuple[str, str]]:
    """Method and path of every page of a site, on whichever listener."""
    with ThreadPoolExecutor(1) as thread:
        services, _ = thread.submit(asyncio.run, apidocs._wired()).result()
    portal = next(service for service in services if service.name == "portal")
    return [
        (method, route.path)
        for router in (*portal.routers, *portal.operator_routers)
        for route in router.routes
        if isinstance(route, APIRoute) and (route.path == site or route.path.startswith(f"{site}/"))
        for method in sorted(route.methods or ())
    ]
