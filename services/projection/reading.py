"""What an office may read of its lists and messages. Every transaction is short and runs under row-level security."""

import asyncio
import dataclasses
import json
import unicodedata
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Protocol, TypeAlias, TypeVar
from uuid import UUID

from services.projection.bell import Bell, mark
from services.projection.items import Opener, Record, item_of, stub_of
from services.projection.positions import NOTHING_LISTED, Positions, SentPlace, Version
from services.projection.rules import RANKS, RECEIVED_STATUSES, TIMELINE, Box, Status, sender_acted
from services.projection.shapes import (
    By,
    ChangeItem,
    Changes,
    Counts,
    Evidence,
    EvidenceEvent,
    EvidenceFile,
    Filters,
    Item,
    MessageAnswer,
    Page,
    Receipts,
    ReceivedQuery,
    SearchBody,
    SentQuery,
    SincePage,
    Stub,
    TimelineEntry,
    Verdict,
)
from services.projection.wording import verdict_of
from todoke.relay.clock import Ports, time_of
from todoke.relay.limits import SEARCHED_MAX
from todoke.relay.manifest import Manifest
from todoke.relay.policy import Caller, lists_findings
from todoke.relay.postgres import Database, Tx, queries
from todoke.relay.problem import Problem

LOOK_AGAIN_SECONDS = 1.0
"""While a request waits for a row, it looks so often even when nobody rings: its ear may be lost for a moment."""

YOUNG_SECONDS = 60
"""For a message younger than this a reader waits a little instead of being told 404."""

AHEAD = timedelta(days=1)
"""No message id is newer than this from now: it keeps the partitions of coming months out of every list's plan."""

SEARCH_ROWS = 250
"""Rows that a search reads and opens at a time, about 5 ms of work: others get their turn in between."""

_KATAKANA = range(0x30A1, 0x30F7)
_TO_HIRAGANA = {code: code - 0x60 for code in _KATAKANA}

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

Held: TypeAlias = Callable[[Version], bool]
"""Whether the client has what it asks for, as of a version."""

Listed: TypeAlias = tuple[Version, T | None]
"""The version of the office's lists, and what was asked for unless the client holds it."""

reads = queries("services.projection", "reads.sql")


class _Look(Protocol[T_co]):
    """Looks for something once; `last` says that the time is over."""

    async def __call__(self, tx: Tx, *, last: bool) -> T_co | None:
        """What it finds."""
        ...


