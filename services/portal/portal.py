"""What every screen is given: sessions, guards, pages, the way to the API."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode
from uuid import UUID

from fastapi import APIRouter, Request, Response

from services.portal.apis import Api, SessionSlot
from services.portal.console import Operator
from services.portal.forms import (
    CSRF_FIELD,
    CSRF_HEADER,
    FIELDS_BYTES_MAX,
    FIELDS_MAX,
    Csrf,
    Form,
    NotOurForm,
    Posted,
    has_files,
    read_form,
)
from services.portal.frame import Frame, Frames, plain_frame
from services.portal.kept import Likings, Memos, Searches
from services.portal.late import LateForms
from services.portal.live import Live
from services.portal.pages import Assets, Pages
from services.portal.routes import Elsewhere, Forbidden, screen_route
from services.portal.rules import place_within
from services.portal.troubles import Troubles
from services.portal.unpacking import FILES_MAX, ZIP_BYTES_MAX
from services.portal.visitors import Visitor, Visitors
from services.portal.websessions import Held, Kind, Owner, WebSession, WebSessions
from todoke.client import ClientError, NotLoggedIn, Unreachable
from todoke.relay.clock import Clock, Ids
from todoke.relay.limits import MEBIBYTE, Limits
from todoke.relay.network import Networks
from todoke.relay.passing import PassingBody
from todoke.relay.postgres import Database
from todoke.relay.problem import Problem
from todoke.relay.settings import PortalSettings
from todoke.relay.upload import Form as UploadForm
from todoke.relay.upload import multipart_body, process_budget, receiving

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

ENTRIES: Mapping[Kind, str] = {
    "step": "/login",
    "office": "/login",
    "usage": "/usage/login",
    "operator": "/operator/login",
}
"""Where somebody without a session is sent."""

UPLOAD = multipart_body("_form", "files")
"""`openapi_extra` of a route that takes files: it measures its body itself."""

FIRST = "/first"
"""The only page while a password must be changed (S-08)."""

USAGE = "/usage"
"""利用状況Webサイト, where the office itself logs in."""

_WHILE_PASSWORD_WAITS: Mapping[Kind, tuple[str, ...]] = {
    "office": (FIRST, "/logout"),
    "usage": (f"{USAGE}{FIRST}", f"{USAGE}/logout"),
}
"""Where one is led while a password must be changed, and where one may go besides."""

LATE = "late"
"""`?late=ID` on the page of a form: shown again with what was typed."""

UNATTENDED = "Todoke-Unattended"
"""The header by which a page says that it asks by itself, with nobody at the screen."""

Guard = Callable[[Request], Awaitable[Visitor]]


@dataclass(frozen=True)
class Portal:
    """The ports of every screen. `secure` tells that browsers reach us by https."""

    settings: PortalSettings
    db: Database
    sessions: WebSessions
    visitors: Visitors
    api: Api
    operator_api: Api
    csrf: Csrf
    pages: Pages
    assets: Assets
    frames: Frames
    networks: Networks
    clock: Clock
    ids: Ids
    limits: Limits
    searches: Searches
    memos: Memos
    likings: Likings
    late: LateForms
    live: Live
    secure: bool
    log: "FilteringBoundLogger"
    forms: dict[str, str] = field(default_factory=dict)
    """Path of the route that a form is sent to → that of the page which shows the form again with what was typed, after
    a session that had ended (S-00.8): the page looks it up by `late_form`. Both as templates with the same parts."""

    @property
    def troubles(self) -> Troubles:
        """Errors as pages."""
        return Troubles(self)

    # --- routes ------------------------------------------------------------------------------------------------

    def router(self, kind: Kind = "office") -> APIRouter:
        """A router of screens: errors become pages, every unsafe request is checked, headers are set."""
        return APIRouter(route_class=screen_route(self, kind), include_in_schema=False)

    def visitor(self, *roles: str, used: bool = True) -> Guard:
        """A guard: the visitor of an office's page, with one of these roles (none named: any).

        Without a session it leads to the login and back afterwards; while a password must be changed, to S-08. `used`
        False does not count the request as a use (the live stream, the question how long the session lasts); nor does
        one count that a page sends by itself and says so.
        """

        async def guard(request: Request) -> Visitor:
            found = await self._visitor(request, "office", used=used and UNATTENDED not in request.headers)
            if roles and found.roles.isdisjoint(roles):
                raise Forbidden
            return found

        return guard

    def usage_visitor(self, *, used: bool = True) -> Guard:
        """A guard for 利用状況Webサイト: the office itself."""

        async def guard(request: Request) -> Visitor:
            return await self._visitor(request, "usage", used=used)

        return guard

    def operator(self, *, used: bool = True) -> Callable[[Request], Awaitable[Operator]]:
        """A guard for the operators' console."""

        async def guard(request: Request) -> Operator:
            web, cookie = await self._alive(request, "operator", used=used)
            client = self.operator_api.client(SessionSlot(None), self.browser_of(request))
            return Operator(web, client, self.csrf.token(cookie))

        return guard

    async def _alive(self, request: Request, kind: Kind, *, used: bool) -> tuple[WebSession, str]:
        cookie = self.cookie(request, kind)
        web = await self.sessions.find(kind, cookie, used=used) if cookie else None
        if web is None or not web.alive:
            raise Elsewhere(await self.way_in(request, kind, web))
        return web, cookie

    async def _visitor(self, request: Request, kind: Kind, *, used: bool) -> Visitor:
        web, cookie = await self._alive(request, kind, used=used)
        found = await self.visitors.of(web, self.csrf.token(cookie), self.browser_of(request))
        request.state.visitor = found
        only = _WHILE_PASSWORD_WAITS[kind]
        if found.session.must_change and request.url.path not in only:
            raise Elsewhere(only[0])
        return found

    # --- pages -------------------------------------------------------------------------------------------------

    async def page(
        self,
        visitor: Visitor,
        template: str,
        *,
        screen: str,
        title: str,
        here: str = "",
        status: int = 200,
        frame: Frame | None = None,
        **values: Any,
    ) -> Response:
        """A page of an office in its frame. `here` is the path of its entry in the main menu.

        A page that asks the API for more gives the `frame` that it asked for at the same time.

        Raises `NotLoggedIn` when the session has ended.
        """
        frame = frame or await self.frames.of(visitor, here)
        return self.pages.page(template, self._values(visitor, screen, title, frame=frame, **values), status)

    def fragment(self, visitor: Visitor, template: str, block: str, *, screen: str = "", **values: Any) -> Response:
        """A block of a page for htmx; the frame is not asked for again."""
        frame = plain_frame(visitor, "")
        return self.pages.fragment(template, block, self._values(visitor, screen, "", frame=frame, **values))

    def bare_page(
        self, template: str, *, screen: str, title: str, csrf: str = "", status: int = 200, **values: Any
    ) -> Response:
        """A page without the frame of an office: logins, goodbyes, errors."""
        return self.pages.page(template, {"screen": screen, "title": title, "csrf": csrf, **values}, status)

    def console_page(
        self, operator: Operator, template: str, *, screen: str, title: str, status: int = 200, **values: Any
    ) -> Response:
        """A page of the operators' console in its frame."""
        known = {"operator": operator, "csrf": operator.csrf, "now": self.clock.now(), "here": "offices"}
        return self.pages.page(template, {"screen": screen, "title": title, **known, **values}, status)

    def _values(self, visitor: Visitor, screen: str, title: str, **values: Any) -> dict[str, Any]:
        return {"screen": screen, "title": title, "csrf": visitor.csrf, "visitor": visitor, **values}

    def new_key(self) -> str:
        """An idempotency key for a form, made when its page is rendered."""
        return self.ids.uuid7().hex

    # --- forms -------------------------------------------------------------------------------------------------

    async def form(self, request: Request, kind: Kind = "office") -> Form:
        """The fields that were posted, once the form is known to be of this session.

        Raises:
            NotOurForm: it is not.
            Problem: 400, 413, 415.
        """
        form = await read_form(request)
        self._prove(request, kind, form)
        return form

    @contextlib.asynccontextmanager
    async def upload(self, request: Request) -> AsyncIterator[Posted]:
        """A form with files, held in memory until the block ends; its route says `openapi_extra=UPLOAD`.

        Raises:
            NotOurForm: it is not of this session.
            Problem: 400, 408, 413, 415, 503 as every upload.
        """
        form = UploadForm.page(
            files_max=FILES_MAX,
            file_bytes_max=ZIP_BYTES_MAX,
            bytes_max=ZIP_BYTES_MAX + MEBIBYTE,
            fields_max=FIELDS_MAX,
            fields_bytes_max=FIELDS_BYTES_MAX,
        )
        budget = process_budget(self.limits.bytes_in_flight_max)
        async with receiving(request, form, budget, seconds_max=self.limits.body_seconds_max) as body:
            fields = Form(body.fields)
            self._prove(request, "office", fields)
            yield Posted(fields, body.files)

    async def passing(self, request: Request, kind: Kind, file: str, bytes_max: int) -> tuple[Form, PassingBody]:
        """A form whose one file comes last and is read in passing; its route says `openapi_extra=UPLOAD`.

        Raises:
            NotOurForm: it is not of this session.
            Problem: 400, 408, 413, 415, 422 as `PassingBody`.
        """
        body = PassingBody(request, file, names=None, fields_bytes_max=FIELDS_BYTES_MAX, bytes_max=bytes_max)
        fields = await body.fields()
        form = Form([(name, value.decode("utf-8", "replace")) for name, value in fields.items()])
        self._prove(request, kind, form)
        return form, body

    def _prove(self, request: Request, kind: Kind, form: Form) -> None:
        shown = request.headers.get(CSRF_HEADER) or form.get(CSRF_FIELD, "")
        self.csrf.check_token(self.cookie(request, kind), shown)
        request.state.proven = True

    # --- sessions ----------------------------------------------------------------------------------------------

    def cookie_name(self, kind: Kind) -> str:
        """`__Host-` binds a cookie to this very host, which needs https (RFC 6265bis section 4.1.3.2)."""
        return f"__Host-todoke-{kind}" if self.secure else f"todoke-{kind}"

    def cookie(self, request: Request, kind: Kind) -> str:
        """The cookie's value, empty when there is none."""
        return request.cookies.get(self.cookie_name(kind), "")

    async def begin(self, response: Response, owner: Owner, held: Held, seconds: int | None = None) -> None:
        """Begin a session and hand its cookie to the browser; whatever value it had before ends with this."""
        cookie = await (
            self.sessions.begin(owner, held) if seconds is None else self.sessions.begin(owner, held, seconds)
        )
        self.set_cookie(response, owner.kind, cookie)

    async def end_earlier(self, request: Request, kind: Kind = "office") -> None:
        """End the session that this browser had before a new login: nobody could reach it any more to end it."""
        cookie = self.cookie(request, kind)
        web = await self.sessions.find(kind, cookie, used=False) if cookie else None
        if web is not None and web.alive:
            with contextlib.suppress(NotLoggedIn, Unreachable):
                await self.end(await self.visitors.of(web, "", self.browser_of(request)))

    def set_cookie(self, response: Response, kind: Kind, value: str) -> None:
        """A cookie that scripts cannot read and other sites' forms do not send."""
        response.set_cookie(self.cookie_name(kind), value, path="/", secure=self.secure, httponly=True, samesite="lax")

    def drop_cookie(self, response: Response, kind: Kind) -> None:
        """Take a cookie back."""
        response.delete_cookie(self.cookie_name(kind), path="/", secure=self.secure, httponly=True, samesite="lax")

    async def end(self, visitor: Visitor) -> None:
        """End a session here and at the API; with the API away it still ends here, and nobody has its tokens."""
        await self.sessions.end(visitor.web.id)
        with contextlib.suppress(NotLoggedIn, Unreachable):
            await visitor.client.logout()

    async def end_operator(self, operator: Operator) -> None:
        """End an operator's session here and at the API, as `end` does."""
        await self.sessions.end(operator.web.id)
        with contextlib.suppress(ClientError):
            await operator.client.operator_logout(operator.token)

    async def end_earlier_operator(self, request: Request) -> None:
        """End the console session that this browser had before a new login."""
        cookie = self.cookie(request, "operator")
        web = await self.sessions.find("operator", cookie, used=False) if cookie else None
        if web is not None and web.alive:
            client = self.operator_api.client(SessionSlot(None), self.browser_of(request))
            await self.end_operator(Operator(web, client, ""))

    async def visitor_without_browser(self, session_id: UUID) -> Visitor | None:
        """The visitor whose work goes on after the page was closed; None once the session has ended."""
        return await self.visitors.without_browser(session_id)

    async def late_form(self, visitor: Visitor | Operator, request: Request) -> Form | None:
        """What this visitor typed into the page's form when the session had ended (S-00.8), or nothing."""
        try:
            late = UUID(request.query_params.get(LATE, ""))
        except ValueError:
            return None
        return await self.late.of(visitor.web.owner, late)

    async def way_in(self, request: Request, kind: Kind, web: WebSession | None) -> str:
        """The login to send a browser to without a session, which brings it back to the page that it wanted.

        What was typed into a form that came too late is kept for the one whose session it was.
        """
        page = self.forms.get(request.scope["route"].path) if request.method == "POST" else None
        late = await self._kept_late(request, web) if page is not None and web is not None else None
        if page is not None and late is not None:
            parts = {name: quote(str(value), safe="") for name, value in request.path_params.items()}
            wanted = f"{page.format(**parts)}?{LATE}={late}"
        elif request.method == "GET":
            wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        else:
            wanted = ""
        return _entry(kind, wanted, was_there=web is not None)

    async def _kept_late(self, request: Request, web: WebSession) -> UUID | None:
        """The proof of a session is good after its end too: a form without it is none of its owner's."""
        try:
            if not has_files(request):
                return await self.late.keep(web.owner, await self.form(request, web.kind))
            async with self.upload(request) as posted:  # a browser cannot show chosen files again: they are not kept
                return await self.late.keep(web.owner, posted.form)
        except (NotOurForm, Problem):
            return None

    def browser_of(self, request: Request) -> str | None:
        """The browser's address, as far as we believe it."""
        address = self.networks.address(request)
        return None if address is None else str(address)


def _entry(kind: Kind, wanted: str, *, was_there: bool) -> str:
    wanted = place_within(wanted, "")
    told = {"next": wanted} if wanted not in ("", "/") else {}
    if was_there:
        told["ended"] = "1"
    return ENTRIES[kind] + (f"?{urlencode(told, safe='/')}" if told else "")
