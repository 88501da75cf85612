"""S-03 to S-06: 利用状況Webサイト, from the letter to the first login of the office's first person."""

import html
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.screens.browsing import Desk, Office, proof_of, scrolls_sideways
from tests.screens.conftest import PASSWORD_DAYS, PageOf
from tests.screens.operating import Operators
from tests.screens.rules import fits, visit
from tests.screens.test_everybody import walk
from todoke.client import ApiError, Client, NotLoggedIn
from todoke.relay.clock import in_japan

SETTLED = "9970100216"
"""A practice office, licensed, of which nothing is changed here."""

ADDRESSES = ("/usage", "/usage/apply?kind=new", "/usage/auto-renew", "/usage/password", "/usage/first")
PASSWORD = "さくらの花が3月に咲く庭のある家"

Axe = Callable[[Page], None]
Shot = Callable[[Page, str], None]


def log_in(page: Page, office: Office, place: str = "/usage/login") -> None:
    page.goto(place)
    page.get_by_label("ユーザID").fill(office.kj_id)
    page.get_by_label("パスワード").fill(office.kj_password)
    page.get_by_role("button", name="ログイン", exact=True).click()


def fill_in(page: Page, name: str = "響 花子", mail: str = "hibiki@example.jp") -> None:
    page.get_by_label("担当者名").fill(name)
    page.get_by_label("メールアドレス").fill(mail)
    page.get_by_label("利用規約に同意します").check()
    page.get_by_role("button", name="確認").click()


def panel(page: Page, name: str) -> str:
    return page.get_by_role("region", name=name).inner_text()


def day(of: date) -> str:
    return f"{of.year}/{of.month}/{of.day}"


@pytest.mark.parametrize("js", [True, False], ids=["with-js", "without-js"])
def test_s03_1_the_pair_of_the_letter_opens_the_site_once_a_new_password_is_set(
    page_of: PageOf, operators: Operators, axe: Axe, shot: Shot, *, js: bool
) -> None:
    office, page = operators.newcomer(), page_of(js=js)
    page.goto("/usage/login")
    main = page.locator("main")
    expect(main).to_have_attribute("data-screen", "S-03")
    expect(page.get_by_role("heading", level=1)).to_have_text("ケアプランデータ連携システム 利用状況Webサイト")
    label = "ユーザID（電子請求受付システムで使用するKJから始まる14桁のユーザIDを入力ください）"
    expect(page.get_by_label(label)).to_be_focused()
    expect(page.get_by_text("【事業所ユーザID/パスワードの発行、ケアプラン証明書の取得はこちら】")).to_be_visible()
    if js:
        axe(page)
        shot(page, "S-03-usage-login")
    log_in(page, office)
    for place in ADDRESSES:
        page.goto(place)
        expect(main).to_have_attribute("data-screen", "S-08")
    if js:
        axe(page)
    page.get_by_label("いまのパスワード").fill(office.kj_password)
    page.get_by_label("新しいパスワード", exact=True).fill(PASSWORD)
    page.get_by_label("新しいパスワード（もう一度）").fill(PASSWORD)
    page.get_by_role("button", name="このパスワードに決める").click()
    expect(main).to_have_attribute("data-screen", "S-04")
    expect(page.get_by_text("準備ができました")).to_be_visible()
    expect(page.get_by_text("利用申請がまだです")).to_be_visible()
    if js:
        axe(page)
        shot(page, "S-04-usage-new")
    page.get_by_role("button", name="ログアウト").first.click()
    expect(page.get_by_role("heading", name="ログアウトしました")).to_be_visible()
    page.goto("/usage")
    expect(main).to_have_attribute("data-screen", "S-03")