class Reading:
    """Everything that the HTTP side reads."""

    def __init__(self, db: Database, opener: Opener, positions: Positions, bell: Bell, wait_seconds_max: float) -> None:
        self._db = db
        self._opener = opener
        self._positions = positions
        self._bell = bell
        self._ports: Ports = db.ports
        self._wait_seconds_max = wait_seconds_max

    # --- lists --------------------------------------------------------------------------------------------------------

    async def sent(self, office: str, query: SentQuery, held: Held) -> Listed[Page]:
        """A page of the send list. Raises `Problem` 422 `TDK-CURSOR`."""
        after, limit = self._positions.read_sent(office, query.cursor), query.limit
        version, rows = await self._listed(
            office,
            held,
            lambda tx: self._sent_rows(tx, office, query, limit + 1, after),
            _goal("sent", query.wait_for),
        )
        if rows is None:
            return version, None
        items = await self._opener.items(rows[:limit], "sent")
        more = len(rows) > limit
        return version, Page(items=items, next=self._positions.sent(office, _place(rows[limit - 1])) if more else None)

    async def received(self, office: str, query: ReceivedQuery, held: Held) -> Listed[Page]:
        """A page of the receive list. Raises `Problem` 422 `TDK-CURSOR`."""
        below, limit = self._positions.read_received(office, query.cursor), query.limit
        version, rows = await self._listed(
            office,
            held,
            lambda tx: self._received_rows(tx, office, query, limit + 1, below),
            _goal("received", query.wait_for),
        )
        if rows is None:
            return version, None
        items = await self._opener.items(rows[:limit], "received")
        last = rows[limit - 1]["delivery_no"] if len(rows) > limit else None
        return version, Page(items=items, next=None if last is None else self._positions.received(office, last))

    async def since(self, office: str, query: ReceivedQuery, held: Held) -> Listed[SincePage]:
        """What was delivered after a number: every number in order, up to the first that is not there yet."""
        newest, since = self._newest(), query.since or 0
        version, rows = await self._listed(
            office,
            held,
            lambda tx: reads.received_since(tx.db, office=office, newest=newest, since=since, rows_max=query.limit),
            _goal("received", query.wait_for),
        )
        if rows is None:
            return version, None
        dense = [row for place, row in enumerate(rows, since + 1) if row["delivery_no"] == place]
        keys = await self._opener.keys(dense)
        items: list[Item | Stub] = [
            stub_of(row) or item_of(row, "received", self._opener.manifest(row, "received", keys)) for row in dense
        ]
        return version, SincePage(items=items)

    async def _listed(
        self,
        office: str,
        held: Held,
        read: Callable[[Tx], Awaitable[Sequence[Record]]],
        goal: "_Goal | None",
    ) -> tuple[Version, Sequence[Record] | None]:
        """The version of the office's lists and, unless the client holds it, rows, once the goal is reached.

        The version is read first: rows that are newer than it cost a reload, never a stale answer.
        """

        async def look(tx: Tx, *, last: bool) -> tuple[Version, Sequence[Record] | None] | None:
            if goal is not None and not last and not await goal.reached(tx, office):
                return None
            row = await reads.version(tx.db, office=office)
            version = NOTHING_LISTED if row is None else Version(row["edition"], row["version"])
            return version, None if held(version) else await read(tx)

        found = await self._awaited(office, look, None if goal is None else goal.message_id)
        if found is None:
            raise AssertionError("the last look finds")
        return found

    async def search(self, office: str, asked: SearchBody) -> Page:
        """One page of a search; at most `SEARCHED_MAX` messages are looked through, then the cursor goes on.

        Raises `Problem` 422 `TDK-CURSOR`.
        """
        words = [folded for word in asked.text.split() if (folded := fold(word))]
        found: list[Item] = []
        looked, cursor, more = 0, asked.cursor, True
        while more and looked < SEARCHED_MAX:
            rows = await self._rows(asked.box, office, asked, SEARCH_ROWS + 1, cursor)
            more = len(rows) > SEARCH_ROWS
            keys = await self._opener.keys(rows)
            for row in rows[:SEARCH_ROWS]:
                looked += 1
                cursor = self._after(asked.box, office, row)
                manifest = self._opener.manifest(row, asked.box, keys)
                if holds(words, row, manifest):
                    found.append(item_of(row, asked.box, manifest))
                if len(found) == asked.limit:
                    return Page(items=found, next=cursor)
            await asyncio.sleep(0)
        return Page(items=found, next=cursor if more else None)

    async def counts(self, office: str) -> Counts:
        """The counts as the lists' own transactions keep them."""
        async with self._db.api(office) as tx:
            rows = await reads.counts(tx.db, office=office)
        kept = {(row["box"], row["status"]): row["n"] for row in rows}
        return Counts(
            sent={status: kept.get(("sent", status), 0) for status in RANKS},
            received={status: kept.get(("received", status), 0) for status in RECEIVED_STATUSES},
        )

    async def changes(self, office: str, limit: int) -> Changes:
        """The newest entries of the office's feed."""
        async with self._db.api(office) as tx:
            rows = await reads.last_changes(tx.db, office=office, rows_max=limit)
        return Changes(items=[ChangeItem(event=r["event"], message_id=r["message_id"], at=r["at"]) for r in rows])

    # --- one message --------------------------------------------------------------------------------------------------

    async def message(self, caller: Caller, message_id: str) -> MessageAnswer:
        """A message with its timeline. Raises `Problem` 404 `TDK-NOT-FOUND`."""
        row, box = await self._one(caller.office, message_id)
        [item] = await self._opener.items([row], box)
        facts = await self._facts(caller.office, row["message_id"])
        known = {field.name: getattr(item, field.name) for field in dataclasses.fields(item)}
        return MessageAnswer(**known, timeline=_timeline(row, box, facts))

    async def findings(self, caller: Caller, message_id: str) -> Verdict:
        """What validation said. Raises `Problem`: 404 `TDK-NOT-FOUND`, 409 `TDK-NOT-JUDGED` before it has."""
        row, box = await self._one(caller.office, message_id)
        async with self._db.api(caller.office) as tx:
            said = await reads.judgement(tx.db, message_id=row["message_id"])
        if not said:
            raise Problem("TDK-NOT-JUDGED", retry_after=2)
        keys = await self._opener.keys([row])
        manifest = self._opener.manifest(row, box, keys)
        if manifest is None:
            return verdict_of("MessageAccepted", _NOTHING_FOUND, {}, listed=False)
        names = {file.n: file.name for file in manifest.files}
        return verdict_of(said[0]["type"], said[0]["detail"], names, listed=lists_findings(caller))

    async def evidence(self, caller: Caller, message_id: str) -> Evidence:
        """The record of delivery. Raises `Problem` 404 `TDK-NOT-FOUND`."""
        row, box = await self._one(caller.office, message_id)
        [item] = await self._opener.items([row], box)
        facts = await self._facts(caller.office, row["message_id"])
        sealed = {parts["n"]: parts["sealed_sha256"] for parts in json.loads(row["parts"])}
        return Evidence(
            message=item,
            files=[EvidenceFile(n=file.n, sha256=file.sha256, sealed_sha256=sealed[file.n]) for file in item.files],
            events=[
                await self._evidence_event(row, box, fact)
                for fact in facts
                if _seen(fact, box) or fact["type"] == "MessageSubmitted"
            ],
            receipts=await self._receipts(row, box, facts),
        )

    async def _one(self, office: str, text: str) -> tuple[Record, Box]:
        message_id = _message_id(text)
        if message_id is None:
            raise Problem("TDK-NOT-FOUND")

        async def look(tx: Tx, *, last: bool) -> tuple[Record, Box] | None:
            del last
            row = await reads.one_of_sent(tx.db, message_id=message_id, office=office)
            if row is not None:
                return row, "sent"
            row = await reads.one_of_received(tx.db, message_id=message_id, office=office)
            return None if row is None else (row, "received")

        young = abs(self._ports.clock.now() - time_of(message_id)) < timedelta(seconds=YOUNG_SECONDS)
        found = await self._awaited(office, look, message_id if young else None)
        if found is None:
            raise Problem("TDK-NOT-FOUND")
        return found

    async def _awaited(self, office: str, look: _Look[T], message_id: UUID | None) -> T | None:
        """What `look` finds, at once or when this message changes; its answer to the `last` look when the time is over.

        Without a message there is one look. No connection is held while waiting.
        """
        clock = self._ports.clock
        until = clock.monotonic() + (self._wait_seconds_max if message_id else 0)
        with self._bell.waiting(mark(office, message_id) if message_id else office) as bell:
            while True:
                left = until - clock.monotonic()
                async with self._db.api(office) as tx:
                    found = await look(tx, last=left <= 0)
                if found is not None or left <= 0:
                    return found
                await bell.woken(min(left, LOOK_AGAIN_SECONDS))

    async def _facts(self, office: str, message_id: UUID) -> Sequence[Record]:
        async with self._db.api(office) as tx:
            facts: Sequence[Record] = await reads.facts(tx.db, message_id=message_id)
        return facts

    async def _evidence_event(self, row: Record, box: Box, fact: Record) -> EvidenceEvent:
        detail: dict[str, Any] = json.loads(fact["detail"] or "{}")
        reason = await self._opener.reason(row, detail.get("recall_reason")) if box == "sent" else None
        return EvidenceEvent(
            id=fact["event_id"],
            type=fact["type"],
            service=fact["service"],
            at=fact["at"],
            by=_by(row, box, fact),
            reason=reason,
        )

    async def _receipts(self, row: Record, box: Box, facts: Sequence[Record]) -> Receipts:
        """Both receipts: they outlive the content, but a recall takes them from the recipient with the names."""
        if box == "received" and row["status"] == "recalled":
            return Receipts(submission=None, download=None)
        kept = {fact["type"]: json.loads(fact["detail"] or "{}").get("receipt") for fact in facts}
        return Receipts(
            submission=await self._opener.receipt(row, kept.get("MessageSubmitted")),
            download=await self._opener.receipt(row, kept.get("Downloaded")),
        )

    # --- rows ---------------------------------------------------------------------------------------------------------

    async def _rows(
        self, box: Box, office: str, filters: Filters, rows_max: int, cursor: str | None
    ) -> Sequence[Record]:
        async with self._db.api(office) as tx:
            if box == "sent":
                return await self._sent_rows(tx, office, filters, rows_max, self._positions.read_sent(office, cursor))
            below = self._positions.read_received(office, cursor)
            return await self._received_rows(tx, office, filters, rows_max, below)

    async def _sent_rows(
        self, tx: Tx, office: str, filters: Filters, rows_max: int, after: SentPlace
    ) -> Sequence[Record]:
        rows: Sequence[Record] = await reads.page_of_sent(
            tx.db, office=office, newest=self._newest(), rows_max=rows_max, **after._asdict(), **filters.values()
        )
        return rows

    async def _received_rows(
        self, tx: Tx, office: str, filters: Filters, rows_max: int, below: int
    ) -> Sequence[Record]:
        rows: Sequence[Record] = await reads.page_of_received(
            tx.db, office=office, newest=self._newest(), below=below, rows_max=rows_max, **filters.values()
        )
        return rows

    def _after(self, box: Box, office: str, row: Record) -> str:
        if box == "sent":
            return self._positions.sent(office, _place(row))
        return self._positions.received(office, row["delivery_no"])

    def _newest(self) -> UUID:
        millis = int((self._ports.clock.now() + AHEAD).timestamp() * 1000)
        return UUID(int=(millis << 80) | (2**80 - 1))


