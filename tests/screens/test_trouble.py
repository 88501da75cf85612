"""S-39: errors as pages, in the browser."""

import hashlib
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.screens.browsing import Desk, scrolls_sideways
from tests.screens.conftest import PageOf

OFFICE = "9900100015"

Axe = Callable[[Page], None]
Shot = Callable[[Page, str], None]


def test_s39_1_a_mistake_of_ours_shows_a_number_that_is_in_the_log_and_nothing_of_the_inside(
    page_of: PageOf, desk: Desk, axe: Axe, shot: Shot
) -> None:
    page = page_of(OFFICE, fresh=True)
    cookie = next(each["value"] for each in page.context.cookies() if each["name"] == "todoke-office")
    desk.sql("UPDATE portal.web_session SET sealed = '\\x00' WHERE hash = $1", hashlib.sha256(cookie.encode()).digest())
    answer = page.goto("/received")
    assert answer is not None
    assert answer.status == 500
    expect(page.get_by_text("E-699")).to_be_visible()
    reference = page.locator("#reference").inner_text()
    assert len(reference) == 12
    lines = [
        line
        for line in (desk.product.home / "logs" / "web.log").read_text(encoding="utf-8").splitlines()
        if reference in line
    ]
    assert any('"screen_fails"' in line and "SealBroken" in line for line in lines)
    for inside in ("SealBroken", "Traceback", "services/", ".py"):
        assert inside not in page.content()
    axe(page)
    shot(page, "S-39-trouble")


@pytest.mark.parametrize("width", [820, 1366])
def test_s39_an_address_that_is_none_leads_back(page_of: PageOf, axe: Axe, width: int) -> None:
    page = page_of(OFFICE, width=width)
    answer = page.goto("/no/such/page")
    assert answer is not None
    assert answer.status == 404
    assert not scrolls_sideways(page)
    axe(page)
    page.get_by_role("link", name="トップへ戻る").click()
    expect(page.locator("main")).to_have_attribute("data-screen", "S-10")


def test_s39_without_a_line_the_page_keeps_what_was_typed(page_of: PageOf, axe: Axe, shot: Shot) -> None:
    page = page_of()
    page.goto("/login")
    page.get_by_label("ユーザID").fill("c0000000018")
    page.get_by_label("パスワード").fill("whatever")
    page.context.set_offline(offline=True)
    page.get_by_role("button", name="ログイン").click()
    expect(page.get_by_role("alert").filter(has_text="E-608")).to_be_focused()
    expect(page.get_by_label("ユーザID")).to_have_value("c0000000018")
    expect(page.get_by_label("パスワード")).to_have_value("whatever")
    axe(page)
    shot(page, "S-39-offline")
    page.context.set_offline(offline=False)
    expect(page.get_by_role("alert").filter(has_text="E-608")).to_be_hidden()
    page.get_by_role("button", name="ログイン").click()
    expect(page.get_by_text("E-102")).to_be_visible()
