"""How races are run: everybody is ready, one word lets all go, and who is ahead changes from round to round."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from itertools import cycle
from typing import Any

import httpx
import pytest

STEPS = 4
BEHIND = math.inf


def rounds(some: int) -> pytest.MarkDecorator:
    """Parametrizes `rounds`: some in every run, a thousand in `make soak`."""
    return pytest.mark.parametrize(
        "rounds",
        [
            pytest.param(some, id="some"),
            pytest.param(1000, id="thousand", marks=[pytest.mark.soak, pytest.mark.timeout(3600)]),
        ],
    )


async def race(*racers: Callable[..., Awaitable[Any]], delays: Sequence[float] = (0.0,)) -> list[Any]:
    """Let all start at the same moment, each after a delay of its own (seconds; too few are used again and again).

    Who is `BEHIND` starts when everybody who is not has been answered.
    """
    ready, ahead_are_answered = asyncio.Barrier(len(racers)), asyncio.Barrier(len(racers))

    async def run(racer: Callable[..., Awaitable[Any]], delay: float) -> Any:
        await ready.wait()
        if delay == BEHIND:
            await ahead_are_answered.wait()
            return await racer()
        await asyncio.sleep(delay)
        try:
            return await racer()
        finally:
            await ahead_are_answered.wait()

    return await asyncio.gather(*map(run, racers, cycle(delays)))


def apart(turn: int, seconds: float) -> tuple[float, float]:
    """The delays of two racers: over nine rounds from the second wholly behind the first, over none, to the reverse."""
    place = turn % (2 * STEPS + 1) - STEPS
    delay = BEHIND if abs(place) == STEPS else abs(place) * seconds / (STEPS - 1)
    return (0.0, delay) if place < 0 else (delay, 0.0)


def outcome(answer: httpx.Response) -> int | str:
    """The status of an answer that was given, the code of one that was refused; anything else is a failure."""
    if answer.is_success:
        return answer.status_code
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    said: Any = answer.json()
    assert said["status"] == answer.status_code < 500, said
    return str(said["code"])
