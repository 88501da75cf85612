"""Issue 5, section 4: the whole month, as the clerks' manual tells it. The month of the samples is 令和7年9月."""

import io
import random
import re
from collections.abc import Callable

import pypdf
import pytest
from playwright.sync_api import FilePayload, Page, expect

from tests.screens import doing
from tests.screens.browsing import Desk, Office, type_login
from tests.screens.conftest import PageOf
from tests.screens.doing import STATE_RECEIVED, STATE_SENT, Clerk
from tests.screens.operating import unused_number
from tests.screens.papers import (
    HELPER,
    MANAGER,
    RENTAL,
    actuals,
    confirm,
    drop,
    paper,
    pdf,
    plan,
    rows,
    sheet,
)

SECONDS_MAX = 300

PRACTICE = {HELPER: "11", RENTAL: "17", "9970100315": "15", "9970100414": "13", "9970100513": "21", "99A0100019": "A6"}
"""Six service offices that are there already, and the type of service that each is asked for."""

NEWCOMERS = ("みなみ訪問介護", "きたやま通所介護", "にしき訪問介護")
"""Three that join: the first fetches all at once, the second file by file, the third has no JavaScript."""

SERVICES = {"11": "11: 訪問介護", "15": "15: 通所介護"}
TEXT = "{事業所名} 御中\nいつもお世話になっております。{月}分の提供票をお送りします。"

WRONG, MISPRINTED = 5, 6
"""The plan that is taken back and the one with a finding, counted from 0 in the order of the sheet."""

Set = tuple[Clerk, list[FilePayload]]
Fetch = Callable[..., dict[str, bytes]]


@pytest.mark.timeout(SECONDS_MAX)
def test_the_whole_month_from_the_plans_to_the_actuals(page_of: PageOf, desk: Desk) -> None:
    # Three offices join: the operator registers them, they apply with their letters, he approves.
    console = page_of(base=desk.product.demo["operator"]["url"])
    doing.log_in_to_the_console(console, desk)
    newcomers = [
        join(console, page_of(js=name != NEWCOMERS[2]), name, service)
        for name, service in zip(NEWCOMERS, ("11", "15", "11"), strict=True)
    ]

    # The care manager drops this month's 30 files, corrects a finding, writes to everybody and sends.
    manager = page_of()
    type_login(manager, desk.office(MANAGER))
    clerks = [*newcomers, *(sit_down(page_of(), desk.office(number), type_) for number, type_ in PRACTICE.items())]
    sets = [(clerk, plan(clerk.office.number, service_type=clerk.service_type)) for clerk in [*clerks, newcomers[0]]]
    put_on_the_sheet(manager, sets)
    correct(manager, right=sets[MISPRINTED][1][1])
    write_to_everybody(manager)
    sent = send_in_bulk(manager, sets, newcomers)

    # One plan was the wrong one: it is taken back before it was fetched, and another is sent.
    changed = clerks[WRONG]
    sets[WRONG] = (changed, plan(changed.office.number, service_type=changed.service_type))
    sent[WRONG] = send_another(manager, changed, taken_back=sent[WRONG], files=sets[WRONG][1])

    # Every service office fetches its plans, each in its way; the manager sees 未 turn to 済.
    ways: list[Fetch] = [doing.fetch_all, doing.fetch_one_by_one, doing.fetch_without_javascript]
    ways += [doing.fetch_chosen] * len(PRACTICE)
    for clerk, fetch in zip(clerks, ways, strict=True):
        fetch_plans(
            manager,
            clerk,
            fetch,
            {message: files for message, (to, files) in zip(sent, sets, strict=True) if to is clerk},
        )

    # At the end of the month the actuals come back, with a PDF each.
    doing.menu(manager, "受信一覧")
    came = [send_actuals(clerk) for clerk in clerks]
    fetch_actuals(manager, clerks, came)

    # What was done can be found again, and put on paper.
    search(manager, newcomers[1])
    print_the_list(manager, clerks)
    find_the_draft_again(manager, desk.office(MANAGER))


def join(console: Page, page: Page, name: str, service_type: str) -> Clerk:
    """An office from its registration to its first login."""
    number = unused_number()
    kj_id, of_the_letter = doing.read_letter(doing.register(console, number, name, SERVICES[service_type]))
    kj_password, c_password = f"{number}の庭に咲いた花の色", f"{number}の駅前にある赤い屋根の家"
    doing.apply_for_use(page, kj_id, of_the_letter, kj_password)
    doing.approve(console, number)
    c_id, issued = doing.have_a_c_id(page, kj_password)
    office = Office(number, name, c_id, c_password, kj_id, kj_password)
    doing.begin(page, office, issued)
    return Clerk(page, office, service_type)


