"""S-17, S-18, S-19: the sheet, one row of it, and its sending."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response

from services.portal.clerk import Clerk
from services.portal.forms import Form
from services.portal.items import OPEN, Moved
from services.portal.making import Making
from services.portal.portal import UPLOAD, Portal
from services.portal.routes import NotThere, go
from services.portal.runs import Progress
from services.portal.sheets import NothingPicked, NotOne, Sheet
from services.portal.told import months_of, place, told, uuid_of, uuids_of
from services.portal.uploads import chosen
from services.portal.visitors import Visitor
from todoke.client import ClientError, NotLoggedIn
from todoke.relay.limits import MEBIBYTE

_SENDERS = ("admin", "staff")

Action = Callable[["Acting"], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class Acting:
    """What an action on a sheet is given; `word` is what else its address names."""

    portal: Portal
    making: Making
    visitor: Visitor
    clerk: Clerk
    sheet: Sheet
    form: Form
    word: str = ""

    @property
    def path(self) -> str:
        """The address of the sheet."""
        return f"/bulk/{self.sheet.id}"


def router(portal: Portal, making: Making) -> APIRouter:
    """一括送信."""
    screens = portal.router()
    _add_runs(screens, portal, making)
    _add_sheet(screens, portal, making)
    return screens


def _clerk(visitor: Visitor) -> Clerk:
    return Clerk.of(visitor.session, visitor.client)


# --- the sheet ----------------------------------------------------------------------------------------------------


def _add_sheet(screens: APIRouter, portal: Portal, making: Making) -> None:
    @screens.get("/bulk")
    async def own(request: Request, visitor: Annotated[Visitor, Depends(portal.visitor())]) -> Response:
        clerk = _clerk(visitor)
        return await _sheet_page(portal, making, visitor, await making.sheets.own(clerk), request)

    @screens.get("/bulk/{sheet}")
    async def one(request: Request, sheet: UUID, visitor: Annotated[Visitor, Depends(portal.visitor())]) -> Response:
        found = await making.sheets.get(_clerk(visitor), sheet)
        if found is None:
            raise NotThere
        return await _sheet_page(portal, making, visitor, found, request)

    @screens.post("/bulk/{sheet}/{action}", openapi_extra=UPLOAD)
    async def act(
        request: Request, sheet: UUID, action: str, visitor: Annotated[Visitor, Depends(portal.visitor(*_SENDERS))]
    ) -> Response:
        return await _acted(portal, making, visitor, request, (sheet, action, ""))

    @screens.post("/bulk/{sheet}/{action}/{row}", openapi_extra=UPLOAD)
    async def act_on_row(
        request: Request,
        sheet: UUID,
        action: str,
        row: UUID,
        visitor: Annotated[Visitor, Depends(portal.visitor(*_SENDERS))],
    ) -> Response:
        return await _acted(portal, making, visitor, request, (sheet, action, str(row)))


async def _acted(
    portal: Portal, making: Making, visitor: Visitor, request: Request, what: tuple[UUID, str, str]
) -> Response:
    """Every button of the sheet: the selection first, then files that were chosen, then what the button says."""
    sheet, action, word = what
    clerk = _clerk(visitor)
    if action not in _ACTIONS or await making.sheets.get(clerk, sheet) is None:
        raise NotThere
    async with chosen(portal, request) as body:
        if "kept" not in body.form:
            await making.sheets.pick(clerk, sheet, uuids_of(body.form.all("row")))
        if body.files:
            await making.intake.into_sheet(clerk, sheet, body.files)
    found = await making.sheets.get(clerk, sheet)
    if found is None:
        raise NotThere
    try:
        return go(await _ACTIONS[action](Acting(portal, making, visitor, clerk, found, body.form, word)))
    except Moved:
        return go(place(f"/bulk/{sheet}", told="changed"))
    except NothingPicked:
        return go(place(f"/bulk/{sheet}", told="E-412"))


async def _files(acting: Acting) -> str:
    """Files are in already: attachments are judged now, by the service."""
    await _judged(acting.making, acting.clerk, acting.sheet, whole=True)
    return acting.path


async def _all(acting: Acting) -> str:
    await acting.making.sheets.pick(acting.clerk, acting.sheet.id, [row.id for row in acting.sheet.rows])
    return acting.path


async def _none(acting: Acting) -> str:
    await acting.making.sheets.pick(acting.clerk, acting.sheet.id, [])
    return acting.path


async def _remove(acting: Acting) -> str:
    n, undo = await acting.making.sheets.remove(acting.clerk, acting.sheet.id)
    return place(acting.path, told="removed", n=n, undo=undo)


async def _tidy(acting: Acting) -> str:
    n, undo = await acting.making.sheets.tidy(acting.clerk, acting.sheet.id)
    return place(acting.path, told="tidied", n=n, undo=undo)


async def _copy(acting: Acting) -> str:
    try:
        await acting.making.sheets.copy(acting.clerk, acting.sheet.id)
    except NotOne as wrong:
        return place(acting.path, told="E-411", n=wrong.rows)
    return place(acting.path, told="copied")


async def _paste(acting: Acting) -> str:
    if acting.sheet.clipboard is None:
        return place(acting.path, told="nothing-copied")
    n, undo = await acting.making.sheets.paste(acting.clerk, acting.sheet)
    return place(acting.path, told="pasted", n=n, undo=undo)


async def _clear(acting: Acting) -> str:
    n, undo = await acting.making.sheets.clear(acting.clerk, acting.sheet)
    return place(acting.path, told="cleared", n=n, undo=undo)


async def _undo(acting: Acting) -> str:
    undo = uuid_of(acting.form.get("undo"))
    back = undo is not None and await acting.making.sheets.take_back(acting.clerk, acting.sheet.id, undo)
    return place(acting.path, told="back" if back else "late")


async def _forget(acting: Acting) -> str:
    await acting.making.sheets.forget_unusable(acting.clerk, acting.sheet.id)
    return acting.path


async def _again(acting: Acting) -> str:
    await acting.making.sheets.send_again(acting.clerk, UUID(acting.word))
    return f"{acting.path}#row-{acting.word}"


async def _edit(acting: Acting) -> str:
    return f"/bulk/rows/{acting.word}"


async def _send(acting: Acting) -> str:
    """Ask what has to be asked, then put the rows on their way."""
    rows = acting.sheet.to_go
    if not rows:
        return acting.path
    if acting.sheet.held_back and "held" not in acting.form:
        return place(acting.path, ask="held")
    asked = await acting.making.sheets.unusual(acting.clerk, rows)
    if {one.key for one in asked} - set(acting.form.all("sure")):
        return place(acting.path, ask="unusual")
    await acting.making.runs.start(acting.clerk, acting.visitor.web.id, rows)
    return place(acting.path, sending=1)


_ACTIONS: Mapping[str, Action] = {
    "files": _files,
    "all": _all,
    "none": _none,
    "remove": _remove,
    "tidy": _tidy,
    "copy": _copy,
    "paste": _paste,
    "clear": _clear,
    "undo": _undo,
    "forget": _forget,
    "again": _again,
    "edit": _edit,
    "send": _send,
}
"""The buttons of the sheet, by the last word of their address; each answers where to go next."""


async def _sheet_page(portal: Portal, making: Making, visitor: Visitor, sheet: Sheet, request: Request) -> Response:
    clerk, query = _clerk(visitor), request.query_params
    if any(row.state == "accepted" for row in sheet.rows):
        sheet = await _looked(making, clerk, sheet)
    sheet = await _judged(making, clerk, sheet)
    progress = await making.runs.last_of(clerk, sheet.id)
    if progress is not None and progress.ending is not None and "sending" not in query:
        progress = None
    ask = query.get("ask", "") if progress is None and sheet.to_go else ""
    reasons = await making.sheets.unusual(clerk, sheet.to_go) if ask == "unusual" else []
    offices, known = await making.offices(clerk, [row.recipient for row in sheet.rows])
    return await portal.page(
        visitor,
        "bulk.html",
        screen="S-17",
        title="一括送信",
        here="/bulk",
        sheet=sheet,
        own=sheet.person == clerk.person,
        offices=offices,
        offices_known=known,
        told=told(query),
        ask="" if ask == "unusual" and not reasons else ask,
        reasons=reasons,
        done="done" in query,
        focus=query.get("focus", ""),
        may_send=visitor.may_handle(),
        mebibytes=making.limits.file_bytes_max // MEBIBYTE,
        **_counted(sheet),
        **_going(portal, progress),
    )


async def _judged(making: Making, clerk: Clerk, sheet: Sheet, *, whole: bool = False) -> Sheet:
    """The sheet after rows were judged that nobody has judged as they are now (`whole`: attachments too).

    Without an answer of the service they stay as they are; the next look at the sheet asks again.
    """
    late = [row for row in sheet.rows if row.state in OPEN and not (row.checked and (row.checked_whole or not whole))]
    if not late:
        return sheet
    try:
        await making.sheets.check(clerk, late)
    except NotLoggedIn:
        raise
    except ClientError:
        return sheet
    return await making.sheets.get(clerk, sheet.id) or sheet


async def _looked(making: Making, clerk: Clerk, sheet: Sheet) -> Sheet:
    """The sheet with the results that came after its sending had ended."""
    try:
        await making.runs.look(clerk, sheet.id)
    except NotLoggedIn:
        raise
    except ClientError:
        return sheet
    return await making.sheets.get(clerk, sheet.id) or sheet


def _counted(sheet: Sheet) -> dict[str, Any]:
    waiting = [row for row in sheet.rows if row.state in OPEN]
    return {
        "offices_count": len({row.recipient for row in sheet.rows}),
        "files_count": sum(len(row.files) for row in sheet.rows),
        "months": months_of(sheet.rows),
        "errors": sum(row.errors for row in waiting),
        "warnings": sum(row.warnings for row in waiting),
        "first_error": next((row.id for row in waiting if row.errors), None),
        "first_warning": next((row.id for row in waiting if row.warnings), None),
        "delivered": sum(row.state == "delivered" for row in sheet.rows),
    }


def _going(portal: Portal, progress: Progress | None) -> dict[str, Any]:
    now = portal.clock.now()
    return {"progress": progress, "at_now": now, "left": progress.seconds_left(now) if progress else None}


# --- the sending --------------------------------------------------------------------------------------------------


def _add_runs(screens: APIRouter, portal: Portal, making: Making) -> None:
    @screens.get("/bulk/runs/{run}")
    async def progress(run: UUID, visitor: Annotated[Visitor, Depends(portal.visitor(used=False))]) -> Response:
        clerk = _clerk(visitor)
        found = await making.runs.progress(clerk, run)
        if found is None:
            raise NotThere
        sheet = await making.sheets.head(clerk, run)
        offices, _ = await making.offices(clerk, [row.recipient for row in found.rows])
        values = {"csrf": visitor.csrf, "sheet": sheet, "offices": offices, **_going(portal, found)}
        response = portal.pages.page("bulk_progress.html", values)
        response.headers["Todoke-Ended"] = "yes" if found.ending is not None else "no"
        return response

    @screens.post("/bulk/runs/{run}/stop")
    async def stop(
        request: Request, run: UUID, visitor: Annotated[Visitor, Depends(portal.visitor(*_SENDERS))]
    ) -> Response:
        await portal.form(request)
        clerk = _clerk(visitor)
        sheet = await making.sheets.head(clerk, run)
        if sheet is None:
            raise NotThere
        await making.runs.stop(clerk, run)
        return go(place(f"/bulk/{sheet.id}", sending=1))
