"""What the operators' API answers (docs/api/openapi-operator.json). Members that a newer service adds are ignored."""

from datetime import date, datetime
from typing import Any, Generic, Literal
from uuid import UUID

from pydantic import Field

from todoke.client.office_shapes import Application, Certificate, Standing, User
from todoke.client.shapes import Shape, T


class OperatorToken(Shape):
    """An operator's login; after `expires_in` seconds the code is asked again."""

    access_token: str
    expires_in: int


class Paged(Shape, Generic[T]):
    """One page."""

    items: tuple[T, ...]
    next: str | None = None


class Hold(Shape):
    """A subject at which a service stopped."""

    service: str
    subject: str
    state: Literal["held", "retry", "discard", "released", "discarded"]
    nth: int
    error: str
    attempts: int
    records: int
    held_at: datetime
    decided_at: datetime | None = None
    decided_by: str | None = None


class ParkedRecord(Shape):
    """Where a raw record stands and what it says it is."""

    topic: str
    partition: int
    offset: int
    type: str | None
    event_id: str | None
    said_at: datetime | None
    bytes: int
    error: str
    parked_at: datetime


class HoldDetail(Hold):
    """A hold with its records."""

    parked: tuple[ParkedRecord, ...]


class Decided(Shape):
    """An operator's word that a service will carry out."""

    service: str
    subject: str
    state: str
    records: int


class Breaker(Shape):
    """Whether a service has stopped consuming, and why."""

    service: str
    open: bool
    reason: str | None = None
    tripped_at: datetime | None = None


class BreakerChanged(Shape):
    """How the breaker stands now."""

    service: str
    open: bool
    changed: bool


class ServiceStatus(Shape):
    """One service at a glance; `behind` is null while Kafka is away."""

    service: str
    held: int
    breaker_open: bool
    behind: int | None
    outbox_rows: int
    outbox_seconds: float
    refused: int


class Finding(Shape):
    """Something that a comparison could not mend, by message id, office number or place in the log."""

    kind: str
    subject: str


class Report(Shape):
    """What one comparison of journal, topic and objects found and mended; `count` things it could not."""

    id: int
    began_at: datetime
    trigger: str
    compared: str
    mismatch: str | None = None
    looked_at: int
    taken_back: int
    published_again: int
    orphans: int
    count: int
    unhealed: tuple[Finding, ...]
    clean: bool


class Reports(Paged[Report]):
    """Comparisons of a service, the newest first; what to do about each kind of finding."""

    service: str
    clean: bool
    asked_at: datetime | None = None
    asked_by: str | None = None
    advice: dict[str, str]


class Findings(Paged[Finding]):
    """What one comparison could not mend."""

    advice: dict[str, str]


class Asked(Shape):
    """A comparison that will begin within seconds."""

    service: str
    asked_at: datetime


class StepActor(Shape):
    """Who did it, by id."""

    kind: str
    id: str


class Step(Shape):
    """One event of a message's story."""

    at: datetime
    type: str
    service: str
    topic: str
    event_id: UUID
    actor: StepActor
    sender: str | None = None
    recipient: str | None = None
    act: str | None = None
    ticket: str | None = None


class Story(Shape):
    """What a service said about a message, and where it was held."""

    message_id: UUID
    events: tuple[Step, ...]
    holds: tuple[Hold, ...]


class Word(Shape):
    """Why something is changed (sealed), and the ticket that asked for it (plain)."""

    reason: str
    ticket: str


class Facts(Shape):
    """The public row of an office."""

    name: str
    address: str = ""
    phone: str = ""
    fax: str = ""
    prefecture: str = ""
    service_types: tuple[str, ...] = ()
    participation: str = "none"
    licence_until: date | None = None
    predecessor: str | None = None
    successor: str | None = None


class Prefectures(Shape):
    """Names of prefectures, as offices have them."""

    items: tuple[str, ...]


class NewOffice(Shape):
    """An office to register; service types as codes."""

    number: str
    name: str
    service_types: tuple[str, ...] = ()
    prefecture: str = ""
    address: str = ""
    phone: str = ""
    fax: str = ""


