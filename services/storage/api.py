"""The HTTP side of storage: files, ZIP, receipt, recall, accesses."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from starlette.types import Receive, Scope, Send

from services.storage import rules
from services.storage.contents import ContentGone, Contents, Holding, Opened, zipped
from services.storage.mailbox import REFUSED, Mailbox, refuse_if_gone
from todoke.events import Part
from todoke.relay.access import Access
from todoke.relay.manifest import Manifest
from todoke.relay.openapi import answer_headers, request_header
from todoke.relay.policy import Caller
from todoke.relay.problem import Problem
from todoke.relay.upload import BytesInFlight
from todoke.relay.web import problem_response

FILE_COPIES = 2
"""How often the bytes of a file stand in memory at a time: sealed and plain."""

ZIP_COPIES = 3
"""The same for a ZIP: sealed, plain, packed."""

HASHES_MAX = 1000
"""Hashes of one receipt that are looked at; no message has nearly as many files."""

_SANDBOX = "default-src 'none'; sandbox"
"""A file from another office, should a browser ever show it, may load and run nothing."""


class ReceiptGiven(BaseModel):
    """What the recipient holds: SHA-256 of each file in hexadecimal, in the order of `files`."""

    model_config = ConfigDict(extra="forbid")

    sha256: Annotated[list[Annotated[str, StringConstraints(max_length=128)]], Field(max_length=HASHES_MAX)]


class ReceiptAnswer(BaseModel):
    """The message is 済."""

    status: Literal["downloaded"] = "downloaded"
    downloaded_at: datetime
    receipt: str


class RecallWanted(BaseModel):
    """Why the sender takes the message back; shown to the sender's side only."""

    model_config = ConfigDict(extra="forbid")

    reason: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]


class RecallDone(BaseModel):
    """The message is taken back; `opened_at` says whether its content had been seen."""

    status: Literal["recalled"] = "recalled"
    opened_at: datetime | None


class RecallRequested(BaseModel):
    """The message has not arrived yet; it will be taken back when it does."""

    status: Literal["recall_requested"] = "recall_requested"


class By(BaseModel):
    """Who: the office, and the user on one's own side."""

    office: str
    user: str | None


class AccessItem(BaseModel):
    """One fetch: `files/1`, `files/2` … or `zip`; `refused/zip` and so on for one that was refused (own side only)."""

    what: str
    at: datetime
    by: By


class Accesses(BaseModel):
    """Every fetch, the oldest first."""

    items: list[AccessItem]


