"""Message sets to damage: the samples, taken apart and put together again."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

import careplan
from careplan import Context, DataFile, OfficeFacts, UnitReport


def _read(files: list[tuple[str, bytes]]) -> tuple[dict[str, str], dict[str, list[tuple[str, ...]]]]:
    names, rows = {}, {}
    for name, data in files:
        parsed = careplan.parse_name(name)
        assert parsed
        names[parsed.kind] = name
        rows[parsed.kind] = careplan.read_rows(DataFile(name, data)).rows
    return names, rows


READ = {folder: _read(files) for folder, files in careplan.sample_sets().items()}


@dataclass
class MessageSet:
    """A message set whose rows can be changed; kinds are the keys."""

    names: dict[str, str]
    rows: dict[str, list[list[str]]]
    attachments: list[str] = field(default_factory=list)
    raw: dict[str, bytes] = field(default_factory=dict)
    """Bytes that stand for a kind's rows."""
    sender: OfficeFacts | None = None
    recipient: OfficeFacts | None = None
    month_now: str | None = None

    @classmethod
    def of(cls, folder: str) -> MessageSet:
        """The sample set of that folder."""
        names, rows = READ[folder]
        return cls(dict(names), {kind: [list(row) for row in of_kind] for kind, of_kind in rows.items()})

    def layout(self, kind: str) -> careplan.Layout:
        """The layout of one of the files."""
        parsed = careplan.parse_name(self.names[kind])
        assert parsed
        return careplan.layout_of(kind, parsed.csv_version)

    def get(self, kind: str, row: int, column: str) -> str:
        """A cell; ``row`` counts from 1."""
        return self.rows[kind][row - 1][self.layout(kind).places[column]]

    def set(self, kind: str, row: int, column: str, value: str) -> MessageSet:
        """Change a cell; ``row`` counts from 1."""
        self.rows[kind][row - 1][self.layout(kind).places[column]] = value
        return self

    def bytes_of(self, kind: str) -> bytes:
        """The bytes of one of the files."""
        if kind in self.raw:
            return self.raw[kind]
        parsed = careplan.parse_name(self.names[kind])
        version = parsed.csv_version if parsed else "202407"
        return careplan.write_rows(kind, version, self.rows[kind])

    def files(self) -> list[DataFile]:
        """The files as they would be sent."""
        return [DataFile(name, self.bytes_of(kind)) for kind, name in self.names.items()]

    def rename(self, kind: str, **parts: str | None) -> MessageSet:
        """Change parts of a file's name."""
        parsed = careplan.parse_name(self.names[kind])
        assert parsed
        self.names[kind] = replace(parsed, **parts).render(self.names[kind][-4:])  # type: ignore[arg-type]
        return self

    def rename_all(self, **parts: str | None) -> MessageSet:
        """Change parts of all names."""
        for kind in self.names:
            self.rename(kind, **parts)
        return self

    def context(self) -> Context:
        """The offices of the names, unless others are given."""
        parsed = next(name for name in map(careplan.parse_name, self.names.values()) if name)
        sender = self.sender or OfficeFacts(parsed.sender_office, frozenset())
        recipient = self.recipient or OfficeFacts(parsed.recipient_office, frozenset())
        return Context(sender, recipient, tuple(self.attachments), self.month_now)

    def check(self) -> UnitReport:
        """Judge it."""
        context = self.context()
        return careplan.check_unit(self.files(), context)

    def only(self, code: str, kind: str | None, row: int | None, column: str | None, severity: str = "error") -> None:
        """Assert that exactly one finding is said, at that place."""
        report = self.check()
        where = [(f.code, f.severity, f.file, f.row, f.column) for f in report.findings]
        number = self.layout(kind).column(column).no if kind and column else None
        assert where == [(code, severity, self.names[kind] if kind else None, row, number)]
        assert report.errors + report.warnings == 1
        assert careplan.wording(report.findings[0]).message


@pytest.fixture
def sets() -> type[MessageSet]:
    """Sample sets by folder: ``sets.of("202407/plan_67_to_provider_a")``."""
    return MessageSet
