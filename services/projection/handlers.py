"""Turn what was heard into the lists, their counts and the change feeds, in one transaction per batch."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from services.projection.bell import mark
from services.projection.rows import (
    FactRow,
    Ledger,
    Row,
    fact_values,
    folded,
    package_values,
    state_from,
    state_values,
)
from services.projection.rules import CHANGES_KEPT, HEARD, NUMBERED, Box, in_receive_list
from todoke.events import Delivered, Event, MessageHeld, MessageReleased, NoticePublished, NoticeWithdrawn
from todoke.relay.handler import Batch
from todoke.relay.postgres import Tx, queries

WAKE_NAMES_MAX = 390
"""Offices and messages named in one notification: twenty characters each at most, under PostgreSQL's 8,000 bytes."""

Listed = Callable[[float], None]
"""Told how many seconds after its submission a message stands in the recipient's list."""

store = queries("services.projection")


class Lists:
    """Keep both lists of every office; a repeated event changes nothing.

    With `live=False` it fills a read set that nobody sees yet: it pushes nothing, wakes nobody and measures nothing.
    """

    hears: ClassVar[tuple[type[Event], ...]] = HEARD

    def __init__(self, listed: Listed, *, live: bool = True) -> None:
        self._listed = listed
        self._live = live

    async def prepare(self, batch: Batch) -> list[FactRow]:
        """The batch as facts, each event once."""
        return list({heard.event_id: FactRow.of(heard) for heard in batch}.values())

    async def apply(self, prepared: Sequence[FactRow], tx: Tx) -> Sequence[Event]:
        """Keep the facts and let the new ones change the lists. Says nothing."""
        if not prepared:
            return ()
        new = {row["event_id"]: row for row in await store.keep_facts(tx.db, **fact_values(prepared))}
        fresh = [fact for fact in prepared if fact.event_id in new]
        if fresh:
            ledger = Ledger(feeds=self._live)
            sent = {row["message_id"] for row in new.values() if row["is_sent"]}
            await _Box("sent", tx, ledger).take(fresh, sent)
            received = {row["message_id"] for row in new.values() if row["is_received"]}
            listed = [fact for fact in fresh if in_receive_list(fact.event, fact.service)]
            await _Box("received", tx, ledger).take(listed, received)
            await _settle(ledger, tx)
            if self._live:
                tx.after_commit(lambda: self._measure(fresh, tx))
        return ()

    async def on_parked(self, subjects: Sequence[str], tx: Tx) -> None:
        """Records of these messages are parked here: their rows say 確認中."""
        await self._park(subjects, tx, parked=True)

    async def on_released(self, subjects: Sequence[str], tx: Tx) -> None:
        """They go on."""
        await self._park(subjects, tx, parked=False)

    async def _park(self, subjects: Sequence[str], tx: Tx, *, parked: bool) -> None:
        ids = [UUID(subject) for subject in subjects if _is_message(subject)]
        ledger = Ledger(feeds=self._live)
        event = MessageHeld if parked else MessageReleased
        for statement in (store.park_sent, store.park_received):
            for row in await statement(tx.db, ids=ids, parked=parked):
                ledger.saw(row["office"], row["message_id"])
                if row["listed"]:
                    ledger.push(row["office"], event.type_name(), row["message_id"], None, tx.now)
        if ledger.versions:
            await _settle(ledger, tx)

    def _measure(self, fresh: Sequence[FactRow], tx: Tx) -> None:
        now = tx.ports.clock.now()
        for fact in fresh:
            if isinstance(fact.event, Delivered):
                self._listed((now - fact.event.package.submitted_at).total_seconds())


class OperatorsWord:
    """Keep what operators say of the whole system with a notice; other notices are the registry's own business."""

    hears: ClassVar[tuple[type[Event], ...]] = (NoticePublished, NoticeWithdrawn)

    async def prepare(self, batch: Batch) -> dict[UUID, dict[str, Any]]:
        """By notice what is known of it after this batch."""
        words: dict[UUID, dict[str, Any]] = {}
        for heard in batch:
            word = words.setdefault(heard.event.notice_id, {"withdrawn": False})
            if isinstance(heard.event, NoticeWithdrawn):
                word["withdrawn"] = True
            else:
                word |= {name: getattr(heard.event, name) for name in ("published_at", "state", "until")}
        return words

    async def apply(self, prepared: Mapping[UUID, Mapping[str, Any]], tx: Tx) -> Sequence[Event]:
        """One upsert of those that carry a state, or may have; says nothing."""
        kept = {
            notice: word
            for notice, word in sorted(prepared.items())
            if word["withdrawn"] or word.get("state") is not None
        }
        await store.keep_word(
            tx.db,
            notices=list(kept),
            published_ats=[word.get("published_at") for word in kept.values()],
            states=[word.get("state") for word in kept.values()],
            untils=[word.get("until") for word in kept.values()],
            withdrawns=[word["withdrawn"] for word in kept.values()],
        )
        return ()


