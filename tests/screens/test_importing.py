"""S-75 with a whole list: chosen as CSV, checked, looked at, taken, its result; on the operators' console."""

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import psutil
import pytest
from playwright.sync_api import Locator, Page, expect

from tests.screens.browsing import Desk, proof_of
from tests.screens.conftest import PageOf
from tests.screens.operating import console, unused_number
from tests.screens.rules import fits
from tests.screens.test_everybody import walk

IMPORT = "/operator/offices/import"
NEWEST_LOGIN_ENDS = """UPDATE portal.web_session SET ended_at = now()
    WHERE id = (SELECT id FROM portal.web_session WHERE kind = 'operator' ORDER BY created_at DESC LIMIT 1)"""
STATES = {
    "この内容で取り込みます": "UPDATE portal.office_import SET state = 'checked' WHERE id = $1",
    "取り込んでいます": """UPDATE portal.office_import SET state = 'taking', lease_until = 'infinity', done = 17,
        begun_at = now() - interval '9 seconds' WHERE id = $1""",
    "途中で止まっています": """UPDATE portal.office_import SET state = 'stopped', ended_at = now(),
        why = '["E-725", "ログインが終わったため、ここで止まりました。", "「続ける」を押すと、続きから始まります。"]'
        WHERE id = $1""",
}
"""Headings of a list's page, and how a checked list gets there without waiting for the moment."""
HEADER = "事業所番号,事業所名,サービス種類,住所"
WORD = {"reason": "国の一覧の更新", "ticket": "OPS-75"}

Axe = Callable[[Page], None]
Shot = Callable[[Page, str], None]


def numbers(count: int) -> list[str]:
    """Numbers that no office has."""
    return sorted({unused_number() for _ in range(count + 5)})[:count]


def listed(of: list[str], *more: str, name: str = "みずいろ訪問介護") -> str:
    """A list of offices, and further lines behind them."""
    lines = [HEADER, *(f"{number},{name}{number},11,練習県青空市{number[-4:]}番" for number in of), *more]
    return "\r\n".join(lines) + "\r\n"


def choose(page: Page, data: bytes, name: str = "事業所一覧.csv") -> None:
    """Fill in the form and send it."""
    page.get_by_label("理由").fill(WORD["reason"])
    page.get_by_label("チケット番号").fill(WORD["ticket"])
    page.get_by_label("CSVファイル").set_input_files({"name": name, "mimeType": "text/csv", "buffer": data})
    page.get_by_role("button", name="確認").click()


def heading(page: Page, text: str) -> Locator:
    """The page's heading, once it says this."""
    found = page.get_by_role("heading", level=1, name=text, exact=True)
    expect(found).to_be_visible(timeout=60_000)
    return found


def counted(page: Page) -> list[str]:
    """The numbers of the tiles: new, changed, unchanged, bad."""
    return [re.sub(r"\D", "", text) for text in page.locator(".td-tile__big").all_inner_texts()]


def offices(desk: Desk, of: list[str]) -> int:
    """How many of these offices there are."""
    [row] = desk.sql("SELECT count(*) AS n FROM registry.office WHERE number = ANY($1::text[])", of)
    return int(row["n"])


def post_list(client: httpx.Client, data: bytes, key: str = "") -> httpx.Response:
    """The form as a browser without scripts sends it; `key` is that of another page."""
    page = client.get(IMPORT).text
    own = re.search(r'name="_key" value="([^"]+)"', page)
    assert own is not None
    form = {**WORD, "_form": proof_of(page), "_key": key or own[1]}
    return client.post(IMPORT, data=form, files={"list": ("一覧.csv", data, "text/csv")})


