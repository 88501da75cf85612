"""What a stranger, a neighbour's page and a partner's message must not be able to do."""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pikepdf
import pytest
from playwright.sync_api import Page, Route, expect

from tests.screens.browsing import Desk, Office, Watch, log_in, proof_of
from tests.screens.conftest import PageOf
from todoke.client import Client, Upload

ME, OTHER = "9970100513", "9970100315"
NASTY = "<script>document.title='HACKED'</script><img src=x onerror=\"document.title='HACKED'\">{{7*7}}"


@contextmanager
def browser_of(desk: Desk, cookies: dict[str, str] | None = None) -> Iterator[httpx.Client]:
    """A browser's requests as our own pages send them."""
    headers = {"Origin": desk.url, "Sec-Fetch-Site": "same-origin"}
    with httpx.Client(base_url=desk.url, cookies=cookies, headers=headers, timeout=30) as client:
        yield client


@contextmanager
def api_of(desk: Desk, office: Office) -> Iterator[Client]:
    with Client(desk.url) as client:
        client.login(office.c_id, office.c_password, office.kj_id, office.kj_password)
        yield client


def empty_pdf() -> bytes:
    with pikepdf.new() as made, io.BytesIO() as target:
        made.add_blank_page()
        made.save(target)
        return target.getvalue()


# --- the session ----------------------------------------------------------------------------------------------------


def test_each_step_of_the_login_gives_a_new_cookie(desk: Desk) -> None:
    """Session fixation: a cookie that somebody set before the login is worth nothing after it."""
    office = desk.office(ME)
    planted = "planted-by-somebody-else"
    with browser_of(desk, {"todoke-step": planted, "todoke-office": planted}) as client:
        page = client.get("/login")
        first = {"user_id": office.c_id, "password": office.c_password, "_form": proof_of(page.text)}
        answer = client.post("/login", data=first)
        half = answer.cookies["todoke-step"]
        page = client.get("/login/office")
        second = {"user_id": office.kj_id, "password": office.kj_password, "_form": proof_of(page.text)}
        whole = client.post("/login/office", data=second).cookies["todoke-office"]
    assert len({planted, half, whole}) == 3
    for name, value in (("todoke-office", planted), ("todoke-office", half)):
        assert httpx.get(f"{desk.url}/received", cookies={name: value}).status_code == 303
    assert httpx.get(f"{desk.url}/login/office", cookies={"todoke-step": half}).text.count("事業所ユーザログイン") == 1


def test_a_new_login_ends_the_session_that_the_browser_had(desk: Desk) -> None:
    office = desk.colleague(OTHER, "staff", c_id="c9000000006")
    earlier = log_in(desk.url, office)
    again = log_in(desk.url, office, earlier)
    assert again != earlier
    assert httpx.get(f"{desk.url}/sent", cookies=earlier).status_code == 303
    assert httpx.get(f"{desk.url}/sent", cookies=again).status_code == 200
    with api_of(desk, office) as program:
        assert len(program.sessions()) == 2


def test_cookies_are_for_this_host_only_and_no_script_reads_them(page_of: PageOf) -> None:
    page = page_of()
    page.goto("/login")
    (cookie,) = page.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, "Lax", "/")
    assert page.evaluate("() => document.cookie") == ""


def test_the_list_of_sessions_names_each_and_ends_the_others_everywhere(page_of: PageOf, desk: Desk) -> None:
    office = desk.colleague(OTHER, "staff", c_id="c9000000003")
    mine, theirs = page_of(office, fresh=True), page_of(office, fresh=True)
    theirs.goto("/received")
    with api_of(desk, office) as program:
        assert program.session is not None
        token = program.session.access_token
    mine.goto("/session/list")
    expect(mine.get_by_role("row")).to_have_count(4)
    expect(mine.get_by_text("この端末")).to_have_count(1)
    mine.get_by_role("button", name="ほかをすべてログアウトさせる").click()
    expect(mine.get_by_text("ログアウトさせました")).to_be_visible()
    expect(mine.get_by_role("row")).to_have_count(2)
    theirs.goto("/sent")
    expect(theirs.locator("main")).to_have_attribute("data-screen", "S-01")
    assert httpx.get(f"{desk.url}/v1/counts", headers={"Authorization": f"Bearer {token}"}).status_code == 401
    mine.goto("/sent")
    expect(mine.locator("main")).to_have_attribute("data-screen", "S-14")


def test_a_session_that_the_api_has_ended_is_over_here_too(desk: Desk) -> None:
    office = desk.colleague(OTHER, "staff", c_id="c9000000004")
    cookies = log_in(desk.url, office)
    with api_of(desk, office) as program:
        for session in program.sessions():
            if not session.current:
                program.end_session(session.id)
    answer = httpx.get(f"{desk.url}/received", cookies=cookies)
    assert (answer.status_code, answer.headers["location"]) == (303, "/login?next=/received&ended=1")


# --- other origins --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("what", "headers"),
    [
        ("another site", {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}),
        ("a subdomain", {"Origin": "https://www.portal.example", "Sec-Fetch-Site": "same-site"}),
        ("an old browser on another site", {"Origin": "https://evil.example"}),
        ("a page without an origin", {"Origin": "null"}),
        ("nobody", {}),
        ("a liar about the site", {"Origin": "https://evil.example", "Sec-Fetch-Site": "same-origin"}),
    ],
)
def test_a_post_from_elsewhere_is_refused_even_with_the_proof(desk: Desk, what: str, headers: dict[str, str]) -> None:
    cookies = desk.cookies(ME)
    proof = proof_of(httpx.get(f"{desk.url}/sent", cookies=cookies).text)
    answer = httpx.post(f"{desk.url}/logout", data={"_form": proof}, cookies=cookies, headers=headers)
    assert (what, answer.status_code) == (what, 403)
    assert "E-604" in answer.text
    assert httpx.get(f"{desk.url}/sent", cookies=cookies).status_code == 200


