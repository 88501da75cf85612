"""Pure decisions of notification: who is told what, how letters read, when to try again, which addresses are fit."""

import base64
import csv
import dataclasses
import functools
import hashlib
import hmac
import ipaddress
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from importlib import resources
from typing import Literal, TypeAlias
from urllib.parse import urlsplit
from uuid import UUID, uuid5

from todoke.events import (
    Delivered,
    Downloaded,
    Event,
    Expired,
    MessageDiscarded,
    MessageRejected,
    MessageUndeliverable,
    Recalled,
    ReminderDue,
)

Told: TypeAlias = Literal["delivered", "downloaded", "rejected", "undeliverable", "recalled", "expired", "reminder"]
"""What one can ask to be told."""

TEST = "test"

OLDEST_TOLD = timedelta(hours=72)
"""An event older than this is nobody's news any more: a service that was down for days does not flood mailboxes."""

FINISHED_KEPT = timedelta(days=14)
"""A row of the queue stays so long after its end: far longer than an event could still be told (`OLDEST_TOLD`)."""

MAIL_LINGER = timedelta(seconds=20)
"""A mail waits so long for more to tell."""

MAIL_QUIET = timedelta(minutes=5)
"""After a mail an address is left in peace for so long: three hundred arrivals make a handful of mails."""

PAUSES: Sequence[timedelta] = (
    timedelta(minutes=1),
    timedelta(minutes=3),
    timedelta(minutes=10),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=14),
    timedelta(hours=20),
    timedelta(hours=24),
)
"""Pauses after the tries; after the last one a target is given up, about three days after the event.

The first is longer than a try may take, so that a try whose end was lost is not repeated beside itself."""

MAILS_SHOWN = 5
"""Partners that a letter names for one kind of event; the rest is counted."""

ADDRESS_CHARACTERS_MAX = 254
"""Longest mail address (RFC 5321 section 4.5.3.1.3, less the angle brackets)."""

URL_CHARACTERS_MAX = 2000
"""Longest webhook URL."""

SECRET_BYTES = 32
"""Random bytes of a webhook's secret (Standard Webhooks asks for 24 to 64)."""

SECRET_PREFIX = "whsec_"  # noqa: S105 (a prefix, not a secret)

_MAIL = re.compile(
    r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,63}"
)

_NO_DESTINATIONS = (
    ipaddress.ip_network("64:ff9b::/96"),  # NAT64: a private IPv4 address could hide in it
    ipaddress.ip_network("64:ff9b:1::/48"),
    ipaddress.ip_network("2002::/16"),  # 6to4, likewise
)


@dataclasses.dataclass(frozen=True, slots=True)
class News:
    """One event as one office is told of it."""

    office: str
    told: Told
    message_id: UUID
    partner: str
    delivery_no: int | None = None


def news_of(event: Event) -> tuple[News, ...]:
    """Whom this event concerns and as what; nobody for an event that only looks like one of these."""
    match event:
        case Delivered():
            return (News(event.recipient, "delivered", event.message_id, event.sender, event.delivery_no),)
        case Downloaded():
            return (News(event.sender, "downloaded", event.message_id, event.recipient),)
        case MessageRejected():
            return (News(event.sender, "rejected", event.message_id, event.recipient),)
        case MessageUndeliverable() | MessageDiscarded():
            return (News(event.sender, "undeliverable", event.message_id, event.recipient),)
        case Recalled() if event.delivery_no is not None:  # else the recipient never had it
            return (News(event.recipient, "recalled", event.message_id, event.sender, event.delivery_no),)
        case Expired():
            return (
                News(event.recipient, "expired", event.message_id, event.sender, event.delivery_no),
                News(event.sender, "expired", event.message_id, event.recipient),
            )
        case ReminderDue():
            return (News(event.recipient, "reminder", event.message_id, event.sender),)
        case _:
            return ()


def next_pause(attempts: int, fraction: float) -> timedelta | None:
    """The pause after so many tries, with up to a fifth of jitter on top; None when there is none: give up."""
    if attempts > len(PAUSES):
        return None
    return PAUSES[attempts - 1] * (1 + fraction / 5)


# --- letters -----------------------------------------------------------------------------------------------------


@functools.cache
def sentences() -> Mapping[str, str]:
    """What each kind of event is called in a letter."""
    table = resources.files(__package__).joinpath("wording_ja.csv").read_text(encoding="utf-8")
    return {row["event"]: row["sentence"] for row in csv.DictReader(table.splitlines())}


