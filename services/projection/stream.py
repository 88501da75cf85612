"""The push stream: an office's change feed as server-sent events (WHATWG HTML section 9.2)."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from services.projection.bell import Bell
from services.projection.positions import Positions
from services.projection.rules import PUSHED
from services.projection.shapes import Push
from todoke.relay.faults import Transient
from todoke.relay.limits import STREAMS_PER_USER_MAX
from todoke.relay.policy import Caller
from todoke.relay.postgres import Database, queries
from todoke.relay.problem import Problem

HEARTBEAT_SECONDS = 15.0
"""A comment so often keeps proxies from closing a quiet stream."""

LOOK_SECONDS = 1.0
"""Between two bells the session is asked so often whether it has ended, and the feed whether a bell was lost."""

RETRY_MILLISECONDS = 2000
"""How long a client waits before it connects again."""

ROWS_MAX = 200
"""Changes read at a time."""

STREAMS_MAX = 2000
"""Open streams of one process."""

PUSHES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Server-sent events (WHATWG HTML section 9.2): `event` is the change, `data` a Push in JSON, "
        "`id` the place for `Last-Event-ID`. The first block holds only `retry` and `id`; comments keep it open.",
        "content": {
            "text/event-stream": {
                "schema": {"type": "string"},
                "example": "id: …\nevent: delivered\n"
                'data: {"message_id":"019a2f3c-0000-7000-8000-000000000000","delivery_no":17}\n\n',
                "x-itemSchema": {
                    "type": "object",
                    "properties": {
                        "id": {"type": "string"},
                        "event": {"type": "string", "enum": sorted(set(PUSHED.values()))},
                        "data": {
                            "type": "string",
                            "contentMediaType": "application/json",
                            "contentSchema": {"$ref": "#/components/schemas/Push"},
                        },
                        "retry": {"type": "integer", "description": "milliseconds"},
                    },
                    "$defs": {"Push": Push.model_json_schema()},
                },
            }
        },
    }
}
"""What OpenAPI says of the stream; `x-itemSchema` is what version 3.2 calls `itemSchema`."""

reads = queries("services.projection", "reads.sql")


class Streams:
    """The open streams of this process."""

    def __init__(self, db: Database, bell: Bell, positions: Positions) -> None:
        self._db = db
        self._bell = bell
        self._positions = positions
        self._open: Counter[tuple[str, str | None]] = Counter()
        self._closing = asyncio.Event()

    def close(self) -> None:
        """End every stream: the process stops."""
        self._closing.set()
        self._bell.ring("")

    async def open(
        self, caller: Caller, last_event_id: str | None, still_in: Callable[[], Awaitable[object]]
    ) -> StreamingResponse:
        """A stream for a caller, after `last_event_id` or from now on.

        `still_in` raises `Problem` once the session has ended; the stream ends then.

        Raises `Problem`: 429 `TDK-STREAMS` (this user has enough of them), 503 `TDK-BUSY`.
        """
        who = (caller.office, caller.user_id)
        if self._open[who] >= STREAMS_PER_USER_MAX:
            raise Problem("TDK-STREAMS", retry_after=10, streams=STREAMS_PER_USER_MAX)
        if self._open.total() >= STREAMS_MAX:
            raise Problem("TDK-BUSY", retry_after=10)
        after = await self._start(caller.office, last_event_id)
        return _Counted(self._events(caller.office, after, still_in), self._counted(who))

    @contextlib.contextmanager
    def _counted(self, who: tuple[str, str | None]) -> Iterator[None]:
        self._open[who] += 1
        try:
            yield
        finally:
            self._open[who] -= 1
            if not self._open[who]:
                del self._open[who]

    async def _start(self, office: str, last_event_id: str | None) -> int:
        after = None if last_event_id is None else self._positions.read_change(office, last_event_id)
        if after is not None:
            return after
        async with self._db.api(office) as tx:
            return await reads.last_change(tx.db, office=office) or 0

    async def _events(self, office: str, after: int, still_in: Callable[[], Awaitable[object]]) -> AsyncIterator[bytes]:
        clock = self._db.ports.clock
        yield f"retry: {RETRY_MILLISECONDS}\nid: {self._positions.change(office, after)}\n\n".encode()
        beaten = clock.monotonic()
        with self._bell.waiting(office) as bell:
            while not self._closing.is_set() and await _holds(still_in):
                rows = await self._after(office, after)
                if rows:
                    after = rows[-1]["change_no"]
                    beaten = clock.monotonic()
                    yield b"".join(self._event(office, row) for row in rows)
                elif clock.monotonic() - beaten >= HEARTBEAT_SECONDS:
                    beaten = clock.monotonic()
                    yield b": still here\n\n"
                if len(rows) < ROWS_MAX:
                    await bell.woken(LOOK_SECONDS)

    async def _after(self, office: str, after: int) -> list[Any]:
        """The next changes; none while the database is away, so that a short outage does not end the stream."""
        with contextlib.suppress(Transient):
            async with self._db.api(office) as tx:
                rows: list[Any] = await reads.changes_after(tx.db, office=office, after=after, rows_max=ROWS_MAX)
            return rows
        return []

    def _event(self, office: str, row: Any) -> bytes:
        data = Push(message_id=row["message_id"], delivery_no=row["delivery_no"]).model_dump_json()
        place = self._positions.change(office, row["change_no"])
        return f"id: {place}\nevent: {row['event']}\ndata: {data}\n\n".encode()


async def _holds(still_in: Callable[[], Awaitable[object]]) -> bool:
    try:
        await still_in()
    except Problem:
        return False
    return True


class _Counted(StreamingResponse):
    """A stream that is counted for as long as it is really being sent, also when the reader goes at once."""

    def __init__(self, events: AsyncIterator[bytes], counted: contextlib.AbstractContextManager[None]) -> None:
        super().__init__(
            events,
            media_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )
        self._counted = counted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the reader goes, the session ends or the process stops."""
        with self._counted:
            await super().__call__(scope, receive, send)
