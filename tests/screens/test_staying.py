"""How a session ends: the warning, its two buttons, a page that is sent too late, tokens that end meanwhile."""

import re
from collections.abc import Callable

import httpx
from playwright.sync_api import Page, expect

from tests.screens.browsing import Desk, log_in
from tests.screens.conftest import PageOf

OFFICE = "9970100315"
MINUTES = 60_000


def cookie_of(page: Page) -> str:
    return next(each["value"] for each in page.context.cookies() if each["name"] == "todoke-office")


def warned(page: Page, desk: Desk) -> None:
    """A page that nobody has touched for 26 minutes."""
    page.clock.install()
    page.goto("/received")
    desk.age(cookie_of(page), 26)
    page.clock.fast_forward(26 * MINUTES)
    expect(page.get_by_role("dialog", name="まもなく自動でログアウトします（あと4分）")).to_be_visible()


def test_after_25_minutes_a_dialog_warns_and_going_on_keeps_the_session(
    page_of: PageOf, desk: Desk, axe: Callable[[Page], None], shot: Callable[[Page, str], None]
) -> None:
    page = page_of(OFFICE, fresh=True)
    warned(page, desk)
    expect(page.get_by_role("heading", name="まもなく自動でログアウトします")).to_be_focused()
    axe(page)
    shot(page, "S-00-session-dialog")
    page.get_by_role("button", name="続ける").click()
    expect(page.get_by_role("dialog")).to_be_hidden()
    desk.age(cookie_of(page), 5)  # had the button not counted, this would be the end
    page.goto("/sent")
    expect(page.locator("main")).to_have_attribute("data-screen", "S-14")


def test_escape_is_the_harmless_button_and_the_other_one_logs_out(page_of: PageOf, desk: Desk) -> None:
    page = page_of(OFFICE, fresh=True)
    warned(page, desk)
    with page.expect_response("**/session/on"):
        page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    desk.age(cookie_of(page), 26)
    page.clock.fast_forward(26 * MINUTES)
    page.get_by_role("dialog").get_by_role("button", name="ログアウト").click()
    expect(page.get_by_role("heading", name="ログアウトしました")).to_be_visible()


def test_a_tab_in_use_keeps_the_other_tabs_from_warning(page_of: PageOf) -> None:
    page = page_of(OFFICE, fresh=True)
    page.clock.install()
    page.goto("/received")
    with page.expect_response("**/session/left"):
        page.clock.fast_forward(26 * MINUTES)
    expect(page.get_by_role("dialog")).to_be_hidden()


def test_a_session_that_is_over_leads_to_the_login_and_back_to_the_page(page_of: PageOf, desk: Desk) -> None:
    page = page_of(OFFICE, fresh=True)
    warned(page, desk)
    desk.age(cookie_of(page), 10)
    page.clock.fast_forward(5 * MINUTES)
    expect(page.get_by_text("しばらく操作がなかったため、ログアウトしました")).to_be_visible()
    office = desk.office(OFFICE)
    for user, password in ((office.c_id, office.c_password), (office.kj_id, office.kj_password)):
        page.get_by_label("ユーザID").fill(user)
        page.get_by_label("パスワード").fill(password)
        page.get_by_role("button", name="ログイン").click()
    expect(page.locator("main")).to_have_attribute("data-screen", "S-12")


def test_asking_how_long_it_lasts_does_not_make_it_last(desk: Desk) -> None:
    cookies = log_in(desk.url, desk.office(OFFICE))
    desk.age(cookies["todoke-office"], 20)
    with httpx.Client(base_url=desk.url, cookies=cookies) as client:
        assert client.get("/session/left").json()["seconds"] <= 600
        assert client.get("/session/left").json()["seconds"] <= 600
        client.get("/received")
        assert client.get("/session/left").json()["seconds"] > 1700


def test_a_page_that_reads_itself_anew_does_not_make_the_session_last(page_of: PageOf, desk: Desk) -> None:
    page = page_of(OFFICE, fresh=True)
    anything = 'retry: 500\nevent: list-changed\ndata: {"message_id": ""}\n\n'
    page.route(re.compile(r"/live\?"), lambda stream: stream.fulfill(content_type="text/event-stream", body=anything))
    page.goto("/received")
    desk.age(cookie_of(page), 20)
    with page.expect_response(lambda one: one.request.resource_type == "fetch" and one.url.endswith("/received")) as it:
        pass
    assert it.value.ok
    assert page.request.get("/session/left").json()["seconds"] <= 600
    page.reload()  # that was a person
    assert page.request.get("/session/left").json()["seconds"] > 1700
