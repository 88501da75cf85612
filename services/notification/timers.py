"""What notification does by the clock beside sending: chosen reminders, and forgetting."""

from services.notification import rules
from todoke.relay.postgres import Database, Statements, queries


class Upkeep:
    """Queues the reminders that people chose themselves, and clears the queue of what ended long ago."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sql: Statements = queries("services.notification")

    async def remind(self) -> None:
        """Queue what came due lately; the queue's key keeps each reminder to one. Raises `DatabaseAway`."""
        async with self._database.worker() as tx:
            await self._sql.queue_chosen_reminders(tx.db, now=tx.now, window=rules.OLDEST_TOLD)

    async def tidy(self) -> None:
        """Forget rows that ended long ago. Raises `DatabaseAway`."""
        async with self._database.worker() as tx:
            await self._sql.forget_finished(tx.db, before=tx.now - rules.FINISHED_KEPT)
