"""An office from nothing to its first login: registered, its letter, its application, the approval, its person."""

import asyncio
import io
from collections.abc import Iterator
from datetime import date
from typing import Any

import httpx
import pypdf
from pypdf.generic import ArrayObject, DictionaryObject

from services.registry.letter_pdf import FORM, GRID_CELLS, TITLE, Letter, pdf_of
from services.registry.secrets import CLASSES

from .conftest import MANAGER, OFFICE_PASSWORD, WORD, Registry

ISSUING = "/v1/office/person_password"
OFFICES = "/v1/operator/offices"
NEW: dict[str, Any] = {
    "number": "9970100612",
    "name": "ひびき訪問介護",
    "service_types": ["11", "15"],
    "prefecture": "練習県",
    "address": "練習県青空市響町1番",
    "phone": "099-555-0161",
    "fax": "099-555-0162",
}
PASSWORD = "a sentence that nobody guesses"
HEAD_CLASSES = dict(zip(("大文字", "小文字", "数字", "記号"), CLASSES, strict=True))


async def registered(operators: httpx.AsyncClient) -> dict[str, Any]:
    answer = await operators.post(OFFICES, json={**NEW, **WORD})
    assert answer.status_code == 201, answer.text
    office: dict[str, Any] = answer.json()
    return office


async def letter_of(operators: httpx.AsyncClient, **word: Any) -> bytes:
    answer = await operators.post(f"{OFFICES}/{NEW['number']}/letter", json={**WORD, **word})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/pdf"
    assert answer.headers["cache-control"] == "no-store"
    return answer.content


def texts(pdf: bytes) -> list[str]:
    """The texts of the tagged content, element by element, in the order of the structure tree."""
    reader = pypdf.PdfReader(io.BytesIO(pdf))
    page = reader.pages[0]
    marked = _marked_texts(page)
    catalogue: Any = reader.trailer["/Root"]
    root = catalogue["/StructTreeRoot"]
    return ["".join(marked.get(each, "") for each in leaf).strip() for leaf in _leaves(root)]


def _marked_texts(page: pypdf.PageObject) -> dict[int, str]:
    """By marked-content id what it shows."""
    found: dict[int, str] = {}
    at: list[int | None] = []

    def before(operator: bytes, operands: list[Any], *_: Any) -> None:
        if operator in (b"BDC", b"BMC"):
            properties = operands[1] if operator == b"BDC" and isinstance(operands[1], DictionaryObject) else {}
            at.append(int(properties["/MCID"]) if "/MCID" in properties else None)
        elif operator == b"EMC":
            at.pop()

    def text(shown: str, *_: Any) -> None:
        where = next((each for each in reversed(at) if each is not None), None)
        if where is not None:
            found[where] = found.get(where, "") + shown.replace("\n", "")

    page.extract_text(visitor_operand_before=before, visitor_text=text)
    return found


def _leaves(element: Any) -> Iterator[list[int]]:
    """The ids of each element that holds content itself, in reading order."""
    element = element.get_object()
    if not isinstance(element, DictionaryObject):
        return
    kids = element.get("/K")
    kids = kids.get_object() if kids is not None else ArrayObject()
    kids = kids if isinstance(kids, ArrayObject) else [kids]
    own = [int(each) for each in kids if isinstance(each, int)]
    own += [
        int(each.get_object()["/MCID"])
        for each in kids
        if not isinstance(each, int) and each.get_object().get("/Type") == "/MCR"
    ]
    if own:
        yield own
    for each in kids:
        if not isinstance(each, int):
            yield from _leaves(each)


def secrets_of(pdf: bytes) -> tuple[str, str]:
    """Both secrets read cell by cell, each against its head."""
    lines = [
        line.split() for line in pypdf.PdfReader(io.BytesIO(pdf)).pages[0].extract_text().splitlines() if line.strip()
    ]
    grids = [line for line in lines if len(line) in (14, 16) and all(len(cell) == 1 for cell in line)]
    assert len(grids) == 2
    first, second = ("".join(line) for line in grids)
    return first, second