@pytest.mark.parametrize("js", [True, False], ids=["with-js", "without-js"])
def test_s02_6_an_expired_password_leads_to_a_new_one_and_on(
    page_of: PageOf, operators: Operators, desk: Desk, shot: Shot, *, js: bool
) -> None:
    """Here as in the portal: E-106 says when it expired, no other page is reached, and then one goes on."""
    office, page = operators.settled(), page_of(js=js)
    [[expired]] = desk.sql(
        "UPDATE registry.office_credential SET password_changed_at = now() - make_interval(days => $2) "
        "WHERE office = $1 RETURNING password_changed_at + make_interval(days => $3)",
        office.number,
        PASSWORD_DAYS + 40,
        PASSWORD_DAYS,
    )
    log_in(page, office)
    for place in ADDRESSES:
        page.goto(place)
        expect(page.locator("main")).to_have_attribute("data-screen", "S-08")
    told = f"パスワードの有効期限が{day(in_japan(expired).date())}に切れました。"
    expect(page.get_by_text(told)).to_be_visible()
    if js:
        fits(page)
        shot(page, "S-08-usage-expired")
    page.get_by_label("いまのパスワード").fill(office.kj_password)
    page.get_by_label("新しいパスワード", exact=True).fill(office.kj_password)
    page.get_by_label("新しいパスワード（もう一度）").fill(office.kj_password)
    page.get_by_role("button", name="このパスワードに決める").click()
    expect(page.get_by_text("E-108")).to_be_visible()
    expect(page.get_by_text(told)).to_be_visible()
    page.get_by_label("いまのパスワード").fill(office.kj_password)
    page.get_by_label("新しいパスワード", exact=True).fill(PASSWORD)
    page.get_by_label("新しいパスワード（もう一度）").fill(PASSWORD)
    page.get_by_role("button", name="このパスワードに決める").click()
    expect(page.locator("main")).to_have_attribute("data-screen", "S-04")
    expect(page.get_by_text("準備ができました")).to_be_visible()


def test_s03_2_a_c_id_is_explained_and_counts_as_no_failure(page_of: PageOf, desk: Desk, axe: Axe) -> None:
    office = desk.office(SETTLED)
    with httpx.Client(base_url=desk.url, headers={"Origin": desk.url}) as client:
        form = {"user_id": office.c_id, "password": "x", "_form": proof_of(client.get("/usage/login").text)}
        for _ in range(11):  # more often than the lock allows
            assert "E-105" in client.post("/usage/login", data=form).text
    page = page_of()
    page.goto("/usage/login")
    page.get_by_label("ユーザID").fill("　ｃ0000481526 ")
    page.get_by_label("パスワード").fill("whatever")
    page.get_by_role("button", name="ログイン", exact=True).click()
    expect(page.get_by_text("E-105")).to_be_visible()
    expect(page.get_by_label("ユーザID")).to_have_attribute("aria-invalid", "true")
    axe(page)
    log_in(page, office)
    expect(page.locator("main")).to_have_attribute("data-screen", "S-04")


def test_s03_what_is_wrong_with_a_login_is_said_under_its_field(page_of: PageOf, desk: Desk) -> None:
    office, page = desk.office(SETTLED), page_of()
    for typed, password, number in (
        (office.kj_id[:9], "x", "E-104"),
        ("", "x", "E-112"),
        (office.kj_id, "", "E-113"),
        (office.kj_id, "wrong", "E-102"),
    ):
        page.goto("/usage/login")
        page.get_by_label("ユーザID").fill(typed)
        page.get_by_label("パスワード").fill(password)
        page.get_by_role("button", name="ログイン", exact=True).click()
        expect(page.get_by_text(number)).to_be_visible()
        expect(page.get_by_label("ユーザID")).to_have_value(typed)
        expect(page.get_by_label("パスワード")).to_have_value("")


def test_s01_6_the_hint_of_the_first_step_leads_here_and_back_with_the_typed_id(page_of: PageOf) -> None:
    page = page_of()
    page.goto("/login")
    page.get_by_label("ユーザID").fill("c0000481526")
    page.get_by_role("link", name="ケアプランデータ連携システム利用状況Webサイト").click()
    expect(page.locator("main")).to_have_attribute("data-screen", "S-03")
    page.go_back()
    expect(page.get_by_label("ユーザID")).to_have_value("c0000481526")


