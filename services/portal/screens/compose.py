"""S-15, S-20: one message, checked while it is written, and sent."""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response

from services.portal.clerk import Clerk
from services.portal.drafts import Written
from services.portal.forms import Form
from services.portal.items import OPEN, Item, Moved, SavedBefore
from services.portal.making import Making
from services.portal.portal import UPLOAD, Portal
from services.portal.routes import NotThere, go
from services.portal.rules import half_width
from services.portal.texts import TEXT_CHARACTERS_MAX
from services.portal.told import Told, place, told, uuid_of
from services.portal.uploads import chosen
from services.portal.visitors import Visitor
from services.portal.wording import Sentence, of_code, say
from todoke.client import ClientError, NotLoggedIn, shapes
from todoke.relay.limits import MEBIBYTE

LIVE = "todoke-live"
"""A request of the page's own script: it wants the page as it is now, not to be led to it."""

RECIPIENT_MAX = 20
"""Characters kept of a recipient's number, right or wrong."""

_SENDERS = ("admin", "staff")
_NUMBER = re.compile(r"[0-9A-Z]{10}")


@dataclass(frozen=True, slots=True)
class Desk:
    """What every action on a draft is given."""

    portal: Portal
    making: Making
    visitor: Visitor
    clerk: Clerk
    draft: UUID

    @property
    def path(self) -> str:
        """The address of the draft."""
        return f"/compose/{self.draft}"


Done = tuple[Response | None, Told]
Action = Callable[[Desk, Item, Form, str], Awaitable[Done]]


def router(portal: Portal, making: Making) -> APIRouter:
    """新規作成."""
    screens = portal.router()
    portal.forms.update({f"/compose/{{draft}}/{{action}}{word}": "/compose/{draft}" for word in ("", "/{word}")})

    @screens.get("/compose")
    async def new(request: Request, visitor: Annotated[Visitor, Depends(portal.visitor(*_SENDERS))]) -> Response:
        desk = _desk(portal, making, visitor, portal.ids.uuid7())
        return await _page(desk, _nothing(desk, request.query_params.get("to", "")), Told())

    @screens.get("/compose/{draft}")
    async def one(
        request: Request, draft: UUID, visitor: Annotated[Visitor, Depends(portal.visitor(*_SENDERS))]
    ) -> Response:
        desk = _desk(portal, making, visitor, draft)
        late = await portal.late_form(visitor, request)
        if late is not None:
            return await _saved_late(desk, late)
        item = await making.drafts.get(desk.clerk, draft)
        if item is None:
            raise NotThere
        return await _shown(desk, item, told(request.query_params), ask="ask" in request.query_params)

    @screens.post("/compose/{draft}/{action}", openapi_extra=UPLOAD)
    async def act(
        request: Request, draft: UUID, action: str, visitor: Annotated[Visitor, Depends(portal.visitor(*_SENDERS))]
    ) -> Response:
        return await _acted(_desk(portal, making, visitor, draft), request, action, "")

    @screens.post("/compose/{draft}/{action}/{word}", openapi_extra=UPLOAD)
    async def act_on(
        request: Request,
        draft: UUID,
        action: str,
        word: UUID,
        visitor: Annotated[Visitor, Depends(portal.visitor(*_SENDERS))],
    ) -> Response:
        return await _acted(_desk(portal, making, visitor, draft), request, action, str(word))

    return screens


def _desk(portal: Portal, making: Making, visitor: Visitor, draft: UUID) -> Desk:
    return Desk(portal, making, visitor, Clerk.of(visitor.session, visitor.client), draft)


# --- what is pressed ------------------------------------------------------------------------------------------------


