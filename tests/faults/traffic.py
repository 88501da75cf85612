"""Offices that send and collect while things break, and the account of what they were promised."""

import asyncio
import contextlib
import dataclasses
import hashlib
import io
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from http import HTTPStatus
from typing import Any, TypeVar
from uuid import UUID

from PIL import Image, PngImagePlugin

from tests.faults.stack import Stack
from todoke.client import ApiError, AsyncClient, Patience, Unreachable, Upload
from todoke.client.shapes import Item, RecallAnswer

T = TypeVar("T")

SENDERS = ("9970100018", "9970100315", "9900100015")
RECIPIENTS = ("9970100117", "9970100216")
PATIENCE = Patience(seconds=180, longest_pause=2)
"""A client that comes back every two seconds for three minutes: longer than any engine needs to come back."""

SETTLED_SECONDS_MAX = 240.0
"""So long may what was promised take to arrive once nothing breaks any more."""


@dataclasses.dataclass(frozen=True)
class Promise:
    """A 202 that a sender holds. `place` counts the messages of this sender."""

    message_id: str
    sender: str
    recipient: str
    place: int
    digests: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Arrival:
    """What a recipient found under a delivery number."""

    number: int
    message_id: str
    digests: tuple[str, ...]


@dataclasses.dataclass
class Account:
    """Everything that was promised, and everything that was collected, in the order it was.

    `before` holds the last delivery number of each recipient when the account was opened.
    """

    promises: list[Promise] = dataclasses.field(default_factory=list)
    collected: dict[str, list[Arrival]] = dataclasses.field(default_factory=lambda: defaultdict(list))
    before: dict[str, int] = dataclasses.field(default_factory=dict)

    def missing(self, office: str) -> int:
        """How many promised messages an office has not collected yet."""
        here = {arrival.message_id for arrival in self.collected[office]}
        return sum(promise.recipient == office and promise.message_id not in here for promise in self.promises)


def settle(account: Account) -> None:
    """Nothing lost, nothing twice, dense numbers, identical bytes, order kept between two offices."""
    by_id = {promise.message_id: promise for promise in account.promises}
    assert len(by_id) == len(account.promises), "two promises are one message"
    seen: list[str] = []
    for office, arrivals in account.collected.items():
        first = account.before.get(office, 0) + 1
        numbers = [arrival.number for arrival in arrivals]
        assert numbers == list(range(first, first + len(numbers))), f"{office}: the numbers are not dense"
        places: dict[str, list[int]] = defaultdict(list)
        assert len({arrival.message_id for arrival in arrivals}) == len(arrivals), f"{office}: a message came twice"
        for arrival in arrivals:
            promise = by_id.get(arrival.message_id)
            assert promise is not None, f"{office}: a message that nobody was promised"
            assert promise.recipient == office, f"{office}: somebody else's message"
            assert arrival.digests == promise.digests, f"{office}: other bytes"
            places[promise.sender].append(promise.place)
            seen.append(arrival.message_id)
        for sender, order in places.items():
            assert order == sorted(order), f"{sender} to {office}: out of order"
    assert set(seen) == set(by_id), "a promised message is lost"