@pytest.mark.parametrize("js", [True, False], ids=["with-js", "without-js"])
def test_s05_1_an_application_waits_until_an_operator_approves_it(
    page_of: PageOf, operators: Operators, axe: Axe, shot: Shot, *, js: bool
) -> None:
    """S-04.1 and S-04.2 as well: then the c-ID is shown, and the line says that it is complete."""
    office, page = operators.settled(), page_of(js=js)
    log_in(page, office)
    assert "「c」から始まるユーザIDが出ます" in panel(page, "ケアプランデータ連携システムのユーザID（1段目で使います）")
    page.get_by_role("link", name="利用申請", exact=True).click()
    expect(page.locator("main")).to_have_attribute("data-screen", "S-05")
    for fact in (office.number, office.name, "練習県青空市響町1番", "099-555-0161"):
        expect(page.get_by_role("definition").filter(has_text=fact)).to_be_visible()
    expect(page.get_by_label("はい。期限が来たら、自動で1年更新します。")).to_be_checked()
    if js:
        axe(page)
        shot(page, "S-05-usage-apply")
    page.get_by_role("button", name="確認").click()
    for wrong in ("E-116", "E-117", "E-118"):
        expect(page.get_by_text(wrong)).to_be_visible()
    if js:
        expect(page.get_by_role("alert").filter(has_text="直すところが3つあります")).to_be_focused()
        axe(page)
    fill_in(page)
    expect(page.get_by_role("heading", name="この内容で申請します")).to_be_visible()
    if js:
        axe(page)
        shot(page, "S-05-usage-apply-sure")
    page.get_by_role("button", name="戻って直す").click()
    expect(page.get_by_label("担当者名")).to_have_value("響 花子")
    fill_in(page, name="響 春子")
    page.get_by_role("button", name="申請する").click()
    expect(page.get_by_text("受け付けました。", exact=True)).to_be_visible()
    expect(page.get_by_role("button", name="利用申請", exact=True)).to_be_disabled()
    page.goto("/usage/apply?kind=new")
    expect(page.locator("main")).to_have_attribute("data-screen", "S-04")
    if js:
        axe(page)
    operators.approve(office.number)
    page.reload()
    expect(page.get_by_text("利用申請が正常に完了しております。")).to_be_visible()
    expect(page.get_by_role("button", name="利用申請", exact=True)).to_be_disabled()
    expect(page.locator("#c-id")).to_have_text(
        operators.client.operator_office(operators.token, office.number).users[0].id
    )
    assert "自動で更新します" in panel(page, "ライセンス")
    if js:
        axe(page)


def test_s05_1_a_refused_office_reads_why_and_may_apply_again(page_of: PageOf, operators: Operators, axe: Axe) -> None:
    office, page = operators.settled(), page_of()
    with Client(operators.desk.url) as client:
        client.login_usage(office.kj_id, office.kj_password)
        client.apply_for_licence("new", "響 花子", "hibiki@example.jp")
    operators.refuse(office.number, "電話番号を確かめてください。")
    log_in(page, office)
    expect(page.get_by_text("利用申請は承認されませんでした。")).to_be_visible()
    expect(page.get_by_text("電話番号を確かめてください。")).to_be_visible()
    axe(page)
    page.get_by_role("link", name="利用申請", exact=True).click()
    expect(page.get_by_label("担当者名")).to_have_value("響 花子")


def test_s00_7_a_second_press_ends_as_the_first(desk: Desk, operators: Operators) -> None:
    office = operators.settled()
    with site_of(desk, office) as client:
        proof = proof_of(client.get("/usage/apply?kind=new").text)
        form = {"_form": proof, "kind": "new", "contact_name": "響 花子", "mail": "h@example.jp", "terms": "yes"}
        answers = [client.post("/usage/apply/send", data=form) for _ in range(2)]
        assert [(each.status_code, each.headers["location"]) for each in answers] == [(303, "/usage?told=applied")] * 2
        other = client.post("/usage/apply/send", data={**form, "contact_name": "響 次郎"})
        assert (other.status_code, "E-640" in other.text) == (409, True)


