"""S-14: what was sent, and how far it got."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from services.portal.portal import Portal
from services.portal.visitors import Visitor


def router(portal: Portal) -> APIRouter:
    """送信一覧."""
    screens = portal.router()

    @screens.get("/sent")
    async def sent(visitor: Annotated[Visitor, Depends(portal.visitor())], cursor: str | None = None) -> Response:
        page = await visitor.client.sent(cursor)
        return await portal.page(
            visitor,
            "sent.html",
            screen="S-14",
            title="送信一覧",
            here="/sent",
            list=page,
            at=portal.clock.now(),
        )

    return screens
