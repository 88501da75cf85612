"""The only home of asyncpg: pools by role, transactions that say events, and what counts as "the database is away"."""

import asyncio
import contextlib
import contextvars
import functools
import operator
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from importlib import resources
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import aiosql
import asyncpg
from aiosql.types import SQLOperationType

from todoke.events import Event, MessageEvent, Record, record_of
from todoke.relay.clock import Ports
from todoke.relay.faults import Transient

CONNECT_SECONDS_MAX = 5.0
"""A server that does not answer a connection in this time is away."""

COMMAND_SECONDS_MAX = 8.0
"""Longest single statement: a request must be answered within 10 s even when a row stays locked."""

ROLLBACK_SECONDS_MAX = 2.0
"""A server that does not take back a transaction in this time is away."""

TRANSACTION_SECONDS_MAX = 30.0
"""Longest transaction: an old snapshot makes every round of every relay slower."""

INACTIVE_SECONDS_MAX = 600
"""A connection that nobody used for so long is closed; a new one has to plan its statements first."""

STATEMENTS_CACHED = 300
"""Prepared statements kept per connection: more than any service has."""

traceparent_now: contextvars.ContextVar[str | None] = contextvars.ContextVar("traceparent_now", default=None)
"""W3C Trace Context of the request or record at hand."""


def trace_id_now() -> str:
    """Its trace id, as lines of the log name it; empty without one."""
    return (traceparent_now.get() or "")[3:35]


class DatabaseAway(Transient):
    """PostgreSQL cannot be reached, gave up the transaction, or took too long. Whether a commit was done is unknown."""


class TooSlow(DatabaseAway):
    """A statement took longer than it may. Again with the same work it would take as long."""


_AWAY = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.CannotConnectNowError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.TransactionRollbackError,
    asyncpg.LockNotAvailableError,
    asyncpg.ReadOnlySQLTransactionError,  # the server was the primary until a moment ago
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.InternalClientError,  # a connection whose server died in the middle of an answer
    ConnectionError,
    TimeoutError,
    OSError,
)


_OFFICE = re.compile(r"[0-9A-Za-z]{1,20}")


class Statements:
    """The named statements of one SQL file as coroutine methods: `await statements.name(tx.db, key=value)`.

    aiosql: `name^` answers one row or None, `name$` one value, `name!` the command tag, a bare `name` a list of rows.
    """

    def __init__(self, text: str) -> None:
        self._named = aiosql.from_str(text, "asyncpg", mandatory_parameters=False)

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        statement = getattr(self._named, name)
        run = _runner(_WAYS[statement.operation], statement.sql, self._named.driver_adapter.var_sorted[name])
        setattr(self, name, run)
        return run


_WAYS = {
    SQLOperationType.SELECT: operator.attrgetter("fetch"),
    SQLOperationType.SELECT_ONE: operator.attrgetter("fetchrow"),
    SQLOperationType.SELECT_VALUE: operator.attrgetter("fetchval"),
    SQLOperationType.INSERT_UPDATE_DELETE: operator.attrgetter("execute"),
    SQLOperationType.SCRIPT: operator.attrgetter("execute"),
}
"""What asyncpg calls each kind of statement."""


def _runner(way: Callable[[Any], Any], sql: str, names: Sequence[str]) -> Callable[..., Awaitable[Any]]:
    """Runs one statement straight on asyncpg: aiosql's own way there costs as much again as asyncpg's part."""

    def run(db: Any, **values: Any) -> Awaitable[Any]:
        answer: Awaitable[Any] = way(db)(sql, *[values[name] for name in names])
        return answer

    return run


@functools.cache
def queries(package: str, file: str = "store.sql") -> Statements:
    """The statements of a package's SQL file."""
    return Statements(resources.files(package).joinpath(file).read_text(encoding="utf-8"))


_journal = functools.partial(queries, "todoke.relay", "journal.sql")


class Tx:
    """One transaction: a connection, the time it began, and the events it will say when it commits."""

    def __init__(self, service: str, db: Any, ports: Ports, traces: Mapping[UUID, str | None]) -> None:
        self.db = db
        self.ports = ports
        self.now = ports.clock.now()
        self._service = service
        self._traces = traces
        self._records: list[tuple[Record, bool]] = []
        self._after: list[Callable[[], None]] = []

    def say(self, *events: Event, traceparent: str | None = None) -> None:
        """Say events when this transaction commits; one that was said before stays said once.

        Raises `ValueError` for an event this service does not say or that is too large: the transaction fails.
        """
        for event in events:
            trace = traceparent or self._traces.get(event.subject_id()) or traceparent_now.get()
            self._records.append((record_of(event, self._service, self.now, trace), isinstance(event, MessageEvent)))

    def after_commit(self, call: Callable[[], None]) -> None:
        """Call something once the transaction is surely committed."""
        self._after.append(call)

    @property
    def says_something(self) -> bool:
        """Whether events wait to be said."""
        return bool(self._records)

    async def write_events(self) -> None:
        """Write what was said into journal and outbox, in the order it was said."""
        for about_message in (True, False):
            records = [record for record, is_message in self._records if is_message is about_message]
            if records:
                await self._write(records, about_message=about_message)

    async def _write(self, records: list[Record], *, about_message: bool) -> None:
        values: dict[str, Any] = {
            "recorded_at": self.now,
            "subject_ids": [r.subject_id for r in records],
            "event_ids": [r.event_id for r in records],
            "keys": [r.key for r in records],
            "types": [r.type_name for r in records],
            "versions": [r.version for r in records],
            "payloads": [r.body.decode() for r in records],
            "traceparents": [r.traceparent for r in records],
        }
        if about_message:
            bounds = {"low": min(values["subject_ids"]), "high": max(values["subject_ids"])}
            await _journal().say_about_messages(self.db, **bounds, **values)
        else:
            await _journal().say_about_offices(self.db, subjects=[r.subject for r in records], **values)

    def committed(self) -> None:
        """Run what waits for the commit."""
        for call in self._after:
            call()


