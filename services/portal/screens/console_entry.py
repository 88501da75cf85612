"""S-70: operators log in to their console with a password and a code, on their own listener; and out."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from services.portal.apis import SessionSlot
from services.portal.console import CONSOLE, OFFICES, Operator
from services.portal.forms import Form, NotOurForm
from services.portal.logins import LoginScreen, Wrong, refused_login
from services.portal.portal import Portal
from services.portal.routes import go
from services.portal.rules import half_width, place_within
from services.portal.websessions import Held, Owner
from services.portal.wording import say
from todoke.client import ApiError

LOGIN = f"{CONSOLE}/login"
PAGE = LoginScreen("console_login.html", "S-70", "運用ログイン", "operator")


def router(portal: Portal) -> APIRouter:
    """The way in and out."""
    screens = portal.router("operator")

    @screens.get(LOGIN)
    async def login(request: Request) -> Response:
        told = say("E-114") if "ended" in request.query_params else None
        return PAGE.page(portal, request, wanted=request.query_params.get("next", ""), told=told)

    @screens.post(LOGIN)
    async def log_in(request: Request) -> Response:
        try:
            form = await portal.form(request, "operator")
        except NotOurForm:
            return PAGE.page(portal, request, told=say("E-604"), status=403)
        typed, wanted = half_width(form.text("user_id")), form.text("next")
        wrong = _mistake(typed, form)
        if wrong is None:
            try:
                return await _logged_in(portal, request, typed, form)
            except ApiError as refused:
                wrong = refused_login(refused)
        return PAGE.page(portal, request, wanted=wanted, typed=typed, wrong=wrong)

    @screens.get(CONSOLE)
    async def begin(operator: Annotated[Operator, Depends(portal.operator())]) -> Response:
        del operator
        return go(OFFICES)

    @screens.post(f"{CONSOLE}/logout")
    async def logout(request: Request, operator: Annotated[Operator, Depends(portal.operator())]) -> Response:
        await portal.form(request, "operator")
        await portal.end_operator(operator)
        response = go(f"{CONSOLE}/logged-out")
        portal.drop_cookie(response, "operator")
        response.headers["Clear-Site-Data"] = '"cache"'  # so that going back shows nothing
        return response

    @screens.get(f"{CONSOLE}/logged-out")
    async def logged_out() -> Response:
        return portal.bare_page(
            "logged_out.html", screen="S-09", title="ログアウト", again=LOGIN, layout="console_entry.html"
        )

    return screens


async def _logged_in(portal: Portal, request: Request, typed: str, form: Form) -> Response:
    """Password and code are judged together: which of them was wrong is told to nobody.

    A code may have a space in its middle, as telephones show it.
    """
    client = portal.operator_api.client(SessionSlot(None), portal.browser_of(request))
    answer = await client.operator_login(typed, form.text("password"), "".join(half_width(form.text("totp")).split()))
    response = go(_within(form.text("next")))
    await portal.end_earlier_operator(request)
    held = Held(operator_token=answer.access_token)
    await portal.begin(response, Owner("operator", user_id=typed), held, answer.expires_in)
    return response


def _mistake(typed: str, form: Form) -> Wrong | None:
    if not typed:
        return Wrong(say("E-112"), "user_id")
    if not form.text("password"):
        return Wrong(say("E-113"), "password")
    return None if form.text("totp").strip() else Wrong(say("E-125"), "totp")


def _within(wanted: str) -> str:
    """A page of the console."""
    place = place_within(wanted, OFFICES)
    return place if place.startswith(f"{CONSOLE}/") else OFFICES
