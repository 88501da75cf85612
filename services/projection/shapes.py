"""What the lists answer and are asked, in the shapes of the public API.

What a page holds hundreds of is a dataclass: it costs a seventh of a model that is not to be validated.
"""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from services.projection.rules import Box, Status
from todoke.relay.clock import JAPAN

PAGE_ITEMS = 50
PAGE_ITEMS_MAX = 200
SEARCH_CHARACTERS_MAX = 100
"""More than any office name or file name that somebody would type."""

_FIRST_YEAR, _LAST_YEAR = 1900, 9000

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


@dataclass(frozen=True, slots=True)
class OfficeRef:
    """An office by number and name, the name as it was when the message was submitted."""

    number: str
    name: str


@dataclass(frozen=True, slots=True)
class FileItem:
    """One file of a message. `size` counts bytes; name and hash are null where the content is hidden."""

    n: int
    name: str | None
    kind: str | None
    label: str
    size: int
    sha256: str | None


@dataclass(frozen=True, slots=True)
class FindingCounts:
    """How many findings there are in all."""

    errors: int
    warnings: int


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a message was rejected, undeliverable or discarded."""

    code: str
    number: str | None
    message: str


@dataclass(frozen=True, slots=True)
class Item:
    """A row of a list."""

    message_id: UUID
    sequence: str
    sender: OfficeRef
    recipient: OfficeRef
    service_type: str | None
    text: str | None
    csv_version: str | None
    months: list[str]
    status: Status
    held: bool
    erased: bool
    submitted_at: datetime
    delivered_at: datetime | None
    opened_at: datetime | None
    downloaded_at: datetime | None
    delivery_no: int | None
    files: list[FileItem]
    findings: FindingCounts
    reason: Reason | None
    recall_requested_at: datetime | None


class Stub(BaseModel):
    """What `since` says of a recalled, expired or erased message."""

    delivery_no: int
    message_id: UUID
    status: Status


class Page(BaseModel):
    """One page of a list, and the cursor of the next one."""

    items: list[Item]
    next: str | None


class SincePage(BaseModel):
    """What was delivered after a number, ascending and without a gap."""

    items: list[Item | Stub]
    next: None = None


class By(BaseModel):
    """Who did something: the office, and its user where that is the reader's own side."""

    office: str | None
    user: str | None


class TimelineEntry(BaseModel):
    """One step of a message's life."""

    event: str
    at: datetime
    by: By


@dataclass(frozen=True, slots=True)
class MessageAnswer(Item):
    """A message with its timeline."""

    timeline: list[TimelineEntry]


class Finding(BaseModel):
    """One thing that is wrong with a file; no content of the file is repeated."""

    code: str
    number: str | None
    severity: Literal["error", "warning"]
    file: str | None
    row: int | None
    column: int | None
    column_name: str | None
    message: str
    advice: str


class Verdict(BaseModel):
    """What validation said: the first 200 findings, and the counts of all."""

    verdict: Literal["accept", "accept_with_warning", "reject"]
    findings: list[Finding]
    counts: FindingCounts


class Evidence(BaseModel):
    """The record of delivery (送達記録): every event the office may know, the hashes, the receipts.

    `proofs` stays empty until the archive signs tree heads.
    """

    message: Item
    files: list["EvidenceFile"]
    events: list["EvidenceEvent"]
    receipts: "Receipts"


class EvidenceFile(BaseModel):
    """The hashes of a file: of the bytes as sent (null where hidden) and of their sealed form in custody."""

    n: int
    sha256: str | None
    sealed_sha256: str


class EvidenceEvent(BaseModel):
    """One event as the services recorded it. `reason` is the reason of a recall (sender's side only)."""

    id: UUID
    type: str
    service: str
    at: datetime
    by: By
    reason: str | None


class Receipts(BaseModel):
    """The two receipts as compact JWS, where they exist and the content is not hidden from the reader."""

    submission: str | None
    download: str | None


class Counts(BaseModel):
    """How many messages there are per status."""

    sent: dict[Status, int]
    received: dict[Status, int]


class ChangeItem(BaseModel):
    """One of the office's last changes."""

    event: str
    message_id: UUID
    at: datetime


class Push(BaseModel):
    """The data of a pushed change: which message, and its delivery number where it has one that the office may know."""

    message_id: UUID
    delivery_no: int | None


class Changes(BaseModel):
    """The office's last changes, newest first."""

    items: list[ChangeItem]


class SystemStatus(BaseModel):
    """How the whole system is."""

    state: Literal["normal", "slow", "down"]
    sentence: str
    until: datetime | None = None


