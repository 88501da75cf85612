"""`/v1/notices…`: what operators tell offices, as a person of an office reads it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel

from services.registry.notices import excerpt
from services.registry.paging import Place, read_place
from todoke.relay.access import Access, Caller
from todoke.relay.postgres import Database, Tx, queries
from todoke.relay.problem import Problem

_store = queries("services.registry")
_affairs = queries("services.registry", "affairs.sql")

NOTICES_PAGE = 50


class ListedNotice(BaseModel):
    """A notice in the list. `unread`: it is important, and this person has not opened it."""

    id: UUID
    title: str
    excerpt: str
    published_at: datetime
    important: bool
    unread: bool


class NoticePage(BaseModel):
    """Notices, the newest first; `next` is the cursor of the next page."""

    items: list[ListedNotice]
    next: str | None


class Notice(ListedNotice):
    """A notice with its text, and its neighbours in the list: `previous` is newer, `next` older."""

    text: str
    previous: UUID | None
    next: UUID | None


def notice_routes(access: Access, db: Database) -> APIRouter:
    """Reading notices. Every role may."""
    router = APIRouter(prefix="/v1/notices", tags=["notices"])

    @router.get("")
    async def list_notices(
        caller: Annotated[Caller, Depends(access.caller)],
        limit: Annotated[int, Query(ge=1, le=200)] = NOTICES_PAGE,
        cursor: Annotated[str | None, Query(max_length=100)] = None,
    ) -> NoticePage:
        """What the office may read now."""
        access.require(caller, "own_office")
        before = read_place(cursor)
        async with db.api(caller.office) as tx:
            rows = await _affairs.notices_for(
                tx.db,
                **await _reader(tx, caller),
                now=tx.now,
                before_at=before.at,
                before_id=before.id,
                rows_max=limit + 1,
            )
        more = Place(rows[limit - 1]["published_at"], rows[limit - 1]["id"]).cursor() if len(rows) > limit else None
        return NoticePage(items=[ListedNotice(**_listed(row)) for row in rows[:limit]], next=more)

    @router.get("/{notice}")
    async def show_notice(notice: UUID, caller: Annotated[Caller, Depends(access.caller)]) -> Notice:
        """One notice with its text. Opening it does not make it read: say so with `read`."""
        access.require(caller, "own_office")
        async with db.api(caller.office) as tx:
            row = await _notice(tx, caller, notice)
            beside = await _affairs.notices_beside(
                tx.db, office=caller.office, now=tx.now, at=row["published_at"], id=notice
            )
        return Notice(**_listed(row), text=row["body"], **beside)

    @router.post("/{notice}/read", status_code=204)
    async def mark_notice_read(notice: UUID, caller: Annotated[Caller, Depends(access.caller)]) -> Response:
        """This person has read it."""
        access.require(caller, "own_office")
        async with db.api(caller.office) as tx:
            await _notice(tx, caller, notice)
            await _affairs.note_read(tx.db, user_id=caller.user_id, notice=notice, now=tx.now)
        return Response(status_code=204)

    return router


async def _reader(tx: Tx, caller: Caller) -> dict[str, Any]:
    """Who reads, for the statements and for row-level security."""
    await _store.act_as(tx.db, user_id=caller.user_id)
    return {"office": caller.office, "user_id": caller.user_id}


async def _notice(tx: Tx, caller: Caller, notice: UUID) -> Mapping[str, Any]:
    row = await _affairs.notice_for(tx.db, **await _reader(tx, caller), now=tx.now, id=notice)
    if row is None:
        raise Problem("TDK-NOT-FOUND")
    return dict(row)


def _listed(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": row["id"],
        "title": row["title"],
        "excerpt": excerpt(row["body"]),
        "published_at": row["published_at"],
        "important": row["important"],
        "unread": row["important"] and row["read_at"] is None,
    }
