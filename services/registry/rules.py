"""What is decided about logins and ids, as plain functions of values."""

import calendar
import dataclasses
import re
import unicodedata
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Literal, TypeAlias

from todoke.relay.clock import in_japan

PasswordRule: TypeAlias = Literal["13-plus", "legacy-8-16"]

_PRINTABLE = re.compile("[!-~]+")

SESSION_LIFE = timedelta(hours=8)
"""A session ends so long after its login, however often it is refreshed."""

REFRESH_GRACE = timedelta(seconds=30)
"""A refresh token that was just used gives the same successor again: a lost reply, two tabs."""

FAILURES_FREE = 10
"""So many wrong passwords for one ID from one network lock that pair. A person mistypes a few times, not ten."""

LOCK_FIRST = timedelta(minutes=5)
"""The first lock; each further failure doubles it."""

LOCK_LONGEST = timedelta(hours=1)
"""No lock is longer: who forgot a password need not lose the day."""

FAILURES_FORGOTTEN = timedelta(hours=24)
"""Failures of an ID from a network are forgotten after so long without a new one."""

NETWORK_FAILURES_FREE = 1000
"""So many failures of one network within `NETWORK_WINDOW`, over all IDs, lock the network for IDs unknown there: who
tries many IDs gets some 100,000 guesses a day, nothing against 13 characters and an argon2id check each."""

NETWORK_WINDOW = timedelta(minutes=15)

KNOWN_NETWORK = timedelta(days=30)
"""An ID that logged in from a network so lately is not touched by that network's lock."""

PASSWORD_CHARACTERS_MIN = 13
"""Issue 5: 13 characters and more, no rules of composition (NIST SP 800-63B section 5.1.1)."""

PASSWORD_CHARACTERS_MAX = 200
"""Room for any sentence; longer input only makes hashing slow."""

FAILURES_TOLD = 10
"""The last failures since the last login that are told at the next one."""

LEGACY_CHARACTERS = (8, 16)
"""The rule `legacy-8-16`: as many characters of ASCII, for set-ups whose other systems know no others."""

AUTO_RENEWAL_BEFORE = timedelta(hours=1)
"""A licence renews by itself so long before it ends: late, for the office may stop it until its last day, and without a
gap in which nothing could be sent."""

C_ID_SERIALS = 1_000_000_000
"""c-IDs that there are: nine digits before the check digit."""

_C_ID_DIGITS = 9


def typed_id(text: str) -> str:
    """An ID as it was meant: full-width letters and spaces around it are accepted (screen S-01.7)."""
    return unicodedata.normalize("NFKC", text).strip()


def searchable(*parts: str) -> str:
    """Text as it is searched: NFKC, folded, without spaces."""
    return "".join(unicodedata.normalize("NFKC", " ".join(parts)).casefold().split())


def kj_id(office: str) -> str:
    """The KJ-ID of an office: KJ, the two digits of its prefecture, its number (14 characters).

    The first two characters of an office number are its prefecture (standard, office numbers).
    """
    return f"KJ{office[:2]}{office}"


def c_id(serial: int) -> str:
    """The c-ID of a serial number: c, nine digits, a check digit (Luhn, ISO/IEC 7812-1 annex B).

    Raises `ValueError` when the serial has more than nine digits.
    """
    digits = f"{serial:0{_C_ID_DIGITS}d}"
    if len(digits) != _C_ID_DIGITS or not digits.isdecimal():
        raise ValueError("a c-ID has nine digits before its check digit")
    return f"c{digits}{_check_digit(digits)}"


def _check_digit(digits: str) -> int:
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if place % 2 == 0 else 1)
        total += value - 9 if value > 9 else value  # noqa: PLR2004 (the sum of the two digits of a number over nine)
    return -total % 10


def lock_for(failures: int) -> timedelta | None:
    """How long an ID is locked for a network after so many failures; None for not at all."""
    if failures < FAILURES_FREE:
        return None
    doublings = min(failures - FAILURES_FREE, 16)
    return min(LOCK_FIRST * (1 << doublings), LOCK_LONGEST)


def network_lock_for(failures: int) -> timedelta | None:
    """How long a network is locked after so many failures within the window."""
    return NETWORK_WINDOW if failures >= NETWORK_FAILURES_FREE else None


def password_lengths(rule: PasswordRule) -> tuple[int, int]:
    """The fewest and the most characters of a password."""
    return LEGACY_CHARACTERS if rule == "legacy-8-16" else (PASSWORD_CHARACTERS_MIN, PASSWORD_CHARACTERS_MAX)


def password_refusal(new: str, old: str, rule: PasswordRule, *, known: bool) -> str | None:
    """The code that tells why a new password is not taken, or None; `known` says that everybody knows it."""
    text = unicodedata.normalize("NFKC", new)
    least, most = password_lengths(rule)
    refusals = (
        ("TDK-PASSWORD-SAME", text == unicodedata.normalize("NFKC", old)),
        ("TDK-PASSWORD-SHORT", len(text) < least),
        ("TDK-PASSWORD-LONG", len(text) > most),
        ("TDK-PASSWORD-CHARACTER", rule == "legacy-8-16" and not _PRINTABLE.fullmatch(text)),
        ("TDK-PASSWORD-KNOWN", known),
    )
    return next((code for code, is_so in refusals if is_so), None)


def password_expires(changed_at: datetime, days: int | None) -> datetime | None:
    """When a password has to be changed, or None for never."""
    return None if days is None else changed_at + timedelta(days=days)


def first_licence_until(approved_on: date) -> date:
    """The last day of a new licence: the end of the month in which it is a year old."""
    return _month_end(approved_on.year + 1, approved_on.month)


def renewed_until(until: date) -> date:
    """The last day of a renewed licence: a year later; the end of a month stays the end of a month."""
    if until == _month_end(until.year, until.month):
        return _month_end(until.year + 1, until.month)
    return until.replace(year=until.year + 1)


def _month_end(year: int, month: int) -> date:
    return date(year, month, calendar.monthrange(year, month)[1])


@dataclasses.dataclass(frozen=True, slots=True)
class Window:
    """The days, first and last, on which a licence can be renewed by hand."""

    first: date
    last: date

    def holds(self, day: date) -> bool:
        """Whether it can be renewed on this day."""
        return self.first <= day <= self.last


def renewal_window(until: date, opens_days: int, closes_days: int) -> Window:
    """From so many days before the licence's last day to so many after it."""
    return Window(until - timedelta(days=opens_days), until + timedelta(days=closes_days))


def renews_by_itself(now: datetime, closes_days: int) -> Window:
    """Which last days of licences are due to be renewed now; what was missed is made good while it is allowed."""
    return Window(
        in_japan(now).date() - timedelta(days=closes_days),
        in_japan(now + AUTO_RENEWAL_BEFORE).date() - timedelta(days=1),
    )


def newest_per_office(heard: Sequence[tuple[str, str, datetime]]) -> dict[str, tuple[str, datetime]]:
    """Of (office, CSV version, submitted at) the newest of each office, in any order of hearing."""
    newest: dict[str, tuple[str, datetime]] = {}
    for office, version, at in heard:
        if office not in newest or newest[office][1] < at:
            newest[office] = (version, at)
    return newest