def sit_down(page: Page, office: Office, service_type: str) -> Clerk:
    """Somebody of an office that is there already."""
    type_login(page, office)
    return Clerk(page, office, service_type)


def put_on_the_sheet(manager: Page, sets: list[Set]) -> None:
    """S-17: thirty files in any order; of one the month cannot be."""
    sheet(manager)
    files = [file for _, each in sets for file in each]
    bad = sets[MISPRINTED][1][1]
    files[files.index(bad)] = paper(bad["name"], bad["buffer"].replace(b",202509,", b",202513,", 1))
    random.Random(9).shuffle(files)  # noqa: S311 (an order, no secret)
    drop(manager, files)
    expect(manager.locator("tbody tr")).to_have_count(len(sets))
    assert [row[0].split("\n")[-1] for row in rows(manager)] == [clerk.office.number for clerk, _ in sets]
    assert [len(row[4].split("\n")) for row in rows(manager)] == [3] * len(sets)


def correct(manager: Page, right: FilePayload) -> None:
    """S-18: read what is wrong, and put the right file in the place of the wrong one."""
    expect(manager.get_by_text("直すところ 1")).to_be_visible()
    manager.get_by_role("link", name=re.compile(r"^直す \d")).click()
    expect(manager.locator("#findings")).to_contain_text("第6表")
    manager.get_by_label(f"{right['name']} を削除").check()
    manager.locator("#files").set_input_files([right])
    manager.get_by_role("button", name="更新").click()
    expect(manager.get_by_text("保存しました。")).to_be_visible()
    expect(manager.get_by_text("直すところ 0")).to_be_visible()


def write_to_everybody(manager: Page) -> None:
    """S-17, S-18: one row's message, copied to all."""
    manager.get_by_role("button", name="を編集").first.click()
    manager.get_by_label("メッセージ").fill(TEXT)
    manager.get_by_role("button", name="更新").click()
    manager.locator("input[name=row]").first.check()
    manager.get_by_role("button", name="コピー", exact=True).click()
    expect(manager.get_by_text("コピーしました。")).to_be_visible()
    manager.get_by_role("button", name="全選択", exact=True).click()
    manager.get_by_role("button", name="貼り付け").click()
    expect(manager.get_by_text("10行に貼り付けました。")).to_be_visible()
    assert all("令和7年9月分の提供票" in row[2] for row in rows(manager))


def send_in_bulk(manager: Page, sets: list[Set], newcomers: list[Clerk]) -> list[str]:
    """S-17, S-19, S-20: partners who are new are confirmed; the messages, in the order of the sheet."""
    manager.get_by_role("button", name="一括送信（10件）").click()
    for clerk in newcomers:
        expect(manager.locator("#unusual")).to_contain_text(clerk.office.name)
    confirm(manager)
    expect(manager.get_by_role("heading", name="一括送信が終わりました")).to_be_visible(timeout=doing.SENDING_MAX)
    manager.get_by_role("button", name="OK").click()
    assert [row[6] for row in rows(manager)] == ["成功"] * len(sets)
    doing.menu(manager, "送信一覧")
    newest = doing.messages(manager)[: len(sets)][::-1]
    for (clerk, _), message in zip(sets, newest, strict=True):
        expect(manager.locator(f"#{message}")).to_contain_text(f"{clerk.office.name} 御中")
        expect(manager.locator(f"#{message}")).to_contain_text(clerk.office.number)
        expect(doing.state(manager, message, STATE_SENT)).to_have_text("未")
    return newest


def send_another(manager: Page, clerk: Clerk, *, taken_back: str, files: list[FilePayload]) -> str:
    """S-23, S-15: 取消 on both sides, then the right plan; the new message."""
    doing.menu(clerk.page, "受信一覧")
    expect(doing.state(clerk.page, taken_back, STATE_RECEIVED)).to_have_text("未")
    doing.take_back(manager, taken_back, "ファイルをまちがえた")
    expect(clerk.page.locator(f"#{taken_back}")).to_contain_text("送信元が取り消しました")
    doing.write(manager, "正しい提供票をお送りします。", files)
    doing.send(manager)
    doing.menu(manager, "送信一覧")
    expect(clerk.page.get_by_text("新しい受信が1件あります")).to_be_visible()
    return doing.messages(manager)[0]


