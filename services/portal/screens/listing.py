"""What S-12 and S-14 have in common: filters, search, paging, row heights."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response

from careplan import SERVICE_TYPES
from services.portal import lists
from services.portal.forms import Form
from services.portal.lists import Box, Query
from services.portal.portal import Portal
from services.portal.routes import go
from services.portal.rules import place_within
from services.portal.visitors import Visitor


def router(portal: Portal) -> APIRouter:
    """The switch 行の高さ."""
    screens = portal.router()

    @screens.post("/row-height")
    async def row_height(request: Request, visitor: Annotated[Visitor, Depends(portal.visitor())]) -> Response:
        form = await portal.form(request)
        await portal.likings.prefer_rows(visitor, narrow=form.text("height") == "narrow")
        return go(place_within(form.text("back"), "/received"))

    return screens


async def search_address(portal: Portal, visitor: Visitor, form: Form, path: str) -> str:
    """The address of the list that a filter form asks for; what was typed is kept under an id."""
    typed = " ".join(form.text("text").split())[: lists.SEARCH_CHARACTERS_MAX]
    search = await portal.searches.keep(visitor, typed) if typed else ""
    fields = {name: value for name, value in form.items() if name != "q"}
    return Query.of({**fields, "q": search}).address(path)


async def list_values(portal: Portal, visitor: Visitor, box: Box, request: Request) -> dict[str, Any]:
    """The values of a list's page: the rows, the filters, the addresses around it."""
    path = f"/{box}"
    query = Query.of(request.query_params, request.query_params.getlist("at"))
    text, narrow = await asyncio.gather(
        portal.searches.text(visitor, query.search), portal.likings.narrow_rows(visitor)
    )
    listing = await lists.read(visitor, box, query, text)
    return {
        "list": listing,
        "query": query,
        "path": path,
        "address": query.address(path),
        "before": listing.before.address(path) if listing.before else None,
        "after": listing.after.address(path) if listing.after else None,
        "months": lists.months(portal.clock.now(), query.month),
        "service_types": SERVICE_TYPES.values(),
        "rows_offered": lists.ROWS_OFFERED,
        "narrow": narrow,
        "said": request.query_params.get("said", ""),
        "at": portal.clock.now(),
    }