_NOTHING_FOUND = '{"errors": 0, "warnings": 0, "findings": []}'


@dataclasses.dataclass(frozen=True, slots=True)
class _Goal:
    """A message that must have come so far in a list."""

    message_id: UUID
    box: Box
    rank: int

    async def reached(self, tx: Tx, office: str) -> bool:
        """Whether it has."""
        read = reads.status_in_sent if self.box == "sent" else reads.status_in_received
        status: Status | None = await read(tx.db, message_id=self.message_id, office=office)
        return status is not None and RANKS[status] >= self.rank


def _goal(box: Box, wait_for: str | None) -> _Goal | None:
    """What `wait_for` asks. Raises `Problem` 422 `TDK-INVALID` when it is not MESSAGE:STATUS."""
    if wait_for is None:
        return None
    text, _, wanted = wait_for.partition(":")
    message_id = _message_id(text)
    ranks: Mapping[str, int] = {str(status): rank for status, rank in RANKS.items()}
    if message_id is None or wanted not in ranks:
        raise Problem("TDK-INVALID", where=[("wait_for", "メッセージのID:状態 の形で入れてください。")])
    return _Goal(message_id, box, ranks[wanted])


def _place(row: Record) -> SentPlace:
    return SentPlace(row["submitted_at"], row["place"], row["message_id"])


