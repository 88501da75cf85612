"""A clerk's browser: logins, pages, and what is asked of every page."""

import asyncio
import hashlib
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
from playwright.sync_api import Browser, BrowserContext, Page, Response

from services.ground import DATABASE
from tests.spine.product import Product
from todoke import engines
from todoke.relay.postgres import administrator

CHROMIUM = "/usr/bin/chromium"
SWITCHES = [
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--hide-scrollbars",
]
AXE = Path(__file__).parents[2] / "services/portal/static_src/node_modules/axe-core/axe.min.js"
AXE_TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
HEIGHTS = {820: 1180, 1366: 768, 1920: 1080}
SECONDS_MAX = 15_000
"""How long a test waits for anything on a page (ms)."""


@dataclass(frozen=True)
class Office:
    """A practice office with its logins."""

    number: str
    name: str
    c_id: str
    c_password: str
    kj_id: str
    kj_password: str


class Desk:
    """The offices of one running product, and browsers that are logged in to them."""

    def __init__(self, product: Product, browser: Browser) -> None:
        self.url = product.address
        self.product = product
        self._browser = browser
        self._cookies: dict[str, dict[str, str]] = {}

    def office(self, number: str) -> Office:
        """A practice office by its number."""
        one = next(each for each in self.product.demo["offices"] if each["number"] == number)
        fields = ("number", "name", "c_id", "c_password", "kj_id", "kj_password")
        return Office(**{name: one[name] for name in fields})

    def cookies(self, who: str | Office, *, fresh: bool = False) -> dict[str, str]:
        """The session cookie of an office (or of a colleague): once for all tests that do not end it."""
        office = self.office(who) if isinstance(who, str) else who
        if fresh or office.c_id not in self._cookies:
            made = log_in(self.url, office)
            if fresh:
                return made
            self._cookies[office.c_id] = made
        return self._cookies[office.c_id]

    def sql(self, statement: str, *values: object) -> list[Any]:
        """A statement as the database's administrator: what no screen can do yet, or what only time would do."""

        async def run() -> list[Any]:
            dsn = urlsplit(engines.addresses(self.product.home).postgres)._replace(path=f"/{DATABASE}").geturl()
            async with administrator(dsn) as db:
                return list(await db.fetch(statement, *values))

        with ThreadPoolExecutor(1) as thread:  # Playwright's own loop runs in this one
            return thread.submit(asyncio.run, run()).result()

    def age(self, cookie: str, minutes: int) -> None:
        """Let a session have been idle for so long."""
        self.sql(
            "UPDATE portal.web_session SET used_at = used_at - make_interval(mins => $2) WHERE hash = $1",
            hashlib.sha256(cookie.encode()).digest(),
            minutes,
        )

    def colleague(self, number: str, *roles: str, c_id: str, must_change: bool = False) -> Office:
        """A further person of an office, with the same password as its first one; may be asked for again."""
        office = self.office(number)
        self.sql(
            "INSERT INTO registry.person (id, name, password_hash, must_change, password_changed_at, created_at) "
            "SELECT $2, '練習 ' || $2, password_hash, $3, now(), now() FROM registry.person WHERE id = $1 "
            "ON CONFLICT (id) DO UPDATE SET password_hash = excluded.password_hash, must_change = $3",
            office.c_id,
            c_id,
            must_change,
        )
        self.sql(
            "INSERT INTO registry.membership (user_id, office, roles, version, changed_at) "
            "VALUES ($1, $2, $3, 1, now()) ON CONFLICT DO NOTHING",
            c_id,
            number,
            list(roles),
        )
        return replace(office, c_id=c_id)

    @contextmanager
    def context(
        self,
        *,
        js: bool = True,
        width: int = 1366,
        cookies: dict[str, str] | None = None,
        base: str | None = None,
        **options: Any,
    ) -> Iterator[BrowserContext]:
        """A browser of its own: no cookie, cache or page of another test. `base`: another listener than the public."""
        context = self._browser.new_context(
            base_url=base or self.url,
            java_script_enabled=js,
            viewport={"width": width, "height": HEIGHTS[width]},
            locale="ja-JP",
            timezone_id="Asia/Tokyo",
            **options,
        )
        context.set_default_timeout(SECONDS_MAX)
        for name, value in (cookies or {}).items():
            context.add_cookies([{"name": name, "value": value, "url": self.url}])
        try:
            yield context
        finally:
            context.close()


def log_in(url: str, office: Office, cookies: dict[str, str] | None = None) -> dict[str, str]:
    """Both steps of the login over plain HTTP, as a browser without JavaScript does them; answers the cookies."""
    headers = {"Origin": url, "Sec-Fetch-Site": "same-origin"}
    with httpx.Client(base_url=url, headers=headers, cookies=cookies, timeout=30) as client:
        page = client.get("/login")
        first = {"user_id": office.c_id, "password": office.c_password, "_form": proof_of(page.text)}
        assert client.post("/login", data=first).status_code == 303
        page = client.get("/login/office")
        second = {"user_id": office.kj_id, "password": office.kj_password, "_form": proof_of(page.text)}
        answer = client.post("/login/office", data=second)
        assert answer.status_code == 303
        return {name: value for name, value in answer.cookies.items() if name.endswith("-office")}


def proof_of(text: str) -> str:
    """The hidden proof of a page's forms."""
    found = re.search(r'name="_form" value="([^"]+)"', text)
    assert found is not None
    return found[1]


def type_login(page: Page, office: Office) -> None:
    """Both steps of the login, typed."""
    page.goto("/login")
    type_steps(page, office)
    page.locator("main[data-screen=S-10]").wait_for()


def type_steps(page: Page, office: Office) -> None:
    """Both steps, where the page is."""
    page.get_by_label("ユーザID").fill(office.c_id)
    page.get_by_label("パスワード").fill(office.c_password)
    page.get_by_role("button", name="ログイン").click()
    page.get_by_role("heading", name="事業所ユーザログイン").wait_for()
    page.get_by_label("ユーザID").fill(office.kj_id)
    page.get_by_label("パスワード").fill(office.kj_password)
    page.get_by_role("button", name="ログイン").click()


def violations(page: Page) -> list[str]:
    """What axe (WCAG 2.2 A and AA, best practice) finds on the page as it is now."""
    if not page.evaluate("() => 'axe' in window"):
        page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("tags => axe.run(document, {runOnly: tags})", AXE_TAGS)
    return [f"{each['id']}: {node['html'][:200]}" for each in found["violations"] for node in each["nodes"]]


def scrolls_sideways(page: Page) -> bool:
    """Whether the page itself (not a table inside it) can be scrolled sideways."""
    return bool(page.evaluate("() => document.documentElement.scrollWidth > document.documentElement.clientWidth"))


class Watch:
    """Everything that a page loads, says and stumbles over."""

    def __init__(self, page: Page) -> None:
        self.responses: list[Response] = []
        self.complaints: list[str] = []
        page.on("response", lambda response: self.responses.append(response))  # noqa: PLW0108 (it cannot hold a built-in)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda said: self.complaints.append(said.text) if said.type == "error" else None)

    def strangers(self, url: str) -> list[str]:
        """What came from another origin than this one."""
        return [each.url for each in self.responses if not each.url.startswith((url, "data:", "blob:"))]
