"""What トップ says of an office's day, as pure functions: what ends soon, and what has just happened."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Literal, TypeAlias

from todoke.client.office_shapes import OwnOffice
from todoke.client.shapes import Item, OfficeRef
from todoke.relay.clock import in_japan

SOON_DAYS = 90
"""What ends in so many days or less is told with what to do (S-10.4)."""

MOVES_MAX = 5

CLAIMS_DAY, CLAIMS_TIME = 10, time(17, 15)
"""Until then the claims of a month are taken in the next one, by Japan's clock."""

Ending: TypeAlias = Literal["licence", "certificate", "password"]
Move: TypeAlias = Literal["arrived", "fetched_here", "sent", "fetched_there", "recalled", "failed"]


@dataclass(frozen=True, slots=True)
class Ends:
    """Something that ends; `days` are left, below zero when it is over."""

    what: Ending
    on: date
    days: int

    @property
    def is_soon(self) -> bool:
        """Whether something has to be done about it."""
        return self.days <= SOON_DAYS


@dataclass(frozen=True, slots=True)
class ClaimsEnd:
    """When claims for the last month end next; `days` are left, 0 on the day itself."""

    at: datetime
    days: int


@dataclass(frozen=True, slots=True)
class Moved:
    """One of the last things that happened between this office and another."""

    at: datetime
    what: Move
    other: OfficeRef
    item: Item


def endings(office: OwnOffice, now: datetime) -> list[Ends]:
    """What of an office ends, the soonest first."""
    today = in_japan(now).date()
    days: tuple[tuple[Ending, date | None], ...] = (
        ("licence", office.licence_until),
        ("certificate", _day(office.certificate.not_after if office.certificate else None)),
        ("password", _day(office.password.expires_at)),
    )
    found = [Ends(what, on, (on - today).days) for what, on in days if on is not None]
    return sorted(found, key=lambda ends: ends.on)


def claims_end(now: datetime) -> ClaimsEnd:
    """The next end of the claims: of this month, or of the next one when it is over."""
    here = in_japan(now)
    at = datetime.combine(here.replace(day=CLAIMS_DAY), CLAIMS_TIME, here.tzinfo)
    if here > at:
        at = at.replace(year=at.year + at.month // 12, month=at.month % 12 + 1)
    return ClaimsEnd(at, (at.date() - here.date()).days)


def last_moves(received: Iterable[Item], sent: Iterable[Item]) -> list[Moved]:
    """The newest step of each message, the newest message first."""
    moves = [
        *(Moved(*_arrived(item), item.sender, item) for item in received),
        *(Moved(*_went(item), item.recipient, item) for item in sent),
    ]
    return sorted(moves, key=lambda move: move.at, reverse=True)[:MOVES_MAX]


def _arrived(item: Item) -> tuple[datetime, Move]:
    if item.downloaded_at is not None:
        return item.downloaded_at, "fetched_here"
    at = item.delivered_at or item.submitted_at
    return at, "recalled" if item.status == "recalled" else "arrived"


def _went(item: Item) -> tuple[datetime, Move]:
    if item.downloaded_at is not None:
        return item.downloaded_at, "fetched_there"
    if item.status in ("rejected", "undeliverable"):
        return item.submitted_at, "failed"
    return item.submitted_at, "recalled" if item.status == "recalled" else "sent"


def _day(at: datetime | None) -> date | None:
    return None if at is None else in_japan(at).date()