@pytest.mark.parametrize("js", [True, False], ids=["with-js", "without-js"])
def test_s04_3_a_password_made_anew_takes_the_place_of_the_old_one_and_is_shown_once(
    page_of: PageOf, operators: Operators, desk: Desk, axe: Axe, shot: Shot, *, js: bool
) -> None:
    """S-04.4 as well: no later answer holds it."""
    office, page = operators.licensed(), page_of(js=js)
    log_in(page, office)
    shown: list[str] = []
    for name, pressed in (("パスワードを発行する", "発行する"), ("パスワードを作り直す", "作り直す")):
        page.get_by_role("link", name=name).click()
        dialog = page.get_by_role("dialog")
        if js:
            expect(dialog.get_by_role("heading")).to_be_focused()
            axe(page)
        dialog.get_by_label("事業所ユーザ（KJから始まるID）のパスワード").fill("ちがうパスワードです")
        dialog.get_by_role("button", name=pressed).click()
        expect(dialog.get_by_text("E-102")).to_be_visible()
        dialog.get_by_label("事業所ユーザ（KJから始まるID）のパスワード").fill(office.kj_password)
        dialog.get_by_role("button", name=pressed).click()
        expect(dialog.get_by_text("いま1回だけ出しています")).to_be_visible()
        shown.append(page.locator("#password-once").inner_text())
        if js:
            expect(dialog.get_by_role("button", name="印刷")).to_be_visible()
            axe(page)
            shot(page, "S-04-usage-password")
        dialog.get_by_role("link", name="閉じる").click()
        for place in ("/usage", "/usage/password"):
            page.goto(place)
            assert not any(password in page.content() for password in shown)
        page.goto("/usage")
    assert shown[0] != shown[1]
    with Client(desk.url) as client:
        with pytest.raises(ApiError, match="TDK-LOGIN-FAILED"):
            client.login_person(office.c_id, shown[0])
        assert client.login_person(office.c_id, shown[1]).step_token


def test_s04_3_whoever_is_logged_in_with_the_c_id_is_logged_out(operators: Operators, desk: Desk) -> None:
    office = operators.licensed()
    with site_of(desk, office) as client, Client(desk.url) as person:
        form = {"password": office.kj_password}
        page = client.post("/usage/password", data={**form, "_form": proof_of(client.get("/usage/password").text)})
        password = html.unescape(page.text.partition('id="password-once">')[2].partition("<")[0])
        person.login(office.c_id, password, office.kj_id, office.kj_password)
        assert client.post("/usage/password", data={**form, "_form": proof_of(page.text)}).status_code == 200
        with pytest.raises(NotLoggedIn):
            person.change_password("person", password, PASSWORD)


def test_s05_2_a_renewal_adds_a_year_and_an_event_says_who_did_it(
    page_of: PageOf, operators: Operators, desk: Desk, axe: Axe
) -> None:
    office, page = operators.licensed(), page_of()
    soon = date.today() + timedelta(days=40)  # noqa: DTZ011 (any day of the window will do)
    operators.set_licence(office.number, soon.isoformat())
    log_in(page, office)
    assert day(soon) in panel(page, "ライセンス")
    page.get_by_role("link", name="利用更新").click()
    expect(page.get_by_role("definition").filter(has_text="更新")).to_be_visible()
    fill_in(page)
    page.get_by_role("button", name="申請する").click()
    expect(page.get_by_text("利用更新をしました。")).to_be_visible()
    renewed = operators.client.operator_office(operators.token, office.number).facts.licence_until
    assert renewed is not None
    assert (renewed.year, renewed - soon >= timedelta(days=365)) == (soon.year + 1, True)
    expect(page.get_by_text(f"新しいライセンス期限は {day(renewed)} です。")).to_be_visible()
    assert day(renewed) in panel(page, "ライセンス")
    expect(page.get_by_role("button", name="利用更新")).to_be_disabled()
    axe(page)
    [[said]] = desk.sql(
        "SELECT payload::text FROM registry.journal_office WHERE type = 'LicenceChanged' AND key = $1 "
        "ORDER BY seq DESC LIMIT 1",
        office.number,
    )
    payload = json.loads(said)
    assert (payload["cause"], payload["actor"]) == ("renewed", {"kind": "office", "id": office.number})


