"""`/v1/operator/applications…`: operators approve what offices apply for, or refuse it with an answer."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel

from services.registry import applications
from services.registry.paging import read_id, written
from services.registry.secrets import CERTIFICATE_SECRET_CHARACTERS, Secrets
from services.registry.typed import line
from todoke.relay.access import Access, Operator
from todoke.relay.acts import Acts, Word, actor_of
from todoke.relay.postgres import Database, queries
from todoke.relay.problem import Problem

_affairs = queries("services.registry", "affairs.sql")

APPLICATIONS_PAGE = 50


class ApplyingOffice(BaseModel):
    """The office that applied."""

    number: str
    name: str


class ReceivedApplication(BaseModel):
    """An application with whom to ask about it."""

    id: UUID
    office: ApplyingOffice
    kind: Literal["new", "renewal"]
    contact_name: str
    mail: str
    auto_renew: bool
    state: Literal["received", "approved", "refused"]
    received_at: datetime
    decided_at: datetime | None
    decided_by: str | None
    answer: str | None
    c_id: str | None

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Self:
        """As a row has it."""
        values = {name: row[name] for name in cls.model_fields if name != "office"}
        return cls(office=ApplyingOffice(number=row["office"], name=row["office_name"]), **values)


class ApplicationPage(BaseModel):
    """Applications, the oldest first; `next` is the cursor of the next page."""

    items: list[ReceivedApplication]
    next: str | None


class RefusalWord(Word):
    """A refusal: `answer` is what the office reads, `reason` what operators do."""

    answer: Annotated[str, line(500)]


def operator_application_routes(access: Access, db: Database, acts: Acts, secrets: Secrets) -> APIRouter:
    """The operators' calls about applications."""
    router = APIRouter(prefix="/v1/operator/applications", tags=["operator"])

    @router.get("", dependencies=[Depends(access.operator)])
    async def list_applications(
        state: Literal["received", "approved", "refused"] | None = None,
        limit: Annotated[int, Query(ge=1, le=200)] = APPLICATIONS_PAGE,
        cursor: Annotated[str | None, Query(max_length=100)] = None,
    ) -> ApplicationPage:
        """Applications of a state, or of all."""
        after = read_id(cursor)
        async with db.worker() as tx:
            rows = await _affairs.applications_listed(tx.db, state=state, after=after, rows_max=limit + 1)
        more = written(str(rows[limit - 1]["id"])) if len(rows) > limit else None
        return ApplicationPage(items=[ReceivedApplication.of(row) for row in rows[:limit]], next=more)

    async def shown(application: UUID) -> ReceivedApplication:
        async with db.worker() as tx:
            row = await _affairs.application_listed(tx.db, id=application)
        if row is None:
            raise Problem("TDK-NOT-FOUND")
        return ReceivedApplication.of(row)

    @router.post("/{application}/approve")
    async def approve_application(
        application: UUID, word: Word, operator: Annotated[Operator, Depends(access.operator)]
    ) -> ReceivedApplication:
        """The office is licensed, and has a person (c-ID) who administers it."""
        office = (await shown(application)).office.number
        acted = await acts.noted(operator, word, "application.approve", office, office=office)
        unknown = await secrets.hash(secrets.made(CERTIFICATE_SECRET_CHARACTERS))
        async with db.worker() as tx:
            await applications.approve(tx, application, unknown, actor_of(operator))
            tx.say(acted)
        return await shown(application)

    @router.post("/{application}/refuse")
    async def refuse_application(
        application: UUID, word: RefusalWord, operator: Annotated[Operator, Depends(access.operator)]
    ) -> ReceivedApplication:
        """No licence; the office reads why."""
        office = (await shown(application)).office.number
        acted = await acts.noted(operator, word, "application.refuse", office, office=office)
        async with db.worker() as tx:
            await applications.refuse(tx, application, word.answer, actor_of(operator))
            tx.say(acted)
        return await shown(application)

    return router
