"""How long the session lasts: what the warning of five minutes asks, and 「続ける」."""

import math
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse

from services.portal.portal import Portal
from services.portal.visitors import Visitor


def router(portal: Portal) -> APIRouter:
    """The questions of a page that nobody has touched for a while."""
    screens = portal.router()

    @screens.get("/session/left")
    async def left(visitor: Annotated[Visitor, Depends(portal.visitor(used=False))]) -> Response:
        return JSONResponse({"seconds": _seconds(portal, visitor)})

    @screens.post("/session/on")
    async def on(request: Request, visitor: Annotated[Visitor, Depends(portal.visitor())]) -> Response:
        await portal.form(request)
        return JSONResponse({"seconds": _seconds(portal, visitor)})

    return screens


def _seconds(portal: Portal, visitor: Visitor) -> int:
    return max(0, math.floor((visitor.web.idle_until - portal.clock.now()).total_seconds()))
