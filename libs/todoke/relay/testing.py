"""What tests of services build on: a moved clock, a fresh database cloned from a migrated template, tokens, hearing.

Nothing here imitates an engine: the database is PostgreSQL, the objects lie in SeaweedFS.
"""

import asyncio
import contextlib
import dataclasses
import hashlib
import secrets
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from importlib import resources
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID

import httpx
import uuid_utils
from fastapi import APIRouter
from pydantic import SecretStr

from todoke.events import SERVICES, Event, service_of, topic_of
from todoke.relay.clock import UUID7_TIME_SHIFT, NoCrash, Ports
from todoke.relay.handler import Handler, Heard
from todoke.relay.limits import Limits
from todoke.relay.migrate import migrate
from todoke.relay.operating import Operating
from todoke.relay.operating_api import operator_routes
from todoke.relay.postgres import Database, Tx, administrator, queries
from todoke.relay.reconcile import Reconciler
from todoke.relay.rootsecret import Secrets
from todoke.relay.seal import RootKey
from todoke.relay.service import Build, Runtime, Service, Shared
from todoke.relay.settings import S3Settings, Settings
from todoke.relay.tokens import Claims
from todoke.relay.web import application

LICENSED_DAYS = 365

RACERS_MAX = 1000
"""Requests of one office at once: a test of a race must not be spared it by the turns."""

TEST_MONTHS_AHEAD = 1
"""A database is copied file by file for every test: few partitions make that quick; later months go to the default."""


class ManualClock:
    """A clock that a test moves by hand; sleeping moves it too and gives the loop a turn."""

    def __init__(self, start: datetime | None = None) -> None:
        self._now = start or datetime.now(UTC)
        self._ticks = 0.0

    def now(self) -> datetime:
        """The moved time; each reading is a microsecond later, as no two moments are the same."""
        self._now += timedelta(microseconds=1)
        return self._now

    def monotonic(self) -> float:
        """Seconds moved so far."""
        return self._ticks

    async def sleep(self, seconds: float) -> None:
        """Move on by as much."""
        self.move(timedelta(seconds=seconds))
        await asyncio.sleep(0)

    def move(self, by: timedelta) -> None:
        """Let time pass."""
        self._now += by
        self._ticks += by.total_seconds()


