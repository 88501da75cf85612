"""What the names of a message's files say: same sequence and parties, a permitted combination, roles, months."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from careplan.findings import Finding, FindingLog
from careplan.kinds import FIRST_MONTH, IMAGE_KIND, NO_MONTH, Role, is_known, is_linkable, role_of
from careplan.names import FileName, looks_like_data_name, meant_kind, parse_name
from careplan.numbers import Sequence as MessageSequence
from careplan.numbers import ServiceMonth
from careplan.units import PARENT_KINDS, Membership, expected_members, is_preventive, may_go, roles_in

if TYPE_CHECKING:
    from collections.abc import Sequence

    from careplan.checks.about import Context
    from careplan.layout import Severity

_MAY_LACK_MONTH = {"UPHOSOKU", "UPKIHON"}
_FORM_1 = "UP1KYO"


@dataclass(slots=True)
class Member:
    """One file by its name."""

    file: str
    name: FileName | None
    kind: str | None
    """The kind, also of a name that breaks the grammar but begins like one."""
    month_holds: bool = True
    parties_hold: bool = True
    spare: bool = False
    """A file that is in the way: of another unit, or the second of its kind."""


@dataclass(slots=True)
class Composition:
    """What is settled by the names alone."""

    members: list[Member] = field(default_factory=list)
    leader: FileName | None = None
    """The name whose parties and version are the unit's."""
    parties_hold: bool = True
    """Whether sender and recipient are settled, so that office numbers in the files may be held against them."""
    membership: Membership | None = None
    complete: bool = False
    """Whether the members are those of one permitted unit."""
    sender_role: Role = "service"
    recipient_role: Role = "service"
    preventive: bool = False
    months: tuple[str, ...] = ()
    month: str | None = None
    """The month that the files agree on."""


def compose(files: Sequence[str], context: Context, log: FindingLog) -> Composition:
    """Judge the names of the data files ``files`` and of the attachments of ``context``."""
    made = Composition([_member(file, log) for file in files])
    for attachment in context.attachments:
        if looks_like_data_name(attachment):
            made.members.append(_member(attachment, log))
    named = [member for member in made.members if member.name is not None]
    if not named:
        return made
    for member in named:
        _check_parts(member, log)
    made.leader = _leader(named, context)
    if made.leader.sender_office == made.leader.recipient_office or context.sender.number == context.recipient.number:
        _say_of_all(made, log, "TDK-OWN-OFFICE")
    _check_parties(named, made.leader, context, log)
    _check_combination(made, context, log)
    _check_months(made, log)
    _check_sequence(made.leader, named[0].file, log)
    return made


def _say(log: FindingLog, code: str, file: str | None, severity: Severity = "error", **detail: str | int) -> None:
    log.add(Finding(code, severity, file, detail=detail))


def _say_of_all(made: Composition, log: FindingLog, code: str) -> None:
    """The parties are wrong for the whole unit: what office numbers its rows hold follows from that."""
    made.parties_hold = False
    _say(log, code, None)


def _member(file: str, log: FindingLog) -> Member:
    name = parse_name(file)
    if name is None:
        _say(log, "TDK-NAME", file)
    return Member(file, name, name.kind if name else meant_kind(file))


def _leader(named: list[Member], context: Context) -> FileName:
    """The name that the others are held against: of the parties that most files have.

    Of two files it is the one whose parties are those of the message, then the parent form.
    """
    names = [(member.name, member.parties_hold) for member in named if member.name is not None]
    counts = Counter((name.csv_version, name.parties) for name, _ in names)
    offices = (context.sender.number, context.recipient.number)

    def weight(name: FileName, parties_hold: bool) -> tuple[int, bool, bool]:  # noqa: FBT001 - what a name is judged by
        right = parties_hold and (name.sender_office, name.recipient_office) == offices
        return counts[name.csv_version, name.parties], right, name.kind in PARENT_KINDS

    return max(names, key=lambda each: weight(*each))[0]


def _check_parts(member: Member, log: FindingLog) -> None:
    """Parts of a name that the grammar lets pass: months that are none, service types that are none."""
    name = member.name
    if name is None:
        return
    month = name.target_month
    if month and not ServiceMonth.fits(month) and not (month == NO_MONTH and name.kind in _MAY_LACK_MONTH):
        member.month_holds = False
        if log.first("TDK-NAME-MONTH", month):
            _say(log, "TDK-NAME-MONTH", member.file)
    for service_type in (name.sender_service, name.recipient_service):
        if not service_type or role_of(service_type) != "service" or is_linkable(service_type):
            continue
        member.parties_hold = False
        code = "TDK-NAME-TYPE-NOT-LINKABLE" if is_known(service_type) else "TDK-NAME-TYPE"
        if log.first(code, service_type):
            _say(log, code, member.file)
        return


def _check_parties(named: list[Member], leader: FileName, context: Context, log: FindingLog) -> None:
    """One finding per file at most: wrong sender, wrong recipient, other version, other unit."""
    for member in named:
        name = member.name
        if name is None or not member.parties_hold:
            continue
        if name.sender_office != context.sender.number:
            _odd(member, log, "TDK-NAME-SENDER", name.sender_office)
        elif name.recipient_office != context.recipient.number and leader.sender_office != leader.recipient_office:
            _odd(member, log, "TDK-NAME-RECIPIENT", name.recipient_office)
        elif name.csv_version != leader.csv_version:
            log.first("TDK-VERSIONS-MIXED", member.file, leader.csv_version)  # its rows need not be said as well
            _odd(member, log, "TDK-VERSIONS-MIXED", name.csv_version)
        elif name.parties != leader.parties:
            _odd(member, log, "TDK-OTHER-UNIT", "_".join(part or "" for part in name.parties))