@pytest.mark.parametrize("proof", ["", "rubbish", "ä", "other"])
def test_a_form_without_the_proof_of_this_session_is_refused(desk: Desk, proof: str) -> None:
    cookies = desk.cookies(ME)
    if proof == "other":
        proof = proof_of(httpx.get(f"{desk.url}/sent", cookies=desk.cookies(OTHER)).text)
    with browser_of(desk, cookies) as client:
        assert client.post("/logout", data={"_form": proof}).status_code == 403
        assert client.get("/sent").status_code == 200


def test_a_page_of_the_same_site_cannot_send_our_forms(page_of: PageOf, desk: Desk) -> None:
    """127.0.0.1 on another port is the same site: its pages' requests carry our cookies, as a subdomain's would."""
    page = page_of(ME, fresh=True)
    attack = f'<form method="post" action="{desk.url}/logout"></form><script>document.forms[0].submit()</script>'
    _serve(page, "http://127.0.0.1:9/", attack)
    page.goto("http://127.0.0.1:9/")
    expect(page.get_by_text("E-604")).to_be_visible()
    page.goto(f"{desk.url}/sent")
    expect(page.locator("main")).to_have_attribute("data-screen", "S-14")


def test_no_page_can_be_put_into_a_frame(page_of: PageOf, desk: Desk) -> None:
    page = page_of(ME)
    _serve(page, "http://127.0.0.1:9/", f'<iframe src="{desk.url}/sent"></iframe>')
    page.goto("http://127.0.0.1:9/")
    framed = page.frames[1]
    framed.wait_for_load_state()
    assert "data-screen" not in framed.content()


@pytest.mark.parametrize(
    "wanted",
    [
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "/received\r\nSet-Cookie: a=b",
        "javascript:alert(1)",
    ],
)
def test_the_login_leads_to_pages_of_ours_only(desk: Desk, wanted: str) -> None:
    office = desk.office(ME)
    with browser_of(desk) as client:
        page = client.get("/login", params={"next": wanted})
        assert 'name="next" value=""' in page.text
        first = {
            "user_id": office.c_id,
            "password": office.c_password,
            "next": wanted,
            "_form": proof_of(page.text),
        }
        assert client.post("/login", data=first).headers["location"] == "/login/office"
        page = client.get("/login/office")
        second = {"user_id": office.kj_id, "password": office.kj_password, "_form": proof_of(page.text)}
        assert client.post("/login/office", data=second).headers["location"] == "/"


# --- what is found out by asking -------------------------------------------------------------------------------------


def test_an_unknown_id_and_a_wrong_password_look_the_same(desk: Desk) -> None:
    known = desk.colleague(OTHER, "staff", c_id="c9000000005").c_id
    pages = set()
    for typed in (known, "c9999999999"):
        with browser_of(desk) as client:
            page = client.get("/login")
            pair = {"user_id": typed, "password": "wrong", "_form": proof_of(page.text)}
            answer = client.post("/login", data=pair)
            told = re.sub(r'name="_form" value="[^"]+"', "", answer.text.replace(typed, "ID"))
            pages.add((answer.status_code, told, tuple(sorted(answer.headers.keys()))))
    assert len(pages) == 1


def test_an_office_that_is_not_one_s_own_and_a_wrong_password_look_the_same(desk: Desk) -> None:
    office, other = desk.office(ME), desk.office(OTHER)
    pages = set()
    with browser_of(desk) as client:
        page = client.get("/login")
        first = {"user_id": office.c_id, "password": office.c_password, "_form": proof_of(page.text)}
        client.post("/login", data=first)
        for typed, password in ((other.kj_id, other.kj_password), (office.kj_id, "wrong"), ("KJ999999999999", "wrong")):
            page = client.get("/login/office")
            pair = {"user_id": typed, "password": password, "_form": proof_of(page.text)}
            answer = client.post("/login/office", data=pair)
            pages.add((answer.status_code, answer.text.replace(typed, "ID")))
    assert len(pages) == 1


# --- what partners write ---------------------------------------------------------------------------------------------


def test_what_another_office_writes_is_text_and_nothing_else(page_of: PageOf, desk: Desk) -> None:
    with api_of(desk, desk.office(ME)) as sender:
        sent = sender.send(OTHER, text=NASTY, files=[Upload("実績&lt;b&gt;'報告'.pdf", empty_pdf())])
        until = 0
        while sender.message(sent.message_id).status != "delivered":
            sender.sent(wait_for=f"{sent.message_id}:delivered")
            until += 1
            assert until < 20, "it does not arrive"
    for number, place in ((ME, "/sent"), (OTHER, "/received")):
        page = page_of(number)
        watch = Watch(page)
        page.goto(place)
        row = page.get_by_role("row").filter(has_text="<script>").first
        expect(row).to_be_visible()
        assert "HACKED" not in page.title()
        assert watch.complaints == []
        assert page.locator("td img, td script").count() == 0


def _serve(page: Page, address: str, text: str) -> None:
    def answer(route: Route) -> None:
        route.fulfill(body=f"<!DOCTYPE html><title>x</title>{text}", content_type="text/html")

    page.route(address, answer)
