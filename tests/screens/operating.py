"""What operators do for the offices of the tests, over their own API: registering, letters, approvals."""

import io
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import httpx
import pyotp
import pypdf

from tests.screens.browsing import Desk, Office, proof_of
from todoke.client import Client
from todoke.client.ops_shapes import NewOffice, Word

WORD = Word(reason="画面の試験", ticket="OPS-1")
FACTS: dict[str, Any] = {
    "service_types": ("11",),
    "prefecture": "練習県",
    "address": "練習県青空市響町1番",
    "phone": "099-555-0161",
    "fax": "099-555-0162",
}


@dataclass
class Operators:
    """An operator of the running product, logged in."""

    desk: Desk
    address: str
    client: Client
    token: str

    @classmethod
    def logged_in(cls, desk: Desk) -> "Operators":
        """Log in with password and code, which works once: one login for all tests."""
        known = desk.product.demo["operator"]
        client = Client(known["url"])
        token = client.operator_login(known["user_id"], known["password"], code_of(desk)).access_token
        return cls(desk, known["url"], client, token)

    def registered(self, name: str = "ひびき訪問介護") -> str:
        """The number of an office that has just been registered: no letter, no licence."""
        number = unused_number()
        self.client.register_office(self.token, NewOffice(number=number, name=name, **FACTS), WORD)
        return number

    def newcomer(self, name: str = "ひびき訪問介護") -> Office:
        """An office that has just been registered, with the password of its letter; no c-ID yet."""
        number = self.registered(name)
        password, _ = secrets_of(self.client.make_letter(self.token, number, WORD))
        return Office(number, name, "", "", f"KJ99{number}", password)

    def settled(self, name: str = "ひびき訪問介護") -> Office:
        """A newcomer who has decided on a password of its own."""
        office = self.newcomer(name)
        with Client(self.desk.url) as client:
            client.login_usage(office.kj_id, office.kj_password)
            new = f"{office.number}の庭に咲いた花の色"
            client.change_password("office", office.kj_password, new)
        return replace(office, kj_password=new)

    def licensed(self, name: str = "ひびき訪問介護") -> Office:
        """An office whose application was approved; its person has no password yet."""
        office = self.settled(name)
        with Client(self.desk.url) as client:
            client.login_usage(office.kj_id, office.kj_password)
            client.apply_for_licence("new", "響 花子", "hibiki@example.jp")
            self.approve(office.number)
            return replace(office, c_id=client.own_office().c_id or "")

    def manned(self, name: str = "ひびき訪問介護") -> Office:
        """A licensed office whose first person has a password of their own."""
        office = self.licensed(name)
        new = f"{office.number}の駅前にある赤い屋根の家"
        with Client(self.desk.url) as client, Client(self.desk.url) as person:
            client.login_usage(office.kj_id, office.kj_password)
            issued = client.make_person_password(office.kj_password).password
            person.login(office.c_id, issued, office.kj_id, office.kj_password)
            person.change_password("person", issued, new)
        return replace(office, c_password=new)

    def renew(self, office: Office) -> None:
        """The office renews its licence itself."""
        with Client(self.desk.url) as client:
            client.login_usage(office.kj_id, office.kj_password)
            client.renew_licence()

    def approve(self, number: str) -> None:
        """Approve what this office applied for."""
        waiting = self.client.operator_applications(self.token, state="received", limit=200).items
        one = next(each for each in waiting if each.office.number == number)
        self.client.approve_application(self.token, one.id, WORD)

    def refuse(self, number: str, answer: str) -> None:
        """Refuse it, with these words for the office."""
        waiting = self.client.operator_applications(self.token, state="received", limit=200).items
        one = next(each for each in waiting if each.office.number == number)
        self.client.refuse_application(self.token, one.id, answer, WORD)

    def set_licence(self, number: str, until: str) -> None:
        """Set the last day of a licence."""
        answer = httpx.post(
            f"{self.address}/v1/operator/offices/{number}/licence",
            json={"until": until, **WORD.model_dump()},
            headers={"Authorization": f"Bearer {self.token}"},
        )
        assert answer.is_success, answer.text


def unused_number() -> str:
    """A number that no office has: a stack that is used again knows those of the run before."""
    return f"99{secrets.randbelow(10**8):08d}"


def code_of(desk: Desk) -> str:
    """A code of the practice operator that is taken: half a minute has passed since the last one."""
    known = desk.product.demo["operator"]
    desk.sql("UPDATE registry.operator SET totp_step = 0 WHERE id = $1", known["user_id"])
    return pyotp.TOTP(known["totp_secret"]).now()


@contextmanager
def console(desk: Desk) -> Iterator[httpx.Client]:
    """A browser without scripts, logged in to the console."""
    known = desk.product.demo["operator"]
    headers = {"Origin": known["url"], "Sec-Fetch-Site": "same-origin"}
    form = {"user_id": known["user_id"], "password": known["password"], "totp": code_of(desk)}
    with httpx.Client(base_url=known["url"], headers=headers, timeout=30) as client:
        answer = client.post("/operator/login", data={**form, "_form": proof_of(client.get("/operator/login").text)})
        assert (answer.status_code, answer.headers["location"]) == (303, "/operator/offices")
        yield client


def secrets_of(letter: bytes) -> tuple[str, str]:
    """Both secrets of a letter, read cell by cell."""
    page = pypdf.PdfReader(io.BytesIO(letter)).pages[0]
    lines = [line.split() for line in page.extract_text().splitlines()]
    first, second = ("".join(line) for line in lines if len(line) in (14, 16) and all(len(cell) == 1 for cell in line))
    return first, second
