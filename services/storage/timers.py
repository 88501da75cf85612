"""What storage does by the clock: it reminds, lets messages expire, and erases contents whose time is over.

Each run works in batches and goes on until there is nothing left to do. A run that ends anywhere, also between object
storage and the database, is taken up by the next one.
"""

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Coroutine, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from structlog.typing import FilteringBoundLogger

from todoke.events import Actor, Erased, Expired, Package, ReminderDue
from todoke.relay.clock import Ports
from todoke.relay.limits import Limits
from todoke.relay.objects import ObjectMissing, Objects
from todoke.relay.postgres import Database, Statements, queries

ROWS_AT_ONCE = 200
"""Rows of one transaction of reminder or expiry: short enough that nobody waits for its locks."""

ERASED_AT_ONCE = 50
"""Messages erased between two looks at the clock: each costs a call of object storage or a part of one."""

OLD_PACK_KEPT = timedelta(hours=1)
"""An object that was rewritten stays so long for those who looked its key up before."""

_SYSTEM = Actor(kind="system", id="storage")


@dataclasses.dataclass(frozen=True, slots=True)
class Due:
    """A message to be erased: where its bytes lie."""

    message_id: UUID
    object_key: str
    package: Package


class Deadlines:
    """Reminders after `remind_after_days`, expiry after `expire_after_days`; each is said once per message."""

    def __init__(self, database: Database, ports: Ports, limits: Limits) -> None:
        self._database = database
        self._ports = ports
        self._limits = limits
        self._sql: Statements = queries("services.storage")

    async def remind(self) -> None:
        """Say ReminderDue of every message that has waited so long."""
        await _until_done(self._remind_some, ROWS_AT_ONCE)

    async def expire(self) -> None:
        """Let every message expire that nobody collected in time."""
        await _until_done(self._expire_some, ROWS_AT_ONCE)

    async def _remind_some(self) -> int:
        days = self._limits.remind_after_days
        async with self._database.worker() as tx:
            before = tx.now - timedelta(days=days)
            due = await self._sql.due_for_reminder(tx.db, before=before, rows_max=ROWS_AT_ONCE)
            await self._sql.reminded(tx.db, message_ids=[row["message_id"] for row in due], at=tx.now)
            tx.say(
                *(
                    ReminderDue(
                        actor=_SYSTEM,
                        message_id=row["message_id"],
                        sender=row["sender"],
                        recipient=row["recipient"],
                        days=days,
                        due_at=tx.now,
                    )
                    for row in due
                )
            )
        return len(due)

    async def _expire_some(self) -> int:
        async with self._database.worker() as tx:
            before = tx.now - timedelta(days=self._limits.expire_after_days)
            due = await self._sql.due_for_expiry(tx.db, before=before, rows_max=ROWS_AT_ONCE)
            await self._sql.expire(tx.db, message_ids=[row["message_id"] for row in due], at=tx.now)
            await self._sql.end_messages(
                tx.db,
                message_ids=[row["message_id"] for row in due],
                senders=[row["sender"] for row in due],
                recipients=[row["recipient"] for row in due],
                causes=["expired"] * len(due),
                times=[tx.now] * len(due),
            )
            tx.say(
                *(
                    Expired(
                        actor=_SYSTEM,
                        message_id=row["message_id"],
                        sender=row["sender"],
                        recipient=row["recipient"],
                        delivery_no=row["delivery_no"],
                        expired_at=tx.now,
                    )
                    for row in due
                )
            )
        return len(due)