class _Box:
    """One of the two lists, while a batch goes into it."""

    def __init__(self, box: Box, tx: Tx, ledger: Ledger) -> None:
        self._box: Box = box
        self._tx = tx
        self._ledger = ledger

    async def take(self, facts: Sequence[FactRow], known: AbstractSet[UUID]) -> None:
        """Merge the facts into the rows: new rows first, then the others under their locks, both in key order.

        `known` are the messages that were seen to have a row.

        Inserting comes before locking: whoever inserts holds no row lock yet, so two batches that meet cannot wait for
        each other.
        """
        if not facts:
            return
        rows = folded(facts)
        bounds = {"low": rows[0].message_id, "high": rows[-1].message_id}
        await self._add([row for row in rows if row.message_id not in known])
        await self._merge([row for row in rows if row.was is None], bounds)
        await self._push(facts, {row.message_id: row for row in rows}, bounds)

    async def _add(self, rows: Sequence[Row]) -> None:
        """Insert rows; one that another transaction inserted meanwhile is left for merging."""
        if not rows:
            return
        values = {
            **package_values(rows),
            **state_values(rows, self._box),
            "senders": [row.sender for row in rows],
            "recipients": [row.recipient for row in rows],
        }
        added = {found["message_id"] for found in await self._run("add", **values)}
        for row in rows:
            if row.message_id in added:
                row.was = "absent"
                self._count(row, None)

    async def _merge(self, rows: Sequence[Row], bounds: Mapping[str, UUID]) -> None:
        """Merge into rows that are there, under their locks."""
        if not rows:
            return
        by_id = {row.message_id: row for row in rows}
        changed = []
        for record in await self._run("lock", ids=_ids(rows), **bounds):
            row = by_id[record["message_id"]]
            before = state_from(record)
            row.was = "listed" if record["listed"] else "unlisted"
            row.state |= before
            if row.state != before:
                changed.append(row)
            self._count(row, before.status if record["listed"] else None)
        if changed:  # a fact that comes after later ones, as most do when topics are heard anew, says nothing new
            await self._run("change", **state_values(changed, self._box), **bounds)
        completed = [row for row in rows if row.was == "unlisted" and row.package is not None]
        if completed:
            await self._run("complete", **package_values(completed), **bounds)

    def _count(self, row: Row, before: str | None) -> None:
        if row.listed:
            self._ledger.moved(self._box, self._office(row), before, row.state.status)

    async def _push(self, facts: Sequence[FactRow], rows: Mapping[UUID, Row], bounds: Mapping[str, UUID]) -> None:
        """Write the facts into the feed: at once for listed rows, all of them when a row comes into the list late."""
        for fact in facts:
            row = rows[fact.event.message_id]
            self._ledger.saw(self._office(row), row.message_id)
            if row.listed and not row.late:
                self._say(row, fact.event.type_name(), fact.at)
        late = [row.message_id for row in rows.values() if row.late]
        if late and self._ledger.feeds:
            for found in await store.facts_of_messages(self._tx.db, ids=late, box=self._box, **bounds):
                self._say(rows[found["message_id"]], found["type"], found["at"])

    def _say(self, row: Row, type_name: str, at: datetime) -> None:
        number = row.state.delivery_no if type_name in NUMBERED else None
        self._ledger.push(self._office(row), type_name, row.message_id, number, at)

    def _office(self, row: Row) -> str:
        return row.sender if self._box == "sent" else row.recipient

    def _run(self, verb: str, **values: Any) -> Awaitable[Any]:
        statement: Callable[..., Awaitable[Any]] = getattr(store, f"{verb}_{self._box}")
        return statement(self._tx.db, **values)


def _ids(rows: Sequence[Row]) -> list[UUID]:
    return [row.message_id for row in rows]


async def _settle(ledger: Ledger, tx: Tx) -> None:
    """Write counts and versions; for the lists that people see also the feeds, and wake those who wait."""
    names = [*ledger.versions, *(mark(*message) for message in ledger.messages)] if ledger.feeds else []
    wakes = [" ".join(names[at : at + WAKE_NAMES_MAX]) for at in range(0, len(names), WAKE_NAMES_MAX)]
    drawn = await store.settle(tx.db, **ledger.values(), wakes=wakes)
    long = [(row["office"], row["change_no"] - CHANGES_KEPT) for row in drawn if (row["change_no"] or 0) > CHANGES_KEPT]
    if long:
        await store.trim_changes(tx.db, offices=[office for office, _ in long], upto=[upto for _, upto in long])


def _is_message(subject: str) -> bool:
    """Whether a parked subject is a message id (else an office number, or unreadable)."""
    try:
        UUID(subject)
    except ValueError:
        return False
    return True