def test_s05_3_a_renewal_is_not_offered_early_and_its_day_is_told(page_of: PageOf, desk: Desk, axe: Axe) -> None:
    page = page_of()
    log_in(page, desk.office(SETTLED))
    expect(page.get_by_role("button", name="利用更新")).to_be_disabled()
    expect(page.get_by_text("からできます。")).to_be_visible()
    page.goto("/usage/apply?kind=renewal")
    expect(page.locator("main")).to_have_attribute("data-screen", "S-04")
    axe(page)


@pytest.mark.parametrize("js", [True, False], ids=["with-js", "without-js"])
def test_s06_1_the_automatic_renewal_is_stopped_and_resumed(
    page_of: PageOf, operators: Operators, axe: Axe, shot: Shot, *, js: bool
) -> None:
    office, page = operators.licensed(), page_of(js=js)
    log_in(page, office)
    if js:
        shot(page, "S-04-usage")
    until = operators.client.operator_office(operators.token, office.number).facts.licence_until
    assert until is not None
    page.get_by_role("link", name="自動更新を止める").click()
    dialog = page.get_by_role("dialog", name="自動更新を止めますか")
    expect(dialog.get_by_text(f"{day(until)}のあとは、送信ができなくなります。")).to_be_visible()
    expect(dialog.get_by_text("届いているデータの取得は、そのあと30日間できます。")).to_be_visible()
    if js:
        axe(page)
        shot(page, "S-06-usage-stop")
        page.keyboard.press("Escape")
        expect(page).to_have_url(f"{operators.desk.url}/usage")
        assert "自動で更新します" in panel(page, "ライセンス")
        page.get_by_role("link", name="自動更新を止める").click()
    dialog.get_by_role("button", name="自動更新を止める").click()
    assert "自動では更新しません" in panel(page, "ライセンス")
    expect(page.get_by_text("自動更新を止めました。")).to_be_visible()
    page.get_by_role("button", name="自動更新を再開する").click()
    expect(page.get_by_role("link", name="自動更新を止める")).to_be_visible()
    assert "自動で更新します" in panel(page, "ライセンス")


def test_s06_1_after_the_last_day_nothing_is_resumed(page_of: PageOf, operators: Operators, axe: Axe) -> None:
    office, page = operators.licensed(), page_of()
    operators.set_licence(office.number, (date.today() - timedelta(days=3)).isoformat())  # noqa: DTZ011 (any day that is over)
    log_in(page, office)
    expect(page.get_by_text("ライセンスの期限が過ぎました。")).to_be_visible()
    expect(page.get_by_role("link", name="利用更新")).to_be_visible()
    expect(page.get_by_role("button", name="自動更新を再開する")).to_have_count(0)
    axe(page)


@pytest.mark.parametrize("width", [820, 1366, 1920])
def test_s00_the_pages_of_the_site_keep_the_rules(page_of: PageOf, desk: Desk, width: int) -> None:
    """S-00.3, S-00.4, S-00.5, S-00.6, S-D.1 to S-D.3."""
    page = page_of(width=width)
    log_in(page, desk.office(SETTLED))
    for place in ("/usage/login", "/usage/logged-out", "/usage", "/usage/password"):
        visit(page, place, desk.url)
    page.goto("/usage")
    assert "本文へ進む" in walk(page)[0]
    page.evaluate("() => document.documentElement.style.setProperty('font-size', '200%')")
    assert not scrolls_sideways(page)


