"""Turns: how many of one office are at work, who waits and in which order, and that nothing is kept of who is gone."""

import asyncio

import pytest

from todoke.relay import deadline, turns
from todoke.relay.faults import Transient
from todoke.relay.problem import Problem
from todoke.relay.turns import Turns


class Work:
    """Requests of offices that work until they are told to end."""

    def __init__(self, at_once: int, waiting_max: int = 400) -> None:
        self.turns = Turns(at_once, waiting_max)
        self.running: list[str] = []
        self.begun: list[str] = []
        self.failing: dict[str, Exception] = {}
        self._ends: dict[str, asyncio.Event] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def ask(self, *names: str) -> None:
        """Requests named by their office and a number: `A1`."""
        for name in names:
            self._ends[name] = asyncio.Event()
            self._tasks[name] = asyncio.create_task(self._work(name))
        await settled()

    async def _work(self, name: str) -> None:
        async with self.turns.of(name[0]):
            self.running.append(name)
            self.begun.append(name)
            try:
                await self._ends[name].wait()
                if name in self.failing:
                    raise self.failing[name]
            finally:
                self.running.remove(name)

    async def end(self, *names: str) -> None:
        for name in names:
            self._ends[name].set()
        await settled()

    async def give_up(self, *names: str) -> None:
        for name in names:
            self._tasks[name].cancel()
        await settled()

    async def outcome(self, name: str) -> int | None:
        """The status that a request ended with; None for one that was served."""
        try:
            await self._tasks[name]
        except Problem as problem:
            return problem.status
        return None


async def settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_an_office_waits_for_itself_and_nobody_waits_for_it() -> None:
    work = Work(2)
    await work.ask("A1", "A2", "A3", "A4", "B1")
    assert work.running == ["A1", "A2", "B1"]
    await work.end("A2")
    assert work.running == ["A1", "B1", "A3"]
    await work.end("A1", "A3", "A4", "B1")
    assert work.begun == ["A1", "A2", "B1", "A3", "A4"]
    assert len(work.turns) == 0


async def test_who_gives_up_waiting_or_working_leaves_the_place_to_the_next() -> None:
    work = Work(1)
    await work.ask("A1", "A2", "A3", "A4")
    await work.give_up("A2")
    await work.give_up("A1")
    assert work.running == ["A3"]
    await work.end("A3", "A4")
    assert work.begun == ["A1", "A3", "A4"]
    assert len(work.turns) == 0


async def test_a_turn_that_comes_in_the_moment_of_giving_up_is_not_lost() -> None:
    work = Work(1)
    await work.ask("A1", "A2", "A3")
    work._ends["A1"].set()
    await asyncio.sleep(0)  # A1 ends and A2 has its turn, but has not woken up yet
    await work.give_up("A2")
    assert work.running == ["A3"]
    await work.end("A3")
    assert len(work.turns) == 0


async def test_whoever_finds_the_queue_full_is_told_to_come_again() -> None:
    work = Work(1, waiting_max=1)
    await work.ask("A1", "A2", "A3", "B1")
    assert await work.outcome("A3") == 429
    assert work.running == ["A1", "B1"]
    await work.end("A1", "A2", "B1")
    assert len(work.turns) == 0


async def test_whoever_waits_too_long_is_told_to_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadline, "ANSWER_SECONDS_MAX", deadline.WORK_SECONDS + 0.01)
    work = Work(1)
    await work.ask("A1", "A2")
    assert await work.outcome("A2") == 429
    await work.ask("A3")
    await work.end("A1")
    assert work.running == ["A3"]
    await work.end("A3")
    assert len(work.turns) == 0


@pytest.mark.parametrize(
    ("ended_with", "status"),
    [
        (None, 429),
        (Problem("TDK-NO-RECIPIENT"), 429),
        (Problem("TDK-ENGINE-AWAY"), 503),
        (Transient("an engine"), 503),
    ],
)
async def test_who_waited_in_vain_is_told_whether_anything_moved(
    monkeypatch: pytest.MonkeyPatch, ended_with: Exception | None, status: int
) -> None:
    """A refusal shows that the engines are there; what ends because one is away does not."""
    now = [0.0]
    monkeypatch.setattr(turns, "_now", lambda: now[0])
    monkeypatch.setattr(deadline, "ANSWER_SECONDS_MAX", deadline.WORK_SECONDS + 0.01)
    work = Work(1)
    if ended_with is not None:
        work.failing["A1"] = ended_with
    await work.ask("A1", "A2")
    now[0] = 3
    await work.end("A1")
    now[0] = 5
    await work.ask("A3")
    assert await work.outcome("A3") == status
    await work.end("A2")
    assert len(work.turns) == 0


async def test_what_waits_before_a_turn_is_told_what_stands_still_behind_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A body that is slow to come is no engine that is away."""
    now = [0.0]
    monkeypatch.setattr(turns, "_now", lambda: now[0])
    monkeypatch.setattr(deadline, "ANSWER_SECONDS_MAX", deadline.WORK_SECONDS + 0.01)
    before, behind = Turns(1, 400), Turns(1, 400)

    async def waits_in_vain() -> int:
        with pytest.raises(Problem) as refused:
            async with before.of("A", behind):
                pass
        return refused.value.status

    async with before.of("A", behind):
        now[0] = 9
        assert await waits_in_vain() == 429
        async with behind.of("A"):
            now[0] = 18
            assert await waits_in_vain() == 503


@pytest.mark.parametrize("at_once", [1, 3])
async def test_any_order_of_ending_and_giving_up_leaves_nothing_behind(at_once: int) -> None:
    work = Work(at_once)
    names = [f"{office}{number}" for number in range(8) for office in "AB"]
    await work.ask(*names)
    steps = (work.end, work.give_up)
    for number, name in enumerate(names[::3] + names[1::3] + names[2::3]):
        await steps[number % 2](name)
        assert len([each for each in work.running if each[0] == "A"]) <= at_once
    assert work.running == []
    assert len(work.turns) == 0
