"""S-70, S-74, S-75, S-07: operators let offices in, on their own listener."""

import io
import re
import time
from collections.abc import Callable
from datetime import date, timedelta
from urllib.parse import urlsplit

import httpx
import pypdf
import pytest
from playwright.sync_api import Page, expect

from tests.screens.browsing import Desk, proof_of
from tests.screens.conftest import PageOf
from tests.screens.operating import Operators, code_of, console, secrets_of, unused_number
from tests.screens.rules import visit
from tests.screens.test_everybody import walk
from todoke.client import ApiError, Client

SETTLED = "9970100216"
PLACES = ("/operator", "/operator/offices", "/operator/offices/new", f"/operator/offices/{SETTLED}")

Axe = Callable[[Page], None]
Shot = Callable[[Page, str], None]


def log_in(page: Page, desk: Desk, code: str | None = None, place: str | None = "/operator/login") -> None:
    """At the login of the console; `place` None: where the page is."""
    known = desk.product.demo["operator"]
    if place is not None:
        page.goto(known["url"] + place)
    page.get_by_label("ユーザID").fill(known["user_id"])
    page.get_by_label("パスワード").fill(known["password"])
    fresh = code_of(desk)
    page.get_by_label("確認コード").fill(f"{fresh[:3]} {fresh[3:]}" if code is None else code)  # as telephones show it
    page.get_by_role("button", name="ログイン").click()


def say_why(page: Page, within: str) -> None:
    """Reason and ticket of the form in this panel that is open."""
    form = page.get_by_role("region", name=within)
    form.get_by_label("理由").locator("visible=true").fill("画面の試験")
    form.get_by_label("チケット番号").locator("visible=true").fill("OPS-74")


def password_of(page: Page, button: str, number: str) -> str:
    """The first secret of the letter that this button has made: one page, with the number of its form."""
    with page.expect_download() as downloading:
        page.get_by_role("button", name=button).click()
    assert downloading.value.suggested_filename == f"letter-{number}.pdf"
    pdf = downloading.value.path().read_bytes()
    [letter] = pypdf.PdfReader(io.BytesIO(pdf)).pages
    assert "NUCL02_021" in letter.extract_text()
    return secrets_of(pdf)[0]


def until_refused(call: Callable[[], object]) -> str | None:
    """Call until it is refused: what operators do reaches every service within moments. The number of the refusal."""
    for _ in range(50):
        try:
            call()
        except ApiError as refusal:
            return refusal.number
        time.sleep(0.2)
    return None


def fill_in(page: Page, number: str) -> None:
    """The whole form of S-75."""
    page.get_by_label("事業所番号").fill(number)
    page.get_by_label("事業所名").fill("みずうみ訪問介護")
    page.get_by_label("都道府県").fill("練習県")
    page.get_by_label("住所").fill("練習県青空市湖畔1番")
    page.get_by_label("電話番号").fill("099-555-0171")
    page.get_by_label("FAX番号").fill("099-555-0172")
    page.get_by_label("発行日").fill("2026-11-04")
    page.get_by_label("11: 訪問介護").check()
    page.get_by_label("15: 通所介護").check()
    page.get_by_label("理由").fill("新しい事業所")
    page.get_by_label("チケット番号").fill("OPS-75")


@pytest.mark.parametrize("js", [True, False], ids=["with-js", "without-js"])
def test_s70_1_without_the_second_factor_nothing_but_the_login_can_be_reached(
    page_of: PageOf, desk: Desk, axe: Axe, shot: Shot, *, js: bool
) -> None:
    page, url = page_of(js=js), desk.product.demo["operator"]["url"]
    main = page.locator("main")
    for code, number in (("", "E-125"), ("000000", "E-102")):
        log_in(page, desk, code)
        expect(page.get_by_text(number)).to_be_visible()
        for place in PLACES:
            page.goto(url + place)
            expect(main).to_have_attribute("data-screen", "S-70")
    if js:
        axe(page)
        shot(page, "S-70-operator-login")
    log_in(page, desk)
    expect(main).to_have_attribute("data-screen", "S-74")
    page.get_by_role("button", name="ログアウト").first.click()
    expect(page.get_by_role("heading", name="ログアウトしました")).to_be_visible()
    page.goto(f"{url}/operator/offices")
    expect(main).to_have_attribute("data-screen", "S-70")