class ClockIds:
    """UUIDv7 with a given clock's time: the library's random bits under our millisecond."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self._last = 0

    def uuid7(self) -> UUID:
        """Rising within the process."""
        low = uuid_utils.uuid7().int & ((1 << UUID7_TIME_SHIFT) - 1)
        made = (int(self._clock.now().timestamp() * 1000) << UUID7_TIME_SHIFT) | low
        self._last = made if made > self._last else self._last + 1
        return UUID(int=self._last)

    def secret(self, length: int) -> bytes:
        """Random bytes."""
        return secrets.token_bytes(length)

    def fraction(self) -> float:
        """Always in the middle."""
        return 0.5


def manual_ports(start: datetime | None = None) -> Ports:
    """Ports whose clock is a `ManualClock`."""
    clock = ManualClock(start)
    return Ports(clock=clock, ids=ClockIds(clock), crash=NoCrash())


def settings_for(home: Path, *, postgres: str, kafka: str = "127.0.0.1:9", s3: S3Settings | None = None) -> Settings:
    """Settings of a test process; without `s3` nothing may ask for objects. Requests of one office take no turns."""
    missing = S3Settings(endpoint="http://127.0.0.1:9", access_key="none", secret_key=SecretStr("none"))
    limits = Limits(
        bodies_at_once_office=RACERS_MAX,
        uploads_at_once_office=RACERS_MAX,
        long_uploads_at_once_office=RACERS_MAX,
        fetches_at_once_office=RACERS_MAX,
    )
    return Settings(
        home=home, keys=home / "keys", kafka=kafka, postgres=SecretStr(postgres), s3=s3 or missing, limits=limits
    )


@contextlib.asynccontextmanager
async def fresh_database(admin: str, secrets_of: Secrets, services: Sequence[str] | None = None) -> AsyncIterator[str]:
    """A database of its own with the schemas of these services (all, when none is named).

    It is copied from a template that is migrated once; the template's name is the hash of every step, so it is never
    stale. Yields its DSN (the administrator's).
    """
    sql = queries("todoke.relay", "testing.sql")
    services = services or services_with_schema()
    template = await _template(admin, secrets_of, services)
    name = f"t_{secrets.token_hex(8)}"
    async with administrator(admin) as db:
        await db.execute(await sql.clone_statement(db, name=name, template=template))
        for service in services:
            await db.execute(await sql.grant_statement(db, name=name, service=service))
    try:
        yield _with_database(admin, name)
    finally:
        async with administrator(admin) as db:
            await db.execute(await sql.drop_statement(db, name=name))


async def _template(admin: str, secrets_of: Secrets, services: Sequence[str]) -> str:
    sql = queries("todoke.relay", "testing.sql")
    name = f"template_{_fingerprint(services, secrets_of)}"
    async with administrator(admin) as db:
        await sql.lock_template(db)
        if not await sql.database_exists(db, name=name):
            half = f"{name}_half"
            if await sql.database_exists(db, name=half):
                await db.execute(await sql.drop_statement(db, name=half))
            await db.execute(await sql.create_statement(db, name=half))
            dsn = _with_database(admin, half)
            await migrate(dsn, services, secrets_of, months_ahead=TEST_MONTHS_AHEAD)
            await db.execute(await sql.rename_statement(db, name=half, new=name))
    return name


def services_with_schema() -> tuple[str, ...]:
    """Every service that has migration steps, in the order of the flow."""
    return tuple(name for name in SERVICES if (resources.files("services") / name / "schema").is_dir())


def _fingerprint(services: Sequence[str], secrets_of: Secrets) -> str:
    seen = hashlib.sha256(secrets_of.hmac_key("fingerprint"))
    folders = [resources.files("todoke.relay") / "schema"]
    folders += [resources.files("services") / name / "schema" for name in services]
    seen.update((resources.files("todoke.relay") / "roles.sql").read_bytes())
    for folder in folders:
        for step in sorted(folder.iterdir(), key=lambda each: each.name):
            seen.update(step.name.encode() + step.read_bytes())
    return seen.hexdigest()[:16]


def _with_database(dsn: str, name: str) -> str:
    return urlsplit(dsn)._replace(path=f"/{name}").geturl()


@dataclasses.dataclass
class Stage:
    """One service on real engines in a test: its runtime, its wiring, and ways to speak to it."""

    runtime: Runtime
    service: Service

    @property
    def db(self) -> Database:
        """The service's database."""
        return self.runtime.db

    async def hear(self, *events: Event, said_by: str | None = None) -> list[Event]:
        """Hand events to the handler that hears them, as one batch; answers what it says."""
        return await hear(self.handler_of(events[0]), self.db, events, said_by=said_by)

    def handler_of(self, event: Event) -> Handler:
        """The handler that hears this type."""
        return next(handler for handler in self.service.handlers if type(event) in handler.hears)

    def client(self) -> httpx.AsyncClient:
        """A client of the service's HTTP side, over ASGI."""
        return asgi_client(self.service, self.runtime)

    def operators_client(self) -> httpx.AsyncClient:
        """A client of the service on the operators' listener, without a session."""
        return asgi_client(self.service, self.runtime, routers=operators_side(self))

    def operator(self, user: str = "operator-1") -> dict[str, str]:
        """An Authorization header of an operator."""
        return {"Authorization": f"Bearer {operator_token(self.runtime.shared, user)}"}

    async def reconcile(self) -> None:
        """Compare journal and topic as every start does."""
        runtime = self.runtime
        one = Reconciler(
            self.service.name,
            "stage",
            self.db,
            runtime.ports,
            runtime.metrics,
            runtime.log,
            kafka=runtime.settings.kafka,
            restore=self.service.restore,
            inspect=self.service.inspect,
        )
        await one.at_start()

    def token(self, office: str, **claims: object) -> dict[str, str]:
        """An Authorization header of a person at `office`."""
        return {"Authorization": f"Bearer {token_for(self.runtime.shared, office, **claims)}"}  # type: ignore[arg-type]  # what a test gives is what `token_for` names


@contextlib.asynccontextmanager
async def stage(build: Build, name: str, shared: Shared) -> AsyncIterator[Stage]:
    """A service wired over `shared`, started and stopped as the host would."""
    runtime = await shared.runtime(name)
    service = build(runtime)
    if service.start is not None:
        await service.start()
    try:
        yield Stage(runtime, service)
    finally:
        if service.stop is not None:
            await service.stop()
        await runtime.db.close()


async def hear(
    handler: Handler, database: Database, events: Sequence[Event], *, said_by: str | None = None
) -> list[Event]:
    """Run prepare and apply in one transaction as the consumer would; answers the events said."""
    batch = [heard(event, offset, said_by) for offset, event in enumerate(events)]
    prepared = await handler.prepare(batch)
    async with database.worker() as tx:
        said = list(await handler.apply(prepared, tx))
        tx.say(*said)
    return said


def heard(event: Event, offset: int = 0, said_by: str | None = None) -> Heard[Event]:
    """An event as if it came from the topic of the service that says it."""
    service = said_by or event.SAID_BY[0]
    topic = topic_of(service)
    return Heard(
        event=event,
        event_id=event.event_id(service),
        service=service_of(topic),
        topic=topic,
        partition=0,
        offset=offset,
        time=datetime.now(UTC),
    )


def operators_side(*stages: Stage) -> tuple[APIRouter, ...]:
    """What the operators' listener of a process with these services serves."""
    own = (router for each in stages for router in each.service.operator_routers)
    access = stages[0].runtime.access
    return (*own, operator_routes(access, {each.service.name: Operating(each.runtime) for each in stages}))


def asgi_client(service: Service, runtime: Runtime, *, routers: Sequence[APIRouter] | None = None) -> httpx.AsyncClient:
    """A client of a service's routers, or of these, with the real error handlers and middleware."""

    async def health() -> dict[str, object]:
        return {"status": "ready", "parts": {}}

    app = application(
        service.name,
        service.routers if routers is None else routers,
        metrics=runtime.metrics,
        health=health,
        ids=runtime.ports.ids,
    )
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url=runtime.settings.address, timeout=30)


