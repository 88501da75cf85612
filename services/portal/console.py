"""The operators' console: who is logged in, and what its lists and forms are made of. No HTML."""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from http import HTTPStatus
from urllib.parse import urlsplit, urlunsplit

from careplan import SERVICE_TYPES
from services.portal.forms import Form
from services.portal.shown import State
from services.portal.websessions import WebSession
from services.portal.wording import Sentence, of_refusal, say
from todoke.client import ApiError, AsyncClient
from todoke.client.ops_shapes import Facts, NewOffice, Word
from todoke.relay.clock import in_japan
from todoke.relay.policy import Standing, standing

CONSOLE = "/operator"
OFFICES = f"{CONSOLE}/offices"

HTTPS_PORT = 443

FIRST_DAY, LAST_DAY = date(2019, 5, 1), date(2199, 12, 31)
"""Letters are of 令和, and the API takes no later days."""


@dataclass(frozen=True, slots=True)
class Operator:
    """An operator with a session that is alive; `token` is what every call of `client` is given."""

    web: WebSession
    client: AsyncClient
    csrf: str

    @property
    def user_id(self) -> str:
        """The operator's id."""
        return self.web.user_id

    @property
    def token(self) -> str:
        """The API's token, good for an hour."""
        return self.web.held.operator_token


def next_port(address: str) -> str:
    """Where the operators' listener is when nothing else is said: one port behind the public one."""
    parts = urlsplit(address)
    port = parts.port or (HTTPS_PORT if parts.scheme == "https" else 80)
    host = parts.netloc.removesuffix(f":{parts.port}")
    return urlunsplit((parts.scheme, f"{host}:{port + 1}", "", "", ""))


_STATES: Mapping[Standing, State] = {
    "licensed": State("利用中", "done", "tick"),
    "suspended": State("休止", "care", "warn"),
    "fetching": State("期限切れ（取得のみ）", "care", "warn"),
    "reading": State("期限切れ（一覧のみ）", "care", "warn"),
    "outside": State("利用なし", "quiet", "dash"),
}


def office_state(facts: Facts, now: datetime) -> State:
    """状態 of an office in the list."""
    return _STATES[_standing(facts, now)]


def takes_part(facts: Facts, now: datetime) -> str:
    """参加 of an office in the list: as of now, so not after the licence's end."""
    return {"licensed": "参加", "suspended": "休止"}.get(_standing(facts, now), "不参加")


def _standing(facts: Facts, now: datetime) -> Standing:
    return standing(facts.licence_until, now, suspended=facts.participation == "suspended")


def today(now: datetime) -> date:
    """The day in Japan."""
    return in_japan(now).date()


def word_of(form: Form) -> Word:
    """Reason and ticket, as every change asks for them."""
    return Word(reason=form.text("reason").strip(), ticket=_plain(form.text("ticket")))


def lacking(word: Word) -> Sentence | None:
    """What is missing of them."""
    return None if word.reason and word.ticket else say("E-120")


def refused_form(refused: ApiError) -> Sentence:
    """What the form is told of a refusal. Raises it again when it is about something else."""
    if refused.code == "TDK-INVALID":
        return say("E-129")
    if refused.status in (HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY):
        return of_refusal(refused)
    raise refused


@dataclass(frozen=True, slots=True)
class Registering:
    """A filled-in S-75."""

    office: NewOffice
    issued_on: str
    word: Word

    def mistakes(self) -> list[tuple[str, Sentence]]:
        """What can be seen without asking: (field, sentence), in the order of the page."""
        found = (
            ("number", not self.office.number, say("E-121")),
            ("name", not self.office.name, say("E-122")),
            ("service_types", not self.office.service_types, say("E-123")),
            ("issued_on", not is_day(self.issued_on), say("E-124")),
        )
        wrong = [(where, sentence) for where, is_wrong, sentence in found if is_wrong]
        lack = lacking(self.word)
        return [*wrong, ("word-reason", lack)] if lack is not None else wrong


def registering(form: Form) -> Registering:
    """The form as it was filled in; full-width digits are taken for what they mean."""
    office = NewOffice(
        number=_plain(form.text("number")).upper(),
        name=form.text("name").strip(),
        service_types=tuple(code for code in form.all("service_types") if code in SERVICE_TYPES),
        prefecture=form.text("prefecture").strip(),
        address=form.text("address").strip(),
        phone=_plain(form.text("phone")),
        fax=_plain(form.text("fax")),
    )
    return Registering(office, _plain(form.text("issued_on")), word_of(form))


def blank(day: date) -> Registering:
    """The form as it opens."""
    return Registering(NewOffice(number="", name=""), day.isoformat(), Word(reason="", ticket=""))


def _plain(typed: str) -> str:
    return unicodedata.normalize("NFKC", typed).strip()


def is_day(text: str) -> bool:
    """Whether a text is a day as fields of days send it, and one that a letter can have."""
    try:
        return FIRST_DAY <= date.fromisoformat(text) <= LAST_DAY
    except ValueError:
        return False


HAPPENED: Mapping[str, str] = {
    "OfficeRegistered": "登録されました",
    "OfficeChanged": "登録の内容が変わりました",
    "OfficeSuspended": "休止しました",
    "OfficeResumed": "再開しました",
    "OfficeSucceeded": "番号が変わりました",
    "LicenceChanged": "ライセンスが変わりました",
    "UserChanged": "利用者が変わりました",
    "ApplicationReceived": "利用申請を受け付けました",
    "ApplicationDecided": "利用申請に答えました",
    "CertificateChanged": "証明書の記録が変わりました",
    "office.register": "操作：登録",
    "office.change": "操作：登録の内容の変更",
    "office.suspend": "操作：休止",
    "office.resume": "操作：再開",
    "office.licence": "操作：ライセンス期限の変更",
    "office.letter": "操作：手紙の作成",
    "office.certificate": "操作：証明書の記録",
    "application.approve": "操作：利用申請の承認",
    "application.refuse": "操作：利用申請の不承認",
}
"""Type of an event about an office, or what an operator did → its line in the history of an office."""


def happened(name: str) -> str:
    """The line of the history; the name itself for what a newer version says."""
    return HAPPENED.get(name, name)


FILTERS: Mapping[str, object] = {"office_state": office_state, "takes_part": takes_part, "happened": happened}
"""What templates of the console may call by name."""
