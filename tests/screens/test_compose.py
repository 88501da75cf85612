"""S-15, S-16, S-20: one message while it is written, its drafts, and what is asked before it goes."""

import re
from collections.abc import Callable
from datetime import date, timedelta
from uuid import uuid4

import pytest
from playwright.sync_api import Page, Route, expect

from tests.screens.browsing import Desk
from tests.screens.conftest import PageOf
from tests.screens.operating import Operators
from tests.screens.papers import HELPER, MANAGER, RENTAL, confirm, drop, fresh_sequence, paper, pdf, photo, plan, spoilt

Axe = Callable[[Page], None]
Shot = Callable[[Page, str], None]

CSV, OTHERS = "#csv-files", "#pdf-files"
NUMBER = "送信先事業所番号"


def compose(page: Page) -> None:
    """An empty page of S-15."""
    page.goto("/compose")
    expect(page.locator("main")).to_have_attribute("data-screen", "S-15")


class Waiting:
    """Holds the requests of a route back until the test lets them go."""

    def __init__(self) -> None:
        self._held: list[Route] = []
        self._open = False

    def __call__(self, route: Route) -> None:
        if self._open:
            route.continue_()
        else:
            self._held.append(route)

    def until_asked(self, page: Page) -> None:
        """Until the page has asked for the first time."""
        while not self._held:
            page.wait_for_timeout(20)

    def go_on(self) -> None:
        """Let go what was held, and hold nothing any more."""
        self._open = True
        for route in self._held:
            route.continue_()


def sent_titles(page: Page) -> str:
    """The file names of the sent list's first page."""
    page.goto("/sent")
    return " ".join(page.locator("main [title]").evaluate_all("all => all.map(each => each.title)"))


@pytest.mark.parametrize("js", [True, False], ids=["with-js", "without-js"])
def test_s15_1_s15_7_attachments_and_a_text_are_enough_and_the_draft_is_gone(
    page_of: PageOf, axe: Axe, shot: Shot, *, js: bool
) -> None:
    page, text = page_of(MANAGER, js=js), f"地図をお送りします {uuid4().hex[:8]}"
    compose(page)
    if js:
        axe(page)
    page.get_by_label(NUMBER).fill(HELPER)
    drop(page, [pdf(), photo()], OTHERS)
    expect(page.locator("#pdf .td-filecard")).to_have_count(2)
    page.get_by_label("メッセージ：").fill(text)
    if js:
        expect(page.get_by_role("heading", name="送れます")).to_be_visible()
        axe(page)
        shot(page, "S-15-attachments")
    page.get_by_role("button", name="送信", exact=True).click()
    confirm(page)
    expect(page.get_by_role("heading", name="送信しました")).to_be_visible(timeout=40_000)
    if js:
        axe(page)
        shot(page, "S-15-sent")
    page.goto("/sent")
    row = page.locator("main tbody tr").first
    expect(row).to_contain_text(text)
    expect(row).to_contain_text("未")
    page.goto("/drafts")
    expect(page.get_by_text(text)).to_have_count(0)


def test_s15_2_a_set_fills_in_number_name_and_type(page_of: PageOf) -> None:
    page = page_of(MANAGER)
    compose(page)
    drop(page, plan(HELPER), CSV)
    expect(page.get_by_label(NUMBER)).to_have_value(HELPER)
    expect(page.locator("#office")).to_contain_text("そよかぜ訪問介護センター")
    expect(page.locator("#office")).to_contain_text("11: 訪問介護")
    expect(page.get_by_role("heading", name="送れます")).to_be_visible()
    expect(page.get_by_role("button", name="送信", exact=True)).to_be_enabled()


def test_s15_3_a_missing_file_is_named_and_keeps_the_message_back(page_of: PageOf, axe: Axe) -> None:
    page = page_of(MANAGER)
    compose(page)
    drop(page, plan(HELPER)[:2], CSV)
    expect(page.locator("#findings")).to_contain_text("第7表")
    expect(page.locator("#findings")).to_contain_text("E-204")
    button = page.get_by_role("button", name="送信", exact=True)
    expect(button).to_be_disabled()
    expect(button).to_have_accessible_description("直すところが残っているので送信できません")
    axe(page)


def test_s15_4_a_finding_names_person_form_line_column_value_and_leads_to_the_file(
    page_of: PageOf, axe: Axe, shot: Shot
) -> None:
    page = page_of(MANAGER)
    compose(page)
    drop(page, spoilt(plan(HELPER)), CSV)
    card = page.locator(".td-finding").filter(has_text="第6表").first
    expect(card).to_contain_text("直す")
    expect(card).to_contain_text("様")
    for words in ("列「対象年月」", "値 202513", "やること"):
        expect(card).to_contain_text(words)
    expect(card).to_contain_text(re.compile(r"第6表　\d+行目"))
    axe(page)
    shot(page, "S-15-findings")
    card.get_by_role("link", name="ファイルを見る").click()
    target = page.locator(page.url[page.url.index("#") :].replace("#f-", "[id='f-") + "']")
    expect(target).to_be_in_viewport()
    expect(target).to_contain_text("UPPLAN")
    expect(target).to_have_attribute("data-tone", "stop")


