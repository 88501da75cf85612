"""What the registry learns from messages: which version of the CSV formats an office's software writes."""

from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar

from services.registry import offices
from todoke.events import Event, MessageAccepted
from todoke.relay.handler import Batch
from todoke.relay.postgres import Tx


class CsvVersions:
    """Keep the last CSV version of each sender; say OfficeChanged only when it really is another one."""

    hears: ClassVar[tuple[type[Event], ...]] = (MessageAccepted,)

    async def prepare(self, batch: Batch) -> list[tuple[str, str, datetime]]:
        """Sender, version and time of each message that has data files."""
        return [
            (heard.event.sender, heard.event.package.csv_version, heard.event.package.submitted_at)
            for heard in batch
            if heard.event.package.csv_version is not None
        ]

    async def apply(self, prepared: list[tuple[str, str, datetime]], tx: Tx) -> Sequence[Event]:
        """Raise the versions of the offices that changed."""
        return await offices.csv_versions(tx, prepared)