def _odd(member: Member, log: FindingLog, code: str, cause: str) -> None:
    member.parties_hold = False
    member.spare = code in {"TDK-VERSIONS-MIXED", "TDK-OTHER-UNIT"}
    if log.first(code, cause):
        _say(log, code, member.file)


def _check_combination(made: Composition, context: Context, log: FindingLog) -> None:
    leader = made.leader
    if leader is None:
        return
    _check_twice(made, log)
    kinds = {member.kind for member in made.members if member.kind is not None}
    roles = roles_in(leader)
    made.preventive = is_preventive(leader)
    made.membership = expected_members(
        leader.csv_version, kinds, month=_has_month(made), roles=roles, preventive=made.preventive
    )
    _say_membership(made, log)
    made.complete = not made.membership.extra and not made.membership.missing
    if roles is None:
        _judge_by_directory(made, context, log)
    else:
        made.sender_role, made.recipient_role = roles
        steady = all(member.parties_hold or member.spare for member in made.members)
        if made.complete and steady and not may_go(leader.csv_version, kinds, *roles):
            _say_of_all(made, log, "TDK-ROLE")


def _check_twice(made: Composition, log: FindingLog) -> None:
    """One file of each kind; only pictures may be several."""
    seen: set[str] = set()
    for member in made.members:
        if member.name is None or member.spare or member.name.kind == IMAGE_KIND:
            continue
        if member.name.kind in seen:
            member.spare = True
            _say(log, "TDK-KIND-TWICE", member.file)
        seen.add(member.name.kind)


def _has_month(made: Composition) -> bool:
    return any(member.name is not None and bool((member.name.target_month or "").strip("0")) for member in made.members)


def _say_membership(made: Composition, log: FindingLog) -> None:
    """A file too many, or else the kinds that lack; a name that breaks the grammar explains both."""
    if made.membership is None:
        return
    unit, missing, extra = made.membership
    if any(member.name is None and member.kind is None for member in made.members):
        return
    for member in made.members:
        if member.kind in extra and not member.spare:
            member.spare = True
            _say(log, "TDK-COMBINATION", member.file)
    if extra:
        made.parties_hold = False
        return
    present = {member.kind for member in made.members}
    if missing:
        _say(
            log,
            "TDK-MISSING-FILE",
            None,
            missing=" ".join(sorted(missing)),
            present=" ".join(sorted(filter(None, present))),
        )
    sub_files = {kind for kind in unit.optional if kind != IMAGE_KIND} - present
    if not missing and sub_files:
        _say(log, "TDK-MISSING-SUB-FILE", None, "warning", missing=" ".join(sorted(sub_files)))


def _judge_by_directory(made: Composition, context: Context, log: FindingLog) -> None:
    """Roles in 202208: the unit says what the offices must be, the directory whether they are."""
    if made.membership is None:
        return
    unit = made.membership.unit
    made.sender_role, made.recipient_role = next(iter(unit.senders)), next(iter(unit.recipients))
    if not made.complete:
        return
    for office, role in ((context.sender, made.sender_role), (context.recipient, made.recipient_role)):
        if office.service_types and role not in {role_of(code) for code in office.service_types}:
            _say_of_all(made, log, "TDK-ROLE")
            return


def _check_months(made: Composition, log: FindingLog) -> None:
    """All files that carry a month carry the same; UPHOSOKU of a plan set carries 000000."""
    dated = [
        (member, member.name.target_month)
        for member in made.members
        if member.name is not None and member.name.target_month and member.name.kind != "UPKIHON"
    ]
    counts = Counter(month for member, month in dated if member.month_holds and not member.spare)
    of_plan = any(member.kind == _FORM_1 and not member.spare for member in made.members)
    if of_plan:
        wanted = NO_MONTH
    else:
        wanted = max(counts, key=lambda month: (counts[month], month != NO_MONTH), default=NO_MONTH)
    for member, month in dated:
        if month == wanted or member.spare or not member.month_holds:
            continue
        member.month_holds = False
        _say(log, "TDK-MONTHS-MIXED", member.file)
    made.month = wanted if ServiceMonth.fits(wanted) else None
    made.months = tuple(sorted({month for _, month in dated if ServiceMonth.fits(month)}))


def _check_sequence(leader: FileName, file: str, log: FindingLog) -> None:
    if not MessageSequence(leader.sequence).is_time:
        _say(log, "TDK-SEQUENCE-TIME", file, "warning")


def check_version(made: Composition, context: Context, log: FindingLog) -> None:
    """A version before its first or after its last month: both are seen, so a warning (README, versions)."""
    leader = made.leader
    month = made.month or context.month_now
    if leader is None or month is None:
        return
    if leader.csv_version == "202208" and month >= FIRST_MONTH["202407"]:
        _say(log, "TDK-OLD-VERSION", None, "warning")
    elif made.month and month < FIRST_MONTH[leader.csv_version]:
        _say(log, "TDK-EARLY-VERSION", None, "warning")