def until(client: httpx.Client, place: str, *words: str) -> str:
    """The page once it says one of these."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        text = client.get(place).text
        if any(f"<h1>{word}</h1>" in text for word in words):
            return text
        time.sleep(0.2)
    raise AssertionError(f"{place} never says {words}")


@pytest.mark.parametrize("js", [True, False], ids=["with-js", "without-js"])
def test_s75_a_list_is_checked_looked_at_and_taken(
    console_of: PageOf, desk: Desk, axe: Axe, shot: Shot, *, js: bool
) -> None:
    page, of = console_of(js=js), numbers(8)
    page.goto("/operator/offices")
    page.get_by_role("link", name="CSVで取り込む").click()
    if js:
        axe(page)
        shot(page, "S-75-import")
    page.get_by_role("button", name="確認").click()
    for wrong in ("E-120", "E-723"):
        expect(page.get_by_text(wrong)).to_be_visible()
    if js:
        axe(page)
    bad = ("98,みじかい,11,", f"{of[0]},おなじ番号,11,", "9800000001,なまえ,ZZ,")
    choose(page, listed(of, *bad).encode("cp932"))
    heading(page, "この内容で取り込みます")
    assert counted(page) == ["8", "0", "0", "3"]
    table = page.get_by_role("region", name="取り込めない行の表")
    for line, code in (("10行目", "E-705"), ("11行目", "E-710"), ("12行目", "E-709")):
        expect(table.get_by_role("row").filter(has_text=line)).to_contain_text(code)
    expect(page.get_by_role("region", name="ファイルのはじめの行の表")).to_contain_text(f"みずいろ訪問介護{of[0]}")
    assert offices(desk, of) == 0
    with page.expect_download() as downloading:
        page.get_by_role("link", name="CSVで保存").click()
    saved = downloading.value.path().read_text(encoding="utf-8-sig").splitlines()
    assert [line.split(",")[0] for line in saved] == ["行", "10", "11", "12"]
    if js:
        axe(page)
    page.get_by_role("button", name="取り込む（8件）").click()
    heading(page, "取り込みました")
    assert counted(page) == ["8", "0", "0", "3"]
    assert offices(desk, of) == 8
    if js:
        axe(page)
        shot(page, "S-75-import-done")
    page.reload()
    page.go_back()
    heading(page, "取り込みました")
    assert page.get_by_role("button", name="取り込む").count() == 0


def test_s75_the_same_list_again_changes_nothing_and_says_so(console_of: PageOf, axe: Axe) -> None:
    page, of = console_of(), numbers(3)
    for data, name, found in (
        (listed(of), "この内容で取り込みます", ["3", "0", "0", "0"]),
        (listed(of), "変わるところはありません", ["0", "0", "3", "0"]),
        (listed(of, name="あたらしい名前"), "この内容で取り込みます", ["0", "3", "0", "0"]),
    ):
        page.goto(IMPORT)
        choose(page, data.encode("utf-8-sig"))
        heading(page, name)
        assert counted(page) == found
        if found[2] == "3":
            assert page.get_by_role("button", name="取り込む").count() == 0
            axe(page)
            page.get_by_role("button", name="やめる").click()
            heading(page, "取り込みをやめました")
            axe(page)
            continue
        page.get_by_role("button", name=re.compile("^取り込む")).click()
        heading(page, "取り込みました")
    page.goto(f"/operator/offices/{of[0]}")
    expect(page.get_by_role("heading", level=1)).to_have_text(f"あたらしい名前{of[0]}")
    expect(page.get_by_text("手紙を作って取り出す").first).to_be_visible()


NO_LISTS: list[tuple[bytes, str]] = [
    (b"", "E-711"),
    (b"PK\x03\x04" + b"\1" * 500, "E-720"),
    (listed(["9800000000"]).encode("utf-16"), "E-721"),
    (listed(["9800000000"]).encode("euc_jp"), "E-721"),
]


def test_s75_what_is_no_list_is_told_and_what_was_typed_stays(
    console_of: PageOf, tmp_path: Path, axe: Axe, shot: Shot
) -> None:
    page = console_of()
    page.goto(IMPORT)
    for data, code in NO_LISTS:
        choose(page, data)
        expect(page.get_by_text(code)).to_be_visible()
        expect(page.get_by_label("理由")).to_have_value(WORD["reason"])
    axe(page)
    large = tmp_path / "large.csv"
    with large.open("wb") as file:
        file.write(HEADER.encode() + b"\n")
        for _ in range(65):
            file.write(b"9800000000,abcde\n" * 65_536)
    page.get_by_label("CSVファイル").set_input_files(large)
    page.get_by_role("button", name="確認").click()
    expect(page.get_by_text("E-722")).to_be_visible(timeout=60_000)
    expect(page.get_by_text("64MBまでです。")).to_be_visible()
    page.get_by_label("理由").fill("")
    page.get_by_label("チケット番号").fill("半角ではない番号")
    page.get_by_role("button", name="確認").click()
    expect(page.get_by_text("E-120")).to_be_visible()
    choose(page, "番号,名前\r\n1,2\r\n".encode())
    heading(page, "この一覧は取り込めません")
    expect(page.get_by_text("E-714")).to_be_visible()
    axe(page)
    shot(page, "S-75-import-refused")
    page.get_by_role("link", name="ファイルを選び直す").click()
    with page.expect_download() as downloading:
        page.get_by_role("link", name="見本のCSV").click()
    choose(page, downloading.value.path().read_bytes())
    heading(page, "この内容で取り込みます")


def test_s75_the_bad_lines_of_a_long_list_come_in_pages(console_of: PageOf, axe: Axe) -> None:
    page = console_of()
    page.goto(IMPORT)
    choose(page, listed(numbers(1), *(f"98{place},みじかい,11," for place in range(120))).encode())
    heading(page, "この内容で取り込みます")
    rows = page.get_by_role("region", name="取り込めない行の表").get_by_role("row")
    expect(rows).to_have_count(51)
    page.get_by_role("link", name="次の50件").click()
    page.get_by_role("link", name="次の50件").click()
    expect(rows).to_have_count(21)
    expect(rows.nth(1)).to_contain_text("103行目")
    axe(page)
    page.get_by_role("link", name="前の50件").click()
    expect(page.get_by_text("2 / 3 ページ")).to_be_visible()


def test_s75_keys_alone_bring_a_list_in(console_of: PageOf, desk: Desk) -> None:
    """The dialog of the system is the browser's; the field that opens it is reached by Tab."""
    page, of = console_of(), numbers(2)
    page.goto(IMPORT)
    page.get_by_label("CSVファイル").set_input_files(
        {"name": "一覧.csv", "mimeType": "text/csv", "buffer": listed(of).encode()}
    )
    page.get_by_label("理由").focus()
    page.keyboard.type(WORD["reason"])
    page.keyboard.press("Tab")
    page.keyboard.type(WORD["ticket"])
    page.keyboard.press("Tab")
    expect(page.get_by_label("CSVファイル")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="見本のCSV")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="確認")).to_be_focused()
    page.keyboard.press("Enter")
    heading(page, "この内容で取り込みます")
    focused = walk(page)
    assert "本文へ進む" in focused[0]
    page.get_by_role("button", name="取り込む（2件）").focus()
    page.keyboard.press("Enter")
    heading(page, "取り込みました")
    expect(page.get_by_role("status").filter(has_text="取り込みました。")).to_be_focused()
    assert offices(desk, of) == 2


