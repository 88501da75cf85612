"""What 利用状況Webサイト makes of an office's own affairs, as pure functions: lines, buttons, days."""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Literal, TypeAlias

from services.portal.forms import Form
from services.portal.wording import Sentence, say
from todoke.client.office_shapes import ApplicationKind, OwnOffice
from todoke.relay.clock import in_japan

Line: TypeAlias = Literal["none", "received", "refused", "over", "done"]

NAME_CHARACTERS_MAX = 100
MAIL_CHARACTERS_MAX = 254
_MAIL = re.compile(r"[!-?A-~]{1,64}@[0-9A-Za-z.-]+\.[A-Za-z]{2,63}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class State:
    """What S-04 says and offers. `renewal_begins` is the day from which a renewal is possible, if that is to come.

    `may_switch` tells that the automatic renewal can be stopped or let go on. Days are counted from today, below zero
    for what is over.
    """

    line: Line
    may_apply: bool
    may_renew: bool
    may_switch: bool
    renews: bool
    renewal_begins: date | None
    next_renewal: date | None
    licence_days: int | None
    certificate_days: int | None
    password_days: int | None


def state_of(office: OwnOffice, now: datetime) -> State:
    """What this office reads now."""
    today = in_japan(now).date()
    renewal = office.renewal
    waiting = office.application is not None and office.application.state == "received"
    licensed = office.licence_until is not None and today <= office.licence_until
    too_late = renewal is None or today > renewal.possible_until
    renews = renewal is not None and renewal.renews
    return State(
        line=_line(office, licensed=licensed),
        may_apply=not waiting and too_late,
        may_renew=not waiting and renewal is not None and renewal.possible,
        may_switch=licensed,
        renews=renews,
        renewal_begins=renewal.possible_from if renewal is not None and today < renewal.possible_from else None,
        next_renewal=office.licence_until + timedelta(days=1) if office.licence_until and renews and licensed else None,
        licence_days=_days(office.licence_until, today),
        certificate_days=_days(japan_day(office.certificate.not_after) if office.certificate else None, today),
        password_days=_days(japan_day(office.password.expires_at) if office.password.expires_at else None, today),
    )


def _line(office: OwnOffice, *, licensed: bool) -> Line:
    asked = office.application
    if asked is not None and asked.state == "received":
        return "received"
    if licensed:
        return "done"
    if asked is not None and asked.state == "refused":
        return "refused"
    return "none" if office.licence_until is None else "over"


def _days(until: date | None, today: date) -> int | None:
    return None if until is None else (until - today).days


@dataclass(frozen=True, slots=True)
class Asked:
    """A filled-in S-05. `until` is the licence's last day when its page was made, empty without one."""

    kind: ApplicationKind
    contact_name: str
    mail: str
    auto_renew: bool
    terms: bool
    until: str


def blank(kind: str, office: OwnOffice) -> Asked:
    """The form as it opens, with what was said the last time."""
    last = office.application
    return Asked(
        kind="renewal" if kind == "renewal" else "new",
        contact_name=last.contact_name if last else "",
        mail=last.mail if last else "",
        auto_renew=True,
        terms=False,
        until=str(office.licence_until or ""),
    )


def read(form: Form) -> Asked:
    """The form as it was filled in; full-width letters of an address are taken for what they mean."""
    return Asked(
        kind="renewal" if form.text("kind") == "renewal" else "new",
        contact_name=_CONTROL.sub("", form.text("contact_name")).strip(),
        mail=unicodedata.normalize("NFKC", form.text("mail")).strip(),
        auto_renew=form.text("auto_renew") == "yes",
        terms=form.text("terms") == "yes",
        until=form.text("until"),
    )


def mistakes_of(asked: Asked) -> list[tuple[str, Sentence]]:
    """What has to be put right: (field, sentence), in the order of the page."""
    found = (
        ("contact_name", not asked.contact_name, "E-116"),
        ("contact_name", len(asked.contact_name) > NAME_CHARACTERS_MAX, "E-119"),
        ("mail", len(asked.mail) > MAIL_CHARACTERS_MAX or not _MAIL.fullmatch(asked.mail), "E-117"),
        ("terms", not asked.terms, "E-118"),
    )
    return [(where, say(number)) for where, is_wrong, number in found if is_wrong]


def wrong_at(mistakes: list[tuple[str, Sentence]], where: str) -> Sentence | None:
    """What is wrong with a field."""
    return next((sentence for each, sentence in mistakes if each == where), None)


def japan_day(at: datetime) -> date:
    """The day in Japan."""
    return in_japan(at).date()


def calendar_day(of: date | datetime) -> str:
    """`2026/03/02`, Japan time: when something was or will be done."""
    return (in_japan(of) if isinstance(of, datetime) else of).strftime("%Y/%m/%d")


FILTERS: Mapping[str, object] = {"japan_day": japan_day, "calendar_day": calendar_day, "wrong_at": wrong_at}
"""What templates of this site may call by name."""
