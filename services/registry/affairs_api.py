"""`POST /v1/office/application`, `/renewal`, `/auto_renew`, `/person_password`, and `/v1/office/users`."""

from datetime import date, datetime
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Request
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from services.registry import applications, licences
from services.registry.people import Issued, People, Role, Wanted
from services.registry.person_passwords import PersonPasswords
from services.registry.typed import line
from todoke.events import Actor
from todoke.relay.access import Access, Caller
from todoke.relay.network import Networks
from todoke.relay.postgres import Database, queries
from todoke.relay.settings import RegistrySettings

_affairs = queries("services.registry", "affairs.sql")

PersonName = Annotated[str, line(100)]
Mail = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True, max_length=254, pattern=r"^[!-?A-~]{1,64}@[0-9A-Za-z.-]+\.[A-Za-z]{2,63}$"
    ),
]
CId = Annotated[str, StringConstraints(pattern=r"^c[0-9]{10}$")]
Roles = Annotated[list[Role], Field(min_length=1, max_length=3)]


class Body(BaseModel):
    """A request body: unknown members are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class NewApplication(Body):
    """What the office applies for, and whom the operator may ask."""

    kind: Literal["new", "renewal"]
    contact_name: PersonName
    mail: Mail
    auto_renew: bool = True


class Application(BaseModel):
    """An application; `answer` is what the operator says to a refused office."""

    id: UUID
    kind: Literal["new", "renewal"]
    contact_name: str
    mail: str
    auto_renew: bool
    state: Literal["received", "approved", "refused"]
    received_at: datetime
    decided_at: datetime | None
    answer: str | None


class NoWords(Body):
    """An empty object."""


class AutoRenew(Body):
    """Whether the licence shall renew by itself."""

    renews: bool


class LicenceAnswer(BaseModel):
    """The licence as it is now; `next_renewal` is the day on which its next year begins by itself."""

    licence_until: date
    renews: bool
    next_renewal: date | None


class KjPassword(Body):
    """The password of the office's KJ-ID."""

    password: Annotated[str, StringConstraints(max_length=1000)]


class PersonPassword(BaseModel):
    """A first password of the c-ID, shown this once."""

    c_id: str
    password: str


class User(BaseModel):
    """A person of the office."""

    id: str
    name: str
    roles: list[Role]
    state: Literal["active", "ended"]
    last_login_at: datetime | None


class UserList(BaseModel):
    """The persons of the office."""

    items: list[User]


class NewUser(Body):
    """A new person; or, with `user_id`, one of another office, whose name must fit."""

    name: PersonName
    roles: Roles
    user_id: CId | None = None


class ChangedUser(Body):
    """What shall change; members that are left out stay as they are."""

    roles: Roles | None = None
    state: Literal["active", "ended"] | None = None
    name: PersonName | None = None
    new_password: bool = False
    end_sessions: bool = False


class IssuedUser(BaseModel):
    """A person of the office; `password` is shown this once, null when none was made."""

    user: User
    password: str | None


def affairs_routes(
    access: Access, db: Database, settings: RegistrySettings, issuing: PersonPasswords, networks: Networks
) -> APIRouter:
    """What an administrator of the office, or the office itself on the usage-state site, applies for and orders."""
    router = APIRouter(prefix="/v1/office", tags=["office"])

    @router.post("/application", status_code=201)
    async def apply_for_licence(
        body: NewApplication, caller: Annotated[Caller, Depends(access.own_office)]
    ) -> Application:
        """Apply for a licence (`new`: an operator decides) or, in its time, for a renewal, which is done at once."""
        access.require(caller, "manage")
        wish = applications.Wish(**body.model_dump())
        async with db.worker() as tx:
            await applications.apply(tx, caller.office, wish, settings, actor_of_office(caller))
        async with db.api(caller.office) as tx:
            return Application(**await _affairs.newest_application(tx.db, office=caller.office))

    @router.post("/renewal")
    async def renew_licence(_: NoWords, caller: Annotated[Caller, Depends(access.own_office)]) -> LicenceAnswer:
        """A year more, from 90 days before the last day to 30 days after it (settings)."""
        access.require(caller, "manage")
        async with db.worker() as tx:
            return _licence(await licences.renew(tx, caller.office, settings, actor_of_office(caller)))

    @router.post("/auto_renew")
    async def set_auto_renewal(body: AutoRenew, caller: Annotated[Caller, Depends(access.own_office)]) -> LicenceAnswer:
        """Stop the automatic renewal, or let it go on; until the licence's last day."""
        access.require(caller, "manage")
        async with db.worker() as tx:
            licence = await licences.set_auto_renewal(tx, caller.office, actor_of_office(caller), renews=body.renews)
        return _licence(licence)

    @router.post("/person_password")
    async def make_person_password(
        body: KjPassword, request: Request, caller: Annotated[Caller, Depends(access.own_office)]
    ) -> PersonPassword:
        """A first password for the c-ID made at approval, shown this once; everything the person had open ends."""
        access.require(caller, "manage")
        c_id, password = await issuing.make(caller.office, body.password, networks.of(request))
        return PersonPassword(c_id=c_id, password=password)

    return router


def user_routes(access: Access, db: Database, people: People) -> APIRouter:
    """The persons of an office: everybody reads who they are, administrators add and change them."""
    router = APIRouter(prefix="/v1/office/users", tags=["office"])

    @router.get("")
    async def list_users(caller: Annotated[Caller, Depends(access.caller)]) -> UserList:
        """The persons of one's own office."""
        access.require(caller, "own_office")
        async with db.api(caller.office) as tx:
            rows = await _affairs.members(tx.db, office=caller.office)
        return UserList(items=[User(**row) for row in rows])

    @router.post("", status_code=201)
    async def add_user(body: NewUser, caller: Annotated[Caller, Depends(access.caller)]) -> IssuedUser:
        """A new person with a first password, shown this once; or one of another office, who keeps the password."""
        access.require(caller, "manage")
        actor = actor_of_office(caller)
        if body.user_id is not None:
            return _issued(await people.link(caller.office, body.user_id, body.name, body.roles, actor))
        return _issued(await people.add(caller.office, body.name, body.roles, actor))

    @router.patch("/{user_id}")
    async def change_user(
        user_id: Annotated[str, Path(pattern=r"^c[0-9]{10}$")],
        body: ChangedUser,
        caller: Annotated[Caller, Depends(access.caller)],
    ) -> IssuedUser:
        """Roles, state, name, a new first password; whatever the person had open at this office ends with a change."""
        access.require(caller, "manage")
        wanted = Wanted(**body.model_dump())
        return _issued(await people.change(caller.office, user_id, wanted, actor_of_office(caller)))

    return router


def actor_of_office(caller: Caller) -> Actor:
    """Who acts: the person, or on the usage-state site the office itself."""
    return Actor(kind="office", id=caller.office) if caller.user_id is None else Actor(kind="person", id=caller.user_id)


def _licence(licence: licences.Licence) -> LicenceAnswer:
    return LicenceAnswer(
        licence_until=licence.until, renews=licence.renews, next_renewal=licences.next_renewal(licence)
    )


def _issued(issued: Issued) -> IssuedUser:
    return IssuedUser(user=User(**issued.user), password=issued.password)
