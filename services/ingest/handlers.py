"""What others say makes ingest let go: ends of messages free their sequences, the end of a month its key."""

import dataclasses
from collections.abc import Sequence
from typing import ClassVar
from uuid import UUID

from todoke.events import Event, KeyEpochDestroyed, MessageDiscarded, MessageRejected, MessageUndeliverable, Recalled
from todoke.relay.handler import Batch
from todoke.relay.postgres import Statements, Tx, queries
from todoke.relay.seal import DESTROYED

_sql: Statements = queries("services.ingest")


@dataclasses.dataclass(frozen=True, slots=True)
class Over:
    """Messages that ended, and months whose key was destroyed."""

    messages: list[UUID]
    epochs: list[str]


class LetGo:
    """A message that was rejected, undeliverable, discarded or recalled does not use its sequence any more.

    A month's key that storage destroyed must not stand here either.
    """

    hears: ClassVar[tuple[type[Event], ...]] = (
        MessageRejected,
        MessageUndeliverable,
        MessageDiscarded,
        Recalled,
        KeyEpochDestroyed,
    )

    async def prepare(self, batch: Batch) -> Over:
        """What ended."""
        epochs = {heard.event.epoch for heard in batch if isinstance(heard.event, KeyEpochDestroyed)}
        messages = {heard.event.message_id for heard in batch if not isinstance(heard.event, KeyEpochDestroyed)}
        return Over(sorted(messages), sorted(epochs))

    async def apply(self, prepared: Over, tx: Tx) -> Sequence[Event]:
        """Take messages off their sequences, under the rows' locks; a repeated end changes nothing."""
        if prepared.messages and await _sql.lock_sequences_of(tx.db, message_ids=prepared.messages):
            await _sql.free_sequences(tx.db, message_ids=prepared.messages)
        for epoch in prepared.epochs:
            await _sql.correct_month_key(tx.db, epoch=epoch, wrapped=DESTROYED)
        return ()