class Eraser:
    """Removes contents `retain_content_days` after the end: first nobody gets them, then they go, then it is said.

    An object of several messages is written anew without the erased ones, under another key, as long as any of them is
    kept. Rows are locked only while keys change, never over a call of object storage; that the object was not rewritten
    meanwhile is checked under the locks.
    """

    def __init__(
        self, database: Database, objects: Objects, ports: Ports, limits: Limits, log: FilteringBoundLogger
    ) -> None:
        self._database = database
        self._objects = objects
        self._ports = ports
        self._limits = limits
        self._log = log
        self._sql: Statements = queries("services.storage")

    async def erase(self) -> None:
        """Erase every content whose time is over. Raises `DatabaseAway`, `ObjectsAway`."""
        await _until_done(self._erase_some, ERASED_AT_ONCE)

    async def sweep(self) -> None:
        """Remove the objects that were rewritten an hour ago. Raises `DatabaseAway`, `ObjectsAway`."""
        await _until_done(self._sweep_some, ERASED_AT_ONCE)

    async def _erase_some(self) -> int:
        due = await self._start()
        self._ports.crash.reach("storage.erase.after-mark")
        by_object: dict[str, list[Due]] = defaultdict(list)
        for one in due:
            by_object[one.object_key].append(one)
        shared = await self._in_use(list(by_object))
        alone = [key for key in by_object if key not in shared]
        for key in alone:
            await self._objects.delete(key)
            self._ports.crash.reach("storage.erase.after-delete")
        await self._erased([one.message_id for key in alone for one in by_object[key]])
        for key in shared:
            await self._rewrite(key, by_object[key])
        return len(due)

    async def _start(self) -> list[Due]:
        """Messages whose time is over; when this is committed nobody gets their content any more."""
        async with self._database.worker() as tx:
            before = tx.now - timedelta(days=self._limits.retain_content_days)
            rows = await self._sql.due_for_erasure(tx.db, before=before, rows_max=ERASED_AT_ONCE)
            message_ids = [row["message_id"] for row in rows]
            await self._sql.lock_deliveries(tx.db, message_ids=message_ids)
            await self._sql.start_erasing(tx.db, message_ids=message_ids, at=tx.now)
        return [Due(row["message_id"], row["object_key"], Package.model_validate_json(row["package"])) for row in rows]

    async def _in_use(self, keys: Sequence[str]) -> set[str]:
        async with self._database.worker() as tx:
            rows = await self._sql.keys_in_use(tx.db, object_keys=keys)
        return {row["object_key"] for row in rows}

    async def _rewrite(self, old_key: str, due: Sequence[Due]) -> None:
        """Write a shared object anew with these messages' ranges zeroed; their neighbours keep their offsets."""
        try:
            content = bytearray(await self._objects.get(old_key))
        except ObjectMissing:
            self._log.error("pack_missing", messages=len(due))
            await self._erased([one.message_id for one in due])
            return
        for part in (part for one in due for part in one.package.parts):
            content[part.offset : part.offset + part.length] = bytes(part.length)
        now = self._ports.clock.now()
        new_key = f"pack/{now:%Y/%m}/{self._ports.ids.uuid7()}"
        # Should this run end before the rows name the new object, the sweep removes it.
        await self._doom(new_key, now + OLD_PACK_KEPT)
        await self._objects.put(new_key, bytes(content))
        self._ports.crash.reach("storage.erase.after-pack")
        await self._move(old_key, new_key, [one.message_id for one in due])

    async def _move(self, old_key: str, new_key: str, message_ids: Sequence[UUID]) -> None:
        async with self._database.worker() as tx:
            if not await self._sql.lock_pack(tx.db, object_key=old_key):
                return  # rewritten meanwhile by another process: what is not erased yet comes again
            await self._sql.move_pack(tx.db, old_key=old_key, new_key=new_key)
            await self._sql.spare(tx.db, object_key=new_key)
            await self._sql.doom(tx.db, object_key=old_key, after=tx.now + OLD_PACK_KEPT)
            tx.say(*await self._say_erased(tx.db, message_ids, tx.now))

    async def _erased(self, message_ids: Sequence[UUID]) -> None:
        async with self._database.worker() as tx:
            tx.say(*await self._say_erased(tx.db, message_ids, tx.now))

    async def _say_erased(self, db: Any, message_ids: Sequence[UUID], now: datetime) -> list[Erased]:
        locked = [row["message_id"] for row in await self._sql.lock_erasing(db, message_ids=message_ids)]
        return [
            Erased(
                actor=_SYSTEM,
                message_id=row["message_id"],
                sender=row["sender"],
                recipient=row["recipient"],
                delivery_no=row["delivery_no"],
                erased_at=now,
            )
            for row in await self._sql.erased(db, message_ids=locked, at=now)
        ]

    async def _doom(self, key: str, after: datetime) -> None:
        async with self._database.worker() as tx:
            await self._sql.doom(tx.db, object_key=key, after=after)

    async def _sweep_some(self) -> int:
        async with self._database.worker() as tx:
            rows = await self._sql.doomed(tx.db, now=tx.now, rows_max=ERASED_AT_ONCE)
        for row in rows:
            await self._objects.delete(row["object_key"])
            self._ports.crash.reach("storage.sweep.after-delete")
            async with self._database.worker() as tx:
                await self._sql.spare(tx.db, object_key=row["object_key"])
        return len(rows)


async def _until_done(some: Callable[[], Coroutine[Any, Any, int]], at_once: int) -> None:
    """Work in batches until one is not full."""
    while await some() == at_once:
        pass
