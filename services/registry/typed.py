"""What several bodies are made of: texts of one line, days and moments that a calendar of ours can hold."""

from datetime import UTC, date, datetime
from typing import Annotated

from pydantic import AwareDatetime, Field, StringConstraints

_FIRST = date(2000, 1, 1)
_LAST = date(2199, 12, 31)
"""Days far outside would overflow when some days are added, and mean nothing."""

Day = Annotated[date, Field(ge=_FIRST, le=_LAST)]
Moment = Annotated[
    AwareDatetime,
    Field(ge=datetime(_FIRST.year, 1, 1, tzinfo=UTC), lt=datetime(_LAST.year + 1, 1, 1, tzinfo=UTC)),
]


def line(characters_max: int, characters_min: int = 1) -> StringConstraints:
    """A text of one line, without control characters (PostgreSQL takes no NUL, and a list shows no line breaks)."""
    return StringConstraints(
        strip_whitespace=True,
        min_length=characters_min,
        max_length=characters_max,
        pattern=r"^[^\x00-\x1f\x7f]*$",
    )
