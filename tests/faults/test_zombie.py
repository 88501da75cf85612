"""A consumer that slept past its session, while another took over, changes nothing when it wakes."""

import asyncio

import pytest

from tests.faults.stack import Stack
from tests.faults.traffic import Traffic, until
from todoke.relay.membership import SESSION_MS


@pytest.mark.parametrize("service", ["routing", "storage", "projection"])
async def test_a_consumer_that_wakes_late_changes_nothing(stack: Stack, service: str) -> None:
    async with Traffic(stack).flowing() as traffic:
        await traffic.until_collected(4)
        stack.freeze(service)
        stack.start(f"{service}#2")
        await asyncio.sleep(SESSION_MS / 1000 + 1)  # the broker must have given its partitions away
        await traffic.until_collected(20)  # … and the second instance works on all of them
        stack.thaw(service)
        await traffic.until_collected(20)
    assert stack.ended() == []
    stack.stop(f"{service}#2")
    async with Traffic(stack).flowing() as traffic:
        await traffic.until_collected(10)


async def test_a_frozen_process_gives_up_its_locks(stack: Stack) -> None:
    """A process that sleeps inside a transaction must not hold up the office whose row it has locked."""
    async with Traffic(stack).flowing() as traffic:  # so that there are counters to lock
        await traffic.until_collected(2)
    async with stack.runtime("storage") as runtime:
        holding = asyncio.Event()
        woken = asyncio.Event()

        async def sleep_with_the_counters() -> None:
            async with runtime.db.worker() as tx:
                await tx.db.execute("SELECT 1 FROM counter FOR UPDATE")
                holding.set()
                await woken.wait()

        sleeper = asyncio.create_task(sleep_with_the_counters())
        await holding.wait()
        async with Traffic(stack).flowing() as traffic:
            await traffic.until_collected(4)
        woken.set()
        outcome = (await asyncio.gather(sleeper, return_exceptions=True))[0]
        assert isinstance(outcome, Exception), "the transaction outlived its limit"

    async def nobody_waits() -> bool:
        return not await stack.fetch("SELECT 1 FROM pg_locks WHERE NOT granted")

    await until(nobody_waits, "no waiting locks")
