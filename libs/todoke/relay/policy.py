"""Who may do what: the one place where rights are decided. Pure: facts and a moment in, a refusal or nothing out.

Two tables stand here. The first is the state of an office (design section 3): what it may still do when it is suspended
or its licence has ended. The second is the role of a person (api.md, "Session"). Both are judged at the moment that the
caller names, on Japan's clock: for a submission that is `submitted_at`, never the clock of a later handler.
"""

import dataclasses
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Literal, TypeAlias
from uuid import UUID

from todoke.events import OfficeFacts
from todoke.relay.clock import in_japan
from todoke.relay.problem import Problem

FETCHING_DAYS = 30
"""So many days after the licence's last day an office may still fetch and give receipts."""

READING_DAYS = 60
"""So many days after it, its lists, recalls and evidence stay open."""

Scope: TypeAlias = Literal["office", "usage"]
Act: TypeAlias = Literal[
    "send", "check", "fetch", "receipt", "recall", "lists", "findings", "evidence", "directory", "own_office", "manage"
]
"""What a caller wants: `lists` covers lists, counts, changes, search, one message, accesses and the stream;
`own_office` is reading one's own office, `manage` writing it."""

Standing: TypeAlias = Literal["licensed", "suspended", "fetching", "reading", "outside"]
"""An office's state: `fetching` is day 1 to 30 after the licence's end, `reading` day 31 to 60, `outside` never
licensed or later."""


@dataclasses.dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, as the access token says.

    `user_id` is the person (c…), None with scope `usage` (the office itself); `licence_until` is the last licensed
    day in Japan; `session` the session's id.
    """

    user_id: str | None
    office: str
    roles: frozenset[str]
    licence_until: date | None
    suspended: bool
    session: UUID
    scope: Scope = "office"

    def as_of(self, facts: OfficeFacts) -> "Caller":
        """The same caller with the state of the office that a newer source (a directory) knows."""
        return dataclasses.replace(
            self, licence_until=facts.licence_until, suspended=facts.participation == "suspended"
        )


_RIGHTS: Mapping[Standing, frozenset[Act]] = {
    "licensed": frozenset(
        {"send", "check", "fetch", "receipt", "recall", "lists", "findings", "evidence", "directory", "own_office",
         "manage"}
    ),
    "suspended": frozenset(
        {"fetch", "receipt", "recall", "lists", "findings", "evidence", "directory", "own_office", "manage"}
    ),
    "fetching": frozenset(
        {"fetch", "receipt", "recall", "lists", "findings", "evidence", "directory", "own_office", "manage"}
    ),
    "reading": frozenset({"recall", "lists", "findings", "evidence", "directory", "own_office", "manage"}),
    "outside": frozenset({"own_office", "manage"}),
}  # fmt: skip

_ROLE_RIGHTS: Mapping[str, frozenset[Act]] = {
    "admin": _RIGHTS["licensed"],
    "staff": _RIGHTS["licensed"] - {"manage"},
    "viewer": frozenset({"lists", "findings", "evidence", "directory", "own_office"}),
}

_USAGE_RIGHTS: frozenset[Act] = frozenset({"own_office", "manage"})
"""The usage-state site acts for the office itself: it sees and writes the office's own affairs, and nothing else."""


def standing(licence_until: date | None, now: datetime, *, suspended: bool = False) -> Standing:
    """The state of an office at `now`. A licence ends at 24:00 Japan time of its last day.

    A suspended office whose licence ended more than 30 days ago has the fewer rights of the two states.
    """
    if licence_until is None:
        return "outside"
    days_after = (in_japan(now).date() - licence_until).days
    if days_after > READING_DAYS:
        return "outside"
    if days_after > FETCHING_DAYS:
        return "reading"
    if suspended:
        return "suspended"
    return "fetching" if days_after > 0 else "licensed"


def standing_of(facts: OfficeFacts, now: datetime) -> Standing:
    """The state at `now` of an office that a directory knows."""
    return standing(facts.licence_until, now, suspended=facts.participation == "suspended")


def may(caller: Caller, act: Act, now: datetime) -> None:
    """Let the caller do it.

    Raises:
        Problem: 403 `TDK-NOT-ALLOWED` (role, or a usage-state session), `TDK-SUSPENDED`, `TDK-NO-LICENCE` (sending),
            `TDK-NO-LICENCE-FETCH` (fetching), `TDK-NO-LICENCE-ANY` (never licensed or too long ago).
    """
    if act not in _rights_of_person(caller):
        raise Problem("TDK-NOT-ALLOWED")
    state = standing(caller.licence_until, now, suspended=caller.suspended)
    if act not in _RIGHTS[state]:
        raise _refusal(state, act, caller.licence_until)


def may_send(facts: OfficeFacts, now: datetime) -> None:
    """Let an office send, by a directory's facts: what is judged again after the submission, where no token is left.

    Raises:
        Problem: as `may(…, "send", …)`.
    """
    state = standing_of(facts, now)
    if "send" not in _RIGHTS[state]:
        raise _refusal(state, "send", facts.licence_until)


def may_be_sent_to(facts: OfficeFacts, now: datetime) -> None:
    """Let an office be sent to.

    Raises:
        Problem: 409 `TDK-OFFICE-NOT-TAKING-PART` when it is suspended, has no licence, or its licence has ended.
    """
    if standing_of(facts, now) != "licensed":
        raise Problem("TDK-OFFICE-NOT-TAKING-PART", name=facts.name)


def lists_findings(caller: Caller) -> bool:
    """Whether findings are listed one by one for this caller; one who only views gets their counts."""
    return not caller.roles.isdisjoint({"admin", "staff"})


def _rights_of_person(caller: Caller) -> frozenset[Act]:
    if caller.scope == "usage":
        return _USAGE_RIGHTS
    return frozenset().union(*(_ROLE_RIGHTS.get(role, frozenset()) for role in caller.roles))


def _refusal(state: Standing, act: Act, licence_until: date | None) -> Problem:
    if state == "suspended":
        return Problem("TDK-SUSPENDED")
    if state == "outside" or licence_until is None:
        return Problem("TDK-NO-LICENCE-ANY")
    until, fetch_until = _japanese(licence_until), _japanese(licence_until + timedelta(days=FETCHING_DAYS))
    if act in {"fetch", "receipt"}:
        return Problem("TDK-NO-LICENCE-FETCH", until=until)
    return Problem("TDK-NO-LICENCE", until=until, fetch_until=fetch_until)


def _japanese(day: date) -> str:
    """A day as sentences have it."""
    return f"{day.year}年{day.month}月{day.day}日"
