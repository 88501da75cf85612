"""S-18: one row of a sheet; nothing changes until it is stored."""

from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response

from services.portal.clerk import Clerk
from services.portal.items import OPEN, Item, Moved, SavedBefore
from services.portal.making import Making
from services.portal.portal import UPLOAD, Portal
from services.portal.routes import NotThere, go
from services.portal.sheets import Edited, Nothing
from services.portal.texts import TEXT_CHARACTERS_MAX
from services.portal.told import place, uuids_of
from services.portal.uploads import chosen
from services.portal.visitors import Visitor
from services.portal.wording import Sentence, say
from todoke.relay.limits import MEBIBYTE

_SENDERS = ("admin", "staff")


@dataclass(frozen=True, slots=True)
class Typed:
    """A row's page that is shown again: what was typed, and why it was not taken."""

    text: str | None = None
    removed: tuple[str, ...] = ()
    told: Sentence | None = None
    wrong: Sentence | None = None
    theirs: Item | None = None


def router(portal: Portal, making: Making) -> APIRouter:
    """One row of a sheet."""
    screens = portal.router()

    @screens.get("/bulk/rows/{row}")
    async def look(row: UUID, visitor: Annotated[Visitor, Depends(portal.visitor(*_SENDERS))]) -> Response:
        return await _row_page(portal, making, visitor, row, Typed())

    @screens.post("/bulk/rows/{row}", openapi_extra=UPLOAD)
    async def keep(
        request: Request, row: UUID, visitor: Annotated[Visitor, Depends(portal.visitor(*_SENDERS))]
    ) -> Response:
        clerk = Clerk.of(visitor.session, visitor.client)
        async with chosen(portal, request) as body:
            form = body.form
            typed = Typed(form.text("text"), tuple(form.all("remove")))
            version = int(form.get("version", "0")) if form.get("version", "0").isdecimal() else 0
            wanted = Edited(version, form.text("text"), frozenset(uuids_of(form.all("remove"))))
            try:
                item = await making.sheets.edit(clerk, row, wanted, adding=bool(body.files))
                if body.files:
                    await making.intake.into_item(clerk, item, body.files)
            except SavedBefore as late:
                told_late = say("E-404", name=late.name)
                theirs = await making.sheets.row(clerk, row)
                again = Typed(typed.text, typed.removed, told=told_late, theirs=theirs)
                return await _row_page(portal, making, visitor, row, again, status=409)
            except Nothing:
                again = Typed(typed.text, typed.removed, wrong=say("E-212"))
                return await _row_page(portal, making, visitor, row, again, status=422)
            except Moved:
                found = await making.sheets.row(clerk, row)
                if found is None:
                    raise NotThere from None
                return go(place(f"/bulk/{found.sheet}", told="changed"))
        fresh = await making.sheets.row(clerk, row)
        if fresh is None:
            raise NotThere
        if not (fresh.checked and fresh.checked_whole):
            await making.sheets.check(clerk, [fresh])
        return go(
            place(f"/bulk/{fresh.sheet}", told="stored", focus=row)
        )  # a place (#) would keep focus from going there

    return screens


async def _row_page(
    portal: Portal, making: Making, visitor: Visitor, row: UUID, typed: Typed, status: int = 200
) -> Response:
    clerk = Clerk.of(visitor.session, visitor.client)
    item = await making.sheets.row(clerk, row)
    sheet = await making.sheets.get(clerk, item.sheet) if item is not None and item.sheet is not None else None
    if item is None or sheet is None:
        raise NotThere
    if item.state not in OPEN:
        return go(place(f"/bulk/{sheet.id}", told="changed"))
    order = [each.id for each in sheet.rows if each.state in OPEN]
    at = order.index(row)
    offices, _ = await making.offices(clerk, [item.recipient])
    return await portal.page(
        visitor,
        "bulk_row.html",
        screen="S-18",
        title="送る内容の編集",
        here="/bulk",
        status=status,
        row=item,
        office=offices.get(item.recipient),
        before=order[at - 1] if at else None,
        after=order[at + 1] if at + 1 < len(order) else None,
        typed=typed.text,
        removed=typed.removed,
        told=typed.told,
        wrong=typed.wrong,
        theirs=typed.theirs,
        mebibytes=making.limits.file_bytes_max // MEBIBYTE,
        attachments_max=making.limits.attachments_per_message_max,
        characters_max=TEXT_CHARACTERS_MAX,
    )
