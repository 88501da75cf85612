"""S-77: operators tell offices something, now or later, and take it back."""

import re
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from uuid import uuid4

import pytest
from playwright.sync_api import Page, expect

from tests.screens.browsing import Desk, proof_of
from tests.screens.conftest import PageOf
from tests.screens.operating import console
from tests.screens.rules import fits
from todoke.client import ApiError, Client
from todoke.client.office_shapes import ListedNotice
from todoke.relay.clock import JAPAN

OFFICE, OTHER = "9970100216", "9970100117"

Axe = Callable[[Page], None]
Shot = Callable[[Page, str], None]


@pytest.fixture
def readers(desk: Desk) -> Iterator[dict[str, Client]]:
    """Persons of two offices, by number."""
    clients = {number: Client(desk.url) for number in (OFFICE, OTHER)}
    for number, client in clients.items():
        office = desk.office(number)
        client.login(office.c_id, office.c_password, office.kj_id, office.kj_password)
    yield clients
    for client in clients.values():
        client.close()


def seen(client: Client, title: str) -> list[ListedNotice]:
    return [each for each in client.notices(200).items if each.title == title]


def write(page: Page, title: str, at: str) -> None:
    page.get_by_role("link", name="お知らせを作る").click()
    page.get_by_label("件名").fill(title)
    page.get_by_label("本文").fill("点検をします。\nくわしくは https://example.jp/info をご覧ください。<b>")
    page.get_by_label("掲載日時").fill(at)
    page.get_by_label("重要（開くまで未読の印が付きます）").check()
    page.get_by_label("都道府県を選ぶ（下の表）").check()
    page.get_by_role("group", name="都道府県").get_by_label("練習県").check()
    page.get_by_label("理由").fill("点検の知らせ")
    page.get_by_label("チケット番号").fill("OPS-77")
    page.get_by_role("button", name="確認").click()


@pytest.mark.parametrize("js", [True, False], ids=["with-js", "without-js"])
def test_s77_1_a_notice_dated_tomorrow_is_seen_from_then_on(
    console_of: PageOf, desk: Desk, readers: dict[str, Client], axe: Axe, shot: Shot, *, js: bool
) -> None:
    page, title = console_of(js=js), f"点検のお知らせ {uuid4().hex[:8]}"
    tomorrow = datetime.now(JAPAN) + timedelta(days=1)
    page.goto("/operator/notices")
    if js:
        axe(page)
    write(page, title, tomorrow.strftime("%Y-%m-%dT09:00"))
    expect(page.get_by_role("region", name="一覧での見え方")).to_contain_text(title)
    expect(page.get_by_role("link", name="https://example.jp/info")).to_be_visible()
    expect(page.get_by_role("region", name="開いたときの見え方")).to_contain_text("<b>")
    expect(page.get_by_role("definition").filter(has_text="練習県")).to_be_visible()
    if js:
        axe(page)
        shot(page, "S-77-notice-sure")
    page.get_by_role("button", name="お知らせを出す").click()
    row = page.get_by_role("row").filter(has_text=title)
    expect(row).to_contain_text(tomorrow.strftime("%Y/%m/%d 09:00"))
    expect(row).to_contain_text("掲載前")
    if js:
        axe(page)
        shot(page, "S-77-notices")
    assert seen(readers[OFFICE], title) == []
    desk.sql("UPDATE registry.notice SET published_at = now() - interval '1 minute' WHERE title = $1", title)
    [notice] = seen(readers[OFFICE], title)
    assert (notice.important, notice.unread) == (True, True)
    assert readers[OFFICE].notice(notice.id).text.endswith("をご覧ください。<b>")
    page.reload()
    expect(row).to_contain_text("掲載中")

    row.get_by_role("link").click()
    page.get_by_text("取り下げる").first.click()
    page.get_by_role("button", name="取り下げる").click()
    expect(page.get_by_text("E-120")).to_be_visible()
    page.get_by_label("理由").fill("点検がなくなった")
    page.get_by_label("チケット番号").fill("OPS-78")
    if js:
        axe(page)
    page.get_by_role("button", name="取り下げる").click()
    expect(page.get_by_role("row").filter(has_text=title)).to_contain_text("取り下げ")
    assert seen(readers[OFFICE], title) == []
    with pytest.raises(ApiError) as gone:
        readers[OFFICE].notice(notice.id)
    assert gone.value.status == 404


def test_s00_7_a_notice_sent_twice_from_one_page_is_published_once(desk: Desk, readers: dict[str, Client]) -> None:
    """A double click without scripts, or the back button: the page holds the key of its notice."""
    title = f"2回押したお知らせ {uuid4().hex[:8]}"
    with console(desk) as client:
        proof = proof_of(client.get("/operator/notices/new").text)
        written = {"title": title, "text": "本文", "reason": "x", "ticket": "OPS-77", "_form": proof}
        sure = client.post("/operator/notices/new", data=written).text
        form = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)">', sure))
        answers = [client.post("/operator/notices", data=form).headers["location"] for _ in range(2)]
        assert answers == ["/operator/notices?done=published"] * 2
        [notice] = seen(readers[OFFICE], title)
        withdraw = f"/operator/notices/{notice.id}"
        assert client.get(f"{withdraw}/withdraw").headers["location"] == withdraw


def test_s77_a_notice_reaches_those_it_is_for_and_its_mistakes_are_told(
    console_of: PageOf, readers: dict[str, Client], axe: Axe, shot: Shot
) -> None:
    page, title = console_of(), f"訪問介護へのお知らせ {uuid4().hex[:8]}"
    page.goto("/operator/notices/new")
    axe(page)
    page.get_by_label("サービス種類を選ぶ（下の表）").check()
    page.get_by_role("button", name="確認").click()
    for number in ("E-130", "E-131", "E-133", "E-120"):
        expect(page.get_by_text(number)).to_be_visible()
    fits(page)
    shot(page, "S-77-notice-new")
    page.get_by_label("件名").fill(title)
    page.get_by_label("本文").fill("訪問介護の事業所へ")
    page.get_by_label("11: 訪問介護").check()
    page.get_by_label("理由").fill("知らせ")
    page.get_by_label("チケット番号").fill("OPS-77")
    page.get_by_role("button", name="確認").click()
    page.get_by_role("button", name="戻って直す").click()
    expect(page.get_by_label("11: 訪問介護")).to_be_checked()
    page.get_by_role("button", name="確認").click()
    page.get_by_role("button", name="お知らせを出す").click()
    expect(page.get_by_text("お知らせを出しました。")).to_be_visible()
    assert [len(seen(readers[number], title)) for number in (OTHER, OFFICE)] == [1, 0]
