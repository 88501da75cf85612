"""Ends of messages free their sequences."""

from collections.abc import Sequence
from typing import ClassVar
from uuid import UUID

from todoke.events import Event, MessageDiscarded, MessageRejected, MessageUndeliverable, Recalled
from todoke.relay.handler import Batch
from todoke.relay.postgres import Statements, Tx, queries

_sql: Statements = queries("services.ingest")


class FreeSequences:
    """A message that was rejected, undeliverable, discarded or recalled does not use its sequence any more."""

    hears: ClassVar[tuple[type[Event], ...]] = (MessageRejected, MessageUndeliverable, MessageDiscarded, Recalled)

    async def prepare(self, batch: Batch) -> list[UUID]:
        """The ids of the messages that ended."""
        return sorted({heard.event.message_id for heard in batch})

    async def apply(self, prepared: list[UUID], tx: Tx) -> Sequence[Event]:
        """Take them off their sequences, under the rows' locks; a repeated end changes nothing."""
        if await _sql.lock_sequences_of(tx.db, message_ids=prepared):
            await _sql.free_sequences(tx.db, message_ids=prepared)
        return ()
