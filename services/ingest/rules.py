"""Pure decisions of ingest: digests of content and keys, sequences that nobody gave, receipts, who gets a sequence."""

import dataclasses
import re
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from todoke.relay.clock import UUID7_TIME_SHIFT
from todoke.relay.manifest import ManifestFile
from todoke.relay.seal import hashed_key
from todoke.relay.submission import MessageBody, made_sequence

IDEMPOTENCY_KEY = re.compile(r"[!-~]{1,64}")
"""1 to 64 visible ASCII characters."""

CANDIDATES = 64
"""Seconds that are tried for a sequence nobody gave, from the present one on: a burst of messages to one recipient."""


@dataclasses.dataclass(frozen=True, slots=True)
class HmacKeys:
    """The keys of the three digests that tables and events carry instead of what they digest."""

    idempotency: bytes
    sequence: bytes
    content: bytes

    def key(self, sender: str, idempotency_key: str) -> bytes:
        """Digest of a client's idempotency key (32 bytes)."""
        return hashed_key(self.idempotency, sender, idempotency_key)

    def sequence_of(self, sender: str, recipient: str, sequence: str) -> bytes:
        """Digest of a sequence between two offices (32 bytes)."""
        return hashed_key(self.sequence, sender, recipient, sequence)

    def content_of(self, sender: str, body: MessageBody, files: Iterable[ManifestFile]) -> bytes:
        """Digest of what a request says: canonical message, then names, sizes and hashes in their order (32 bytes)."""
        parts: list[str | bytes] = [sender, body.canonical()]
        for file in files:
            parts += [file.name, str(file.size), file.sha256]
        return hashed_key(self.content, *parts)


def sequence_candidates(now: datetime, start: int = 0) -> list[str]:
    """Sequences from the clock: the present second and those after it."""
    return [made_sequence(now + timedelta(seconds=start + step)) for step in range(CANDIDATES)]


BATCH_SPAN = timedelta(minutes=10)
"""The ids of messages that share an object are made within so long of the id that names it."""


def behind(message_id: UUID) -> UUID:
    """An id behind all that were made together with this one."""
    return UUID(int=message_id.int + (int(BATCH_SPAN.total_seconds() * 1000) << UUID7_TIME_SHIFT))


def may_use(live: Sequence[UUID], *, allow_resend: bool) -> bool:
    """Whether a sequence used by these live messages may be used once more."""
    return allow_resend or not live
