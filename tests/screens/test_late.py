"""S-00.8: what was typed into a form is there again after the login, when the session had ended meanwhile."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.screens import test_console
from tests.screens.browsing import Desk, Office, proof_of
from tests.screens.conftest import PageOf
from tests.screens.operating import Operators
from tests.screens.rules import fits
from tests.screens.test_usage import site_of
from todoke.client import Client
from todoke.client.ops_shapes import NewNotice, Word

MINUTES = 60_000
SETTLED = "9970100216"
TOLD = "ログインが切れる前に入力したものです。"


@dataclass(frozen=True)
class Form:
    """A form: its site and address, what is typed by label, what is ticked."""

    kind: str
    place: str
    typed: dict[str, str]
    ticked: tuple[str, ...] = field(default=())

    def fill_in(self, page: Page) -> None:
        """Type it."""
        for label, text in self.typed.items():
            page.get_by_label(label, exact=True).fill(text)
        for label in self.ticked:
            page.get_by_label(label).check()

    def is_there(self, page: Page) -> None:
        """The form, and all that was typed."""
        expect(page.get_by_text(TOLD)).to_be_visible()
        for label, text in self.typed.items():
            expect(page.get_by_label(label, exact=True)).to_have_value(text)
        for label in self.ticked:
            expect(page.get_by_label(label)).to_be_checked()


WORD = {"理由 必須": "画面の試験", "チケット番号 必須": "OPS-8"}
FORMS = {
    "S-05": Form(
        "usage",
        "/usage/apply?kind=new",
        {"担当者名 必須": "響 秋子", "メールアドレス 必須": "akiko@example.jp"},
        ("利用規約に同意します",),
    ),
    "S-75": Form(
        "operator",
        "/operator/offices/new",
        {"事業所番号 必須": "9912345678", "事業所名 必須": "みずうみ訪問介護", "住所": "練習県青空市1番", **WORD},
        ("11: 訪問介護", "15: 通所介護"),
    ),
    "S-77": Form(
        "operator",
        "/operator/notices/new",
        {"件名 必須": "点検のお知らせ", "本文 必須": "点検をします。\n<b>2行目</b>", **WORD},
        ("都道府県を選ぶ（下の表）", "練習県", "重要（開くまで未読の印が付きます）"),
    ),
}


@dataclass
class Sites:
    """Both sites' logins, in one browser."""

    desk: Desk
    office: Office
    other: Office

    def log_in(self, page: Page, kind: str) -> None:
        """As the office, or as the operator: at the login that the page shows, else at the site's."""
        if kind == "usage":
            self._typed(page, "/usage/login", self.office.kj_id, self.office.kj_password)
        else:
            test_console.log_in(page, self.desk)

    def again(self, page: Page, kind: str) -> None:
        """The same, at the login that one was led to."""
        expect(page.get_by_text("E-114")).to_be_visible()
        if kind == "usage":
            self._typed(page, None, self.office.kj_id, self.office.kj_password)
        else:
            test_console.log_in(page, self.desk, place=None)

    def _typed(self, page: Page, place: str | None, user: str, password: str) -> None:
        if place is not None:
            page.goto(place)
        page.get_by_label("ユーザID").fill(user)
        page.get_by_label("パスワード").fill(password)
        page.get_by_role("button", name="ログイン", exact=True).click()

    def address(self, form: Form) -> str:
        """Where the form is."""
        known = self.desk.product.demo["operator"]
        return (known["url"] if form.kind == "operator" else self.desk.url) + form.place


@pytest.fixture(scope="module")
def sites(desk: Desk, operators: Operators) -> Sites:
    return Sites(desk, operators.settled(), operators.settled())


def idle(page: Page, desk: Desk, kind: str) -> None:
    """Half an hour without a use."""
    desk.age(cookie_of(page, kind), 31)


def cookie_of(page: Page, kind: str) -> str:
    return next(each["value"] for each in page.context.cookies() if each["name"].endswith(f"-{kind}"))


@pytest.mark.parametrize(("screen", "form"), FORMS.items(), ids=FORMS)
def test_s00_8_a_page_that_was_left_alone_keeps_what_was_typed(
    page_of: PageOf,
    sites: Sites,
    axe: Callable[[Page], None],
    shot: Callable[[Page, str], None],
    screen: str,
    form: Form,
) -> None:
    """With JavaScript the page itself goes to the login at the end of the session, and takes along what was typed."""
    page = page_of()
    sites.log_in(page, form.kind)
    expect(page.locator("main")).not_to_have_attribute("data-screen", re.compile("S-03|S-70"))
    page.clock.install()
    page.goto(sites.address(form))
    form.fill_in(page)
    idle(page, sites.desk, form.kind)
    page.clock.fast_forward(31 * MINUTES)
    sites.again(page, form.kind)
    expect(page.locator("main")).to_have_attribute("data-screen", screen)
    form.is_there(page)
    fits(page)
    axe(page)
    shot(page, f"{screen}-late")


