"""What every event has in common, and how one travels: CloudEvents 1.0 over Kafka, binary mode.

An event is a frozen pydantic model that carries facts only: no personal data in clear. `Event` is the body; `Record` is
a body with its headers, as it stands in a journal and in Kafka.
"""

import dataclasses
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import ClassVar, Literal
from uuid import UUID, uuid5

from pydantic import BaseModel, ConfigDict

PAYLOAD_BYTES_MAX = 64 * 1024
"""Largest body of an event in bytes: documents lie in object storage, events only point at them."""

OFFICE_NAMESPACE = UUID("6f0c2f3e-6b7c-5d0e-9a57-7c1d2c0d5b11")
"""Namespace from which the stable UUID of an office (and of any other subject that is no message) is derived."""

SPEC_VERSION = b"1.0"
TYPE_PREFIX = "jp.todoke."
SCHEMA_PREFIX = "urn:todoke:event:"


class Undecodable(Exception):  # noqa: N818 (named for what it says of the record)
    """A record whose headers or body cannot be read as an event; the record is parked, never skipped."""


class Fact(BaseModel):
    """A frozen value inside an event. Fields that a newer writer added are kept (`extra="allow"`)."""

    model_config = ConfigDict(frozen=True, extra="allow")


class Actor(Fact):
    """Who did it: a person (user id), an office (number), an operator, or the system (service name)."""

    kind: Literal["person", "office", "operator", "system"]
    id: str


class Event(Fact):
    """One immutable fact.

    Subclasses set `VERSION` when their shape changes (with one upcast and one more golden file), `SAID_BY` to the
    services that may say it, and say in `key()` which office orders it.
    """

    VERSION: ClassVar[int] = 1
    SAID_BY: ClassVar[tuple[str, ...]]

    actor: Actor

    @classmethod
    def type_name(cls) -> str:
        """`MessageSubmitted`, the name in code and documents."""
        return cls.__name__

    @classmethod
    def wire_type(cls) -> str:
        """`jp.todoke.message-submitted`, the CloudEvents type."""
        return TYPE_PREFIX + _kebab(cls.__name__)

    def subject(self) -> str:
        """What the event is about: a message id or, for office events, an office number."""
        raise TypeError(type(self).__name__)

    def subject_id(self) -> UUID:
        """The subject as UUID: the message id itself, or one derived from the office number."""
        raise TypeError(type(self).__name__)

    def key(self) -> str:
        """The office whose events stay in order: sender up to routing, recipient after it."""
        raise TypeError(type(self).__name__)

    def ordinal(self) -> str:
        """What tells this fact from others of the same type about the same subject; empty where there is only one."""
        return ""

    def event_id(self, service: str) -> UUID:
        """The same fact always has the same id (UUIDv5 of subject, service, type, ordinal; RFC 9562 section 5.5)."""
        return uuid5(self.subject_id(), f"{service}/{self.type_name()}/{self.ordinal()}")


class MessageEvent(Event):
    """A fact about one message."""

    message_id: UUID
    sender: str
    recipient: str

    def subject(self) -> str:
        """The message id."""
        return str(self.message_id)

    def subject_id(self) -> UUID:
        """The message id."""
        return self.message_id


def subject_of_office(office: str) -> UUID:
    """The UUID under which everything about an office stands: made from its number."""
    return uuid5(OFFICE_NAMESPACE, office)


class OfficeEvent(Event):
    """A fact about one office. `version` counts the states of its row, from 1."""

    office: str
    version: int

    def subject(self) -> str:
        """The office number."""
        return self.office

    def subject_id(self) -> UUID:
        """A UUID made from the office number."""
        return subject_of_office(self.office)

    def key(self) -> str:
        """The office number."""
        return self.office

    def ordinal(self) -> str:
        """The version: an office changes many times."""
        return str(self.version)


@dataclasses.dataclass(frozen=True, slots=True)
class Record:
    """An event on its way: body bytes and the headers a consumer decides by.

    `time` is when it was recorded (UTC). `traceparent` is W3C Trace Context, or None.
    """

    event_id: UUID
    type_name: str
    version: int
    source: str
    subject: str
    subject_id: UUID
    key: str
    time: datetime
    traceparent: str | None
    body: bytes

    def headers(self) -> list[tuple[str, bytes]]:
        """The Kafka headers (CloudEvents Kafka protocol binding 1.0, section 3.2)."""
        headers = [
            ("ce_specversion", SPEC_VERSION),
            ("ce_id", str(self.event_id).encode()),
            ("ce_type", (TYPE_PREFIX + _kebab(self.type_name)).encode()),
            ("ce_source", self.source.encode()),
            ("ce_subject", self.subject.encode()),
            ("ce_time", self.time.isoformat().encode()),
            ("ce_dataschema", f"{SCHEMA_PREFIX}{_kebab(self.type_name)}:{self.version}".encode()),
            ("content-type", b"application/json"),
        ]
        if self.traceparent is not None:
            headers.append(("traceparent", self.traceparent.encode()))
        return headers


@dataclasses.dataclass(frozen=True, slots=True)
class Headers:
    """The headers of a record, read but not yet believed: enough to decide whether the body is wanted."""

    event_id: UUID
    wire_type: str
    version: int
    source: str
    subject: str
    time: datetime
    traceparent: str | None


def read_headers(headers: Iterable[tuple[str, bytes | None]]) -> Headers:
    """Read the CloudEvents headers of one record. Kafka allows a header without a value: it counts as missing.

    Raises `Undecodable` when one is missing or makes no sense.
    """
    found: Mapping[str, bytes] = {name: value for name, value in headers if value is not None}
    try:
        schema = found["ce_dataschema"].decode()
        return Headers(
            event_id=UUID(found["ce_id"].decode()),
            wire_type=found["ce_type"].decode(),
            version=int(schema.rsplit(":", 1)[1]),
            source=found["ce_source"].decode(),
            subject=found["ce_subject"].decode(),
            time=datetime.fromisoformat(found["ce_time"].decode()),
            traceparent=found["traceparent"].decode() if "traceparent" in found else None,
        )
    except (KeyError, ValueError, IndexError) as broken:
        raise Undecodable(type(broken).__name__) from None


def subject_of(headers: Iterable[tuple[str, bytes | None]], key: bytes | None) -> str:
    """What a record seems to be about, for parking: its subject header if readable, else its key, else `?`."""
    for name, value in headers:
        if name == "ce_subject" and value is not None:
            text = value.decode("ascii", "replace")
            if re.fullmatch(r"[0-9A-Za-z-]{1,64}", text):
                return text
    if key is not None and re.fullmatch(rb"[0-9A-Za-z-]{1,64}", key):
        return key.decode()
    return "?"


def body_of(event: Event) -> bytes:
    """The JSON body of an event.

    Raises `ValueError` when it is over `PAYLOAD_BYTES_MAX`: the transaction that would say it fails.
    """
    body = event.model_dump_json(exclude_none=True).encode()
    if len(body) > PAYLOAD_BYTES_MAX:
        raise ValueError(f"{event.type_name()} of {len(body)} bytes is over {PAYLOAD_BYTES_MAX}")
    return body


def _kebab(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower()
