"""S-12: what has arrived; with S-29, its search."""

import asyncio
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response

from services.portal.portal import Portal
from services.portal.routes import go
from services.portal.screens.listing import list_values, search_address
from services.portal.visitors import Visitor
from services.portal.wording import Sentence, say
from todoke.client import ApiError, ClientError
from todoke.client.shapes import Item

ROWS_ASKED_MAX = 50
"""Rows that one question of the live list may be about."""

ASKED_AT_ONCE = 8
"""Calls of the API that one page makes at a time."""

NEWS_COUNTED_MAX = 200


def router(portal: Portal) -> APIRouter:
    """受信一覧."""
    screens = portal.router()
    visitor_of = Annotated[Visitor, Depends(portal.visitor())]
    quiet_visitor = Annotated[Visitor, Depends(portal.visitor(used=False))]

    @screens.get("/received")
    async def received(request: Request, visitor: visitor_of) -> Response:
        return await received_page(portal, visitor, request)

    @screens.post("/received/search")
    async def search(request: Request, visitor: visitor_of) -> Response:
        form = await portal.form(request)
        return go(await search_address(portal, visitor, form, "/received"))

    @screens.get("/received/news")
    async def news(visitor: quiet_visitor, after: Annotated[int, Query(ge=0, lt=2**62)] = 0) -> Response:
        count, counts = await asyncio.gather(_arrived(visitor, after), visitor.client.counts())
        unread = counts.received.get("delivered", 0)
        return portal.pages.page("received_news.html", {"count": count, "unread": unread})

    @screens.get("/received/rows")
    async def rows(visitor: quiet_visitor, ids: Annotated[list[UUID], Query(alias="id")]) -> Response:
        found = await messages(visitor, ids[:ROWS_ASKED_MAX])
        counts = await visitor.client.counts()
        return portal.pages.page(
            "received_rows.html",
            {
                "visitor": visitor,
                "items": [item for item in found if item.recipient.number == visitor.office],
                "unread": counts.received.get("delivered", 0),
            },
        )

    return screens


async def received_page(
    portal: Portal, visitor: Visitor, request: Request, *, told: Sentence | None = None, status: int = 200
) -> Response:
    """The list as the address wants it; `told` is said above it."""
    seen = request.query_params.get("seen", "")
    values, frame = await asyncio.gather(
        list_values(portal, visitor, "received", request), portal.frames.of(visitor, "/received")
    )
    listing = values["list"]
    newest = max((item.delivery_no or 0 for item in listing.items), default=0)
    fresh = None
    if seen.isdecimal() and len(seen) < 19:  # noqa: PLR2004 (a bigint)
        count = await _arrived(visitor, int(seen))
        fresh = say("S-RENEWED", news=f"新しい受信 {count}件" if count else "新しい受信はありません").what
        newest = max(newest, int(seen))
    if not newest:
        newest = await _newest(visitor)
    return await portal.page(
        visitor,
        "received.html",
        screen="S-12",
        title="受信一覧",
        frame=frame,
        status=status,
        newest=newest,
        told=told,
        done=fresh,
        **values,
    )


async def messages(visitor: Visitor, ids: list[UUID]) -> list[Item]:
    """Some messages by their ids; those that are not there (any more) are left out."""
    gate = asyncio.Semaphore(ASKED_AT_ONCE)

    async def one(message_id: UUID) -> Item | None:
        async with gate:
            return await _one(visitor, message_id)

    found = await asyncio.gather(*map(one, ids))
    return [item for item in found if item is not None]


async def _one(visitor: Visitor, message_id: UUID) -> Item | None:
    try:
        return await visitor.client.message(message_id)
    except ApiError as refused:
        if refused.status != 404:  # noqa: PLR2004 (an HTTP status)
            raise
        return None


async def _arrived(visitor: Visitor, after: int) -> int:
    """How many messages came after a delivery number, as far as they are counted."""
    try:
        return len(await visitor.client.received_since(after, NEWS_COUNTED_MAX))
    except ClientError:
        return 0


async def _newest(visitor: Visitor) -> int:
    """The newest delivery number of the office, for a page that shows none."""
    page = await visitor.client.received(limit=1)
    return max((item.delivery_no or 0 for item in page.items), default=0)
