"""How long the session lasts, and where else one is logged in."""

import math
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse

from services.portal.portal import Portal
from services.portal.routes import go
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

    @screens.get("/session/list")
    async def sessions(request: Request, visitor: Annotated[Visitor, Depends(portal.visitor())]) -> Response:
        return await portal.page(
            visitor,
            "sessions.html",
            screen="S-09",
            title="ログイン中の端末",
            sessions=await visitor.client.sessions(),
            ended="ended" in request.query_params,
        )

    @screens.post("/session/end")
    async def end(request: Request, visitor: Annotated[Visitor, Depends(portal.visitor())]) -> Response:
        """One of the sessions, or (`all`) every one but this."""
        wanted = (await portal.form(request)).text("session")
        for session in await visitor.client.sessions():
            if not session.current and wanted in ("all", str(session.id)):
                await visitor.client.end_session(session.id)
        return go("/session/list?ended=1")

    return screens


def _seconds(portal: Portal, visitor: Visitor) -> int:
    return max(0, math.floor((visitor.web.idle_until - portal.clock.now()).total_seconds()))
