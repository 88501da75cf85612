"""S-03, S-04, S-06: 利用状況Webサイト, where the office itself logs in with its KJ-ID and sees to its own affairs."""

from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from services.portal import shown
from services.portal.apis import SessionSlot
from services.portal.first import changed_password, expired
from services.portal.forms import NotOurForm
from services.portal.logins import LoginScreen, Wrong, kj_mistake, refused_login
from services.portal.portal import FIRST, USAGE, Portal
from services.portal.routes import go
from services.portal.rules import half_width, place_within
from services.portal.usage import state_of
from services.portal.visitors import Visitor
from services.portal.websessions import Held, Owner
from services.portal.wording import Sentence, of_refusal, say
from todoke.client import ApiError
from todoke.client.office_shapes import PersonPassword

LOGIN = f"{USAGE}/login"
PAGE = LoginScreen("usage_login.html", "S-03", "利用状況Webサイト ログイン", "usage")
TOLD_IN_DIALOG = ("TDK-PASSWORD-WRONG", "TDK-LOCKED", "TDK-PASSWORD-MADE")

TOLD: Mapping[str, str] = {
    "ready": "S-READY",
    "stopped": "S-RENEWAL-STOPPED",
    "resumed": "S-RENEWAL-RESUMED",
    "applied": "S-APPLIED",
    "renewed": "S-LICENCE-RENEWED",
}
"""`?told=…` → the sentence of what was just done."""


def router(portal: Portal) -> APIRouter:
    """The site but for S-05."""
    screens = portal.router("usage")
    _add_login(screens, portal)
    _add_first(screens, portal)
    _add_state(screens, portal)
    _add_renewal(screens, portal)
    _add_password(screens, portal)
    _add_logout(screens, portal)
    return screens


def _add_login(screens: APIRouter, portal: Portal) -> None:
    @screens.get(LOGIN)
    async def login(request: Request) -> Response:
        told = say("E-114") if "ended" in request.query_params else None
        return PAGE.page(portal, request, wanted=request.query_params.get("next", ""), told=told)

    @screens.post(LOGIN)
    async def log_in(request: Request) -> Response:
        try:
            form = await portal.form(request, "usage")
        except NotOurForm:
            return PAGE.page(portal, request, told=say("E-604"), status=403)
        typed, wanted, password = half_width(form.text("user_id")), form.text("next"), form.text("password")
        wrong = _mistake(typed, password)
        if wrong is None:
            try:
                return await _logged_in(portal, request, typed.upper(), password, _within(wanted))
            except ApiError as refused:
                wrong = refused_login(refused)
        return PAGE.page(portal, request, wanted=wanted, typed=typed, wrong=wrong)


def _add_first(screens: APIRouter, portal: Portal) -> None:
    @screens.get(f"{USAGE}{FIRST}")
    async def password(visitor: Annotated[Visitor, Depends(portal.usage_visitor())]) -> Response:
        return _first_page(portal, visitor, {}) if visitor.session.must_change else go(USAGE)

    @screens.post(f"{USAGE}{FIRST}")
    async def change(request: Request, visitor: Annotated[Visitor, Depends(portal.usage_visitor())]) -> Response:
        form = await portal.form(request, "usage")
        if not visitor.session.must_change:
            return go(USAGE)
        wrong = await changed_password(visitor, "office", form)
        return _first_page(portal, visitor, wrong) if wrong else go(_after_first(visitor))


def _add_state(screens: APIRouter, portal: Portal) -> None:
    @screens.get(USAGE)
    async def state(request: Request, visitor: Annotated[Visitor, Depends(portal.usage_visitor())]) -> Response:
        return await _state_page(portal, visitor, told=TOLD.get(request.query_params.get("told", "")))


def _add_renewal(screens: APIRouter, portal: Portal) -> None:
    @screens.get(f"{USAGE}/auto-renew")
    async def ask(visitor: Annotated[Visitor, Depends(portal.usage_visitor())]) -> Response:
        state = state_of(await visitor.client.own_office(), portal.clock.now())
        return await _state_page(portal, visitor, dialog="stop") if state.may_switch and state.renews else go(USAGE)

    @screens.post(f"{USAGE}/auto-renew")
    async def switch(request: Request, visitor: Annotated[Visitor, Depends(portal.usage_visitor())]) -> Response:
        renews = (await portal.form(request, "usage")).text("renews") == "yes"
        await visitor.client.set_auto_renewal(renews=renews)
        return go(f"{USAGE}?told={'resumed' if renews else 'stopped'}")


