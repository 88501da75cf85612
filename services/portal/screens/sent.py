"""S-14: what was sent, and how far it got."""

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response

from services.portal import downloads, lists, shown
from services.portal.portal import Portal
from services.portal.routes import go
from services.portal.screens.listing import list_values, search_address
from services.portal.screens.received import ROWS_ASKED_MAX, messages
from services.portal.visitors import Visitor
from services.portal.wording import say
from todoke.client.shapes import Item
from todoke.relay.clock import in_japan

RECALL_OFFERED = timedelta(days=2)
"""So long the row itself offers 取消する; after that the page of the message does."""

TABLE_ROWS_MAX = 10_000
"""Of a table that is saved: more than an office sends in a year."""

_HEAD = (
    "送信日時",
    "メッセージ",
    "送信先事業所",
    "事業所番号",
    "サービス種類",
    "ファイル名",
    "ファイル種別",
    "ダウンロード状況",
    "理由",
)


def router(portal: Portal) -> APIRouter:
    """送信一覧."""
    screens = portal.router()
    visitor_of = Annotated[Visitor, Depends(portal.visitor())]

    @screens.get("/sent")
    async def sent(request: Request, visitor: visitor_of) -> Response:
        values, frame = await asyncio.gather(
            list_values(portal, visitor, "sent", request), portal.frames.of(visitor, "/sent")
        )
        return await portal.page(
            visitor,
            "sent.html",
            screen="S-14",
            title="送信一覧",
            frame=frame,
            compose=composes(request),
            recall_since=portal.clock.now() - RECALL_OFFERED,
            table_address=replace(values["query"], trail=()).address("/sent/table"),
            done=say("S-RENEWED-SENT").what if "renewed" in request.query_params else None,
            **values,
        )

    @screens.post("/sent/search")
    async def search(request: Request, visitor: visitor_of) -> Response:
        form = await portal.form(request)
        return go(await search_address(portal, visitor, form, "/sent"))

    @screens.get("/sent/rows")
    async def rows(
        request: Request,
        visitor: Annotated[Visitor, Depends(portal.visitor(used=False))],
        ids: Annotated[list[UUID], Query(alias="id")],
    ) -> Response:
        found = await messages(visitor, ids[:ROWS_ASKED_MAX])
        return portal.pages.page(
            "sent_rows.html",
            {
                "visitor": visitor,
                "items": [item for item in found if item.sender.number == visitor.office],
                "compose": composes(request),
                "recall_since": portal.clock.now() - RECALL_OFFERED,
            },
        )

    @screens.get("/sent/table")
    async def table(request: Request, visitor: visitor_of) -> Response:
        """表をCSVで保存: every row of the list as it is narrowed, not of this page alone."""
        query = lists.Query.of({**request.query_params, "rows": "200"})
        text = await portal.searches.text(visitor, query.search)
        found: list[Item] = []
        while True:
            listing = await lists.read(visitor, "sent", query, text)
            found += listing.items
            if listing.after is None or len(found) >= TABLE_ROWS_MAX:
                break
            query = listing.after
        content = downloads.table(_HEAD, map(_row, found))
        name = f"送信一覧_{_stamp(portal.clock.now())}.csv"
        return Response(content, media_type="text/csv; charset=utf-8", headers=downloads.attachment(name))

    return screens


def composes(request: Request) -> bool:
    """Whether this portal has S-15, which 直して送り直す leads to."""
    return any(getattr(route, "path", "") == "/compose" for route in request.app.routes)


def _row(item: Item) -> tuple[str, ...]:
    files, state = shown.stacked(item.files), shown.sent_state(item)
    return (
        shown.moment(item.submitted_at),
        item.text or "",
        item.recipient.name,
        item.recipient.number,
        shown.service_type(item.service_type),
        "\n".join(file.name or "" for file in files),
        "\n".join(file.label for file in files),
        state.word + (f"（{state.more}）" if state.more else ""),
        item.reason.message if item.reason else "",
    )


def _stamp(now: datetime) -> str:
    return in_japan(now).strftime("%Y%m%d_%H%M")
