"""The only home of asyncpg: pools by role, transactions that say events, and what counts as "the database is away"."""

import asyncio
import contextlib
import contextvars
import functools
import inspect
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from importlib import resources
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import aiosql
import asyncpg

from todoke.events import Event, MessageEvent, Record, record_of
from todoke.relay.clock import Ports
from todoke.relay.faults import Transient

CONNECT_SECONDS_MAX = 5.0
"""A server that does not answer a connection in this time is away."""

COMMAND_SECONDS_MAX = 8.0
"""Longest single statement: a request must be answered within 10 s even when a row stays locked."""

TRANSACTION_SECONDS_MAX = 30.0
"""Longest transaction: an old snapshot makes every round of every relay slower."""

IDLE_IN_TRANSACTION_MS = 10_000
"""A process that stops in mid-transaction loses it: its locks must not hold up the one that takes over."""

STATEMENTS_CACHED = 300
"""Prepared statements kept per connection: more than any service has."""

traceparent_now: contextvars.ContextVar[str | None] = contextvars.ContextVar("traceparent_now", default=None)
"""W3C Trace Context of the request or record at hand."""


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

        async def run(db: Any, **values: Any) -> Any:
            answer = statement(db, **values)
            return [row async for row in answer] if inspect.isasyncgen(answer) else await answer

        setattr(self, name, run)
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
            await _journal().say_about_messages(self.db, **values)
        else:
            await _journal().say_about_offices(self.db, subjects=[r.subject for r in records], **values)

    def committed(self) -> None:
        """Run what waits for the commit."""
        for call in self._after:
            call()


class Database:
    """The schema of one service, reached as its worker (all rows) or as its API (row-level security)."""

    def __init__(self, service: str, pools: Mapping[str, asyncpg.Pool], ports: Ports, dsn: str) -> None:
        self.service = service
        self.ports = ports
        self.said: Callable[[], None] = lambda: None
        """Called after each commit that said something: wakes the relay."""
        self._pools = pools
        self._dsn = dsn

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
    ) -> "Database":
        """Prepare the pools; connections are made when needed, so the server may still be away.

        `address` is any DSN of the server and database; user and password come from the role. What can be built anew
        may stand in a schema of its own, `SERVICE_lists`, where names are looked up first; where there is none,
        PostgreSQL passes it over. `lists` names another one.
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
                max_inactive_connection_lifetime=60,
                server_settings={
                    "search_path": f"{service}_{lists}, {service}",
                    "application_name": role,
                    "timezone": "UTC",
                    "jit": "off",
                    "idle_in_transaction_session_timeout": str(IDLE_IN_TRANSACTION_MS),
                    "transaction_timeout": str(int(1000 * TRANSACTION_SECONDS_MAX)),
                },
            )
        return cls(service, pools, ports, address)

    async def close(self) -> None:
        """Close every connection, hard after two seconds."""
        for pool in self._pools.values():
            try:
                await asyncio.wait_for(pool.close(), 2)
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
        if not db.is_closed():
            await db.execute("ROLLBACK")
        raise
    await db.execute("COMMIT")


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


class Listener:
    """A connection of its own that hears NOTIFY; it comes back by itself after a lost connection."""

    def __init__(self, database: Database, channel: str, heard: Callable[[str], None]) -> None:
        self._database = database
        self._channel = channel
        self._heard = heard

    async def run(self) -> None:
        """Listen until cancelled. After each (re)connection `heard("")` is called: something may have been missed."""
        clock = self._database.ports.clock
        while True:
            try:
                async with self._database.connection() as db:
                    await self._listen(db)
            except DatabaseAway:
                pass
            await clock.sleep(0.5)

    async def _listen(self, db: Any) -> None:
        lost = asyncio.Event()

        def ended(*_: object) -> None:
            lost.set()

        def told(*notification: Any) -> None:
            self._heard(notification[3])

        db.add_termination_listener(ended)
        await db.add_listener(self._channel, told)
        try:
            self._heard("")
            await lost.wait()
        finally:
            db.remove_termination_listener(ended)
            if not db.is_closed():
                with contextlib.suppress(*_AWAY):  # it may be the server that went, and the cancellation must pass
                    await db.remove_listener(self._channel, told)


def connection_target(dsn: str) -> dict[str, Any]:
    """Host, port and database of a DSN, without user and password (libpq URI, PostgreSQL manual section 32.1.1.2)."""
    parts = urlsplit(dsn)
    host = parse_qs(parts.query).get("host", [parts.hostname or "127.0.0.1"])[0]
    return {"host": host, "port": parts.port or 5432, "database": parts.path.lstrip("/") or "postgres"}
