"""One cell: which rule it breaks, and on which cell of the standard's table that rule rests."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from careplan.patterns import BAD_CHARACTERS, shape, zeros_of

if TYPE_CHECKING:
    from careplan.layout import Column

_BAD = re.compile(f"[{BAD_CHARACTERS}]|\\r(?!\\n)")
_ALPHABETS = {
    "digits": re.compile("[0-9]+"),
    "alnum": re.compile("[0-9A-Z]+"),
    "id": re.compile("[0-9A-Z]+"),
    "integer": re.compile("-?[0-9]+"),
    "decimal": re.compile(r"[0-9]+\.[0-9]{2}"),
    "phone": re.compile("[ -~]+"),
}
_GAIJI_FIRST, _GAIJI_LAST = "\ue000", "\ue757"
_SHAPE_OF_VALUES = {
    "date8": re.compile("[0-9]{8}"),
    "month6": re.compile("[0-9]{6}"),
    "time4": re.compile("[0-9]{4}"),
}


class Breach(NamedTuple):
    """A rule that a cell breaks: the finding's code and the cell of the table that says so."""

    code: str
    rests_on: str
    detail: tuple[tuple[str, str | int], ...] = ()


@lru_cache(maxsize=1024)
def _filled(column: Column) -> re.Pattern[str]:
    return re.compile(shape(column))


def check_cell(column: Column, kind: str, value: str, text_max: int) -> Breach | None:
    """What is wrong with the value of one cell ("" is null), or None.

    Characters come first, then presence, then the list of allowed values, then type and length.
    """
    bad = _BAD.search(value)
    if bad:
        return Breach(_character_code(bad[0]), "encoding")
    if not value:
        return Breach("TDK-REQUIRED", "required") if column.required == "yes" else None
    if column.type == "unused" or value == zeros_of(kind, column):
        return None
    if column.allowed:
        return None if value in column.allowed else Breach("TDK-VALUE", "allowed")
    if column.type == "text":
        return _check_text(column, value, text_max)
    if _filled(column).fullmatch(value):
        return None
    return _shapeless(column, value)


def _check_text(column: Column, value: str, text_max: int) -> Breach | None:
    if column.max_length is not None and len(value) > column.max_length:
        return Breach("TDK-FORMAT", "max_length")
    if len(value) > text_max:
        return Breach("TDK-TEXT-LENGTH", "limit", (("most", text_max),))
    return None


def _shapeless(column: Column, value: str) -> Breach:
    """Tell a wrong length, which rests on another cell of the table, from a wrong form and from an unreal value."""
    values = _SHAPE_OF_VALUES.get(column.type)
    if values:
        return Breach("TDK-VALUE" if values.fullmatch(value) else "TDK-FORMAT", "type")
    alphabet = _ALPHABETS.get(column.type)
    fits = alphabet is not None and alphabet.fullmatch(value) is not None
    return Breach("TDK-FORMAT", "max_length" if fits else "type")


def _character_code(character: str) -> str:
    if character == "\x00":
        return "TDK-NUL"
    if _GAIJI_FIRST <= character <= _GAIJI_LAST:
        return "TDK-GAIJI"
    if character == "\r":
        return "TDK-FRAMING"
    if character in "\x80\xa0" or character > _GAIJI_LAST:
        return "TDK-ENCODING"
    return "TDK-CONTROL"


def lone_carriage_return(text: str) -> bool:
    """Whether a CR stands without its LF anywhere in ``text``."""
    return text.count("\r") != text.count("\r\n")