def _start(value: Any) -> Any:
    """A day means its beginning in Japan."""
    if isinstance(value, str) and _DAY.fullmatch(value):
        return datetime.combine(date.fromisoformat(value), time(), JAPAN)
    return _plus(value)


def _end(value: Any) -> Any:
    """A day means its end in Japan."""
    if isinstance(value, str) and _DAY.fullmatch(value) and value < str(_LAST_YEAR):
        return datetime.combine(date.fromisoformat(value) + timedelta(days=1), time(), JAPAN)
    return _plus(value)


def _plus(value: Any) -> Any:
    """An unescaped `+` of a query arrives as a blank."""
    return value.replace(" ", "+") if isinstance(value, str) and "T" in value else value


def _countable(moment: datetime) -> datetime:
    """In UTC. Raises `ValueError` near the ends of the calendar, where no other time zone can be counted."""
    if not _FIRST_YEAR <= moment.year < _LAST_YEAR:
        raise ValueError("no such year")
    return moment.astimezone(UTC)


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


_Moment = Annotated[AwareDatetime, AfterValidator(_countable)]


class Filters(BaseModel):
    """What a list may be narrowed by. `from` and `to` are moments, or days in Japan time that count whole."""

    model_config = ConfigDict(populate_by_name=True)

    status: Annotated[
        list[Status] | None, BeforeValidator(_listed), Field(description="Only these states; given once or repeated.")
    ] = None
    partner: Annotated[str | None, Field(pattern=r"^[0-9A-Z]{10}$", description="The other office, by its number.")] = (
        None
    )
    month: Annotated[
        str | None, Field(pattern=r"^[0-9]{6}$", description="A service month that its files are about (YYYYMM).")
    ] = None
    kind: Annotated[
        str | None, Field(pattern=r"^[A-Z0-9_]{1,40}$", description="A kind among its files, such as UPPLAN.")
    ] = None
    sequence: Annotated[str | None, Field(pattern=r"^[0-9]{14}$", description="Its sequence (14 digits).")] = None
    csv_version: Annotated[str | None, Field(pattern=r"^[0-9]{6}$", description="202407 or 202208.")] = None
    service_type: Annotated[
        str | None, Field(pattern=r"^[0-9A-Z]{2}$", description="Its service type, as the item has it.")
    ] = None
    since_moment: Annotated[
        _Moment | None,
        BeforeValidator(_start),
        Field(
            alias="from",
            description="Not before this moment, or this day in Japan (YYYY-MM-DD): of the submission in the sent "
            "list, of the delivery in the receive list.",
        ),
    ] = None
    until_moment: Annotated[
        _Moment | None,
        BeforeValidator(_end),
        Field(alias="to", description="Before this moment, or until the end of this day in Japan, likewise."),
    ] = None
    findings: Annotated[bool | None, Field(description="With findings, or without any.")] = None

    @property
    def any(self) -> bool:
        """Whether the list is narrowed at all."""
        return any(value is not None for value in self.values().values())

    def values(self) -> dict[str, Any]:
        """The parameters of the page statements."""
        return {
            "statuses": self.status,
            "partner": self.partner,
            "month": self.month,
            "kind": self.kind,
            "sequence": self.sequence,
            "csv_version": self.csv_version,
            "service_type": self.service_type,
            "since": self.since_moment,
            "until": self.until_moment,
            "findings": self.findings,
        }


class SentQuery(Filters):
    """The query of the send list."""

    limit: Annotated[int, Field(ge=1, le=PAGE_ITEMS_MAX, description="Rows of a page.")] = PAGE_ITEMS
    cursor: Annotated[str | None, Field(max_length=200, description="`next` of the page before.")] = None
    wait_for: Annotated[
        str | None,
        Field(
            max_length=60,
            description="`MESSAGE_ID:STATUS`: wait 2 s at most until this list has the message as far as that.",
        ),
    ] = None


class ReceivedQuery(SentQuery):
    """The query of the receive list. `since` is a delivery number and goes with `limit` and `wait_for` alone."""

    since: Annotated[
        int | None,
        Field(ge=0, lt=2**62, description="A delivery number: what comes after it, oldest first. Without filters."),
    ] = None


class SearchBody(Filters):
    """A search: its words never stand in a URL. All words, divided by blanks, must be found in a message."""

    model_config = ConfigDict(populate_by_name=True, extra="forbid")

    box: Box
    text: Annotated[str, Field(min_length=1, max_length=SEARCH_CHARACTERS_MAX)]
    limit: Annotated[int, Field(ge=1, le=PAGE_ITEMS_MAX)] = PAGE_ITEMS
    cursor: Annotated[str | None, Field(max_length=200)] = None
