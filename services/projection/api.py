"""`GET /v1/sent`, `/received`, `/counts`, `/changes`, `/messages/{id}…`, `/status`, `/stream`; `POST /v1/search`."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.responses import StreamingResponse

from services.projection.positions import Positions, Version, matches
from services.projection.reading import Listed, Reading
from services.projection.shapes import (
    Changes,
    Counts,
    Evidence,
    MessageAnswer,
    Page,
    ReceivedQuery,
    SearchBody,
    SentQuery,
    SincePage,
    SystemStatus,
    Verdict,
)
from services.projection.stream import PUSHES, Streams
from services.projection.timers import Pulse
from todoke.relay.access import Access, Caller, Credentials
from todoke.relay.openapi import answer_headers, request_header
from todoke.relay.problem import Problem

CHANGES = 50
CHANGES_MAX = 200


def routes(access: Access, reading: Reading, positions: Positions, streams: Streams, pulse: Pulse) -> APIRouter:
    """The router of projection."""
    router = APIRouter(tags=["lists"])
    _lists(router, access, reading, positions)
    _messages(router, access, reading)
    _pushes(router, access, reading, streams, pulse)
    return router


class _Caching:
    """The ETags of one request for a list: what the client holds is answered 304, without reading a row."""

    def __init__(self, positions: Positions, request: Request, caller: Caller) -> None:
        self._positions = positions
        self._office = caller.office
        self._asked = f"{request.url.path}?{request.url.query}"
        self._if_none_match = request.headers.get("If-None-Match")

    def held(self, version: Version) -> bool:
        """Whether the client holds the answer as of this version."""
        return self._if_none_match is not None and matches(self._etag(version), self._if_none_match)

    def answer(self, listed: Listed[Page] | Listed[SincePage]) -> Response:
        """200 with the page, or 304."""
        version, page = listed
        etag = self._etag(version)
        return Response(status_code=304, headers=_caching(etag)) if page is None else _listed(page, etag)

    def _etag(self, version: Version) -> str:
        return self._positions.etag(self._office, version, self._asked)


def _lists(router: APIRouter, access: Access, reading: Reading, positions: Positions) -> None:
    caller_of = Annotated[Caller, Depends(access.reader)]

    @router.get(
        "/v1/sent",
        response_model=Page,
        responses=_TAGGED,
        openapi_extra=_CONDITION,
        summary="The send list, newest first",
    )
    async def sent(request: Request, caller: caller_of, query: Annotated[SentQuery, Query()]) -> Response:
        """What the office has sent: every message with its status."""
        access.require(caller, "lists")
        caching = _Caching(positions, request, caller)
        return caching.answer(await reading.sent(caller.office, query, caching.held))

    @router.get(
        "/v1/received",
        response_model=Page | SincePage,
        responses=_TAGGED,
        openapi_extra=_CONDITION,
        summary="The receive list, newest first; with `since` ascending and without a gap",
    )
    async def received(request: Request, caller: caller_of, query: Annotated[ReceivedQuery, Query()]) -> Response:
        """What the office has received. With `since` every delivery number after it, in order, never past a gap."""
        access.require(caller, "lists")
        if query.since is not None and (query.any or query.cursor is not None):
            raise Problem("TDK-SINCE-FILTERED", where=[("since", "条件とは一緒に使えません。")])
        caching = _Caching(positions, request, caller)
        if query.since is not None:
            return caching.answer(await reading.since(caller.office, query, caching.held))
        return caching.answer(await reading.received(caller.office, query, caching.held))

    @router.post("/v1/search", response_model=Page, summary="Search a list")
    async def search(caller: caller_of, asked: SearchBody) -> Response:
        """Search office names and numbers, texts and file names; `next` goes on where this call stopped looking."""
        access.require(caller, "lists")
        return _listed(await reading.search(caller.office, asked), None)

    @router.get("/v1/counts", summary="How many messages there are per status")
    async def counts(caller: caller_of) -> Counts:
        """Kept in the transaction that changes the lists."""
        access.require(caller, "lists")
        return await reading.counts(caller.office)


def _messages(router: APIRouter, access: Access, reading: Reading) -> None:
    caller_of = Annotated[Caller, Depends(access.reader)]

    @router.get("/v1/messages/{message_id}", summary="One message with its timeline")
    async def message(caller: caller_of, message_id: str) -> MessageAnswer:
        """The sender sees every status, the recipient the message from its delivery on."""
        access.require(caller, "lists")
        return await reading.message(caller, message_id)

    @router.get("/v1/messages/{message_id}/findings", summary="What was found in a message's files")
    async def findings(caller: caller_of, message_id: str) -> Verdict:
        """As `POST /v1/messages/check`; one who only views gets the counts."""
        access.require(caller, "findings")
        return await reading.findings(caller, message_id)

    @router.get("/v1/messages/{message_id}/evidence", summary="The record of delivery")
    async def evidence(caller: caller_of, message_id: str) -> Evidence:
        """Events, hashes and receipts of a message (送達記録)."""
        access.require(caller, "evidence")
        return await reading.evidence(caller, message_id)


def _pushes(router: APIRouter, access: Access, reading: Reading, streams: Streams, pulse: Pulse) -> None:
    caller_of = Annotated[Caller, Depends(access.caller)]

    @router.get("/v1/changes", summary="The office's last changes, newest first")
    async def changes(caller: caller_of, limit: Annotated[int, Query(ge=1, le=CHANGES_MAX)] = CHANGES) -> Changes:
        """The same entries as the push stream's."""
        access.require(caller, "lists")
        return await reading.changes(caller.office, limit)

    @router.get(
        "/v1/stream",
        response_class=StreamingResponse,
        responses=PUSHES,
        summary="Pushes, as server-sent events",
    )
    async def stream(
        caller: caller_of, credentials: Credentials, last_event_id: Annotated[str | None, Header()] = None
    ) -> StreamingResponse:
        """Changes of the office's lists from now on, or after `Last-Event-ID`. What is pushed is already listed."""
        access.require(caller, "lists")
        return await streams.open(caller, last_event_id, lambda: access.uncounted(credentials))

    @router.get("/v1/status", summary="How the system is")
    async def status() -> SystemStatus:
        """By the age of the oldest message that is still on its way; it needs no session."""
        return await pulse.status()


_ETAG = answer_headers(ETag="Changes when the caller's office's lists do, and with what is asked")
_TAGGED: dict[int | str, dict[str, Any]] = {
    200: {"headers": _ETAG},
    304: {"description": "Nothing changed for the caller's office", "headers": _ETAG},
}
_CONDITION = {"parameters": [request_header("If-None-Match", "The ETag of the answer that the client holds")]}


def _listed(page: Page | SincePage, etag: str | None) -> Response:
    headers = {"Cache-Control": "private, no-cache"} if etag is None else _caching(etag)
    return Response(page.model_dump_json(), media_type="application/json", headers=headers)


def _caching(etag: str) -> dict[str, str]:
    return {"ETag": etag, "Cache-Control": "private, no-cache", "Vary": "Authorization"}
