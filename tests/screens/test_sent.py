"""S-14: what was sent; S-23: taking it back; what appears by itself."""

import csv
import io
import re
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.screens.browsing import Desk, log_in, proof_of
from tests.screens.conftest import PageOf
from tests.screens.posting import CARE_PLAN, HELPER, MANAGER, PLAN, Post
from tests.screens.test_received import cell, row
from todoke.client import Upload

Axe = Callable[[Page], None]
Shot = Callable[[Page, str], None]

FILES, STATE = 4, 6


def broken_set(post: Post) -> list[Upload]:
    """A set whose form 6 names an insured number that is none."""
    files = post.sample(PLAN)
    return [
        Upload(file.name, file.content.replace(b"\r\n", b",\r\n", 1)) if file.name.startswith("UPPLAN") else file
        for file in files
    ]


def test_s14_1_ten_rows_sent_in_bulk_stand_in_reverse(page_of: PageOf, post: Post, axe: Axe, shot: Shot) -> None:
    ids = post.many("9970100414", "9970100315", [f"{number}通目です。" for number in range(1, 11)])
    page = page_of("9970100414")
    page.goto("/sent")
    rows = page.locator("#rows tbody tr").evaluate_all("rows => rows.slice(0, 10).map(row => row.id)")
    assert rows == [f"m-{message_id}" for message_id in reversed(ids)]
    for message_id in ids:
        expect(cell(page, message_id, STATE)).to_have_text("未")
    axe(page)
    shot(page, "S-14-sent")


def test_s14_2_fetching_shows_here_without_reading_again_and_after_it_too(page_of: PageOf, post: Post) -> None:
    message_id = post.plan()
    page, plain = page_of(MANAGER), page_of(MANAGER, js=False)
    page.goto("/sent")
    expect(cell(page, message_id, STATE)).to_have_text("未")
    client = post.office(HELPER)
    client.fetch_file(message_id, 1)
    expect(cell(page, message_id, STATE)).to_have_text(re.compile(r"未\s*開封済み"), timeout=5_000)
    post.fetch(HELPER, message_id)
    expect(cell(page, message_id, STATE)).to_have_text("済", timeout=5_000)
    plain.goto("/sent")
    plain.get_by_role("link", name="更新").click()
    expect(cell(plain, message_id, STATE)).to_have_text("済")
    expect(plain.locator("#said")).to_contain_text("更新しました。")


def test_s14_4_a_refused_message_says_why(page_of: PageOf, post: Post, axe: Axe) -> None:
    message_id = post.send(MANAGER, HELPER, broken_set(post), until="rejected")
    page = page_of(MANAGER)
    page.goto("/sent")
    expect(cell(page, message_id, STATE)).to_contain_text("失敗")
    expect(cell(page, message_id, STATE)).to_contain_text("E-222")
    expect(row(page, message_id).get_by_role("link", name="取消する")).to_have_count(0)
    axe(page)


def test_s14_5_nothing_can_be_done_to_a_row_that_is_done(page_of: PageOf, post: Post) -> None:
    message_id = post.plan()
    post.fetch(HELPER, message_id)
    page = page_of(MANAGER)
    page.goto("/sent")
    expect(cell(page, message_id, STATE)).to_have_text("済")
    assert row(page, message_id).get_by_role("button").count() == 0
    links = row(page, message_id).get_by_role("link").evaluate_all("links => links.map(link => link.pathname)")
    assert {re.sub(r"/files/\d+$", "", path) for path in links} == {f"/messages/{message_id}"}


def test_s14_6_of_four_files_two_are_shown_and_a_colon(page_of: PageOf, post: Post) -> None:
    message_id = post.plan(folder=CARE_PLAN)
    page = page_of(MANAGER)
    page.goto("/sent")
    lines = cell(page, message_id, FILES).locator("li:visible")
    expect(lines).to_have_count(3)
    expect(lines.nth(0)).to_contain_text("UP1KYO")
    expect(lines.nth(1)).to_contain_text("UP2KYO")
    expect(lines.nth(2)).to_contain_text("：")
    page.goto(f"/messages/{message_id}")
    expect(page.locator("#files tbody tr")).to_have_count(4)


