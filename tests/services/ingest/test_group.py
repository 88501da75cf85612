"""Who waits at the same moment shares one commit; nobody suffers for another."""

import asyncio
from collections.abc import Sequence

import pytest

from services.ingest.group import MEMBERS_MAX, Again, GroupCommit
from todoke.relay.faults import Transient
from todoke.relay.problem import Problem


class Ledger:
    """Commits numbers; some of them make trouble."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.seen: set[int] = set()

    async def commit(self, members: Sequence[int]) -> list[str | Problem | Again]:
        self.groups.append(list(members))
        await asyncio.sleep(0)
        if 13 in members:
            raise ValueError("one member's own fault")
        if 99 in members:
            raise Transient("away")
        return [self._one(member) for member in members]

    def _one(self, member: int) -> str | Problem | Again:
        if member == 7:
            return Problem("TDK-SEQUENCE-USED")
        if member == 5 and member not in self.seen:
            self.seen.add(member)
            return Again.AGAIN
        return f"kept {member}"


async def test_those_who_wait_share_a_commit_and_nobody_waits_for_company() -> None:
    ledger = Ledger()
    group: GroupCommit[int, str] = GroupCommit(ledger.commit)
    first = asyncio.create_task(group.join(1))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    rest = [asyncio.create_task(group.join(number)) for number in (2, 3, 4)]
    assert await asyncio.gather(first, *rest) == ["kept 1", "kept 2", "kept 3", "kept 4"]
    assert ledger.groups == [[1], [2, 3, 4]]
    assert await group.join(6) == "kept 6"


async def test_a_group_is_bounded() -> None:
    ledger = Ledger()
    group: GroupCommit[int, str] = GroupCommit(ledger.commit)
    await asyncio.gather(*(group.join(1000 + number) for number in range(MEMBERS_MAX + 1)))
    assert [len(members) for members in ledger.groups] == [MEMBERS_MAX, 1]


async def test_a_refused_member_hears_its_problem_and_the_others_are_kept() -> None:
    group: GroupCommit[int, str] = GroupCommit(Ledger().commit)
    results = await asyncio.gather(*map(group.join, (1, 7, 2)), return_exceptions=True)
    assert (results[0], results[2]) == ("kept 1", "kept 2")
    assert isinstance(results[1], Problem)


async def test_a_member_that_breaks_the_group_fails_alone() -> None:
    ledger = Ledger()
    group: GroupCommit[int, str] = GroupCommit(ledger.commit)
    results = await asyncio.gather(*map(group.join, (1, 13, 2)), return_exceptions=True)
    assert (results[0], results[2]) == ("kept 1", "kept 2")
    assert isinstance(results[1], ValueError)
    assert ledger.groups == [[1, 13, 2], [1], [13], [2]]


async def test_a_database_that_is_away_fails_all_at_once() -> None:
    ledger = Ledger()
    group: GroupCommit[int, str] = GroupCommit(ledger.commit)
    results = await asyncio.gather(*map(group.join, (1, 99, 2)), return_exceptions=True)
    assert [type(result) for result in results] == [Transient] * 3
    assert len(ledger.groups) == 1
    assert await group.join(3) == "kept 3"


async def test_who_must_come_again_comes_in_the_next_group() -> None:
    ledger = Ledger()
    group: GroupCommit[int, str] = GroupCommit(ledger.commit)
    assert await asyncio.gather(*map(group.join, (5, 6))) == ["kept 5", "kept 6"]
    assert ledger.groups == [[5, 6], [5]]


async def test_a_request_that_was_given_up_does_not_stop_the_group() -> None:
    group: GroupCommit[int, str] = GroupCommit(Ledger().commit)
    given_up, kept = asyncio.create_task(group.join(1)), asyncio.create_task(group.join(2))
    await asyncio.sleep(0)
    given_up.cancel()
    assert await kept == "kept 2"
    with pytest.raises(asyncio.CancelledError):
        await given_up
    await group.stop()
