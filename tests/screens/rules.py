"""What is asked of every page: S-00.3, S-00.4, S-00.6, S-D.1 to S-D.3."""

from playwright.sync_api import Page

from tests.screens.browsing import HEIGHTS, Watch, scrolls_sideways, violations

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


def visit(page: Page, place: str, origin: str) -> None:
    """Open a page and hold it to the rules; everything on it comes from `origin`."""
    watch = Watch(page)
    answer = page.goto(place)
    assert answer is not None
    assert answer.headers["content-security-policy"] == CSP
    assert "no-store" in answer.headers["cache-control"]
    keeps_the_rules(page)
    assert watch.strangers(origin) == []
    assert watch.complaints == [] or not answer.ok  # a browser complains of a page that says 404


def keeps_the_rules(page: Page) -> None:
    """The page as it is now, at the width it has."""
    assert page.evaluate(INLINE) == []
    assert page.evaluate(SMALL_TEXT) == []
    assert page.evaluate(SMALL_TARGETS, CONTROLS) == []
    assert not scrolls_sideways(page), page.url
    assert violations(page) == []


def fits(page: Page) -> None:
    """The page as it is now, at every width, and with text of twice the size."""
    for width, height in HEIGHTS.items():
        page.set_viewport_size({"width": width, "height": height})
        keeps_the_rules(page)
        page.evaluate("() => document.documentElement.style.setProperty('font-size', '200%')")
        assert not scrolls_sideways(page), (page.url, width)
        page.evaluate("() => document.documentElement.removeAttribute('style')")
    page.set_viewport_size({"width": 1366, "height": HEIGHTS[1366]})