def test_s15_5_the_own_number_is_refused_before_sending(page_of: PageOf, axe: Axe) -> None:
    page = page_of(MANAGER)
    compose(page)
    page.get_by_label("メッセージ：").fill("自分へ")
    page.get_by_label(NUMBER).fill(MANAGER)
    expect(page.locator("#office")).to_contain_text("E-207")
    expect(page.get_by_role("button", name="送信", exact=True)).to_be_disabled()
    axe(page)


def test_s15_5_other_numbers_are_judged_too(page_of: PageOf) -> None:
    page = page_of(MANAGER)
    compose(page)
    page.get_by_label("メッセージ：").fill("だれへ")
    page.get_by_label(NUMBER).fill("9999999999")
    expect(page.locator("#office")).to_contain_text("E-301")
    page.get_by_label(NUMBER).fill(RENTAL)
    expect(page.locator("#office")).to_contain_text("ひだまり福祉用具")
    drop(page, plan(HELPER), CSV)
    expect(page.locator("#findings")).to_contain_text("E-206")


def test_s15_6_s16_1_a_saved_draft_is_listed_for_the_office_exactly_as_it_was(
    page_of: PageOf, axe: Axe, shot: Shot
) -> None:
    page, text = page_of(MANAGER), f"書きかけ <b>{uuid4().hex[:8]}</b>\n二行目"
    compose(page)
    page.get_by_label("メッセージ：").fill(text)
    drop(page, [pdf("＜b＞地図.pdf")], OTHERS)
    page.get_by_label(NUMBER).fill(HELPER)
    page.get_by_role("button", name="一時保存").click()
    expect(page.get_by_text("下書きに保存しました。")).to_be_visible()
    colleague = page_of(MANAGER, fresh=True)
    colleague.goto("/drafts")
    top = colleague.locator("main tbody tr").filter(has_text="書きかけ").first
    expect(top).to_contain_text(text.replace("\n", ""))
    expect(top).to_contain_text("そよかぜ訪問介護センター")
    expect(top).to_contain_text("PDF等")
    axe(colleague)
    shot(colleague, "S-16-drafts")
    top.get_by_role("link", name="編集").click()
    expect(colleague.get_by_label("メッセージ：")).to_have_value(text)
    expect(colleague.get_by_label(NUMBER)).to_have_value(HELPER)
    expect(colleague.locator("#pdf .td-filecard")).to_contain_text("地図")


def test_s15_9_a_wrong_kind_and_a_large_file_are_not_added(page_of: PageOf, axe: Axe) -> None:
    page = page_of(MANAGER)
    compose(page)
    large = paper("大きい.pdf", b"%PDF-1.4" + b"0" * (10 * 1024 * 1024))
    drop(page, [paper("<img src=x onerror=document.title=1>.docx", b"x"), large, pdf()], OTHERS)
    box = page.locator("#said")
    for words in ("<img src=x", "E-208", "PDF・JPEG・PNG", "E-209", "10MB"):
        expect(box).to_contain_text(words)
    expect(page.locator("#pdf .td-filecard")).to_have_count(1)
    assert page.title() == "新規作成｜届け"
    axe(page)


def test_s15_10_a_removed_file_comes_back_and_the_findings_follow(page_of: PageOf) -> None:
    page = page_of(MANAGER)
    compose(page)
    drop(page, plan(HELPER), CSV)
    expect(page.get_by_role("heading", name="送れます")).to_be_visible()
    page.locator("#csv .td-filecard").nth(2).get_by_role("button").click()
    expect(page.locator("#csv .td-filecard")).to_have_count(2)
    expect(page.locator("#findings")).to_contain_text("E-204")
    page.get_by_role("button", name="元に戻す").click()
    expect(page.locator("#csv .td-filecard")).to_have_count(3)
    expect(page.get_by_role("heading", name="送れます")).to_be_visible()


def test_s15_sets_that_are_mixed_can_be_opened_as_a_sheet(page_of: PageOf) -> None:
    page, (one, other) = page_of(MANAGER), (fresh_sequence(), fresh_sequence())
    compose(page)
    drop(page, [*plan(HELPER, one), *plan(RENTAL, other)], CSV)
    expect(page.locator("#findings")).to_contain_text("E-205")
    page.get_by_role("button", name="一括送信で開く").click()
    expect(page.locator("main")).to_have_attribute("data-screen", "S-17")
    for number in (one, other):
        expect(page.locator("main tbody tr").filter(has_text=number)).to_have_count(1)


