"""`/v1/offices…` and `/v1/office…`: the directory that everybody may read, and one's own office."""

import base64
import binascii
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel

from careplan.kinds import SERVICE_TYPES
from services.registry.offices import facts_of
from services.registry.rules import RENEWAL_OPENS_DAYS, searchable
from todoke.relay.access import Access, Caller
from todoke.relay.clock import Clock
from todoke.relay.policy import standing_of
from todoke.relay.postgres import Database, queries
from todoke.relay.problem import Problem

_store = queries("services.registry")

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
    """Whether the licence renews by itself, and from which day it can be renewed by hand."""

    renews: bool
    possible_from: date | None


class PasswordDates(BaseModel):
    """When the office's password was last changed, and whether it must be."""

    changed_at: datetime
    must_change: bool


class OwnOffice(Office):
    """One's own office. `c_id` is the person made at approval; `application` and `certificate` are null without one."""

    fax: str
    prefecture: str
    kj_id: str
    c_id: str | None
    licence_until: date | None
    renewal: Renewal | None
    application: None
    certificate: None
    password: PasswordDates


class User(BaseModel):
    """A person of the office."""

    id: str
    name: str
    roles: list[str]
    state: Literal["active", "ended"]


class UserList(BaseModel):
    """The persons of the office."""

    items: list[User]


def office_routes(access: Access, db: Database, clock: Clock) -> APIRouter:
    """The calls of api.md, section "Office, directory", that read."""
    router = APIRouter(prefix="/v1", tags=["offices"])
    _add_directory(router, access, db, clock)
    _add_own_office(router, access, db, clock)
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
        after = read_cursor(cursor)
        async with db.api(caller.office) as tx:
            rows = await _store.offices_found(
                tx.db, after=after, text=searchable(q.replace("\0", "")), rows_max=limit + 1
            )
        more = cursor_behind(rows[limit - 1]["number"]) if len(rows) > limit else None
        return OfficePage(items=[Office(**_public(row, clock.now())) for row in rows[:limit]], next=more)

    @router.get("/offices/{number}")
    async def show_office(number: str, caller: Annotated[Caller, Depends(access.caller)]) -> Office:
        """One office."""
        access.require(caller, "directory")
        return Office(**_public(await _office(db, caller, number), clock.now()))


def _add_own_office(router: APIRouter, access: Access, db: Database, clock: Clock) -> None:
    @router.get("/office")
    async def show_own_office(caller: Annotated[Caller, Depends(access.own_office)]) -> OwnOffice:
        """One's own office, also for the usage-state site."""
        access.require(caller, "own_office")
        row = await _office(db, caller, caller.office)
        async with db.api(caller.office) as tx:
            credential = await _store.own_credential(tx.db, office=caller.office)
            licence = await _store.own_licence(tx.db, office=caller.office)
        until = row["licence_until"]
        return OwnOffice(
            **_public(row, clock.now()),
            fax=row["fax"],
            prefecture=row["prefecture"],
            kj_id=credential["kj_id"],
            c_id=credential["c_id"],
            licence_until=until,
            renewal=_renewal(licence, until),
            application=None,
            certificate=None,
            password=PasswordDates(changed_at=credential["password_changed_at"], must_change=credential["must_change"]),
        )

    @router.get("/office/users")
    async def list_users(caller: Annotated[Caller, Depends(access.caller)]) -> UserList:
        """The persons of one's own office."""
        access.require(caller, "own_office")
        async with db.api(caller.office) as tx:
            rows = await _store.users_of_office(tx.db, office=caller.office)
        return UserList(items=[User(**row) for row in rows])


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


def _renewal(licence: Mapping[str, Any] | None, until: date | None) -> Renewal | None:
    if licence is None:
        return None
    opens = until - timedelta(days=RENEWAL_OPENS_DAYS) if until else None
    return Renewal(renews=licence["renews"], possible_from=opens)


def cursor_behind(number: str) -> str:
    """The cursor of what comes behind this office."""
    return base64.urlsafe_b64encode(number.encode()).decode().rstrip("=")


def read_cursor(cursor: str | None) -> str:
    """The number that a cursor stands behind, empty without one. Raises `Problem` TDK-INVALID."""
    if cursor is None:
        return ""
    try:
        number = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        number = ""
    if not number.isalnum():
        raise Problem("TDK-INVALID", where=[("cursor", "")])
    return number
