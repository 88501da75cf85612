"""S-10: what the day begins with."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from services.portal.portal import Portal
from services.portal.visitors import Visitor


def router(portal: Portal) -> APIRouter:
    """トップ."""
    screens = portal.router()

    @screens.get("/")
    async def top(request: Request, visitor: Annotated[Visitor, Depends(portal.visitor())]) -> Response:
        status = await visitor.client.status()
        return await portal.page(
            visitor,
            "top.html",
            screen="S-10",
            title="トップ",
            here="/",
            status_now=status,
            ready="ready" in request.query_params,
            failed_logins_at=visitor.web.held.failed_logins_at,
        )

    return screens