def fetch_plans(manager: Page, clerk: Clerk, fetch: Fetch, sets: dict[str, list[FilePayload]]) -> None:
    """S-12: what is saved is what was sent; both sides say 済, the manager's without 更新."""
    for message in sets:
        expect(doing.state(manager, message, STATE_SENT)).to_have_text("未")
    doing.menu(clerk.page, "受信一覧")
    saved = fetch(clerk.page, *sets)
    assert saved == {file["name"]: file["buffer"] for files in sets.values() for file in files}
    for message in sets:
        expect(doing.state(clerk.page, message, STATE_RECEIVED)).to_have_text("済")
        expect(doing.state(manager, message, STATE_SENT)).to_have_text("済")


def send_actuals(clerk: Clerk) -> dict[str, bytes]:
    """S-15: 実績 and a PDF; answers both."""
    files = actuals(clerk.office.number, service_type=clerk.service_type)
    letter = pdf(f"{clerk.office.name}から.pdf")
    doing.write(clerk.page, "9月分の実績です。ご確認をお願いします。", files, letter)
    doing.send(clerk.page)
    doing.menu(clerk.page, "送信一覧")
    return {file["name"]: file["buffer"] for file in (*files, letter)}


def fetch_actuals(manager: Page, clerks: list[Clerk], came: list[dict[str, bytes]]) -> None:
    """S-12: the manager's list says what is new, shows it, and all of it is fetched at once; the senders see 済."""
    expect(manager.get_by_text(f"新しい受信が{len(clerks)}件あります")).to_be_visible()
    manager.get_by_role("link", name="表示する").click()
    expect(manager.get_by_text("新しい受信が")).to_have_count(0)
    newest = doing.messages(manager)[: len(clerks)][::-1]
    for clerk, message in zip(clerks, newest, strict=True):
        expect(manager.locator(f"#{message}")).to_contain_text(clerk.office.number)
        expect(doing.state(manager, message, STATE_RECEIVED)).to_have_text("未")
    saved = doing.fetch_chosen(manager, *newest)
    assert saved == {name: content for each in came for name, content in each.items()}
    for clerk, message in zip(clerks, newest, strict=True):
        expect(doing.state(manager, message, STATE_RECEIVED)).to_have_text("済")
        if clerk.office.name == NEWCOMERS[2]:
            clerk.page.get_by_role("link", name="更新").click()
        expect(doing.state(clerk.page, message, STATE_SENT)).to_have_text("済")


def search(manager: Page, clerk: Clerk) -> None:
    """S-29: by number and by a part of the name, in either list."""
    found = manager.locator("#rows tbody tr")
    manager.get_by_role("searchbox").fill(clerk.office.number)
    expect(found).to_have_count(1)
    expect(found).to_contain_text("UPJSK")
    doing.menu(manager, "送信一覧")
    manager.get_by_role("searchbox").fill("キタヤマ")
    expect(found.filter(has_not_text=clerk.office.name)).to_have_count(0)
    expect(found.first).to_contain_text(clerk.office.number)
    expect(manager.locator("#count")).to_contain_text(f"{found.count()}件")
    manager.get_by_role("searchbox").fill("")


def print_the_list(manager: Page, clerks: list[Clerk]) -> None:
    """Ctrl+P on 送信一覧: the rows, and none of the bars."""
    expect(manager.locator("#rows tbody")).to_contain_text(clerks[0].office.number)
    printed = pypdf.PdfReader(io.BytesIO(manager.pdf(format="A4", landscape=True)))
    text = "".join("".join(page.extract_text().split()) for page in printed.pages)
    for clerk in clerks:
        assert clerk.office.number in text
    assert "ダウンロード状況" in text
    assert "表をCSVで保存" not in text
    assert "ログアウト" not in text


def find_the_draft_again(manager: Page, office: Office) -> None:
    """S-09, S-16: a message that was being written when the day ended."""
    text = f"{unused_number()} の件は、あした書きます。"
    doing.write(manager, text, [], pdf("地図.pdf"))
    manager.get_by_role("button", name="ログアウト").click()
    expect(manager.get_by_role("heading", name="ログアウトしました")).to_be_visible()
    type_login(manager, office)
    doing.menu(manager, "下書き一覧")
    manager.get_by_role("row").filter(has_text=text).get_by_role("link", name="編集").click()
    expect(manager.get_by_label("メッセージ：")).to_have_value(text)
    expect(manager.locator("#pdf .td-filecard")).to_contain_text("地図.pdf")
