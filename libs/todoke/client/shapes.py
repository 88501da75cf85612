"""Every shape of the public API as a frozen pydantic model. Members that a newer service adds are ignored.

Times are aware datetimes in UTC; office numbers have ten characters; sizes are bytes.
"""

from datetime import datetime
from typing import Generic, Literal, TypeAlias, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, RootModel

T = TypeVar("T")
ShapeT = TypeVar("ShapeT", bound=BaseModel)

Status: TypeAlias = Literal[
    "submitted", "accepted", "rejected", "routed", "undeliverable", "delivered", "downloaded", "recalled", "expired"
]
Box: TypeAlias = Literal["sent", "received"]
Secret: TypeAlias = Literal["person", "office"]


class Shape(BaseModel):
    """A frozen value of the API."""

    model_config = ConfigDict(frozen=True)


class Where(Shape):
    """One place of a request that is wrong."""

    where: str
    message: str


class Problem(Shape):
    """The body of every error (RFC 9457)."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str = ""
    code: str
    number: str | None = None
    errors: tuple[Where, ...] = ()


class OfficeRef(Shape):
    """An office as a message names it."""

    number: str
    name: str


class SessionOffice(OfficeRef):
    """The office that is logged in."""

    service_types: tuple[str, ...] = ()


class SessionUser(Shape):
    """The person who is logged in."""

    id: str
    name: str
    roles: tuple[str, ...] = ()


class Step(Shape):
    """The answer to the first step of the login."""

    step_token: str
    expires_in: int


class SessionAnswer(Shape):
    """The answer to the second step of the login and to a refresh. Lifetimes are in seconds.

    `expired_at` says of passwords that must be changed when they expired; those it does not name are temporary.
    """

    access_token: str
    token_type: str = "Bearer"  # noqa: S105 (the kind of a token, not one)
    expires_in: int
    refresh_token: str
    refresh_expires_in: int
    must_change: tuple[Secret, ...] = ()
    expired_at: dict[Secret, datetime] = Field(default_factory=dict)
    office: SessionOffice
    user: SessionUser | None = None
    failed_logins_at: tuple[datetime, ...] = ()


class LoginSession(Shape):
    """One of the caller's sessions."""

    id: UUID
    office: str
    scope: Literal["office", "usage"] = "office"
    created_at: datetime
    used_at: datetime
    until: datetime
    current: bool = False


class Submission(Shape):
    """The 202 of a send. `replayed` tells that this very message had been sent before under the same key."""

    message_id: UUID
    sequence: str
    sender: OfficeRef
    recipient: OfficeRef
    submitted_at: datetime
    receipt: str
    replayed: bool = False


class BatchResult(Shape):
    """One message of a batch: a submission, or the problem that it met. `status` is the HTTP status of this one."""

    idempotency_key: str
    status: int
    submission: Submission | None = None
    problem: Problem | None = None


class Finding(Shape):
    """One thing that is wrong with a file. `row` counts records from 1, `column` the standard's items from 1."""

    code: str
    number: str | None = None
    severity: Literal["error", "warning"]
    file: str | None = None
    row: int | None = None
    column: int | None = None
    column_name: str | None = None
    message: str
    advice: str = ""


class FindingCounts(Shape):
    """How many findings there are in all."""

    errors: int = 0
    warnings: int = 0


class Verdict(Shape):
    """The answer of a check: at most 200 findings, and the counts of all."""

    verdict: Literal["accept", "accept_with_warning", "reject"]
    findings: tuple[Finding, ...] = ()
    counts: FindingCounts | None = None


class MessageFile(Shape):
    """A file of a message; name and hash are None where its content is hidden."""

    n: int
    name: str | None = None
    kind: str | None = None
    label: str
    size: int
    sha256: str | None = None


class Reason(Shape):
    """Why a message was rejected, undeliverable or discarded (shown to its sender)."""

    code: str
    number: str | None = None
    message: str


