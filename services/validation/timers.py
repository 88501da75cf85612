"""What validation does by the clock: messages that were not scanned come again once the scanner answers."""

from services.validation.scanning import Scanner
from todoke.relay.parking import try_set_aside
from todoke.relay.postgres import Database


class Rescans:
    """Releases held messages without an operator. Without a scanner (it was switched off) all of them, unscanned."""

    def __init__(self, db: Database, scanner: Scanner | None) -> None:
        self._db = db
        self._scanner = scanner

    async def run(self) -> None:
        """Have them tried again if the scanner answers. Raises `DatabaseAway`."""
        if self._scanner is None or await self._scanner.answers():
            await try_set_aside(self._db, "scan")
