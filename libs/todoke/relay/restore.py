"""What a service gives so that it can be mended when its database is older than its topic, or its objects are missing.

The kit (`todoke.relay.reconcile`) finds out what is missing and puts events back into the journal. Only the service
knows which rows its own events stand for (`Restore`), and which objects its rows name (`Inspect`).
"""

import dataclasses
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Literal, TypeAlias

from todoke.events import Event
from todoke.relay.postgres import Tx


@dataclasses.dataclass(frozen=True, slots=True)
class Said:
    """An event that this service said once and has forgotten; `recorded_at` is when it was said (UTC)."""

    event: Event
    recorded_at: datetime


@dataclasses.dataclass(frozen=True, slots=True, order=True)
class Unhealed:
    """Something that could not be mended: what kind of thing, and its message id, office number or place in the log."""

    kind: str
    subject: str


Restore: TypeAlias = Callable[[Sequence[Said], Tx], Awaitable[Sequence[Unhealed]]]
"""Set up again the rows that these events of the service's own stand for, in the transaction that journals them.

Events of one key come in the order they were said. Rows that are there already stay; what contradicts them, or needs
what no event carries, is answered.
"""


@dataclasses.dataclass(frozen=True, slots=True)
class Look:
    """How far to look: at the newest objects only, at those since a moment, or at all of them."""

    depth: Literal["newest", "since", "all"]
    since: datetime | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Inspection:
    """How many objects (or rows that name some) were looked at, which are missing, and how many nothing names."""

    looked_at: int
    unhealed: Sequence[Unhealed] = ()
    orphans: int = 0


Inspect: TypeAlias = Callable[[Look], Awaitable[Inspection | None]]
"""Compare rows and objects. Nothing when this service has nothing to compare so far. Raises `Transient`."""
