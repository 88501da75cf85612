"""`/live`: one stream of the API per office and process, handed to every tab that is open there."""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, cast
from uuid import UUID

from services.portal.apis import Api, SessionSlot
from services.portal.visitors import Visitor
from todoke.client import ApiError, ClientError, NotLoggedIn
from todoke.client.shapes import StreamEvent
from todoke.relay.clock import Clock

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

HOLD_SECONDS = 300.0
"""A stream is opened anew so often, with tokens that last: it never has to renew them itself."""

LINGER_SECONDS = 30.0
"""So long a stream outlives its last tab: the next page of the same person finds it running."""

AGAIN_SECONDS = 2.0

RECENT = 500
"""Events that a tab can still be told when it comes back."""

QUEUE_MAX = 200
"""Events that wait for a tab; one that does not read is told to ask for everything instead."""

LOOK_SECONDS = 5.0
"""So often a tab's session is asked whether it has ended."""

HEARTBEAT_SECONDS = 15.0

RETRY_MILLISECONDS = 3000


@dataclass(frozen=True, slots=True)
class News:
    """What a tab is told. Without a `message_id`: anything may have changed."""

    event: str
    message_id: str
    id: str | None
    at: datetime

    def text(self) -> bytes:
        """As a server-sent event (WHATWG HTML section 9.2); nothing of a message but its id."""
        place = f"id: {self.id}\n" if self.id else ""
        return f'{place}event: {self.event}\ndata: {{"message_id": "{self.message_id}"}}\n\n'.encode()


@dataclass(eq=False, slots=True)
class Tab:
    """An open page."""

    session: UUID
    waiting: asyncio.Queue[News | None] = field(default_factory=asyncio.Queue)

    def tell(self, news: News) -> None:
        """Hand on; a tab that is far behind is told once that everything may have changed."""
        if self.waiting.qsize() >= QUEUE_MAX:
            while not self.waiting.empty():
                self.waiting.get_nowait()
            news = News("list-changed", "", news.id, news.at)
        self.waiting.put_nowait(news)

    def end(self) -> None:
        """The session has ended, or the process stops."""
        self.waiting.put_nowait(None)


@dataclass(eq=False, slots=True)
class Channel:
    """An office's stream and its tabs. `since` is when it began to listen."""

    office: str
    since: datetime
    tabs: set[Tab] = field(default_factory=set)
    recent: deque[News] = field(default_factory=lambda: deque(maxlen=RECENT))
    task: asyncio.Task[None] | None = None
    last: str | None = None
    left_at: float | None = None

    def missed(self, after: str | None, rendered: datetime | None, now: datetime) -> list[News]:
        """What a tab has missed that read up to an event, or whose page was made at a moment."""
        everything = [News("list-changed", "", self.last, now)]
        if after is not None:
            ids = [news.id for news in self.recent]
            return list(self.recent)[ids.index(after) + 1 :] if after in ids else everything
        if rendered is None or rendered < self.since:
            return everything
        return [news for news in self.recent if news.at >= rendered]


class Live:
    """Every office's channel in this process."""

    def __init__(
        self,
        visitor_of: Callable[[UUID], Awaitable[Visitor | None]],
        api: Api,
        clock: Clock,
        log: "FilteringBoundLogger",
    ) -> None:
        self._visitor_of = visitor_of
        self._api = api
        self._clock = clock
        self._log = log
        self._channels: dict[str, Channel] = {}

    async def close(self) -> None:
        """End every stream: the process stops."""
        for channel in list(self._channels.values()):
            for tab in channel.tabs:
                tab.end()
            if channel.task is not None:
                channel.task.cancel()
                await asyncio.gather(channel.task, return_exceptions=True)

    @contextlib.contextmanager
    def open(self, visitor: Visitor, after: str | None, rendered: datetime | None) -> Iterator[Tab]:
        """A tab of this visitor: it is told what it missed, and what happens from now on."""
        channel = self._channels.get(visitor.office)
        now = self._clock.now()
        if channel is None:
            channel = self._channels[visitor.office] = Channel(visitor.office, now)
        tab = Tab(visitor.web.id)
        for news in channel.missed(after, rendered, now):
            tab.tell(news)
        channel.tabs.add(tab)
        if channel.task is None:
            channel.task = asyncio.create_task(self._listen(channel))
        try:
            yield tab
        finally:
            channel.tabs.discard(tab)
            channel.left_at = self._clock.monotonic()

    async def events(self, tab: Tab, still_in: Callable[[], Awaitable[bool]]) -> AsyncIterator[bytes]:
        """What a tab is sent until its session ends."""
        yield f"retry: {RETRY_MILLISECONDS}\n\n".encode()
        looked = beaten = self._clock.monotonic()
        while True:
            news = None
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    news = await tab.waiting.get()
                if news is None:
                    return
            now = self._clock.monotonic()
            if now - looked >= LOOK_SECONDS or news is None:
                looked = now
                if not await still_in():
                    return
            if news is not None:
                yield news.text()
            elif now - beaten >= HEARTBEAT_SECONDS:
                beaten = now
                yield b": still here\n\n"

    async def _listen(self, channel: Channel) -> None:
        """Read the office's stream as one of the persons whose tabs are open, for as long as there are any."""
        try:
            while self._is_wanted(channel):
                tab = next(iter(channel.tabs), None)
                if tab is None:
                    await asyncio.sleep(AGAIN_SECONDS)
                    continue
                try:
                    await self._hear(channel, tab)
                except (NotLoggedIn, ApiError) as refused:
                    self._refused(channel, tab, refused)
                    await asyncio.sleep(AGAIN_SECONDS)
                except ClientError as away:
                    self._log.info("live_interrupted", error=type(away).__name__)
                    await asyncio.sleep(AGAIN_SECONDS)
        except Exception as broken:  # noqa: BLE001 (the tabs connect again, which starts it anew)
            self._log.error("live_fails", error=type(broken).__name__)
        finally:
            if self._channels.get(channel.office) is channel:
                del self._channels[channel.office]
            for tab in channel.tabs:
                tab.end()

    def _is_wanted(self, channel: Channel) -> bool:
        return bool(channel.tabs) or self._clock.monotonic() - (channel.left_at or 0) < LINGER_SECONDS

    async def _hear(self, channel: Channel, tab: Tab) -> None:
        visitor = await self._visitor_of(tab.session)
        if visitor is None:
            raise NotLoggedIn("the session has ended")
        # Without its refresh token: two that renew one session would end it.
        slot = SessionSlot(visitor.session.model_copy(update={"refresh_token": ""}))
        client = self._api.client(slot, None)
        stream = cast("AsyncGenerator[StreamEvent, None]", client.stream(channel.last))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(HOLD_SECONDS), contextlib.aclosing(stream):
                async for event in stream:
                    self._hand_on(channel, event)
                    if not self._is_wanted(channel):
                        return

    def _hand_on(self, channel: Channel, event: StreamEvent) -> None:
        channel.last = event.id or channel.last
        name = "list-changed" if event.event == "delivered" else "message-state"
        news = News(name, str(event.message_id or ""), event.id, self._clock.now())
        channel.recent.append(news)
        for tab in channel.tabs:
            tab.tell(news)

    def _refused(self, channel: Channel, tab: Tab, refused: ClientError) -> None:
        """This person may not listen any more: their tabs end, somebody else's go on."""
        self._log.info("live_refused", error=type(refused).__name__)
        for each in [each for each in channel.tabs if each.session == tab.session]:
            channel.tabs.discard(each)
            each.end()
