"""What people do at their screens, step by step, as the clerks' manual tells it: nothing here goes past the pages.

Only what a person does away from the browser is code: reading a letter, opening a ZIP that was saved.
"""

import io
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pypdf
from playwright.sync_api import Download, FilePayload, Locator, Page, expect

from tests.screens.browsing import Desk, Office
from tests.screens.operating import code_of, secrets_of
from tests.screens.papers import confirm, drop

STATE_SENT, STATE_RECEIVED = 6, 8
"""The columns ダウンロード状況 of 送信一覧 and データ取得状況 of 受信一覧."""

SENDING_MAX = 60_000
"""How long a sending may take (ms): many things happen one after the other."""


@dataclass(frozen=True)
class Clerk:
    """Somebody of an office at a browser of their own."""

    page: Page
    office: Office
    service_type: str


def log_in_to_the_console(page: Page, desk: Desk) -> None:
    """S-70: password and code."""
    known = desk.product.demo["operator"]
    page.goto("/operator/login")
    page.get_by_label("ユーザID").fill(known["user_id"])
    page.get_by_label("パスワード").fill(known["password"])
    page.get_by_label("確認コード").fill(code_of(desk))
    page.get_by_role("button", name="ログイン").click()
    expect(page.get_by_role("heading", name="事業所", exact=True)).to_be_visible()


def register(console: Page, number: str, name: str, service: str) -> bytes:
    """S-75, then S-07: the office is there, and its letter is printed; `service` is 「11: 訪問介護」."""
    console.get_by_role("navigation", name="メインメニュー").get_by_role("link", name="事業所").click()
    console.get_by_role("link", name="事業所を登録する").click()
    console.get_by_label("事業所番号").fill(number)
    console.get_by_label("事業所名").fill(name)
    console.get_by_label("都道府県").fill("練習県")
    console.get_by_label("住所").fill("練習県青空市湖畔1番")
    console.get_by_label("電話番号").fill("099-555-0171")
    console.get_by_label("FAX番号").fill("099-555-0172")
    console.get_by_label(service).check()
    console.get_by_label("理由").fill("新しい事業所")
    console.get_by_label("チケット番号").fill("OPS-75")
    console.get_by_role("button", name="確認").click()
    console.get_by_role("button", name="登録する").click()
    with console.expect_download() as letter:
        console.get_by_role("button", name="手紙を作って取り出す").click()
    return bytes_of(letter.value)


def read_letter(letter: bytes) -> tuple[str, str]:
    """What stands on the paper: the KJ-ID and its password."""
    found = re.search(r"KJ\w{12}", pypdf.PdfReader(io.BytesIO(letter)).pages[0].extract_text())
    assert found is not None
    return found[0], secrets_of(letter)[0]


def decide(page: Page, old: str, new: str) -> None:
    """S-08: a password of one's own."""
    page.get_by_label("いまのパスワード").fill(old)
    page.get_by_label("新しいパスワード", exact=True).fill(new)
    page.get_by_label("新しいパスワード（もう一度）").fill(new)
    page.get_by_role("button", name="このパスワードに決める").click()


def apply_for_use(page: Page, kj_id: str, letter_password: str, own_password: str) -> None:
    """S-03, S-08, S-05: with the letter in hand, up to 「受け付けました」."""
    page.goto("/usage/login")
    page.get_by_label("ユーザID").fill(kj_id)
    page.get_by_label("パスワード").fill(letter_password)
    page.get_by_role("button", name="ログイン", exact=True).click()
    decide(page, letter_password, own_password)
    page.get_by_role("link", name="利用申請", exact=True).click()
    page.get_by_label("担当者名").fill("南 花子")
    page.get_by_label("メールアドレス").fill("minami@example.jp")
    page.get_by_label("利用規約に同意します").check()
    page.get_by_role("button", name="確認").click()
    page.get_by_role("button", name="申請する").click()
    expect(page.get_by_text("受け付けました。", exact=True)).to_be_visible()


def approve(console: Page, number: str) -> None:
    """S-74: 承認."""
    console.get_by_role("navigation", name="メインメニュー").get_by_role("link", name="事業所").click()
    row = console.get_by_role("region", name="承認を待っている利用申請の表").get_by_role("row").filter(has_text=number)
    row.get_by_role("link", name="内容を見て決める").click()
    form = console.get_by_role("region", name="利用申請")
    form.get_by_label("理由").first.fill("電話で確かめた")
    form.get_by_label("チケット番号").first.fill("OPS-74")
    form.get_by_role("button", name="承認", exact=True).click()
    expect(console.get_by_text("承認しました。", exact=True)).to_be_visible()


