"""What every screen's route does around its function: checks, headers, and errors as pages."""

from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi import Request, Response
from fastapi.responses import RedirectResponse
from fastapi.routing import APIRoute

if TYPE_CHECKING:
    from services.portal.portal import Portal
    from services.portal.websessions import Kind

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})

HEADERS = {
    "Content-Security-Policy": "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "object-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
    "Referrer-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}
"""screens.md 0.4, and what else browsers can be told not to do. `nosniff` is set for every answer by the kit."""


class Elsewhere(Exception):  # noqa: N818 (named for where the browser goes)
    """The browser has to go to another page first; `place` is an address of this site."""

    def __init__(self, place: str) -> None:
        super().__init__(place)
        self.place = place


class Forbidden(Exception):  # noqa: N818 (named for what it is)
    """This person has not the right to do this (E-605)."""


class NotThere(Exception):  # noqa: N818 (named for what it is)
    """There is no such thing, or none of this office: nobody learns which."""


def screen_route(portal: "Portal", kind: "Kind") -> type[APIRoute]:
    """The class of routes for screens of this kind of session."""

    class ScreenRoute(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            inner = super().get_route_handler()

            async def handle(request: Request) -> Response:
                try:
                    if request.method not in SAFE:
                        portal.csrf.check_origin(request)
                    response = await inner(request)
                    _require_proof(request, response)
                except Exception as trouble:  # noqa: BLE001 (whatever it is, a person gets a page)
                    response = await portal.troubles.page(request, kind, trouble)
                visitor = getattr(request.state, "visitor", None)
                if visitor is not None:
                    await portal.visitors.keep(visitor)
                return dressed(response)

            return handle

    return ScreenRoute


class Unproven(Exception):  # noqa: N818 (named for the form)
    """A mistake of ours: a form was accepted without a look at its proof. No test that posts it passes."""


def _require_proof(request: Request, response: Response) -> None:
    refused = response.status_code >= HTTPStatus.BAD_REQUEST
    if request.method not in SAFE and not refused and not getattr(request.state, "proven", False):
        raise Unproven(request.scope["route"].path)


def dressed(response: Response) -> Response:
    """The answer with the headers of every page."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    return response


def go(place: str) -> Response:
    """After a POST: to a page that a reload does not post again (RFC 9110 section 15.4.4)."""
    return RedirectResponse(place, status_code=303)
