"""S-10, S-11: what the day begins with."""

import re
from collections.abc import Callable
from datetime import date, datetime, timedelta
from uuid import uuid4

import pytest
from playwright.sync_api import Page, expect

from tests.screens.browsing import Desk
from tests.screens.conftest import PageOf
from tests.screens.operating import WORD, Operators
from tests.screens.posting import Post
from todoke.client.ops_shapes import NewNotice
from todoke.relay.clock import JAPAN

OFFICE, OTHER = "9970100513", "9970100315"
LONG = (
    "10月分の実績は、11月10日（火）の請求締切に\n間に合うよう、お早めにお送りください。"
    "送れないときは、電話でお知らせください。"
)

Axe = Callable[[Page], None]
Shot = Callable[[Page, str], None]


def publish(operators: Operators, title: str, text: str = LONG, *, important: bool = False) -> None:
    notice = NewNotice(title=title, text=text, important=important)
    operators.client.publish_notice(operators.token, notice, WORD)


def test_s10_1_a_healthy_pipeline_is_told_in_the_words_of_the_manual(page_of: PageOf) -> None:
    page = page_of(OFFICE)
    page.goto("/")
    expect(page.get_by_text("利用可能です。")).to_be_visible()
    expect(page.get_by_text("ただいまシステムは正常稼働中です。")).to_be_visible()


def test_s10_the_tiles_say_what_waits_and_when_the_claims_end(page_of: PageOf, post: Post, axe: Axe) -> None:
    message_id = post.send(OTHER, OFFICE, text=f"タイル {uuid4().hex}")
    page = page_of(OFFICE)
    page.goto("/")
    tiles = page.get_by_role("region", name="今月やること")
    expect(tiles).to_contain_text(re.compile(r"請求の締切まで\s*(\d+ 日|今日)\s*\d+/10（.）17:15"))
    axe(page)
    tiles.get_by_role("link", name="受信一覧で取得する").click()
    expect(page.locator(f"#m-{message_id}")).to_contain_text("未")


def test_s10_2_a_slow_delivery_is_told_in_words_within_half_a_minute(
    page_of: PageOf, post: Post, desk: Desk, axe: Axe, shot: Shot
) -> None:
    """The list is made to say what it would say of a message that has been on its way for two minutes."""
    message_id = post.send(OTHER, OFFICE, text=f"おそい {uuid4().hex}")
    page = page_of(OFFICE)
    page.goto("/")
    expect(page.get_by_text("利用可能です。")).to_be_visible()
    on_its_way = (
        "UPDATE projection_lists.sent SET status = $2, submitted_at = submitted_at - make_interval(mins => $3) "
        "WHERE message_id = $1"
    )
    desk.sql(on_its_way, message_id, "accepted", 2)
    try:
        slow = page.get_by_text("利用できますが、お届けに時間がかかっています。")
        for _ in range(30):
            page.reload()
            if slow.is_visible():
                break
            page.wait_for_timeout(1000)
        expect(slow).to_be_visible()
        expect(page.get_by_text("利用可能です。")).to_have_count(0)
        axe(page)
        shot(page, "S-10-top-slow")
    finally:
        desk.sql(on_its_way, message_id, "delivered", -2)


def test_s10_3_notices_stand_newest_first_with_their_time_and_beginning(
    page_of: PageOf, operators: Operators, axe: Axe, shot: Shot
) -> None:
    titles = [f"お知らせ{n} {uuid4().hex[:6]}" for n in (1, 2)]
    for title in titles:
        publish(operators, title)
    page = page_of(OFFICE)
    page.goto("/")
    rows = page.get_by_role("region", name="お知らせの表").get_by_role("row")
    for row, title in zip((1, 2), reversed(titles), strict=True):
        cells = rows.nth(row).get_by_role("cell").all_inner_texts()
        assert cells[1] == title
        assert len(cells[0]) == len("2026/11/02 09:00")
        assert cells[2] == LONG.replace("\n", "")[:49] + "…"
    axe(page)
    shot(page, "S-10-top")


