"""`/v1/operator/offices…`: operators find, import, suspend and resume offices, and set their licences."""

from collections.abc import Awaitable, Callable
from datetime import date
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import BaseModel

from services.registry import offices
from services.registry.import_body import IMPORT_BODY, ImportBody
from services.registry.importing import Importer, ImportReport
from services.registry.office_api import OFFICES_PAGE, QUERY_CHARACTERS_MAX, cursor_behind, read_cursor
from services.registry.rules import searchable
from todoke.events import OfficeFacts
from todoke.relay.access import Access, Operator
from todoke.relay.acts import Acts, Word, actor_of
from todoke.relay.postgres import Database, Tx, queries
from todoke.relay.problem import Problem

_store = queries("services.registry")

Number = Annotated[str, Path(pattern=r"^[0-9A-Z]{10}$")]


class LicenceWord(Word):
    """Another end of a licence: its last day in Japan, null for none; whether it renews by itself; and the cause."""

    until: date | None
    renews: bool = False
    cause: Literal["granted", "renewed", "ended", "corrected", "auto_renew_stopped"] = "corrected"


class ListedOffice(BaseModel):
    """An office as the registry has it; `version` counts its changes."""

    number: str
    version: int
    facts: OfficeFacts


class ListedPage(BaseModel):
    """Offices by number; `next` is the cursor of the next page."""

    items: list[ListedOffice]
    next: str | None


class OfficeChangedByHand(BaseModel):
    """Whether this call changed the office: what is so already is not said again."""

    number: str
    changed: bool


def operator_office_routes(access: Access, db: Database, acts: Acts) -> APIRouter:
    """The operators' calls about offices."""
    router = APIRouter(prefix="/v1/operator/offices", tags=["operator"])
    importer = Importer(db, acts)

    @router.get("", dependencies=[Depends(access.operator)])
    async def find_offices(
        q: Annotated[str, Query(max_length=QUERY_CHARACTERS_MAX)] = "",
        limit: Annotated[int, Query(ge=1, le=200)] = OFFICES_PAGE,
        cursor: Annotated[str | None, Query(max_length=100)] = None,
    ) -> ListedPage:
        """Offices whose number or name holds the text, whether they take part or not."""
        after, text = read_cursor(cursor), searchable(q.replace("\0", ""))
        async with db.connection() as connection:
            rows = await _store.offices_found(connection, after=after, text=text, rows_max=limit + 1)
        items = [
            ListedOffice(number=row["number"], version=row["version"], facts=offices.facts_of(row))
            for row in rows[:limit]
        ]
        return ListedPage(items=items, next=cursor_behind(rows[limit - 1]["number"]) if len(rows) > limit else None)

    @router.post("/import", openapi_extra=IMPORT_BODY)
    async def import_offices(request: Request, operator: Annotated[Operator, Depends(access.operator)]) -> ImportReport:
        """Register the offices of a list and change those that are different; no office is ever removed by it."""
        body = ImportBody(request)
        act = await body.act()
        return await importer.run(body.lines(), operator, act, dry_run=act.dry_run)

    _add_changes(router, access, db, acts)
    return router


def _add_changes(router: APIRouter, access: Access, db: Database, acts: Acts) -> None:
    async def changed(
        operator: Operator, number: str, word: Word, act: str, change: Callable[[Tx], Awaitable[bool]]
    ) -> OfficeChangedByHand:
        acted = await acts.noted(operator, word, act, number, office=number)
        try:
            async with db.worker() as tx:
                is_changed = await change(tx)
                if is_changed:
                    tx.say(acted)
        except offices.UnknownOffice:
            raise Problem("TDK-NOT-FOUND") from None
        return OfficeChangedByHand(number=number, changed=is_changed)

    @router.post("/{number}/suspend")
    async def suspend_office(
        number: Number, word: Word, operator: Annotated[Operator, Depends(access.operator)]
    ) -> OfficeChangedByHand:
        """The office takes no part for the time being: it can neither send nor be sent to."""
        actor = actor_of(operator)
        return await changed(operator, number, word, "office.suspend", lambda tx: offices.suspend(tx, number, actor))

    @router.post("/{number}/resume")
    async def resume_office(
        number: Number, word: Word, operator: Annotated[Operator, Depends(access.operator)]
    ) -> OfficeChangedByHand:
        """The office takes part again."""
        actor = actor_of(operator)
        return await changed(operator, number, word, "office.resume", lambda tx: offices.resume(tx, number, actor))

    @router.post("/{number}/licence")
    async def set_licence(
        number: Number, word: LicenceWord, operator: Annotated[Operator, Depends(access.operator)]
    ) -> OfficeChangedByHand:
        """The licence has another end."""

        async def change(tx: Tx) -> bool:
            await offices.set_licence(
                tx, number, until=word.until, renews=word.renews, cause=word.cause, actor=actor_of(operator)
            )
            return True

        return await changed(operator, number, word, "office.licence", change)
