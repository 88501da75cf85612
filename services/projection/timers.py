"""How the whole pipeline is: measured by one worker, read by everybody."""

import csv
import functools
from datetime import datetime, timedelta
from importlib import resources
from typing import Literal, TypeAlias

from services.projection.shapes import SystemStatus
from todoke.relay.postgres import Database, queries

MEASURE_SECONDS = 5.0
"""How often the pipeline is measured: a delay must show within 30 s."""

SLOW_SECONDS = 60.0
"""A message that has been on its way for longer makes the state `slow` (screens, S-10.2)."""

STALE_SECONDS = 60.0
"""A measurement older than this says that nobody measures any more: nothing can be delivered then."""

State: TypeAlias = Literal["normal", "slow", "down"]

store = queries("services.projection")
reads = queries("services.projection", "reads.sql")


class Pulse:
    """Measures and tells how long the oldest message has been on its way."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def measure(self) -> None:
        """Keep since when the oldest message that nobody holds has been on its way."""
        async with self._db.worker() as tx:
            await store.measure_pulse(tx.db, now=tx.now)

    async def status(self) -> SystemStatus:
        """The state of the system, in words: the operators' word while there is one, else what was measured."""
        async with self._db.api(None) as tx:
            pulse = await reads.pulse(tx.db)
            now = tx.now
            word = await reads.operators_word(tx.db, now=now)
        if word is not None:
            return _told(word["state"], word["until"])
        if pulse is None:
            return _told("down")
        return _told(state_of(now, pulse["measured_at"], pulse["oldest_submitted_at"]))


def state_of(now: datetime, measured_at: datetime, oldest_submitted_at: datetime | None) -> State:
    """`down` when nobody measures, `slow` when a message has been on its way for too long."""
    if now - measured_at > timedelta(seconds=STALE_SECONDS):
        return "down"
    if oldest_submitted_at is not None and measured_at - oldest_submitted_at > timedelta(seconds=SLOW_SECONDS):
        return "slow"
    return "normal"


@functools.cache
def sentences() -> dict[str, str]:
    """The sentence of each state."""
    text = resources.files("services.projection").joinpath("status_ja.csv").read_text(encoding="utf-8")
    return {row["state"]: row["sentence"] for row in csv.DictReader(text.splitlines())}


def _told(state: State, until: datetime | None = None) -> SystemStatus:
    return SystemStatus(state=state, sentence=sentences()[state], until=until)
