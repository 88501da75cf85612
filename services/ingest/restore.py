"""What ingest sets up again from its own events, and which bundles no submission names."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from services.ingest.rules import behind
from todoke.events import MessageSubmitted
from todoke.relay.clock import Clock, first_id_of, time_of
from todoke.relay.objects import Objects, message_key
from todoke.relay.postgres import Database, Statements, Tx, queries
from todoke.relay.restore import Inspection, Look, Said, Unhealed

_sql: Statements = queries("services.ingest")

UNDER_WAY = timedelta(hours=1)
"""A bundle younger than this may belong to a request that still runs."""

BEFORE_THE_GAP = timedelta(hours=1)
"""So long before the oldest forgotten submission bundles are looked at: a lost one may be a little older."""

OBJECTS_AT_ONCE = 500

_KEY = re.compile(r"message/\d{4}/\d{2}/([0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12})")


async def restore(said: Sequence[Said], tx: Tx) -> list[Unhealed]:
    """Submissions, keys and sequences in use, as MessageSubmitted tells them; ends are heard again and free them.

    A key that stands for another message now is answered: two messages were accepted under it.
    """
    events = [one.event for one in said if isinstance(one.event, MessageSubmitted)]
    if not events:
        return []
    await _sql.restore_submissions(
        tx.db,
        message_ids=[event.message_id for event in events],
        senders=[event.sender for event in events],
        sender_names=[event.package.sender_name for event in events],
        recipients=[event.recipient for event in events],
        recipient_names=[event.package.recipient_name for event in events],
        sequences=[event.package.sequence for event in events],
        sequence_hmacs=[bytes.fromhex(event.sequence_hmac) for event in events],
        places=[event.package.place for event in events],
        object_keys=[event.package.object_key for event in events],
        times=[event.package.submitted_at for event in events],
        receipts_sealed=[event.receipt_sealed for event in events],
    )
    keys: Mapping[str, list[Any]] = {
        "senders": [event.sender for event in events],
        "key_hmacs": [bytes.fromhex(event.idempotency_hmac) for event in events],
        "message_ids": [event.message_id for event in events],
        "content_hmacs": [bytes.fromhex(event.content_hmac) for event in events],
    }
    await _sql.claim_keys(tx.db, **keys)
    holders = await _sql.keys_of(tx.db, senders=keys["senders"], key_hmacs=keys["key_hmacs"])
    holder_of = {(row["sender"], row["key_hmac"]): row["message_id"] for row in holders}
    await _use_sequences(events, tx)
    return [
        Unhealed("key of another message", str(event.message_id))
        for event, sender, key_hmac in zip(events, keys["senders"], keys["key_hmacs"], strict=True)
        if holder_of[sender, key_hmac] != event.message_id
    ]


async def _use_sequences(events: Sequence[MessageSubmitted], tx: Tx) -> None:
    users: dict[tuple[str, str, bytes], list[UUID]] = {}
    for event in events:
        users.setdefault((event.sender, event.recipient, bytes.fromhex(event.sequence_hmac)), []).append(
            event.message_id
        )
    await _sql.restore_sequences(
        tx.db,
        senders=[sender for sender, _, _ in users],
        recipients=[recipient for _, recipient, _ in users],
        sequence_hmacs=[sequence for _, _, sequence in users],
        live=["{" + ",".join(map(str, ids)) + "}" for ids in users.values()],
    )


class Bundles:
    """Bundles that no submission names: left by a request that ended before its commit, or accepted and forgotten."""

    def __init__(self, db: Database, objects: Objects, clock: Clock) -> None:
        self._db = db
        self._objects = objects
        self._clock = clock

    async def inspect(self, look: Look) -> Inspection | None:
        """Count them; after a restore name those of the time that was forgotten. Raises `DatabaseAway`, `ObjectsAway`.

        Whoever sent one of those may hold a receipt for it: its event never reached the topic. It can be sent again.
        """
        if look.depth == "newest":
            return None
        after = None if look.since is None else _first_key(look.since - BEFORE_THE_GAP)
        until = self._clock.now() - (UNDER_WAY if after is None else timedelta())
        looked_at, orphans = 0, list[UUID]()
        page: list[str] = []
        async for listed in self._objects.list("message/", after):
            named = _KEY.fullmatch(listed.key)
            if named is None or time_of(UUID(named[1])) >= until:
                continue
            looked_at += 1
            page.append(listed.key)
            if len(page) == OBJECTS_AT_ONCE:
                orphans += await self._without_submission(page)
                page = []
        orphans += await self._without_submission(page) if page else []
        lost = [Unhealed("bundle without submission", str(one)) for one in orphans] if after else []
        return Inspection(looked_at, lost, len(orphans))

    async def _without_submission(self, keys: Sequence[str]) -> list[UUID]:
        ids = [UUID(key.rpartition("/")[2]) for key in keys]
        async with self._db.worker() as tx:
            rows = await _sql.known_objects(tx.db, first=ids[0], behind=behind(ids[-1]), object_keys=keys)
        known = {row["object_key"] for row in rows}
        return [one for one, key in zip(ids, keys, strict=True) if key not in known]


def _first_key(moment: datetime) -> str:
    """The key that a bundle of this moment would have at least."""
    return message_key(first_id_of(moment))
