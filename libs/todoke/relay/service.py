"""What a service is made of, and what it is given."""

import dataclasses
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping, MutableMapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, cast

import httpx
import structlog
from fastapi import APIRouter, Response

from todoke.events import Event
from todoke.relay.access import Access, EndedSessions, ask_registry
from todoke.relay.clock import Ports
from todoke.relay.consumer import PACE_SECONDS
from todoke.relay.directory import Directory, DirectoryKeeper
from todoke.relay.handler import Batch, Handler, Heard, Timer
from todoke.relay.logfile import LogSink
from todoke.relay.metrics import Metrics
from todoke.relay.objects import KeyObjects, Objects
from todoke.relay.postgres import Database, Ear
from todoke.relay.rates import RateLimits
from todoke.relay.reports import last_was_clean
from todoke.relay.restore import Inspect, Restore
from todoke.relay.room import Room
from todoke.relay.rootsecret import Secrets
from todoke.relay.seal import KeyRing, RootKey, Sealer
from todoke.relay.settings import Settings
from todoke.relay.tokens import AccessTokens, ReceiptSigner, SigningKey

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

__all__ = [
    "Batch",
    "Build",
    "Directory",
    "DirectoryKeeper",
    "Handler",
    "Heard",
    "Runtime",
    "Service",
    "Shared",
    "Timer",
]


@dataclasses.dataclass(frozen=True)
class Service:
    """One service, wired: what it says and hears, what it serves, what it does by the clock.

    `needs` are the engines without which it cannot serve; `degraded_without` those it can do without for a while.
    `loops` run for ever in every process that hears for the service, by name.
    `start` and `stop` run in every process that hosts the service, HTTP or worker. `restore` and `inspect` mend it when
    its database is older than its topic, and look for missing objects (see `todoke.relay.restore`).
    """

    name: str
    says: tuple[type[Event], ...] = ()
    handlers: tuple[Handler, ...] = ()
    routers: tuple[APIRouter, ...] = ()
    operator_routers: tuple[APIRouter, ...] = ()
    timers: tuple[Timer, ...] = ()
    loops: Mapping[str, Callable[[], Coroutine[Any, Any, None]]] = dataclasses.field(default_factory=dict)
    needs: tuple[str, ...] = ("postgres",)
    degraded_without: tuple[str, ...] = ("kafka",)
    start: Callable[[], Awaitable[None]] | None = None
    stop: Callable[[], Awaitable[None]] | None = None
    pace_seconds: float = PACE_SECONDS
    """How far apart batches begin: more for a service whose answer nobody waits for."""
    restore: Restore | None = None
    inspect: Inspect | None = None
    nowhere: Callable[[], Response] | None = None
    """The page for a browser that asks for an address that nothing is at."""
    operators_nowhere: Callable[[], Response] | None = None
    """The same on the operators' listener."""

    def hears(self) -> tuple[type[Event], ...]:
        """Every event type its handlers hear."""
        return tuple(event for handler in self.handlers for event in handler.hears)


class Shared:
    """What all services of one process have in common: keys, object storage, access to HTTP, metrics."""

    def __init__(self, settings: Settings, ports: Ports, objects: Objects) -> None:
        self.settings = settings
        self.ports = ports
        self.objects = objects
        self.metrics = Metrics()
        self.ear = Ear()
        self.room = Room(settings.disk, ports.clock)
        self.root = RootKey.load_or_create(settings.keys / "root.key", ports.ids)
        self.secrets = Secrets(self.root.material)
        self.seal = Sealer(ports.ids)
        self.key_objects = KeyObjects(objects)
        self.keys = KeyRing(self.root, self.key_objects, ports.clock)
        self.tokens = AccessTokens(SigningKey.load_or_create(settings.keys / "access.pem"), settings.address)
        self.receipt_key = SigningKey.load_or_create(settings.keys / "receipts.pem")
        self.receipts = ReceiptSigner(self.receipt_key)
        self.http = httpx.AsyncClient(timeout=5)
        self.ended = EndedSessions(
            ask_registry(settings.registry_address or settings.address, self.secrets.hmac_key("internal"), self.http),
            ports.clock,
        )
        self.access = Access(self.tokens, self.ended, RateLimits(settings.limits, ports.clock), ports.clock)

    @classmethod
    async def open(cls, settings: Settings, ports: Ports | None = None) -> "Shared":
        """Read (or make) the key files and prepare the connections; no engine is asked yet."""
        ports = ports or Ports.real(timedelta(seconds=settings.clock_offset_seconds))
        return cls(settings, ports, await Objects.open(settings.s3, ports.clock))

    async def close(self) -> None:
        """Close the connections."""
        await self.http.aclose()
        await self.objects.close()

    async def runtime(self, name: str) -> "Runtime":
        """What one service of this process is given."""
        database = await Database.open(
            name,
            address=self.settings.postgres.get_secret_value(),
            passwords=self.secrets.password,
            ports=self.ports,
            ear=self.ear,
        )
        return Runtime(name, self, database)


class Runtime:
    """What `build(runtime)` of a service gets. Everything with an effect comes from here."""

    def __init__(self, name: str, shared: Shared, database: Database) -> None:
        self.name = name
        self.shared = shared
        self.db = database
        self.settings: Settings = shared.settings
        self.ports: Ports = shared.ports
        self.objects: Objects = shared.objects
        self.keys: KeyRing = shared.keys
        self.key_objects: KeyObjects = shared.key_objects
        self.root: RootKey = shared.root
        self.seal: Sealer = shared.seal
        self.secrets: Secrets = shared.secrets
        self.tokens: AccessTokens = shared.tokens
        self.receipts: ReceiptSigner = shared.receipts
        self.receipt_key: SigningKey = shared.receipt_key
        self.access: Access = shared.access
        self.directory = Directory()
        self.metrics: Metrics = shared.metrics
        self.room: Room = shared.room
        self.http: httpx.AsyncClient = shared.http
        self.log: FilteringBoundLogger = structlog.get_logger().bind(service=name)

    async def last_reconcile_was_clean(self) -> bool:
        """Whether nothing is left that the comparison of journal, topic and objects could not mend.

        Until then nothing may be thrown away because the database does not know it. Raises `DatabaseAway`.
        """
        return await last_was_clean(self.db)


Build = Callable[[Runtime], Service]
"""`services.NAME.app.build`: the only wiring of a service."""


def configure_logging(level: str, *, instance: str, file: Path | None = None) -> None:
    """One JSON line per event in `file` or on standard error: time, level, event, ids and counts, no personal data."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _without_tracebacks,
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        logger_factory=structlog.WriteLoggerFactory(file=cast("TextIO", LogSink.to(file))),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(instance=instance)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[_Bridge()], force=True)


def _without_tracebacks(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Exception texts may quote what a person typed: only the kind of an exception is logged."""
    error = event.pop("exc_info", None)
    if isinstance(error, BaseException):
        event["error"] = type(error).__name__
    return event


class _Bridge(logging.Handler):
    """What libraries log, as one line with the library's name and the level; arguments are left out."""

    def emit(self, record: logging.LogRecord) -> None:
        kind = record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] else None
        text = record.msg if isinstance(record.msg, str) else type(record.msg).__name__
        first = text.partition("\n")[0]  # asyncio puts a lost task, with the text of its exception, on further lines
        structlog.get_logger().warning("library", library=record.name, text=first[:200], error=kind)
