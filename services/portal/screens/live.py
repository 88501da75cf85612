"""`/live`: what changes in an office's lists, as server-sent events; `/messages/…` says what the rows are now."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Response
from fastapi.responses import StreamingResponse

from services.portal.portal import Portal
from services.portal.visitors import Visitor


def router(portal: Portal) -> APIRouter:
    """The live stream of a tab."""
    screens = portal.router()

    @screens.get("/live")
    async def live(
        visitor: Annotated[Visitor, Depends(portal.visitor(used=False))],
        since: Annotated[float, Query(ge=0, le=1e11)] = 0.0,
        last_event_id: Annotated[str | None, Header(max_length=200)] = None,
    ) -> Response:
        """`since` is when the page was made (seconds since 1970): what happened after that is told."""
        rendered = datetime.fromtimestamp(since, UTC) if since else None

        async def still_in() -> bool:
            found = await portal.sessions.by_id(visitor.web.id)
            return found is not None and found.alive

        async def events() -> AsyncIterator[bytes]:
            with portal.live.open(visitor, last_event_id, rendered) as tab:
                async for piece in portal.live.events(tab, still_in):
                    yield piece

        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(events(), media_type="text/event-stream", headers=headers)

    return screens
