"""S-13: a message with all of it; S-21: what was found in it; and what another office must not see of either."""

import re
from collections.abc import Callable
from uuid import uuid4

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.screens.browsing import Desk, Watch, scrolls_sideways
from tests.screens.conftest import PageOf
from tests.screens.posting import CARE_PLAN, HELPER, MANAGER, PLAN, Post, empty_pdf
from tests.screens.rules import keeps_the_rules
from tests.screens.test_received import row
from todoke.client import Upload

Axe = Callable[[Page], None]
Shot = Callable[[Page, str], None]

STRANGER = "9970100513"
NASTY = "<script>document.title='HACKED'</script><img src=x onerror=\"document.title='HACKED'\">{{7*7}}${7*7}"


def spoiled(post: Post, *, times: int = 1) -> list[Upload]:
    """A set in whose form 6 so many rows have a code of one digit, which has ten."""
    files = post.sample(PLAN)
    return [_spoiled(file, times) if file.name.startswith("UPPLAN") else file for file in files]


def _spoiled(file: Upload, times: int) -> Upload:
    rows = file.content.split(b"\r\n")
    cells = rows[0].split(b",")
    cells[5] = b"9"
    spoiled = [b",".join(cells)] * times
    return Upload(file.name, b"\r\n".join([*spoiled, *rows[1:]]))


def test_s13_1_every_file_of_a_message_is_listed(page_of: PageOf, post: Post, axe: Axe, shot: Shot) -> None:
    files = [*post.sample(CARE_PLAN), *(Upload(f"説明{number}.pdf", empty_pdf()) for number in range(3))]
    message_id = post.send(MANAGER, HELPER, files, "一行目\n二行目")
    page = page_of(HELPER)
    page.goto("/received")
    row(page, message_id).get_by_role("link", name="詳細").click()
    expect(page.locator("main")).to_have_attribute("data-screen", "S-13")
    listed = page.locator("#files tbody tr")
    expect(listed).to_have_count(7)
    for file in post.office(MANAGER).message(message_id).files:
        line = listed.filter(has_text=file.name)
        expect(line).to_contain_text(file.sha256 or "")
        expect(line).to_contain_text(file.label)
    assert page.locator(".td-said").first.inner_text() == "一行目\n二行目"
    axe(page)
    shot(page, "S-13-message")


def test_s13_2_a_memo_is_seen_by_the_own_office_only(page_of: PageOf, desk: Desk, post: Post) -> None:
    message_id = post.plan()
    page = page_of(MANAGER)
    page.goto(f"/messages/{message_id}")
    page.get_by_label("担当").fill("例示 春子")
    page.get_by_label("メモ").fill("電話で確かめた。")
    page.get_by_role("button", name="保存").click()
    expect(page.locator("#said")).to_contain_text("保存しました。")
    colleague = page_of(desk.colleague(MANAGER, "staff", c_id="c9000000023"))
    colleague.goto(f"/messages/{message_id}")
    expect(colleague.get_by_label("メモ")).to_have_value("電話で確かめた。")
    theirs = page_of(HELPER)
    theirs.goto(f"/messages/{message_id}")
    expect(theirs.get_by_label("メモ")).to_have_value("")
    assert "電話で" not in theirs.content()
    kept = desk.sql("SELECT count(*) AS n FROM portal.memo WHERE position('電話'::bytea in sealed) > 0") or []
    assert all(row["n"] == 0 for row in kept)


def test_s13_two_who_write_at_the_same_time_lose_nothing(page_of: PageOf, post: Post, axe: Axe) -> None:
    message_id = post.plan()
    first, second = page_of(MANAGER), page_of(MANAGER)
    for page, text in ((first, "先の人"), (second, "後の人")):
        page.goto(f"/messages/{message_id}")
        page.get_by_label("メモ").fill(text)
    first.get_by_role("button", name="保存").click()
    expect(first.locator("#said")).to_contain_text("保存しました。")
    second.get_by_role("button", name="保存").click()
    expect(second.get_by_role("alert")).to_contain_text("E-404")
    expect(second.get_by_text("先の人")).to_be_visible()
    expect(second.get_by_label("メモ")).to_have_value("後の人")
    axe(second)
    second.get_by_role("button", name="保存").click()
    expect(second.locator("#said")).to_contain_text("保存しました。")
    expect(second.get_by_label("メモ")).to_have_value("後の人")


