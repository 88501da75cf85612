"""What stands in a message's text: place-holders that are filled in at sending, and months that it speaks of. Pure."""

import re
from collections.abc import Sequence

TEXT_CHARACTERS_MAX = 1000
"""Characters of a message as it is sent; the service has the same bound as a setting."""

_REIWA_BEFORE = 2018
"""Reiwa 1 is 2019."""

_MONTH_IN_TEXT = re.compile(r"(?:(令和)\s*(\d{1,2}|元)\s*年|(\d{4})\s*年)\s*(\d{1,2})\s*月")
_WIDE = str.maketrans("０１２３４５６７８９", "0123456789")


def month_ja(month: str) -> str:
    """A service month (YYYYMM) as letters write it, in the era since 2019."""
    return f"令和{int(month[:4]) - _REIWA_BEFORE}年{int(month[4:])}月"


def filled(text: str, *, office_name: str, months: Sequence[str], person: str) -> str:
    """The text as it is sent: office of the recipient, service month, person who sends. Unknown braces stay."""
    values = {"{事業所名}": office_name, "{月}": "・".join(map(month_ja, months)), "{担当者}": person}
    for holder, value in values.items():
        if value:
            text = text.replace(holder, value)
    return text


def months_named(text: str) -> set[str]:
    """The months (YYYYMM) that a text names with their year, in the era or in the common calendar."""
    found = set()
    for era, of_era, common, month in _MONTH_IN_TEXT.findall(text.translate(_WIDE)):
        year = _REIWA_BEFORE + (1 if of_era == "元" else int(of_era)) if era else int(common)
        found.add(f"{year:04}{int(month):02}")
    return found
