"""What is wrong, where: a finding, and the log that keeps the first of them and counts all."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from careplan.layout import Severity

# The API promises at most so many findings and the counts of all.
FINDINGS_MAX: Final = 200

# Distinct causes remembered: enough for every real file, and a hostile one with a new cause in each row stays small.
_CAUSES_MAX: Final = 5_000


@dataclass(frozen=True, slots=True)
class Finding:
    """One breach of the standard, without anything that stands in the file.

    ``row`` counts records from 1, ``column`` items from 1 as in the standard's tables; each is None where the breach
    is not that narrow. ``detail`` fills the placeholders of the wording and never holds the content of a cell.
    """

    code: str
    severity: Severity
    file: str | None = None
    row: int | None = None
    column: int | None = None
    column_name: str | None = None
    detail: Mapping[str, str | int] = field(default_factory=dict)


class FindingLog:
    """Collects findings in bounded memory: the first ``FINDINGS_MAX`` of each severity, and the counts of all."""

    def __init__(self) -> None:
        """Start empty."""
        self._kept: dict[Severity, list[Finding]] = {"error": [], "warning": []}
        self._count: Counter[tuple[str | None, Severity]] = Counter()
        self._said: set[tuple[str, ...]] = set()

    def add(self, finding: Finding) -> None:
        """Keep (or only count) a finding."""
        self._count[finding.file, finding.severity] += 1
        kept = self._kept[finding.severity]
        if len(kept) < FINDINGS_MAX:
            kept.append(finding)

    def first(self, *what: str) -> bool:
        """Whether this is asked for the first time: one cause in a thousand rows is to be said once.

        Memory is bounded: causes beyond ``_CAUSES_MAX`` count as new each time, so that none is ever passed over.
        """
        if what in self._said:
            return False
        if len(self._said) < _CAUSES_MAX:
            self._said.add(what)
        return True

    def count(self, severity: Severity, *files: str | None) -> int:
        """How many findings of a severity, in these files or, when none is named, in all."""
        if files:
            return sum(self._count[file, severity] for file in files)
        return sum(number for (_, which), number in self._count.items() if which == severity)

    def listed(self, files: Sequence[str] = ()) -> list[Finding]:
        """The first findings: errors before warnings, those of the whole unit first, then by file, row and column."""
        order = {file: place for place, file in enumerate(files, start=1)}

        def place(finding: Finding) -> tuple[int, int, int]:
            return order.get(finding.file or "", 0), finding.row or 0, finding.column or 0

        kept = [finding for findings in self._kept.values() for finding in sorted(findings, key=place)]
        return kept[:FINDINGS_MAX]