def test_s75_a_file_is_dropped_on_the_field(console_of: PageOf, tmp_path: Path) -> None:
    page, file = console_of(), tmp_path / "落とした一覧.csv"
    file.write_text(listed(numbers(1)), encoding="cp932")
    page.goto(IMPORT)
    box = page.get_by_label("CSVファイル").bounding_box()
    assert box is not None
    browser = page.context.new_cdp_session(page)  # a drop of the browser's own: what a script makes up drops nothing
    at = {"x": box["x"] + box["width"] - 30, "y": box["y"] + box["height"] / 2}
    for kind in ("dragEnter", "dragOver", "drop"):
        data = {"items": [], "files": [str(file)], "dragOperationsMask": 1}
        browser.send("Input.dispatchDragEvent", {"type": kind, **at, "data": data})
    page.get_by_label("理由").fill("x")
    page.get_by_label("チケット番号").fill("OPS-1")
    page.get_by_role("button", name="確認").click()
    heading(page, "この内容で取り込みます")
    expect(page.get_by_text("落とした一覧.csv").first).to_be_visible()


def test_s00_7_a_list_that_is_sent_and_confirmed_twice_is_taken_once(desk: Desk) -> None:
    of = numbers(4)
    [before] = desk.sql("SELECT count(*) AS n FROM registry.journal_office WHERE type = 'OperatorActed'")
    with console(desk) as client:
        page = client.get(IMPORT).text
        key = re.search(r'name="_key" value="([^"]+)"', page)
        assert key is not None
        places = {post_list(client, listed(of).encode(), key[1]).headers["location"] for _ in range(2)}
        [place] = places
        form = {"_form": proof_of(until(client, place, "この内容で取り込みます"))}
        for _ in range(2):
            assert client.post(place, data={**form, "act": "take"}).headers["location"] == place
        until(client, place, "取り込みました")
        for act in ("take", "go-on", "stop", "drop"):
            assert client.post(place, data={**form, "act": act}).status_code == 303
        assert "<h1>取り込みました</h1>" in client.get(place).text
        assert client.post(place, data={**form, "act": "other"}).status_code == 404
        assert client.get(f"{IMPORT}/{'0' * 8}-0000-0000-0000-{'0' * 12}").status_code == 404
    [after] = desk.sql("SELECT count(*) AS n FROM registry.journal_office WHERE type = 'OperatorActed'")
    assert (offices(desk, of), after["n"] - before["n"]) == (4, 1)


