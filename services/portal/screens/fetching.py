"""データ取得: files, ZIPs and receipts, for scripts (file by file) and without them (by pages)."""

import asyncio
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from services.portal.downloads import HIDDEN, Fetch, attachment, content, fetch_of, packed
from services.portal.forms import Form, NotOurForm
from services.portal.portal import Portal
from services.portal.routes import NotThere, go
from services.portal.screens.received import messages, received_page
from services.portal.visitors import Visitor
from services.portal.wording import say
from todoke.client.shapes import Item

FETCHED_MAX = 2000
"""Messages of one fetch; the rest waits for the next press."""

RECEIPTS_AT_ONCE = 8

_BINARY = "application/octet-stream"


def router(portal: Portal) -> APIRouter:
    """Fetching, with and without scripts."""
    screens = portal.router()
    _by_script(screens, portal)
    _by_pages(screens, portal)
    return screens


def _by_script(screens: APIRouter, portal: Portal) -> None:
    visitor_of = Annotated[Visitor, Depends(portal.visitor())]

    @screens.get("/messages/{message_id}/files/{n}")
    async def file(request: Request, visitor: visitor_of, message_id: UUID, n: int) -> Response:
        """The very bytes of a file. Another site's link to it does nothing: a fetch is recorded (開封)."""
        site = request.headers.get("sec-fetch-site")
        if site not in (None, "none", "same-origin"):
            raise NotOurForm
        item = await visitor.client.message(message_id)
        data = await content(visitor, message_id, n)
        name = next((each.name for each in item.files if each.n == n), None)
        return Response(data, media_type=_BINARY, headers=attachment(name or f"{n}"))

    @screens.post("/messages/{message_id}/files/{n}")
    async def file_for_script(request: Request, visitor: visitor_of, message_id: UUID, n: int) -> Response:
        """The same for the script, which knows the name from its plan: one call of the API per file, uncounted."""
        await portal.form(request)
        return Response(await content(visitor, message_id, n), media_type=_BINARY, headers=attachment(f"{n}"))

    @screens.post("/received/plan")
    async def plan(request: Request, visitor: visitor_of) -> Response:
        """What a press of データ取得 or 一括取得 has to bring, for the script that brings it."""
        form = await portal.form(request)
        fetch = fetch_of(await _wanted(visitor, form), portal.clock.now())
        return JSONResponse(_plan(fetch), headers={"Cache-Control": "no-store"})

    @screens.post("/messages/{message_id}/receipt")
    async def receipt(request: Request, visitor: visitor_of, message_id: UUID) -> Response:
        """The browser holds every file, with these hashes: 済."""
        form = await portal.form(request)
        await visitor.client.receipt(message_id, form.all("sha256"))
        return Response(status_code=204)


def _by_pages(screens: APIRouter, portal: Portal) -> None:
    visitor_of = Annotated[Visitor, Depends(portal.visitor("admin", "staff"))]

    @screens.post("/received/fetch")
    async def fetch_page(request: Request, visitor: visitor_of) -> Response:
        """Without JavaScript: the page with the download and 「保存できました」."""
        form = await portal.form(request)
        if form.get("what") != "all" and not form.all("id"):
            return await received_page(portal, visitor, request, told=say("E-401"), status=422)
        items = await _available(visitor, form)
        return await portal.page(
            visitor,
            "fetch.html",
            screen="S-12",
            title="データ取得",
            here="/received",
            fetch=fetch_of(items, portal.clock.now()),
        )

    @screens.post("/received/archive")
    async def archive(request: Request, visitor: visitor_of) -> Response:
        """The download itself: one CSV alone as it is, otherwise a ZIP that is made while it is sent."""
        fetch = fetch_of(await _available(visitor, await portal.form(request)), portal.clock.now())
        if not fetch.file_count:
            raise NotThere
        if fetch.alone:
            [wanted] = fetch.messages
            [file] = wanted.item.files
            data = await content(visitor, wanted.item.message_id, file.n)
            return Response(data, media_type=_BINARY, headers=attachment(file.name or fetch.archive))
        return StreamingResponse(
            packed(visitor, fetch), media_type="application/zip", headers=attachment(fetch.archive)
        )

    @screens.post("/received/saved")
    async def saved(request: Request, visitor: visitor_of) -> Response:
        """「保存できました」: receipts of every message whose files were handed out."""
        form = await portal.form(request)
        gate = asyncio.Semaphore(RECEIPTS_AT_ONCE)

        async def confirm(item: Item) -> None:
            async with gate:
                await visitor.client.receipt(item.message_id, [file.sha256 or "" for file in item.files])

        items = await _available(visitor, form)
        if not all([await _handed_out(visitor, item) for item in items]):
            return await portal.page(
                visitor,
                "fetch.html",
                screen="S-12",
                title="データ取得",
                here="/received",
                status=409,
                fetch=fetch_of(items, portal.clock.now()),
                told=say("S-NOT-FETCHED"),
            )
        await asyncio.gather(*(confirm(item) for item in items))
        await visitor.client.received(wait_for=f"{items[-1].message_id}:downloaded", limit=1)
        return go("/received?said=fetched")


async def _handed_out(visitor: Visitor, item: Item) -> bool:
    """Whether this message's files were fetched at all; the list may not know it yet, the access log does."""
    if not item.files or item.opened_at is not None:
        return True
    return bool(await visitor.client.accesses(item.message_id))


async def _wanted(visitor: Visitor, form: Form) -> list[Item]:
    """The messages that a form names, or every 未 one."""
    if form.get("what") != "all":
        items = await messages(visitor, _ids(form.all("id"))[:FETCHED_MAX])
        return [item for item in items if item.recipient.number == visitor.office]
    found: list[Item] = []
    async for item in visitor.client.each_received(status="delivered", limit=200):
        found.append(item)
        if len(found) == FETCHED_MAX:
            break
    return found


async def _available(visitor: Visitor, form: Form) -> list[Item]:
    """The same without those that nobody can have any more.

    Raises `ApiError` 410 when that leaves none (it says why), `NotThere` when nothing was named.
    """
    items = await _wanted(visitor, form)
    left = [item for item in items if item.status not in HIDDEN and not item.erased]
    if items and not left:
        await visitor.client.fetch_file(items[0].message_id, 1)
    if not left:
        raise NotThere
    return left


def _ids(texts: list[str]) -> list[UUID]:
    found: dict[UUID, None] = {}
    for text in texts:
        try:
            found[UUID(text)] = None
        except ValueError:
            continue
    return list(found)


def _plan(fetch: Fetch) -> dict[str, Any]:
    return {
        "archive": fetch.archive,
        "alone": fetch.alone,
        "messages": [
            {
                "id": str(wanted.item.message_id),
                "folder": wanted.folder,
                "files": [
                    {"n": file.n, "name": file.name, "size": file.size, "sha256": file.sha256}
                    for file in wanted.item.files
                ],
            }
            for wanted in fetch.messages
        ],
    }