class Desk:
    """Hands out contents and takes receipts and recalls: what the routes below have in common."""

    def __init__(self, mailbox: Mailbox, contents: Contents, in_flight: BytesInFlight) -> None:
        self._mailbox = mailbox
        self._contents = contents
        self._in_flight = in_flight

    async def file(self, caller: Caller, message_id: str, number: str, request: Request) -> Response:
        """One file, or a range of it (RFC 9110 sections 13 and 14)."""
        conditional = "if-none-match" in request.headers or "range" in request.headers  # may be answered at once
        find = self._mailbox.find if conditional else self._mailbox.known
        holding = _still_open(caller, await find(caller, message_id))
        part = holding.part(number)
        manifest = await self._contents.manifest(holding)
        file = next(one for one in manifest.files if one.n == part.ordinal)
        etag = f'"{file.sha256}"'
        headers = {
            "ETag": etag,
            "Accept-Ranges": "bytes",
            "Cache-Control": "no-store",
            "Content-Disposition": rules.content_disposition(file.name),
            "Content-Security-Policy": _SANDBOX,
        }
        if rules.names_this(request.headers.get("if-none-match"), etag):
            return Response(status_code=304, headers={"ETag": etag, "Cache-Control": "no-store"})
        try:
            asked = rules.requested_range(
                request.headers.get("range"), request.headers.get("if-range"), etag, file.size
            )
        except rules.Unsatisfiable:
            refused = problem_response(Problem("TDK-RANGE", size=file.size))
            refused.headers["Content-Range"] = f"bytes */{file.size}"
            return refused
        async with self._counted(part.length * FILE_COPIES) as keep:
            [opened] = await self._read(caller, holding, [part], manifest)
            await self._mailbox.note_access(caller, holding, f"files/{part.ordinal}")
            data = opened.data
            if asked is not None:
                data = data[asked.start : asked.end]
                headers["Content-Range"] = f"bytes {asked.start}-{asked.end - 1}/{file.size}"
            return keep(data, 206 if asked else 200, headers, rules.content_type(part, file.name))

    async def zip(self, caller: Caller, message_id: str) -> Response:
        """All files of a message in one ZIP. Raises `Problem` TDK-NO-FILE for a message of text alone."""
        holding = _still_open(caller, await self._mailbox.known(caller, message_id))
        parts = holding.package.parts
        if not parts:
            raise Problem("TDK-NO-FILE")
        manifest = await self._contents.manifest(holding)
        async with self._counted(sum(part.length for part in parts) * ZIP_COPIES) as keep:
            opened = await self._read(caller, holding, parts, manifest)
            packed = await asyncio.to_thread(zipped, opened)
            await self._mailbox.note_access(caller, holding, "zip")
            headers = {
                "Cache-Control": "no-store",
                "Content-Disposition": rules.content_disposition(f"{holding.package.sequence}_{holding.sender}.zip"),
                "Content-Security-Policy": _SANDBOX,
            }
            return keep(packed, 200, headers, "application/zip")

    async def receive(self, caller: Caller, message_id: str, given: ReceiptGiven) -> ReceiptAnswer:
        """Take a receipt: the first one turns the message 済, every later one gets the same answer."""
        holding = await self._mailbox.known(caller, message_id)
        if caller.office == holding.sender:
            raise Problem("TDK-NOT-RECIPIENT")
        manifest = await self._contents.manifest(holding)
        received = await self._mailbox.receive(
            caller,
            holding,
            hashes_match=rules.same_hashes(given.sha256, [file.sha256 for file in manifest.files]),
            sign=await self._contents.receipt_writer(holding, manifest),
        )
        receipt = await self._contents.unseal_receipt(holding, received.receipt_sealed)
        return ReceiptAnswer(downloaded_at=received.downloaded_at, receipt=receipt)

    async def take_back(self, caller: Caller, message_id: str, reason: str) -> RecallDone | RecallRequested:
        """Take a recall. For everybody but the sender the message is not there."""
        holding = await self._mailbox.find(caller, message_id)
        if caller.office != holding.sender:
            raise Problem("TDK-NO-MESSAGE")
        reason_sealed = await self._contents.seal_reason(holding, reason)
        taken = await self._mailbox.take_back(caller, holding, reason_sealed)
        return RecallRequested() if taken.requested else RecallDone(opened_at=taken.opened_at)

    async def accesses(self, caller: Caller, message_id: str) -> Accesses:
        """Who fetched what, and when."""
        holding = await self._mailbox.find(caller, message_id)
        rows = await self._mailbox.accesses(caller, holding)
        seen = [row for row in rows if row["office"] == caller.office or not row["what"].startswith(REFUSED)]
        return Accesses(items=[_access_item(row, caller.office) for row in seen])

    async def permit(self, access: Access, caller: Caller, message_id: str, number: str | None) -> None:
        """Let the caller fetch a file, or all of them (None). Who may not is written down. Raises `Problem` 403."""
        try:
            access.require(caller, "fetch")
        except Problem:
            await self._mailbox.note_refusal(caller, message_id, number)
            raise

    async def _read(self, caller: Caller, holding: Holding, parts: Sequence[Part], manifest: Manifest) -> list[Opened]:
        """The files, also when the object was rewritten under another key since the message was looked up.

        Raises `Problem` TDK-CONTENT-DAMAGED, 404, 410; `Transient`.
        """
        try:
            try:
                return await self._contents.read(holding, parts, manifest)
            except ContentGone:
                again = _still_open(caller, await self._mailbox.find(caller, str(holding.message_id)))
                if again.object_key == holding.object_key:
                    raise self._contents.lost(holding) from None
                return await self._contents.read(again, parts, manifest)
        except ContentGone:
            raise self._contents.lost(holding) from None

    @contextlib.asynccontextmanager
    async def _counted(self, count: int) -> AsyncIterator[Callable[..., Response]]:
        """Count bytes as in flight until the answer made by the yielded function is sent, or the block fails.

        Raises `Problem` TDK-BUSY when this process holds as many as it may.
        """
        self._in_flight.take(count)
        kept = False

        def keep(content: bytes, status: int, headers: dict[str, str], media_type: str) -> Response:
            nonlocal kept
            kept = True
            return _CountedResponse(content, status, headers, media_type, lambda: self._in_flight.give(count))

        try:
            yield keep
        finally:
            if not kept:
                self._in_flight.give(count)


