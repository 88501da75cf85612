"""Whether the bytes that storage's rows name are there."""

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from todoke.relay.clock import first_id_of
from todoke.relay.objects import Objects
from todoke.relay.postgres import Database, Statements, queries
from todoke.relay.restore import Inspection, Look, Unhealed

NEWEST = 500
"""Messages looked at by every start: what a power cut of object storage loses is the newest."""

ROWS_AT_ONCE = 500

BEFORE_THE_GAP = timedelta(days=1)
"""After a restore the look begins so long before the oldest event that had to be taken back."""


class Inventory:
    """Compares custody and bucket. What is missing cannot be had back from here: it is named."""

    def __init__(self, database: Database, objects: Objects) -> None:
        self._database = database
        self._objects = objects
        self._sql: Statements = queries("services.storage")

    async def inspect(self, look: Look) -> Inspection:
        """Name the messages whose content is not where it should be. Raises `DatabaseAway`, `ObjectsAway`."""
        if look.depth == "newest":
            async with self._database.connection() as db:
                rows = await self._sql.newest_contents(db, rows_max=NEWEST)
            return Inspection(len(rows), await self._missing(rows))
        looked_at, missing = 0, list[Unhealed]()
        after = UUID(int=0) if look.since is None else first_id_of(look.since - BEFORE_THE_GAP)
        while rows := await self._page(after):
            looked_at += len(rows)
            missing += await self._missing(rows)
            after = rows[-1]["message_id"]
        return Inspection(looked_at, missing)

    async def _page(self, after: UUID) -> Sequence[Any]:
        async with self._database.connection() as db:
            rows: Sequence[Any] = await self._sql.contents_after(db, after=after, rows_max=ROWS_AT_ONCE)
        return rows

    async def _missing(self, rows: Sequence[Any]) -> list[Unhealed]:
        with_files = [row for row in rows if json.loads(row["package"]).get("parts")]
        there = await self._there({row["object_key"] for row in with_files})
        absent = [row for row in with_files if row["object_key"] not in there]
        if not absent:
            return []
        async with self._database.connection() as db:  # it may have been moved or erased since the row was read
            still = await self._sql.contents_still(
                db,
                message_ids=[row["message_id"] for row in absent],
                object_keys=[row["object_key"] for row in absent],
            )
        return [
            Unhealed("object missing", str(row["message_id"]))
            for row in still
            if not await self._objects.exists(row["object_key"])
        ]

    async def _there(self, keys: set[str]) -> set[str]:
        """Those of the keys that the bucket lists. Keys of one folder stand close together: their ids are times."""
        there: set[str] = set()
        folders = {key.rpartition("/")[0] for key in keys}
        for folder in folders:
            wanted = sorted(key for key in keys if key.rpartition("/")[0] == folder)
            async for listed in self._objects.list(f"{folder}/", wanted[0][:-1]):
                if listed.key > wanted[-1]:
                    break
                if listed.key in keys:
                    there.add(listed.key)
        return there