class Traffic:
    """Offices that send without pause, one message after the other, and offices that collect, until told to stop."""

    def __init__(self, stack: Stack, *, senders: tuple[str, ...] = SENDERS, pause: float = 0.05) -> None:
        self.account = Account()
        self._stack = stack
        self._senders = senders
        self._pause = pause
        self._enough = asyncio.Event()
        self._all_sent = asyncio.Event()
        self._run = stack.port, id(self)

    @contextlib.asynccontextmanager
    async def flowing(self) -> AsyncIterator["Traffic"]:
        """Traffic inside the block; after it everything promised must arrive, and the account is settled."""
        for office in RECIPIENTS:
            async with self._client(office) as client:
                last = 0
                while items := await client.received_since(last, limit=200):
                    last = items[-1].delivery_no or last
                self.account.before[office] = last
        sending = [asyncio.create_task(self._send(sender)) for sender in self._senders]
        collecting = [asyncio.create_task(self._collect(office)) for office in RECIPIENTS]
        try:
            yield self
            self._enough.set()
            await asyncio.wait_for(asyncio.gather(*sending), SETTLED_SECONDS_MAX)
            self._all_sent.set()
            await asyncio.wait_for(asyncio.gather(*collecting), SETTLED_SECONDS_MAX)
        except TimeoutError:
            missing = {office: self.account.missing(office) for office in RECIPIENTS}
            words = "\n".join(f"--- {name}\n{self._stack.last_words(name)}" for name in self._stack.processes)
            raise AssertionError(f"not settled in time; missing {missing}; {self._stack.ended()}\n{words}") from None
        finally:
            for task in (*sending, *collecting):
                task.cancel()
            await asyncio.gather(*sending, *collecting, return_exceptions=True)
        settle(self.account)
        assert self.account.promises

    async def until_promised(self, more: int) -> None:
        """Until so many more messages have their 202."""
        wanted = len(self.account.promises) + more
        await until(lambda: len(self.account.promises) >= wanted, "more promises")

    async def until_collected(self, more: int) -> None:
        """Until so many more messages are 済."""
        there = sum(map(len, self.account.collected.values()))
        await until(lambda: sum(map(len, self.account.collected.values())) >= there + more, "more arrivals")

    @contextlib.asynccontextmanager
    async def _client(self, office: str) -> AsyncIterator[AsyncClient]:
        async with client_of(self._stack, office) as client:
            yield client

    async def _send(self, sender: str) -> None:
        place = 0
        async with self._client(sender) as client:
            while not self._enough.is_set():
                recipient = RECIPIENTS[place % len(RECIPIENTS)]
                content = picture(f"{sender}>{recipient}#{place} {self._run}")
                sent = await client.send(
                    recipient=recipient,
                    files=[Upload(name=f"写真{place}.png", content=content)],
                    idempotency_key=f"{id(self)}-{place}",
                )
                digests = (hashlib.sha256(content).hexdigest(),)
                self.account.promises.append(Promise(str(sent.message_id), sender, recipient, place, digests))
                place += 1
                await asyncio.sleep(self._pause)

    async def _collect(self, office: str) -> None:
        account, last = self.account, self.account.before[office]
        async with self._client(office) as client:
            while not (self._all_sent.is_set() and account.missing(office) == 0):
                for item in await client.received_since(last):
                    account.collected[office].append(await collect(client, item))
                    last = item.delivery_no or last
                await asyncio.sleep(0.1)


async def collect(client: AsyncClient, item: Any) -> Arrival:
    """Fetch every file of a message and give the receipt."""
    assert isinstance(item, Item), "a message whose content nobody gets any more"
    digests = []
    for file in item.files:
        data = await client.fetch_file(item.message_id, file.n, file.sha256)
        digests.append(hashlib.sha256(data).hexdigest())
    await client.receipt(item.message_id, digests)
    return Arrival(item.delivery_no or 0, str(item.message_id), tuple(digests))


@contextlib.asynccontextmanager
async def client_of(stack: Stack, office: str) -> AsyncIterator[AsyncClient]:
    """A logged-in client that retries for three minutes."""
    async with AsyncClient(stack.address, patience=PATIENCE) as client:
        await until_it_works(lambda: client.login(*stack.login_of(office)))
        yield client


async def until_it_works(act: Callable[[], Awaitable[T]], seconds: float = 180) -> T:
    """Try again what the client does not repeat by itself (a login), while the other side is away."""
    end = asyncio.get_running_loop().time() + seconds
    while True:
        try:
            return await act()
        except (Unreachable, ApiError) as refused:
            passes = isinstance(refused, Unreachable) or refused.status in (429, 502, 503)
            if not passes or asyncio.get_running_loop().time() > end:
                raise
        await asyncio.sleep(0.3)


async def until(check: Callable[[], bool | Coroutine[Any, Any, bool]], what: str, seconds: float = 120) -> None:
    """Wait until a check, plain or async, is true."""
    end = asyncio.get_running_loop().time() + seconds
    while True:
        outcome = check()
        if outcome if isinstance(outcome, bool) else await outcome:
            return
        if asyncio.get_running_loop().time() > end:
            raise AssertionError(f"did not happen: {what}")
        await asyncio.sleep(0.1)


async def recall_once_known(sender: AsyncClient, message_id: UUID, seconds: float = 120) -> RecallAnswer:
    """Recall a message as soon as storage knows it, which may have to be started again first."""
    end = asyncio.get_running_loop().time() + seconds
    while True:
        try:
            return await sender.recall(message_id, "誤り")
        except ApiError as refused:
            if refused.status != HTTPStatus.NOT_FOUND or asyncio.get_running_loop().time() > end:
                raise
        await asyncio.sleep(0.2)


def picture(text: str) -> bytes:
    """A small PNG that holds this text, so that no two have the same bytes."""
    told = PngImagePlugin.PngInfo()
    told.add_text("place", text)
    made = io.BytesIO()
    Image.new("RGB", (8, 8)).save(made, "PNG", pnginfo=told)
    return made.getvalue()