def test_s21_1_each_finding_names_person_form_row_column_value_and_what_to_do(
    page_of: PageOf, post: Post, axe: Axe, shot: Shot
) -> None:
    files = spoiled(post)
    message_id = post.send(MANAGER, HELPER, files, until="rejected")
    page = page_of(MANAGER)
    page.goto(f"/messages/{message_id}/findings")
    insured = next(file for file in files if file.name.startswith("UPPLAN")).content.split(b",")[2].strip(b'"').decode()
    card = page.locator(".td-finding").first
    expect(card).to_contain_text("直す")
    expect(card).to_contain_text(insured)
    expect(card).to_contain_text("様")
    expect(card).to_contain_text("第6表")
    expect(card).to_contain_text("1行目")
    expect(card).to_contain_text("やること")
    expect(card).to_contain_text(re.compile(r"E-2\d\d"))
    axe(page)
    shot(page, "S-21-findings")


def test_s21_2_the_text_for_the_vendor_names_nobody(page_of: PageOf, post: Post) -> None:
    files = spoiled(post)
    message_id = post.send(MANAGER, HELPER, files, until="rejected")
    page = page_of(MANAGER)
    page.goto(f"/messages/{message_id}/findings")
    page.get_by_text("介護ソフトの会社に送る").click()
    text = page.get_by_label("この文を写して").input_value()
    assert "TDK-" in text
    assert "第6表" in text
    supplement = next(file for file in files if file.name.startswith("UPHOSOKU")).content.decode("cp932")
    personal = {cell.strip('"') for line in supplement.splitlines() for cell in line.split(",")[2:9]}
    personal |= {MANAGER, HELPER}
    assert [each for each in personal if len(each) > 3 and each in text] == []


def test_s21_3_the_page_and_the_check_before_sending_say_the_same(page_of: PageOf, post: Post) -> None:
    files = spoiled(post)
    said = post.office(MANAGER).check(HELPER, files=files)
    message_id = post.send(MANAGER, HELPER, files, until="rejected")
    kept = post.office(MANAGER).findings(message_id)
    assert [(each.code, each.row, each.column) for each in said.findings] == [
        (each.code, each.row, each.column) for each in kept.findings
    ]
    page = page_of(MANAGER)
    page.goto(f"/messages/{message_id}/findings")
    expect(page.locator(".td-finding")).to_have_count(len(said.findings))


def test_s21_4_many_places_of_one_fault_are_one_summary(page_of: PageOf, post: Post, axe: Axe) -> None:
    message_id = post.send(MANAGER, HELPER, spoiled(post, times=200), until="rejected")
    page = page_of(MANAGER)
    page.goto(f"/messages/{message_id}/findings")
    summaries = page.get_by_role("heading", name=re.compile("か所"))
    counts = post.office(MANAGER).findings(message_id).findings
    codes = {(each.severity, each.code) for each in counts}
    expect(summaries).to_have_count(len(codes))
    page.get_by_text("もっと見る").first.click()
    assert len(counts) == 200
    axe(page)


def test_s21_a_recipient_is_asked_before_persons_are_shown(page_of: PageOf, post: Post, axe: Axe) -> None:
    message_id = post.warned()
    page = page_of(MANAGER)
    page.goto(f"/messages/{message_id}/findings")
    expect(page.locator(".td-finding").first).to_contain_text("注意")
    assert post.office(HELPER).message(message_id).opened_at is None
    axe(page)
    page.get_by_role("link", name="氏名と値を表示する").click()
    expect(page.get_by_role("link", name="氏名と値を表示する")).to_have_count(0)
    post.until(lambda: post.office(HELPER).message(message_id).opened_at is not None)


# --- other offices -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "place",
    [
        "/messages/{id}",
        "/messages/{id}/findings",
        "/messages/{id}/findings?shown=persons",
        "/messages/{id}/files/1",
        "/messages/{id}/withdraw",
    ],
)
def test_s00_10_a_message_of_two_others_looks_as_if_there_were_none(desk: Desk, post: Post, place: str) -> None:
    theirs = post.results("秘密")
    with httpx.Client(base_url=desk.url, cookies=desk.cookies(STRANGER), timeout=30) as browser:
        answers = [browser.get(place.format(id=message_id)) for message_id in (theirs, uuid4())]
    assert [answer.status_code for answer in answers] == [404, 404]
    first, second = (re.sub(r'(?<=id="reference">)\w+', "", answer.text) for answer in answers)
    assert first == second
    assert "E-600" in first