@contextmanager
def site_of(desk: Desk, office: Office) -> Iterator[httpx.Client]:
    """A browser without scripts, logged in to the site."""
    headers = {"Origin": desk.url, "Sec-Fetch-Site": "same-origin"}
    form = {"user_id": office.kj_id, "password": office.kj_password}
    with httpx.Client(base_url=desk.url, headers=headers, timeout=30) as client:
        answer = client.post("/usage/login", data={**form, "_form": proof_of(client.get("/usage/login").text)})
        assert (answer.status_code, answer.headers["location"]) == (303, "/usage")
        yield client


def test_the_sessions_of_the_two_sites_are_worth_nothing_to_each_other(desk: Desk) -> None:
    office = desk.office(SETTLED)
    [(name, portal)] = desk.cookies(SETTLED).items()
    with site_of(desk, office) as client:
        usage = client.cookies[name.replace("-office", "-usage")]
        for place in ("/", "/received", "/session/list"):
            assert client.get(place, headers={"Cookie": f"{name}={usage}"}).headers["location"].startswith("/login")
        for place in ADDRESSES:
            other = {"Cookie": f"{name.replace('-office', '-usage')}={portal}; {name}={portal}"}
            assert client.get(place, headers=other).headers["location"].startswith("/usage/login")


def test_a_new_login_has_a_new_cookie_and_ends_the_session_before_it(desk: Desk) -> None:
    office = desk.office(SETTLED)
    with site_of(desk, office) as client:
        [before] = [value for name, value in client.cookies.items() if name.endswith("-usage")]
        form = {"user_id": office.kj_id, "password": office.kj_password}
        client.post("/usage/login", data={**form, "_form": proof_of(client.get("/usage/login").text)})
        [name] = [each for each in client.cookies if each.endswith("-usage")]
        assert client.cookies[name] != before
        client.cookies.set(name, before)
        assert client.get("/usage").headers["location"] == "/usage/login?next=/usage&ended=1"


def test_a_form_of_another_session_changes_nothing(desk: Desk, operators: Operators) -> None:
    """What one office's page has posts nothing for another: E-604, and all is as it was."""
    office = operators.licensed()
    with site_of(desk, desk.office(SETTLED)) as stranger, site_of(desk, office) as client:
        proof = proof_of(stranger.get("/usage/password").text)
        forms = {
            "/usage/auto-renew": {"renews": "no"},
            "/usage/password": {"password": office.kj_password},
            "/usage/apply": {},
            "/usage/apply/send": {"kind": "new", "contact_name": "x", "mail": "x@example.jp", "terms": "yes"},
            "/usage/session/on": {},
            "/usage/logout": {},
        }
        for place, fields in forms.items():
            for headers in ({}, {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}):
                answer = client.post(place, data={**fields, "_form": proof}, headers=headers)
                assert (answer.status_code, "E-604" in answer.text) == (403, True), place
        page = client.get("/usage").text
        assert "自動で更新します" in page
        assert "まだ発行していません" in page


def test_where_the_login_leads_to_is_always_this_site(desk: Desk) -> None:
    office = desk.office(SETTLED)
    for wanted, place in (
        ("/usage/password", "/usage/password"),
        ("//evil.example/usage/", "/usage"),
        ("https://evil.example", "/usage"),
        ("/received", "/usage"),
    ):
        with httpx.Client(base_url=desk.url, headers={"Origin": desk.url, "Sec-Fetch-Site": "same-origin"}) as client:
            proof = proof_of(client.get("/usage/login", params={"next": wanted}).text)
            form = {"user_id": office.kj_id, "password": office.kj_password, "next": wanted, "_form": proof}
            assert client.post("/usage/login", data=form).headers["location"] == place
