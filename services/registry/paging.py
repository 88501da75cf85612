"""Cursors of lists: opaque to callers, and refused when they are none of ours."""

import base64
import binascii
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from todoke.relay.problem import Problem

_FARTHEST = datetime(9999, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a list that is ordered by time and id."""

    at: datetime
    id: UUID

    def cursor(self) -> str:
        """The cursor of what comes behind this place."""
        return written(f"{self.at.isoformat()} {self.id}")


def read_place(cursor: str | None) -> Place:
    """The place that a cursor stands for; without one, before the newest. Raises `Problem` TDK-INVALID."""
    if cursor is None:
        return Place(_FARTHEST, UUID(int=0))
    at, _, identity = read(cursor).partition(" ")
    try:
        return Place(datetime.fromisoformat(at).astimezone(UTC), UUID(identity))
    except (ValueError, OverflowError):
        raise refused() from None


def read_id(cursor: str | None) -> UUID:
    """The id that a cursor stands behind; without one, before all. Raises `Problem` TDK-INVALID."""
    if cursor is None:
        return UUID(int=0)
    try:
        return UUID(read(cursor))
    except ValueError:
        raise refused() from None


def read_number(cursor: str | None) -> str:
    """The office number that a cursor stands behind, empty without one. Raises `Problem` TDK-INVALID."""
    number = "" if cursor is None else read(cursor)
    if cursor is not None and not number.isalnum():
        raise refused()
    return number


def written(text: str) -> str:
    """The cursor of a text."""
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def read(cursor: str) -> str:
    """The text of a cursor. Raises `Problem` TDK-INVALID."""
    try:
        return base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        raise refused() from None


def refused() -> Problem:
    """What a caller with a strange cursor is told."""
    return Problem("TDK-INVALID", where=[("cursor", "")])
