"""S-08: passwords of one's own, where notices go, and whether the office's facts are right."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from services.portal.first import changed_password, expired
from services.portal.portal import FIRST, Portal
from services.portal.routes import go
from services.portal.visitors import Visitor
from services.portal.wording import Sentence, of_refusal
from todoke.client import ApiError
from todoke.client.shapes import MailTarget, NotificationSettings, Secret

MAIL, CONTACT, READY = f"{FIRST}/mail", f"{FIRST}/contact", "/?ready=1"

TOLD_AT_FIRST = ("delivered", "rejected", "undeliverable")
"""What a new address is told of: what has arrived, and what could not be delivered. More is chosen in the settings."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Whose password is to be changed, as the page says it."""

    which: Secret
    step: str
    user_id: str


def router(portal: Portal) -> APIRouter:
    """S-08, in three steps."""
    screens = portal.router()
    _add_passwords(screens, portal)
    _add_mail(screens, portal)
    _add_contact(screens, portal)
    return screens


def _add_passwords(screens: APIRouter, portal: Portal) -> None:
    @screens.get(FIRST)
    async def passwords(visitor: Annotated[Visitor, Depends(portal.visitor())]) -> Response:
        return _password_page(portal, visitor, {}) if visitor.session.must_change else go(MAIL)

    @screens.post(FIRST)
    async def change(request: Request, visitor: Annotated[Visitor, Depends(portal.visitor())]) -> Response:
        form = await portal.form(request)
        must_change = visitor.session.must_change
        if not must_change:
            return go(MAIL)
        wrong = await changed_password(visitor, must_change[0], form)
        return _password_page(portal, visitor, wrong) if wrong else go(FIRST)


def _add_mail(screens: APIRouter, portal: Portal) -> None:
    portal.forms[MAIL] = MAIL

    @screens.get(MAIL)
    async def mail(request: Request, visitor: Annotated[Visitor, Depends(portal.visitor())]) -> Response:
        late = await portal.late_form(visitor, request)
        return _mail_page(portal, visitor, late.text("address") if late else "", late=late is not None)

    @screens.post(MAIL)
    async def keep_mail(request: Request, visitor: Annotated[Visitor, Depends(portal.visitor())]) -> Response:
        form = await portal.form(request)
        address = form.text("address").strip()
        if form.text("back"):
            return _mail_page(portal, visitor, address, late=True)
        if address:
            try:
                known = await visitor.client.notifications()
                others = tuple(each for each in known.mail if each.address.lower() != address.lower())
                mine = MailTarget(address=address, events=TOLD_AT_FIRST)
                wanted = NotificationSettings(mail=(*others, mine), reminder_days=known.reminder_days)
                await visitor.client.set_notifications(wanted)
            except ApiError as refused:
                if refused.code != "TDK-MAIL-ADDRESS":
                    raise
                return _mail_page(portal, visitor, address, of_refusal(refused))
        return go(CONTACT)


def _add_contact(screens: APIRouter, portal: Portal) -> None:
    @screens.get(CONTACT)
    async def contact(visitor: Annotated[Visitor, Depends(portal.visitor())]) -> Response:
        office = await visitor.client.office(visitor.office)
        return _page(portal, visitor, "first_contact.html", office=office)

    @screens.post(CONTACT)
    async def confirm(request: Request, visitor: Annotated[Visitor, Depends(portal.visitor())]) -> Response:
        await portal.form(request)
        return go(_wanted(visitor))


def _wanted(visitor: Visitor) -> str:
    """The page that was asked for before the login; the top page says that all is ready."""
    wanted = visitor.web.held.wanted
    return READY if wanted in ("", "/") else wanted


def _password_page(portal: Portal, visitor: Visitor, wrong: Mapping[str, Sentence]) -> Response:
    which = visitor.session.must_change[0]
    asked = {
        "person": Asked("person", "1段目", visitor.user_id),
        "office": Asked("office", "2段目", "KJから始まるID"),
    }[which]
    old = expired(visitor, which)
    return _page(portal, visitor, "first_password.html", 422 if wrong else 200, asked=asked, wrong=wrong, expired=old)


def _mail_page(
    portal: Portal, visitor: Visitor, typed: str, wrong: Sentence | None = None, *, late: bool = False
) -> Response:
    return _page(portal, visitor, "first_mail.html", 422 if wrong else 200, typed=typed, wrong=wrong, late=late)


def _page(portal: Portal, visitor: Visitor, template: str, status: int = 200, **values: object) -> Response:
    """These pages stand outside the frame: nothing else can be reached before they are done."""
    return portal.bare_page(
        template, screen="S-08", title="はじめての設定", csrf=visitor.csrf, status=status, visitor=visitor, **values
    )
