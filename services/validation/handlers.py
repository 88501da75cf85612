"""Judges each submitted message."""

import asyncio
import dataclasses
from collections.abc import Mapping, Sequence
from typing import ClassVar

from services.validation.bundles import Bundles, Opened
from services.validation.judging import Judging
from services.validation.rules import Judgement, events_of
from todoke.events import Event, MessageSubmitted
from todoke.relay.directory import Directory, OfficeRow
from todoke.relay.handler import Batch
from todoke.relay.postgres import Database, Statements, Tx, queries

_sql: Statements = queries("services.validation")

OPEN_BYTES_MAX = 64 * 1024 * 1024
"""Sealed bytes of the messages that are in memory at a time; a single message may be larger than its share."""


@dataclasses.dataclass(frozen=True, slots=True)
class Judged:
    """A message and its judgement; `parts` are the files' places by name."""

    submitted: MessageSubmitted
    judgement: Judgement
    parts: Mapping[str, int]


class Judge:
    """Say of each submitted message whether it keeps the standard; say nothing of a repeated one."""

    hears: ClassVar[tuple[type[Event], ...]] = (MessageSubmitted,)

    def __init__(self, db: Database, directory: Directory, bundles: Bundles, judging: Judging) -> None:
        self._db = db
        self._directory = directory
        self._bundles = bundles
        self._judging = judging

    async def prepare(self, batch: Batch) -> list[Judged]:
        """Read, unseal and check the messages that were not judged before.

        Raises:
            NotYet: the directory is older than what the submission was judged by.
            Poison: a bundle is missing or was changed.
            Unscanned: the virus scanner is away; the message is held, and the others of its partition go on.
        """
        messages = await self._fresh([heard.event for heard in batch])
        if not messages:
            return []
        offices = await self._directory.require(
            self._db,
            {(message.sender, message.sender_version) for message in messages}
            | {(message.recipient, message.recipient_version) for message in messages},
        )
        judged: list[Judged] = []
        for share in _shares(messages):
            opened = await self._bundles.open(share)
            judged += await asyncio.gather(*(self._judge(one, offices) for one in opened))
        by_id = {one.submitted.message_id: one for one in judged}
        return [by_id[message.message_id] for message in messages]

    async def apply(self, prepared: list[Judged], tx: Tx) -> Sequence[Event]:
        """Keep the judgements and say those that are new."""
        if not prepared:
            return ()
        rows = await _sql.claim(
            tx.db,
            judged_at=tx.now,
            message_ids=[one.submitted.message_id for one in prepared],
            senders=[one.submitted.sender for one in prepared],
            verdicts=["accepted" if one.judgement.accepted else "rejected" for one in prepared],
            errors=[one.judgement.counts.errors for one in prepared],
            warnings=[one.judgement.counts.warnings for one in prepared],
        )
        new = {row["message_id"] for row in rows}
        return [
            event
            for one in prepared
            if one.submitted.message_id in new
            for event in events_of(one.submitted, one.judgement, one.parts, tx.now)
        ]

    async def _fresh(self, messages: Sequence[MessageSubmitted]) -> list[MessageSubmitted]:
        """Those not judged before: a replay must not ask for contents that were erased since."""
        ids = [message.message_id for message in messages]
        async with self._db.connection() as db:
            rows = await _sql.judged(db, message_ids=ids, low=min(ids), high=max(ids))
        known = {row["message_id"] for row in rows}
        return [message for message in messages if message.message_id not in known]

    async def _judge(self, opened: Opened, offices: Mapping[str, OfficeRow]) -> Judged:
        submitted = opened.submitted
        judgement = await self._judging.judge(
            opened.files,
            sender=offices[submitted.sender],
            recipient=offices[submitted.recipient],
            at=submitted.package.submitted_at,
        )
        return Judged(submitted, judgement, {file.name: file.n for file in opened.files})


def _shares(messages: Sequence[MessageSubmitted]) -> list[list[MessageSubmitted]]:
    """The messages in their order, in shares that fit into memory."""
    shares: list[list[MessageSubmitted]] = [[]]
    held = 0
    for message in messages:
        size = sum(part.length for part in message.package.parts)
        if shares[-1] and held + size > OPEN_BYTES_MAX:
            shares.append([])
            held = 0
        shares[-1].append(message)
        held += size
    return shares
