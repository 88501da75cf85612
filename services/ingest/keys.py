"""Month keys: ingest makes the key of a month when the first message of it comes, and publishes it before its use."""

import asyncio

from todoke.relay.objects import KeyObjects, ObjectExists
from todoke.relay.postgres import Database, Statements, queries
from todoke.relay.seal import KeyEpochUnknown, KeyRing, RootKey

_sql: Statements = queries("services.ingest")


class MonthKeeper:
    """The month keys, made when there is none yet. The row in PostgreSQL decides between two processes."""

    def __init__(self, db: Database, root: RootKey, ring: KeyRing, published: KeyObjects) -> None:
        self._db = db
        self._root = root
        self._ring = ring
        self._published = published
        self._making = asyncio.Lock()

    async def key(self, epoch: str) -> bytes:
        """The month's key, 32 bytes; it is published when this returns.

        Raises:
            DatabaseAway, ObjectsAway: an engine is away, and the key is not in memory.
            KeyEpochGone: the month's key was destroyed.
        """
        try:
            return await self._ring.key(epoch)
        except KeyEpochUnknown:
            async with self._making:
                await self._make(epoch)
        return await self._ring.key(epoch)

    async def _make(self, epoch: str) -> None:
        async with self._db.worker() as tx:
            await _sql.keep_month_key(tx.db, epoch=epoch, wrapped=self._root.new_month_key(epoch), made_at=tx.now)
            wrapped = await _sql.month_key(tx.db, epoch=epoch)
        try:
            await self._published.publish(epoch, wrapped)
        except ObjectExists:
            # The database is older than the bucket (restored): the published key is the one that sealed things.
            published = await self._published(epoch)
            async with self._db.worker() as tx:
                await _sql.correct_month_key(tx.db, epoch=epoch, wrapped=published)