async def test_an_office_is_registered_once_and_gets_nothing_but_its_row(
    registry: Registry, operators: httpx.AsyncClient
) -> None:
    office = await registered(operators)
    assert office["kj_id"] == "KJ999970100612"
    assert (office["facts"]["participation"], office["version"]) == ("none", 1)
    again = await operators.post(OFFICES, json={**NEW, "name": "べつの名前", **WORD})
    assert (again.status_code, again.json()["code"]) == (409, "TDK-OFFICE-THERE")
    assert again.json()["office"] == {"number": NEW["number"], "name": NEW["name"]}
    said = await registry.events("OfficeRegistered")
    assert [event["facts"]["name"] for _, event in said if event["office"] == NEW["number"]] == [NEW["name"]]
    page = (await operators.get(f"{OFFICES}/{NEW['number']}")).json()
    assert (page["letter"], page["users"], page["licence"], page["standing"]) == (None, [], None, "outside")
    assert {(step["event"], step["act"]) for step in page["history"]} == {
        ("OfficeRegistered", None), ("OperatorActed", "office.register"),
    }  # fmt: skip
    for wrong in ("997010061", "99701006１2", "A970100612", "9970100612X"):
        refused = await operators.post(OFFICES, json={**NEW, "number": wrong, **WORD})
        assert (refused.status_code, refused.json()["code"]) == (422, "TDK-OFFICE-NUMBER")
    assert (await operators.post(OFFICES, json=NEW)).status_code == 422


async def test_what_an_operator_changes_of_an_office_is_said_and_nothing_else_changes(
    registry: Registry, operators: httpx.AsyncClient
) -> None:
    path = f"{OFFICES}/{MANAGER.office}"
    assert (await operators.patch(path, json={**WORD, "name": "新しい名前"})).json()["changed"] is True
    assert (await operators.patch(path, json={**WORD, "name": "新しい名前"})).json()["changed"] is False
    (_, event), *more = await registry.events("OfficeChanged")
    assert (event["facts"]["name"], event["facts"]["service_types"], more) == ("新しい名前", ["43"], [])
    assert (await operators.patch(path, json={**WORD, "service_types": ["nope"]})).status_code == 422
    assert (await operators.patch(f"{OFFICES}/9999999999", json={**WORD, "name": "x"})).status_code == 404


async def test_the_letter_is_one_tagged_page_whose_text_logs_in(
    registry: Registry, operators: httpx.AsyncClient
) -> None:
    await registered(operators)
    assert (await operators.get(f"{OFFICES}/{NEW['number']}/letter")).status_code == 404
    pdf = await letter_of(operators, issued_on="2026-11-04")
    reader = pypdf.PdfReader(io.BytesIO(pdf))
    assert len(reader.pages) == 1
    assert [round(float(each)) for each in reader.pages[0].mediabox[2:]] == [595, 842]
    catalogue: Any = reader.trailer["/Root"]
    assert catalogue["/MarkInfo"]["/Marked"].value is True
    assert catalogue["/Lang"].startswith("ja")
    resources: Any = reader.pages[0]["/Resources"]
    fonts = resources["/Font"]
    for font in fonts.values():
        descriptor = font.get_object()["/DescendantFonts"][0].get_object()["/FontDescriptor"].get_object()
        assert {"/FontFile2", "/FontFile3"} & set(descriptor)
    read = texts(pdf)
    order = ["ひびき訪問介護　御中", "発行日 令和8年11月4日", TITLE, "介護給付費等の電子請求", "KJ999970100612",
             "099-555-0161", "099-555-0162", "練習県青空市響町1番", "※パスワード", "※証明書発行用パスワード", "備考",
             "使い始めるには", FORM]  # fmt: skip
    places = [next(at for at, text in enumerate(read) if text.startswith(part)) for part in order]
    assert places == sorted(places)

    cells = read[read.index("※パスワード") + 1 :]
    heads, characters = cells[:GRID_CELLS], cells[GRID_CELLS : 2 * GRID_CELLS]
    password, certificate_secret = secrets_of(pdf)
    assert "".join(characters) == password
    for head, character in zip(heads, "".join(characters).ljust(GRID_CELLS), strict=True):
        assert character in HEAD_CLASSES.get(head, " ")
    assert (len(password), len(certificate_secret), heads[14:]) == (14, 16, ["空白"] * 6)
    session = (await registry.usage("KJ999970100612", password)).json()
    assert session["must_change"] == ["office"]


