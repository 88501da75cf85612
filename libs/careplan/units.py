"""Sending units 送信単位: which files make one message, who may send it to whom (clauses 2.4 and 3.4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from careplan.kinds import IMAGE_KIND, NO_MONTH, SERVICE_TYPES, Role, read_table, role_of
from careplan.names import FileName, parse_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_ROLES: Final[Mapping[str, Role]] = {
    "居宅介護支援事業所": "care_management",
    "居宅介護支援事業所(委託先)": "care_management",
    "居宅サービス事業所": "service",
    "介護予防・総合事業サービス事業所": "service",
    "地域包括支援センター等": "support_centre",
}
PARENT_KINDS: Final = ("UP1KYO", "UPPLAN", "UPKIHON", "UPYOBO")
_PREVENTIVE_SECTION = "3."


@dataclass(frozen=True, slots=True)
class SendingUnit:
    """A permitted combination of files."""

    unit: str
    """For instance 202407-K2."""
    csv_version: str
    action: str
    senders: frozenset[Role]
    recipients: frozenset[Role]
    mandatory: frozenset[str]
    optional: frozenset[str]
    month_in_name: bool
    preventive: bool

    def may_go(self, sender: Role, recipient: Role) -> bool:
        """Whether an office in one role may send this unit to an office in the other; never to its own kind."""
        return sender in self.senders and recipient in self.recipients and sender != recipient


class Membership(NamedTuple):
    """The unit that a set of files is meant as, and what keeps it from being one."""

    unit: SendingUnit
    missing: frozenset[str]
    extra: frozenset[str]


def _unit(row: Mapping[str, str]) -> SendingUnit:
    return SendingUnit(
        unit=row["unit"],
        csv_version=row["csv_version"],
        action=row["action"],
        senders=frozenset(_ROLES[name.strip()] for name in row["sender"].split("/")),
        recipients=frozenset(_ROLES[name.strip()] for name in row["recipient"].split("/")),
        mandatory=frozenset(row["mandatory_members"].split()),
        optional=frozenset(row["optional_members"].split()),
        month_in_name=row["month_in_file_name"] == "yes",
        preventive=row["section"].startswith(_PREVENTIVE_SECTION),
    )


UNITS: Final = tuple(map(_unit, read_table("sending_units.csv")))


def expected_members(
    csv_version: str,
    kinds: Iterable[str],
    *,
    month: bool | None = None,
    roles: tuple[Role, Role] | None = None,
    preventive: bool = False,
) -> Membership:
    """The sending unit nearest to a set of kinds, and what it lacks or has too much.

    ``month`` says whether the names carry a service month, ``roles`` who sends to whom, ``preventive`` whether the
    service type is one of preventive care: they decide between units of the same members.
    """
    found = frozenset(kinds)

    def distance(unit: SendingUnit) -> tuple[int, int, bool, bool, bool]:
        extra, missing = found - unit.mandatory - unit.optional, unit.mandatory - found
        return (
            len(extra) + len(missing),
            len(extra),
            roles is not None and not unit.may_go(*roles),
            month is not None and unit.month_in_name != month,
            unit.preventive != preventive,
        )

    unit = min((unit for unit in UNITS if unit.csv_version == csv_version), key=distance)
    return Membership(unit, unit.mandatory - found, found - unit.mandatory - unit.optional)


def roles_in(name: FileName) -> tuple[Role, Role] | None:
    """What sender and recipient are by the service types in a name; None in 202208, whose names have none."""
    if name.sender_service is None or name.recipient_service is None:
        return None
    return role_of(name.sender_service), role_of(name.recipient_service)


def is_preventive(name: FileName) -> bool:
    """Whether a name speaks of preventive care: a support centre, or a service type of preventive care only."""
    types = [SERVICE_TYPES.get(code) for code in (name.sender_service, name.recipient_service) if code]
    return any(kind is not None and kind.preventive for kind in types)


def may_go(csv_version: str, kinds: Iterable[str], sender: Role, recipient: Role) -> bool:
    """Whether any unit made of exactly these kinds may go from one role to the other."""
    found = frozenset(kinds)
    return any(
        unit.may_go(sender, recipient)
        for unit in UNITS
        if unit.csv_version == csv_version and unit.mandatory <= found <= unit.mandatory | unit.optional
    )


@dataclass(frozen=True, slots=True)
class PlannedUnit:
    """Files that, by their names, make one message."""

    sequence: str
    sender_office: str
    sender_service: str | None
    recipient_office: str
    recipient_service: str | None
    csv_version: str
    names: tuple[str, ...]
    """Data files and pictures of the unit, in order of name, as given."""
    unit: str | None
    """The sending unit they make, None when they make none."""
    missing: tuple[str, ...]
    """Kinds that the nearest unit lacks."""
    months: tuple[str, ...]


def plan_units(names: Iterable[str]) -> list[PlannedUnit]:
    """Group file names into messages: one for each sequence, sender and recipient, in ascending order of sequence.

    Names that are no data files (attachments, and names that break the grammar) are left out.
    """
    groups: dict[tuple[str, str, str], list[tuple[str, FileName]]] = {}
    for name in names:
        parsed = parse_name(name)
        if parsed is not None:
            key = (parsed.sequence, parsed.sender_office, parsed.recipient_office)
            groups.setdefault(key, []).append((name, parsed))
    return [_planned(sorted(members, key=lambda member: member[0])) for _, members in sorted(groups.items())]


def _planned(members: list[tuple[str, FileName]]) -> PlannedUnit:
    parsed = [name for _, name in members]
    data = [name for name in parsed if name.kind != IMAGE_KIND] or parsed
    months = tuple(sorted({name.target_month for name in data if name.target_month} - {NO_MONTH}))
    nearest = expected_members(
        data[0].csv_version,
        (name.kind for name in parsed),
        month=bool(months),
        roles=roles_in(data[0]),
        preventive=is_preventive(data[0]),
    )
    whole = not nearest.missing and not nearest.extra and len({name.parties for name in parsed}) == 1
    return PlannedUnit(
        sequence=data[0].sequence,
        sender_office=data[0].sender_office,
        sender_service=data[0].sender_service,
        recipient_office=data[0].recipient_office,
        recipient_service=data[0].recipient_service,
        csv_version=data[0].csv_version,
        names=tuple(name for name, _ in members),
        unit=nearest.unit.unit if whole else None,
        missing=tuple(sorted(nearest.missing)),
        months=months,
    )
