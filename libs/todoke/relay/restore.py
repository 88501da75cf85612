"""What a service gives so that it can be mended when its database is older than its topic, or its objects are missing.

The kit (`todoke.relay.reconcile`) finds out what is missing and puts events back into the journal. Only the service
knows which rows its own events stand for (`Restore`), and which objects its rows name (`Inspect`).
"""

import dataclasses
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Literal, TypeAlias

from todoke.events import Event
from todoke.relay.postgres import Tx


@dataclasses.dataclass(frozen=True, slots=True)
class Said:
    """An event that this service said once and has forgotten; `recorded_at` is when it was said (UTC)."""

    event: Event
    recorded_at: datetime


Kind: TypeAlias = Literal[
    "another delivery number",
    "another end",
    "application without contact",
    "bundle without submission",
    "key of another message",
    "notice without words",
    "object missing",
    "office without password",
    "person without name and password",
    "unknown event",
    "unreadable",
]
"""What there is that cannot be mended."""

ADVICE: Mapping[Kind, str] = {
    "another delivery number": "The recipient has seen this message under another number than the database now holds. "
    "Nothing is lost. Tell the recipient to fetch by message id; a newer copy of the database has the right number.",
    "another end": "The topic says that this message ended otherwise than the database does. Trace it (ops trace): the "
    "earlier event is what the offices were told. Restore a newer copy of the database, or tell both offices.",
    "application without contact": "This office applied after the copy of the database was made; whom to ask about it "
    "is not in the log. Ask the office to apply again; if it was approved, its licence is there already.",
    "bundle without submission": "Sealed contents that no submission names, from the time that a restored database has "
    "forgotten. Their sender may hold a receipt: ask the senders of that time to send again what they do not find in "
    "their list. The objects are swept after seven days once a comparison of everything is clean.",
    "key of another message": "This message was accepted under an Idempotency-Key that the restored database has given "
    "to another one meanwhile. Both are kept. Tell the sender that both were sent, to recall one that was not meant.",
    "notice without words": "This notice was published after the copy of the database was made; its words are not in "
    "the log. Publish it again if it still holds.",
    "object missing": "The contents of this message are not in object storage. Put the object back from a copy of the "
    "bucket; otherwise discard the message where it is held (todoke ops parked), and ask its sender to send it again.",
    "office without password": "This office was registered after the copy of the database was made; its passwords are "
    "not in the log. Issue it new ones.",
    "person without name and password": "This person was added after the copy of the database was made; name and "
    "password are not in the log. Have an administrator of the office enter the person again.",
    "unknown event": "A record of a kind that this program does not know: a newer version has said it. Start that "
    "version again; it must not be run beside this one.",
    "unreadable": "A record (partition/offset) of this service's own topic that nobody can read and its journal does "
    "not hold: somebody else writes there, or a disk is damaged. Find out who; it is named for as long as it is there.",
}
"""What an operator does about each."""


@dataclasses.dataclass(frozen=True, slots=True, order=True)
class Unhealed:
    """Something that could not be mended: what kind of thing, and its message id, office number or place in the log."""

    kind: Kind
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
