"""Pure decisions of storage: numbers, what may still be handed out, and the rules of HTTP about ranges and names."""

import dataclasses
import hmac
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Literal, TypeAlias
from urllib.parse import quote
from uuid import UUID

from todoke.events import Part
from todoke.relay.clock import in_japan

# --- delivery numbers -------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True)
class Counter:
    """The last number of a recipient and its time; 0 and None before the first."""

    last_no: int
    last_at: datetime | None


@dataclasses.dataclass(frozen=True, slots=True)
class Number:
    """A delivery number and the time of the delivery."""

    delivery_no: int
    delivered_at: datetime


def numbered(message_ids: Sequence[UUID], counter: Counter, now: datetime) -> dict[UUID, Number]:
    """The next numbers for these messages of one recipient, in order; no time is earlier than the number before has.

    The clock of another process may have been ahead when it drew the last number.
    """
    at = now if counter.last_at is None else max(now, counter.last_at)
    return {key: Number(number, at) for number, key in enumerate(message_ids, counter.last_no + 1)}


# --- what may still be done -------------------------------------------------------------------------------------------


def gone(*, sender: bool, status: str | None, erased: bool) -> str | None:
    """The code that says why content is not handed out any more, or None.

    The sender keeps access until the content is erased; the recipient's ends with recall and expiry. `status` is the
    delivery's (None before it).
    """
    if erased:
        return "TDK-ERASED"
    if not sender and status in ("recalled", "expired"):
        return f"TDK-{status.upper()}"
    return None


Receipt: TypeAlias = Literal["again", "now"]


def receipt_outcome(status: str, *, erased: bool, hashes_match: bool) -> Receipt | str:
    """What becomes of a receipt: `now`, `again` (the one that was given), or the code of its refusal."""
    if erased or status in ("recalled", "expired"):
        return "TDK-NOT-RECEIVABLE"
    if not hashes_match:
        return "TDK-HASH-MISMATCH"
    return "again" if status == "downloaded" else "now"


Recall: TypeAlias = Literal["again", "now", "requested"]


def recall_outcome(status: str | None, cause: str | None) -> Recall | str:
    """What becomes of a recall: `now`, `requested` (before the arrival), `again`, or the code of its refusal.

    `status` is the delivery's (None before it), `cause` how the message ended (None if it did not).
    """
    if status == "recalled":
        return "again"
    if status == "delivered":
        return "now"
    if status == "downloaded":
        return "TDK-ALREADY-DOWNLOADED"
    return "requested" if cause is None else "TDK-NOT-RECALLABLE"


def same_hashes(given: Sequence[str], expected: Sequence[str]) -> bool:
    """Whether the hashes (hexadecimal) are the files' in their order; wherever they differ, it takes as long."""
    if len(given) != len(expected):
        return False
    return hmac.compare_digest("\n".join(given).lower().encode(), "\n".join(expected).encode())


def shown_time(moment: datetime) -> str:
    """A moment as an office reads it, in Japan time: `11月22日 9:05`."""
    there = in_japan(moment)
    return f"{there.month}月{there.day}日 {there.hour}:{there.minute:02}"


# --- HTTP -------------------------------------------------------------------------------------------------------------

_RANGE = re.compile(r"bytes[ \t]*=[ \t]*(?P<first>[0-9]{0,18})-(?P<last>[0-9]{0,18})", re.IGNORECASE | re.ASCII)
_ENTITY_TAG = re.compile(r'(?:W/)?"([\x21\x23-\x7e\x80-\xff]*)"')
_ATTRIBUTE_CHARACTERS = "!#$&+-.^_`|~"
"""Besides letters and digits what RFC 8187 section 3.2.1 leaves unencoded."""

_CONTENT_TYPES = {"pdf": "application/pdf", "jpg": "image/jpeg", "jpeg": "image/jpeg", "png": "image/png"}


class Unsatisfiable(Exception):  # noqa: N818 (the term of RFC 9110)
    """The range lies behind the end (416)."""


@dataclasses.dataclass(frozen=True, slots=True)
class ByteRange:
    """Bytes from `start` up to and without `end`."""

    start: int
    end: int


def requested_range(field: str | None, if_range: str | None, etag: str, size: int) -> ByteRange | None:
    """The one range that a request asks for, or None when the whole is to be sent (RFC 9110 section 14.2).

    Several ranges, another unit and a field that makes no sense are passed over, as the section allows; so is any range
    when `If-Range` names another content than the one at hand. `etag` comes with its quotes.

    Raises `Unsatisfiable` for a range behind the end.
    """
    if field is None or (if_range is not None and if_range.strip() != etag):
        return None
    found = _RANGE.fullmatch(field.strip())
    if found is None or not (found["first"] or found["last"]):
        return None
    if not found["first"]:
        start, end = max(0, size - int(found["last"])), size
    else:
        start = int(found["first"])
        end = min(size, int(found["last"]) + 1) if found["last"] else size
        if found["last"] and int(found["last"]) < start:
            return None
    if start >= size or start >= end:
        raise Unsatisfiable
    return ByteRange(start, end)


def names_this(if_none_match: str | None, etag: str) -> bool:
    """Whether `If-None-Match` names the content at hand, by weak comparison (RFC 9110 sections 8.8.3.2 and 13.1.2)."""
    if if_none_match is None:
        return False
    return if_none_match.strip() == "*" or etag.strip('"') in _ENTITY_TAG.findall(if_none_match)


def content_disposition(name: str) -> str:
    """`Content-Disposition` for a download under this name (RFC 6266; `filename*` after RFC 8187).

    The plain `filename` is for programs that do not know the other: what is no plain ASCII becomes `_`.
    """
    plain = re.sub(r'[^\x20-\x7e]|["\\%]', "_", name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe=_ATTRIBUTE_CHARACTERS)}"


def content_type(part: Part, name: str) -> str:
    """The media type of a file; the standard's data files are CSV in cp932, at IANA: Windows-31J."""
    if part.role == "data":
        return "text/csv; charset=Windows-31J"
    return _CONTENT_TYPES.get(name.rpartition(".")[2].lower(), "application/octet-stream")