def test_s00_10_nothing_can_be_done_to_a_message_of_two_others(desk: Desk, post: Post) -> None:
    theirs = post.results()
    headers = {"Origin": desk.url, "Sec-Fetch-Site": "same-origin"}
    with httpx.Client(base_url=desk.url, cookies=desk.cookies(STRANGER), headers=headers, timeout=30) as browser:
        proof = re.search(r'name="_form" value="([^"]+)"', browser.get("/sent").text)
        assert proof is not None
        form = {"_form": proof[1], "id": str(theirs), "what": "chosen", "text": "x", "reason": "送り先をまちがえた"}
        for place in ("memo", "withdraw", "receipt", "files/1"):
            assert browser.post(f"/messages/{theirs}/{place}", data=form).status_code == 404, place
        for place in ("fetch", "archive", "saved"):
            assert browser.post(f"/received/{place}", data=form).status_code == 404, place
        assert browser.post("/received/plan", data=form).json()["messages"] == []
        for box in ("received", "sent"):
            assert str(theirs) not in browser.get(f"/{box}/rows", params={"id": str(theirs)}).text
    kept = post.office(HELPER).message(theirs)
    assert (kept.status, kept.opened_at) == ("delivered", None)


def test_a_partners_text_and_file_names_are_shown_as_text_everywhere(page_of: PageOf, post: Post) -> None:
    name = "' onerror=alert(1) {{7+7}} &amp;.pdf"
    message_id = post.send(HELPER, MANAGER, [Upload(name, empty_pdf())], NASTY)
    page = page_of(MANAGER)
    watch = Watch(page)
    for place in ("/received", f"/messages/{message_id}", f"/messages/{message_id}/findings"):
        page.goto(place)
        expect(page).not_to_have_title("HACKED")
        assert page.locator("img").count() == 0
    page.goto("/received")
    expect(row(page, message_id)).to_contain_text("<script>")
    assert watch.complaints == []


def test_a_file_name_cannot_end_a_header(page_of: PageOf, desk: Desk, post: Post) -> None:
    name = "a';x=y, 予定 %0d%0aSet-Cookie=evil.pdf"
    message_id = post.send(HELPER, MANAGER, [Upload(name, empty_pdf())])
    answer = httpx.get(f"{desk.url}/messages/{message_id}/files/1", cookies=desk.cookies(MANAGER))
    assert answer.status_code == 200
    assert "set-cookie" not in answer.headers
    said = answer.headers["content-disposition"]
    assert re.fullmatch(r"attachment; filename=\"[\w.-]+\"; filename\*=UTF-8''[\w.%~-]+", said)
    assert said.count('"') == 2
    page = page_of(MANAGER)
    page.goto("/received")
    with page.expect_download() as caught:
        row(page, message_id).locator(".td-files a").click()
    assert caught.value.suggested_filename.endswith(".pdf")


def test_another_sites_link_to_a_file_opens_nothing(desk: Desk, post: Post) -> None:
    message_id = post.results()
    answer = httpx.get(
        f"{desk.url}/messages/{message_id}/files/1",
        cookies=desk.cookies(MANAGER),
        headers={"Sec-Fetch-Site": "cross-site"},
    )
    assert answer.status_code == 403
    assert post.office(HELPER).message(message_id).opened_at is None


@pytest.mark.parametrize("width", [820, 1366, 1920])
def test_s00_the_pages_of_lists_and_messages_keep_the_rules(page_of: PageOf, post: Post, width: int) -> None:
    """S-00.4, S-00.6, S-D.1, S-D.2, on pages whose address has an id; and in twice as large a text."""
    message_id = post.plan("確かめのための文です。")
    page = page_of(MANAGER, width=width)
    watch = Watch(page)
    message = f"/messages/{message_id}"
    for place in ("/received", "/sent", message, f"{message}/findings", f"{message}/withdraw"):
        page.goto(place)
        keeps_the_rules(page)
        page.evaluate("() => { document.documentElement.style.fontSize = '200%'; }")
        assert not scrolls_sideways(page), place
    assert watch.complaints == []