def test_s70_the_public_listener_has_no_console(desk: Desk, console_cookies: dict[str, str]) -> None:
    with httpx.Client(base_url=desk.url, cookies=console_cookies) as client:
        assert {client.get(place).status_code for place in (*PLACES, "/operator/login")} == {404}


@pytest.mark.parametrize("js", [True, False], ids=["with-js", "without-js"])
def test_s75_1_a_registered_office_has_its_kj_id_and_a_letter_that_is_ready(
    console_of: PageOf, desk: Desk, axe: Axe, shot: Shot, *, js: bool
) -> None:
    """S-07.1 to S-07.3 as well: the letter can be had once, what it tells logs in, then only 作り直す is left."""
    page, number = console_of(js=js), unused_number()
    page.goto("/operator/offices")
    page.get_by_role("link", name="事業所を登録する").click()
    if js:
        expect(page.get_by_role("heading", level=1)).to_have_text("事業所の登録")
        shot(page, "S-75-register")
    page.get_by_role("button", name="確認").click()
    for wrong in ("E-121", "E-122", "E-123", "E-120"):
        expect(page.get_by_text(wrong)).to_be_visible()
    if js:
        axe(page)
    fill_in(page, number)
    if js:
        axe(page)
    page.get_by_role("button", name="確認").click()
    expect(page.get_by_role("heading", name="この内容で登録します")).to_be_visible()
    if js:
        axe(page)
    page.get_by_role("button", name="登録する").click()
    expect(page.get_by_text(f"KJ99{number}").first).to_be_visible()
    expect(page.get_by_text("手紙（PDF）を取り出せるのは、作ったときの1回だけです。")).to_be_visible()
    if js:
        axe(page)
        shot(page, "S-75-registered")
    password = password_of(page, "手紙を作って取り出す", number)
    with Client(desk.url) as client:
        assert client.login_usage(f"KJ99{number}", password).must_change == ("office",)

    expect(page.locator("form[data-sending]")).to_have_count(0)  # the page stays where it is: it can be pressed again
    page.get_by_role("button", name="手紙を作って取り出す").click()
    expect(page.get_by_text("E-127")).to_be_visible()
    page.goto(f"/operator/offices/{number}")
    expect(page.get_by_text("同じ手紙は、もう取り出せません。")).to_be_visible()
    expect(page.get_by_role("button", name="手紙を作って取り出す")).to_have_count(0)
    page.get_by_text("作り直す（前の手紙は使えなくなります）").click()
    if js:
        axe(page)
        shot(page, "S-07-letter-again")
    say_why(page, "電子請求登録結果に関するお知らせ")
    renewed = password_of(page, "作り直して取り出す", number)
    with Client(desk.url) as client:
        with pytest.raises(ApiError, match="TDK-LOGIN-FAILED"):
            client.login_usage(f"KJ99{number}", password)
        client.login_usage(f"KJ99{number}", renewed)


def test_s07_3_a_page_that_knows_of_no_letter_makes_none_when_there_is_one(desk: Desk, operators: Operators) -> None:
    """Pressed twice, or in two windows: the second press does not spoil the letter of the first."""
    office = operators.newcomer()
    with console(desk) as client:
        page = client.get(f"/operator/offices/{office.number}").text
        form = {"reason": "x", "ticket": "OPS-1", "issued_on": "2026-11-04", "_form": proof_of(page)}
        stale = client.post(f"/operator/offices/{office.number}/letter", data={**form, "made": ""})
        assert (stale.status_code, "E-127" in stale.text) == (409, True)
    with Client(desk.url) as client:
        client.login_usage(office.kj_id, office.kj_password)


def test_s74_what_another_operator_has_decided_meanwhile_is_told(desk: Desk, operators: Operators) -> None:
    """Its form is gone from the page, so the sentence stands at the top; and no address of a form is a dead end."""
    office = operators.settled()
    with Client(desk.url) as client:
        client.login_usage(office.kj_id, office.kj_password)
        client.apply_for_licence("new", "港 冬子", "minato@example.jp")
    place = f"/operator/offices/{office.number}"
    with console(desk) as client:
        page = client.get(place).text
        [application] = set(re.findall(r'name="application" value="([^"]+)"', page))
        operators.refuse(office.number, "電話番号を確かめてください。")
        form = {"reason": "x", "ticket": "OPS-1", "application": application, "_form": proof_of(page)}
        late = client.post(f"{place}/approve", data=form)
        assert (late.status_code, "この申請は、もう決まっています。" in late.text) == (422, True)
        for act in ("approve", "letter"):
            assert client.get(f"{place}/{act}").headers["location"] == place
        lost = client.get("/", headers={"Accept": "text/html"})
        assert (lost.status_code, 'href="/operator/offices"' in lost.text) == (404, True)


