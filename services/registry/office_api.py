"""`/v1/offices…` and `/v1/office…`: the directory that everybody may read, and one's own office."""

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel

from careplan.kinds import SERVICE_TYPES
from services.registry.affairs_api import Application
from services.registry.offices import facts_of
from services.registry.paging import read_number, written
from services.registry.rules import password_expires, renewal_window, searchable
from todoke.relay.access import Access, Caller
from todoke.relay.clock import Clock, in_japan
from todoke.relay.policy import FETCHING_DAYS, READING_DAYS, Standing, standing_of
from todoke.relay.postgres import Database, queries
from todoke.relay.problem import Problem
from todoke.relay.settings import RegistrySettings

_store = queries("services.registry")
_affairs = queries("services.registry", "affairs.sql")

OFFICES_PAGE = 50
QUERY_CHARACTERS_MAX = 100


class ServiceType(BaseModel):
    """A service type (サービス種類) by code and name."""

    code: str
    name: str


class Office(BaseModel):
    """What everybody may know of an office. `participation` is as of now: `none` also after the licence's end."""

    number: str
    name: str
    address: str
    phone: str
    service_types: list[ServiceType]
    participation: Literal["active", "suspended", "none"]
    csv_version_last: str | None


class OfficePage(BaseModel):
    """Offices by number; `next` is the cursor of the next page."""

    items: list[Office]
    next: str | None


class Renewal(BaseModel):
    """Whether the licence renews by itself, and from when until when it can be renewed by hand (days in Japan)."""

    renews: bool
    possible: bool
    possible_from: date
    possible_until: date


class Certificate(BaseModel):
    """The office's newest client certificate; `serial` is hexadecimal."""

    issuer: str
    serial: str
    not_after: datetime


class PasswordDates(BaseModel):
    """When the office's password was last changed, whether it must be, and when it expires (null: never)."""

    changed_at: datetime
    must_change: bool
    expires_at: datetime | None


class OwnOffice(Office):
    """One's own office.

    `c_id` is the person made at approval, who has a password since `person_password_issued_at` (null: none yet).
    `standing` is what the office may do now; it may fetch until `fetch_until` and read until `read_until`.
    """

    fax: str
    prefecture: str
    kj_id: str
    c_id: str | None
    person_password_issued_at: datetime | None
    licence_until: date | None
    standing: Standing
    fetch_until: date | None
    read_until: date | None
    renewal: Renewal | None
    application: Application | None
    certificate: Certificate | None
    password: PasswordDates


def office_routes(access: Access, db: Database, clock: Clock, settings: RegistrySettings) -> APIRouter:
    """The calls of api.md, section "Office, directory", that read."""
    router = APIRouter(prefix="/v1", tags=["offices"])
    _add_directory(router, access, db, clock)
    _add_own_office(router, access, db, settings)
    return router


def _add_directory(router: APIRouter, access: Access, db: Database, clock: Clock) -> None:
    @router.get("/offices")
    async def find_offices(
        caller: Annotated[Caller, Depends(access.caller)],
        q: Annotated[str, Query(max_length=QUERY_CHARACTERS_MAX)] = "",
        limit: Annotated[int, Query(ge=1, le=200)] = OFFICES_PAGE,
        cursor: Annotated[str | None, Query(max_length=100)] = None,
    ) -> OfficePage:
        """Offices whose number or name holds the text; full and half width are the same, spaces do not count."""
        access.require(caller, "directory")
        after = read_number(cursor)
        async with db.api(caller.office) as tx:
            rows = await _store.offices_found(
                tx.db, after=after, text=searchable(q.replace("\0", "")), rows_max=limit + 1
            )
        more = written(rows[limit - 1]["number"]) if len(rows) > limit else None
        return OfficePage(items=[Office(**_public(row, clock.now())) for row in rows[:limit]], next=more)

    @router.get("/offices/{number}")
    async def show_office(number: str, caller: Annotated[Caller, Depends(access.caller)]) -> Office:
        """One office."""
        access.require(caller, "directory")
        return Office(**_public(await _office(db, caller, number), clock.now()))


def _add_own_office(router: APIRouter, access: Access, db: Database, settings: RegistrySettings) -> None:
    @router.get("/office")
    async def show_own_office(caller: Annotated[Caller, Depends(access.own_office)]) -> OwnOffice:
        """One's own office, also for the usage-state site."""
        access.require(caller, "own_office")
        row = await _office(db, caller, caller.office)
        async with db.api(caller.office) as tx:
            credential = await _store.own_credential(tx.db, office=caller.office)
            licence = await _affairs.licence_now(tx.db, office=caller.office)
            application = await _affairs.newest_application(tx.db, office=caller.office)
            certificates = await _affairs.certificates(tx.db, office=caller.office)
        until = row["licence_until"]
        changed_at = credential["password_changed_at"]
        expires_at = password_expires(changed_at, settings.password_days)
        return OwnOffice(
            **_public(row, tx.now),
            fax=row["fax"],
            prefecture=row["prefecture"],
            kj_id=credential["kj_id"],
            c_id=credential["c_id"],
            person_password_issued_at=credential["c_id_issued_at"],
            licence_until=until,
            standing=standing_of(facts_of(row), tx.now),
            fetch_until=until and until + timedelta(days=FETCHING_DAYS),
            read_until=until and until + timedelta(days=READING_DAYS),
            renewal=_renewal(licence, settings, in_japan(tx.now).date()),
            application=application and Application(**application),
            certificate=Certificate(**certificates[0]) if certificates else None,
            password=PasswordDates(
                changed_at=changed_at,
                must_change=credential["must_change"] or (expires_at is not None and expires_at <= tx.now),
                expires_at=expires_at,
            ),
        )


async def _office(db: Database, caller: Caller, number: str) -> Mapping[str, Any]:
    async with db.api(caller.office) as tx:
        row = await _store.office(tx.db, number=number.replace("\0", ""))
    if row is None:
        raise Problem("TDK-NOT-FOUND")
    return dict(row)


def _public(row: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    taking_part = {"licensed": "active", "suspended": "suspended"}
    return {
        "number": row["number"],
        "name": row["name"],
        "address": row["address"],
        "phone": row["phone"],
        "service_types": [
            ServiceType(code=code, name=SERVICE_TYPES[code].name_ja if code in SERVICE_TYPES else code)
            for code in row["service_types"]
        ],
        "participation": taking_part.get(standing_of(facts_of(row), now), "none"),
        "csv_version_last": row["csv_version_last"],
    }


def _renewal(licence: Mapping[str, Any] | None, settings: RegistrySettings, today: date) -> Renewal | None:
    if licence is None or licence["until"] is None:
        return None
    window = renewal_window(licence["until"], settings.renewal_opens_days, settings.renewal_closes_days)
    return Renewal(
        renews=licence["renews"],
        possible=window.holds(today),
        possible_from=window.first,
        possible_until=window.last,
    )
