"""How long the session lasts, and where else one is logged in."""

import math
from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse

from services.portal.console import CONSOLE, Operator
from services.portal.portal import USAGE, Portal
from services.portal.routes import go
from services.portal.visitors import Visitor

Looks = Callable[[Request], Awaitable[Visitor | Operator]]
"""A guard of any of the sites."""


def routers(portal: Portal) -> tuple[APIRouter, APIRouter]:
    """The questions of a page that nobody has touched for a while: of the portal, and of 利用状況Webサイト."""
    usage = portal.router("usage")
    _add_clock(usage, portal, USAGE, portal.usage_visitor(used=False), portal.usage_visitor())
    screens = portal.router()
    _add_clock(screens, portal, "", portal.visitor(used=False), portal.visitor())
    _add_list(screens, portal)
    return screens, usage


def console_router(portal: Portal) -> APIRouter:
    """The same questions of the operators' console."""
    screens = portal.router("operator")
    _add_clock(screens, portal, CONSOLE, portal.operator(used=False), portal.operator())
    return screens


def _add_clock(screens: APIRouter, portal: Portal, site: str, looks: Looks, uses: Looks) -> None:
    @screens.get(f"{site}/session/left")
    async def left(visitor: Annotated[Visitor | Operator, Depends(looks)]) -> Response:
        return JSONResponse({"seconds": _seconds(portal, visitor)})

    @screens.post(f"{site}/session/on")
    async def on(request: Request, visitor: Annotated[Visitor | Operator, Depends(uses)]) -> Response:
        await portal.form(request, visitor.web.kind)
        return JSONResponse({"seconds": _seconds(portal, visitor)})


def _add_list(screens: APIRouter, portal: Portal) -> None:
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


def _seconds(portal: Portal, visitor: Visitor | Operator) -> int:
    return max(0, math.floor((visitor.web.idle_until - portal.clock.now()).total_seconds()))
