"""S-01, S-02, S-09: into the portal by two steps, and out."""

import hashlib
import re
from collections.abc import Callable

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.screens.browsing import Desk, proof_of, type_login
from tests.screens.conftest import PageOf

MANAGER, HELPER = "9970100018", "9970100117"
HINT = "ケアプランデータ連携システム利用状況Webサイトにログイン後に表示されるcから始まるユーザIDを入力ください"

Axe = Callable[[Page], None]
Shot = Callable[[Page, str], None]


def first_step(page: Page, user: str, password: str) -> None:
    page.goto("/login")
    page.get_by_label("ユーザID").fill(user)
    page.get_by_label("パスワード").fill(password)
    page.get_by_role("button", name="ログイン").click()


def test_s01_1_the_page_opens_with_focus_in_the_id_and_the_words_of_the_manual(
    page_of: PageOf, axe: Axe, shot: Shot
) -> None:
    page = page_of()
    page.goto("/login")
    field = page.get_by_label("ユーザID")
    expect(field).to_be_focused()
    expect(field).to_have_attribute("placeholder", "cから始まるユーザIDを入力してください")
    expect(page.get_by_label("パスワード")).to_have_attribute("placeholder", "パスワードを入力してください")
    assert page.locator("#user_id-hint").inner_text() == HINT
    axe(page)
    shot(page, "S-01-login")


def test_s01_2_a_right_pair_leads_to_the_second_step_and_to_no_data(page_of: PageOf, desk: Desk) -> None:
    page, office = page_of(), desk.office(MANAGER)
    first_step(page, office.c_id, office.c_password)
    expect(page.get_by_role("heading", name="事業所ユーザログイン")).to_be_visible()
    for place in ("/", "/received", "/sent"):
        page.goto(place)
        expect(page.locator("main")).to_have_attribute("data-screen", "S-01")


def test_s01_3_a_kj_id_is_explained_and_counts_as_no_failure(page_of: PageOf, desk: Desk, axe: Axe, shot: Shot) -> None:
    with httpx.Client(base_url=desk.url, headers={"Origin": desk.url}) as client:
        form = {"user_id": "KJ999970100018", "password": "x", "_form": proof_of(client.get("/login").text)}
        for _ in range(11):  # more often than the lock allows
            assert "E-101" in client.post("/login", data=form).text
    page = page_of()
    first_step(page, "ＫＪ999970100018", "whatever")
    expect(page.get_by_text("E-101")).to_be_visible()
    expect(page.get_by_label("ユーザID")).to_have_attribute("aria-invalid", "true")
    axe(page)
    shot(page, "S-01-login-wrong-id")
    first_step(page, desk.office(MANAGER).c_id, desk.office(MANAGER).c_password)
    expect(page.get_by_role("heading", name="事業所ユーザログイン")).to_be_visible()


def test_s01_4_a_wrong_pair_keeps_the_id_and_asks_for_the_password(page_of: PageOf, axe: Axe) -> None:
    page = page_of()
    first_step(page, "c0000000000", "wrong")
    expect(page.get_by_text("E-102")).to_be_visible()
    expect(page.get_by_label("ユーザID")).to_have_value("c0000000000")
    expect(page.get_by_label("パスワード")).to_have_value("")
    expect(page.get_by_label("パスワード")).to_be_focused()
    axe(page)


def test_s01_7_full_width_letters_and_spaces_are_understood(page_of: PageOf, desk: Desk) -> None:
    page, office = page_of(), desk.office(MANAGER)
    wide = "".join(chr(ord(each) + 0xFEE0) for each in office.c_id)
    first_step(page, f"　{wide} ", office.c_password)
    expect(page.get_by_role("heading", name="事業所ユーザログイン")).to_be_visible()


@pytest.mark.parametrize("js", [True, False], ids=["with-js", "without-js"])
def test_s02_1_the_second_step_opens_the_top_page_of_the_office(
    page_of: PageOf, desk: Desk, shot: Shot, *, js: bool
) -> None:
    page, office = page_of(js=js), desk.office(HELPER)
    type_login(page, office)
    head = page.get_by_role("banner")
    expect(head).to_contain_text(office.name)
    expect(head).to_contain_text(office.number)
    shot(page, "S-10-top")


def test_s02_2_back_ends_the_half_session_and_keeps_the_id(page_of: PageOf, desk: Desk, axe: Axe, shot: Shot) -> None:
    page, office = page_of(), desk.office(MANAGER)
    first_step(page, office.c_id, office.c_password)
    expect(page.get_by_role("heading", name="事業所ユーザログイン")).to_be_visible()
    axe(page)
    shot(page, "S-02-login-office")
    page.get_by_role("button", name="戻る").click()
    expect(page.get_by_label("ユーザID")).to_have_value(office.c_id)
    page.goto("/login/office")
    expect(page.locator("main")).to_have_attribute("data-screen", "S-01")