def have_a_c_id(page: Page, kj_password: str) -> tuple[str, str]:
    """S-04: the c-ID, and its password, which is shown this once."""
    page.reload()
    expect(page.get_by_text("利用申請が正常に完了しております。")).to_be_visible()
    c_id = page.locator("#c-id").inner_text()
    page.get_by_role("link", name="パスワードを発行する").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("事業所ユーザ（KJから始まるID）のパスワード").fill(kj_password)
    dialog.get_by_role("button", name="発行する").click()
    password = page.locator("#password-once").inner_text()
    dialog.get_by_role("link", name="閉じる").click()
    return c_id, password


def begin(page: Page, office: Office, issued: str) -> None:
    """S-01, S-02, S-08: the first login with the password that was issued, and the three steps."""
    page.get_by_role("link", name="1段目のログインへ進む").click()
    for user_id, password in ((office.c_id, issued), (office.kj_id, office.kj_password)):
        page.get_by_label("ユーザID").fill(user_id)
        page.get_by_label("パスワード").fill(password)
        page.get_by_role("button", name="ログイン").click()
        expect(page.get_by_label("パスワード").first).to_have_value("")
    decide(page, issued, office.c_password)
    page.get_by_role("link", name="届け先を入れないで次へ進む").click()
    page.get_by_role("button", name="確かめました").click()
    expect(page.get_by_text("準備ができました")).to_be_visible()


def menu(page: Page, name: str) -> None:
    """A place of the main menu; what waits is counted behind its name."""
    with page.expect_event("load"):
        page.get_by_role("navigation", name="メインメニュー").get_by_role("link", name=name).click()


def state(page: Page, message: str, column: int) -> Locator:
    """The cell of a list that says 未 or 済."""
    return page.locator(f"#{message}").get_by_role("cell").nth(column)


def messages(page: Page) -> list[str]:
    """The rows of a list, newest first."""
    found: list[str] = page.locator("#rows tbody tr").evaluate_all("rows => rows.map(row => row.id)")
    return found


def choose(page: Page, *messages: str) -> None:
    for message in messages:
        page.locator(f"#{message}").get_by_role("checkbox").check()


def bytes_of(download: Download) -> bytes:
    """What was saved."""
    return Path(download.path()).read_bytes()


def press_and_save(page: Page, name: str) -> dict[str, bytes]:
    """A button that saves a ZIP: what is in it."""
    with page.expect_download() as caught:
        page.get_by_role("button", name=name, exact=True).click()
    with zipfile.ZipFile(io.BytesIO(bytes_of(caught.value))) as archive:
        assert archive.testzip() is None
        return {name.rpartition("/")[2]: archive.read(name) for name in archive.namelist()}


def fetch_chosen(page: Page, *messages: str) -> dict[str, bytes]:
    """S-12: choose rows and press データ取得."""
    choose(page, *messages)
    return press_and_save(page, "データ取得")


def fetch_all(page: Page, *messages: str) -> dict[str, bytes]:
    """S-12: 一括取得, whatever is 未."""
    return press_and_save(page, f"一括取得（未 {len(messages)}件）")


def fetch_one_by_one(page: Page, *messages: str) -> dict[str, bytes]:
    """S-12: click each file's name."""
    saved = {}
    for message in messages:
        links = page.locator(f"#{message} .td-files a")
        for number in range(links.count()):
            expect(state(page, message, STATE_RECEIVED)).to_have_text("未")
            with page.expect_download() as caught:
                links.nth(number).click()
            saved[caught.value.suggested_filename] = bytes_of(caught.value)
    return saved


def fetch_without_javascript(page: Page, *messages: str) -> dict[str, bytes]:
    """S-12: データ取得, save, and say that it was saved."""
    choose(page, *messages)
    page.get_by_role("button", name="データ取得", exact=True).click()
    saved = press_and_save(page, "ダウンロードする")
    page.get_by_role("button", name="保存できました").click()
    expect(page.get_by_text("取得しました。")).to_be_visible()
    return saved


def write(page: Page, text: str, csv: list[FilePayload], *pdfs: FilePayload) -> None:
    """S-15: files and a text; the number comes from the names of the files."""
    menu(page, "新規作成")
    drop(page, csv, "#csv-files")
    if pdfs:
        drop(page, list(pdfs), "#pdf-files")
    page.get_by_label("メッセージ：").fill(text)


def send(page: Page) -> None:
    """S-15, S-20: 送信, and what may be asked."""
    expect(page.get_by_role("heading", name="送れます")).to_be_visible()
    page.get_by_role("button", name="送信", exact=True).click()
    confirm(page)
    expect(page.get_by_role("heading", name="送信しました")).to_be_visible(timeout=SENDING_MAX)


def take_back(page: Page, message: str, why: str) -> None:
    """S-23: 取消する, and why."""
    page.locator(f"#{message}").get_by_role("link", name="取消する").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label(why).check()
    dialog.get_by_role("button", name="取消する").click()
    expect(state(page, message, STATE_SENT)).to_have_text("取消")
