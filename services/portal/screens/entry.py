"""S-01, S-02, S-09: in by two steps, and out."""

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from services.portal.apis import SessionSlot
from services.portal.forms import Form, NotOurForm
from services.portal.logins import LoginScreen, Wrong, kj_mistake, refused_login
from services.portal.portal import Portal
from services.portal.routes import go
from services.portal.rules import begins_with_kj, half_width, place_within
from services.portal.visitors import Visitor
from services.portal.websessions import STEP_SECONDS, Held, Owner, WebSession
from services.portal.wording import say
from todoke.client import ApiError, AsyncClient

NEXT = "next"

FIRST = LoginScreen("login.html", "S-01", "ログイン（1段目）", "step")
SECOND = LoginScreen("login_office.html", "S-02", "事業所ユーザログイン", "step")

Leave = Callable[[Visitor], Awaitable[bool]]
"""Called before a visitor's session ends; answers whether something is left behind that was not sent."""


def routers(portal: Portal, leave: Leave) -> tuple[APIRouter, APIRouter]:
    """The login and the logout: the one has half a session, the other a whole one.

    `leave` lets what goes on under a session come to a good place before the session ends.
    """
    screens = portal.router("step")
    _add_first(screens, portal)
    _add_second(screens, portal)
    _add_goodbye(screens, portal)
    leaving = portal.router("office")
    _add_logout(leaving, portal, leave)
    return screens, leaving


def _add_first(screens: APIRouter, portal: Portal) -> None:
    @screens.get("/login")
    async def first(request: Request) -> Response:
        told = say("E-114") if "ended" in request.query_params else None
        return FIRST.page(portal, request, wanted=request.query_params.get(NEXT, ""), told=told)

    @screens.post("/login")
    async def first_step(request: Request) -> Response:
        try:
            form = await portal.form(request, "step")
        except NotOurForm:
            return FIRST.page(portal, request, told=say("E-604"), status=403)
        typed, wanted = half_width(form.text("user_id")), form.text(NEXT)
        wrong = _first_mistake(typed, form)
        if wrong is None:
            try:
                step = await _stranger(portal, request).login_person(typed, form.text("password"))
            except ApiError as refused:
                wrong = refused_login(refused)
            else:
                held = Held(step_token=step.step_token, typed_id=typed, wanted=place_within(wanted))
                response = go("/login/office")
                await portal.begin(response, Owner("step"), held, STEP_SECONDS)
                return response
        return FIRST.page(portal, request, wanted=wanted, typed=typed, wrong=wrong)


def _add_second(screens: APIRouter, portal: Portal) -> None:
    @screens.get("/login/office")
    async def second(request: Request) -> Response:
        web = await _half(portal, request)
        return SECOND.page(portal, request) if web is not None else _too_late(portal, request)

    @screens.post("/login/office")
    async def second_step(request: Request) -> Response:
        web = await _half(portal, request)
        if web is None:
            return _too_late(portal, request)
        form = await portal.form(request, "step")
        typed = half_width(form.text("user_id")).upper()
        wrong = kj_mistake(typed, form.text("password"))
        if wrong is None:
            try:
                return await _logged_in(portal, request, web, typed, form.text("password"))
            except ApiError as refused:
                if refused.code in ("TDK-STEP-EXPIRED", "TDK-NO-SESSION"):
                    return _too_late(portal, request)
                wrong = refused_login(refused)
        return SECOND.page(portal, request, typed=typed, wrong=wrong)

    @screens.post("/login/back")
    async def back(request: Request) -> Response:
        await portal.form(request, "step")
        web = await _half(portal, request)
        if web is None:
            return go("/login")
        await portal.sessions.end(web.id)
        return FIRST.page(portal, request, wanted=web.held.wanted, typed=web.held.typed_id)


def _add_logout(screens: APIRouter, portal: Portal, leave: Leave) -> None:
    @screens.post("/logout")
    async def logout(request: Request, visitor: Annotated[Visitor, Depends(portal.visitor())]) -> Response:
        await portal.form(request)
        unsent = await leave(visitor)
        await portal.end(visitor)
        response = go("/logged-out?kept=1" if unsent else "/logged-out")
        portal.drop_cookie(response, "office")
        response.headers["Clear-Site-Data"] = '"cache"'  # so that going back shows nothing of the office (S-09.1)
        return response


def _add_goodbye(screens: APIRouter, portal: Portal) -> None:
    @screens.get("/logged-out")
    async def logged_out(kept: str = "") -> Response:
        return portal.bare_page(
            "logged_out.html", screen="S-09", title="ログアウト", again="/login", layout="entry.html", kept=bool(kept)
        )


async def _half(portal: Portal, request: Request) -> WebSession | None:
    cookie = portal.cookie(request, "step")
    web = await portal.sessions.find("step", cookie) if cookie else None
    return web if web is not None and web.alive else None


async def _logged_in(portal: Portal, request: Request, web: WebSession, typed: str, password: str) -> Response:
    slot = SessionSlot(None)
    client = portal.api.client(slot, portal.browser_of(request))
    answer = await client.login_office(web.held.step_token, typed, password)
    response = go(web.held.wanted or "/")
    held = Held(session=slot.session, failed_logins_at=answer.failed_logins_at, wanted=web.held.wanted)
    user = answer.user.id if answer.user else ""
    await portal.sessions.end(web.id)
    await portal.end_earlier(request)
    await portal.begin(response, Owner("office", answer.office.number, user), held, answer.refresh_expires_in)
    portal.drop_cookie(response, "step")
    return response


def _stranger(portal: Portal, request: Request) -> AsyncClient:
    return portal.api.client(SessionSlot(None), portal.browser_of(request))


def _first_mistake(typed: str, form: Form) -> Wrong | None:
    """What can be seen without asking: none of it counts as a failed login (S-01.3)."""
    if not typed:
        return Wrong(say("E-112"), "user_id")
    if begins_with_kj(typed):
        return Wrong(say("E-101"), "user_id")
    return None if form.text("password") else Wrong(say("E-113"), "password")


def _too_late(portal: Portal, request: Request) -> Response:
    """Ten minutes have passed since the first step, or there was none (S-02.5)."""
    had_one = portal.cookie(request, "step") != ""
    status = 422 if request.method == "POST" else 200
    return FIRST.page(portal, request, told=say("E-109") if had_one else None, status=status)
