"""What portal decides, as pure functions."""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from todoke.client.office_shapes import User

KJ_ID_LENGTH = 14
"""KJ, prefecture (2), office number (10)."""

NAMES_MAX = 3
"""Persons whom one sentence names."""

_PLACE = re.compile(r"/(?![/\\])[A-Za-z0-9_./~%?=&+:-]*")
"""An address of our own: one slash, no backslash, nothing that a browser would strip before reading it."""

_NOT_WANTED = ("/login", "/logout", "/static/", "/live", "/session")
"""Where nobody wants to land after a login."""


def half_width(typed: str) -> str:
    """An ID as it was meant: full-width letters in their half-width form, without spaces around it (S-01.7)."""
    return unicodedata.normalize("NFKC", typed).strip()


def is_kj_id(typed: str) -> bool:
    """Whether it looks like the ID of an office: KJ and twelve more characters."""
    return bool(re.fullmatch(r"KJ[0-9]{2}[0-9A-Z]{10}", typed))


def begins_with_kj(typed: str) -> bool:
    """Whether an ID of the second step was typed, in whatever case."""
    return typed.upper().startswith("KJ")


def place_within(wanted: str, otherwise: str = "/") -> str:
    """An address of this site to go to; `otherwise` for anything that could lead elsewhere or back to the login."""
    if _PLACE.fullmatch(wanted) and not wanted.startswith(_NOT_WANTED):
        return wanted
    return otherwise


def whom_to_ask(users: Iterable[User], asking: str) -> str:
    """The administrators among an office's persons, other than the one who asks; empty when there is none."""
    names = [f"{each.name}さん" for each in users if _is_admin(each) and each.id != asking]
    return "、".join(names[:NAMES_MAX]) + ("など" if len(names) > NAMES_MAX else "")


def _is_admin(user: User) -> bool:
    return user.state == "active" and "admin" in user.roles


@dataclass(frozen=True, slots=True)
class Origin:
    """What a browser says of where a request comes from (Fetch standard: `Sec-Fetch-Site`, `Origin`)."""

    site: str | None
    origin: str | None
    host: str | None

    def is_own(self) -> bool:
        """Whether a page of ours sent it. A request that says nothing at all about its origin is none of ours."""
        if self.site is not None and self.site != "same-origin":
            return False
        if self.origin is None:
            return self.site == "same-origin"
        scheme, _, host = self.origin.partition("://")
        return scheme in ("http", "https") and host != "" and host == self.host