class Item(Shape):
    """A row of a list."""

    message_id: UUID
    sequence: str
    sender: OfficeRef
    recipient: OfficeRef
    service_type: str | None = None
    text: str | None = None
    csv_version: str | None = None
    months: tuple[str, ...] = ()
    status: Status
    held: bool = False
    erased: bool = False
    submitted_at: datetime
    delivered_at: datetime | None = None
    opened_at: datetime | None = None
    downloaded_at: datetime | None = None
    delivery_no: int | None = None
    files: tuple[MessageFile, ...] = ()
    findings: FindingCounts = FindingCounts()
    reason: Reason | None = None
    recall_requested_at: datetime | None = None


class Stub(Shape):
    """What a `since` list says of a recalled, expired or erased message."""

    delivery_no: int
    message_id: UUID
    status: str


class By(Shape):
    """Who did something; the user of the own side only."""

    office: str | None = None
    user: str | None = None


class TimelineEntry(Shape):
    """One step of a message's life."""

    event: str
    at: datetime
    by: By | None = None


class Message(Item):
    """A message with its timeline."""

    timeline: tuple[TimelineEntry, ...] = ()


class Page(Shape, Generic[T]):
    """One page of a list and the cursor of the next one."""

    items: tuple[T, ...]
    next: str | None = None


class Counts(Shape):
    """How many messages there are per status."""

    sent: dict[str, int] = Field(default_factory=dict)
    received: dict[str, int] = Field(default_factory=dict)


class Change(Shape):
    """One of the office's last changes."""

    event: str
    message_id: UUID | None = None
    at: datetime


class ReceiptAnswer(Shape):
    """The answer to a receipt: the message is 済."""

    status: str
    downloaded_at: datetime
    receipt: str


class RecallAnswer(Shape):
    """The answer to a recall: `recalled`, or `recall_requested` while the message has not arrived yet."""

    status: Literal["recalled", "recall_requested"]
    opened_at: datetime | None = None


class Access(Shape):
    """One entry of the access log."""

    what: str
    at: datetime
    by: By | None = None


class ServiceType(Shape):
    """A service type with its name."""

    code: str
    name: str


class Office(Shape):
    """An office of the directory."""

    number: str
    name: str
    address: str = ""
    phone: str = ""
    service_types: tuple[ServiceType, ...] = ()
    participation: Literal["active", "suspended", "none"]
    csv_version_last: str | None = None


class SystemStatus(Shape):
    """How the whole system is."""

    state: Literal["normal", "slow", "down"]
    sentence: str
    until: datetime | None = None


class StreamEvent(Shape):
    """One push. `id` resumes the stream after it."""

    id: str | None = None
    event: str
    message_id: UUID | None = None
    delivery_no: int | None = None


class MailTarget(Shape):
    """A mail address and what it is told."""

    address: str
    events: tuple[str, ...]


class NotificationSettings(Shape):
    """Who is told by mail, and after how many days of waiting a reminder goes out (None: the system's default)."""

    mail: tuple[MailTarget, ...] = ()
    reminder_days: int | None = None


class NewWebhook(Shape):
    """A webhook just made; its secret is shown this once."""

    id: UUID
    secret: str


class WebhookResult(Shape):
    """How one try to call a webhook ended; after a `final` one this event is not tried again."""

    at: datetime
    event: str
    ok: bool
    status: int | None = None
    error: str | None = None
    final: bool


class Webhook(Shape):
    """A webhook with its last ten results, newest first."""

    id: UUID
    url: str
    events: tuple[str, ...]
    results: tuple[WebhookResult, ...] = ()


class Tested(Shape):
    """How many tests were queued."""

    mail: int
    webhooks: int


class ReceiptFile(Shape):
    """A file as a receipt names it."""

    name_sha256: str
    sha256: str
    size: int


class ReceiptClaims(Shape):
    """What a receipt proves."""

    iss: str
    typ: Literal["submission", "download"]
    message_id: UUID
    sender: str
    recipient: str
    sequence: str
    files: tuple[ReceiptFile, ...] = ()
    at: datetime


class Limit(Shape):
    """A bound of the service and what it counts."""

    value: float
    unit: str


class Limits(RootModel[dict[str, Limit]]):
    """Every limit by name."""

    model_config = ConfigDict(frozen=True)

    def __getitem__(self, name: str) -> Limit:
        return self.root[name]