def test_s75_a_login_that_ended_leads_back_to_the_list(desk: Desk) -> None:
    of = numbers(2)
    with console(desk) as client:
        place = post_list(client, listed(of).encode()).headers["location"]
        form = {"_form": proof_of(until(client, place, "この内容で取り込みます")), "act": "take"}
        desk.sql(NEWEST_LOGIN_ENDS)
        led = client.post(place, data=form)
        assert (led.status_code, led.headers["location"]) == (303, f"/operator/login?ended=1&next={place}")
        assert client.get(place).headers["location"] == f"/operator/login?next={place}&ended=1"
        late = {**WORD, "_form": form["_form"], "_key": "x"}
        led = client.post(IMPORT, data=late, files={"list": ("一覧.csv", b"x" * 9_000_000, "text/csv")})
        assert (led.status_code, led.headers["location"]) == (303, f"/operator/login?ended=1&next={IMPORT}")
    assert offices(desk, of) == 0


def test_s00_the_pages_of_an_import_keep_the_rules(console_of: PageOf, desk: Desk, shot: Shot) -> None:
    """Each state as it stands in the table, at three widths and with text of twice the size."""
    page = console_of()
    page.goto(IMPORT)
    choose(page, listed(numbers(40), "98,みじかい,11,").encode())
    heading(page, "この内容で取り込みます")
    place = page.url
    list_id = UUID(place.rpartition("/")[2])
    for picture, (name, statement) in zip(("found", "taking", "stopped"), STATES.items(), strict=True):
        desk.sql(statement, list_id)
        page.goto(place)
        heading(page, name)
        fits(page)
        shot(page, f"S-75-import-{picture}")
    page.goto(IMPORT)
    fits(page)
    page.goto(place)
    page.get_by_role("button", name="続ける").click()
    heading(page, "取り込みました")


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_s75_the_list_of_the_whole_country_comes_in(desk: Desk, record_property: Any) -> None:
    """250,000 offices: how long it takes, and that no process grows by the list."""
    lines = (f"97{n:08d},あおぞら訪問介護ステーション{n},11 15,練習県青空市大字本町{n}番地の1" for n in range(250_000))
    data = "\r\n".join([HEADER, *lines]).encode("cp932")
    ours = [each for each in psutil.process_iter(["cmdline"]) if _is_ours(each.info["cmdline"], desk)]
    before = [each.memory_info().rss for each in ours]
    with console(desk) as client:
        client.timeout = httpx.Timeout(120)
        began = time.perf_counter()
        place = post_list(client, data).headers["location"]
        record_property("seconds_upload", round(time.perf_counter() - began, 1))
        form = {"_form": proof_of(_through(client, place, "この内容で取り込みます")), "act": "take"}
        record_property("seconds_checked", round(time.perf_counter() - began, 1))
        client.post(place, data=form)
        text = _through(client, place, "取り込みました")
        record_property("seconds_taken", round(time.perf_counter() - began, 1))
    assert "250,000" in text
    grown = [each.memory_info().rss - size for each, size in zip(ours, before, strict=True)]
    record_property("mebibytes_grown", [size >> 20 for size in grown])
    assert max(grown) < 150 * 1024 * 1024  # those who hear of the offices grow a little too


def _is_ours(command: list[str] | None, desk: Desk) -> bool:
    """Whether a process is one of the product's own, web or work."""
    return command is not None and "serve" in command and str(desk.product.home) in command


def _through(client: httpx.Client, place: str, word: str) -> str:
    """Ask for the progress as the page does, to the end of this stage."""
    while "hx-refresh" not in client.get(f"{place}/progress").headers:
        time.sleep(1)
    return until(client, place, word)