def _add_password(screens: APIRouter, portal: Portal) -> None:
    @screens.get(f"{USAGE}/password")
    async def ask_password(visitor: Annotated[Visitor, Depends(portal.usage_visitor())]) -> Response:
        has_person = (await visitor.client.own_office()).c_id is not None
        return await _state_page(portal, visitor, dialog="password") if has_person else go(USAGE)

    @screens.post(f"{USAGE}/password")
    async def issue(request: Request, visitor: Annotated[Visitor, Depends(portal.usage_visitor())]) -> Response:
        """The password stands in this one answer only: whoever reloads it has another one made."""
        password = (await portal.form(request, "usage")).text("password")
        if not password:
            return await _state_page(portal, visitor, dialog="password", wrong=say("E-113"))
        try:
            issued = await visitor.client.make_person_password(password)
        except ApiError as refused:
            if refused.code not in TOLD_IN_DIALOG:
                raise
            return await _state_page(portal, visitor, dialog="password", wrong=of_refusal(refused))
        return await _state_page(portal, visitor, dialog="issued", issued=issued)


def _add_logout(screens: APIRouter, portal: Portal) -> None:
    @screens.post(f"{USAGE}/logout")
    async def logout(request: Request, visitor: Annotated[Visitor, Depends(portal.usage_visitor())]) -> Response:
        await portal.form(request, "usage")
        await portal.end(visitor)
        response = go(f"{USAGE}/logged-out")
        portal.drop_cookie(response, "usage")
        response.headers["Clear-Site-Data"] = '"cache"'  # so that going back shows nothing of the office
        return response

    @screens.get(f"{USAGE}/logged-out")
    async def logged_out() -> Response:
        return portal.bare_page(
            "logged_out.html", screen="S-09", title="ログアウト", again=LOGIN, layout="usage_entry.html"
        )


async def _logged_in(portal: Portal, request: Request, typed: str, password: str, wanted: str) -> Response:
    slot = SessionSlot(None)
    answer = await portal.api.client(slot, portal.browser_of(request)).login_usage(typed, password)
    response = go(wanted)
    await portal.end_earlier(request, "usage")
    owner = Owner("usage", answer.office.number)
    await portal.begin(response, owner, Held(session=slot.session, wanted=wanted), answer.refresh_expires_in)
    return response


def _after_first(visitor: Visitor) -> str:
    """The page that was wanted before the password had to be changed; the first one says that all is ready."""
    wanted = visitor.web.held.wanted
    return f"{USAGE}?told=ready" if wanted in ("", USAGE) else wanted


def _mistake(typed: str, password: str) -> Wrong | None:
    """What can be seen without asking: none of it counts as a failed login (S-03.2)."""
    if not typed:
        return Wrong(say("E-112"), "user_id")
    if typed.lower().startswith("c"):
        return Wrong(say("E-105"), "user_id")
    return kj_mistake(typed.upper(), password)


def _within(wanted: str) -> str:
    """A page of this site."""
    place = place_within(wanted, USAGE)
    return place if place.startswith(f"{USAGE}/") else USAGE


def _first_page(portal: Portal, visitor: Visitor, wrong: Mapping[str, Sentence]) -> Response:
    return portal.bare_page(
        "usage_first.html",
        screen="S-08",
        title="はじめての設定",
        csrf=visitor.csrf,
        status=422 if wrong else 200,
        visitor=visitor,
        wrong=wrong,
        expired=expired(visitor, "office"),
    )


async def _state_page(
    portal: Portal,
    visitor: Visitor,
    *,
    told: str | None = None,
    dialog: str = "",
    wrong: Sentence | None = None,
    issued: PersonPassword | None = None,
) -> Response:
    office = await visitor.client.own_office()
    return portal.bare_page(
        "usage.html",
        screen="S-04",
        title="利用状況",
        csrf=visitor.csrf,
        status=422 if wrong else 200,
        visitor=visitor,
        office=office,
        state=state_of(office, portal.clock.now()),
        told=say(told, until=shown.day(office.licence_until)) if told else None,
        dialog=dialog,
        wrong=wrong,
        issued=issued,
    )