async def test_the_same_letter_gives_the_same_bytes_and_a_long_name_still_fits_one_page() -> None:
    letter = Letter(
        kj_id="KJ999970100612", number="9970100612", name="長" * 200, phone="0" * 30, fax="9" * 30, address="住" * 300,
        password="kR7#mZ2w&Tq9Lp", certificate_secret="H4x$Vn8bQ@e3Jd6y", issued_on=date(2026, 11, 4),
        issuer="見本県ケアプラン連携センター", usage_address="https://care.example.jp/usage/login",
    )  # fmt: skip
    pdf = pdf_of(letter)
    assert pdf == pdf_of(letter)
    assert len(pypdf.PdfReader(io.BytesIO(pdf)).pages) == 1


async def test_of_two_letters_made_at_the_same_time_one_is_made_and_logs_in(
    registry: Registry, operators: httpx.AsyncClient
) -> None:
    """Otherwise the one that is printed could be the one whose secrets work no more."""
    await registered(operators)
    path = f"{OFFICES}/{NEW['number']}/letter"
    answers = await asyncio.gather(*(operators.post(path, json=WORD) for _ in range(2)))
    made, refused = sorted(answers, key=lambda answer: answer.status_code)
    assert (made.status_code, refused.status_code, refused.json()["code"]) == (200, 409, "TDK-LETTER-THERE")
    secret, _ = secrets_of(made.content)
    assert (await registry.usage("KJ999970100612", secret)).status_code == 200


async def test_a_new_letter_ends_the_earlier_one_and_every_session_and_no_secret_is_kept(
    registry: Registry, operators: httpx.AsyncClient
) -> None:
    await registered(operators)
    first, _ = secrets_of(await letter_of(operators))
    session = (await registry.usage("KJ999970100612", first)).json()
    second, certificate_secret = secrets_of(await letter_of(operators))
    assert (await registry.usage("KJ999970100612", first)).status_code == 401
    assert (await registry.get("/v1/session/list", session)).status_code == 401
    assert (await registry.usage("KJ999970100612", second)).status_code == 200
    made = (await operators.get(f"{OFFICES}/{NEW['number']}/letter")).json()
    assert made["made_by"] == "operator-1"
    async with registry.stage.db.worker() as tx:
        hashes = await tx.db.fetchrow(
            "SELECT c.password_hash, l.certificate_secret_hash FROM office_credential c JOIN letter l USING (office)"
            " WHERE office = $1",
            NEW["number"],
        )
        journal = await tx.db.fetchval("SELECT string_agg(payload::text, ' ') FROM journal_office")
    assert all(stored.startswith("$argon2id$") for stored in hashes)
    assert not any(secret in f"{journal}{hashes}" for secret in (first, second, certificate_secret))


async def test_an_office_comes_in_from_the_letter_to_the_second_step(
    registry: Registry, operators: httpx.AsyncClient
) -> None:
    await registered(operators)
    secret, _ = secrets_of(await letter_of(operators))
    session = (await registry.usage("KJ999970100612", secret)).json()
    changed = {"which": "office", "old": secret, "new": PASSWORD}
    assert (await registry.post("/v1/session/password", session, changed)).status_code == 204
    session = (await registry.refresh(session["refresh_token"])).json()

    wish = {"kind": "new", "contact_name": "響 太郎", "mail": "hibiki@example.jp"}
    assert (await registry.post("/v1/office/application", session, wish)).json()["state"] == "received"
    again = await registry.post("/v1/office/application", session, wish)
    assert (again.status_code, again.json()["code"]) == (409, "TDK-APPLICATION-THERE")
    no_id = await registry.post(ISSUING, session, {"password": PASSWORD})
    assert (no_id.status_code, no_id.json()["code"]) == (409, "TDK-NO-C-ID")

    (waiting,) = (await operators.get("/v1/operator/applications", params={"state": "received"})).json()["items"]
    assert (waiting["office"]["number"], waiting["contact_name"]) == (NEW["number"], "響 太郎")
    path = f"/v1/operator/applications/{waiting['id']}/approve"
    approved = (await operators.post(path, json=WORD)).json()
    assert approved["state"] == "approved"
    assert (await operators.post(path, json=WORD)).json()["code"] == "TDK-APPLICATION-DECIDED"
    (_, event), *_ = await registry.events("ApplicationDecided")
    assert (event["c_id"], event["decision"]) == (approved["c_id"], "approved")
    said = str(await registry.events())
    assert "響 太郎" not in said
    assert "hibiki@example.jp" not in said

    own = (await registry.get("/v1/office", session)).json()
    assert (own["c_id"], own["standing"], own["application"]["state"]) == (approved["c_id"], "licensed", "approved")
    assert (own["renewal"]["renews"], own["person_password_issued_at"]) == (True, None)
    wrong = await registry.post(ISSUING, session, {"password": "not this one, no"})
    assert wrong.json()["code"] == "TDK-PASSWORD-WRONG"
    issued = (await registry.post(ISSUING, session, {"password": PASSWORD})).json()
    step = (await registry.first_step(issued["c_id"], issued["password"])).json()["step_token"]
    person = (await registry.second_step(step, "KJ999970100612", PASSWORD)).json()
    assert (person["must_change"], person["user"]["roles"], person["user"]["name"]) == (
        ["person"], ["admin"], "響 太郎",
    )  # fmt: skip
    renewed = (await registry.post(ISSUING, session, {"password": PASSWORD})).json()
    assert (await registry.first_step(issued["c_id"], issued["password"])).status_code == 401
    assert (await registry.first_step(issued["c_id"], renewed["password"])).status_code == 200
    assert (await registry.get("/v1/session/list", person)).status_code == 401


