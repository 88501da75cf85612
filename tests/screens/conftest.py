"""One product, one browser for all tests of the screens; a context of its own for each."""

import os
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Error, Page, sync_playwright

from tests.screens.browsing import CHROMIUM, SWITCHES, Desk, Office, violations
from tests.screens.operating import Operators, console
from tests.screens.posting import Post
from tests.spine.product import Product

pytest.register_assert_rewrite("tests.screens.rules")

PICTURES = Path(__file__).parents[2] / "docs" / "screens"
SECONDS_MAX = 120
"""A page on a busy machine; the first test also waits for the product."""

PASSWORD_DAYS = 3650
SETTINGS = {"TODOKE_REGISTRY__PASSWORD_DAYS": str(PASSWORD_DAYS)}
"""Passwords expire, though only those that a test makes old enough."""

PageOf = Callable[..., Page]
OPEN_PAGES = pytest.StashKey[list[Page]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--pictures", action="store_true", help="write a picture of each screen to docs/screens")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A whole product and a browser start slowly on a busy machine."""
    for item in items:
        if "tests/screens/" in str(item.path):
            item.add_marker(pytest.mark.long)
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(SECONDS_MAX))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that failed shows what its pages showed."""
    report = yield
    if report.failed and call.when == "call":
        for page in item.stash.get(OPEN_PAGES, []):
            try:
                report.sections.append((f"the page at {page.url}", page.locator("body").aria_snapshot(timeout=1000)))
            except Error as gone:
                report.sections.append((f"the page at {page.url}", gone.message))
    return report


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """`todoke up --demo`, running.

    `TODOKE_SCREENS_HOME` names one that runs already with `SETTINGS`, on `TODOKE_SCREENS_PORT`.
    """
    running = os.environ.get("TODOKE_SCREENS_HOME")
    if running:
        yield Product(Path(running), port=int(os.environ["TODOKE_SCREENS_PORT"]))
        return
    made = Product(tmp_path_factory.mktemp("screens") / "home", settings=SETTINGS)
    try:
        made.start()
        yield made
    finally:
        made.end()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The system's Chromium (`make browser`), without a window."""
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
        yield made
        made.close()


@pytest.fixture(scope="session")
def desk(stack: Product, browser: Browser) -> Desk:
    """Logins and browsers of the running product."""
    return Desk(stack, browser)


@pytest.fixture(scope="session")
def post(desk: Desk) -> Iterator[Post]:
    """Messages between the practice offices."""
    with Post(desk) as made:
        yield made


@pytest.fixture(scope="session")
def operators(desk: Desk) -> Iterator[Operators]:
    """An operator who is logged in."""
    made = Operators.logged_in(desk)
    with made.client:
        yield made


@pytest.fixture
def page_of(request: pytest.FixtureRequest, desk: Desk) -> Iterator[PageOf]:
    """`page_of(office)`: a page of a browser of its own, logged in as this office or colleague (None: as nobody).

    `fresh` makes a session that the test may end; otherwise tests share one per office. `js`, `width` and whatever
    Playwright's `new_context` takes go to the browser.
    """
    pages = request.node.stash[OPEN_PAGES] = []
    with ExitStack() as open_browsers:

        def page_of(office: str | Office | None = None, *, fresh: bool = False, **options: object) -> Page:
            cookies = desk.cookies(office, fresh=fresh) if office is not None else None
            context = open_browsers.enter_context(desk.context(cookies=cookies, **options))  # type: ignore[arg-type]
            pages.append(context.new_page())
            return pages[-1]

        yield page_of


@pytest.fixture(scope="session")
def console_cookies(desk: Desk) -> dict[str, str]:
    """A session of the operators' console, for all tests that do not end it."""
    with console(desk) as client:
        return dict(client.cookies.items())


@pytest.fixture
def console_of(page_of: PageOf, desk: Desk, console_cookies: dict[str, str]) -> PageOf:
    """`console_of()`: a page that is logged in to the console; options as `page_of`."""

    def console_of(**options: object) -> Page:
        page = page_of(base=desk.product.demo["operator"]["url"], **options)
        for name, value in console_cookies.items():
            page.context.add_cookies([{"name": name, "value": value, "url": desk.url}])
        return page

    return console_of


@pytest.fixture
def axe() -> Callable[[Page], None]:
    """`axe(page)`: nobody is shut out of the page as it is now."""

    def clean(page: Page) -> None:
        assert violations(page) == []

    return clean


@pytest.fixture
def shot(request: pytest.FixtureRequest) -> Callable[[Page, str], None]:
    """`shot(page, "S-12-received")`: a picture for docs/screens, written by `make screens` only."""

    def take(page: Page, name: str) -> None:
        if request.config.getoption("--pictures", default=False):
            PICTURES.mkdir(parents=True, exist_ok=True)
            page.evaluate("() => document.fonts.ready")
            page.screenshot(path=PICTURES / f"{name}.png", animations="disabled")

    return take