class Registered(Shape):
    """A new office; its KJ-ID can be used once it has a letter."""

    number: str
    kj_id: str
    version: int
    facts: Facts


class ListedOffice(Shape):
    """An office as the registry has it."""

    number: str
    version: int
    facts: Facts
    certificate_until: datetime | None = None
    last_login_at: datetime | None = None


class LicenceState(Shape):
    """The licence of an office, and what last changed it."""

    until: date | None
    renews: bool
    cause: str
    changed_at: datetime


class LetterMade(Shape):
    """When the office's letter was made, and by whom."""

    made_at: datetime
    made_by: str


class RecordedCertificate(Certificate):
    """A client certificate of an office."""

    recorded_at: datetime


class ApplyingOffice(Shape):
    """The office that applied."""

    number: str
    name: str


class ReceivedApplication(Application):
    """An application as operators see it."""

    office: ApplyingOffice
    decided_by: str | None = None
    c_id: str | None = None


class Happened(Shape):
    """Something that was said of an office; `act` and `ticket` of what operators did."""

    at: datetime
    event: str
    actor: StepActor
    act: str | None = None
    ticket: str | None = None


class OfficePage(Shape):
    """One office as operators see it; `history` is newest first."""

    number: str
    version: int
    kj_id: str
    facts: Facts
    standing: Standing
    licence: LicenceState | None = None
    letter: LetterMade | None = None
    users: tuple[User, ...] = ()
    certificates: tuple[RecordedCertificate, ...] = ()
    application: ReceivedApplication | None = None
    last_login_at: datetime | None = None
    history: tuple[Happened, ...] = ()


class Audience(Shape):
    """Whom a notice is for; values are codes of service types or names of prefectures."""

    kind: Literal["all", "service_types", "prefectures"] = "all"
    values: tuple[str, ...] = ()


class NewNotice(Shape):
    """A notice to publish; with a `state` it speaks for the whole system until `until`.

    With an `id` of the caller's it may be published again: it is there once.
    """

    id: UUID | None = None
    title: str
    text: str
    published_at: datetime | None = None
    important: bool = False
    audience: Audience = Audience()
    state: Literal["normal", "slow", "down"] | None = None
    until: datetime | None = None


class MadeNotice(NewNotice):
    """A notice as operators see it."""

    id: UUID
    made_by: str
    withdrawn_at: datetime | None = None


class OfficeChanged(Shape):
    """Whether a call changed the office."""

    number: str
    changed: bool


class BadLine(Shape):
    """A line of a list that was not taken; `message` and `advice` are Japanese, `reason` is English."""

    line: int
    reason: str
    code: str = ""
    number: str | None = None
    column: int | None = None
    column_name: str | None = None
    message: str = ""
    advice: str = ""


class ImportReport(Shape):
    """What an import did, or would do."""

    dry_run: bool
    lines: int
    registered: int
    changed: int
    unchanged: int
    bad: int
    problems: tuple[BadLine, ...] = ()


class RebuildBegun(Shape):
    """A rebuild of the projection that has begun."""

    run: Any


class RebuildProgress(Shape):
    """How many events of how many a rebuild has heard."""

    heard: int = 0
    total: int = 0


class RebuildState(Shape):
    """How the rebuild of the projection stands."""

    state: Literal["running", "ready", "failed", "none"]
    progress: RebuildProgress = Field(default_factory=RebuildProgress)
    kept_until: datetime | None = None


class Sides(Shape):
    """How many rows there are on either side."""

    live: int
    beside: int


class Difference(Sides):
    """A table in which an office's rows differ."""

    office: str
    table: str


class Comparison(Shape):
    """How far the rebuilt lists were compared with the live ones, and what was found; `equal` once all was compared."""

    state: Literal["running", "done"]
    equal: bool | None
    tables: dict[str, Sides] = Field(default_factory=dict)
    offices: int = 0
    differences: tuple[Difference, ...] = ()


class Switched(Shape):
    """Offices read the rebuilt lists."""

    kept_until: datetime