async def test_of_two_passwords_made_at_the_same_time_one_is_made_and_logs_in(registry: Registry) -> None:
    """Otherwise both would be told, and one of them would never work."""
    session = (await registry.usage(MANAGER.kj_id)).json()
    for _ in range(2):  # the first pair meets no earlier password, the second pair does
        asked = (registry.post(ISSUING, session, {"password": OFFICE_PASSWORD}) for _ in range(2))
        made, refused = sorted(await asyncio.gather(*asked), key=lambda answer: answer.status_code)
        assert (made.status_code, refused.status_code, refused.json()["code"]) == (200, 409, "TDK-PASSWORD-MADE")
        assert (await registry.first_step(MANAGER.c_id, made.json()["password"])).status_code == 200


async def test_a_refused_office_reads_why_and_may_apply_again(registry: Registry, operators: httpx.AsyncClient) -> None:
    await registered(operators)
    secret, _ = secrets_of(await letter_of(operators))
    session = (await registry.usage("KJ999970100612", secret)).json()
    assert (await registry.get("/v1/office", session)).json()["code"] == "TDK-PASSWORD-CHANGE"
    changed = {"which": "office", "old": secret, "new": PASSWORD}
    await registry.post("/v1/session/password", session, changed)
    session = (await registry.refresh(session["refresh_token"])).json()
    wish = {"kind": "new", "contact_name": "響 太郎", "mail": "hibiki@example.jp", "auto_renew": False}
    application = (await registry.post("/v1/office/application", session, wish)).json()["id"]
    path = f"/v1/operator/applications/{application}/refuse"
    assert (await operators.post(path, json=WORD)).status_code == 422
    assert (await operators.post(path, json={**WORD, "answer": "番号をご確認ください。"})).json()["c_id"] is None
    own = (await registry.get("/v1/office", session)).json()
    assert (own["application"]["state"], own["application"]["answer"]) == ("refused", "番号をご確認ください。")
    assert (own["c_id"], own["licence_until"]) == (None, None)
    assert (await registry.post("/v1/office/application", session, wish)).status_code == 201


def test_a_character_that_the_fonts_lack_does_not_keep_an_office_from_its_letter() -> None:
    odd = Letter(
        kj_id="KJ139970100612",
        number=NEW["number"],
        name="ひびき\ue000訪問介護",
        phone=NEW["phone"],
        fax=NEW["fax"],
        address="練習県葛\U000e0100町😀1番",
        password=PASSWORD,
        certificate_secret=PASSWORD[:20],
        issued_on=date(2026, 11, 4),
        issuer="届け",
        usage_address="https://todoke.example/usage",
    )
    shown = "".join(texts(pdf_of(odd)))
    assert "ひびき〓訪問介護" in shown
    assert "町〓1番" in shown
