"""S-00.8 on the pages of an office: what was typed is there again after the login, and nothing was done meanwhile."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from uuid import uuid4

import pytest
from playwright.sync_api import Page, expect

from tests.screens.browsing import Desk, Office, type_steps
from tests.screens.conftest import PageOf
from tests.screens.papers import plan, sheet
from tests.screens.posting import MANAGER, Post
from tests.screens.rules import fits
from tests.screens.test_first import decide
from tests.screens.test_late import MINUTES, idle

TOLD = "ログインが切れる前に入力したもの"

Axe = Callable[[Page], None]
Shot = Callable[[Page, str], None]


@dataclass(frozen=True)
class Writing:
    """A form on a page of an office: how it is opened, what is typed and chosen by label, and the button."""

    opened: Callable[[Page, Post], object]
    typed: Mapping[str, str]
    button: str
    chosen: str | None = None

    def write(self, page: Page) -> dict[str, str]:
        """Type it, each time something else; answers what was typed."""
        words = {label: f"{text} {uuid4().hex[:8]}" for label, text in self.typed.items()}
        for label, text in words.items():
            page.get_by_label(label, exact=True).fill(text)
        if self.chosen:
            page.get_by_label(self.chosen).check()
        return words

    def is_there(self, page: Page, words: Mapping[str, str]) -> None:
        """The form, and all that was typed."""
        expect(page.get_by_text(TOLD)).to_be_visible()
        for label, text in words.items():
            expect(page.get_by_label(label, exact=True)).to_have_value(text)
        if self.chosen:
            expect(page.get_by_label(self.chosen)).to_be_checked()


def _row(page: Page, _: Post) -> None:
    sheet(page, *plan())
    page.get_by_role("button", name="を編集").click()
    expect(page.locator("main")).to_have_attribute("data-screen", "S-18")


FORMS = {
    "S-13": Writing(
        lambda page, post: page.goto(f"/messages/{post.plan()}"),
        {"担当 任意": "例示 夏子", "メモ 任意": "電話で確かめる。"},
        "保存",
    ),
    "S-15": Writing(lambda page, _: page.goto("/compose"), {"メッセージ：": "途中の文"}, "一時保存"),
    "S-18": Writing(_row, {"メッセージ": "行の文"}, "更新"),
    "S-23": Writing(
        lambda page, post: page.goto(f"/messages/{post.plan()}/withdraw"),
        {"わけ・補足 「そのほか」のときは必須": "別の月でした"},
        "取消する",
        "ファイルをまちがえた",
    ),
    "S-08": Writing(lambda page, _: page.goto("/first/mail"), {"メールアドレス 任意": "a@"}, "次へ"),
}


def again(page: Page, office: Office) -> None:
    """Log in at the page that one was led to."""
    expect(page.get_by_text("E-114")).to_be_visible()
    type_steps(page, office)


@pytest.mark.parametrize(("screen", "form"), FORMS.items(), ids=FORMS)
def test_s00_8_a_form_that_is_sent_too_late_is_shown_again(
    page_of: PageOf, desk: Desk, post: Post, screen: str, form: Writing
) -> None:
    """Without JavaScript; nothing has happened by the press that came too late, and the next one does it."""
    page = page_of(MANAGER, fresh=True, js=False)
    form.opened(page, post)
    words = form.write(page)
    idle(page, desk, "office")
    page.get_by_role("button", name=form.button, exact=True).click()
    again(page, desk.office(MANAGER))
    expect(page.locator("main")).to_have_attribute("data-screen", screen)
    form.is_there(page, words)
    if screen != "S-08":
        page.get_by_role("button", name=form.button, exact=True).click()
        expect(page.get_by_text(TOLD)).to_have_count(0)
        expect(page.get_by_text("しました。").first).to_be_visible()


@pytest.mark.parametrize("screen", ["S-13", "S-15", "S-18", "S-23"])
def test_s00_8_a_page_that_was_left_alone_keeps_what_was_typed(
    page_of: PageOf, desk: Desk, post: Post, axe: Axe, shot: Shot, screen: str
) -> None:
    """With JavaScript the page itself goes to the login at the end of the session, and takes along what was typed."""
    page, form = page_of(MANAGER, fresh=True), FORMS[screen]
    page.clock.install()
    form.opened(page, post)
    words = form.write(page)
    idle(page, desk, "office")
    page.clock.fast_forward(31 * MINUTES)
    again(page, desk.office(MANAGER))
    expect(page.locator("main")).to_have_attribute("data-screen", screen)
    form.is_there(page, words)
    fits(page)
    axe(page)
    shot(page, f"{screen}-late")


def test_s00_8_a_message_is_not_taken_back_by_a_dialog_that_was_left_open(
    page_of: PageOf, desk: Desk, post: Post
) -> None:
    page, form, message_id = page_of(MANAGER, fresh=True), FORMS["S-23"], post.plan()
    page.clock.install()
    page.goto(f"/messages/{message_id}")
    page.get_by_role("link", name="取消する").click()
    words = form.write(page)
    idle(page, desk, "office")
    page.clock.fast_forward(31 * MINUTES)
    again(page, desk.office(MANAGER))
    form.is_there(page, words)
    assert post.office(MANAGER).message(message_id).status == "delivered"


def test_s00_8_a_page_in_which_nothing_was_typed_is_simply_there_again(page_of: PageOf, desk: Desk, post: Post) -> None:
    page, message_id = page_of(MANAGER, fresh=True), post.plan()
    page.clock.install()
    page.goto(f"/messages/{message_id}")
    idle(page, desk, "office")
    page.clock.fast_forward(31 * MINUTES)
    again(page, desk.office(MANAGER))
    expect(page).to_have_url(f"{desk.url}/messages/{message_id}")
    expect(page.get_by_text(TOLD)).to_have_count(0)


def test_s00_8_a_colleagues_newer_memo_is_seen_beside_the_one_that_came_too_late(
    page_of: PageOf, desk: Desk, post: Post
) -> None:
    page, form, message_id = page_of(MANAGER, fresh=True, js=False), FORMS["S-13"], post.plan()
    page.goto(f"/messages/{message_id}")
    words = form.write(page)
    other = page_of(MANAGER)
    other.goto(f"/messages/{message_id}")
    other.get_by_label("メモ").fill("先の人")
    other.get_by_role("button", name="保存").click()
    idle(page, desk, "office")
    page.get_by_role("button", name="保存").click()
    again(page, desk.office(MANAGER))
    form.is_there(page, words)
    expect(page.get_by_text("先の人")).to_be_visible()


def test_s00_8_s02_6_a_password_that_must_be_changed_first_keeps_nothing_from_coming_back(
    page_of: PageOf, desk: Desk, post: Post
) -> None:
    person = desk.colleague(MANAGER, "staff", c_id="c9000000088")
    page, form = page_of(person, fresh=True, js=False), FORMS["S-13"]
    form.opened(page, post)
    words = form.write(page)
    idle(page, desk, "office")
    desk.sql("UPDATE registry.person SET must_change = true WHERE id = $1", person.c_id)
    page.get_by_role("button", name="保存").click()
    again(page, person)
    decide(page, person.c_password, "すみれの花が4月に咲く庭のある家")
    page.get_by_role("link", name="届け先を入れないで").click()
    page.get_by_role("button", name="確かめました").click()
    form.is_there(page, words)