def test_s02_3_an_id_of_another_length_is_counted_out_loud(page_of: PageOf, desk: Desk) -> None:
    page, office = page_of(), desk.office(MANAGER)
    first_step(page, office.c_id, office.c_password)
    page.get_by_label("ユーザID").fill("KJ9999701000")
    page.get_by_label("パスワード").fill("x")
    page.get_by_role("button", name="ログイン").click()
    expect(page.get_by_text("いま12文字入っています")).to_be_visible()
    expect(page.get_by_text("E-104")).to_be_visible()


@pytest.mark.parametrize("js", [True, False], ids=["with-js", "without-js"])
def test_s09_1_logging_out_ends_the_session_on_the_server_and_back_shows_nothing(
    page_of: PageOf,
    desk: Desk,
    axe: Axe,
    shot: Shot,
    *,
    js: bool,
) -> None:
    page = page_of(HELPER, fresh=True, js=js)
    page.goto("/received")
    stolen = {each["name"]: each["value"] for each in page.context.cookies()}
    page.get_by_role("button", name="ログアウト").click()
    expect(page.get_by_role("heading", name="ログアウトしました")).to_be_visible()
    if js:
        axe(page)
        shot(page, "S-09-logged-out")
    page.go_back()
    expect(page.locator("main")).to_have_attribute("data-screen", "S-01")
    expect(page.get_by_text(desk.office(HELPER).name)).to_have_count(0)
    answer = httpx.get(f"{desk.url}/received", cookies=stolen)
    assert (answer.status_code, answer.headers["location"]) == (303, "/login?next=/received&ended=1")


def test_s01_5_a_locked_account_is_told_the_minutes_and_the_right_password_does_not_open_it(
    page_of: PageOf, desk: Desk, axe: Axe, shot: Shot
) -> None:
    office = desk.colleague(HELPER, "staff", c_id="c9000000011")
    page = page_of()
    with httpx.Client(base_url=desk.url, headers={"Origin": desk.url}) as client:
        form = {"user_id": office.c_id, "password": "wrong", "_form": proof_of(client.get("/login").text)}
        for _ in range(10):
            assert client.post("/login", data=form).status_code == 422
    first_step(page, office.c_id, office.c_password)
    expect(page.get_by_text("あと5分待ってから")).to_be_visible()
    expect(page.get_by_text("E-103")).to_be_visible()
    axe(page)
    shot(page, "S-01-login-locked")


def test_s01_6_the_link_in_the_hint_opens_the_other_site_here_and_back_the_id_is_still_typed(page_of: PageOf) -> None:
    page = page_of()
    page.goto("/login")
    page.get_by_label("ユーザID").press_sequentially("c12345")
    page.get_by_role("link", name="ケアプランデータ連携システム利用状況Webサイト").click()
    page.wait_for_url("**/usage/login")
    assert len(page.context.pages) == 1
    page.go_back()
    expect(page.get_by_label("ユーザID")).to_have_value("c12345")


def test_s02_5_a_half_session_of_ten_minutes_is_too_old(page_of: PageOf, desk: Desk, axe: Axe) -> None:
    page, office = page_of(), desk.office(MANAGER)
    first_step(page, office.c_id, office.c_password)
    expect(page.get_by_role("heading", name="事業所ユーザログイン")).to_be_visible()
    cookie = next(each["value"] for each in page.context.cookies() if each["name"] == "todoke-step")
    desk.sql(
        "UPDATE portal.web_session SET until = until - interval '10 minutes' WHERE hash = $1",
        hashlib.sha256(cookie.encode()).digest(),
    )
    page.get_by_label("ユーザID").fill(office.kj_id)
    page.get_by_label("パスワード").fill(office.kj_password)
    page.get_by_role("button", name="ログイン").click()
    expect(page.locator("main")).to_have_attribute("data-screen", "S-01")
    expect(page.get_by_text("E-109")).to_be_visible()
    axe(page)


def test_s02_7_failures_before_the_login_are_told_with_their_times(page_of: PageOf, desk: Desk, shot: Shot) -> None:
    office = desk.colleague(HELPER, "staff", c_id="c9000000012")
    page = page_of()
    for _ in range(2):
        first_step(page, office.c_id, "wrong")
        expect(page.get_by_text("E-102")).to_be_visible()
    type_login(page, office)
    told = page.get_by_role("status").filter(has_text="前回までに 2回、ログインの失敗がありました")
    expect(told).to_be_visible()
    assert len(re.findall(r"\d{4}/\d\d/\d\d \d\d:\d\d", told.inner_text())) == 2
    shot(page, "S-10-failed-logins")
