"""The lists built anew while offices send, collect and look: nobody ever sees one that is wrong or lacks something."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from tests.faults.operators import WORD, Operator
from tests.faults.stack import Stack
from tests.faults.traffic import RECIPIENTS, SENDERS, Account, Traffic, client_of, until
from todoke.client import AsyncClient

ORDER = ("submitted", "accepted", "routed", "delivered", "downloaded")
SLOWLY = {"TODOKE_REBUILD_RECORDS_PER_SECOND": "60"}


class Rebuilding:
    """An operator who builds the lists anew."""

    def __init__(self, operator: Operator) -> None:
        self._operator = operator

    async def did(self, method: str, path: str = "", body: Any = WORD) -> Any:
        return await self._operator.did(method, f"/services/projection/rebuild{path}", body)

    async def standing(self) -> Any:
        return await self.did("GET", body=None)

    async def until_heard(self, records: int) -> None:
        async def reached() -> bool:
            return bool((await self.standing())["progress"]["heard"] >= records)

        await until(reached, "more records heard anew")

    async def until_ready(self) -> None:
        async def reached() -> bool:
            return bool((await self.standing())["state"] == "ready")

        await until(reached, "a rebuild that is ready")

    async def differences(self) -> set[tuple[str, str]]:
        await self.did("POST", "/compare")

        async def done() -> bool:
            return bool((await self.did("GET", "/compare", None))["state"] == "done")

        await until(done, "the end of a comparison")
        found = await self.did("GET", "/compare", None)
        assert found["equal"] is (not found["differences"])
        return {(one["office"], one["table"]) for one in found["differences"]}


class Watch:
    """Looks at the lists of offices without pause; what it has seen once must stay and may only go forward."""

    def __init__(self, stack: Stack, account: Account) -> None:
        self._stack = stack
        self._account = account
        self._reconnect = asyncio.Event()
        self.looks = 0
        self.pushed: dict[str, list[int]] = {office: [] for office in RECIPIENTS}

    @contextlib.asynccontextmanager
    async def looking(self) -> AsyncIterator["Watch"]:
        """Look inside the block; the first thing that is wrong ends it."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._received(office)) for office in RECIPIENTS]
            tasks += [group.create_task(self._streamed(office)) for office in RECIPIENTS]
            tasks += [group.create_task(self._sent(office)) for office in SENDERS[:2]]
            tasks.append(group.create_task(self._counted(RECIPIENTS[0])))
            yield self
            for task in tasks:
                task.cancel()

    async def more(self, looks: int) -> None:
        """Until it has looked so many more times."""
        wanted = self.looks + looks
        await until(lambda: self.looks >= wanted, "more looks")

    def reconnect(self) -> None:
        """Streams begin again, after the last event that they saw."""
        self._reconnect.set()
        self._reconnect = asyncio.Event()

    async def _received(self, office: str) -> None:
        before, seen = self._account.before[office], dict[str, int]()
        async with client_of(self._stack, office) as client:
            while True:
                items = [item async for item in client.each_received_since(before)]
                assert [item.delivery_no for item in items] == list(range(before + 1, before + 1 + len(items)))
                self._forward(seen, items)

    async def _sent(self, office: str) -> None:
        async with client_of(self._stack, office) as client:
            seen = dict[str, int]()
            while True:
                promised = {p.message_id for p in self._account.promises if p.sender == office}
                page = await client.sent(limit=200)
                assert len(promised) < 200, "more than a page: look at fewer"
                self._forward(seen, [item for item in page.items if str(item.message_id) in promised])

    async def _counted(self, office: str) -> None:
        async with client_of(self._stack, office) as client:
            last = 0
            while True:
                counts = await client.counts()
                total = sum(counts.received.values())
                assert total >= last, "fewer messages than before"
                last = total

    def _forward(self, seen: dict[str, int], items: list[Any]) -> None:
        now = {str(item.message_id): ORDER.index(item.status) for item in items}
        assert seen.keys() <= now.keys(), "a message that was listed is missing"
        assert all(now[message] >= rank for message, rank in seen.items()), "an older state than before"
        seen |= now
        self.looks += 1

    async def _streamed(self, office: str) -> None:
        last: str | None = None
        async with client_of(self._stack, office) as client:
            while True:
                last = await self._one_stream(client, office, last)

    async def _one_stream(self, client: AsyncClient, office: str, last: str | None) -> str | None:
        events = client.stream(last)
        enough = asyncio.ensure_future(self._reconnect.wait())
        try:
            while True:
                following = asyncio.ensure_future(anext(events))
                await asyncio.wait({following, enough}, return_when=asyncio.FIRST_COMPLETED)
                if not following.done():
                    following.cancel()
                    await asyncio.gather(following, return_exceptions=True)
                    return last
                event = following.result()
                last = event.id
                if event.event == "delivered":
                    self.pushed[office].append(event.delivery_no or 0)
        finally:
            enough.cancel()


