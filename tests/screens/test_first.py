"""S-08: whoever got a temporary password decides on one of their own before anything else."""

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.screens.browsing import Desk, Office, type_steps
from tests.screens.conftest import PASSWORD_DAYS, PageOf
from tests.screens.rules import fits

OFFICE = "9970100414"
NEW = "さくらの花が3月に咲く庭のある家"

Axe = Callable[[Page], None]
Shot = Callable[[Page, str], None]


@pytest.fixture
def newcomer(desk: Desk) -> Iterator[Office]:
    """A person with a temporary password."""
    yield desk.colleague(OFFICE, "admin", c_id="c9000000001", must_change=True)
    desk.sql("UPDATE registry.office_credential SET must_change = false WHERE office = $1", OFFICE)


def log_in(page: Page, office: Office) -> None:
    page.goto("/login")
    type_steps(page, office)


def decide(page: Page, old: str, new: str, again: str | None = None) -> None:
    page.get_by_label("いまのパスワード").fill(old)
    page.get_by_label("新しいパスワード", exact=True).fill(new)
    page.get_by_label("新しいパスワード（もう一度）").fill(new if again is None else again)
    page.get_by_role("button", name="このパスワードに決める").click()


@pytest.mark.parametrize("js", [True, False], ids=["with-js", "without-js"])
def test_s08_1_with_a_temporary_password_no_other_page_can_be_reached(
    page_of: PageOf, newcomer: Office, axe: Axe, shot: Shot, *, js: bool
) -> None:
    """S-02.6 as well: it is shown before anything else."""
    page = page_of(js=js)
    log_in(page, newcomer)
    main = page.locator("main")
    for place in ("/", "/received", "/sent", "/first/mail", "/first/contact"):
        page.goto(place)
        expect(main).to_have_attribute("data-screen", "S-08")
        expect(page.get_by_role("heading", name="新しいパスワードを決める")).to_be_visible()
    if js:
        axe(page)
        shot(page, "S-08-password")
    decide(page, newcomer.c_password, NEW)
    expect(page.get_by_role("heading", name="お知らせの届け先")).to_be_visible()
    if js:
        axe(page)
        shot(page, "S-08-mail")
    page.get_by_label("メールアドレス").fill("haruko@example.jp")
    page.get_by_role("button", name="次へ").click()
    expect(page.get_by_text(newcomer.name)).to_be_visible()
    if js:
        axe(page)
        shot(page, "S-08-contact")
    page.get_by_role("button", name="確かめました").click()
    expect(main).to_have_attribute("data-screen", "S-10")
    expect(page.get_by_text("準備ができました")).to_be_visible()


def test_s02_6_an_expired_password_is_changed_before_anything_else(
    page_of: PageOf, desk: Desk, newcomer: Office, shot: Shot
) -> None:
    """E-106 says when it expired; the office's own, which has not, is not asked for."""
    desk.sql(
        "UPDATE registry.person SET must_change = false, password_changed_at = now() - make_interval(days => $2) "
        "WHERE id = $1",
        newcomer.c_id,
        PASSWORD_DAYS + 40,
    )
    page = page_of()
    log_in(page, newcomer)
    expect(page.locator("main")).to_have_attribute("data-screen", "S-08")
    expect(page.get_by_text("パスワードの有効期限が")).to_be_visible()
    expect(page.get_by_text("E-106")).to_be_visible()
    fits(page)
    shot(page, "S-08-expired")
    decide(page, newcomer.c_password, NEW)
    expect(page.get_by_role("heading", name="お知らせの届け先")).to_be_visible()


def test_s08_2_the_old_password_and_a_short_one_are_refused_with_the_reason(
    page_of: PageOf, newcomer: Office, axe: Axe
) -> None:
    page = page_of()
    log_in(page, newcomer)
    decide(page, newcomer.c_password, newcomer.c_password)
    expect(page.get_by_text("前と同じ")).to_be_visible()
    expect(page.get_by_text("E-108")).to_be_visible()
    expect(page.get_by_label("新しいパスワード", exact=True)).to_be_focused()
    axe(page)
    decide(page, newcomer.c_password, "みじかい")
    expect(page.get_by_text("（短い）")).to_be_visible()
    decide(page, newcomer.c_password, NEW, NEW + "？")
    expect(page.get_by_text("E-115")).to_be_visible()
    decide(page, "ちがうパスワードです", NEW)
    expect(page.get_by_text("いまのパスワードが違います")).to_be_visible()
    expect(page.get_by_label("いまのパスワード")).to_be_focused()


def test_s08_the_office_s_own_temporary_password_is_changed_too(page_of: PageOf, desk: Desk, newcomer: Office) -> None:
    before = desk.sql("SELECT password_hash FROM registry.office_credential WHERE office = $1", OFFICE)[0][0]
    desk.sql("UPDATE registry.office_credential SET must_change = true WHERE office = $1", OFFICE)
    try:
        page = page_of()
        log_in(page, newcomer)
        expect(page.get_by_text("1段目のログインで使うパスワードです")).to_be_visible()
        decide(page, newcomer.c_password, NEW)
        expect(page.get_by_text("2段目のログインで使うパスワードです")).to_be_visible()
        decide(page, newcomer.kj_password, NEW)
        page.get_by_role("link", name="届け先を入れないで次へ進む").click()
        expect(page.get_by_role("heading", name="連絡先の確認")).to_be_visible()
    finally:
        desk.sql("UPDATE registry.office_credential SET password_hash = $2 WHERE office = $1", OFFICE, before)