@pytest.mark.parametrize(("screen", "form"), FORMS.items(), ids=FORMS)
def test_s00_8_a_form_that_is_sent_too_late_is_shown_again(
    page_of: PageOf, sites: Sites, screen: str, form: Form
) -> None:
    """Without JavaScript, from the page of the form and from the one that asks whether all is right."""
    page = page_of(js=False)
    sites.log_in(page, form.kind)
    page.goto(sites.address(form))
    form.fill_in(page)
    idle(page, sites.desk, form.kind)
    page.get_by_role("button", name="確認").click()
    sites.again(page, form.kind)
    expect(page.locator("main")).to_have_attribute("data-screen", screen)
    form.is_there(page)
    page.get_by_role("button", name="確認").click()
    idle(page, sites.desk, form.kind)
    page.get_by_role("button", name=re.compile("申請する|登録する|お知らせを出す")).click()
    sites.again(page, form.kind)
    form.is_there(page)


def test_s00_8_a_session_that_was_ended_elsewhere_loses_nothing_either(page_of: PageOf, sites: Sites) -> None:
    """The portal does not know of it before it asks the API; nothing is applied for by the form that came too late."""
    form, office, page = FORMS["S-05"], sites.office, page_of()
    sites.log_in(page, form.kind)
    page.get_by_role("link", name="利用申請", exact=True).click()
    form.fill_in(page)
    page.get_by_role("button", name="確認").click()
    with Client(sites.desk.url) as other:
        other.login_usage(office.kj_id, office.kj_password)
        for session in other.sessions():
            if not session.current:
                other.end_session(session.id)
        page.get_by_role("button", name="申請する").click()
        sites.again(page, form.kind)
        form.is_there(page)
        assert other.own_office().application is None


@pytest.mark.parametrize("js", [True, False], ids=["left-alone", "sent-too-late"])
@pytest.mark.parametrize("asked", ["suspend", "letter", "withdraw"])
def test_s00_8_why_an_operator_does_something_is_not_typed_twice(
    page_of: PageOf, sites: Sites, operators: Operators, asked: str, *, js: bool
) -> None:
    """Nothing was done by the form that came too late: no letter was made, nobody was suspended, nothing withdrawn."""
    place, panel, summary, button = {
        "suspend": (f"/operator/offices/{SETTLED}", "登録されている内容", "休止する", "休止する"),
        "letter": (f"/operator/offices/{sites.office.number}", "電子請求登録結果", "作り直す", "作り直して取り出す"),
        "withdraw": (_notice_of(operators), "取り下げ", "取り下げる", "取り下げる"),
    }[asked]
    page = page_of(js=js)
    sites.log_in(page, "operator")
    expect(page.locator("main")).not_to_have_attribute("data-screen", "S-70")
    if js:
        page.clock.install()
    page.goto(sites.desk.product.demo["operator"]["url"] + place)
    form = page.get_by_role("region", name=panel)
    form.get_by_text(summary).first.click()
    test_console.say_why(page, panel)
    idle(page, sites.desk, "operator")
    if js:
        page.clock.fast_forward(31 * MINUTES)
    else:
        form.get_by_role("button", name=button).click()
    sites.again(page, "operator")
    expect(page.get_by_text(TOLD)).to_be_visible()
    expect(form.get_by_label("理由").locator("visible=true")).to_have_value("画面の試験")
    expect(form.get_by_label("チケット番号").locator("visible=true")).to_have_value("OPS-74")
    expect(form.get_by_role("button", name=button)).to_be_visible()


def _notice_of(operators: Operators) -> str:
    notice = NewNotice(title="点検のお知らせ", text="点検をします。")
    made = operators.client.publish_notice(operators.token, notice, Word(reason="画面の試験", ticket="OPS-8"))
    return f"/operator/notices/{made.id}"


def test_s00_8_another_login_in_the_same_browser_sees_nothing_of_it(desk: Desk, sites: Sites) -> None:
    """Its writer does. A form without its proof is kept for nobody."""
    written = {"kind": "new", "contact_name": "響 冬子", "mail": "fuyuko@example.jp"}
    with site_of(desk, sites.office) as client:
        proof = proof_of(client.get("/usage/apply?kind=new").text)
        [cookie] = [value for name, value in client.cookies.items() if name.endswith("-usage")]
        desk.age(cookie, 31)
        unproven = client.post("/usage/apply", data={**written, "_form": "AAAA"})
        assert unproven.headers["location"] == "/usage/login?ended=1"
        led = client.post("/usage/apply", data={**written, "_form": proof}).headers["location"]
        [form] = parse_qs(urlsplit(led).query)["next"]
        assert re.fullmatch(r"/usage/apply\?late=[0-9a-f-]{36}", form)
        assert "響" not in led
        for office, is_shown in ((sites.other, False), (sites.office, True)):
            assert log_in(client, office, led) == form
            page = client.get(form)
            assert (page.status_code, 'data-screen="S-05"' in page.text) == (200, True)
            assert [text in page.text for text in ("響 冬子", "fuyuko@example.jp", TOLD)] == [is_shown] * 3


def log_in(client: httpx.Client, office: Office, led: str) -> str:
    """At the login that one was led to; answers where it leads."""
    form = {"user_id": office.kj_id, "password": office.kj_password, "next": parse_qs(urlsplit(led).query)["next"][0]}
    return client.post("/usage/login", data={**form, "_form": proof_of(client.get(led).text)}).headers["location"]
