"""Rows → bytes as the standard wants them: MS932, CRLF, free text in double quotes, everything else bare."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from careplan.encoding import encode
from careplan.layout import layout_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_NEEDS_QUOTES = re.compile('[",\\r\\n]')


def write_rows(kind: str, csv_version: str, rows: Iterable[Sequence[str]]) -> bytes:
    """The bytes of a file of that kind, given the cells of each row in the order of the layout ("" for null).

    Characters that MS932 lacks are replaced by 〓, the two forms of wave dash and minus are brought to the one it has.
    A cell that is no free text is quoted only if it could not be read back otherwise.

    Raises:
        KeyError: that version has no such kind, or it has no columns.
        ValueError: a row has more or fewer cells than the layout has columns.
    """
    layout = layout_of(kind, csv_version)
    texts = [column.type == "text" for column in layout.columns]
    lines = []
    for number, row in enumerate(rows, start=1):
        if len(row) != len(texts):
            raise ValueError(f"row {number} has {len(row)} cells, not {len(texts)}")
        lines.append(",".join(_cell(value, is_text) for value, is_text in zip(row, texts, strict=True)) + "\r\n")
    return encode("".join(lines))


def _cell(value: str, is_text: bool) -> str:  # noqa: FBT001 - two kinds of cells, one call
    if not value or not (is_text or _NEEDS_QUOTES.search(value)):
        return value
    return '"' + value.replace('"', '""') + '"'