def test_s75_2_a_number_that_is_there_is_shown_and_left_alone(console_of: PageOf, desk: Desk, axe: Axe) -> None:
    page, office = console_of(), desk.office(SETTLED)
    page.goto("/operator/offices/new")
    page.get_by_label("事業所番号").fill(SETTLED)
    page.get_by_label("事業所名").fill("べつの名前")
    page.get_by_label("17: 福祉用具貸与").check()
    page.get_by_label("理由").fill("新しい事業所")
    page.get_by_label("チケット番号").fill("OPS-75")
    page.get_by_role("button", name="確認").click()
    page.get_by_role("button", name="登録する").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(office.name)
    expect(page.get_by_text("E-126")).to_be_visible()
    axe(page)


@pytest.mark.parametrize("js", [True, False], ids=["with-js", "without-js"])
def test_s74_an_application_is_approved_and_the_office_has_its_c_id(
    console_of: PageOf, operators: Operators, desk: Desk, axe: Axe, shot: Shot, *, js: bool
) -> None:
    office, page = operators.settled("みなと訪問介護"), console_of(js=js)
    with Client(desk.url) as client:
        client.login_usage(office.kj_id, office.kj_password)
        client.apply_for_licence("new", "港 夏子", "minato@example.jp")
        page.goto("/operator/offices")
        row = page.get_by_role("row").filter(has_text="港 夏子").filter(has_text=office.number)
        if js:
            axe(page)
            shot(page, "S-74-offices")
        row.get_by_role("link", name="内容を見て決める").click()
        expect(page.get_by_text("承認を待っています")).to_be_visible()
        if js:
            shot(page, "S-74-office")
        page.get_by_role("button", name="承認", exact=True).click()
        expect(page.get_by_text("E-120")).to_be_visible()
        assert client.own_office().c_id is None
        say_why(page, "利用申請")
        if js:
            axe(page)
        page.get_by_role("button", name="承認", exact=True).click()
        expect(page.get_by_text("承認しました。", exact=True)).to_be_visible()
        own = client.own_office()
        assert own.c_id is not None
        assert own.standing == "licensed"
        expect(page.get_by_role("region", name="利用者")).to_contain_text("港 夏子")
        past = page.get_by_role("region", name="履歴", exact=True)
        for words in (
            "OPS-74",
            "操作：利用申請の承認",
            "利用申請を受け付けました",
            "登録されました",
            "操作：手紙の作成",
        ):
            expect(past).to_contain_text(words)
        if js:
            axe(page)


def test_s74_a_refused_application_answers_the_office(console_of: PageOf, operators: Operators, desk: Desk) -> None:
    office, page = operators.settled(), console_of()
    with Client(desk.url) as client:
        client.login_usage(office.kj_id, office.kj_password)
        client.apply_for_licence("new", "港 秋子", "minato@example.jp")
        page.goto(f"/operator/offices/{office.number}")
        page.get_by_text("承認しない").first.click()
        say = page.get_by_role("region", name="利用申請").locator("form[action$=refuse]")
        say.get_by_label("理由").fill("電話がつながらない")
        say.get_by_label("チケット番号").fill("OPS-74")
        say.get_by_role("button", name="承認しない").click()
        expect(page.get_by_text("E-128")).to_be_visible()
        say.get_by_label("事業所への答え").fill("電話番号を確かめてください。")
        say.get_by_role("button", name="承認しない").click()
        expect(page.get_by_text("承認しませんでした").first).to_be_visible()
        told = client.own_office().application
        assert told is not None
        assert (told.state, told.answer) == ("refused", "電話番号を確かめてください。")


