"""What the registry forgets, and when."""

from datetime import timedelta

from services.registry.rules import FAILURES_FORGOTTEN, KNOWN_NETWORK
from todoke.relay.access import REMEMBERED_SECONDS
from todoke.relay.postgres import Database, queries

SWEEP_SECONDS = 3600.0

KEEP_FEED = timedelta(seconds=2 * REMEMBERED_SECONDS)
"""Ended sessions stay in the feed until no access token of theirs can be alive anywhere."""

KEEP_SESSIONS = timedelta(days=30)
KEEP_FAILURES = timedelta(days=90)

_store = queries("services.registry")


class Sweeper:
    """Forgets what of logins and sessions is over."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def run(self) -> None:
        """One sweep."""
        async with self._db.worker() as tx:
            await _store.sweep_feed(tx.db, before=tx.now - KEEP_FEED)
            await _store.sweep_sessions(tx.db, before=tx.now - KEEP_SESSIONS)
            await _store.sweep_locks(tx.db, before=tx.now - FAILURES_FORGOTTEN, known_after=tx.now - KNOWN_NETWORK)
            await _store.sweep_failures(tx.db, before=tx.now - KEEP_FAILURES)
