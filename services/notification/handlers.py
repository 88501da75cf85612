"""What notification does with what it hears: it queues news for those who asked, and forgets people who left."""

import dataclasses
from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar
from uuid import UUID

from services.notification import rules
from services.notification.rules import News
from todoke.events import (
    Delivered,
    Downloaded,
    Event,
    Expired,
    MessageDiscarded,
    MessageRejected,
    MessageUndeliverable,
    OfficeStateEvent,
    Recalled,
    ReminderDue,
    UserChanged,
)
from todoke.relay.directory import DirectoryKeeper
from todoke.relay.handler import Batch
from todoke.relay.postgres import Statements, Tx, queries


@dataclasses.dataclass(frozen=True, slots=True)
class Item:
    """Something to tell one office, and when it happened."""

    event_id: UUID
    news: News
    occurred_at: datetime


@dataclasses.dataclass(frozen=True, slots=True)
class Folded:
    """A batch: what began to wait, what waits no more, and what is to be told."""

    delivered: tuple[Delivered, ...]
    ended: tuple[UUID, ...]
    items: tuple[Item, ...]


class Announce:
    """Queue the news of a batch; nothing leaves the house here. A replay queues nothing."""

    hears: ClassVar[tuple[type[Event], ...]] = (
        Delivered,
        Downloaded,
        Recalled,
        Expired,
        ReminderDue,
        MessageRejected,
        MessageUndeliverable,
        MessageDiscarded,
    )

    def __init__(self, *, mails: bool) -> None:
        self._mails = mails
        self._sql: Statements = queries("services.notification")

    async def prepare(self, batch: Batch) -> Folded:
        """Sort the batch; nothing slow happens here."""
        return Folded(
            delivered=tuple(heard.event for heard in batch if isinstance(heard.event, Delivered)),
            ended=tuple(
                heard.event.message_id for heard in batch if isinstance(heard.event, Downloaded | Recalled | Expired)
            ),
            items=tuple(
                Item(heard.event_id, news, heard.time)
                for heard in batch
                if not heard.replay
                for news in rules.news_of(heard.event)
            ),
        )

    async def apply(self, prepared: Folded, tx: Tx) -> Sequence[Event]:
        """A statement per table; says nothing."""
        if prepared.delivered:
            await self._sql.note_delivered(
                tx.db,
                message_ids=[event.message_id for event in prepared.delivered],
                senders=[event.sender for event in prepared.delivered],
                recipients=[event.recipient for event in prepared.delivered],
                times=[event.delivered_at for event in prepared.delivered],
            )
        if prepared.ended:
            await self._sql.note_ended(tx.db, message_ids=sorted(prepared.ended))
        fresh = [item for item in prepared.items if tx.now - item.occurred_at <= rules.OLDEST_TOLD]
        if fresh:
            await self._queue(fresh, tx)
        return ()

    async def _queue(self, items: Sequence[Item], tx: Tx) -> None:
        await self._sql.queue_events(
            tx.db,
            event_ids=[item.event_id for item in items],
            offices=[item.news.office for item in items],
            events=[item.news.told for item in items],
            message_ids=[item.news.message_id for item in items],
            partners=[item.news.partner for item in items],
            delivery_nos=[item.news.delivery_no for item in items],
            times=[item.occurred_at for item in items],
            now=tx.now,
            mail_linger=rules.MAIL_LINGER,
            mails=self._mails,
        )


@dataclasses.dataclass(frozen=True, slots=True)
class Staff:
    """A batch of the registry's events: states of offices, and people who left (office, user id)."""

    offices: Sequence[OfficeStateEvent]
    gone: tuple[tuple[str, str], ...]


class KeepOffices:
    """Keep the directory's copy, and the settings of those people only who still belong to their office."""

    hears: ClassVar[tuple[type[Event], ...]] = (*DirectoryKeeper.hears, UserChanged)

    def __init__(self) -> None:
        self._directory = DirectoryKeeper()
        self._sql: Statements = queries("services.notification")

    async def prepare(self, batch: Batch) -> Staff:
        """Tell states of offices from changes of people; a person's newest change counts."""
        newest: dict[tuple[str, str], UserChanged] = {}
        for heard in batch:
            event = heard.event
            if isinstance(event, UserChanged):
                known = newest.get((event.office, event.user_id))
                if known is None or known.version < event.version:
                    newest[event.office, event.user_id] = event
        return Staff(
            offices=await self._directory.prepare(
                [heard for heard in batch if isinstance(heard.event, OfficeStateEvent)]
            ),
            gone=tuple(sorted(who for who, event in newest.items() if event.state == "ended")),
        )

    async def apply(self, prepared: Staff, tx: Tx) -> Sequence[Event]:
        """Says nothing."""
        if prepared.offices:
            await self._directory.apply(prepared.offices, tx)
        if prepared.gone:
            gone = {"offices": [who[0] for who in prepared.gone], "users": [who[1] for who in prepared.gone]}
            await self._sql.forget_users(tx.db, **gone)
            await self._sql.forget_choices(tx.db, **gone)
        return ()
