"""The transaction of a group: keys claimed, sequences taken, submissions kept, events said; all or nothing.

Locks are taken in one order everywhere (idempotency keys, then sequences, each sorted by key), so that two processes
never wait for each other in a circle.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeAlias
from uuid import UUID

from services.ingest.group import Again
from services.ingest.rules import CANDIDATES, HmacKeys, may_use, sequence_candidates
from todoke.events import Actor, MessageSubmitted, Package, Part
from todoke.relay.manifest import RECEIPT_LABEL, ManifestFile, receipt_payload, seal_text
from todoke.relay.postgres import Database, Statements, Tx, queries
from todoke.relay.problem import Problem
from todoke.relay.seal import Binding, Sealer
from todoke.relay.submission import Draft
from todoke.relay.tokens import ReceiptSigner

_sql: Statements = queries("services.ingest")

SECONDS_AHEAD_MAX = 16 * CANDIDATES
"""Made sequences run ahead of the clock by no more: above it the sender is asked to wait."""

_SequenceKey: TypeAlias = tuple[str, str, bytes]


@dataclasses.dataclass(frozen=True, slots=True)
class Member:
    """One message that is sealed and stored, and waits for its rows. `user` is the person who sent it."""

    binding: Binding
    month_key: bytes
    user: str | None
    draft: Draft
    key_hmac: bytes
    content_hmac: bytes
    files: tuple[ManifestFile, ...]
    parts: tuple[Part, ...]
    object_key: str
    manifest: str
    place: int
    traceparent: str | None

    @property
    def message_id(self) -> UUID:
        """The message's id."""
        return self.binding.message_id

    @property
    def sender(self) -> str:
        """The sender's number."""
        return self.binding.sender

    @property
    def recipient(self) -> str:
        """The recipient's number."""
        return self.binding.recipient


@dataclasses.dataclass(frozen=True, slots=True)
class Kept:
    """A submission as it stands in the ledger; `replayed` when an earlier request had made it."""

    message_id: UUID
    sender: str
    sender_name: str
    recipient: str
    recipient_name: str
    sequence: str
    submitted_at: datetime
    receipt_sealed: str
    replayed: bool


Outcome: TypeAlias = Kept | Problem | Again


@dataclasses.dataclass(frozen=True, slots=True)
class _Placed:
    """A member that got its sequence."""

    member: Member
    sequence: str
    sequence_hmac: bytes

    @property
    def key(self) -> _SequenceKey:
        return (self.member.sender, self.member.recipient, self.sequence_hmac)


