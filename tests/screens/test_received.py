"""S-12: what has arrived, and fetching it."""

import hashlib
import io
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest
from playwright.sync_api import Download, Locator, Page, Route, expect

from tests.screens.browsing import Desk
from tests.screens.conftest import PageOf
from tests.screens.posting import HELPER, MANAGER, OLD_RESULTS, PLAN, Post, empty_pdf
from tests.screens.rules import fits
from todoke.client import Upload

Axe = Callable[[Page], None]
Shot = Callable[[Page, str], None]

HEADS = [
    "選択",
    "受信日時",
    "メッセージ",
    "送信元事業所",
    "サービス種類",
    "ファイル名",
    "ファイル種別",
    "CSVバージョン",
    "データ取得状況",
    "確認",
]
VERSION, STATE, SERVICE, FILES, TEXT = 7, 8, 4, 5, 2


def row(page: Page, message_id: UUID) -> Locator:
    return page.locator(f"#m-{message_id}")


def cell(page: Page, message_id: UUID, column: int) -> Locator:
    return row(page, message_id).get_by_role("cell").nth(column)


def bytes_of(download: Download) -> bytes:
    return Path(download.path()).read_bytes()


def choose(page: Page, *ids: UUID) -> None:
    for message_id in ids:
        row(page, message_id).get_by_role("checkbox").check()


def press(page: Page, name: str) -> Download:
    with page.expect_download() as caught:
        page.get_by_role("button", name=name).click()
    return caught.value


def test_s12_1_both_versions_stand_in_one_box(page_of: PageOf, post: Post) -> None:
    new, old = post.results(), post.results(folder=OLD_RESULTS)
    page = page_of(MANAGER)
    page.goto("/received")
    expect(cell(page, new, VERSION)).to_have_text("202407")
    expect(cell(page, new, SERVICE)).to_have_text("43: 居宅介護支援")
    expect(cell(page, old, VERSION)).to_contain_text("202208")
    expect(cell(page, old, VERSION)).to_contain_text("旧形式")
    expect(cell(page, old, SERVICE)).to_have_text("")


def test_s12_2_the_eight_columns_stand_in_order_and_the_time_falls(
    page_of: PageOf, post: Post, axe: Axe, shot: Shot
) -> None:
    post.results("10月分の実績を送信いたします。ご確認お願いいたします。")
    post.results()
    page = page_of(MANAGER)
    page.goto("/received")
    heads = page.get_by_role("columnheader").all_inner_texts()
    assert [re.sub(r"\s", "", head).replace("すべて選択", "") for head in heads] == HEADS
    times = [" ".join(text.split()) for text in page.locator("#rows tbody td:nth-child(2)").all_inner_texts()]
    assert times == sorted(times, reverse=True)
    assert all(re.fullmatch(r"\d{4}/\d{2}/\d{2} \d{2}:\d{2}", time) for time in times)
    expect(page.locator("th[aria-sort=descending]")).to_contain_text("受信日時")
    axe(page)
    page.locator("#rows tbody tr").nth(0).click()
    axe(page)
    shot(page, "S-12-received")


def test_s12_3_fetching_marks_the_row_done(page_of: PageOf, post: Post) -> None:
    sent = post.sample(PLAN)
    message_id = post.send(MANAGER, HELPER, sent)
    sender, page = page_of(MANAGER), page_of(HELPER)
    sender.goto("/sent")
    expect(row(sender, message_id)).to_contain_text("未")
    page.goto("/received")
    before = page.locator("#rows tbody tr").evaluate_all("rows => rows.map(row => row.id)")
    choose(page, message_id)
    expect(page.get_by_text("1件を選択中")).to_be_visible()
    download = press(page, "データ取得")
    expect(cell(page, message_id, STATE)).to_have_text("済")
    expect(page.locator("#said")).to_contain_text("取得しました（1件、ZIP 1つ）。")
    assert page.locator("#rows tbody tr").evaluate_all("rows => rows.map(row => row.id)") == before
    assert re.fullmatch(r"受信_\d{8}_\d{4}\.zip", download.suggested_filename)
    sequence = post.office(HELPER).message(message_id).sequence
    with zipfile.ZipFile(io.BytesIO(bytes_of(download))) as archive:
        assert archive.testzip() is None
        inside = {name: archive.read(name) for name in archive.namelist()}
    assert inside == {f"{sequence}_{MANAGER}/{file.name}": file.content for file in sent}
    expect(row(sender, message_id)).to_contain_text("済", timeout=5_000)