def token_for(
    shared: Shared,
    office: str,
    *,
    user: str = "c0000000018",
    roles: Iterable[str] = ("admin",),
    licence_until: date | str | None = "licensed",
    session: UUID | None = None,
    must_change: Iterable[str] = (),
    suspended: bool = False,
) -> str:
    """An access token as the registry would issue it."""
    now = shared.ports.clock.now()
    until = (now + timedelta(days=LICENSED_DAYS)).date() if licence_until == "licensed" else licence_until
    claims = Claims(
        subject=user,
        office=office,
        roles=tuple(roles),
        licence_until=until,  # type: ignore[arg-type]  # a test may leave it out
        session=str(session or shared.ports.ids.uuid7()),
        scope="office",
        must_change=tuple(must_change),
        suspended=suspended,
    )
    return shared.tokens.issue(claims, now)


def operator_token(shared: Shared, user: str = "operator-1", session: UUID | None = None) -> str:
    """An access token as the registry issues it to an operator."""
    claims = Claims(
        subject=user,
        office=None,
        roles=(),
        licence_until=None,
        session=str(session or shared.ports.ids.uuid7()),
        scope="operator",
    )
    return shared.tokens.issue(claims, shared.ports.clock.now())


async def journalled(tx: Tx) -> list[tuple[str, str]]:
    """(type, payload) of everything that the service of this transaction ever said, in order."""
    rows = await queries("todoke.relay", "testing.sql").everything_said(tx.db)
    return [(row["type"], row["payload"]) for row in rows]


def secrets_of_home(home: Path, ports: Ports) -> Secrets:
    """The secrets of a test home, as `Shared` derives them."""
    return Secrets(RootKey.load_or_create(home / "keys" / "root.key", ports.ids).material)
