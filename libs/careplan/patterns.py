"""What a cell, a row may look like, as compiled patterns: the fast path of reading.

Each pattern says yes only when every rule of type, length, allowed value and presence holds, so that a row it accepts
needs no further look at its cells. All repeats are possessive or of fixed length and the choices of a cell exclude each
other (quoted text is an atomic group: without it a row with thirty texts would be tried in 2^30 ways), so the time is
proportional to the size, whatever the input.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from careplan.picks import PICKS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from careplan.layout import Column, Layout

TEXT_MAX: Final = 10_000
"""Characters of free text in one item, unless a caller sets another limit (standard README, decision 4)."""

# Characters that no cell may hold. Tabulator and line ends are allowed in free text; U+0080, U+00A0, U+F8F1-F8F3 are
# what Python makes of the bytes 80, A0 and FD-FF, U+E000-E757 of the user-defined area F040-F9FC.
BAD_CHARACTERS: Final = "\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f-\\xa0\\ue000-\\uf8ff\\ufffd"

SEPARATOR: Final = "\x1f"
"""Stands between the cells of a row that was taken apart; being a control character, no good cell holds it."""

_MONTH = "(?!0000)[0-9]{4}(?:0[1-9]|1[0-2])"
_LEAP = "(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)"
_DAY = (
    "(?!0000)(?:[0-9]{4}(?:(?:0[1-9]|1[0-2])(?:0[1-9]|1[0-9]|2[0-8])|(?:0[13-9]|1[0-2])(?:29|30)|(?:0[13578]|1[02])31)"
    f"|{_LEAP}0229)"
)
_FIXED: Mapping[str, str] = {
    "insured": "(?:[0-9]{10}|H[0-9]{9})",
    "date8": _DAY,
    "month6": _MONTH,
    "time4": "(?:(?:[01][0-9]|2[0-3])[0-5][0-9]|2400|9999)",
    "flags31": "[01]{31}",
    "postal": "[0-9]{3}-[0-9]{4}",
    "tais": "[0-9A-Za-z]{5}-[0-9A-Za-z]{6}",
}
_ZEROS = {("UPHOSOKU", "plan_date"): "00000000", ("UPHOSOKU", "target_month"): "000000"}


class RowPatterns(NamedTuple):
    """The two patterns of a layout; both capture the picks of its kind, in order."""

    text: re.Pattern[str]
    """A row in the text of a file, line end included; its last alternative takes all the rest, capturing nothing."""
    cells: re.Pattern[str]
    """A row taken apart, its cells joined by ``SEPARATOR``."""


def shape(column: Column) -> str:
    """The pattern of a filled cell by the type of its column, or by its list of allowed values.

    Raises:
        KeyError: the type is none of the standard's, or is free text (which has no shape).
    """
    if column.allowed:
        return f"(?:{'|'.join(re.escape(code) for code in column.allowed)})"
    length = column.max_length or 1
    sized = {
        "digits": f"[0-9]{{{length}}}",
        "alnum": f"[0-9A-Z]{{{length}}}",
        "id": f"[0-9A-Z]{{1,{length}}}+",
        "integer": f"(?:[0-9]{{1,{length}}}+|-[0-9]{{1,{max(length - 1, 1)}}}+)" if length > 1 else "[0-9]",
        "decimal": f"[0-9]{{1,{max(length - 3, 1)}}}+\\.[0-9]{{2}}",
        "phone": f"[ !#-+\\--~]{{1,{length}}}+",
    }
    return sized.get(column.type) or _FIXED[column.type]


def zeros_of(kind: str, column: Column) -> str | None:
    """The zeros that stand for "not in this set" in two columns of UPHOSOKU, None elsewhere."""
    return _ZEROS.get((kind, column.name_en))


@lru_cache(maxsize=1024)
def _cell_in_text(column: Column, kind: str, text_max: int) -> str:
    least = 1 if column.required == "yes" else 0
    if column.type in {"text", "unused"}:
        most = min(column.max_length or text_max, text_max) if column.type == "text" else text_max
        return (
            f'(?>"[^"{BAD_CHARACTERS}]{{{least},{most}}}+"(?!")'
            f'|"(?:[^"{BAD_CHARACTERS}]|""){{{least},{most}}}+"'
            f'|[^",\\r\\n{BAD_CHARACTERS}]{{{least},{most}}}+)'
        )
    return _filled(column, kind) + ("" if least else "?+")


@lru_cache(maxsize=1024)
def _cell_apart(column: Column, kind: str, text_max: int) -> str:
    least = 1 if column.required == "yes" else 0
    if column.type == "text":
        return f"[^{BAD_CHARACTERS}]{{{least},{min(column.max_length or text_max, text_max)}}}+"
    if column.type == "unused":
        return f"[^{BAD_CHARACTERS}]*+"
    return _filled(column, kind) + ("" if least else "?+")


def _filled(column: Column, kind: str) -> str:
    zeros = zeros_of(kind, column)
    return f"(?:{shape(column)}|{zeros})" if zeros else f"(?:{shape(column)})"


@lru_cache(maxsize=64)
def row_patterns(layout: Layout, text_max: int) -> RowPatterns:
    """The patterns of a layout, compiled once per limit of free text."""
    kind = layout.kind.kind
    picks = [pick.span(layout) for pick in PICKS[kind] if pick.fits(layout)]
    opened = {first for first, _ in picks}
    closed = {last for _, last in picks}
    compiled = []
    for between, cell in ((",", _cell_in_text), (SEPARATOR, _cell_apart)):
        parts = [
            ("(" if at in opened else "") + cell(column, kind, text_max) + (")" if at in closed else "")
            for at, column in enumerate(layout.columns)
        ]
        compiled.append(between.join(parts))
    return RowPatterns(
        text=re.compile(f"{compiled[0]}(?:\\r?\\n|\\Z)|(?s:.+)"),
        cells=re.compile(compiled[1]),
    )