class Database:
    """The schema of one service, reached as its worker (all rows) or as its API (row-level security)."""

    def __init__(
        self, service: str, pools: Mapping[str, asyncpg.Pool], ports: Ports, dsn: str, ear: "Ear | None" = None
    ) -> None:
        self.service = service
        self.ports = ports
        self.said: Callable[[], None] = lambda: None
        """Called after each commit that said something: wakes the relay."""
        self._pools = pools
        self._dsn = dsn
        self._ear = ear or Ear()

    @classmethod
    async def open(
        cls,
        service: str,
        *,
        address: str,
        passwords: Callable[[str], str],
        ports: Ports,
        size: int = 8,
        lists: str = "lists",
        ear: "Ear | None" = None,
    ) -> "Database":
        """Prepare the pools; connections are made when needed, so the server may still be away.

        `address` is any DSN of the server and database; user and password come from the role. What can be built anew
        may stand in a schema of its own, `SERVICE_lists`, where names are looked up first; where there is none,
        PostgreSQL passes it over. `lists` names another one. `ear` is the one that the services of a process share.
        """
        pools = {}
        for kind in ("worker", "api"):
            role = f"{service}_{kind}"
            pools[kind] = await asyncpg.create_pool(
                **connection_target(address),
                user=role,
                password=passwords(role),
                min_size=0,
                max_size=size,
                timeout=CONNECT_SECONDS_MAX,
                command_timeout=COMMAND_SECONDS_MAX,
                statement_cache_size=STATEMENTS_CACHED,
                reset=_tidy,
                max_inactive_connection_lifetime=INACTIVE_SECONDS_MAX,
                server_settings={
                    "search_path": f"{service}_{lists}, {service}",
                    "application_name": role,
                    "timezone": "UTC",
                    "jit": "off",
                    # Custom plans of a table by months look cheaper than the one for all months, so PostgreSQL would
                    # plan such statements anew each time, which costs more than they do. Ours name the months by
                    # comparisons, which leave the others out when the statement begins.
                    "plan_cache_mode": "force_generic_plan",
                    "transaction_timeout": str(int(1000 * TRANSACTION_SECONDS_MAX)),
                },
            )
        return cls(service, pools, ports, address, ear)

    async def close(self) -> None:
        """Close every connection, hard after two seconds."""
        for pool in self._pools.values():
            try:
                async with asyncio.timeout(2):
                    await pool.close()
            except (TimeoutError, *_AWAY):
                pool.terminate()

    @contextlib.asynccontextmanager
    async def worker(self, traces: Mapping[UUID, str | None] | None = None) -> AsyncIterator[Tx]:
        """A transaction that sees all rows. Raises `DatabaseAway`."""
        async with self._transaction("worker", None, traces or {}) as tx:
            yield tx

    @contextlib.asynccontextmanager
    async def api(self, office: str | None) -> AsyncIterator[Tx]:
        """A transaction under row-level security as `office` (None: public rows only). Raises `DatabaseAway`."""
        async with self._transaction("api", office or "", {}) as tx:
            yield tx

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[Any]:
        """A worker's connection without a transaction, for LISTEN and single statements. Raises `DatabaseAway`."""
        with self._away():
            async with self._pools["worker"].acquire(timeout=CONNECT_SECONDS_MAX) as db:
                yield db

    @contextlib.asynccontextmanager
    async def public(self) -> AsyncIterator[Any]:
        """An API connection without a transaction, for single statements about public rows. Raises `DatabaseAway`."""
        with self._away():
            async with self._pools["api"].acquire(timeout=CONNECT_SECONDS_MAX) as db:
                yield db

    async def hear(self, channel: str, heard: Callable[[str], None]) -> None:
        """Call `heard` with the payload of each NOTIFY until cancelled.

        It is called with "" at the beginning and after each lost connection: something may have been missed.
        """
        await self._ear.listen(self, channel, heard)

    @contextlib.asynccontextmanager
    async def _transaction(self, kind: str, office: str | None, traces: Mapping[UUID, str | None]) -> AsyncIterator[Tx]:
        with self._away():
            async with self._pools[kind].acquire(timeout=CONNECT_SECONDS_MAX) as db:
                async with _in_time(), _begun(db, office):
                    tx = Tx(self.service, db, self.ports, traces)
                    yield tx
                    said = tx.says_something
                    await tx.write_events()
                    self.ports.crash.reach(f"{self.service}.before-commit")
                self.ports.crash.reach(f"{self.service}.after-commit")
        tx.committed()
        if said:
            self.said()

    @staticmethod
    @contextlib.contextmanager
    def _away() -> Any:
        try:
            yield
        except _AWAY as trouble:
            task = asyncio.current_task()
            if task is not None and task.cancelling():  # a lost connection must not swallow the word to stop
                raise asyncio.CancelledError from trouble
            if isinstance(trouble, ValueError):  # a value that does not fit its column is our mistake, not an outage
                raise
            raise DatabaseAway(type(trouble).__name__) from trouble