async def _acted(desk: Desk, request: Request, action: str, word: str) -> Response:
    """Every button: what was typed is kept first, with the files that were chosen, then what the button says."""
    if action not in _ACTIONS:
        raise NotThere
    async with chosen(desk.portal, request) as body:
        before = await desk.making.drafts.get(desk.clerk, desk.draft)
        if before is not None and before.tried and action == "send":
            return await _send(desk, before, body.form)
        try:
            item = await _kept(desk, action, _written(desk, body.form), body.form)
            if body.files:
                item = await desk.making.drafts.add_files(desk.clerk, desk.draft, body.files)
        except SavedBefore as late:
            return await _both(desk, _written(desk, body.form), late.name)
        except Moved:
            return await _moved(desk)
    led, said = await _ACTIONS[action](desk, item, body.form, word)
    if led is not None:
        return led
    if LIVE not in request.headers:
        return go(place(desk.path, told=said.word or None, undo=said.undo))
    return await _shown(desk, await desk.making.drafts.get(desk.clerk, desk.draft) or item, said)


async def _stay(_: Desk, __: Item, ___: Form, ____: str) -> Done:
    return None, Told()


async def _save(_: Desk, __: Item, ___: Form, ____: str) -> Done:
    return None, Told("saved")


async def _beside(_: Desk, item: Item, __: Form, ___: str) -> Done:
    return go(place(f"/compose/{item.id}", told="saved")), Told()


async def _remove(desk: Desk, _: Item, __: Form, word: str) -> Done:
    undo = await desk.making.drafts.remove_file(desk.clerk, desk.draft, UUID(word)) if word else None
    return None, Told("file-removed", undo=undo) if undo else Told()


async def _forget(desk: Desk, _: Item, __: Form, ___: str) -> Done:
    await desk.making.drafts.forget_unusable(desk.clerk, desk.draft)
    return None, Told()


async def _send_it(desk: Desk, item: Item, form: Form, _: str) -> Done:
    return await _send(desk, item, form), Told()


async def _again(desk: Desk, item: Item, form: Form, _: str) -> Done:
    await desk.making.sheets.send_again(desk.clerk, desk.draft)
    return await _send(desk, item, form), Told()


async def _split(desk: Desk, _: Item, __: Form, ___: str) -> Done:
    sheet = await desk.making.sheets.own(desk.clerk)
    n = await desk.making.drafts.move_to_sheet(desk.clerk, sheet.id, [desk.draft])
    return go(place("/bulk", told="moved", n=n)), Told()


_ACTIONS: Mapping[str, Action] = {
    "check": _stay,
    "files": _stay,
    "undo": _stay,
    "save": _save,
    "mine": _save,
    "beside": _beside,
    "remove": _remove,
    "forget": _forget,
    "send": _send_it,
    "again": _again,
    "split": _split,
}
"""The buttons, by the word of their address: where they lead, or what the page says when it stays."""


async def _kept(desk: Desk, action: str, written: Written, form: Form) -> Item:
    """What was typed, kept. Taking something back makes the page's version older than the draft's by that alone."""
    drafts = desk.making.drafts
    if action == "beside":
        return await drafts.save_beside(desk.clerk, written)
    if action == "undo":
        undo = uuid_of(form.get("undo"))
        if undo is not None:
            await drafts.take_back(desk.clerk, undo, desk.draft)
    if action in ("mine", "undo"):
        return await drafts.overwrite(desk.clerk, written)
    return await drafts.save(desk.clerk, written)


async def _saved_late(desk: Desk, form: Form) -> Response:
    """What was typed before the login is kept as if the session had lasted; no button is pressed again."""
    written = _written(desk, form)
    try:
        await desk.making.drafts.save(desk.clerk, written)
    except SavedBefore as late:
        return await _both(desk, written, late.name)
    except Moved:
        return await _moved(desk)
    return go(place(desk.path, told="late-saved"))


def _written(desk: Desk, form: Form) -> Written:
    return Written(
        id=desk.draft,
        version=form.version,
        recipient=half_width(form.get("recipient", "")).upper()[:RECIPIENT_MAX],
        text=form.text("text"),
    )


async def _send(desk: Desk, item: Item, form: Form) -> Response:
    checked, _ = await desk.making.drafts.check(desk.clerk, await desk.making.drafts.get(desk.clerk, item.id) or item)
    if checked.is_empty or not checked.may_go:
        return go(place(desk.path, told="E-212" if checked.is_empty else None))
    asked = await desk.making.sheets.unusual(desk.clerk, [checked])
    if {one.key for one in asked} - set(form.all("sure")):
        return go(place(desk.path, ask=1))
    await desk.making.runs.start(desk.clerk, desk.visitor.web.id, [checked])
    return go(desk.path)


