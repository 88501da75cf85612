"""S-00: what holds for every page."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page

from tests.screens.browsing import Desk, Watch, scrolls_sideways
from tests.screens.conftest import PageOf

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
CSP = (
    "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data:; object-src 'none'; "
    "base-uri 'none'; frame-ancestors 'none'; form-action 'self'"
)
INLINE = """() => [...document.querySelectorAll('*')].flatMap(each => [
    ...each.getAttributeNames()
        .filter(name => name.startsWith('on') || name === 'style')
        .map(name => each.tagName + ' ' + name),
    ...(['SCRIPT', 'STYLE'].includes(each.tagName) && each.textContent.trim() ? [each.tagName] : []),
])"""
SMALL_TEXT = """() => [...document.querySelectorAll('body *')]
    .filter(each => [...each.childNodes].some(node => node.nodeType === 3 && node.textContent.trim()))
    .filter(each => parseFloat(getComputedStyle(each).fontSize) < 16)
    .map(each => each.tagName + ' ' + each.textContent.trim().slice(0, 40))"""
CONTROLS = "button, input:not([type=hidden]), select, textarea, .td-button, nav a"
SMALL_TARGETS = """controls => [...document.querySelectorAll(controls)]
    .map(each => [each, (each.closest('.td-check, .td-seg label') ?? each).getBoundingClientRect()])
    .filter(([, box]) => box.width > 0 && box.height < 43.5)
    .map(([each, box]) => each.outerHTML.slice(0, 120) + ' ' + box.height)"""


@pytest.mark.parametrize(("screen", "place"), PAGES.items())
def test_s00_every_page_has_the_frame_and_keeps_the_rules(
    page_of: PageOf, desk: Desk, axe: Callable[[Page], None], screen: str, place: str
) -> None:
    """S-00.1 the menu; S-00.3 nothing inline, the CSP; S-00.4 axe; S-D.1, S-D.2 sizes; S-D.3 one origin."""
    page = page_of(MANAGER)
    watch = Watch(page)
    answer = page.goto(place)
    assert page.locator("main").get_attribute("data-screen") == screen
    menu = page.get_by_role("navigation", name="メインメニュー").get_by_role("listitem")
    assert [text.split("\n")[0] for text in menu.all_inner_texts()] == MENU
    assert answer is not None
    assert answer.headers["content-security-policy"] == CSP
    assert page.evaluate(INLINE) == []
    assert page.evaluate(SMALL_TEXT) == []
    assert page.evaluate(SMALL_TARGETS, CONTROLS) == []
    axe(page)
    assert watch.strangers(desk.url) == []
    assert watch.complaints == []


@pytest.mark.parametrize(("screen", "place"), {"S-01": "/login", "S-09": "/logged-out", "S-39": "/nowhere"}.items())
def test_s00_pages_before_the_login_keep_the_rules_too(
    page_of: PageOf, desk: Desk, axe: Callable[[Page], None], screen: str, place: str
) -> None:
    page = page_of()
    watch = Watch(page)
    answer = page.goto(place)
    assert page.locator("main").get_attribute("data-screen") == screen
    assert answer is not None
    assert answer.headers["content-security-policy"] == CSP
    assert page.evaluate(INLINE) == []
    assert page.evaluate(SMALL_TEXT) == []
    assert page.evaluate(SMALL_TARGETS, CONTROLS) == []
    axe(page)
    assert watch.strangers(desk.url) == []


@pytest.mark.parametrize("width", [820, 1366, 1920])
def test_s00_6_no_page_scrolls_sideways(page_of: PageOf, width: int) -> None:
    page = page_of(MANAGER, width=width)
    for place in ("/login", *PAGES.values()):
        page.goto(place)
        assert not scrolls_sideways(page), place
