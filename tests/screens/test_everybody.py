"""S-00.5, S-00.6, S-D.4, 7.2, 7.5: with the keyboard only, with large text, in forced colours, on paper."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.screens.browsing import Desk, scrolls_sideways
from tests.screens.conftest import PageOf
from tests.screens.papers import RENTAL, plan, sheet
from tests.screens.test_frame import PAGES

OFFICE = "9970100018"
STEPS_MAX = 400
"""A page of fifty rows has up to six places each."""

WIDE = """() => [...document.querySelectorAll('body *')]
    .filter(each => each.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
    .filter(each => !each.closest('.td-scroll, .td-hide'))
    .map(each => each.outerHTML.slice(0, 160))"""
"""What stands out of the page to the right."""

REACHABLE = """() => new Set([...document.querySelectorAll('a[href], button, input, select, textarea, summary')]
    .filter(each => each.checkVisibility({visibilityProperty: true}) && each.getClientRects().length && !each.disabled)
    .map(each => each.type === 'radio' ? each.name : each)).size"""
"""How many places Tab must reach: what is disabled is none, the choices of one question are one."""

HIDDEN_FOCUS = """() => {
    const focused = document.activeElement;
    const box = focused.getBoundingClientRect();
    const seen = document.elementFromPoint(box.x + box.width / 2, box.y + Math.min(box.height, 40) / 2);
    const drawn = getComputedStyle(focused);
    const ring = parseFloat(drawn.outlineWidth) >= 2 && drawn.outlineStyle !== 'none';
    const shown = seen !== null && (focused.contains(seen) || seen.contains(focused) || seen.tagName === 'LABEL');
    return shown && ring ? '' : `${focused.outerHTML.slice(0, 100)} shown ${shown} ring ${ring}`;
}"""


def walk(page: Page) -> list[str]:
    """Every element that Tab reaches, in its order; each must be seen while it has the focus."""
    reached: list[str] = []
    for _ in range(STEPS_MAX):
        page.keyboard.press("Tab")
        where = page.evaluate("() => document.activeElement === document.body ? '' : document.activeElement.outerHTML")
        if where == "" or (reached and where == reached[0]):
            break
        reached.append(where)
        assert page.evaluate(HIDDEN_FOCUS) == ""
    return reached


@pytest.mark.parametrize("place", PAGES.values())
def test_s00_5_tab_reaches_everything_and_what_has_the_focus_is_seen(page_of: PageOf, place: str) -> None:
    page = page_of(OFFICE)
    page.goto(place)
    reached = walk(page)
    assert "本文へ進む" in reached[0]
    assert len(reached) >= page.evaluate(REACHABLE)


def test_s00_5_the_login_and_the_logout_need_no_mouse(page_of: PageOf, desk: Desk) -> None:
    office, page = desk.office(OFFICE), page_of()
    page.goto("/login")
    for user, password in ((office.c_id, office.c_password), (office.kj_id, office.kj_password)):
        expect(page.get_by_label("ユーザID")).to_be_focused()
        page.keyboard.type(user)
        page.keyboard.press("Tab")
        page.keyboard.type(password)
        page.keyboard.press("Enter")
        page.wait_for_load_state()
    expect(page.locator("main")).to_have_attribute("data-screen", "S-10")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    page.get_by_role("button", name="ログアウト").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="ログアウトしました")).to_be_visible()


@pytest.mark.parametrize("width", [820, 1366])
def test_text_of_twice_the_size_loses_nothing(page_of: PageOf, width: int, axe: Callable[[Page], None]) -> None:
    page = page_of(OFFICE, width=width)
    sheet(page, *plan(), *plan(RENTAL))  # a page of rows, with the longest names there are
    for place in ("/login", *PAGES.values()):
        page.goto(place)
        page.evaluate("() => document.documentElement.style.setProperty('font-size', '200%')")
        assert not scrolls_sideways(page), (place, page.evaluate(WIDE))
        cut = page.evaluate(
            """() => [...document.querySelectorAll('h1, h2, p, label, button, .td-nav a')]
                .filter(each => !each.closest('.td-hide, dialog:not([open])') && !each.matches('.td-hide'))
                .filter(each => each.scrollWidth > each.clientWidth + 1)
                .filter(each => getComputedStyle(each).overflow !== 'visible')
                .map(each => each.outerHTML.slice(0, 100))"""
        )
        assert cut == [], place
    axe(page)


def test_sd_4_forced_colours_leave_focus_and_states_apart(page_of: PageOf) -> None:
    page = page_of(OFFICE, forced_colors="active")
    page.goto("/login")
    page.get_by_label("ユーザID").focus()
    assert page.evaluate("() => getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.goto("/")
    borders = page.locator(".td-banner, .td-button, .td-chip").evaluate_all(
        "all => all.map(each => getComputedStyle(each).borderStyle)"
    )
    assert borders
    assert set(borders) == {"solid"}
    current = page.locator(".td-nav [aria-current]")
    assert current.evaluate("each => getComputedStyle(each).borderBottomColor") != page.locator(
        ".td-nav a:not([aria-current])"
    ).first.evaluate("each => getComputedStyle(each).borderBottomColor")


def test_paper_shows_the_list_and_none_of_the_bars(page_of: PageOf) -> None:
    page = page_of(OFFICE)
    page.goto("/received")
    page.emulate_media(media="print")
    for bar in (".td-head", ".td-foot", ".td-skip"):
        expect(page.locator(bar)).to_be_hidden()
    expect(page.get_by_role("heading", name="受信一覧")).to_be_visible()
    assert page.pdf().startswith(b"%PDF-")
