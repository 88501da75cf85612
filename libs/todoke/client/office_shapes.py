"""Shapes of an office's own affairs: licence, application, persons, notices. Members of a newer service are ignored."""

from datetime import date, datetime
from typing import Literal, TypeAlias
from uuid import UUID

from todoke.client.shapes import Office, Shape

Role: TypeAlias = Literal["admin", "staff", "viewer"]
Standing: TypeAlias = Literal["licensed", "suspended", "fetching", "reading", "outside"]
ApplicationKind: TypeAlias = Literal["new", "renewal"]
ApplicationState: TypeAlias = Literal["received", "approved", "refused"]


class Application(Shape):
    """What the office applied for; `answer` is what a refused office is told."""

    id: UUID
    kind: ApplicationKind
    contact_name: str
    mail: str
    auto_renew: bool
    state: ApplicationState
    received_at: datetime
    decided_at: datetime | None = None
    answer: str | None = None


class Renewal(Shape):
    """Whether the licence renews by itself, and when it can be renewed by hand (days in Japan)."""

    renews: bool
    possible: bool
    possible_from: date
    possible_until: date


class Certificate(Shape):
    """A client certificate; `serial` is hexadecimal."""

    issuer: str
    serial: str
    not_after: datetime


class PasswordDates(Shape):
    """When the office's password was changed, whether it must be, and when it expires (None: never)."""

    changed_at: datetime
    must_change: bool
    expires_at: datetime | None = None


class OwnOffice(Office):
    """One's own office; `c_id` is the person made at the approval of its application."""

    fax: str = ""
    prefecture: str = ""
    kj_id: str
    c_id: str | None = None
    person_password_issued_at: datetime | None = None
    licence_until: date | None = None
    standing: Standing
    fetch_until: date | None = None
    read_until: date | None = None
    renewal: Renewal | None = None
    application: Application | None = None
    certificate: Certificate | None = None
    password: PasswordDates


class Licence(Shape):
    """The licence; `next_renewal` is the day on which its next year begins by itself."""

    licence_until: date
    renews: bool
    next_renewal: date | None = None


class PersonPassword(Shape):
    """A first password of the office's c-ID, shown this once."""

    c_id: str
    password: str


class User(Shape):
    """A person of the office."""

    id: str
    name: str
    roles: tuple[Role, ...]
    state: Literal["active", "ended"]
    last_login_at: datetime | None = None


class UserList(Shape):
    """The persons of the office."""

    items: tuple[User, ...]


class IssuedUser(Shape):
    """A person of the office, and a first password that is shown this once."""

    user: User
    password: str | None = None


class ListedNotice(Shape):
    """A notice in the list; `unread` when it is important and this person has not opened it."""

    id: UUID
    title: str
    excerpt: str
    published_at: datetime
    important: bool
    unread: bool


class Notice(ListedNotice):
    """A notice with its text; `previous` is newer, `next` older."""

    text: str
    previous: UUID | None = None
    next: UUID | None = None
