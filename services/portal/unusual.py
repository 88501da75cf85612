"""What a person is asked about before a message goes out, because it is not as usual. Pure."""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Literal
from uuid import UUID

from services.portal import texts
from services.portal.items import Item
from todoke.client import shapes

Why = Literal["first", "not-served", "month", "old-reader"]

_OLD, _NEW = "202208", "202407"


@dataclasses.dataclass(frozen=True, slots=True)
class Unusual:
    """One thing to be confirmed: why, about which message and office, and what else a sentence needs."""

    why: Why
    item: UUID
    office: shapes.Office
    service_type: str = ""
    persons: tuple[str, ...] = ()
    told: str = ""
    meant: str = ""

    @property
    def key(self) -> str:
        """What a confirmation names: another reason, or the same for another message, is not covered by it."""
        return f"{self.why}:{self.office.number if self.why == 'first' else self.item}"


def unusual(
    items: Sequence[Item], offices: Mapping[str, shapes.Office], known: Collection[str], person: str
) -> list[Unusual]:
    """Everything to be confirmed, in the order of the messages; a first partner is asked about once."""
    found: list[Unusual] = []
    asked: set[str] = set()
    for item in items:
        office = offices.get(item.recipient)
        if office is None:
            continue
        for one in _of(item, office, first=item.recipient not in known, person=person):
            if one.key not in asked:
                asked.add(one.key)
                found.append(one)
    return found


def _of(item: Item, office: shapes.Office, *, first: bool, person: str) -> list[Unusual]:
    found = []
    if first:
        found.append(Unusual("first", item.id, office, service_type=item.service_type or ""))
    strangers = [finding for finding in item.findings if finding.code == "TDK-NOT-SERVED"]
    if strangers:
        persons = tuple(dict.fromkeys(finding.person or finding.insured for finding in strangers))
        found.append(Unusual("not-served", item.id, office, persons=persons))
    text = texts.filled(item.text, office_name=office.name, months=item.months, person=person)
    others = texts.months_named(text) - set(item.months)
    if item.months and others:
        told, meant = ("・".join(map(texts.month_ja, sorted(months))) for months in (others, item.months))
        found.append(Unusual("month", item.id, office, told=told, meant=meant))
    if office.csv_version_last == _OLD and _version(item) == _NEW:
        found.append(Unusual("old-reader", item.id, office))
    return found


def _version(item: Item) -> str | None:
    return _NEW if item.service_type else _OLD if item.data_files else None