@contextlib.asynccontextmanager
async def _in_time() -> AsyncIterator[None]:
    """Tell a statement, or a whole transaction, that ran out of its time from a server that is away."""
    try:
        yield
    except (TimeoutError, asyncpg.TransactionTimeoutError) as late:
        raise TooSlow(type(late).__name__) from late


@contextlib.asynccontextmanager
async def _begun(db: Any, office: str | None) -> AsyncIterator[None]:
    """A transaction, acting for an office if one is given: that goes in one round trip with its beginning."""
    await db.execute("BEGIN" if office is None else f"BEGIN; SET LOCAL app.office = '{_plain(office)}'")
    try:
        yield
    except BaseException:
        await _rolled_back(db)
        raise
    await db.execute("COMMIT")


async def _rolled_back(db: Any) -> None:
    """A server that does not even answer this soon loses the connection: asyncpg would wait for it without end."""
    try:
        async with asyncio.timeout(ROLLBACK_SECONDS_MAX):
            if not db.is_closed():
                await db.execute("ROLLBACK")
    except TimeoutError:
        db.terminate()


def _plain(office: str) -> str:
    if office and not _OFFICE.fullmatch(office):
        raise ValueError("an office number has letters and digits only")
    return office


async def _tidy(db: Any) -> None:
    """In place of asyncpg's reset, which costs a round trip per transaction: ours set nothing that outlives them."""
    if db.is_in_transaction():
        await db.execute("ROLLBACK")


@contextlib.asynccontextmanager
async def administrator(dsn: str) -> AsyncIterator[Any]:
    """One connection as the administrator, for migrations and tests. Raises `DatabaseAway`."""
    try:
        db = await asyncpg.connect(dsn, timeout=CONNECT_SECONDS_MAX, command_timeout=None)
    except _AWAY as trouble:
        raise DatabaseAway(type(trouble).__name__) from trouble
    try:
        yield db
    finally:
        await db.close()


class Ear:
    """The connection on which a process hears NOTIFY, for all its services; it comes back by itself when it is lost.

    One is enough, and more are dear: PostgreSQL wakes every connection that listens to anything for every NOTIFY in
    the database.
    """

    def __init__(self) -> None:
        self._heard: dict[str, list[Callable[[str], None]]] = {}
        self._open: set[str] = set()
        self._lost = False
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def listen(self, database: Database, channel: str, heard: Callable[[str], None]) -> None:
        """See `Database.hear`. The first listener's database lends the connection."""
        self._heard.setdefault(channel, []).append(heard)
        self._changed.set()
        if channel in self._open:
            heard("")
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(database), name="ear")
        try:
            await asyncio.shield(self._task)
        finally:
            self._heard[channel].remove(heard)
            if not self._heard[channel]:
                del self._heard[channel]
            if not self._heard:
                self._task.cancel()
                await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self, database: Database) -> None:
        while True:
            with contextlib.suppress(DatabaseAway):
                async with database.connection() as db:
                    await self._follow(db)
            await database.ports.clock.sleep(0.5)

    async def _follow(self, db: Any) -> None:
        """Listen to whatever somebody waits for, until the connection is lost."""
        self._lost = False
        db.add_termination_listener(self._ended)
        try:
            while not self._lost:
                self._changed.clear()
                for channel in self._heard.keys() - self._open:
                    await db.add_listener(channel, self._told)
                    self._open.add(channel)
                    self._ring(channel, "")
                await self._changed.wait()
        finally:
            opened, self._open = self._open, set()
            if not self._lost:  # a lost connection is not ours any more, and must not be touched
                db.remove_termination_listener(self._ended)
                with contextlib.suppress(*_AWAY):  # the server may go just now, and the cancellation must pass
                    for channel in opened:
                        await db.remove_listener(channel, self._told)

    def _ended(self, *_: object) -> None:
        self._lost = True
        self._changed.set()

    def _told(self, _db: object, _pid: object, channel: str, payload: str) -> None:
        self._ring(channel, payload)

    def _ring(self, channel: str, payload: str) -> None:
        for heard in tuple(self._heard.get(channel, ())):
            heard(payload)


def connection_target(dsn: str) -> dict[str, Any]:
    """A DSN without user and password (libpq URI, PostgreSQL manual section 32.1.1.2): hosts, database, TLS."""
    parts = urlsplit(dsn)
    return {"dsn": parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()}
