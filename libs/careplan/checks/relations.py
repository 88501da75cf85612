"""The relations between the files of a unit: who stands in one form must stand in the others.

A mutilated key shows up twice or more (a child without its parent, a parent without its child, in several files). The
question here is therefore always: which single place explains it?
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

from careplan.checks.about import FileFacts, UnitFacts, first_row, row_count, say

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from careplan.findings import FindingLog

PARENTS: Final[Mapping[str, tuple[str, ...]]] = {
    "UP1KYO": ("UP2KYO", "UP3KYO", "UPHOSOKU"),
    "UPPLAN": ("UPSIKYU", "UPHOSOKU"),
    "UPKIHON": ("UPKIHON_SUB1", "UPKIHON_SUB2"),
    "UPYOBO": ("UPYOBO_SUB",),
}
# Children that every parent record ought to have. A person may well have no sub rows of UPKIHON.
_EXPECTED: Final[Mapping[str, tuple[str, ...]]] = {
    "UP1KYO": ("UP2KYO", "UP3KYO", "UPHOSOKU"),
    "UPPLAN": ("UPSIKYU", "UPHOSOKU"),
    "UPYOBO": ("UPYOBO_SUB",),
}
_DAY_COLUMNS = ("plan_date", "consulted_on")
_INSURER, _INSURED, _DAY = range(3)
_FORMS_6_AND_7 = ("UPPLAN", "UPSIKYU")
_SEVERAL = 2


class _Orphan(NamedTuple):
    key: str
    holders: list[FileFacts]


class _Childless:
    """Records of a parent that none of some children know, found by all parts of their key but one."""

    def __init__(self, parent: FileFacts, children: Sequence[FileFacts]) -> None:
        self._explained = parent.explained
        self._like: dict[tuple[int, tuple[str, ...]], deque[tuple[int, str]]] = {}
        for place, key in enumerate(parent.keys):
            if not any(key in child.keys for child in children):
                for rest in _but_one(key):
                    self._like.setdefault(rest, deque()).append((place, key))

    def like(self, key: str) -> str | None:
        """The first that differs from ``key`` in one part only and was not said yet."""
        found = []
        for rest in _but_one(key):
            near = self._like.get(rest)
            while near and near[0][1] in self._explained:
                near.popleft()
            if near:
                found.append(near[0])
        return min(found)[1] if found else None


def _but_one(key: str) -> Iterator[tuple[int, tuple[str, ...]]]:
    parts = key.split(",")
    return ((at, (*parts[:at], *parts[at + 1 :])) for at in range(len(parts)))


def _by_insured(facts: FileFacts) -> dict[str, str]:
    """Insured number → the first key that has it."""
    return {key.split(",")[_INSURED]: key for key in reversed(facts.keys)}


def check_relations(files: Mapping[str, FileFacts], unit: UnitFacts, log: FindingLog) -> None:
    """Check all relations of the files of a unit, which are given by kind."""
    said = log.count("error")
    for kind, child_kinds in PARENTS.items():
        parent = files.get(kind)
        children = [files[child] for child in child_kinds if child in files and not files[child].unreadable]
        if parent is not None and not parent.unreadable and parent.rows:
            _check(parent, children, log)
    if log.count("error") == said:
        _check_across(files, log)
    if unit.recipient_role == "service" and unit.sender != unit.recipient:
        _check_served(files, log)


def _check(parent: FileFacts, children: list[FileFacts], log: FindingLog) -> None:
    with_orphans: set[str] = set()
    orphans = [] if parent.keyless else _orphans(parent, children)
    by_insured = _by_insured(parent) if orphans else {}
    childless: dict[tuple[str, ...], _Childless] = {}
    for orphan in orphans:
        kinds = tuple(holder.name.kind for holder in orphan.holders)
        with_orphans.update(kinds)
        if kinds not in childless:
            childless[kinds] = _Childless(parent, orphan.holders)
        culprit = childless[kinds].like(orphan.key) if _agreeing(orphan) >= _SEVERAL else None
        if culprit is not None:
            _say_culprit(parent, culprit, orphan, log)
        else:
            _say_orphan(parent, orphan, by_insured, log)
    whole = [
        child
        for child in children
        if child.name.kind in _EXPECTED.get(parent.name.kind, ())
        and child.name.kind not in with_orphans
        and child.rows
        and not child.keyless
    ]
    known: dict[str, dict[str, str]] = {}
    for key, entry in parent.keys.items():
        lacking = [child for child in whole if key not in child.keys]
        if lacking and key not in parent.explained:
            parent.explained.add(key)
            kind = lacking[0].name.kind
            if kind not in known:
                known[kind] = _by_insured(lacking[0])
            near = known[kind].get(key.split(",")[_INSURED])
            column = _differing(parent, key, near) if near else "insured_no"
            say(log, parent, _code(parent, lacking[0]), "warning", first_row(entry), column)


def _orphans(parent: FileFacts, children: list[FileFacts]) -> list[_Orphan]:
    found: dict[str, list[FileFacts]] = {}
    for child in children:
        for key in child.keys:
            if key not in parent.keys:
                found.setdefault(key, []).append(child)
    return [_Orphan(key, holders) for key, holders in found.items()]


def _agreeing(orphan: _Orphan) -> int:
    """How many files, or rows of one, agree on a key that the parent lacks.

    When several do against one record of the parent which nobody knows, it is rather the parent that errs.
    """
    return max(len(orphan.holders), *(row_count(holder.keys[orphan.key]) for holder in orphan.holders))


def _say_culprit(parent: FileFacts, culprit: str, orphan: _Orphan, log: FindingLog) -> None:
    parent.explained.add(culprit)
    for holder in orphan.holders:
        holder.explained.add(orphan.key)
    column = _differing(parent, culprit, orphan.key)
    say(log, parent, _code(parent, orphan.holders[0]), "error", first_row(parent.keys[culprit]), column)


def _say_orphan(parent: FileFacts, orphan: _Orphan, by_insured: Mapping[str, str], log: FindingLog) -> None:
    holder = orphan.holders[0]
    for each in orphan.holders:
        each.explained.add(orphan.key)
    near = by_insured.get(orphan.key.split(",")[_INSURED])
    column = _differing(holder, orphan.key, near) if near else "insured_no"
    say(log, holder, _code(parent, holder), "error", first_row(holder.keys[orphan.key]), column)


def _code(parent: FileFacts, child: FileFacts) -> str:
    return "TDK-FORMS-6-7" if (parent.name.kind, child.name.kind) == _FORMS_6_AND_7 else "TDK-RELATION"


def _differing(facts: FileFacts, key: str, other: str) -> str:
    """The column in which two keys differ first."""
    mine, theirs = key.split(","), other.split(",")
    if mine[_INSURED] != theirs[_INSURED]:
        return "insured_no"
    if mine[_INSURER] != theirs[_INSURER] or len(mine) <= _DAY:
        return "insurer_no"
    return next(column for column in _DAY_COLUMNS if facts.layout.has(column))


def _check_across(files: Mapping[str, FileFacts], log: FindingLog) -> None:
    """UPYOBO and UPKIHON in one message are of the same persons; that tie is inferred, so a warning."""
    plans, basics = files.get("UPYOBO"), files.get("UPKIHON")
    if (
        plans is None
        or basics is None
        or any(each.keyless or each.unreadable or not each.rows for each in (plans, basics))
    ):
        return
    for one, other in ((plans, basics), (basics, plans)):
        known = {_person(key) for key in other.keys}
        lacking = [key for key in one.keys if _person(key) not in known and key not in one.explained]
        for key in lacking:
            say(log, one, "TDK-RELATION", "warning", first_row(one.keys[key]), "insured_no")
        if lacking:
            return


def _person(key: str) -> str:
    insurer, insured, *_ = key.split(",")
    return f"{insurer},{insured}"


def _check_served(files: Mapping[str, FileFacts], log: FindingLog) -> None:
    """Persons of a plan whom the recipient does not serve (decision 1): a warning each."""
    plan = "UPPLAN" if "UPPLAN" in files else "UP1KYO"
    holders = [files[kind] for kind in (("UPPLAN", "UPSIKYU") if plan == "UPPLAN" else ("UP2KYO",)) if kind in files]
    first = files.get(plan)
    if (
        first is None
        or not first.parties_hold
        or not holders
        or any(each.unreadable or each.left_out or not each.rows for each in (first, *holders))
    ):
        return
    if any(holder.explained for holder in holders if holder is not first):
        return
    served = set().union(*(holder.served for holder in holders))
    told: set[str] = set()
    for key, entry in first.keys.items():
        person = _person(key)
        if person in served or person in told or key in first.explained:
            continue
        told.add(person)
        say(log, first, "TDK-NOT-SERVED", "warning", first_row(entry), "insured_no")
