"""The layouts: which columns a kind of file has, in order, and what each may hold (the annexes of the standard)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal

from careplan.kinds import KINDS, FileKind, read_table

if TYPE_CHECKING:
    from collections.abc import Mapping

Severity = Literal["error", "warning"]

# Readers of version 201910 know a date 登録日 in front of 更新業者コード; edition 3.2 does not say that it went away.
_REGISTERED_ON_BEFORE = {("202208", "UPHOSOKU"): "updater_office", ("202208", "UPSIKYU"): "updater_office"}
_CELLS = re.compile(r"inferred\[([a-z_,]+)\]")
_CELL_IN_WORDS = re.compile(r"\b(required|max_length) inferred from")


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """One column of a layout; ``no`` counts from 1 as in the standard's tables."""

    no: int
    name_ja: str
    name_en: str
    max_length: int | None
    """Characters, a minus sign included; None is free text without limit."""
    required: Literal["yes", "no", "conditional"]
    type: str
    allowed: Mapping[str, str]
    """Code → meaning; empty when any value of the type will do."""
    rule: str
    inferred: frozenset[str]
    """The cells of this row of the table that are inferred; ``order`` means the position itself."""

    def severity(self, cell: str) -> Severity:
        """Error, or warning where the cell that a rule rests on (or the column's position) is inferred."""
        return "warning" if cell in self.inferred or "order" in self.inferred else "error"


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """The columns of one kind of file in one CSV version."""

    kind: FileKind
    columns: tuple[Column, ...]
    places: Mapping[str, int]
    """English column name → index from 0."""
    spare_at: int | None
    """Where rows may hold one date more (登録日), an index from 0; None in all but two layouts of 202208."""

    def column(self, name_en: str) -> Column:
        """The column of that English name.

        Raises:
            KeyError: this layout has none.
        """
        return self.columns[self.places[name_en]]

    def has(self, name_en: str) -> bool:
        """Whether this layout has a column of that English name."""
        return name_en in self.places


def _column(row: Mapping[str, str]) -> Column:
    inferred = {cell for group in _CELLS.findall(row["confidence"]) for cell in group.split(",")}
    inferred.update(_CELL_IN_WORDS.findall(row["confidence"]))
    required = row["required"]
    if required not in {"yes", "no", "conditional"}:
        raise ValueError(f"column {row['no']}: required is yes, no or conditional")
    return Column(
        no=int(row["no"]),
        name_ja=row["name_ja"],
        name_en=row["name_en"],
        max_length=int(row["max_length"]) if row["max_length"] else None,
        required=required,  # type: ignore[arg-type]  # the check above has found it among the three words
        type=row["type"],
        allowed=dict(pair.split("=", 1) for pair in row["allowed"].split("|") if pair),
        rule=row["rule"],
        inferred=frozenset(inferred),
    )


@cache
def layout_of(kind: str, csv_version: str) -> Layout:
    """The layout of a kind in a version.

    Raises:
        KeyError: that version has no such kind, or the kind is a picture and has no columns.
    """
    known = KINDS[csv_version, kind]
    if not known.columns:
        raise KeyError(kind)
    columns = tuple(_column(row) for row in read_table(f"layouts/{csv_version}/{kind}.csv"))
    places = {column.name_en: column.no - 1 for column in columns}
    spare = _REGISTERED_ON_BEFORE.get((csv_version, kind))
    return Layout(kind=known, columns=columns, places=places, spare_at=None if spare is None else places[spare])