def test_s74_1_a_suspended_office_is_not_sent_to_and_still_reads_its_lists(
    console_of: PageOf, operators: Operators, desk: Desk, axe: Axe
) -> None:
    office, page = operators.manned("しおかぜ訪問介護"), console_of()
    sender = desk.office("9970100018")
    page.goto(f"/operator/offices/{office.number}")
    page.get_by_text("休止する").first.click()
    axe(page)
    say_why(page, "登録されている内容")
    page.get_by_role("region", name="登録されている内容").locator("form button").click()
    expect(page.get_by_text("休止しました。", exact=True)).to_be_visible()
    with Client(desk.url) as client, Client(desk.url) as own:
        client.login(sender.c_id, sender.c_password, sender.kj_id, sender.kj_password)
        assert until_refused(lambda: client.send(office.number, text="届きますか")) == "E-302"
        own.login(office.c_id, office.c_password, office.kj_id, office.kj_password)
        own.received()
    page.get_by_text("再開する").first.click()
    say_why(page, "登録されている内容")
    page.get_by_role("region", name="登録されている内容").locator("form button").click()
    expect(page.get_by_text("再開しました。", exact=True)).to_be_visible()


def test_s74_offices_are_found_by_number_and_name_and_by_what_ends_soon(
    console_of: PageOf, desk: Desk, operators: Operators
) -> None:
    """What has ended already ends no more, and such an office does not take part."""
    page, office = console_of(), desk.office(SETTLED)
    page.goto("/operator/offices")
    table = page.get_by_role("region", name="事業所の表")
    for typed in (office.number, office.name):
        page.get_by_label("番号か名前").fill(typed)
        page.get_by_role("button", name="探す").click()
        expect(table.get_by_role("row")).to_have_count(2)
        expect(table).to_contain_text(office.name)
    page.get_by_role("link", name="条件を消す").click()
    over = operators.registered("もう終わった訪問介護")
    operators.set_licence(over, (date.today() - timedelta(days=3)).isoformat())  # noqa: DTZ011 (any day that is over)
    page.get_by_label("番号か名前").fill(over)
    page.get_by_role("button", name="探す").click()
    expect(table.get_by_role("row").nth(1)).to_contain_text("不参加")
    expect(table.get_by_role("row").nth(1)).to_contain_text("期限切れ（取得のみ）")
    page.get_by_label("60日以内にライセンスが終わるもの").check()
    page.get_by_role("button", name="探す").click()
    expect(page.get_by_text("あてはまる事業所はありません。")).to_be_visible()
    page.get_by_label("番号か名前").fill("")
    page.get_by_role("button", name="探す").click()
    expect(table).to_contain_text("せせらぎ訪問看護ステーション")
    expect(table).not_to_contain_text(office.name)
    page.get_by_label("番号か名前").fill("どこにもない事業所")
    page.get_by_role("button", name="探す").click()
    expect(page.get_by_text("あてはまる事業所はありません。")).to_be_visible()


@pytest.mark.parametrize("width", [820, 1366, 1920])
def test_s00_the_pages_of_the_console_keep_the_rules(console_of: PageOf, desk: Desk, width: int) -> None:
    page = console_of(width=width)
    for place in ("/operator/login", *PLACES[1:]):
        visit(page, place, desk.product.demo["operator"]["url"])
    page.goto("/operator/offices")
    assert "本文へ進む" in walk(page)[0]


def test_the_console_s_session_and_forms_are_its_own(desk: Desk) -> None:
    known = desk.product.demo["operator"]
    [(name, portal)] = desk.cookies(SETTLED).items()
    other = name.replace("-office", "-operator")
    with httpx.Client(base_url=known["url"]) as client:
        for place in PLACES:
            for cookie in ("", f"{other}={portal}", f"{name}={portal}"):
                answer = client.get(place, headers={"Cookie": cookie})
                assert urlsplit(answer.headers["location"]).path == "/operator/login"
    with console(desk) as client:
        forms = re.findall(r'action="(/operator[^"]+)"', client.get(f"/operator/offices/{SETTLED}").text)
        assert len(set(forms)) >= 3
        for place in {*forms, "/operator/offices", "/operator/offices/new", "/operator/session/on"}:
            for headers, proof in (({"Origin": desk.url, "Sec-Fetch-Site": "same-site"}, ""), ({}, "AAAA")):
                answer = client.post(place, data={"_form": proof}, headers=headers)
                assert (answer.status_code, "E-604" in answer.text) == (403, True), place
        assert client.get("/operator/offices/0000000000").status_code == 404
