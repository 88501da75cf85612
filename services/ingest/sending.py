"""How a message is handed in: judged at once, sealed, stored with one PUT, committed with whoever waits, answered."""

import asyncio
import dataclasses
import hashlib
import io
from collections.abc import Callable, Mapping, Sequence
from typing import ParamSpec, TypeVar
from uuid import UUID

from services.ingest.group import GroupCommit
from services.ingest.keys import MonthKeeper
from services.ingest.ledger import Kept, Ledger, Member
from services.ingest.rules import HmacKeys
from todoke.events import Part
from todoke.relay.clock import Ports
from todoke.relay.directory import Directory, OfficeRow
from todoke.relay.faults import Transient
from todoke.relay.limits import MEBIBYTE, Limits
from todoke.relay.manifest import (
    RECEIPT_LABEL,
    SALT_BYTES,
    Manifest,
    ManifestFile,
    Submitter,
    seal_manifest,
    unseal_text,
)
from todoke.relay.objects import Objects, message_key
from todoke.relay.policy import Caller, may
from todoke.relay.postgres import Database, traceparent_now
from todoke.relay.problem import Problem
from todoke.relay.seal import OVERHEAD_BYTES, Binding, Sealer, commitment, epoch_of
from todoke.relay.submission import Draft, MessageBody, Refused, judge, recipient_named, refuse_recipient
from todoke.relay.upload import UploadedFile

P = ParamSpec("P")
R = TypeVar("R")

FORESEEING_SECONDS_MAX = 1.0
"""Longest look at the directory while a body arrives."""

INLINE_BYTES_MAX = MEBIBYTE // 2
"""Up to this size hashing and sealing (about a millisecond) run in the event loop; longer ones in a thread."""


@dataclasses.dataclass(frozen=True, slots=True)
class Submission:
    """One message as the client handed it in; `place` is its place in the batch, 0 when alone."""

    key: str
    body: MessageBody
    files: tuple[UploadedFile, ...]
    place: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class Accepted:
    """What the ledger keeps of a message, and the receipt in clear."""

    kept: Kept
    receipt: str


@dataclasses.dataclass(frozen=True, slots=True)
class _Judged:
    """A message that nothing known at once speaks against, with its digests."""

    submission: Submission
    draft: Draft
    files: tuple[ManifestFile, ...]
    key_hmac: bytes
    content_hmac: bytes


