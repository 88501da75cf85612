"""What the checks of a file know about it and its surroundings, and what they learn of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from careplan.findings import Finding, FindingLog
from careplan.patterns import TEXT_MAX

if TYPE_CHECKING:
    from collections.abc import Sequence

    from careplan.kinds import Role
    from careplan.layout import Layout, Severity
    from careplan.names import FileName


@dataclass(frozen=True, slots=True)
class OfficeFacts:
    """What the directory says of an office: its number and the codes of its service types."""

    number: str
    service_types: frozenset[str]


@dataclass(frozen=True, slots=True)
class Context:
    """Who sends to whom, what else is in the message, and today's month (YYYYMM, Japan time) where it matters."""

    sender: OfficeFacts
    recipient: OfficeFacts
    attachments: Sequence[str] = ()
    month_now: str | None = None
    text_max: int = TEXT_MAX
    """Characters of free text allowed in one item."""


@dataclass(slots=True)
class UnitFacts:
    """What is settled about a sending unit before its files are opened."""

    csv_version: str
    sender: str
    recipient: str
    sender_role: Role
    recipient_role: Role
    parties_hold: bool
    """Whether sender and recipient are settled, so that office numbers may be held against them."""
    preventive: bool
    """A unit of preventive care: office numbers of a third office may stand in the files."""
    by_month: bool
    """Whether the unit is tied by a service month (forms 6 and 7), not by the day of a plan."""
    pictures: frozenset[str]
    """Names of the pictures in the message, folded in case."""
    pictures_hold: bool
    """Whether no picture's own name is wrong, so that one that a row names may be said to be missing."""


@dataclass(slots=True)
class FileFacts:
    """One data file while it is checked: its place, and what its rows say (only what relations need)."""

    file: str
    name: FileName
    layout: Layout
    month_holds: bool = True
    """Whether the month of the name is the unit's, so that rows may be held against it."""
    month_denied: bool = False
    """Whether a row has another month than the name, so that it is open which of them holds."""
    parties_hold: bool = True
    """The same as ``month_holds`` for the office numbers."""
    rows: int = 0
    left_out: int = 0
    """Rows that could not be used for checks across rows; what seems missing may stand in them."""
    keyless: int = 0
    """Rows whose relation key could not be read."""
    unreadable: bool = False
    keys: dict[str, int] = field(default_factory=dict)
    """Relation key → its first row + 2^32 * how many rows have it."""
    served: set[str] = field(default_factory=set)
    """Persons with a row for the recipient's office number."""
    pictures: set[str] = field(default_factory=set)
    """Pictures that rows name, folded in case."""
    explained: set[str] = field(default_factory=set)
    """Keys that a finding was said about."""


_ROW_BITS = 32
_ROW_MASK = (1 << _ROW_BITS) - 1


def first_row(entry: int) -> int:
    """The first row of a relation key's entry in ``FileFacts.keys``."""
    return entry & _ROW_MASK


def row_count(entry: int) -> int:
    """How many rows have the key."""
    return entry >> _ROW_BITS


def entry_of(first: int, count: int) -> int:
    """An entry of ``FileFacts.keys``."""
    return (count << _ROW_BITS) | first


def say(
    log: FindingLog,
    facts: FileFacts,
    code: str,
    severity: Severity,
    row: int | None,
    column: str | None = None,
    **detail: str | int,
) -> None:
    """Add a finding about a place of a file; ``column`` is the English name."""
    place = facts.layout.column(column) if column else None
    log.add(
        Finding(
            code,
            severity,
            facts.file,
            row,
            place.no if place else None,
            place.name_ja if place else None,
            detail,
        )
    )
