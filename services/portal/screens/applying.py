"""S-05: an office applies for a licence, or renews the one it has."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from services.portal.portal import USAGE, Portal
from services.portal.routes import go
from services.portal.usage import Asked, blank, mistakes_of, read, state_of
from services.portal.visitors import Visitor
from services.portal.wording import Sentence
from todoke.client import ApiError
from todoke.client.office_shapes import OwnOffice

APPLY = f"{USAGE}/apply"


def router(portal: Portal) -> APIRouter:
    """The form, what it says once more, and sending it."""
    screens = portal.router("usage")
    portal.forms.update({APPLY: APPLY, f"{APPLY}/send": APPLY})

    @screens.get(APPLY)
    async def form(
        request: Request, visitor: Annotated[Visitor, Depends(portal.usage_visitor())], kind: str = "new"
    ) -> Response:
        office = await visitor.client.own_office()
        state = state_of(office, portal.clock.now())
        late = await portal.late_form(visitor, request)
        asked = blank(kind, office) if late is None else read(late)
        if not (state.may_renew if asked.kind == "renewal" else state.may_apply):
            return go(USAGE)  # it says what may be done, and from when
        return _page(portal, visitor, office, asked, late=late is not None, typed=late is not None)

    @screens.post(APPLY)
    async def confirm(request: Request, visitor: Annotated[Visitor, Depends(portal.usage_visitor())]) -> Response:
        posted = await portal.form(request, "usage")
        asked = read(posted)
        office = await visitor.client.own_office()
        if posted.text("back"):
            return _page(portal, visitor, office, asked)
        mistakes = mistakes_of(asked)
        return _page(portal, visitor, office, asked, mistakes, sure=not mistakes)

    @screens.post(f"{APPLY}/send")
    async def send(request: Request, visitor: Annotated[Visitor, Depends(portal.usage_visitor())]) -> Response:
        asked = read(await portal.form(request, "usage"))
        if mistakes := mistakes_of(asked):
            return _page(portal, visitor, await visitor.client.own_office(), asked, mistakes)
        try:
            await visitor.client.apply_for_licence(
                asked.kind, asked.contact_name, asked.mail, auto_renew=asked.auto_renew
            )
        except ApiError as refused:
            if not await _is_done(visitor, asked, refused):
                raise
        return go(f"{USAGE}?told={'renewed' if asked.kind == 'renewal' else 'applied'}")

    return screens


async def _is_done(visitor: Visitor, asked: Asked, refused: ApiError) -> bool:
    """Whether it is refused only because an earlier press of the same button has done it (S-00.7)."""
    if refused.code not in ("TDK-APPLICATION-THERE", "TDK-RENEWAL-EARLY"):
        return False
    office = await visitor.client.own_office()
    if asked.kind == "renewal":
        return str(office.licence_until or "") != asked.until
    waits = office.application
    return waits is not None and (waits.state, waits.mail, waits.contact_name) == (
        "received",
        asked.mail,
        asked.contact_name,
    )


def _page(
    portal: Portal,
    visitor: Visitor,
    office: OwnOffice,
    asked: Asked,
    mistakes: list[tuple[str, Sentence]] | None = None,
    *,
    sure: bool = False,
    late: bool = False,
    typed: bool = True,
) -> Response:
    return portal.bare_page(
        "usage_apply.html",
        screen="S-05",
        title="利用申請/更新",
        csrf=visitor.csrf,
        status=422 if mistakes else 200,
        visitor=visitor,
        office=office,
        asked=asked,
        mistakes=mistakes or [],
        sure=sure,
        late=late,
        typed=typed,
    )
