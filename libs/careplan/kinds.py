"""The kinds of file and the service types of the standard, as its tables give them (clauses 2.2 and 3.2)."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

Role = Literal["care_management", "support_centre", "service"]

CSV_VERSIONS: Final = ("202208", "202407")
# Version values do not sort by age, so the month each came into use is written down (clause 1, by service month).
FIRST_MONTH: Final[Mapping[str, str]] = {"202208": "202301", "202407": "202504"}
IMAGE_KIND: Final = "UPKIHON_IMAGE"
NO_MONTH: Final = "000000"

_ROLES: Final[Mapping[str, Role]] = {"43": "care_management", "46": "support_centre", "AF": "support_centre"}


@dataclass(frozen=True, slots=True)
class FileKind:
    """One kind of file in one CSV version."""

    kind: str
    csv_version: str
    name_ja: str
    action: str
    """登録 or 削除."""
    pattern: re.Pattern[str]
    columns: int
    """Items a row has; 0 for a picture."""
    columns_inferred: bool
    """Whether the number of columns rests on inference (a wrong number is then a warning)."""
    has_month: bool
    """Whether the file name carries a service month."""


@dataclass(frozen=True, slots=True)
class ServiceType:
    """A two-character service type. A code of two benefit systems carries both categories."""

    code: str
    name_ja: str
    categories: frozenset[str]
    linkable: bool
    """Whether rows of this type may be exchanged."""

    @property
    def preventive(self) -> bool:
        """Whether it belongs to preventive benefits or the municipal programme only."""
        return "介護給付" not in self.categories


def read_table(path: str) -> list[dict[str, str]]:
    """The rows of one of the standard's tables, ``path`` under ``tables/``, each a mapping from head to cell."""
    text = files("careplan").joinpath("tables", *path.split("/")).read_text(encoding="utf-8")
    return list(csv.DictReader(io.StringIO(text, newline="")))


def _kind(row: Mapping[str, str]) -> FileKind:
    return FileKind(
        kind=row["prefix"],
        csv_version=row["csv_version"],
        name_ja=row["name_ja"],
        action=row["action"],
        pattern=re.compile(row["filename_regex"].removeprefix("^").removesuffix("$")),
        columns=int(row["columns"]),
        columns_inferred=re.search(r"inferred \(columns", row["confidence"]) is not None,
        has_month="month YYYYMM" in row["filename_pattern"],
    )


def _service_types() -> dict[str, ServiceType]:
    found: dict[str, ServiceType] = {}
    for row in read_table("service_types.csv"):
        before = found.get(row["code"])
        found[row["code"]] = ServiceType(
            code=row["code"],
            name_ja=row["name_ja"],
            categories=frozenset({row["category"]}) | (before.categories if before else frozenset()),
            linkable=row["linkable"] == "yes",
        )
    return found


KINDS: Final[Mapping[tuple[str, str], FileKind]] = {
    (kind.csv_version, kind.kind): kind for kind in map(_kind, read_table("files.csv"))
}
SERVICE_TYPES: Final[Mapping[str, ServiceType]] = _service_types()
PREFIXES: Final = tuple(sorted({kind for _, kind in KINDS}, key=lambda kind: (-len(kind), kind)))


def role_of(service_type: str) -> Role:
    """What an office is by its service type: 43 care management, 46 and AF support centre, all others service."""
    return _ROLES.get(service_type, "service")


def is_known(service_type: str) -> bool:
    """Whether the table of service types has this code."""
    return service_type in SERVICE_TYPES


def is_linkable(service_type: str) -> bool:
    """Whether rows of this service type may be exchanged; a code that the table lacks may not."""
    known = SERVICE_TYPES.get(service_type)
    return known is not None and known.linkable


@cache
def label_of(kind: str) -> str:
    """登録 or 削除 for a kind of the standard, PDF等 for anything else (screens 0.3)."""
    for version in CSV_VERSIONS:
        if (version, kind) in KINDS:
            return KINDS[version, kind].action
    return "PDF等"
