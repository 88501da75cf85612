"""What is said about operators: every change that one of them makes by hand."""

from datetime import datetime
from typing import ClassVar
from uuid import UUID, uuid5

from todoke.events.envelope import OFFICE_NAMESPACE, Event
from todoke.events.topics import SERVICES


class OperatorActed(Event):
    """An operator changed something by hand, for a reason and under a ticket.

    `act` is `thing.verb` (`parked.retry`, `breaker.reset`, `office.suspend`); `object` is a message id, an office
    number, the id of an operator or the name of a service; `office` is the office concerned, if there is one. The
    reason is sealed to `act_id` and the key of this event.
    """

    SAID_BY: ClassVar = SERVICES

    service: str
    act: str
    act_id: UUID
    object: str
    office: str | None = None
    ticket: str
    reason_sealed: str
    acted_at: datetime

    def subject(self) -> str:
        """What was acted on."""
        return self.object

    def subject_id(self) -> UUID:
        """The message id, or a UUID made from the office number or the service's name."""
        try:
            return UUID(self.object)
        except ValueError:
            return uuid5(OFFICE_NAMESPACE, self.object)

    def key(self) -> str:
        """The office concerned, else the service."""
        return self.office or self.service

    def ordinal(self) -> str:
        """The act's own id: the same thing may be done again."""
        return str(self.act_id)