def test_s14_the_table_can_be_saved_and_calculates_nothing(page_of: PageOf, post: Post) -> None:
    post.many("9970100414", "9970100216", ['=HYPERLINK("http://evil.example")'])
    page = page_of("9970100414")
    page.goto("/sent")
    with page.expect_download() as caught:
        page.get_by_role("link", name="表をCSVで保存").click()
    assert re.fullmatch(r"送信一覧_\d{8}_\d{4}\.csv", caught.value.suggested_filename)
    text = Path(caught.value.path()).read_bytes().decode("utf-8-sig")
    rows = list(csv.reader(io.StringIO(text)))
    assert rows[0][:3] == ["送信日時", "メッセージ", "送信先事業所"]
    assert len(rows) - 1 == sum(1 for _ in post.office("9970100414").each_sent())
    assert any(cells[1] == '\'=HYPERLINK("http://evil.example")' for cells in rows)


@pytest.mark.parametrize("js", [True, False], ids=["with-js", "without-js"])
def test_s23_1_a_message_that_is_taken_back_says_so_on_both_sides(
    page_of: PageOf, post: Post, axe: Axe, shot: Shot, *, js: bool
) -> None:
    message_id = post.results("この文は取り消されます。")
    post.office(MANAGER).fetch_file(message_id, 1)
    page, theirs = page_of(HELPER, js=js), page_of(MANAGER)
    theirs.goto("/received")
    page.goto("/sent")
    row(page, message_id).get_by_role("link", name="取消する").click()
    where = page.get_by_role("dialog") if js else page.locator("main")
    expect(where).to_contain_text("相手はすでに内容を開いています。")
    expect(where).to_contain_text("メッセージとファイル名は、相手の一覧ですでに見られていることがあります。")
    if js:
        expect(where.get_by_role("heading")).to_be_focused()
        axe(page)
        shot(page, "S-23-withdraw")
        page.keyboard.press("Escape")
        expect(where).to_be_hidden()
        row(page, message_id).get_by_role("link", name="取消する").click()
    where.get_by_label("ファイルをまちがえた").check()
    where.get_by_role("button", name="取消する").click()
    expect(page.locator("#said")).to_contain_text("取り消しました。")
    expect(cell(page, message_id, STATE)).to_have_text("取消")
    expect(row(theirs, message_id)).to_contain_text("送信元が取り消しました", timeout=5_000)
    expect(row(theirs, message_id)).not_to_contain_text("UPJSK")
    expect(row(theirs, message_id)).not_to_contain_text("この文は")
    answer = theirs.goto(f"/messages/{message_id}/files/1")
    assert answer is not None
    assert answer.status == 410
    assert len(post.office(HELPER).fetch_file(message_id, 1)) > 0
    reasons = [entry for entry in post.office(HELPER).evidence(message_id)["events"] if entry["reason"]]
    assert [entry["reason"] for entry in reasons] == ["ファイルをまちがえた"]


def test_s23_a_reason_is_asked_for(page_of: PageOf, post: Post) -> None:
    message_id = post.plan()
    page = page_of(MANAGER, js=False)
    page.goto(f"/messages/{message_id}/withdraw")
    page.get_by_role("radio", name="そのほか").check()
    page.get_by_role("button", name="取消する").click()
    expect(page.get_by_text("取り消す理由が選ばれていません。")).to_be_visible()
    assert post.office(MANAGER).message(message_id).status == "delivered"


def test_live_a_broken_stream_says_so_and_reading_again_still_works(page_of: PageOf, post: Post, axe: Axe) -> None:
    message_id = post.results()
    page = page_of(MANAGER)
    page.route(re.compile(r"/live\?"), lambda route: route.abort())
    page.goto("/received")
    expect(page.get_by_text("自動の更新が止まっています。")).to_be_visible()
    axe(page)
    post.fetch(MANAGER, message_id)
    page.get_by_role("link", name="更新").click()
    expect(row(page, message_id).get_by_role("cell").nth(8)).to_have_text("済")


def test_live_an_ended_session_ends_the_stream(desk: Desk) -> None:
    cookies = log_in(desk.url, desk.office("9970100315"))
    headers = {"Origin": desk.url, "Sec-Fetch-Site": "same-origin"}
    with httpx.Client(base_url=desk.url, cookies=cookies, headers=headers, timeout=30) as browser:
        proof = proof_of(browser.get("/sent").text)
        with browser.stream("GET", "/live") as stream:
            lines = stream.iter_lines()
            assert next(lines).startswith("retry:")
            assert browser.post("/logout", data={"_form": proof}).status_code in (200, 303)
            assert not any(line.startswith("data:") and 'message_id": ""' not in line for line in lines)
        assert browser.get("/live").status_code == 303
