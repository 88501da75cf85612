"""What sending mail and calling webhooks have in common: how a try ended, and how that is written down."""

import dataclasses
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from services.notification import rules
from todoke.relay.clock import Ports
from todoke.relay.postgres import Database, Statements, queries

ATTEMPTS_SHOWN = 10
"""Results that are kept and shown per target."""


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """A row of the queue about to be tried; `attempts` counts this try."""

    event_id: UUID
    target_id: UUID
    office: str
    event: str
    attempts: int


@dataclasses.dataclass(frozen=True, slots=True)
class Ended:
    """How a try ended: `error` is a word of ours, `status` the other side's code. `hopeless` ones are not repeated."""

    ok: bool
    status: int | None = None
    error: str | None = None
    hopeless: bool = False


class Ledger:
    """Writes the queue before and after a try: the row says what is due even when the process dies in between."""

    def __init__(self, database: Database, ports: Ports) -> None:
        self.database = database
        self.ports = ports
        self.sql: Statements = queries("services.notification")

    def due_after(self, attempts: int, now: datetime) -> datetime:
        """When the next try is due if this one's end is not learnt."""
        pause = rules.next_pause(attempts, self.ports.ids.fraction())
        return now + (pause if pause is not None else rules.PAUSES[-1])

    async def close(self, tries: Sequence[tuple[Row, Ended]]) -> None:
        """Note how tries ended: told and given-up rows are finished, the others wait for their next due time."""
        finals = [ended.ok or ended.hopeless or row.attempts > len(rules.PAUSES) for row, ended in tries]
        finished = [row for (row, _), final in zip(tries, finals, strict=True) if final]
        targets = [row.target_id for row, _ in tries]
        async with self.database.worker() as tx:
            await self.sql.finish(
                tx.db,
                event_ids=[row.event_id for row in finished],
                target_ids=[row.target_id for row in finished],
                now=tx.now,
            )
            await self.sql.note_attempts(
                tx.db,
                target_ids=targets,
                offices=[row.office for row, _ in tries],
                events=[row.event for row, _ in tries],
                oks=[ended.ok for _, ended in tries],
                statuses=[ended.status for _, ended in tries],
                errors=[ended.error for _, ended in tries],
                finals=finals,
                now=tx.now,
            )
            await self.sql.forget_attempts(tx.db, target_ids=targets, kept=ATTEMPTS_SHOWN)