@functools.cache
def _letter() -> str:
    return resources.files(__package__).joinpath("letter_ja.txt").read_text(encoding="utf-8")


def letter(number: str, told: Sequence[tuple[str, str | None]], names: Mapping[str, str], link: str) -> tuple[str, str]:
    """Subject and text of a mail to the office `number`: kinds, counts and names of offices, and nothing else.

    `told` are (event, partner's number or None); `names` are office names by number, as far as they are known.
    """
    by_kind: dict[str, list[str]] = {}
    for kind, partner in told:
        by_kind.setdefault(kind, []).append(partner or "")
    first = next(iter(by_kind))
    subject = sentences()[first] if len(by_kind) == 1 else "お知らせがあります"
    count = "" if set(by_kind) == {TEST} else f"（{len(told)}件）"
    lines = "\n".join(_lines(kind, partners, names) for kind, partners in by_kind.items())
    text = _letter().format(office=names.get(number, "事業所"), number=number, lines=lines, link=link)
    return f"【ケアプランデータ連携】{subject}{count}", text


def _lines(kind: str, partners: Sequence[str], names: Mapping[str, str]) -> str:
    if kind == TEST:
        return f"・{sentences()[kind]}"
    counted = Counter(partners).most_common()
    shown = [f"　{names.get(partner, partner)} {count}件" for partner, count in counted[:MAILS_SHOWN]]
    rest = sum(count for _, count in counted[MAILS_SHOWN:])
    if rest:
        shown.append(f"　ほか {rest}件")
    return "\n".join([f"・{sentences()[kind]}: {len(partners)}件", *shown])


def fit_mail_address(address: str) -> bool:
    """Whether this is a plain mail address (no name, no quotes, ASCII)."""
    return len(address) <= ADDRESS_CHARACTERS_MAX and _MAIL.fullmatch(address) is not None


# --- webhooks ----------------------------------------------------------------------------------------------------


def webhook_id(event_id: UUID, target_id: UUID) -> str:
    """The id of a call: the same for every try of the same event to the same address."""
    return f"msg_{uuid5(event_id, str(target_id)).hex}"


def webhook_body(
    told: str, occurred_at: datetime, office: str, message_id: UUID | None, delivery_no: int | None
) -> bytes:
    """The JSON of a call (Standard Webhooks): type, timestamp, data. Ids and numbers only."""
    data = {
        "office": office,
        "message_id": None if message_id is None else str(message_id),
        "delivery_no": delivery_no,
    }
    moment = occurred_at.isoformat().replace("+00:00", "Z")
    return json.dumps({"type": f"message.{told}", "timestamp": moment, "data": data}, separators=(",", ":")).encode()


def new_secret(random: bytes) -> str:
    """A webhook's secret as it is shown once."""
    return SECRET_PREFIX + base64.b64encode(random).decode()


def signature(secret: str, call_id: str, timestamp: int, body: bytes) -> str:
    """`v1,` and the HMAC-SHA256 over `id.timestamp.body` in base64 (Standard Webhooks, "Signature scheme")."""
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX))
    signed = f"{call_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


def fit_url(url: str, *, private: bool) -> bool:
    """Whether a webhook may have this URL: https, a host, no user, no fragment, and no address inside.

    With `private` (practice and tests) http and inner addresses are let through.
    """
    if (
        len(url) > URL_CHARACTERS_MAX
        or not url.isascii()
        or any(char.isspace() or not char.isprintable() for char in url)
    ):
        return False
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return False
    if parts.scheme not in (("http", "https") if private else ("https",)) or not host or port == 0:
        return False
    if parts.username is not None or parts.password is not None or "#" in url or "\\" in url:
        return False
    try:
        return fit_destination(host, private=private)
    except ValueError:
        return private or ("." in host and not host.endswith((".local", ".internal", ".localhost", ".")))


def fit_destination(address: str, *, private: bool) -> bool:
    """Whether a connection may go to this IP address: a public one, of one host.

    Raises `ValueError` for a text that is no address.
    """
    found = ipaddress.ip_address(address)
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    if private:
        return True
    hidden = any(found in network for network in _NO_DESTINATIONS if network.version == found.version)
    return found.is_global and not found.is_multicast and not found.is_reserved and not hidden