async def _damage(stack: Stack) -> tuple[str, str]:
    """One row of the live lists is not what it should be, in a way that the watch does not look at."""
    [row] = await stack.fetch(
        "UPDATE projection_lists.received SET sender_name = 'damaged' WHERE message_id = "
        "(SELECT message_id FROM projection_lists.received WHERE recipient = $1 ORDER BY delivery_no DESC LIMIT 1) "
        "RETURNING recipient",
        RECIPIENTS[0],
    )
    return row["recipient"], "received"


@pytest.mark.timeout(300)
async def test_lists_are_rebuilt_compared_and_switched_while_everybody_looks(stack: Stack) -> None:
    operator = Rebuilding(await Operator.of(stack))
    stack.kill("projection")
    stack.start("projection", **SLOWLY)
    async with Traffic(stack, senders=SENDERS[:2], pause=0.2).flowing() as traffic:
        await traffic.until_collected(8)
        async with Watch(stack, traffic.account).looking() as watch:
            await operator.did("POST")
            await _killed_in_the_middle(stack, operator)
            await operator.until_ready()
            held = (await operator.standing())["held"]  # what an earlier test poisoned cannot be heard here either
            before = await operator.differences()
            assert held or not before
            damaged = await _damage(stack)
            assert await operator.differences() == before | {damaged}
            await watch.more(20)
            await operator.did("POST", "/switch")
            watch.reconnect()
            await watch.more(20)
            await traffic.until_collected(4)
            assert damaged in await operator.differences()  # now in the one that is kept, which follows
            assert not await stack.fetch("SELECT 1 FROM projection_lists.received WHERE sender_name = 'damaged'")
            await operator.did("DELETE")
            await _all_pushed(watch, traffic.account)
    assert stack.ended() == []


@pytest.mark.soak
@pytest.mark.timeout(900)
async def test_rebuilt_and_switched_again_and_again(stack: Stack) -> None:
    operator = Rebuilding(await Operator.of(stack))
    async with (
        Traffic(stack, senders=SENDERS[:2], pause=2).flowing() as traffic,
        Watch(stack, traffic.account).looking() as watch,
    ):
        for _ in range(40):
            await operator.did("POST")
            await operator.until_ready()
            assert (await operator.standing())["held"] or not await operator.differences()
            for _ in range(2):  # there and back
                await operator.did("POST", "/switch")
                watch.reconnect()
                await watch.more(2)
            await operator.did("DELETE")
        await traffic.until_collected(2)
        await _all_pushed(watch, traffic.account)
    assert stack.ended() == []


async def _killed_in_the_middle(stack: Stack, operator: Rebuilding) -> None:
    await operator.until_heard(30)
    stack.kill("projection")
    there = (await operator.standing())["progress"]
    assert there["heard"] < there["total"]
    stack.start("projection")
    assert (await operator.standing())["progress"]["heard"] == there["heard"]
    await operator.until_heard(there["heard"] + 1)


async def _all_pushed(watch: Watch, account: Account) -> None:
    """Each number that the watch has seen in a stream came once and in order, over kill, switch and new connections."""
    for office, numbers in watch.pushed.items():
        await until(_reaches(numbers, max(arrival.number for arrival in account.collected[office])), "every push")
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def _reaches(numbers: list[int], number: int) -> Callable[[], bool]:
    return lambda: bool(numbers) and numbers[-1] >= number
