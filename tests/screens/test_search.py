"""S-29: finding rows again."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.screens.conftest import PageOf
from tests.screens.posting import HELPER, MANAGER, OLD_RESULTS, Post
from tests.screens.test_received import row

Axe = Callable[[Page], None]
Shot = Callable[[Page, str], None]

SENDER, BOX = "9970100216", "9970100315"


@pytest.mark.parametrize("js", [True, False], ids=["with-js", "without-js"])
def test_s29_1_a_part_of_a_name_leaves_its_rows_and_says_how_many(
    page_of: PageOf, post: Post, axe: Axe, shot: Shot, *, js: bool
) -> None:
    ours = post.many(SENDER, BOX, ["福祉用具の見積もりです。"])[0]
    others = post.many("9970100414", BOX, ["訪問看護からです。"])[0]
    page = page_of(BOX, js=js)
    page.goto("/received")
    expect(row(page, others)).to_be_visible()
    page.get_by_role("searchbox").fill("ヒダマリ")
    if not js:
        page.get_by_role("button", name="絞り込む").click()
    expect(row(page, others)).to_have_count(0)
    expect(row(page, ours)).to_be_visible()
    shown = page.locator("#rows tbody tr").count()
    expect(page.locator("#count")).to_contain_text(f"{shown}件")
    expect(page.locator("#count")).to_have_attribute("role", "status")
    address = page.url
    assert "ヒダマリ" not in address
    assert re.search(r"[?&]q=[0-9a-f-]{36}", address)
    page.reload()
    expect(page.get_by_role("searchbox")).to_have_value("ヒダマリ")
    expect(row(page, others)).to_have_count(0)
    if js:
        axe(page)
        shot(page, "S-29-search")
    page_of(SENDER).goto(address)  # an id of another session means nothing
    page.goto("/received?month=199001")
    expect(page.get_by_text("この条件に合うものはありません。")).to_be_visible()
    if js:
        axe(page)
    page.get_by_role("link", name="条件を消す").click()
    expect(row(page, others)).to_be_visible()


def test_s29_1_more_than_a_page_is_said_to_be_more_and_pages_lead_there_and_back(page_of: PageOf, post: Post) -> None:
    post.many(SENDER, BOX, [f"連絡 {number}" for number in range(60)])
    page = page_of(BOX)
    page.goto("/received?state=open")
    expect(page.locator("#count")).to_contain_text("50件以上")
    first = page.locator("#rows tbody tr").first.get_attribute("id")
    page.get_by_role("link", name="次の50件").click()
    expect(page.locator(f"#{first}")).to_have_count(0)
    page.go_back()
    expect(page.locator(f"#{first}")).to_be_visible()
    page.get_by_role("link", name="次の50件").click()
    page.get_by_role("link", name="前の50件").click()
    expect(page.locator(f"#{first}")).to_be_visible()


def test_s29_2_a_row_that_turns_done_under_the_filter_stays_until_it_is_read_again(page_of: PageOf, post: Post) -> None:
    message_id = post.results()
    page = page_of(MANAGER)
    page.goto("/received")
    page.get_by_text("未のみ").click()
    page.wait_for_url("**/received?state=open")
    expect(row(page, message_id)).to_be_visible()
    post.fetch(MANAGER, message_id)
    expect(row(page, message_id).get_by_role("cell").nth(8)).to_have_text("済")
    page.get_by_role("link", name="更新").click()
    expect(row(page, message_id)).to_have_count(0)


def test_s29_what_stands_under_more_conditions_narrows_too(page_of: PageOf, post: Post, axe: Axe) -> None:
    old, new, warned = post.results(folder=OLD_RESULTS), post.results(), post.warned()
    page = page_of(MANAGER)
    page.goto("/received")
    page.get_by_text("くわしい条件").click()
    axe(page)
    page.get_by_label("指摘あり").check()
    expect(row(page, new)).to_have_count(0)
    expect(row(page, warned)).to_contain_text("注意 1")
    page.reload()
    expect(page.get_by_label("指摘あり")).to_be_checked()
    page.get_by_label("指摘あり").uncheck()
    page.get_by_role("combobox", name="CSVバージョン").select_option("202407")
    expect(row(page, old)).to_have_count(0)
    expect(row(page, new)).to_be_visible()
    assert "version=202407" in page.url
    sent = page_of(HELPER)
    sent.goto("/sent?from=2020-01-01&to=2020-01-02")
    expect(sent.get_by_text("この条件に合うものはありません。")).to_be_visible()
