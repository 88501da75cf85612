"""One object per message: its sealed parts one behind the other, each readable on its own with one range GET."""

import dataclasses
from collections.abc import Sequence

from todoke.relay.objects import Objects


@dataclasses.dataclass(frozen=True, slots=True)
class Span:
    """Where one sealed part lies in its bundle, in bytes."""

    offset: int
    length: int

    @property
    def end(self) -> int:
        """The offset behind its last byte."""
        return self.offset + self.length


def build_bundle(parts: Sequence[bytes], at: int = 0) -> tuple[bytes, list[Span]]:
    """The sealed parts joined, and the span of each; `at` is where they begin in an object that several share."""
    spans = []
    for part in parts:
        spans.append(Span(at, len(part)))
        at += len(part)
    return b"".join(parts), spans


async def read_parts(objects: Objects, key: str, spans: Sequence[Span]) -> list[bytes]:
    """The sealed parts of one message (its spans follow on each other) with a single request, in the order asked for.

    Raises:
        ObjectMissing: the bundle is gone or shorter than the spans say.
        ObjectsAway: object storage does not answer.
    """
    if not spans:
        return []
    start = min(span.offset for span in spans)
    content = await objects.get_range(key, start, max(span.end for span in spans) - start)
    return [content[span.offset - start : span.end - start] for span in spans]
