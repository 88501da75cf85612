"""Work that goes on without a browser: whoever is free takes the next piece, in every process that does the work."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from todoke.relay.faults import Transient
from todoke.relay.postgres import Database

T = TypeVar("T")

POLL_SECONDS = 2.0
"""How often work is looked for that nobody was woken for."""


async def work(
    db: Database,
    channel: str,
    claimed: Callable[[], Awaitable[T | None]],
    carry_out: Callable[[T], Coroutine[Any, Any, None]],
    at_once: int,
) -> None:
    """Claim and carry out, until cancelled; what is under way then is cancelled too. NOTIFY on the channel wakes it."""
    woken = asyncio.Event()
    going: set[asyncio.Task[None]] = set()
    listening = asyncio.create_task(db.hear(channel, lambda _: woken.set()))
    try:
        while True:
            woken.clear()
            with contextlib.suppress(Transient):
                while len(going) < at_once and (one := await claimed()) is not None:
                    task = asyncio.create_task(carry_out(one))
                    going.add(task)
                    task.add_done_callback(going.discard)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await woken.wait()
    finally:
        for task in (listening, *going):
            task.cancel()
        await asyncio.gather(listening, *going, return_exceptions=True)