async def _moved(desk: Desk) -> Response:
    """The draft was sent or removed meanwhile: the page shows what is."""
    item = await desk.making.drafts.get(desk.clerk, desk.draft)
    return go(place(desk.path, told="changed")) if item is not None else go(place("/drafts", told="changed"))


async def _both(desk: Desk, written: Written, name: str) -> Response:
    """Somebody saved before: both versions side by side, and which to keep (S-16.2)."""
    theirs = await desk.making.drafts.get(desk.clerk, desk.draft)
    if theirs is None:
        raise NotThere
    return await desk.portal.page(
        desk.visitor,
        "compose_both.html",
        screen="S-16",
        title="両方を見る",
        here="/drafts",
        status=409,
        theirs=theirs,
        mine=written,
        told=say("E-404", name=name),
    )


# --- what is shown --------------------------------------------------------------------------------------------------


def _nothing(desk: Desk, recipient: str) -> Item:
    return desk.making.drafts.blank(desk.clerk, desk.draft, recipient if _NUMBER.fullmatch(recipient) else "")


async def _shown(desk: Desk, item: Item, said: Told, *, ask: bool = False) -> Response:
    if item.state not in OPEN:
        return await _sent(desk, item)
    if item.is_empty and not item.recipient:
        return await _page(desk, item, said)
    try:
        checked, offices = await desk.making.drafts.check(desk.clerk, item)
    except NotLoggedIn:
        raise
    except ClientError:
        return await _page(desk, item, said, away=True)
    reasons = await desk.making.sheets.unusual(desk.clerk, [checked]) if ask and checked.may_go else []
    return await _page(desk, checked, said, office=offices.get(checked.recipient), looked=True, reasons=reasons)


async def _page(
    desk: Desk,
    item: Item,
    said: Told,
    *,
    office: shapes.Office | None = None,
    looked: bool = False,
    away: bool = False,
    reasons: object = (),
) -> Response:
    limits = desk.making.limits
    return await desk.portal.page(
        desk.visitor,
        "compose.html",
        screen="S-15",
        title="新規作成",
        here="/compose",
        draft=item,
        office=office,
        wrong=_wrong(desk, item, office) if looked else None,
        away=away,
        told=said,
        reasons=reasons,
        mixed=any(finding.code == "TDK-NAMES-DISAGREE" for finding in item.findings) and not away,
        mebibytes=limits.file_bytes_max // MEBIBYTE,
        attachments_left=max(0, limits.attachments_per_message_max - len(item.attachments)),
        characters_max=TEXT_CHARACTERS_MAX,
    )


def _wrong(desk: Desk, item: Item, office: shapes.Office | None) -> Sentence | None:
    """What is wrong with the recipient itself, to stand under its field; the rest stands among the findings."""
    if not item.recipient:
        return None
    if item.recipient == desk.clerk.office:
        return of_code("TDK-OWN-NUMBER")
    if office is None:
        return of_code("TDK-UNKNOWN-OFFICE")
    return None if office.participation == "active" else of_code("TDK-OFFICE-NOT-TAKING-PART")


async def _sent(desk: Desk, item: Item) -> Response:
    """How far the message is, on the page it was written on."""
    if item.state == "accepted" and item.run is not None:
        await desk.making.runs.look_at(desk.clerk, item.run)
        item = await desk.making.drafts.get(desk.clerk, desk.draft) or item
        if item.state in OPEN:
            return await _shown(desk, item, Told())
    offices, _ = await desk.making.offices(desk.clerk, [item.recipient])
    return await desk.portal.page(
        desk.visitor,
        "compose_sent.html",
        screen="S-15",
        title="新規作成",
        here="/compose",
        draft=item,
        office=offices.get(item.recipient),
        at_now=desk.portal.clock.now(),
    )
