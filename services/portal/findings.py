"""S-21: findings with person and value, filled in from the very bytes, which are read for this page and then forgotten.

Nothing of it is stored, logged or said: the events and the API name places only.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import careplan
from services.portal.downloads import content
from services.portal.shown import month
from services.portal.visitors import Visitor
from todoke.client.shapes import Finding, Item

GROUPED_FROM = 21
"""So many findings are summed up per code."""

VALUE_CHARACTERS_MAX = 60

_PLACEHOLDER = re.compile(r"\{([^{}]+)\}")


@dataclass(frozen=True, slots=True)
class Card:
    """A finding as its card shows it; `person` and `value` are empty where they are not filled in."""

    finding: Finding
    message: str
    advice: str
    form: str
    person: str
    value: str


@dataclass(frozen=True, slots=True)
class Group:
    """Findings that stand together: of one person, or of one code."""

    title: str
    cards: tuple[Card, ...]


@dataclass(frozen=True, slots=True)
class Findings:
    """All cards, in groups; `per_code` tells that they are summed up. `vendor` names nobody."""

    cards: tuple[Card, ...]
    groups: tuple[Group, ...]
    per_code: bool
    vendor: str


async def shown_findings(visitor: Visitor, item: Item, findings: Sequence[Finding], *, fill: bool) -> Findings:
    """The findings of a message. `fill` reads its files, which counts as 開封 for a recipient.

    Raises what a fetch raises.
    """
    tables = await _tables(visitor, item, findings) if fill and findings else _Tables({}, {})
    cards = tuple(sorted((_card(tables, finding) for finding in findings), key=_order))
    per_code = len(cards) >= GROUPED_FROM
    groups = tuple(_per_code(cards) if per_code else _per_person(cards))
    return Findings(cards, groups, per_code, vendor_text(findings))


def vendor_text(findings: Sequence[Finding]) -> str:
    """What the maker of the care software has to know: codes and places, no person, no value, no office (S-21.2)."""
    lines = ["ケアプランデータ連携の検査で、次の指摘がありました。"]
    for finding in findings:
        place = [_form(finding.file)]
        if finding.row is not None:
            place.append(f"{finding.row}行目")
        if finding.column is not None:
            place.append(f"{finding.column}列目「{finding.column_name or ''}」")
        lines.append(f"{finding.number or ''} {finding.code}　{'　'.join(each for each in place if each)}")
    return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class _Table:
    layout: careplan.Layout
    rows: list[tuple[str, ...]]

    def cell(self, row: int | None, column: int | None) -> str:
        """A cell by its numbers from 1; empty for a place that the file does not have."""
        if row is None or column is None or not 0 < row <= len(self.rows):
            return ""
        cells = self.rows[row - 1]
        return cells[column - 1] if 0 < column <= len(cells) else ""

    def named(self, row: int | None, name: str) -> str:
        place = self.layout.places.get(name)
        return "" if place is None else self.cell(row, place + 1)


@dataclass(frozen=True, slots=True)
class _Tables:
    """The files that findings point into, by name, and the persons' names by insured number."""

    by_file: Mapping[str, _Table]
    names: Mapping[str, str]


async def _tables(visitor: Visitor, item: Item, findings: Sequence[Finding]) -> _Tables:
    pointed = {finding.file for finding in findings}
    by_file: dict[str, _Table] = {}
    names: dict[str, str] = {}
    for file in item.files:
        name = careplan.parse_name(file.name or "")
        if file.name is None or name is None or not file.name.lower().endswith(".csv"):
            continue
        if file.name not in pointed and name.kind != "UPHOSOKU":
            continue
        data = await content(visitor, item.message_id, file.n)
        layout = careplan.layout_of(name.kind, name.csv_version)
        table = _Table(layout, careplan.read_rows(careplan.DataFile(file.name, data), layout).rows)
        by_file[file.name] = table
        if layout.has("user_name"):
            for row in range(1, len(table.rows) + 1):
                names[table.named(row, "insured_no")] = table.named(row, "user_name")
    return _Tables(by_file, names)


def _card(tables: _Tables, finding: Finding) -> Card:
    table = tables.by_file.get(finding.file or "")
    insured = table.named(finding.row, "insured_no") if table else ""
    value = table.cell(finding.row, finding.column)[:VALUE_CHARACTERS_MAX] if table else ""
    name = tables.names.get(insured, "")
    message, advice = finding.message, finding.advice
    if table is not None:
        known = {"row": str(finding.row or "-"), "column": finding.column_name or "-", "名前": finding.file or ""}
        known |= {"氏名": name} if name else {}
        known |= {"値": value, "日付": value, "コード": value} if value else {}
        known |= _month(finding.file)
        message, advice = _with_content(finding, known)
    return Card(finding, message, advice, _form(finding.file), _person(name, insured), value)


def _with_content(finding: Finding, known: Mapping[str, str]) -> tuple[str, str]:
    """The wording with content where every place in it can be filled, else the API's own."""
    text = careplan.finding_texts().get(finding.code)
    if text is None:
        return finding.message, finding.advice
    pairs = ((text.message_with_content, finding.message), (text.advice_with_content, finding.advice))
    full = [
        _PLACEHOLDER.sub(lambda found: known[found[1]], wanted)
        if wanted and all(name in known for name in _PLACEHOLDER.findall(wanted))
        else plain
        for wanted, plain in pairs
    ]
    return full[0], full[1]


def _month(file: str | None) -> dict[str, str]:
    name = careplan.parse_name(file or "")
    if name is None or name.target_month in (None, "000000"):
        return {}
    return {"月": month(name.target_month or "")}


def _person(name: str, insured: str) -> str:
    if name:
        return f"{name} 様（{insured}）"
    return f"被保険者番号 {insured}" if insured else ""


def _form(file: str | None) -> str:
    name = careplan.parse_name(file or "")
    return "" if name is None else careplan.SHORT_NAMES.get(name.kind, name.kind)


def _order(card: Card) -> tuple[bool, str, str, int]:
    finding = card.finding
    return finding.severity != "error", card.person, finding.file or "", finding.row or 0


def _per_person(cards: Sequence[Card]) -> Iterator[Group]:
    groups: defaultdict[str, list[Card]] = defaultdict(list)
    for card in cards:
        groups[card.person].append(card)
    for person, own in groups.items():
        yield Group(person or ("ファイル全体・人を示さない指摘" if len(groups) > 1 else ""), tuple(own))


def _per_code(cards: Sequence[Card]) -> Iterator[Group]:
    groups: defaultdict[tuple[str, str], list[Card]] = defaultdict(list)
    for card in cards:
        groups[card.finding.severity, card.finding.code].append(card)
    for own in groups.values():
        yield Group(own[0].finding.column_name or own[0].form, tuple(own))