def test_s10_4_licence_and_certificate_are_told_apart_and_what_ends_soon_says_what_to_do(
    page_of: PageOf, operators: Operators, axe: Axe
) -> None:
    """S-05.2 as well: トップ shows the day that the renewal has made."""
    office = operators.manned("はまかぜ訪問介護")
    soon = datetime.now(JAPAN).date() + timedelta(days=30)
    operators.set_licence(office.number, soon.isoformat())
    page = page_of(office)
    page.goto("/")
    licence = page.get_by_role("region", name="ライセンス期限")
    expect(licence).to_contain_text(f"{soon.year}/{soon.month}/{soon.day}")
    expect(licence).to_contain_text("あと30日。")
    expect(licence.get_by_role("link", name="利用状況Webサイト")).to_be_visible()
    expect(page.get_by_role("region", name="証明書情報")).to_contain_text("記録がありません")
    expect(page.get_by_role("region", name="期限が近いもの")).to_contain_text("ライセンス")
    axe(page)
    operators.renew(office)
    page.reload()
    expect(licence).to_contain_text(str(soon.year + 1))
    expect(page.get_by_role("region", name="期限が近いもの")).to_have_count(0)


def test_s10_6_after_the_licence_sending_is_refused_and_the_lists_stay(page_of: PageOf, operators: Operators) -> None:
    office = operators.manned("うみかぜ訪問介護")
    operators.set_licence(office.number, (date.today() - timedelta(days=3)).isoformat())  # noqa: DTZ011 (any day that is over)
    page = page_of(office)
    page.goto("/")
    expect(page.get_by_role("banner").get_by_text("送信ができません。")).to_be_visible()
    expect(page.get_by_role("banner").get_by_text("E-601")).to_be_visible()
    page.goto("/received")
    expect(page.get_by_role("heading", name="受信一覧")).to_be_visible()


@pytest.mark.parametrize("js", [True, False], ids=["with-js", "without-js"])
def test_s11_1_an_important_notice_is_unread_until_this_person_opens_it(
    page_of: PageOf, desk: Desk, operators: Operators, axe: Axe, shot: Shot, *, js: bool
) -> None:
    title = f"【重要】点検 {uuid4().hex[:6]}"
    publish(operators, title, "点検をします。\nhttps://example.jp/check をご覧ください。<script>", important=True)
    page, colleague = page_of(OFFICE, js=js), page_of(desk.colleague(OFFICE, "viewer", c_id="c9000000077"), js=js)
    for each in (page, colleague):
        each.goto("/")
        expect(each.get_by_role("row").filter(has_text=title)).to_contain_text("未読")
    page.get_by_role("link", name=title).click()
    expect(page.locator("main")).to_have_attribute("data-screen", "S-11")
    expect(page.get_by_role("heading", name=title)).to_be_visible()
    expect(page.get_by_text("<script>")).to_be_visible()
    expect(page.get_by_role("link", name="https://example.jp/check")).to_be_visible()
    if js:
        axe(page)
        shot(page, "S-11-notice")
    page.get_by_role("link", name="一覧へ戻る").click()
    expect(page.get_by_role("row").filter(has_text=title)).not_to_contain_text("未読")
    colleague.reload()
    expect(colleague.get_by_role("row").filter(has_text=title)).to_contain_text("未読")


def test_s11_a_notice_leads_to_its_neighbours(page_of: PageOf, operators: Operators) -> None:
    titles = [f"となり{n} {uuid4().hex[:6]}" for n in (1, 2)]
    for title in titles:
        publish(operators, title)
    page = page_of(OFFICE)
    page.goto("/")
    page.get_by_role("link", name=titles[1]).click()
    page.get_by_role("link", name="次（古い）").click()
    expect(page.get_by_role("heading", name=titles[0])).to_be_visible()
    page.get_by_role("link", name="前（新しい）").click()
    expect(page.get_by_role("heading", name=titles[1])).to_be_visible()


def test_s10_the_last_things_that_happened_are_told(page_of: PageOf, post: Post) -> None:
    post.send(OTHER, OFFICE, text=f"動き {uuid4().hex}")
    page = page_of(OFFICE)
    page.goto("/")
    moves = page.get_by_role("region", name="最近の動き")
    expect(moves).to_contain_text("こもれび通所介護から届きました")
    moves.get_by_role("link", name="詳細").first.click()
    expect(page.locator("main")).to_have_attribute("data-screen", "S-13")
