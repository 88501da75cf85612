"""S-10, S-11: what the day begins with, and what operators tell the office."""

import asyncio
from collections.abc import Awaitable
from typing import Annotated, TypeVar
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response

from services.portal.day import MOVES_MAX, claims_end, endings, last_moves
from services.portal.portal import Portal
from services.portal.visitors import Visitor
from todoke.client import ApiError
from todoke.client.shapes import Page

NOTICES = 10

ItemT = TypeVar("ItemT")


def router(portal: Portal) -> APIRouter:
    """トップ, and one notice."""
    screens = portal.router()

    @screens.get("/")
    async def top(request: Request, visitor: Annotated[Visitor, Depends(portal.visitor())]) -> Response:
        client, now = visitor.client, portal.clock.now()
        frame, status, office, notices, received, sent = await asyncio.gather(
            portal.frames.of(visitor, "/"),
            client.status(),
            client.own_office(),
            _page(client.notices(NOTICES)),
            _page(client.received(limit=MOVES_MAX)),
            _page(client.sent(limit=MOVES_MAX)),
        )
        return await portal.page(
            visitor,
            "top.html",
            screen="S-10",
            title="トップ",
            frame=frame,
            status_now=status,
            ready="ready" in request.query_params,
            failed_logins_at=visitor.web.held.failed_logins_at,
            office=office,
            endings=endings(office, now),
            claims_end=claims_end(now),
            notices=notices,
            moves=last_moves(received, sent),
            now=now,
        )

    @screens.get("/notices/{notice}")
    async def notice(notice: UUID, visitor: Annotated[Visitor, Depends(portal.visitor())]) -> Response:
        """Opening it is reading it: 未読 goes for this person (S-11.1)."""
        found = await visitor.client.notice(notice)
        if found.unread:
            await visitor.client.mark_notice_read(notice)
        return await portal.page(visitor, "notice.html", screen="S-11", title=found.title, here="/", notice=found)

    return screens


async def _page(asked: Awaitable[Page[ItemT]]) -> tuple[ItemT, ...]:
    """The rows, or none where the office may not read them any more: the band says why."""
    try:
        return tuple((await asked).items)
    except ApiError as refused:
        if refused.status != 403:  # noqa: PLR2004 (forbidden)
            raise
        return ()
