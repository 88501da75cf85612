"""What is decided about logins and ids, as plain functions of values."""

import unicodedata
from collections.abc import Sequence
from datetime import datetime, timedelta

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

RENEWAL_OPENS_DAYS = 90
"""A licence can be renewed from so many days before its end."""

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


def password_refusal(new: str, old: str) -> str | None:
    """The code that tells why a new password is not taken, or None."""
    if new == old:
        return "TDK-PASSWORD-SAME"
    if len(new) < PASSWORD_CHARACTERS_MIN:
        return "TDK-PASSWORD-SHORT"
    if len(new) > PASSWORD_CHARACTERS_MAX:
        return "TDK-PASSWORD-LONG"
    return None


def newest_per_office(heard: Sequence[tuple[str, str, datetime]]) -> dict[str, tuple[str, datetime]]:
    """Of (office, CSV version, submitted at) the newest of each office, in any order of hearing."""
    newest: dict[str, tuple[str, datetime]] = {}
    for office, version, at in heard:
        if office not in newest or newest[office][1] < at:
            newest[office] = (version, at)
    return newest
