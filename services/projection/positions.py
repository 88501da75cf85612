"""Places in an office's lists as opaque texts: cursors, stream ids and ETags, each worthless to any other office."""

import base64
import binascii
import hmac
import struct
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from todoke.relay.problem import Problem

MAC_BYTES = 16
"""Half of SHA-256: far beyond guessing, and short in a URL."""

TEXT_CHARACTERS_MAX = 200
"""Longer texts are none of ours and are not even decoded."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SENT = struct.Struct(">qi16s")
_NUMBER = struct.Struct(">q")
_VERSION = struct.Struct(">iq")


class SentPlace(NamedTuple):
    """A row of the send list; the next page begins after it."""

    submitted_at: datetime
    place: int
    message_id: UUID


class Version(NamedTuple):
    """How far an office's lists have come: the read set, and how many facts the lists are made of there.

    The same version means the same lists. Nothing follows from the versions of two read sets.
    """

    edition: int
    facts: int


NOTHING_LISTED = Version(0, 0)
"""The version of an office that no fact was heard of yet, the same in every read set."""

NEWEST_SENT = SentPlace(datetime.max.replace(tzinfo=UTC), 2**31 - 1, UUID(int=2**128 - 1))
"""Before the first row of every send list."""

NEWEST_RECEIVED = 2**63 - 1
"""Above every delivery number."""


class Positions:
    """Writes and reads the texts; `key` is an HMAC key that all processes share."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def sent(self, office: str, place: SentPlace) -> str:
        """The cursor after a row of the send list."""
        micros = (place.submitted_at - _EPOCH) // timedelta(microseconds=1)
        return self._text(office, b"sent", _SENT.pack(micros, place.place, place.message_id.bytes))

    def read_sent(self, office: str, cursor: str | None) -> SentPlace:
        """The place of a cursor; before the first row without one. Raises `Problem` 422 `TDK-CURSOR`."""
        if cursor is None:
            return NEWEST_SENT
        micros, place, message_id = _SENT.unpack(self._payload(office, b"sent", cursor, _SENT.size))
        return SentPlace(_EPOCH + timedelta(microseconds=micros), place, UUID(bytes=message_id))

    def received(self, office: str, delivery_no: int) -> str:
        """The cursor after a row of the receive list."""
        return self._text(office, b"received", _NUMBER.pack(delivery_no))

    def read_received(self, office: str, cursor: str | None) -> int:
        """The delivery number of a cursor. Raises `Problem` 422 `TDK-CURSOR`."""
        if cursor is None:
            return NEWEST_RECEIVED
        number: int = _NUMBER.unpack(self._payload(office, b"received", cursor, _NUMBER.size))[0]
        return number

    def change(self, office: str, change_no: int) -> str:
        """The stream id of a change."""
        return self._text(office, b"change", _NUMBER.pack(change_no))

    def read_change(self, office: str, stream_id: str) -> int | None:
        """The change number of a stream id, or None when it is not one of this office."""
        try:
            number: int = _NUMBER.unpack(self._payload(office, b"change", stream_id, _NUMBER.size))[0]
        except Problem:
            return None
        return number

    def etag(self, office: str, version: Version, asked: str) -> str:
        """The strong ETag (RFC 9110 section 8.8.3) of what was `asked` (path and query) at a version of the lists."""
        return f'"{_base64(self._mac(office, b"etag", _VERSION.pack(*version), asked.encode()))}"'

    def _text(self, office: str, kind: bytes, payload: bytes) -> str:
        return _base64(payload + self._mac(office, kind, payload))

    def _payload(self, office: str, kind: bytes, text: str, length: int) -> bytes:
        raw = _unbase64(text)
        payload, mac = raw[:-MAC_BYTES], raw[-MAC_BYTES:]
        if len(payload) != length or not hmac.compare_digest(mac, self._mac(office, kind, payload)):
            raise Problem("TDK-CURSOR")
        return payload

    def _mac(self, office: str, kind: bytes, *parts: bytes) -> bytes:
        pieces = (kind, office.encode(), *parts)
        framed = b"".join(len(piece).to_bytes(4) + piece for piece in pieces)
        return hmac.digest(self._key, framed, "sha256")[:MAC_BYTES]


def matches(etag: str, if_none_match: str | None) -> bool:
    """Whether `If-None-Match` names this ETag (RFC 9110 section 13.1.2: weak comparison, a list, or `*`)."""
    if if_none_match is None:
        return False
    named = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return "*" in named or etag in named


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def _unbase64(text: str) -> bytes:
    if len(text) > TEXT_CHARACTERS_MAX:
        return b""
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return b""
