"""What routing does with accepted messages."""

from collections.abc import Sequence
from typing import ClassVar

from services.routing.rules import ROUTED, verdict
from todoke.events import Actor, Event, MessageAccepted, MessageRouted, MessageUndeliverable
from todoke.relay.directory import Directory
from todoke.relay.handler import Batch
from todoke.relay.postgres import Database, Statements, Tx, queries

_SYSTEM = Actor(kind="system", id="routing")


class Route:
    """Say of each accepted message whether its recipient may have it; say nothing of a repeated one."""

    hears: ClassVar[tuple[type[Event], ...]] = (MessageAccepted,)

    def __init__(self, database: Database, directory: Directory) -> None:
        self._database = database
        self._directory = directory
        self._sql: Statements = queries("services.routing")

    async def prepare(self, batch: Batch) -> list[MessageAccepted]:
        """The accepted messages, once the directory is at least as new as ingest's was when it took them.

        Raises `NotYet` until then: judged earlier, a right number would be undeliverable.
        """
        accepted: list[MessageAccepted] = [heard.event for heard in batch]
        await self._directory.require(
            self._database,
            {(event.sender, event.sender_version) for event in accepted}
            | {(event.recipient, event.recipient_version) for event in accepted},
        )
        return accepted

    async def apply(self, prepared: list[MessageAccepted], tx: Tx) -> Sequence[Event]:
        """Write down the verdicts that are new, and say them."""
        offices = await self._directory.get(
            tx.db, {office for event in prepared for office in (event.sender, event.recipient)}
        )
        verdicts = {event.message_id: verdict(event, offices) for event in prepared}
        claimed = await self._sql.claim(
            tx.db,
            message_ids=[event.message_id for event in prepared],
            senders=[event.sender for event in prepared],
            recipients=[event.recipient for event in prepared],
            verdicts=[verdicts[event.message_id] for event in prepared],
            decided_at=tx.now,
        )
        fresh = {row["message_id"] for row in claimed}
        return [
            self._said(event, verdicts[event.message_id], tx)
            for event in {event.message_id: event for event in prepared}.values()
            if event.message_id in fresh
        ]

    @staticmethod
    def _said(accepted: MessageAccepted, judged: str, tx: Tx) -> Event:
        if judged == ROUTED:
            return MessageRouted(
                actor=_SYSTEM,
                message_id=accepted.message_id,
                sender=accepted.sender,
                recipient=accepted.recipient,
                package=accepted.package,
                counts=accepted.counts,
            )
        return MessageUndeliverable(
            actor=_SYSTEM,
            message_id=accepted.message_id,
            sender=accepted.sender,
            recipient=accepted.recipient,
            reason=judged,
            decided_at=tx.now,
        )
