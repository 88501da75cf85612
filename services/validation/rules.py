"""Pure decisions of validation: what a judgement says, and how much of it fits into an event."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from careplan import Finding
from todoke.events import (
    PAYLOAD_BYTES_MAX,
    Actor,
    Counts,
    Event,
    FileValidated,
    MessageAccepted,
    MessageRejected,
    MessageSubmitted,
    Pointer,
    body_of,
)
from todoke.relay.limits import FINDINGS_MAX

ACTOR = Actor(kind="system", id="validation")

POINTERS_SPARE_BYTES = 512
"""Room left in an event for what later versions add."""

DETAIL_CHARACTERS_MAX = 100
"""A detail is a kind, a count or an item name; anything longer is cut."""


@dataclasses.dataclass(frozen=True, slots=True)
class FileJudgement:
    """What was found in one file, by its place in the message."""

    part: int
    kind: str | None
    csv_version: str | None
    counts: Counts


@dataclasses.dataclass(frozen=True, slots=True)
class Judgement:
    """What was found in a message: the first findings, errors before warnings, and the counts of all."""

    findings: tuple[Finding, ...]
    counts: Counts
    files: tuple[FileJudgement, ...]

    @property
    def accepted(self) -> bool:
        """Whether the message keeps the standard."""
        return self.counts.errors == 0


def first_findings(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """The findings that are listed: errors before warnings, in the order they were found, at most `FINDINGS_MAX`."""
    listed = sorted(findings, key=lambda finding: finding.severity != "error")
    return tuple(listed[:FINDINGS_MAX])


def pointers(findings: Sequence[Finding], parts: Mapping[str, int]) -> list[Pointer]:
    """The findings as events may carry them: files by their place, never by name."""
    return [
        Pointer(
            code=finding.code,
            severity=finding.severity,
            part=parts.get(finding.file) if finding.file is not None else None,
            row=finding.row,
            column=finding.column,
            column_name=finding.column_name,
            detail={key: _short(value) for key, value in finding.detail.items()},
        )
        for finding in findings
    ]


def _short(value: str | int) -> str | int:
    return value[:DETAIL_CHARACTERS_MAX] if isinstance(value, str) else value


def events_of(submitted: MessageSubmitted, judgement: Judgement, parts: Mapping[str, int], at: datetime) -> list[Event]:
    """What is said of a judged message: one FileValidated per file, then the verdict."""
    listed = pointers(judgement.findings, parts)
    return [*_files_validated(submitted, judgement), _verdict(submitted, judgement, listed, at)]


def _files_validated(submitted: MessageSubmitted, judgement: Judgement) -> list[Event]:
    return [
        FileValidated(
            actor=ACTOR,
            message_id=submitted.message_id,
            sender=submitted.sender,
            recipient=submitted.recipient,
            part=file.part,
            kind=file.kind,
            csv_version=file.csv_version,
            counts=file.counts,
        )
        for file in judgement.files
    ]


def _verdict(submitted: MessageSubmitted, judgement: Judgement, listed: list[Pointer], at: datetime) -> Event:
    verdict: MessageAccepted | MessageRejected
    if judgement.accepted:
        verdict = MessageAccepted(
            actor=ACTOR,
            message_id=submitted.message_id,
            sender=submitted.sender,
            recipient=submitted.recipient,
            package=submitted.package,
            sender_version=submitted.sender_version,
            recipient_version=submitted.recipient_version,
            counts=judgement.counts,
        )
    else:
        verdict = MessageRejected(
            actor=ACTOR,
            message_id=submitted.message_id,
            sender=submitted.sender,
            recipient=submitted.recipient,
            counts=judgement.counts,
            rejected_at=at,
        )
    return verdict.model_copy(update={"findings": fitting(listed, len(body_of(verdict)))})


def fitting(listed: Sequence[Pointer], used_bytes: int) -> tuple[Pointer, ...]:
    """As many of the pointers, from the first on, as fit into an event that has `used_bytes` without them."""
    left = PAYLOAD_BYTES_MAX - POINTERS_SPARE_BYTES - used_bytes
    kept = []
    for pointer in listed:
        left -= len(pointer.model_dump_json(exclude_none=True).encode()) + 1
        if left < 0:
            break
        kept.append(pointer)
    return tuple(kept)