class Ledger:
    """Commits groups of members."""

    def __init__(self, *, db: Database, hmacs: HmacKeys, sealer: Sealer, receipts: ReceiptSigner, issuer: str) -> None:
        self._db = db
        self._hmacs = hmacs
        self._sealer = sealer
        self._receipts = receipts
        self._issuer = issuer

    async def commit(self, members: Sequence[Member]) -> list[Outcome]:
        """One transaction for all members; their outcomes in the same order.

        Two members with one key: the first one goes, the others come again and find it. Raises `DatabaseAway`.
        """
        first: dict[tuple[str, bytes], Member] = {}
        for member in members:
            first.setdefault((member.sender, member.key_hmac), member)
        outcomes: dict[UUID, Outcome] = {}
        async with self._db.worker() as tx:
            claimed = await self._claim(tx, first.values())
            fresh = [member for member in first.values() if member.message_id in claimed]
            placed = await self._take_sequences(tx, fresh, outcomes)
            await self._give_keys_back(tx, [member for member in fresh if member.message_id in outcomes])
            await self._keep(tx, placed, outcomes)
            repeated = [member for member in first.values() if member.message_id not in claimed]
            await self._find_earlier(tx, repeated, outcomes)
        return [outcomes.get(member.message_id, Again.AGAIN) for member in members]

    async def earlier(self, sender: str, key_hmac: bytes, content_hmac: bytes) -> Kept | None:
        """What an earlier request with this key made, or None. Reads as the office itself.

        Raises:
            Problem: 422 TDK-IDEMPOTENCY-MISMATCH, the key stands for other content.
            DatabaseAway: PostgreSQL is away.
        """
        async with self._db.api(sender) as tx:
            rows = await _sql.keys_of(tx.db, senders=[sender], key_hmacs=[key_hmac])
            if not rows:
                return None
            if rows[0]["content_hmac"] != content_hmac:
                raise Problem("TDK-IDEMPOTENCY-MISMATCH")
            kept = await self._submissions(tx, [rows[0]["message_id"]])
        return kept.get(rows[0]["message_id"])

    async def _claim(self, tx: Tx, members: Iterable[Member]) -> set[UUID]:
        asked = list(members)
        rows = await _sql.claim_keys(
            tx.db,
            senders=[member.sender for member in asked],
            key_hmacs=[member.key_hmac for member in asked],
            message_ids=[member.message_id for member in asked],
            content_hmacs=[member.content_hmac for member in asked],
        )
        return {row["message_id"] for row in rows}

    async def _give_keys_back(self, tx: Tx, members: Sequence[Member]) -> None:
        if members:
            await _sql.give_keys_back(
                tx.db,
                senders=[member.sender for member in members],
                key_hmacs=[member.key_hmac for member in members],
            )

    async def _take_sequences(self, tx: Tx, members: Sequence[Member], outcomes: dict[UUID, Outcome]) -> list[_Placed]:
        """Lock the sequences and hand them out in the order of arrival; who gets none has an outcome afterwards."""
        wanted = await self._wanted(tx, members, outcomes)
        first: dict[_SequenceKey, UUID] = {}
        for want in wanted:
            first.setdefault(want.key, want.member.message_id)
        live = await self._lock_sequences(tx, first)
        placed = []
        gained: dict[_SequenceKey, list[UUID]] = {}
        for want in wanted:
            draft, users = want.member.draft, live[want.key]
            if users == [want.member.message_id]:  # nobody had it: its row was made for this message
                placed.append(want)
            elif may_use(users, allow_resend=draft.allow_resend and not draft.sequence_made):
                users.append(want.member.message_id)
                gained.setdefault(want.key, []).append(want.member.message_id)
                placed.append(want)
            elif draft.sequence_made:
                outcomes[want.member.message_id] = Again.AGAIN
            else:
                outcomes[want.member.message_id] = _sequence_used(users[-1])
        await self._use_sequences(tx, gained)
        return placed

    async def _wanted(self, tx: Tx, members: Sequence[Member], outcomes: dict[UUID, Outcome]) -> list[_Placed]:
        wanted = []
        taken: set[_SequenceKey] = set()
        for member in members:
            draft = member.draft
            want: _Placed | None = self._placed(member, draft.sequence)
            if draft.sequence_made:
                want = await self._free_from(tx, member, taken)
            if want is None:
                outcomes[member.message_id] = Problem("TDK-TOO-MANY", retry_after=60, seconds=60)
                continue
            taken.add(want.key)
            wanted.append(want)
        return wanted

    async def _free_from(self, tx: Tx, member: Member, taken: set[_SequenceKey]) -> _Placed | None:
        """The first second from now on that is no sequence yet between these two offices."""
        for start in range(0, SECONDS_AHEAD_MAX, CANDIDATES):
            tries = [self._placed(member, sequence) for sequence in sequence_candidates(tx.now, start)]
            rows = await _sql.sequences_used(tx.db, **_columns([one.key for one in tries]))
            used = taken | {(row["sender"], row["recipient"], row["sequence_hmac"]) for row in rows}
            free = next((one for one in tries if one.key not in used), None)
            if free is not None:
                return free
        return None

    def _placed(self, member: Member, sequence: str) -> _Placed:
        return _Placed(member, sequence, self._hmacs.sequence_of(member.sender, member.recipient, sequence))

    async def _lock_sequences(self, tx: Tx, first: Mapping[_SequenceKey, UUID]) -> dict[_SequenceKey, list[UUID]]:
        """Who uses each of these sequences; one that nobody uses is its `first` message's from now on."""
        rows = await _sql.lock_sequences(tx.db, **_columns(first), message_ids=list(first.values()))
        return {(row["sender"], row["recipient"], row["sequence_hmac"]): list(row["live"]) for row in rows}

    async def _use_sequences(self, tx: Tx, gained: Mapping[_SequenceKey, Sequence[UUID]]) -> None:
        if gained:
            arrays = ["{" + ",".join(map(str, ids)) + "}" for ids in gained.values()]
            await _sql.use_sequences(tx.db, **_columns(gained), message_ids=arrays)

    async def _keep(self, tx: Tx, placed: Sequence[_Placed], outcomes: dict[UUID, Outcome]) -> None:
        if not placed:
            return
        kept = [self._submission(one, tx.now) for one in placed]
        await _sql.insert_submissions(
            tx.db,
            submitted_at=tx.now,
            message_ids=[row.message_id for row in kept],
            senders=[row.sender for row in kept],
            sender_names=[row.sender_name for row in kept],
            recipients=[row.recipient for row in kept],
            recipient_names=[row.recipient_name for row in kept],
            sequences=[row.sequence for row in kept],
            sequence_hmacs=[one.sequence_hmac for one in placed],
            places=[one.member.place for one in placed],
            object_keys=[one.member.object_key for one in placed],
            receipts_sealed=[row.receipt_sealed for row in kept],
        )
        for one, row in zip(placed, kept, strict=True):
            tx.say(_submitted(one, row), traceparent=one.member.traceparent)
            outcomes[row.message_id] = row

    def _submission(self, placed: _Placed, at: datetime) -> Kept:
        member, draft = placed.member, placed.member.draft
        receipt = self._receipts.sign(
            receipt_payload(
                "submission",
                issuer=self._issuer,
                message_id=member.message_id,
                sender=member.sender,
                recipient=member.recipient,
                sequence=placed.sequence,
                files=member.files,
                at=at,
            )
        )
        sealed = seal_text(
            receipt, self._sealer, month_key=member.month_key, binding=member.binding, label=RECEIPT_LABEL
        )
        return Kept(
            message_id=member.message_id,
            sender=member.sender,
            sender_name=draft.sender.facts.name,
            recipient=member.recipient,
            recipient_name=draft.recipient.facts.name,
            sequence=placed.sequence,
            submitted_at=at,
            receipt_sealed=sealed,
            replayed=False,
        )

    async def _find_earlier(self, tx: Tx, members: Sequence[Member], outcomes: dict[UUID, Outcome]) -> None:
        """Answer members whose key was taken before. A key given back in the meantime is tried again."""
        if not members:
            return
        rows = await _sql.keys_of(
            tx.db,
            senders=[member.sender for member in members],
            key_hmacs=[member.key_hmac for member in members],
        )
        found = {(row["sender"], row["key_hmac"]): row for row in rows}
        kept = await self._submissions(tx, [row["message_id"] for row in rows])
        for member in members:
            row = found.get((member.sender, member.key_hmac))
            if row is None:
                continue
            same = row["content_hmac"] == member.content_hmac and row["message_id"] in kept
            outcomes[member.message_id] = kept[row["message_id"]] if same else Problem("TDK-IDEMPOTENCY-MISMATCH")

    async def _submissions(self, tx: Tx, message_ids: Sequence[UUID]) -> dict[UUID, Kept]:
        rows = await _sql.submissions(tx.db, message_ids=message_ids)
        return {
            row["message_id"]: Kept(
                message_id=row["message_id"],
                sender=row["sender"],
                sender_name=row["sender_name"],
                recipient=row["recipient"],
                recipient_name=row["recipient_name"],
                sequence=row["sequence"],
                submitted_at=row["submitted_at"],
                receipt_sealed=row["receipt_sealed"],
                replayed=True,
            )
            for row in rows
        }


