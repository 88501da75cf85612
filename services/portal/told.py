"""What pages of writing and sending say of an action: a code in the address of the next page, a sentence on it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol
from urllib.parse import urlencode
from uuid import UUID

import careplan
from services.portal import texts
from services.portal.grouping import Unusable
from services.portal.items import Item
from services.portal.places import Shown
from services.portal.runs import RESULT_SECONDS_MAX
from services.portal.visitors import Visitor
from services.portal.wording import Sentence, of_code, say
from todoke.client import shapes
from todoke.relay.problem import wordings

FINDINGS_SHOWN = 20
"""More findings than these are summed up by code."""

COUNT_DIGITS = 6
"""Rows that an address can speak of."""

SENTENCES = frozenset({"E-212", "E-411", "E-412"})
"""Numbers that an address may name."""


@dataclass(frozen=True, slots=True)
class Told:
    """What the last action has to say: a word that the templates know, or a sentence of the tables.

    `n` are the rows it was about, `undo` takes it back.
    """

    word: str = ""
    n: int = 0
    undo: UUID | None = None
    sentence: Sentence | None = None


class Query(Protocol):
    """The parameters of an address."""

    def get(self, key: str, /) -> str | None:
        """One of them."""
        ...


def place(path: str, **values: str | int | UUID | None) -> str:
    """An address with what the page is to say."""
    given = {name: str(value) for name, value in values.items() if value is not None}
    return f"{path}?{urlencode(given)}" if given else path


def told(query: Query) -> Told:
    """What the address says. Anything but words and numbers that we know says nothing."""
    word, number = query.get("told") or "", query.get("n") or "0"
    n = int(number) if number.isdecimal() and len(number) <= COUNT_DIGITS else 0
    if word in SENTENCES:
        return Told(n=n, sentence=say(word, n=n))
    return Told(word, n, uuid_of(query.get("undo")))


def uuid_of(text: str | None) -> UUID | None:
    """An id out of an address or a form; None for anything else."""
    try:
        return UUID(text or "")
    except ValueError:
        return None


def uuids_of(texts_given: Iterable[str]) -> list[UUID]:
    """Those of the texts that are ids."""
    return [found for text in texts_given if (found := uuid_of(text)) is not None]


# --- filters of the templates -------------------------------------------------------------------------------------


def unusable(file: Unusable, mebibytes: int, zip_why: Mapping[str, str]) -> Sentence:
    """Why a file was not taken."""
    if file.code == "E-213":
        return say(file.code, why=zip_why.get(file.detail, zip_why["damaged"]))
    if file.code in careplan.finding_texts():
        text = careplan.finding_texts()[file.code]
        return Sentence(text.number, text.message, text.advice)
    if file.code in wordings():
        return of_code(file.code, mebibytes=mebibytes)
    return say(file.code)


def few(findings: Sequence[Shown]) -> list[tuple[Shown, int]]:
    """Findings to show, each with the number of its places: all of a few, else the first of each code and file."""
    ordered = sorted(findings, key=lambda one: (one.severity != "error", one.person))
    if len(ordered) <= FINDINGS_SHOWN:
        return [(one, 1) for one in ordered]
    counted: dict[tuple[str, str | None], list[Shown]] = {}
    for one in ordered:
        counted.setdefault((one.code, one.file), []).append(one)
    return [(places[0], len(places)) for places in counted.values()]


def files_to_mend(findings: Sequence[Shown]) -> set[str]:
    """Names of the files that something is to be put right in."""
    return {one.file for one in findings if one.severity == "error" and one.file is not None}


def filled(item: Item, office: shapes.Office | None, visitor: Visitor) -> str:
    """The text of a row as it will be sent."""
    user = visitor.session.user
    person = user.name if user else ""
    return texts.filled(item.text, office_name=office.name if office else "", months=item.months, person=person)


def late(row: Any, now: datetime) -> bool:
    """Whether a row that the service has waits for its result for so long that the page says so."""
    return row.accepted_at is not None and now - row.accepted_at > timedelta(seconds=RESULT_SECONDS_MAX)


def months_of(items: Iterable[Item]) -> list[str]:
    """The service months of rows, as letters write them."""
    return [texts.month_ja(one) for one in sorted({each for item in items for each in item.months})]


FILTERS = {
    "unusable": unusable,
    "few": few,
    "files_to_mend": files_to_mend,
    "filled": filled,
    "late": late,
}