def test_s15_6_files_and_words_that_come_faster_than_the_server_are_all_kept(page_of: PageOf, axe: Axe) -> None:
    """While a file is under way the clerk drops the next one and goes on writing: nobody else has saved before."""
    page, text, under_way = page_of(MANAGER), f"急いで {uuid4().hex[:8]}", Waiting()
    compose(page)
    page.route(re.compile(r"/files$"), under_way)
    page.locator(CSV).set_input_files(plan(HELPER))
    under_way.until_asked(page)
    page.locator(OTHERS).set_input_files([pdf()])
    page.get_by_label("メッセージ：").fill(text)
    page.wait_for_timeout(400)  # typing is checked after 300 ms
    under_way.go_on()
    expect(page.locator("#pdf .td-filecard")).to_have_count(1)
    expect(page.locator("#csv .td-filecard")).to_have_count(3)
    expect(page.get_by_role("heading", name="送れます")).to_be_visible()
    expect(page.get_by_text("E-404")).to_have_count(0)
    axe(page)
    page.reload()
    expect(page.get_by_label("メッセージ：")).to_have_value(text)


def test_s15_7_a_press_on_send_while_the_check_is_under_way_sends(page_of: PageOf) -> None:
    """The button that was pressed is another one after the check: it is still sending that was meant, not keeping."""
    page, under_way = page_of(MANAGER), Waiting()
    compose(page)
    drop(page, plan(HELPER), CSV)
    expect(page.get_by_role("heading", name="送れます")).to_be_visible()
    page.route(re.compile(r"/check$"), under_way)
    page.get_by_label("メッセージ：").fill(f"すぐに {uuid4().hex[:8]}")
    under_way.until_asked(page)
    page.get_by_role("button", name="送信", exact=True).click()
    under_way.go_on()
    confirm(page)
    expect(page.get_by_role("heading", name="送信しました")).to_be_visible(timeout=40_000)


def test_s16_2_of_two_browsers_the_second_is_told_and_both_versions_stay(page_of: PageOf, axe: Axe, shot: Shot) -> None:
    page, mark = page_of(MANAGER), uuid4().hex[:8]
    compose(page)
    page.get_by_label("メッセージ：").fill(f"はじめ {mark}")
    page.get_by_role("button", name="一時保存").click()
    expect(page.get_by_text("下書きに保存しました。")).to_be_visible()
    other = page_of(MANAGER, fresh=True, js=False)
    other.goto(page.url)
    page.get_by_label("メッセージ：").fill(f"先の文 {mark}")
    page.get_by_role("button", name="一時保存").click()
    expect(page.get_by_text("下書きに保存しました。")).to_be_visible()
    other.get_by_label("メッセージ：").fill(f"あとの文 {mark}")
    other.get_by_role("button", name="一時保存").click()
    expect(other.get_by_text("E-404")).to_be_visible()
    expect(other.get_by_text(f"先の文 {mark}")).to_be_visible()
    shot(other, "S-16-both")
    other.get_by_role("button", name="両方を残す").click()
    expect(other.get_by_text("下書きに保存しました。")).to_be_visible()
    other.goto("/drafts")
    for text in ("先の文", "あとの文"):
        expect(other.get_by_text(f"{text} {mark}")).to_have_count(1)
    page.goto("/drafts")
    axe(page)


@pytest.mark.parametrize("days", [3, 40], ids=["fetching", "reading"])
def test_s16_3_drafts_stay_readable_after_the_licence(
    page_of: PageOf, operators: Operators, axe: Axe, days: int
) -> None:
    """While one may still fetch, and when one may only read; of certificates nothing depends yet."""
    office, text = operators.manned("ゆうなぎ訪問介護"), f"期限の前に {uuid4().hex[:8]}\n二行目"
    page = page_of(office, fresh=True)
    compose(page)
    page.get_by_label("メッセージ：").fill(text)
    drop(page, [pdf("地図.pdf")], OTHERS)
    page.get_by_role("button", name="一時保存").click()
    expect(page.get_by_text("下書きに保存しました。")).to_be_visible()
    operators.set_licence(office.number, (date.today() - timedelta(days=days)).isoformat())  # noqa: DTZ011 (any day that is over)
    for each in (page, page_of(office, fresh=True)):
        each.goto("/drafts")
        row = each.locator("main tbody tr")
        expect(row).to_contain_text(text.replace("\n", ""))
        row.get_by_role("link", name="編集").click()
        expect(each.get_by_label("メッセージ：")).to_have_value(text)
        expect(each.locator("#pdf .td-filecard")).to_contain_text("地図.pdf")
        axe(each)


