"""What is said about offices, their users and licences. Office master data is public; persons appear as ids only."""

from datetime import date, datetime
from typing import ClassVar, Literal, TypeAlias
from uuid import UUID

from todoke.events.envelope import Fact, OfficeEvent

Participation: TypeAlias = Literal["active", "suspended", "none"]


class OfficeFacts(Fact):
    """The public row of an office, whole: later states replace earlier ones.

    `participation` is `none` for an office that is known but has never held a licence.
    """

    name: str
    address: str = ""
    phone: str = ""
    fax: str = ""
    prefecture: str = ""
    service_types: tuple[str, ...] = ()
    participation: Participation = "none"
    licence_until: date | None = None
    csv_version_last: str | None = None
    predecessor: str | None = None
    successor: str | None = None


class OfficeStateEvent(OfficeEvent):
    """An office event that carries the whole new public row, so that any of them can create it elsewhere."""

    SAID_BY: ClassVar = ("registry",)

    facts: OfficeFacts


class OfficeRegistered(OfficeStateEvent):
    """An office is known from now on."""


class OfficeChanged(OfficeStateEvent):
    """Name, address, service types or another public fact of an office changed."""


class OfficeSuspended(OfficeStateEvent):
    """An office takes no part for the time being."""


class OfficeResumed(OfficeStateEvent):
    """A suspended office takes part again."""


class OfficeSucceeded(OfficeStateEvent):
    """An office goes on under another number; this one is closed."""


class LicenceChanged(OfficeStateEvent):
    """The licence of an office has another end, or renews or not."""

    until: date | None = None
    renews: bool
    cause: Literal["granted", "renewed", "ended", "corrected", "auto_renew_stopped"]


class UserChanged(OfficeEvent):
    """The roles or the state of one user of an office changed. No name: the id is enough for everybody else."""

    SAID_BY: ClassVar = ("registry",)

    user_id: str
    roles: tuple[str, ...]
    state: Literal["active", "ended"]

    def ordinal(self) -> str:
        """User and version."""
        return f"{self.user_id}/{self.version}"


class ApplicationEvent(OfficeEvent):
    """An event of an office's application for a licence. `version` counts the states of the application, from 1."""

    SAID_BY: ClassVar = ("registry",)

    application_id: UUID

    def ordinal(self) -> str:
        """Application and version."""
        return f"{self.application_id}/{self.version}"


class ApplicationReceived(ApplicationEvent):
    """An office applied for a licence, or for its renewal. Who to ask and where stands in no event."""

    kind: Literal["new", "renewal"]
    auto_renew: bool
    received_at: datetime


class ApplicationDecided(ApplicationEvent):
    """An application was approved or refused; `c_id` is the person made (or known already) at the approval."""

    decision: Literal["approved", "refused"]
    c_id: str | None = None
    decided_at: datetime


class CertificateChanged(OfficeEvent):
    """An office has another client certificate. `version` counts its certificates, from 1; `serial` is hexadecimal."""

    SAID_BY: ClassVar = ("registry",)

    issuer: str
    serial: str
    not_after: datetime
