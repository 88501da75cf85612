"""S-18: one row of a sheet; nothing changes until it is stored."""

from dataclasses import dataclass, replace
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response

from services.portal.clerk import Clerk
from services.portal.forms import Form
from services.portal.items import OPEN, Item, Moved, SavedBefore
from services.portal.making import Making
from services.portal.portal import UPLOAD, Portal
from services.portal.routes import NotThere, go
from services.portal.sheets import Edited, Nothing
from services.portal.texts import TEXT_CHARACTERS_MAX
from services.portal.told import place, uuids_of
from services.portal.uploads import Chosen, chosen
from services.portal.visitors import Visitor
from services.portal.wording import Sentence, say
from todoke.relay.limits import MEBIBYTE

ROW = "/bulk/rows/{row}"

_SENDERS = ("admin", "staff")


@dataclass(frozen=True, slots=True)
class Typed:
    """A row's page that is shown again: what was typed into which version, and why it was not taken."""

    text: str | None = None
    removed: tuple[str, ...] = ()
    version: int = 0
    late: bool = False
    told: Sentence | None = None
    wrong: Sentence | None = None
    theirs: Item | None = None


def router(portal: Portal, making: Making) -> APIRouter:
    """One row of a sheet."""
    screens = portal.router()
    portal.forms[ROW] = ROW

    @screens.get(ROW)
    async def look(
        request: Request, row: UUID, visitor: Annotated[Visitor, Depends(portal.visitor(*_SENDERS))]
    ) -> Response:
        late = await portal.late_form(visitor, request)
        return await _row_page(portal, making, visitor, row, _typed(late, late=True) if late else Typed())

    @screens.post(ROW, openapi_extra=UPLOAD)
    async def keep(
        request: Request, row: UUID, visitor: Annotated[Visitor, Depends(portal.visitor(*_SENDERS))]
    ) -> Response:
        async with chosen(portal, request) as body:
            if body.form.text("back"):
                return await _row_page(portal, making, visitor, row, _typed(body.form, late=True))
            refused = await _kept(portal, making, visitor, row, body)
        return refused or await _checked(making, visitor, row)

    return screens


async def _kept(portal: Portal, making: Making, visitor: Visitor, row: UUID, body: Chosen) -> Response | None:
    """Store what the form says; answers the page that says why not."""
    clerk, typed = Clerk.of(visitor.session, visitor.client), _typed(body.form)
    wanted = Edited(typed.version, body.form.text("text"), frozenset(uuids_of(typed.removed)))
    try:
        item = await making.sheets.edit(clerk, row, wanted, adding=bool(body.files))
        if body.files:
            await making.intake.into_item(clerk, item, body.files)
    except SavedBefore as late:
        again = replace(typed, told=say("E-404", name=late.name), theirs=await making.sheets.row(clerk, row))
        return await _row_page(portal, making, visitor, row, again, status=409)
    except Nothing:
        return await _row_page(portal, making, visitor, row, replace(typed, wrong=say("E-212")), status=422)
    except Moved:
        found = await making.sheets.row(clerk, row)
        if found is None:
            raise NotThere from None
        return go(place(f"/bulk/{found.sheet}", told="changed"))
    return None


async def _checked(making: Making, visitor: Visitor, row: UUID) -> Response:
    """Judge the row as it is now, and go to its sheet."""
    clerk = Clerk.of(visitor.session, visitor.client)
    fresh = await making.sheets.row(clerk, row)
    if fresh is None:
        raise NotThere
    if not (fresh.checked and fresh.checked_whole):
        await making.sheets.check(clerk, [fresh])
    return go(place(f"/bulk/{fresh.sheet}", told="stored", focus=row))  # a place (#) would keep focus from going there


def _typed(form: Form, *, late: bool = False) -> Typed:
    return Typed(form.text("text"), tuple(form.all("remove")), form.version, late=late)


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
        theirs=item if typed.late and typed.version != item.version else typed.theirs,
        late=typed.late,
        mebibytes=making.limits.file_bytes_max // MEBIBYTE,
        attachments_max=making.limits.attachments_per_message_max,
        characters_max=TEXT_CHARACTERS_MAX,
    )