class _CountedResponse(Response):
    """An answer whose bytes count as in flight until it is sent or its connection is lost."""

    def __init__(
        self, content: bytes, status: int, headers: dict[str, str], media_type: str, sent: Callable[[], None]
    ) -> None:
        super().__init__(content, status, headers)
        self.headers["Content-Type"] = media_type  # as it is: the base class would add a character set to text
        self._sent = sent

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._sent()


def _still_open(caller: Caller, holding: Holding) -> Holding:
    """The message, if this office may still have its content. Raises `Problem` 410."""
    refuse_if_gone(
        sender=caller.office == holding.sender,
        status=holding.status,
        recalled_at=holding.recalled_at,
        erased=holding.erased,
    )
    return holding


def _access_item(row: Any, own_office: str) -> AccessItem:
    user = row["user_id"] if row["office"] == own_office else None
    return AccessItem(what=row["what"], at=row["at"], by=By(office=row["office"], user=user))


_ANY_BYTES = {"*/*": {"schema": {"type": "string", "contentMediaType": "application/octet-stream"}}}
_NAMED = answer_headers(Content_Disposition="attachment with `filename*`: the name as it was sent (RFC 6266)")
_TAGGED = answer_headers(ETag="the SHA-256 of the file, as in `files` of the lists")
_FILE: dict[int | str, dict[str, Any]] = {
    200: {"description": "The very bytes", "content": _ANY_BYTES, "headers": _NAMED | _TAGGED},
    206: {
        "description": "The range that was asked for",
        "content": _ANY_BYTES,
        "headers": _NAMED | _TAGGED | answer_headers(Content_Range="RFC 9110 section 14.4"),
    },
    304: {"description": "The content is the one that If-None-Match names", "headers": _TAGGED},
}
_CONDITIONS: dict[str, Any] = {
    "parameters": [
        request_header("Range", "One range of bytes (RFC 9110 section 14.2)"),
        request_header("If-Range", "The ETag that a range must belong to"),
        request_header("If-None-Match", "ETags that the client holds: 304 when one is the file's"),
    ]
}
_ZIP: dict[int | str, dict[str, Any]] = {
    200: {"description": "Names as sent", "content": {"application/zip": {}}, "headers": _NAMED},
}


def router(access: Access, desk: Desk) -> APIRouter:
    """The routes under `/v1/messages/{message_id}` that storage answers."""
    routes = APIRouter(prefix="/v1/messages/{message_id}", tags=["fetch, receipt, recall"])
    # File GETs and receipts do not count against the user's rate (api.md, limits).
    fetching = Annotated[Caller, Depends(access.uncounted)]
    asking = Annotated[Caller, Depends(access.caller)]

    @routes.get(
        "/files/{n}",
        response_class=Response,
        responses=_FILE,
        openapi_extra=_CONDITIONS,
        summary="One file, byte for byte",
    )
    async def get_file(message_id: str, n: str, request: Request, caller: fetching) -> Response:
        await desk.permit(access, caller, message_id, n)
        async with access.rates.fetching(caller.office):
            return await desk.file(caller, message_id, n, request)

    @routes.get("/zip", response_class=Response, responses=_ZIP, summary="All files in one ZIP")
    async def get_zip(message_id: str, caller: fetching) -> Response:
        await desk.permit(access, caller, message_id, None)
        async with access.rates.fetching(caller.office):
            return await desk.zip(caller, message_id)

    @routes.post("/receipt", summary="Prove that every file is held: 済")
    async def post_receipt(message_id: str, given: ReceiptGiven, caller: fetching) -> ReceiptAnswer:
        access.require(caller, "receipt")
        return await desk.receive(caller, message_id, given)

    @routes.post("/recall", summary="Take a message back before 済", responses={202: {"model": RecallRequested}})
    async def post_recall(
        message_id: str, wanted: RecallWanted, caller: asking, response: Response
    ) -> RecallDone | RecallRequested:
        access.require(caller, "recall")
        answer = await desk.take_back(caller, message_id, wanted.reason)
        if isinstance(answer, RecallRequested):
            response.status_code = 202
        return answer

    @routes.get("/accesses", summary="Who fetched what, and when")
    async def get_accesses(message_id: str, caller: asking) -> Accesses:
        access.require(caller, "lists")
        return await desk.accesses(caller, message_id)

    return routes
