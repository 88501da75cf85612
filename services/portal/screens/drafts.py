"""S-16: what was begun and not sent."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from services.portal.clerk import Clerk
from services.portal.drafts import KEPT
from services.portal.making import Making
from services.portal.portal import Portal
from services.portal.routes import NotThere, go
from services.portal.told import place, told, uuid_of, uuids_of
from services.portal.visitors import Visitor

_SENDERS = ("admin", "staff")


def router(portal: Portal, making: Making) -> APIRouter:
    """下書き一覧."""
    screens = portal.router()

    @screens.get("/drafts")
    async def listed(request: Request, visitor: Annotated[Visitor, Depends(portal.visitor())]) -> Response:
        clerk = Clerk.of(visitor.session, visitor.client)
        drafts = await making.drafts.all(clerk)
        offices, _ = await making.offices(clerk, (draft.recipient for draft in drafts))
        return await portal.page(
            visitor,
            "drafts.html",
            screen="S-16",
            title="下書き一覧",
            here="/drafts",
            drafts=drafts,
            sheets=await making.sheets.open_ones(clerk),
            offices=offices,
            told=told(request.query_params),
            days=KEPT.days,
            may_send=visitor.may_handle(),
        )

    @screens.post("/drafts/{action}")
    async def act(
        request: Request, action: str, visitor: Annotated[Visitor, Depends(portal.visitor(*_SENDERS))]
    ) -> Response:
        form = await portal.form(request)
        clerk = Clerk.of(visitor.session, visitor.client)
        chosen = uuids_of(form.all("row"))
        if action == "undo":
            undo = uuid_of(form.get("undo"))
            back = undo is not None and await making.drafts.take_back(clerk, undo)
            return go(place("/drafts", told="back" if back else "late"))
        if action not in ("remove", "to-sheet"):
            raise NotThere
        if not chosen:
            return go(place("/drafts", told="picked-none"))
        if action == "remove":
            n, removed = await making.drafts.remove(clerk, chosen)
            return go(place("/drafts", told="removed", n=n, undo=removed))
        sheet = await making.sheets.own(clerk)
        n = await making.drafts.move_to_sheet(clerk, sheet.id, chosen)
        return go(place("/bulk", told="moved", n=n) if n else place("/drafts", told="none-moved"))

    return screens
