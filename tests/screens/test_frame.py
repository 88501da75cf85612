"""S-00: what holds for every page."""

import pytest

from tests.screens.browsing import Desk, scrolls_sideways
from tests.screens.conftest import PageOf
from tests.screens.rules import visit

MANAGER = "9970100018"
PAGES = {
    "S-10": "/",
    "S-12": "/received",
    "S-14": "/sent",
    "S-15": "/compose",
    "S-16": "/drafts",
    "S-17": "/bulk",
}
MENU = ["トップ", "受信一覧", "送信一覧", "新規作成", "下書き一覧", "一括送信", "ログアウト"]


@pytest.mark.parametrize(("screen", "place"), PAGES.items())
def test_s00_every_page_has_the_frame_and_keeps_the_rules(page_of: PageOf, desk: Desk, screen: str, place: str) -> None:
    """S-00.1 the menu; S-00.3 nothing inline, the CSP; S-00.4 axe; S-D.1, S-D.2 sizes; S-D.3 one origin."""
    page = page_of(MANAGER)
    visit(page, place, desk.url)
    assert page.locator("main").get_attribute("data-screen") == screen
    menu = page.get_by_role("navigation", name="メインメニュー").get_by_role("listitem")
    assert [text.split("\n")[0] for text in menu.all_inner_texts()] == MENU


@pytest.mark.parametrize(("screen", "place"), {"S-01": "/login", "S-09": "/logged-out", "S-39": "/nowhere"}.items())
def test_s00_pages_before_the_login_keep_the_rules_too(page_of: PageOf, desk: Desk, screen: str, place: str) -> None:
    page = page_of()
    visit(page, place, desk.url)
    assert page.locator("main").get_attribute("data-screen") == screen


@pytest.mark.parametrize("width", [820, 1366, 1920])
def test_s00_6_no_page_scrolls_sideways(page_of: PageOf, width: int) -> None:
    page = page_of(MANAGER, width=width)
    for place in ("/login", *PAGES.values()):
        page.goto(place)
        assert not scrolls_sideways(page), place
