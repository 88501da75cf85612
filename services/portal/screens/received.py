"""S-12: what has arrived."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from services.portal.portal import Portal
from services.portal.visitors import Visitor


def router(portal: Portal) -> APIRouter:
    """受信一覧."""
    screens = portal.router()

    @screens.get("/received")
    async def received(visitor: Annotated[Visitor, Depends(portal.visitor())], cursor: str | None = None) -> Response:
        page = await visitor.client.received(cursor)
        return await portal.page(
            visitor,
            "received.html",
            screen="S-12",
            title="受信一覧",
            here="/received",
            list=page,
            at=portal.clock.now(),
        )

    return screens