class Sending:
    """Takes messages of one caller and answers what became of each."""

    def __init__(
        self,
        *,
        db: Database,
        objects: Objects,
        directory: Directory,
        keys: MonthKeeper,
        sealer: Sealer,
        hmacs: HmacKeys,
        ledger: Ledger,
        limits: Limits,
        ports: Ports,
    ) -> None:
        self._db = db
        self._objects = objects
        self._directory = directory
        self._keys = keys
        self._sealer = sealer
        self._hmacs = hmacs
        self._ledger = ledger
        self._limits = limits
        self._ports = ports
        self._group: GroupCommit[Member, Kept] = GroupCommit(ledger.commit)
        self._lookups: GroupCommit[frozenset[str], Mapping[str, OfficeRow]] = GroupCommit(self._look_up)

    async def stop(self) -> None:
        """Let the messages that wait for their commit finish."""
        await self._lookups.stop()
        await self._group.stop()

    async def send(self, caller: Caller, submissions: Sequence[Submission]) -> list[Accepted | Problem]:
        """Hand in messages that share one object; one that fails does not stop the others.

        Raises `Transient` when PostgreSQL or object storage is away.
        """
        offices = await self._offices(caller.office, submissions)
        results: dict[int, Accepted | Problem] = {}
        judged: dict[int, _Judged] = {}
        for index, submission in enumerate(submissions):
            try:
                found = await self._judge(caller, submission, offices)
            except Problem as problem:
                results[index] = problem
            else:
                if isinstance(found, _Judged):
                    judged[index] = found
                else:
                    results[index] = await self._answer(found)
        members = await self._store(caller, list(judged.values()))
        outcomes = await asyncio.gather(*map(self._group.join, members), return_exceptions=True)
        for index, outcome in zip(judged, outcomes, strict=True):
            if isinstance(outcome, BaseException) and not isinstance(outcome, Problem):
                raise outcome
            results[index] = outcome if isinstance(outcome, Problem) else await self._answer(outcome)
        return [results[index] for index in range(len(submissions))]

    async def foresee(self, caller: Caller, recipient: str) -> None:
        """Judge a recipient while the files still arrive; what an engine does not say soon is judged with them.

        Raises `Refused`: it is the sender's own number, or nobody's.
        """
        offices: Mapping[str, OfficeRow] = {}
        if recipient != caller.office:
            try:
                async with asyncio.timeout(FORESEEING_SECONDS_MAX):
                    offices = await self._lookups.join(frozenset({recipient}))
            except (Transient, TimeoutError):
                return
        if recipient not in offices:
            refuse_recipient(recipient, caller.office, offices, self._ports.clock.now())

    async def _offices(self, sender: str, submissions: Sequence[Submission]) -> Mapping[str, OfficeRow]:
        numbers = {sender}
        for one in submissions:
            named = recipient_named(one.body, [file.name for file in one.files])
            if named is not None:
                numbers.add(named)
        return await self._lookups.join(frozenset(numbers))

    async def _look_up(self, asked: Sequence[frozenset[str]]) -> list[Mapping[str, OfficeRow]]:
        """The public rows that requests of the same moment ask for, with one statement."""
        async with self._db.public() as db:
            rows = await self._directory.get(db, frozenset().union(*asked))
        return [rows] * len(asked)

    async def _judge(
        self, caller: Caller, submission: Submission, offices: Mapping[str, OfficeRow]
    ) -> "_Judged | Kept":
        """Judge a message at once; one that an earlier request handed in is that request's, whatever holds now."""
        sender = offices.get(caller.office)
        if sender is None:
            raise Problem("TDK-DIRECTORY-BEHIND", retry_after=1)
        now = self._ports.clock.now()
        files = await _in_thread_if_long(submission.files, _hashed, submission.files)
        key_hmac = self._hmacs.key(caller.office, submission.key)
        content_hmac = self._hmacs.content_of(caller.office, submission.body, files)
        try:
            may(caller.as_of(sender.facts), "send", now)
            draft = judge(
                submission.body,
                [file.name for file in submission.files],
                sender=sender,
                offices=offices,
                now=now,
                limits=self._limits,
            )
        except (Refused, Problem) as refused:
            earlier = await self._ledger.earlier(caller.office, key_hmac, content_hmac)
            if earlier is not None:
                return earlier
            raise (refused.problem() if isinstance(refused, Refused) else refused) from None
        return _Judged(submission, draft, files, key_hmac, content_hmac)

    async def _store(self, caller: Caller, judged: Sequence[_Judged]) -> list[Member]:
        """Seal the messages' parts into one object and put it; it is safe when this returns."""
        if not judged:
            return []
        ids = [self._ports.ids.uuid7() for _ in judged]
        object_key = message_key(ids[0])
        bytes_all = tuple(file for one in judged for file in one.submission.files)
        sealing = [
            (message_id, one, await self._keys.key(epoch_of(message_id)))
            for message_id, one in zip(ids, judged, strict=True)
        ]
        members, bundle = await _in_thread_if_long(bytes_all, self._seal_all, caller, object_key, sealing)
        if bundle:
            self._ports.crash.reach("ingest.before-put")
            await self._objects.put(object_key, bundle, once=True)
            self._ports.crash.reach("ingest.after-put")
        return members

    def _seal_all(
        self, caller: Caller, object_key: str, sealing: Sequence[tuple[UUID, _Judged, bytes]]
    ) -> tuple[list[Member], bytes]:
        """What will be said of the messages, and the object with all their parts: it is what is held, and no more."""
        target = io.BytesIO()
        trace = traceparent_now.get()
        members = [
            self._seal(caller, object_key, message_id, one, month_key, target, trace)
            for message_id, one, month_key in sealing
        ]
        return members, target.getvalue()

    def _seal(
        self,
        caller: Caller,
        object_key: str,
        message_id: UUID,
        judged: _Judged,
        month_key: bytes,
        target: io.BytesIO,
        trace: str | None,
    ) -> Member:
        draft, uploaded = judged.draft, judged.submission.files
        binding = Binding(message_id, caller.office, draft.recipient.number, epoch_of(message_id))
        salt = self._ports.ids.secret(SALT_BYTES)
        parts = []
        for file, plain in zip(draft.files, uploaded, strict=True):
            sealed = self._sealer.seal(plain.data, month_key=month_key, binding=binding, label=f"part:{file.n}")
            parts.append(
                Part(
                    ordinal=file.n,
                    role=file.role,
                    kind=file.kind,
                    size=len(plain.data),
                    offset=target.tell(),
                    length=target.write(sealed),
                    sealed_sha256=hashlib.sha256(sealed).hexdigest(),
                    commitment=commitment(salt, plain.data),
                )
            )
        manifest = Manifest(text=draft.text, by=Submitter(user=caller.user_id), salt=salt.hex(), files=judged.files)
        return Member(
            binding=binding,
            month_key=month_key,
            user=caller.user_id,
            draft=draft,
            key_hmac=judged.key_hmac,
            content_hmac=judged.content_hmac,
            files=judged.files,
            parts=tuple(parts),
            object_key=object_key,
            manifest=seal_manifest(manifest, self._sealer, month_key=month_key, binding=binding),
            place=judged.submission.place,
            traceparent=trace,
        )

    async def _answer(self, kept: Kept) -> Accepted:
        epoch = epoch_of(kept.message_id)
        binding = Binding(kept.message_id, kept.sender, kept.recipient, epoch)
        month_key = await self._keys.key(epoch)
        receipt = unseal_text(
            kept.receipt_sealed, self._sealer, month_key=month_key, binding=binding, label=RECEIPT_LABEL
        )
        return Accepted(kept, receipt)


def sealed_bytes(submissions: Sequence[Submission]) -> int:
    """Bytes that sending these messages holds beside their files: one object of them all, and the part just sealed."""
    sizes = [len(file.data) + OVERHEAD_BYTES for one in submissions for file in one.files]
    return sum(sizes) + max(sizes, default=0)


def _hashed(files: Sequence[UploadedFile]) -> tuple[ManifestFile, ...]:
    return tuple(
        ManifestFile(n=n, name=file.name, sha256=hashlib.sha256(file.data).hexdigest(), size=len(file.data))
        for n, file in enumerate(files, 1)
    )


async def _in_thread_if_long(
    files: Sequence[UploadedFile], work: Callable[P, R], *args: P.args, **kwargs: P.kwargs
) -> R:
    """Run `work` on these files here, or in a thread when they are long enough to hold up others."""
    if sum(len(file.data) for file in files) <= INLINE_BYTES_MAX:
        return work(*args, **kwargs)
    return await asyncio.to_thread(work, *args, **kwargs)
