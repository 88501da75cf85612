"""One example of every event, complete in every field: for documents, golden files and tests. All of it is made up."""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

from todoke.events.acts import OperatorActed
from todoke.events.envelope import Actor, Event
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
    OfficeSucceeded,
    OfficeSuspended,
    UserChanged,
)

AT = datetime(2026, 8, 31, 14, 59, 59, 250000, tzinfo=UTC)
MESSAGE = UUID("01990000-0000-7000-8000-000000000001")
SEALED = "c2VhbGVkIGJ5dGVz"
HASH = "0" * 63 + "1"

_PERSON = Actor(kind="person", id="c8000000018")
_SYSTEM = Actor(kind="system", id="storage")
_OPERATOR = Actor(kind="operator", id="op-1")
_BOTH: dict[str, Any] = {"message_id": MESSAGE, "sender": "9970100018", "recipient": "9970100117"}
_COUNTS = Counts(errors=0, warnings=1)
_POINTER = Pointer(
    code="TDK-VALUE", severity="warning", part=1, row=12, column=7, column_name="プラン担当者名", detail={"expected": 6}
)
_PACKAGE = Package(
    sequence="20260825121901",
    csv_version="202407",
    months=("202609",),
    sender_name="練習居宅介護支援事業所",
    recipient_name="練習訪問介護センター",
    sender_service="43",
    service_type="11",
    submitted_at=AT,
    place=0,
    object_key="message/2026/08/01990000-0000-7000-8000-000000000001",
    epoch="2026-08",
    parts=(
        Part(
            ordinal=1,
            role="data",
            kind="UPPLAN",
            size=4096,
            offset=0,
            length=4124,
            sealed_sha256=HASH,
            commitment=HASH,
        ),
    ),
    manifest=SEALED,
)
_FACTS = OfficeFacts(
    name="練習訪問介護センター",
    address="練習県青空市風町二丁目3番",
    phone="099-555-0111",
    fax="099-555-0112",
    prefecture="練習県",
    service_types=("11",),
    participation="active",
    licence_until=date(2027, 3, 31),
    csv_version_last="202407",
    predecessor="9970100109",
    successor="9970100125",
)
_APPLICATION: dict[str, Any] = {"office": "9970100117", "application_id": UUID("01990000-0000-7000-8000-000000000003")}
_OFFICE: dict[str, Any] = {"actor": _OPERATOR, "office": "9970100117", "version": 3, "facts": _FACTS}

_ALL: tuple[Event, ...] = (
    MessageSubmitted(
        actor=_PERSON,
        **_BOTH,
        package=_PACKAGE,
        sender_version=2,
        recipient_version=3,
        idempotency_hmac=HASH,
        sequence_hmac=HASH,
        allow_resend=False,
        content_hmac=HASH,
        receipt_sealed=SEALED,
    ),
    FileValidated(actor=_SYSTEM, **_BOTH, part=1, kind="UPPLAN", csv_version="202407", counts=_COUNTS),
    MessageAccepted(
        actor=_SYSTEM,
        **_BOTH,
        package=_PACKAGE,
        sender_version=2,
        recipient_version=3,
        counts=_COUNTS,
        findings=(_POINTER,),
    ),
    MessageRejected(actor=_SYSTEM, **_BOTH, counts=Counts(errors=1), findings=(_POINTER,), rejected_at=AT),
    MessageRouted(actor=_SYSTEM, **_BOTH, package=_PACKAGE, counts=_COUNTS),
    MessageUndeliverable(actor=_SYSTEM, **_BOTH, reason="TDK-RECIPIENT-SUSPENDED", decided_at=AT),
    Delivered(actor=_SYSTEM, **_BOTH, package=_PACKAGE, counts=_COUNTS, delivery_no=17, delivered_at=AT),
    ContentOpened(actor=_PERSON, **_BOTH, opened_at=AT),
    Downloaded(actor=_PERSON, **_BOTH, delivery_no=17, downloaded_at=AT, receipt_sealed=SEALED),
    RecallRequested(actor=_PERSON, **_BOTH, requested_at=AT, reason_sealed=SEALED),
    Recalled(actor=_PERSON, **_BOTH, delivery_no=17, recalled_at=AT, opened_at=AT, reason_sealed=SEALED),
    ReminderDue(actor=_SYSTEM, **_BOTH, days=7, due_at=AT),
    Expired(actor=_SYSTEM, **_BOTH, delivery_no=17, expired_at=AT),
    Erased(actor=_SYSTEM, **_BOTH, delivery_no=17, erased_at=AT),
    MessageHeld(actor=_SYSTEM, **_BOTH, cause="parked", held_at=AT, nth=1),
    MessageReleased(actor=_OPERATOR, **_BOTH, released_at=AT, nth=1),
    MessageDiscarded(actor=_OPERATOR, **_BOTH, discarded_at=AT, reason_sealed=SEALED),
    KeyEpochDestroyed(actor=_OPERATOR, epoch="2026-08", destroyed_at=AT),
    OfficeRegistered(**_OFFICE),
    OfficeChanged(**_OFFICE),
    OfficeSuspended(**_OFFICE),
    OfficeResumed(**_OFFICE),
    OfficeSucceeded(**_OFFICE),
    LicenceChanged(**_OFFICE, until=date(2027, 3, 31), renews=True, cause="renewed"),
    UserChanged(
        actor=_OPERATOR, office="9970100117", version=3, user_id="c8000000018", roles=("admin",), state="active"
    ),
    ApplicationReceived(
        actor=Actor(kind="office", id="9970100117"),
        **_APPLICATION,
        version=1,
        kind="new",
        auto_renew=True,
        received_at=AT,
    ),
    ApplicationDecided(
        actor=_OPERATOR, **_APPLICATION, version=2, decision="approved", c_id="c8000000018", decided_at=AT
    ),
    CertificateChanged(
        actor=_OPERATOR, office="9970100117", version=2, issuer="Practice CA", serial="01A2B3C4", not_after=AT
    ),
    NoticePublished(
        actor=_OPERATOR,
        notice_id=UUID("01990000-0000-7000-8000-000000000004"),
        published_at=AT,
        important=True,
        audience=Audience(kind="prefectures", values=("練習県",)),
        state="down",
        until=AT,
    ),
    NoticeWithdrawn(actor=_OPERATOR, notice_id=UUID("01990000-0000-7000-8000-000000000004"), withdrawn_at=AT),
    OperatorActed(
        actor=_OPERATOR,
        service="registry",
        act="office.suspend",
        act_id=UUID("01990000-0000-7000-8000-000000000002"),
        object="9970100117",
        office="9970100117",
        ticket="OPS-1204",
        reason_sealed=SEALED,
        acted_at=AT,
    ),
)

EXAMPLES: Mapping[str, Event] = {event.type_name(): event for event in _ALL}
"""By type name."""