def test_s16_drafts_are_removed_brought_back_and_moved_to_the_sheet(page_of: PageOf, axe: Axe) -> None:
    page, number = page_of(MANAGER), fresh_sequence()
    compose(page)
    drop(page, plan(RENTAL, number), CSV)
    expect(page.get_by_role("heading", name="送れます")).to_be_visible()
    page.goto("/drafts")
    row = page.locator("main tbody tr").filter(has=page.locator(f"[title*='{number}']"))
    row.get_by_role("checkbox").check()
    page.get_by_role("button", name="削除").click()
    expect(page.get_by_text("1件を削除しました。")).to_be_visible()
    expect(row).to_have_count(0)
    axe(page)
    page.get_by_role("button", name="元に戻す").click()
    row.get_by_role("checkbox").check()
    page.get_by_role("button", name="一括送信に移す").click()
    expect(page.locator("main")).to_have_attribute("data-screen", "S-17")
    moved = page.locator("main tbody tr").filter(has_text=number)
    expect(moved).to_have_count(1)
    expect(moved.get_by_text("未送信")).to_be_visible()
    expect(page.get_by_role("button", name="一括送信（")).to_be_enabled()


def test_s20_1_the_first_message_to_a_partner_is_asked_about(page_of: PageOf, axe: Axe, shot: Shot) -> None:
    page = page_of("9970100414")  # no other test sends from this office to the other
    compose(page)
    page.get_by_label(NUMBER).fill("9970100513")
    page.get_by_label("メッセージ：").fill(f"令和8年10月分のご連絡 {uuid4().hex[:8]}")
    expect(page.get_by_role("heading", name="送れます")).to_be_visible()
    page.get_by_role("button", name="送信", exact=True).click()
    dialog = page.locator("#unusual")
    for words in ("はじめて送る相手です", "やまびこ短期入所", "9970100513", "21: 短期入所生活介護", "山彦8番地"):
        expect(dialog).to_contain_text(words)
    axe(page)
    shot(page, "S-20-confirm")
    page.get_by_role("button", name="送信する").click()
    expect(dialog).to_be_visible()
    dialog.get_by_role("checkbox").check()
    page.get_by_role("button", name="送信する").click()
    expect(page.get_by_role("heading", name="送信しました")).to_be_visible(timeout=40_000)


def test_s09_2_what_was_being_written_at_the_logout_is_among_the_drafts(page_of: PageOf, desk: Desk) -> None:
    page, text = page_of(MANAGER, fresh=True), f"また明日 {uuid4().hex[:8]}"
    compose(page)
    page.get_by_label("メッセージ：").fill(text)
    page.get_by_role("button", name="ログアウト").click()
    expect(page.get_by_role("heading", name="ログアウトしました")).to_be_visible()
    expect(page.get_by_text("まだ送っていないものは、下書き一覧に残っています。")).to_be_visible()
    idle = page_of(desk.colleague(MANAGER, "staff", c_id="c9000000089"))
    idle.goto("/received")
    idle.get_by_role("button", name="ログアウト").click()
    expect(idle.get_by_role("heading", name="ログアウトしました")).to_be_visible()
    expect(idle.get_by_text("下書き一覧")).to_have_count(0)
    again = page_of(MANAGER, fresh=True)
    again.goto("/drafts")
    expect(again.locator("main tbody tr").filter(has_text=text)).to_have_count(1)


def test_s00_8_what_is_typed_is_kept_when_the_session_ends(page_of: PageOf) -> None:
    page, text = page_of(MANAGER, fresh=True), f"途中の文 {uuid4().hex[:8]}"
    compose(page)
    page.get_by_label("メッセージ：").fill(text)
    expect(page.get_by_role("heading", name="このままでは送れません")).to_be_visible()
    page.context.clear_cookies()
    page.reload()
    expect(page.locator("main")).to_have_attribute("data-screen", "S-01")
    again = page_of(MANAGER, fresh=True)
    again.goto("/drafts")
    again.locator("main tbody tr").filter(has_text=text).get_by_role("link", name="編集").click()
    expect(again.get_by_label("メッセージ：")).to_have_value(text)


def test_s00_10_another_offices_drafts_and_sheets_are_not_there(page_of: PageOf) -> None:
    page = page_of(MANAGER)
    compose(page)
    page.get_by_label("メッセージ：").fill("ひみつ")
    page.get_by_role("button", name="一時保存").click()
    expect(page.get_by_text("下書きに保存しました。")).to_be_visible()
    draft = page.url
    page.goto("/bulk")
    sheet = page.locator("form#sheet").get_attribute("action") or ""
    stranger = page_of(HELPER)
    for place in (draft.partition("?")[0], sheet.removesuffix("/files"), f"/bulk/rows/{draft.split('/')[-1][:36]}"):
        answer = stranger.goto(place)
        assert answer is not None
        assert answer.status == 404
        expect(stranger.get_by_text("ひみつ")).to_have_count(0)
