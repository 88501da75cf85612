"""`/v1/operator/offices…`: operators find, register, import, change, suspend and resume offices, and set licences."""

from collections.abc import Awaitable, Callable
from datetime import date, datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import AfterValidator, BaseModel, StringConstraints

from careplan.kinds import SERVICE_TYPES
from careplan.numbers import OfficeNumber
from services.registry import certificates, offices
from services.registry.import_body import IMPORT_BODY, ImportBody
from services.registry.importing import Importer, ImportReport
from services.registry.office_api import OFFICES_PAGE, QUERY_CHARACTERS_MAX
from services.registry.paging import read_number, written
from services.registry.rules import kj_id, searchable
from services.registry.sheet import CHARACTERS_MAX
from services.registry.typed import Day, Moment, line
from todoke.events import OfficeFacts
from todoke.relay.access import Access, Operator
from todoke.relay.acts import Acts, Word, actor_of
from todoke.relay.postgres import Database, Tx, queries
from todoke.relay.problem import Problem

_affairs = queries("services.registry", "affairs.sql")


def _service_types(codes: tuple[str, ...]) -> tuple[str, ...]:
    if any(code not in SERVICE_TYPES for code in codes):
        raise ValueError("a code that is not known")
    return codes


Name = Annotated[str, line(CHARACTERS_MAX["name"])]
Prefecture = Annotated[str, line(CHARACTERS_MAX["prefecture"], 0)]
Address = Annotated[str, line(CHARACTERS_MAX["address"], 0)]
Telephone = Annotated[str, line(CHARACTERS_MAX["phone"], 0)]
ServiceTypes = Annotated[tuple[str, ...], AfterValidator(_service_types)]
Number = Annotated[str, Path(pattern=r"^[0-9A-Z]{10}$")]


class LicenceWord(Word):
    """Another end of a licence: its last day in Japan, null for none; whether it renews by itself; and the cause."""

    until: Day | None
    renews: bool = False
    cause: Literal["granted", "renewed", "ended", "corrected", "auto_renew_stopped"] = "corrected"


class NewOffice(Word):
    """An office to register. It gets no licence, and no credentials before its letter."""

    number: str
    name: Name
    service_types: ServiceTypes
    prefecture: Prefecture = ""
    address: Address = ""
    phone: Telephone = ""
    fax: Telephone = ""


class OtherFacts(Word):
    """What of an office shall change; members that are left out stay as they are."""

    name: Name | None = None
    service_types: ServiceTypes | None = None
    prefecture: Prefecture | None = None
    address: Address | None = None
    phone: Telephone | None = None
    fax: Telephone | None = None


class CertificateWord(Word):
    """A client certificate of the office; `serial` is hexadecimal in capitals."""

    issuer: Annotated[str, line(100)]
    serial: Annotated[str, StringConstraints(pattern=r"^[0-9A-F]{2,40}$")]
    not_after: Moment


class Registered(BaseModel):
    """A new office. Its KJ-ID can be used once it has a letter."""

    number: str
    kj_id: str
    version: int
    facts: OfficeFacts


class ListedOffice(BaseModel):
    """An office as the registry has it; `version` counts its changes, `last_login_at` is that of the office itself."""

    number: str
    version: int
    facts: OfficeFacts
    certificate_until: datetime | None
    last_login_at: datetime | None


class ListedPage(BaseModel):
    """Offices by number; `next` is the cursor of the next page."""

    items: list[ListedOffice]
    next: str | None


class Prefectures(BaseModel):
    """Names of prefectures, as offices have them."""

    items: list[str]


class OfficeChangedByHand(BaseModel):
    """Whether this call changed the office: what is so already is not said again."""

    number: str
    changed: bool


