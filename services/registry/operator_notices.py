"""`/v1/operator/notices…`: operators publish notices to offices, and withdraw them."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from services.registry import notices
from services.registry.notice_api import NOTICES_PAGE
from services.registry.paging import Place, read_place
from services.registry.typed import Moment, line
from todoke.events import Audience
from todoke.relay.access import Access, Operator
from todoke.relay.acts import Acts, Word, actor_of
from todoke.relay.postgres import Database, queries
from todoke.relay.problem import Problem

_affairs = queries("services.registry", "affairs.sql")

TITLE_CHARACTERS_MAX = 100
TEXT_CHARACTERS_MAX = 10_000
"""As long as nobody reads to its end; the title and each line of a list stay short."""

AUDIENCE_VALUES_MAX = 50


class NoticeAudience(BaseModel):
    """Whom a notice is for: all offices, those of some service types (codes), or of some prefectures (names)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["all", "service_types", "prefectures"] = "all"
    values: Annotated[
        tuple[Annotated[str, line(20)], ...],
        Field(max_length=AUDIENCE_VALUES_MAX),
    ] = ()

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.kind == "all") is bool(self.values):
            raise ValueError("values are for service_types and prefectures")
        return self


class NewNotice(Word):
    """A notice; without `published_at` it is read at once.

    With a `state` it speaks for the whole system (`/v1/status`) until `until`. An `id` of the caller's makes it
    harmless to ask again: a notice that is there under it already is answered as it stands.
    """

    id: UUID | None = None
    title: Annotated[str, line(TITLE_CHARACTERS_MAX)]
    text: Annotated[
        str,
        StringConstraints(
            strip_whitespace=True, min_length=1, max_length=TEXT_CHARACTERS_MAX, pattern=r"^[^\x00-\x08\x0b-\x1f\x7f]+$"
        ),
    ]
    published_at: Moment | None = None
    important: bool = False
    audience: NoticeAudience = NoticeAudience()
    state: Literal["normal", "slow", "down"] | None = None
    until: Moment | None = None


class MadeNotice(BaseModel):
    """A notice as operators see it."""

    id: UUID
    title: str
    text: str
    published_at: datetime
    important: bool
    audience: NoticeAudience
    state: Literal["normal", "slow", "down"] | None
    until: datetime | None
    made_by: str
    withdrawn_at: datetime | None


class MadePage(BaseModel):
    """Notices, the newest first, future and withdrawn ones too; `next` is the cursor of the next page."""

    items: list[MadeNotice]
    next: str | None


def operator_notice_routes(access: Access, db: Database, acts: Acts) -> APIRouter:
    """The operators' calls about notices."""
    router = APIRouter(prefix="/v1/operator/notices", tags=["operator"])

    @router.get("", dependencies=[Depends(access.operator)])
    async def list_made_notices(
        limit: Annotated[int, Query(ge=1, le=200)] = NOTICES_PAGE,
        cursor: Annotated[str | None, Query(max_length=100)] = None,
    ) -> MadePage:
        """Every notice."""
        before = read_place(cursor)
        async with db.worker() as tx:
            rows = await _affairs.notices_made(tx.db, before_at=before.at, before_id=before.id, rows_max=limit + 1)
        more = Place(rows[limit - 1]["published_at"], rows[limit - 1]["id"]).cursor() if len(rows) > limit else None
        return MadePage(items=[_shown(row) for row in rows[:limit]], next=more)

    async def made(notice: UUID) -> MadeNotice:
        async with db.worker() as tx:
            row = await _affairs.notice(tx.db, id=notice)
        if row is None:
            raise Problem("TDK-NOT-FOUND")
        return _shown(row)

    @router.get("/{notice}", dependencies=[Depends(access.operator)])
    async def show_made_notice(notice: UUID) -> MadeNotice:
        """One notice."""
        return await made(notice)

    @router.post("", status_code=201)
    async def publish_notice(word: NewNotice, operator: Annotated[Operator, Depends(access.operator)]) -> MadeNotice:
        """Publish a notice, at once or at its time."""
        draft = notices.Draft(
            id=word.id,
            title=word.title,
            text=word.text,
            published_at=word.published_at,
            important=word.important,
            audience=Audience(kind=word.audience.kind, values=word.audience.values),
            state=word.state,
            until=word.until,
        )
        acted = await acts.noted(operator, word, "notice.publish", "registry")
        async with db.worker() as tx:
            notice = await notices.publish(tx, draft, actor_of(operator), acted)
        return await made(notice)

    @router.post("/{notice}/withdraw")
    async def withdraw_notice(
        notice: UUID, word: Word, operator: Annotated[Operator, Depends(access.operator)]
    ) -> MadeNotice:
        """Nobody reads it any more."""
        acted = await acts.noted(operator, word, "notice.withdraw", "registry")
        async with db.worker() as tx:
            await notices.withdraw(tx, notice, actor_of(operator))
            tx.say(acted)
        return await made(notice)

    return router


def _shown(row: Mapping[str, Any]) -> MadeNotice:
    return MadeNotice(
        id=row["id"],
        title=row["title"],
        text=row["body"],
        published_at=row["published_at"],
        important=row["important"],
        audience=NoticeAudience(kind=row["audience"], values=tuple(row["audience_values"])),
        state=row["state"],
        until=row["until"],
        made_by=row["made_by"],
        withdrawn_at=row["withdrawn_at"],
    )