def test_s12_4_fetching_all_brings_every_message_once_in_the_order_of_the_sequences(
    page_of: PageOf, post: Post, axe: Axe
) -> None:
    post.plan("1通目")
    post.send(MANAGER, HELPER, [Upload("計画の説明.pdf", empty_pdf())], "2通目")
    waiting = list(post.office(HELPER).each_received(status="delivered"))
    page = page_of(HELPER)
    page.goto("/received?rows=200")  # tests before this one may have left more than a page
    download = press(page, f"一括取得（未 {len(waiting)}件）")
    with zipfile.ZipFile(io.BytesIO(bytes_of(download))) as archive:
        names = archive.namelist()
    expected = [f"{item.sequence}_{item.sender.number}/{file.name}" for item in waiting for file in item.files]
    assert len(set(names)) == len(names)
    again = re.compile(r"(?<=_\d{10})_\d+(?=/)")  # another message of the same 連番 has a folder of its own
    assert sorted(again.sub("", name) for name in names) == sorted(expected)
    folders = list(dict.fromkeys(name.partition("/")[0] for name in names))
    assert folders == sorted(folders)
    for item in waiting:
        expect(cell(page, item.message_id, STATE)).to_have_text("済")
    expect(page.get_by_role("button", name="一括取得（未 0件）")).to_be_disabled()
    axe(page)


def test_s12_5_a_broken_download_leaves_the_rows_as_they_were(
    page_of: PageOf, post: Post, axe: Axe, shot: Shot
) -> None:
    message_id = post.plan()
    page = page_of(HELPER)
    page.goto("/received")
    page.route("**/files/2", lambda route: route.abort("connectionreset"))
    choose(page, message_id)
    page.get_by_role("button", name="データ取得").click()
    expect(page.get_by_role("alert")).to_contain_text("E-405")
    expect(cell(page, message_id, STATE)).to_have_text("未")
    assert post.office(HELPER).message(message_id).status == "delivered"
    axe(page)
    shot(page, "S-12-received-broken")
    page.unroute("**/files/2")
    press(page, "もう一度")
    expect(cell(page, message_id, STATE)).to_have_text("済")


def test_s12_5_bytes_that_are_not_those_that_were_sent_are_not_confirmed(page_of: PageOf, post: Post) -> None:
    message_id = post.plan()
    page = page_of(HELPER)
    page.goto("/received")

    def falsify(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, body=answer.body()[:-1])

    page.route("**/files/1", falsify)
    choose(page, message_id)
    page.get_by_role("button", name="データ取得").click()
    expect(page.get_by_role("alert")).to_contain_text("E-405")
    assert post.office(HELPER).message(message_id).status == "delivered"


def test_s12_6_a_row_that_is_done_gives_the_same_bytes_again(page_of: PageOf, post: Post) -> None:
    message_id = post.results()
    page = page_of(MANAGER)
    page.goto("/received")
    choose(page, message_id)
    first = press(page, "データ取得")
    expect(cell(page, message_id, STATE)).to_have_text("済")
    api = post.office(MANAGER)
    done_at, fetches = api.message(message_id).downloaded_at, len(api.accesses(message_id))
    choose(page, message_id)
    again = press(page, "データ取得")
    expect(page.locator("#said")).to_contain_text("取得しました（1件）。")
    assert bytes_of(first) == bytes_of(again)
    assert first.suggested_filename == again.suggested_filename == api.message(message_id).files[0].name
    assert api.message(message_id).downloaded_at == done_at
    assert len(api.accesses(message_id)) > fetches


