"""SIGKILL for every process and every engine while offices send and collect: everything promised arrives, once."""

import random

import pytest

from tests.faults.stack import PROCESSES, Stack
from tests.faults.traffic import Traffic
from todoke.engines import ENGINES

CHANCE = random.Random()  # noqa: S311 (which process dies next is no secret)


async def test_every_process_of_ours_may_be_killed(stack: Stack) -> None:
    async with Traffic(stack).flowing() as traffic:
        for name in CHANCE.sample(PROCESSES, len(PROCESSES)):
            await traffic.until_promised(4)
            stack.kill(name)
            await stack.restart(name)
        await stack.until_ready()
    assert stack.ended() == []


@pytest.mark.parametrize("engine", ENGINES)
async def test_every_engine_may_be_killed(stack: Stack, engine: str) -> None:
    async with Traffic(stack).flowing() as traffic:
        await traffic.until_collected(8)
        stack.kill(engine)
        await stack.restart(engine)
        await traffic.until_collected(8)
        await stack.until_ready()
    assert stack.ended() == [], "an engine's death must not end a process"


async def test_everything_of_ours_may_be_killed_at_once(stack: Stack) -> None:
    async with Traffic(stack).flowing() as traffic:
        await traffic.until_collected(8)
        for name in PROCESSES:
            stack.kill(name)
        for name in PROCESSES:
            await stack.restart(name)
        await traffic.until_collected(8)


@pytest.mark.soak
async def test_kills_again_and_again(stack: Stack) -> None:
    async with Traffic(stack).flowing() as traffic:
        for name in CHANCE.choices([*PROCESSES, *ENGINES], k=60):
            await traffic.until_promised(CHANCE.randint(1, 20))
            stack.kill(name)
            await stack.restart(name)
        await stack.until_ready()
