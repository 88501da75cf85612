"""The records of a service's own topic, as reconciliation reads them, and the marks that say how far the topic goes."""

import dataclasses
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID, uuid5

from todoke.events import Event, Headers, Undecodable, decode, read_headers, type_of
from todoke.events.envelope import OFFICE_NAMESPACE, TYPE_PREFIX
from todoke.relay.parking import Raw

Bounds = Mapping[int, tuple[int, int]]
"""First offset and end offset of each partition."""


@dataclasses.dataclass(frozen=True, slots=True)
class Mark:
    """The last record of a partition that Kafka acknowledged: `next` is the offset after it, `append_time` in ms.

    `first` is where the log began when it was last compared; `suspect` says that it went on below its mark.
    """

    first: int = 0
    next: int = 0
    event_id: str | None = None
    append_time: int | None = None
    suspect: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Line:
    """One record as the journal would hold it: its headers, its subject as the journal keys it, the record itself."""

    headers: Headers
    subject_id: UUID
    about_message: bool
    raw: Raw

    def has_body(self) -> bool:
        """Whether the body is JSON: the journal holds nothing else."""
        try:
            json.loads(self.raw.value or b"")
        except ValueError:
            return False
        return True

    def event(self) -> Event | None:
        """What it says, None when this program cannot tell (an event of a newer release)."""
        try:
            return decode(self.headers, self.raw.value or b"")
        except Undecodable:
            return None

    def type_name(self) -> str:
        """The event's name, also of a type this program does not know."""
        known = type_of(self.headers.wire_type)
        if known is not None:
            return known.type_name()
        return "".join(word.capitalize() for word in self.headers.wire_type.removeprefix(TYPE_PREFIX).split("-"))


def line_of(raw: Raw) -> Line | None:
    """A record as a line of the journal, None when its key or headers make no sense."""
    try:
        headers = read_headers(raw.headers)
    except Undecodable:
        return None
    if raw.key is None or re.fullmatch(rb"[0-9A-Za-z-]{1,64}", raw.key) is None:
        return None
    try:
        return Line(headers, UUID(headers.subject), about_message=True, raw=raw)
    except ValueError:  # an office number, or another subject that is no message
        return Line(headers, uuid5(OFFICE_NAMESPACE, headers.subject), about_message=False, raw=raw)


def mismatch(marks: Mapping[int, Mark], bounds: Bounds) -> str | None:
    """Why the topic cannot be the one that the marks are about, None when nothing speaks against it.

    Retention never moves the beginning of a topic so far (`retention.ms=-1`): where a log begins later than it did,
    records were deleted.
    """
    for partition in sorted(marks.keys() | bounds.keys()):
        mark, (first, end) = marks.get(partition, Mark()), bounds.get(partition, (0, 0))
        if mark.suspect:
            return "the log went on below its mark"
        if end < mark.next:
            return "the log ends before its mark"
        if first > mark.first:
            return "the log begins later than before"
    return None


def is_witness(mark: Mark, raw: Any) -> bool | None:
    """Whether the record below a mark is the one that was acknowledged; None for a record that stands elsewhere."""
    if raw.offset != mark.next - 1:
        return None
    found = next((value for name, value in raw.headers if name == "ce_id" and value is not None), b"")
    return found.decode("ascii", "replace") == mark.event_id and raw.timestamp == mark.append_time


class Numbers:
    """A set of numbers of the journal: dense and many, so one bit each (100 million are 12.5 MB)."""

    def __init__(self, numbers: Iterable[int] = ()) -> None:
        self._bits = bytearray()
        self.add(numbers)

    def add(self, numbers: Iterable[int]) -> None:
        """Take numbers in."""
        for number in numbers:
            at = number >> 3
            if at >= len(self._bits):
                self._bits.extend(bytes(at + 1 - len(self._bits) + (len(self._bits) >> 3)))
            self._bits[at] |= 1 << (number & 7)

    def __contains__(self, number: int) -> bool:
        """Whether the number was taken in."""
        at = number >> 3
        return at < len(self._bits) and bool(self._bits[at] >> (number & 7) & 1)
