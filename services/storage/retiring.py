"""The end of a month: its key is destroyed once its records have been kept for as long as they are to be."""

import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from todoke.events import Actor, KeyEpochDestroyed
from todoke.relay.clock import Ports, first_id_of
from todoke.relay.objects import KeyObjects
from todoke.relay.postgres import Database, Statements, queries

RECORDS_KEPT = timedelta(days=5 * 365 + 2)
"""Names, texts, reasons and receipts can be read for so long after the last end of any message of their month."""

RETIRE_SECONDS = 6 * 3600.0
"""How often it is looked whether a month is over: hours do not matter after five years."""

DAY = timedelta(days=1)

_EPOCH = re.compile(r"\d{4}-\d{2}")
_SYSTEM = Actor(kind="system", id="storage")
_sql: Statements = queries("services.storage")


class Retirement:
    """Destroys the keys of months of which nothing is to be kept any more.

    Whatever was sealed under a month's key (in journals, topics, lists and copies of them) is unreadable from then on.
    The key goes first and is said gone afterwards; a run that ends in between is made good by the next one.
    """

    def __init__(
        self,
        database: Database,
        keys: KeyObjects,
        ports: Ports,
        last_reconcile_was_clean: Callable[[], Awaitable[bool]],
    ) -> None:
        self._database = database
        self._keys = keys
        self._ports = ports
        self._last_reconcile_was_clean = last_reconcile_was_clean

    async def run(self) -> None:
        """Destroy what is due. Raises `DatabaseAway`, `ObjectsAway`.

        Not over a database that has forgotten messages: they would look as if they had never been.
        """
        if not await self._last_reconcile_was_clean():
            return
        before = self._ports.clock.now() - RECORDS_KEPT
        async for epoch, is_there in self._keys.epochs():
            if not _EPOCH.fullmatch(epoch) or (is_there and not await self._is_over(epoch, before)):
                continue
            if is_there:
                await self._keys.destroy(epoch)
                self._ports.crash.reach("storage.retire.after-destroy")
            async with self._database.worker() as tx:  # what was said once is not said again
                tx.say(KeyEpochDestroyed(actor=_SYSTEM, epoch=epoch, destroyed_at=tx.now))

    async def _is_over(self, epoch: str, before: datetime) -> bool:
        """Whether the month, and every message of it, ended before this moment. Looks at a day at a time."""
        begin, end = _bounds(epoch)
        if end > before:
            return False
        day = begin
        while day < end:
            async with self._database.worker() as tx:
                first, behind = first_id_of(day), first_id_of(day + DAY)
                if await _sql.is_something_kept(tx.db, first=first, behind=behind, before=before):
                    return False
            day += DAY
        return True


def _bounds(epoch: str) -> tuple[datetime, datetime]:
    """The first moment of a month, and of the next one, in UTC as epochs are counted."""
    begin = datetime.strptime(epoch, "%Y-%m").replace(tzinfo=UTC)
    return begin, (begin + 31 * DAY).replace(day=1)
