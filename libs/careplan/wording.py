"""What a finding is called in Japanese: a number, what is wrong, what to do (screens, sections 6.2 and 6.3).

Each code has two wordings in ``findings_ja.csv``: one without anything of the file's content, which the API gives, and
one with it, which a screen fills from the bytes it holds. Placeholders stand in braces.
"""

from __future__ import annotations

import csv
import io
import re
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from careplan.findings import Finding

SENTENCE_MAX: Final = 60
"""Characters of one sentence (screens, S-W.2)."""

_COLUMN_MAX = 16  # characters of an item's name inside a sentence; longer ones are cut, the API gives them whole beside
_KINDS_MAX = 3  # kinds named in one sentence
_PLACEHOLDER = re.compile(r"\{([^{}]+)\}")
_UNKNOWN = "TDK-RULE"


class Wording(NamedTuple):
    """A finding in words."""

    number: str
    message: str
    advice: str


class FindingText(NamedTuple):
    """A line of the table of wordings."""

    code: str
    number: str
    message: str
    advice: str
    message_with_content: str
    advice_with_content: str


@cache
def finding_texts() -> Mapping[str, FindingText]:
    """Every code with its number and its wordings."""
    text = files("careplan").joinpath("findings_ja.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(io.StringIO(text, newline=""))
    return {row["code"]: FindingText(*(row[field] for field in FindingText._fields)) for row in rows}


def wording(finding: Finding) -> Wording:
    """A finding in words that repeat nothing of the file's content."""
    text = finding_texts().get(finding.code) or finding_texts()[_UNKNOWN]
    values = _values(finding)
    return Wording(text.number, _fill(text.message, values), _fill(text.advice, values))


def wording_with_content(finding: Finding, content: Mapping[str, str]) -> Wording:
    """A finding in words for a screen, filled from ``content`` (氏名, 値 …); where that lacks, without content."""
    text = finding_texts().get(finding.code) or finding_texts()[_UNKNOWN]
    values = {**_values(finding), **content}
    pairs = ((text.message_with_content, text.message), (text.advice_with_content, text.advice))
    filled = [_fill(full if full and _can_fill(full, values) else plain, values) for full, plain in pairs]
    return Wording(text.number, *filled)


def _values(finding: Finding) -> dict[str, str]:
    values = {name: str(value) for name, value in finding.detail.items()}
    for name in ("missing", "present"):
        if name in values:
            values[name] = _kinds_ja(values[name].split())
    column = finding.column_name or "-"
    values["column"] = column if len(column) <= _COLUMN_MAX else column[: _COLUMN_MAX - 1] + "…"
    values["row"] = "-" if finding.row is None else str(finding.row)
    return values


def _kinds_ja(kinds: list[str]) -> str:
    names = ["・".join(SHORT_NAMES.get(kind, kind) for kind in kinds[:_KINDS_MAX])]
    return "".join(names) + ("など" if len(kinds) > _KINDS_MAX else "")


SHORT_NAMES: Final[Mapping[str, str]] = {
    "UPHOSOKU": "利用者補足情報",
    "UP1KYO": "第1表",
    "UP2KYO": "第2表",
    "UP3KYO": "第3表",
    "UPPLAN": "第6表",
    "UPSIKYU": "第7表",
    "UPJSK": "実績情報",
    "UPKIHON": "利用者基本情報",
    "UPKIHON_SUB1": "基本情報の別表1",
    "UPKIHON_SUB2": "基本情報の別表2",
    "UPYOBO": "支援計画書",
    "UPYOBO_SUB": "支援計画書の別表",
}
"""What a clerk calls the kinds of data file."""


def _can_fill(text: str, values: Mapping[str, str]) -> bool:
    return all(name in values for name in _PLACEHOLDER.findall(text))


def _fill(text: str, values: Mapping[str, str]) -> str:
    return _PLACEHOLDER.sub(lambda match: values.get(match[1], "-"), text)