@pytest.mark.parametrize("js", [True, False], ids=["with-js", "without-js"])
def test_s12_7_with_nothing_chosen_nothing_is_fetched(page_of: PageOf, post: Post, axe: Axe, *, js: bool) -> None:
    post.results()
    page = page_of(MANAGER, js=js)
    page.goto("/received")
    page.get_by_role("button", name="データ取得", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("E-401")
    if js:
        axe(page)


def test_s12_8_endings_in_either_case_are_shown_as_they_came(page_of: PageOf, post: Post) -> None:
    upper = post.results()
    files = [
        Upload(file.name.replace(".CSV", ".csv"), file.content)
        for file in post.sample("202407/results_from_provider_a")
    ]
    lower = post.send(HELPER, MANAGER, files)
    page = page_of(MANAGER)
    page.goto("/received")
    expect(cell(page, upper, FILES)).to_contain_text(".CSV")
    expect(cell(page, lower, FILES)).to_contain_text(".csv")
    choose(page, lower)
    assert press(page, "データ取得").suggested_filename == files[0].name


def test_s12_9_a_message_without_text_or_without_csv_has_empty_cells_and_can_be_fetched(
    page_of: PageOf, post: Post
) -> None:
    silent = post.results()
    letter = post.send(HELPER, MANAGER, [Upload("ご連絡.pdf", empty_pdf())], "PDFだけです。")
    words = post.send(HELPER, MANAGER, text="文だけです。")
    page = page_of(MANAGER)
    page.goto("/received")
    expect(cell(page, silent, TEXT)).to_have_text("メッセージなし")
    for message_id in (letter, words):
        expect(cell(page, message_id, SERVICE)).to_have_text("")
        expect(cell(page, message_id, VERSION)).to_have_text("")
    expect(cell(page, words, FILES)).to_have_text("")
    choose(page, silent, letter, words)
    press(page, "データ取得")
    for message_id in (silent, letter, words):
        expect(cell(page, message_id, STATE)).to_have_text("済")


def test_s12_10_a_click_anywhere_in_a_row_chooses_it_and_a_second_one_leaves_it(page_of: PageOf, post: Post) -> None:
    message_id = post.results()
    page = page_of(MANAGER)
    page.goto("/received")
    plain = row(page, message_id).evaluate("row => getComputedStyle(row).backgroundColor")
    cell(page, message_id, SERVICE).click()
    page.mouse.move(0, 0)
    expect(row(page, message_id).get_by_role("checkbox")).to_be_checked()
    assert row(page, message_id).evaluate("row => getComputedStyle(row).backgroundColor") != plain
    cell(page, message_id, SERVICE).click()
    expect(row(page, message_id).get_by_role("checkbox")).not_to_be_checked()


def test_s12_10_rows_are_chosen_by_the_keyboard_alone(page_of: PageOf, post: Post) -> None:
    ids = [post.results() for _ in range(3)]
    page = page_of(MANAGER)
    page.goto("/received")
    boxes = page.locator("#rows tbody").get_by_role("checkbox")
    chosen = page.locator("#rows tbody tr[data-picked]")
    boxes.nth(0).focus()
    page.keyboard.press("Space")
    page.keyboard.press("Shift+ArrowDown")
    expect(chosen).to_have_count(2)
    page.keyboard.press("ArrowDown")
    expect(boxes.nth(2)).to_be_focused()
    expect(chosen).to_have_count(2)
    boxes.nth(2).click(modifiers=["Shift"])
    expect(chosen).to_have_count(3)
    page.keyboard.press("Control+a")
    expect(chosen).to_have_count(boxes.count())
    page.get_by_role("checkbox", name="すべて選択").uncheck()
    expect(chosen).to_have_count(0)
    boxes.nth(0).focus()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_have_attribute("data-screen", "S-13")
    assert page.url.endswith(str(ids[-1]))


def test_s12_11_what_a_colleague_fetches_turns_done_here(page_of: PageOf, desk: Desk, post: Post) -> None:
    message_id = post.results()
    colleague = desk.colleague(MANAGER, "staff", c_id="c9000000021")
    page, theirs = page_of(MANAGER), page_of(colleague)
    page.goto("/received")
    theirs.goto("/received")
    choose(theirs, message_id)
    press(theirs, "データ取得")
    expect(cell(page, message_id, STATE)).to_have_text("済")
    row(page, message_id).get_by_role("link", name="詳細").click()
    expect(page.get_by_role("definition").filter(has_text=colleague.c_id).last).to_be_visible()


def test_s12_12_of_a_recall_and_a_fetch_exactly_one_wins(page_of: PageOf, post: Post) -> None:
    recalled, fetched = post.results(), post.results()
    page = page_of(MANAGER)
    page.goto("/received")
    choose(page, recalled)
    page.route(re.compile(r"/live\?"), lambda route: route.abort())
    post.office(HELPER).recall(recalled, "送り先をまちがえた")
    page.get_by_role("button", name="データ取得", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("E-403")
    expect(row(page, recalled)).to_contain_text("送信元が取り消しました")
    expect(row(page, recalled).get_by_role("checkbox")).to_have_count(0)
    assert post.office(HELPER).message(recalled).status == "recalled"
    sender = page_of(HELPER)
    sender.goto(f"/messages/{fetched}/withdraw")
    post.fetch(MANAGER, fetched)
    sender.get_by_label("送り先をまちがえた").check()
    sender.get_by_role("button", name="取消する").click()
    expect(sender.get_by_role("alert")).to_contain_text("E-402")
    assert post.office(HELPER).message(fetched).status == "downloaded"


def test_s12_a_single_file_is_saved_by_its_name_and_the_last_one_makes_the_row_done(
    page_of: PageOf, post: Post
) -> None:
    message_id = post.plan()
    page = page_of(HELPER)
    page.goto("/received")
    links = row(page, message_id).locator(".td-files a")
    sent = {file.name: file for file in post.office(MANAGER).message(message_id).files}
    for number in range(links.count()):
        expect(cell(page, message_id, STATE)).to_have_text("未")
        with page.expect_download() as caught:
            links.nth(number).click()
        assert hashlib.sha256(bytes_of(caught.value)).hexdigest() == sent[caught.value.suggested_filename].sha256
    expect(cell(page, message_id, STATE)).to_have_text("済")


def test_s12_without_javascript_fetching_ends_with_a_button(page_of: PageOf, post: Post) -> None:
    first, second = post.plan(), post.plan()
    page = page_of(HELPER, js=False)
    page.goto("/received")
    choose(page, first, second)
    page.get_by_role("button", name="データ取得", exact=True).click()
    page.get_by_role("button", name="保存できました").click()
    expect(page.get_by_text("まだ取得していないファイルがあります")).to_be_visible()
    download = press(page, "ダウンロードする")
    with zipfile.ZipFile(io.BytesIO(bytes_of(download))) as archive:
        assert archive.testzip() is None
        assert len(archive.namelist()) == 6
    assert post.office(HELPER).message(first).status == "delivered"
    page.get_by_role("button", name="保存できました").click()
    expect(page.locator("#said")).to_contain_text("取得しました。")
    for message_id in (first, second):
        expect(cell(page, message_id, STATE)).to_have_text("済")


def test_s12_without_javascript_one_csv_alone_comes_as_it_is(page_of: PageOf, post: Post) -> None:
    message_id = post.results()
    page = page_of(MANAGER, js=False)
    page.goto("/received")
    choose(page, message_id)
    page.get_by_role("button", name="データ取得", exact=True).click()
    download = press(page, "ダウンロードする")
    file = post.office(MANAGER).message(message_id).files[0]
    assert download.suggested_filename == file.name
    assert hashlib.sha256(bytes_of(download)).hexdigest() == file.sha256


def test_s12_reading_again_keeps_filters_and_choice_and_says_what_is_new(page_of: PageOf, post: Post) -> None:
    message_id = post.results()
    page = page_of(MANAGER)
    page.goto("/received?version=202407")
    choose(page, message_id)
    page.get_by_role("link", name="更新").click()
    expect(page.locator("#said")).to_contain_text("更新しました（新しい受信はありません）。")
    newer = post.results()
    expect(page.get_by_text("新しい受信が1件あります")).to_be_visible()
    expect(row(page, newer)).to_have_count(0)
    page.get_by_role("link", name="更新").click()
    expect(page.locator("#said")).to_contain_text("更新しました（新しい受信 1件）。")
    expect(row(page, newer)).to_be_visible()
    expect(row(page, message_id).get_by_role("checkbox")).to_be_checked()
    expect(page.get_by_text("新しい受信が1件あります")).to_have_count(0)
    assert page.url.endswith("/received?version=202407")


def test_s12_row_heights_are_kept_per_person(page_of: PageOf, post: Post, axe: Axe) -> None:
    message_id = post.plan()
    page = page_of(HELPER)
    page.goto("/received")
    high = row(page, message_id).bounding_box()
    with page.expect_response("**/row-height"):
        page.get_by_text("せまい").click()
    page.goto("/received")
    low = row(page, message_id).bounding_box()
    assert high is not None
    assert low is not None
    assert low["height"] < high["height"]
    expect(row(page, message_id).get_by_text("ほか2", exact=True)).to_be_visible()
    axe(page)
    with page.expect_response("**/row-height"):
        page.get_by_text("ふつう").click()


def test_s00_9_s12_who_may_only_look_has_no_way_to_a_file(
    page_of: PageOf, desk: Desk, post: Post, axe: Axe, shot: Shot
) -> None:
    message_id = post.results()
    page = page_of(desk.colleague(MANAGER, "viewer", c_id="c9000000022"))
    page.goto("/received")
    expect(row(page, message_id)).to_contain_text("UPJSK")
    expect(row(page, message_id).locator(".td-files a")).to_have_count(0)
    expect(page.get_by_role("button", name="データ取得")).to_have_count(0)
    axe(page)
    answer = page.goto(f"/messages/{message_id}/files/1")
    assert answer is not None
    assert answer.status == 403
    expect(page.get_by_text("E-605")).to_be_visible()
    [admin, *_] = [each.name for each in post.office(MANAGER).users() if "admin" in each.roles]
    expect(page.get_by_text(f"事業所の管理者（{admin}さん")).to_be_visible()
    fits(page)
    shot(page, "S-39-not-allowed")
    assert post.office(MANAGER).message(message_id).opened_at is None
    [entry] = post.office(MANAGER).accesses(message_id)
    assert entry.what == "refused/files/1"
    assert entry.by is not None
    assert entry.by.user == "c9000000022"
