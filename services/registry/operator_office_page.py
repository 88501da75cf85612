"""`GET /v1/operator/offices/{number}` and the letter: everything about one office that operators may know."""

from datetime import date, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, Field

from services.registry import offices
from services.registry.letter_pdf import REIWA_BEGAN
from services.registry.letters import Letters
from services.registry.operator_applications import ReceivedApplication
from services.registry.operator_offices import Number
from services.registry.rules import kj_id
from services.registry.typed import Day
from todoke.events import OfficeFacts
from todoke.events.envelope import subject_of_office
from todoke.relay.access import Access, Operator
from todoke.relay.acts import Acts, Word
from todoke.relay.policy import Standing, standing_of
from todoke.relay.postgres import Database, queries
from todoke.relay.problem import Problem

_store = queries("services.registry")
_affairs = queries("services.registry", "affairs.sql")

HISTORY_ROWS_MAX = 100
"""The last events of an office that its page shows."""


class LicenceState(BaseModel):
    """The licence of an office: its last day in Japan, whether it renews by itself, and what last changed it."""

    until: date | None
    renews: bool
    cause: Literal["granted", "renewed", "ended", "corrected", "auto_renew_stopped"]
    changed_at: datetime


class LetterMade(BaseModel):
    """When the letter was made, and by whom. What it told is known to the office only."""

    made_at: datetime
    made_by: str


class NamedUser(BaseModel):
    """A person of the office."""

    id: str
    name: str
    roles: list[str]
    state: Literal["active", "ended"]


class RecordedCertificate(BaseModel):
    """A client certificate of the office."""

    issuer: str
    serial: str
    not_after: datetime
    recorded_at: datetime


class Doer(BaseModel):
    """Who did it, by id."""

    kind: str
    id: str


class Happened(BaseModel):
    """Something that was said of the office; `act` and `ticket` of what operators did."""

    at: datetime
    event: str
    actor: Doer
    act: str | None
    ticket: str | None


class OfficePage(BaseModel):
    """An office as operators see it; `history` is its last events, the newest first."""

    number: str
    version: int
    kj_id: str
    facts: OfficeFacts
    standing: Standing
    licence: LicenceState | None
    letter: LetterMade | None
    users: list[NamedUser]
    certificates: list[RecordedCertificate]
    application: ReceivedApplication | None
    last_login_at: datetime | None
    history: list[Happened]


class LetterWord(Word):
    """A letter to make; `issued_on` is its date (today in Japan, when it is left out)."""

    issued_on: Annotated[Day, Field(ge=REIWA_BEGAN)] | None = None


def operator_office_page_routes(access: Access, db: Database, acts: Acts, letters: Letters) -> APIRouter:
    """One office, and its letter."""
    router = APIRouter(prefix="/v1/operator/offices/{number}", tags=["operator"])

    @router.get("", dependencies=[Depends(access.operator)])
    async def show_office_to_operator(number: Number) -> OfficePage:
        """Facts, licence, letter, persons (names only), certificates, application and history of an office."""
        async with db.worker() as tx:
            row = await _store.office(tx.db, number=number)
            if row is None:
                raise Problem("TDK-NOT-FOUND")
            facts = offices.facts_of(row)
            return OfficePage(
                number=number,
                version=row["version"],
                kj_id=kj_id(number),
                facts=facts,
                standing=standing_of(facts, tx.now),
                **await _affairs_of(tx.db, number),
            )

    @router.get("/letter", dependencies=[Depends(access.operator)])
    async def show_letter(number: Number) -> LetterMade:
        """When the letter was made, and by whom; the letter itself is answered once, when it is made."""
        async with db.worker() as tx:
            made = await _affairs.letter(tx.db, office=number)
        if made is None:
            raise Problem("TDK-NOT-FOUND")
        return LetterMade(**made)

    @router.post("/letter", response_class=Response, responses={200: {"content": {"application/pdf": {}}}})
    async def make_letter(
        number: Number, word: LetterWord, operator: Annotated[Operator, Depends(access.operator)]
    ) -> Response:
        """New secrets of the office, and the letter that tells them, this once. Earlier ones work no more."""
        acted = await acts.noted(operator, word, "office.letter", number, office=number)
        try:
            letter = await letters.make(number, word.issued_on, operator.user_id, acted)
        except offices.UnknownOffice:
            raise Problem("TDK-NOT-FOUND") from None
        return Response(
            letter,
            media_type="application/pdf",
            headers={
                "Content-Disposition": f'attachment; filename="letter-{number}.pdf"',
                "Cache-Control": "no-store",
            },
        )

    return router


async def _affairs_of(db: Any, number: str) -> dict[str, Any]:
    """What stands in other tables than the office's own row."""
    licence = await _affairs.licence_now(db, office=number)
    letter = await _affairs.letter(db, office=number)
    application = await _affairs.application_of(db, office=number)
    credential = await _affairs.credential(db, office=number)
    happened = await _affairs.history(db, subject_id=subject_of_office(number), rows_max=HISTORY_ROWS_MAX)
    return {
        "licence": licence and LicenceState(**licence),
        "letter": letter and LetterMade(**letter),
        "users": [NamedUser(**row) for row in await _affairs.members(db, office=number)],
        "certificates": [RecordedCertificate(**row) for row in await _affairs.certificates(db, office=number)],
        "application": application and ReceivedApplication.of(application),
        "last_login_at": credential and credential["last_login_at"],
        "history": [
            Happened(
                at=row["recorded_at"],
                event=row["type"],
                actor=Doer(kind=row["actor_kind"], id=row["actor_id"]),
                act=row["act"],
                ticket=row["ticket"],
            )
            for row in happened
        ],
    }
