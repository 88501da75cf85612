"""What is said about notices to offices: that there is one, for whom and from when. Its words stand in no event."""

from datetime import datetime
from typing import ClassVar, Literal
from uuid import UUID

from todoke.events.envelope import Event, Fact


class Audience(Fact):
    """Whom a notice is for: everybody, offices with one of these service types, or offices in these prefectures."""

    kind: Literal["all", "service_types", "prefectures"] = "all"
    values: tuple[str, ...] = ()


class NoticeEvent(Event):
    """An event of one notice."""

    SAID_BY: ClassVar = ("registry",)

    notice_id: UUID

    def subject(self) -> str:
        """The notice's id."""
        return str(self.notice_id)

    def subject_id(self) -> UUID:
        """The notice's id."""
        return self.notice_id

    def key(self) -> str:
        """One for all notices: they stay in order."""
        return "notices"


class NoticePublished(NoticeEvent):
    """Offices read a notice from `published_at` on.

    With a `state` it is also the operators' word about the whole system, from then to `until` (without one, until it is
    withdrawn).
    """

    published_at: datetime
    important: bool
    audience: Audience = Audience()
    state: Literal["normal", "slow", "down"] | None = None
    until: datetime | None = None


class NoticeWithdrawn(NoticeEvent):
    """Nobody reads a notice any more, and what it said of the system does not hold."""

    withdrawn_at: datetime
