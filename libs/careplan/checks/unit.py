"""A whole sending unit: the names, every file, and what ties the files together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from careplan.checks.about import Context, FileFacts, UnitFacts, say
from careplan.checks.composition import Composition, Member, check_version, compose
from careplan.checks.relations import check_relations
from careplan.checks.scan import Scan
from careplan.findings import Finding, FindingLog
from careplan.kinds import IMAGE_KIND, label_of
from careplan.layout import layout_of
from careplan.names import PICTURE_ENDS
from careplan.units import PARENT_KINDS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from careplan.names import FileName
    from careplan.reader import DataFile


_MAY_BE_EMPTY = ("UP3KYO", "UPYOBO_SUB")


class FileReport(NamedTuple):
    """What was found in one file; the counts are of all findings, not only of those listed."""

    kind: str | None
    label: str
    errors: int
    warnings: int


@dataclass(frozen=True, slots=True)
class UnitReport:
    """The judgement of a sending unit. Any error means that it is refused."""

    findings: list[Finding]
    """The first 200, errors before warnings."""
    unit: str | None
    """For instance 202407-K2; None when the files make no permitted unit."""
    csv_version: str | None
    months: tuple[str, ...]
    kinds: tuple[str | None, ...]
    """The kind of each data file, in the order given."""
    sequence: str | None
    sender_service: str | None
    recipient_service: str | None
    errors: int
    warnings: int
    per_file: Mapping[str, FileReport]


def check_unit(files: Sequence[DataFile], context: Context) -> UnitReport:
    """Judge the data files of one message, with the names of what else it holds in ``context.attachments``.

    Never raises for anything that stands in the files or their names: damage is a finding. One cause is said once, at
    the place that explains it. Pictures of UPKIHON count as members wherever they are given; their bytes are not read.
    """
    log = FindingLog()
    made = compose([file.name for file in files], context, log)
    facts = _facts(made, context)
    opened: dict[str, FileFacts] = {}
    scans: list[Scan] = []
    for file, member in sorted(zip(files, made.members, strict=False), key=_parents_first):
        if member.name is None or facts is None or member.name.kind == IMAGE_KIND:
            continue
        scan = _scan(file, member, member.name, facts, context, log)
        scans.append(scan)
        if not member.spare:
            opened.setdefault(member.name.kind, scan.facts)
    if not any(scan.facts.month_denied for scan in scans):
        check_version(made, context, log)
    if facts is not None:
        _check_empty(made, opened, log)
        check_relations(opened, facts, log)
        _check_pictures(made, opened, log)
    for each in scans:
        each.finish()
    return _report(files, made, log)


def _parents_first(pair: tuple[DataFile, Member]) -> bool:
    """What is said once for a whole unit is then said in its parent form."""
    return pair[1].kind not in PARENT_KINDS


def _facts(made: Composition, context: Context) -> UnitFacts | None:
    if made.leader is None:
        return None
    return UnitFacts(
        csv_version=made.leader.csv_version,
        sender=context.sender.number,
        recipient=context.recipient.number,
        sender_role=made.sender_role,
        recipient_role=made.recipient_role,
        parties_hold=made.parties_hold,
        preventive=made.preventive,
        by_month=made.membership is not None and made.membership.unit.month_in_name,
        pictures=frozenset(member.file.casefold() for member in made.members if member.kind == IMAGE_KIND),
        pictures_hold=made.parties_hold
        and all(member.parties_hold and member.name is not None for member in made.members if _is_picture(member)),
    )


def _is_picture(member: Member) -> bool:
    """By its name, or by its end where the name says nothing."""
    return member.kind == IMAGE_KIND or (member.kind is None and member.file.lower().endswith(PICTURE_ENDS))


def _scan(file: DataFile, member: Member, name: FileName, unit: UnitFacts, context: Context, log: FindingLog) -> Scan:
    facts = FileFacts(
        file=file.name,
        name=name,
        layout=layout_of(name.kind, name.csv_version),
        month_holds=member.month_holds and not member.spare,
        parties_hold=unit.parties_hold and member.parties_hold and not member.spare,
    )
    scan = Scan(facts, unit, log, context.text_max)
    scan.run(file.data)
    return scan


def _check_empty(made: Composition, opened: Mapping[str, FileFacts], log: FindingLog) -> None:
    """A file without rows: an error for a member that must be there, but nobody must have a weekly table."""
    may_be = {*(made.membership.unit.optional if made.membership else ()), *_MAY_BE_EMPTY}
    for kind, facts in opened.items():
        if not facts.rows and not facts.unreadable:
            say(log, facts, "TDK-EMPTY-FILE", "warning" if kind in may_be else "error", None)


def _check_pictures(made: Composition, opened: Mapping[str, FileFacts], log: FindingLog) -> None:
    """Each picture is named by a row of UPKIHON; silent when another finding may explain that it is not."""
    basics = opened.get("UPKIHON")
    if basics is None or basics.unreadable or basics.left_out or log.count("error"):
        return
    present = {member.file.casefold(): member.file for member in made.members if member.kind == IMAGE_KIND}
    unnamed = [file for folded, file in present.items() if folded not in basics.pictures]
    for file in unnamed[len(basics.pictures - present.keys()) :]:  # as many are meant by rows that misname them
        log.add(Finding("TDK-PICTURE-UNNAMED", "warning", file))


def _report(files: Sequence[DataFile], made: Composition, log: FindingLog) -> UnitReport:
    leader = made.leader
    kinds = tuple(member.name.kind if member.name else None for member in made.members[: len(files)])
    per_file = {
        member.file: FileReport(
            member.name.kind if member.name else None,
            label_of(member.kind) if member.kind else "PDF等",
            log.count("error", member.file),
            log.count("warning", member.file),
        )
        for member in made.members
    }
    return UnitReport(
        findings=log.listed([member.file for member in made.members]),
        unit=made.membership.unit.unit if made.membership and made.complete else None,
        csv_version=leader.csv_version if leader else None,
        months=made.months,
        kinds=kinds,
        sequence=leader.sequence if leader else None,
        sender_service=leader.sender_service if leader else None,
        recipient_service=leader.recipient_service if leader else None,
        errors=log.count("error"),
        warnings=log.count("warning"),
        per_file=per_file,
    )