def operator_office_routes(access: Access, db: Database, acts: Acts, importer: Importer) -> APIRouter:
    """The operators' calls about offices."""
    router = APIRouter(prefix="/v1/operator/offices", tags=["operator"])

    @router.get("", dependencies=[Depends(access.operator)])
    async def find_offices(
        q: Annotated[str, Query(max_length=QUERY_CHARACTERS_MAX)] = "",
        service_type: Annotated[str | None, Query(max_length=2)] = None,
        participation: Literal["active", "suspended", "none"] | None = None,
        licence_until_from: date | None = None,
        licence_until_before: date | None = None,
        limit: Annotated[int, Query(ge=1, le=200)] = OFFICES_PAGE,
        cursor: Annotated[str | None, Query(max_length=100)] = None,
    ) -> ListedPage:
        """Offices whose number or name holds the text, whether they take part or not.

        With a licence whose last day is `licence_until_from` or later, and before `licence_until_before`.
        """
        after, text = read_number(cursor), searchable(q.replace("\0", ""))
        async with db.connection() as connection:
            rows = await _affairs.offices_searched(
                connection,
                after=after,
                text=text,
                service_type=service_type and service_type.replace("\0", ""),
                participation=participation,
                licence_until_from=licence_until_from,
                licence_until_before=licence_until_before,
                rows_max=limit + 1,
            )
        items = [
            ListedOffice(
                number=row["number"],
                version=row["version"],
                facts=offices.facts_of(row),
                certificate_until=row["certificate_until"],
                last_login_at=row["last_login_at"],
            )
            for row in rows[:limit]
        ]
        return ListedPage(items=items, next=written(rows[limit - 1]["number"]) if len(rows) > limit else None)

    @router.post("", status_code=201)
    async def register_office(word: NewOffice, operator: Annotated[Operator, Depends(access.operator)]) -> Registered:
        """Register one office. One that is there already is named and stays as it is (409)."""
        if not OfficeNumber.fits(word.number) or not word.number[:2].isdecimal():
            raise Problem("TDK-OFFICE-NUMBER", where=[("number", "")])
        data = offices.MasterData(**word.model_dump(exclude={"reason", "ticket"}))
        acted = await acts.noted(operator, word, "office.register", word.number, office=word.number)
        async with db.worker() as tx:
            if not await offices.register(tx, data, actor_of(operator)):
                there = (await _affairs.office_named(tx.db, office=word.number))["name"]
                raise Problem("TDK-OFFICE-THERE", name=there, extra={"office": {"number": word.number, "name": there}})
            tx.say(acted)
            facts = await offices.facts(tx, word.number)
        return Registered(number=word.number, kj_id=kj_id(word.number), version=1, facts=facts)

    @router.post("/import", openapi_extra=IMPORT_BODY)
    async def import_offices(request: Request, operator: Annotated[Operator, Depends(access.operator)]) -> ImportReport:
        """Register the offices of a list and change those that are different; no office is ever removed by it.

        Sent again it changes nothing. Under the same `import_id` it goes on where it broke off.
        """
        body = ImportBody(request)
        act = await body.act()
        return await importer.run(body.lines(), operator, act, dry_run=act.dry_run, import_id=act.import_id)

    changed = _changing(db, acts)
    _add_facts(router, access, changed)
    _add_states(router, access, changed)
    return router


def prefecture_routes(access: Access, db: Database) -> APIRouter:
    """What operators choose from when they mean a part of the country."""
    router = APIRouter(prefix="/v1/operator/prefectures", tags=["operator"])

    @router.get("", dependencies=[Depends(access.operator)])
    async def list_prefectures() -> Prefectures:
        """The prefectures that offices are in, by code."""
        async with db.connection() as connection:
            rows = await _affairs.prefectures(connection)
        return Prefectures(items=[row["prefecture"] for row in rows])

    return router


Changing = Callable[[Operator, str, Word, str, Callable[[Tx], Awaitable[bool]]], Awaitable[OfficeChangedByHand]]


def _changing(db: Database, acts: Acts) -> Changing:
    """How an operator changes one office: the act is said in the transaction of the change, and only with one."""

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

    return changed


def _add_facts(router: APIRouter, access: Access, changed: Changing) -> None:
    @router.patch("/{number}")
    async def change_office(
        number: Number, word: OtherFacts, operator: Annotated[Operator, Depends(access.operator)]
    ) -> OfficeChangedByHand:
        """Other public facts of an office. Its number is its identity and never changes."""
        wanted = word.model_dump(exclude={"reason", "ticket"}, exclude_none=True)
        actor = actor_of(operator)
        return await changed(
            operator, number, word, "office.change", lambda tx: offices.change_some(tx, number, wanted, actor)
        )

    @router.post("/{number}/certificate")
    async def record_certificate(
        number: Number, word: CertificateWord, operator: Annotated[Operator, Depends(access.operator)]
    ) -> OfficeChangedByHand:
        """The office has another client certificate; nothing is bound to it yet."""

        async def change(tx: Tx) -> bool:
            about = word.model_dump(include={"issuer", "serial", "not_after"})
            await certificates.record(tx, number, actor=actor_of(operator), **about)
            return True

        return await changed(operator, number, word, "office.certificate", change)


def _add_states(router: APIRouter, access: Access, changed: Changing) -> None:
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
