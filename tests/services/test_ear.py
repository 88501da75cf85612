"""NOTIFY as the services of a process hear it: all of them on one connection, which comes back when it is lost."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from todoke.relay.clock import Ports
from todoke.relay.postgres import Database, administrator
from todoke.relay.service import Shared

ASKED = """
SELECT count(*), min(pid) FROM pg_stat_activity
WHERE datname = current_database() AND query LIKE 'LISTEN%' AND state = 'idle'
"""


@pytest.fixture
def ports() -> Ports:
    """The clock of the machine: a lost connection is asked for again after a moment."""
    return Ports.real()


class Listening:
    """A service that listens on a channel, and what it heard."""

    def __init__(self, database: Database, channel: str) -> None:
        self.heard: asyncio.Queue[str] = asyncio.Queue()
        self.task = asyncio.create_task(database.hear(channel, self.heard.put_nowait))

    async def next(self) -> str:
        return await asyncio.wait_for(self.heard.get(), 20)

    async def end(self) -> None:
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.task


@pytest.fixture
async def two(shared: Shared) -> AsyncIterator[tuple[Listening, Listening]]:
    """Two services of one process, each with a channel of its own."""
    routing, storage = await shared.runtime("routing"), await shared.runtime("storage")
    listening = Listening(routing.db, "one"), Listening(storage.db, "other")
    yield listening
    for each in listening:
        await each.end()
    for runtime in (routing, storage):
        await runtime.db.close()


@pytest.fixture
async def admin(shared: Shared) -> AsyncIterator[Any]:
    """The administrator of the test's database."""
    async with administrator(shared.settings.postgres.get_secret_value()) as db:
        yield db


async def test_the_services_of_a_process_hear_their_own_channels_on_one_connection(
    two: tuple[Listening, Listening], admin: Any
) -> None:
    one, other = two
    assert await one.next() == await other.next() == ""  # from here on nothing is missed
    assert (await admin.fetchrow(ASKED))["count"] == 1
    await admin.execute("NOTIFY other, 'second'; NOTIFY one, 'first'")
    assert await one.next() == "first"
    assert await other.next() == "second"
    assert one.heard.empty()
    assert other.heard.empty()


async def test_who_heard_first_may_leave_and_the_others_hear_on(two: tuple[Listening, Listening], admin: Any) -> None:
    one, other = two
    assert await one.next() == await other.next() == ""
    await one.end()
    await admin.execute("NOTIFY other, 'still there'")
    assert await other.next() == "still there"


async def test_after_a_lost_connection_everybody_is_told_to_look(two: tuple[Listening, Listening], admin: Any) -> None:
    one, other = two
    assert await one.next() == await other.next() == ""
    await admin.execute("SELECT pg_terminate_backend($1)", (await admin.fetchrow(ASKED))["min"])
    assert await one.next() == await other.next() == ""
    await admin.execute("NOTIFY one, 'again'")
    assert await one.next() == "again"