def _columns(keys: Iterable[_SequenceKey]) -> dict[str, list[Any]]:
    listed = list(keys)
    return {
        "senders": [sender for sender, _, _ in listed],
        "recipients": [recipient for _, recipient, _ in listed],
        "sequence_hmacs": [sequence for _, _, sequence in listed],
    }


def _sequence_used(by: UUID) -> Problem:
    where = [("sequence", "先に送った組が使っています。")]
    return Problem("TDK-SEQUENCE-USED", where=where, extra={"message_id": str(by)})


def _submitted(placed: _Placed, kept: Kept) -> MessageSubmitted:
    member, draft = placed.member, placed.member.draft
    actor = Actor(kind="person", id=member.user) if member.user else Actor(kind="office", id=member.sender)
    package = Package(
        sequence=kept.sequence,
        csv_version=draft.csv_version,
        months=draft.months,
        sender_name=kept.sender_name,
        recipient_name=kept.recipient_name,
        sender_service=draft.sender_service,
        service_type=draft.service_type,
        submitted_at=kept.submitted_at,
        place=member.place,
        object_key=member.object_key,
        epoch=member.binding.epoch,
        parts=member.parts,
        manifest=member.manifest,
    )
    return MessageSubmitted(
        actor=actor,
        message_id=member.message_id,
        sender=member.sender,
        recipient=member.recipient,
        package=package,
        sender_version=draft.sender.version,
        recipient_version=draft.recipient.version,
        idempotency_hmac=member.key_hmac.hex(),
        sequence_hmac=placed.sequence_hmac.hex(),
        allow_resend=draft.allow_resend,
        content_hmac=member.content_hmac.hex(),
        receipt_sealed=kept.receipt_sealed,
    )
