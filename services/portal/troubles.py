"""S-39: every error as a page that says what happened, what to do, and a number to tell on the telephone."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import TYPE_CHECKING

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from services.portal.forms import NotOurForm
from services.portal.frame import plain_frame
from services.portal.routes import Elsewhere, Forbidden, NotThere, dressed, go
from services.portal.rules import whom_to_ask
from services.portal.wording import Sentence, of_code, of_problem, of_refusal, say
from todoke.client import ApiError, ClientError, NotLoggedIn, Unreachable, Unreadable
from todoke.relay.faults import Transient
from todoke.relay.postgres import trace_id_now
from todoke.relay.problem import Problem

if TYPE_CHECKING:
    from services.portal.portal import Portal
    from services.portal.websessions import Kind

REFERENCE_DIGITS = 12
"""Of the trace's 32: enough to find one line in a log, few enough to say on the telephone."""

RETRY_SECONDS = 5


@dataclass(frozen=True, slots=True)
class Told:
    """An error as a page tells it."""

    status: int
    sentence: Sentence
    retry_seconds: int | None = None


class Troubles:
    """Makes pages of errors."""

    def __init__(self, portal: "Portal") -> None:
        self._portal = portal

    async def page(self, request: Request, kind: "Kind", trouble: Exception) -> Response:
        """The answer to a request that met this."""
        if isinstance(trouble, Elsewhere):
            return _led(request, trouble.place)
        if isinstance(trouble, NotLoggedIn) or (isinstance(trouble, ApiError) and trouble.status == 401):  # noqa: PLR2004 (an HTTP status)
            return await self._over(request, kind)
        reference = reference_now()
        told = await self._with_names(request, _told(trouble, reference))
        log = self._portal.log.error if told.status >= HTTPStatus.INTERNAL_SERVER_ERROR else self._portal.log.info
        log("screen_fails", error=type(trouble).__name__, at=_innermost(trouble), reference=reference)
        response = self._shown(request, kind, told, reference)
        if told.retry_seconds is not None:
            response.headers["Retry-After"] = str(told.retry_seconds)
        return response

    def nowhere(self, kind: "Kind" = "office") -> Response:
        """The page for an address that nothing is at, with a way back on the listener of this kind of session."""
        return dressed(self._bare(Told(404, say("E-600")), reference_now(), kind))

    def _shown(self, request: Request, kind: "Kind", told: Told, reference: str) -> Response:
        visitor = getattr(request.state, "visitor", None)
        if visitor is None or visitor.slot.session is None or visitor.web.kind != "office":
            return self._bare(told, reference, kind)
        values = {
            "screen": "S-39",
            "title": "エラー",
            "csrf": visitor.csrf,
            "visitor": visitor,
            "frame": plain_frame(visitor, ""),
            "told": told,
            "reference": reference,
            "home": _OFFICE_WAY_BACK[1],
        }
        return self._portal.pages.page("trouble.html", values, told.status)

    def _bare(self, told: Told, reference: str, kind: "Kind" = "office") -> Response:
        layout, home = _WAYS_BACK.get(kind, _OFFICE_WAY_BACK)
        return self._portal.bare_page(
            "trouble_bare.html",
            screen="S-39",
            title="エラー",
            status=told.status,
            told=told,
            reference=reference,
            layout=layout,
            home=home,
        )

    async def _with_names(self, request: Request, told: Told) -> Told:
        """E-605 names the administrators of the visitor's office; without the API it stays without names."""
        visitor = getattr(request.state, "visitor", None)
        if told.sentence != of_code("TDK-NOT-ALLOWED") or visitor is None or not visitor.user_id:
            return told
        try:
            users = await visitor.client.users()
        except ClientError:
            return told
        names = whom_to_ask(users, visitor.user_id)
        return replace(told, sentence=say("E-605", names=names)) if names else told

    async def _over(self, request: Request, kind: "Kind") -> Response:
        """The API's session has ended, wherever that was done: ours ends with it."""
        web = await self._portal.sessions.find(kind, self._portal.cookie(request, kind))
        if web is not None:
            await self._portal.sessions.end(web.id)
        return _led(request, await self._portal.way_in(request, kind, web))


def _told(trouble: Exception, reference: str) -> Told:
    if isinstance(trouble, ApiError) and trouble.status == HTTPStatus.NOT_FOUND:
        return Told(404, say("E-600"))  # one page for what is not there, whoever says so
    if isinstance(trouble, ApiError):
        retry = None if trouble.retry_after is None else int(trouble.retry_after)
        return Told(trouble.status, of_refusal(trouble), retry)
    if isinstance(trouble, Problem):
        return Told(trouble.status, of_problem(trouble), trouble.retry_after)
    if isinstance(trouble, HTTPException):
        return _of_status(trouble.status_code)
    for kinds, told in _PLAIN:
        if isinstance(trouble, kinds):
            return told()
    return Told(500, say("E-699", reference=reference))


_OFFICE_WAY_BACK = ("entry.html", ("/", "トップへ戻る"))
_WAYS_BACK: Mapping["Kind", tuple[str, tuple[str, str]]] = {
    "usage": ("usage_entry.html", ("/usage", "利用状況へ戻る")),
    "operator": ("console_entry.html", ("/operator/offices", "事業所の一覧へ戻る")),
}
"""The layout of a page of an error, where it leads back to, and what the button of that says."""

_PLAIN: tuple[tuple[tuple[type[Exception], ...], Callable[[], Told]], ...] = (
    ((Unreachable, Unreadable, Transient), lambda: Told(503, of_code("TDK-ENGINE-AWAY"), RETRY_SECONDS)),
    ((Forbidden,), lambda: Told(403, of_code("TDK-NOT-ALLOWED"))),
    ((NotOurForm,), lambda: Told(403, say("E-604"))),
    ((NotThere, RequestValidationError), lambda: Told(404, say("E-600"))),
)
"""Errors whose page needs to know no more than their kind."""


def reference_now() -> str:
    """What finds this request in the log: the beginning of its trace."""
    return trace_id_now()[:REFERENCE_DIGITS]


def _of_status(status: int) -> Told:
    if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return Told(status, of_code("TDK-BODY-TOO-LARGE"))
    if status == HTTPStatus.REQUEST_TIMEOUT:
        return Told(status, of_code("TDK-BODY-MALFORMED"))
    return Told(404, say("E-600"))


def _led(request: Request, place: str) -> Response:
    """To another page; htmx is told to load the whole of it."""
    if request.headers.get("hx-request"):
        return Response(status_code=200, headers={"HX-Redirect": place})
    return go(place)


def _innermost(error: Exception) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_name}:{trace.tb_lineno}" if trace else ""