def _message_id(text: str) -> UUID | None:
    """A message id as people write it; None for anything else, UUIDs of other versions included."""
    try:
        found = UUID(text)
    except ValueError:
        return None
    return found if found.version == 7 else None  # noqa: PLR2004 (RFC 9562: UUIDv7)


def _seen(fact: Record, box: Box) -> bool:
    """Whether a fact stands in the timeline of this box: the recipient's begins with the delivery."""
    return box == "sent" or (fact["service"] == "storage" and fact["recipient"] is not None)


def _timeline(row: Record, box: Box, facts: Sequence[Record]) -> list[TimelineEntry]:
    entries = [
        TimelineEntry(event=TIMELINE[fact["type"]], at=fact["at"], by=_by(row, box, fact))
        for fact in facts
        if _seen(fact, box)
    ]
    if box == "received":
        sent = TimelineEntry(event="submitted", at=row["submitted_at"], by=By(office=row["sender"], user=None))
        return [sent, *entries]
    return entries


def _by(row: Record, box: Box, fact: Record) -> By:
    """The office behind a fact, and the person where it is the reader's own; nobody for what the system did."""
    if fact["actor_kind"] not in ("person", "office"):
        return By(office=None, user=None)
    acted: Box = "sent" if sender_acted(fact["type"]) else "received"
    user = fact["actor_id"] if acted == box and fact["actor_kind"] == "person" else None
    return By(office=row["sender"] if acted == "sent" else row["recipient"], user=user)


def fold(text: str) -> str:
    """A text as it is compared: NFKC, without case, katakana as hiragana (RFC 8264 has no such profile)."""
    return unicodedata.normalize("NFKC", text).casefold().translate(_TO_HIRAGANA)


def holds(words: Sequence[str], row: Record, manifest: Manifest | None) -> bool:
    """Whether every word stands in an office's name or number, in the text or in a file's name."""
    pieces = [row["sender"], row["recipient"], row["sender_name"], row["recipient_name"]]
    if manifest is not None:
        pieces += [manifest.text or "", *(file.name for file in manifest.files)]
    searched = fold("\n".join(pieces))
    return all(word in searched for word in words)
