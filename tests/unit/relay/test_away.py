"""What counts as "the database is away", and what must never be hidden by it."""

import asyncio

import pytest

from todoke.relay.postgres import Database, DatabaseAway


async def test_a_lost_connection_is_an_outage() -> None:
    with pytest.raises(DatabaseAway), Database._away():
        raise ConnectionResetError


async def test_a_value_that_does_not_fit_is_no_outage() -> None:
    with pytest.raises(ValueError, match="mine"), Database._away():
        raise ValueError("mine")


async def test_a_connection_lost_while_stopping_does_not_swallow_the_word_to_stop() -> None:
    entered = asyncio.Event()

    async def listen() -> None:
        with Database._away():
            try:
                entered.set()
                await asyncio.sleep(60)
            finally:
                raise ConnectionResetError

    task = asyncio.create_task(listen())
    await entered.wait()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
