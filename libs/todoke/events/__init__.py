"""What the services say to each other: one frozen model per fact, the newest version of each."""

import json
from collections.abc import Mapping
from datetime import datetime

from pydantic import ValidationError

from todoke.events import acts, message, notice, office
from todoke.events.acts import OperatorActed
from todoke.events.envelope import (
    PAYLOAD_BYTES_MAX,
    Actor,
    Event,
    Fact,
    Headers,
    MessageEvent,
    OfficeEvent,
    Record,
    Undecodable,
    body_of,
    read_headers,
    subject_of,
)
from todoke.events.message import (
    ContentOpened,
    Counts,
    Delivered,
    Downloaded,
    Erased,
    Expired,
    FileValidated,
    KeyEpochDestroyed,
    MessageAccepted,
    MessageDiscarded,
    MessageHeld,
    MessageRejected,
    MessageReleased,
    MessageRouted,
    MessageSubmitted,
    MessageUndeliverable,
    Package,
    Part,
    Pointer,
    Recalled,
    RecallRequested,
    ReminderDue,
)
from todoke.events.notice import Audience, NoticePublished, NoticeWithdrawn
from todoke.events.office import (
    ApplicationDecided,
    ApplicationReceived,
    CertificateChanged,
    LicenceChanged,
    OfficeChanged,
    OfficeFacts,
    OfficeRegistered,
    OfficeResumed,
    OfficeStateEvent,
    OfficeSucceeded,
    OfficeSuspended,
    UserChanged,
)
from todoke.events.topics import SERVICES, service_of, topic_of, topic_settings
from todoke.events.upcasts import lift

__all__ = [
    "CATALOGUE",
    "PAYLOAD_BYTES_MAX",
    "SERVICES",
    "Actor",
    "ApplicationDecided",
    "ApplicationReceived",
    "Audience",
    "CertificateChanged",
    "ContentOpened",
    "Counts",
    "Delivered",
    "Downloaded",
    "Erased",
    "Event",
    "Expired",
    "Fact",
    "FileValidated",
    "Headers",
    "KeyEpochDestroyed",
    "LicenceChanged",
    "MessageAccepted",
    "MessageDiscarded",
    "MessageEvent",
    "MessageHeld",
    "MessageRejected",
    "MessageReleased",
    "MessageRouted",
    "MessageSubmitted",
    "MessageUndeliverable",
    "NoticePublished",
    "NoticeWithdrawn",
    "OfficeChanged",
    "OfficeEvent",
    "OfficeFacts",
    "OfficeRegistered",
    "OfficeResumed",
    "OfficeStateEvent",
    "OfficeSucceeded",
    "OfficeSuspended",
    "OperatorActed",
    "Package",
    "Part",
    "Pointer",
    "RecallRequested",
    "Recalled",
    "Record",
    "ReminderDue",
    "Undecodable",
    "UserChanged",
    "body_of",
    "decode",
    "read_headers",
    "record_of",
    "service_of",
    "subject_of",
    "topic_of",
    "topic_settings",
    "type_of",
]


def _catalogue() -> dict[str, type[Event]]:
    found: dict[str, type[Event]] = {}
    for module in (message, office, notice, acts):
        for item in vars(module).values():
            if isinstance(item, type) and issubclass(item, Event) and item.__subclasses__() == [] and _is_said(item):
                found[item.__name__] = item
    return found


def _is_said(event: type[Event]) -> bool:
    return hasattr(event, "SAID_BY")


CATALOGUE: Mapping[str, type[Event]] = _catalogue()
"""Every event type by name, the newest version of each."""

_BY_WIRE_TYPE = {event.wire_type(): event for event in CATALOGUE.values()}


def type_of(wire_type: str) -> type[Event] | None:
    """The model of a CloudEvents type, or None for one this program does not know."""
    return _BY_WIRE_TYPE.get(wire_type)


def record_of(event: Event, service: str, time: datetime, traceparent: str | None) -> Record:
    """The record of an event as said by `service` at `time` (UTC).

    Raises `ValueError` when this service may not say it or its body is over `PAYLOAD_BYTES_MAX`.
    """
    if service not in event.SAID_BY:
        raise ValueError(f"{service} does not say {event.type_name()}")
    return Record(
        event_id=event.event_id(service),
        type_name=event.type_name(),
        version=event.VERSION,
        source=service,
        subject=event.subject(),
        subject_id=event.subject_id(),
        key=event.key(),
        time=time,
        traceparent=traceparent,
        body=body_of(event),
    )


def decode(headers: Headers, body: bytes) -> Event:
    """The event of a record, lifted to its newest version.

    Raises `Undecodable` for an unknown type or version and for a body that does not fit; the text names the type only.
    """
    model = type_of(headers.wire_type)
    if model is None:
        raise Undecodable(f"unknown type {headers.wire_type[:80]!r}")
    try:
        if headers.version == model.VERSION:
            return model.model_validate_json(body)
        return model.model_validate(lift(model.type_name(), headers.version, model.VERSION, json.loads(body)))
    except KeyError:
        raise Undecodable(f"{model.type_name()} has no version {headers.version}") from None
    except (ValidationError, ValueError, TypeError) as broken:
        raise Undecodable(f"{model.type_name()} {headers.version}: {type(broken).__name__}") from None
