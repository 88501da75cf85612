"""What is said about messages, from submission to erasure.

Every event of a message names both offices. Names of files, texts, persons and plain hashes stand only inside sealed
fields (`manifest`, `*_sealed`: base64 of AES-256-GCM, see `todoke.relay.seal`).
"""

from datetime import datetime
from typing import ClassVar, Literal
from uuid import UUID, uuid5

from pydantic import Field

from todoke.events.envelope import OFFICE_NAMESPACE, Event, Fact, MessageEvent


class Part(Fact):
    """One file of a message, as the relay may know it: never its name.

    `offset` and `length` are the range of its sealed bytes in the bundle, `size` counts the plain bytes;
    `commitment` is an HMAC-SHA256 of the plain bytes under a salt that stands in the sealed manifest.
    """

    ordinal: int
    role: Literal["data", "attachment"]
    kind: str | None = None
    size: int
    offset: int
    length: int
    sealed_sha256: str
    commitment: str


class Package(Fact):
    """A submission, carried unchanged from MessageSubmitted to Delivered.

    Office names are frozen as ingest's directory had them. `place` is the place in its batch (0 when alone);
    `epoch` (YYYY-MM) names the month key; `service_type` is the recipient's, from the file names.
    """

    sequence: str
    csv_version: str | None = None
    months: tuple[str, ...] = ()
    sender_name: str
    recipient_name: str
    sender_service: str | None = None
    service_type: str | None = None
    submitted_at: datetime
    place: int = 0
    object_key: str
    epoch: str
    parts: tuple[Part, ...] = ()
    manifest: str


class Counts(Fact):
    """How many findings there are in all, also those that the event does not list."""

    errors: int = 0
    warnings: int = 0


class Pointer(Fact):
    """One finding without personal data: `part` is the file's ordinal, `row` and `column` count from 1."""

    code: str
    severity: Literal["error", "warning"]
    part: int | None = None
    row: int | None = None
    column: int | None = None
    column_name: str | None = None
    detail: dict[str, str | int] = Field(default_factory=dict)


class BySender(MessageEvent):
    """A message event ordered by its sender."""

    def key(self) -> str:
        """The sender office."""
        return self.sender


class ByRecipient(MessageEvent):
    """A message event ordered by its recipient."""

    def key(self) -> str:
        """The recipient office."""
        return self.recipient


class MessageSubmitted(BySender):
    """An office handed in a message and holds a receipt for it.

    `sender_version` and `recipient_version` are the versions of the offices' rows that ingest judged by;
    the two HMACs let sequence and idempotency tables be rebuilt.
    """

    SAID_BY: ClassVar = ("ingest",)

    package: Package
    sender_version: int
    recipient_version: int
    idempotency_hmac: str
    sequence_hmac: str
    allow_resend: bool = False
    content_hmac: str
    receipt_sealed: str


class FileValidated(BySender):
    """One file of a message was checked."""

    SAID_BY: ClassVar = ("validation",)

    part: int
    kind: str | None = None
    csv_version: str | None = None
    counts: Counts

    def ordinal(self) -> str:
        """The file's place in the message."""
        return str(self.part)


class MessageAccepted(BySender):
    """Everything in the message keeps the standard; warnings may remain."""

    SAID_BY: ClassVar = ("validation",)

    package: Package
    sender_version: int
    recipient_version: int
    counts: Counts
    findings: tuple[Pointer, ...] = ()


class MessageRejected(BySender):
    """The message breaks the standard and goes nowhere."""

    SAID_BY: ClassVar = ("validation",)

    counts: Counts
    findings: tuple[Pointer, ...] = ()
    rejected_at: datetime


class MessageRouted(ByRecipient):
    """The recipient takes part and the message may be put into its mailbox."""

    SAID_BY: ClassVar = ("routing",)

    package: Package
    counts: Counts


class MessageUndeliverable(ByRecipient):
    """The recipient (or the sender) may not take part in this exchange any more. `reason` is a TDK code."""

    SAID_BY: ClassVar = ("routing",)

    reason: str
    decided_at: datetime


class Delivered(ByRecipient):
    """The message stands in the recipient's mailbox (未). `delivery_no` is dense per recipient."""

    SAID_BY: ClassVar = ("storage",)

    package: Package
    counts: Counts
    delivery_no: int
    delivered_at: datetime


class ContentOpened(ByRecipient):
    """The recipient was about to see file content for the first time (開封)."""

    SAID_BY: ClassVar = ("storage",)

    opened_at: datetime


class Downloaded(ByRecipient):
    """The recipient proved by hashes that it holds every file (済)."""

    SAID_BY: ClassVar = ("storage",)

    delivery_no: int
    downloaded_at: datetime
    receipt_sealed: str


class RecallRequested(ByRecipient):
    """The sender wants a message back that has not arrived yet."""

    SAID_BY: ClassVar = ("storage",)

    requested_at: datetime
    reason_sealed: str


class Recalled(ByRecipient):
    """The sender took the message back before 済. `opened_at` says whether content had been seen."""

    SAID_BY: ClassVar = ("storage",)

    delivery_no: int | None = None
    recalled_at: datetime
    opened_at: datetime | None = None
    reason_sealed: str | None = None


class ReminderDue(ByRecipient):
    """The message has not been collected for `days` days."""

    SAID_BY: ClassVar = ("storage",)

    days: int
    due_at: datetime

    def ordinal(self) -> str:
        """The day count: a message may be reminded of more than once."""
        return str(self.days)


class Expired(ByRecipient):
    """Nobody collected the message in time."""

    SAID_BY: ClassVar = ("storage",)

    delivery_no: int
    expired_at: datetime


class Erased(ByRecipient):
    """The contents are gone, the record stays."""

    SAID_BY: ClassVar = ("storage",)

    delivery_no: int | None = None
    erased_at: datetime


class MessageHeld(ByRecipient):
    """The service cannot go on with this message by itself: an operator has it (`parked`), or the scanner (`scan`)."""

    SAID_BY: ClassVar = ("validation", "routing", "storage")

    cause: Literal["parked", "scan"]
    held_at: datetime
    nth: int = 1

    def ordinal(self) -> str:
        """The how-manieth hold of this message in this service."""
        return str(self.nth)


class MessageReleased(ByRecipient):
    """A held message goes on."""

    SAID_BY: ClassVar = ("validation", "routing", "storage")

    released_at: datetime
    nth: int = 1

    def ordinal(self) -> str:
        """The hold that ends."""
        return str(self.nth)


class MessageDiscarded(ByRecipient):
    """An operator gave a held message up; for the offices it is undeliverable."""

    SAID_BY: ClassVar = ("validation", "routing", "storage")

    discarded_at: datetime
    reason_sealed: str | None = None


class KeyEpochDestroyed(Event):
    """A month key is gone, and with it every sealed name and text of that month."""

    SAID_BY: ClassVar = ("storage",)

    epoch: str
    destroyed_at: datetime

    def subject(self) -> str:
        """`epoch-YYYY-MM`."""
        return f"epoch-{self.epoch}"

    def subject_id(self) -> UUID:
        """A UUID made from the epoch."""
        return uuid5(OFFICE_NAMESPACE, self.subject())

    def key(self) -> str:
        """The epoch: there is no office to order by."""
        return self.epoch
