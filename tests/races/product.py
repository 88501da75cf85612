"""The product in three processes, over engines of its own: two serve every HTTP side, one does all other work.

Its limits are out of the way, so that a thousand rounds are not told to wait. What tests do to its database they do
from a process of their own: this one.
"""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterable
from datetime import date, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from services import ground
from services.process import PARENT_PIPE
from services.registry import offices
from tests.ports import free_ports
from todoke import engines
from todoke.events import SERVICES, topic_of
from todoke.relay.clock import in_japan
from todoke.relay.kafka import ensure_topics
from todoke.relay.limits import Limits
from todoke.relay.migrate import ensure_database, migrate
from todoke.relay.postgres import administrator
from todoke.relay.service import Shared

WEBS = ("web-1", "web-2")
PROCESSES = (*WEBS, "work")
SENDER = "9970100018"
RECIPIENT = "9970100117"
LANES = tuple(f"99801{number:05d}" for number in range(16))
"""Recipients of their own for rounds that run beside each other."""

GENEROUS = Limits(
    requests_per_minute_user=10**9,
    sends_per_second_office=10**6,
    sends_reserve_office=10**9,
    bytes_per_hour_office=10**12,
)
LICENSED_DAYS = 3650
READY_SECONDS_MAX = 180.0


class Product:
    """Start with `with Product(home) as product`."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._port = free_ports()
        self.addresses = [self._address(name) for name in WEBS]
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._alive = os.pipe()
        """Every child reads it; its end tells them that this process is gone."""

    def __enter__(self) -> Self:
        self._engines = engines.up(self.home)
        try:
            self.settings = ground.settings_of(self.home, self.addresses[0], limits=GENEROUS)
            asyncio.run(self._lay_ground())
            for name in PROCESSES:
                self.start(name)
            self._wait_until_ready()
            asyncio.run(self.register({SENDER: "43", RECIPIENT: "11"} | dict.fromkeys(LANES, "11")))
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    @property
    def engines(self) -> engines.Addresses:
        """Where its engines are."""
        return self._engines.addresses

    @property
    def operators(self) -> str:
        """Where operators call."""
        return f"http://127.0.0.1:{self._port + 1}"

    @property
    def dsn(self) -> str:
        """Its database, as the administrator."""
        return self.settings.postgres.get_secret_value()

    def start(self, name: str) -> None:
        """Start one of its processes."""
        role = "work" if name == "work" else "web"
        limits = {f"TODOKE_LIMITS__{key.upper()}": str(value) for key, value in GENEROUS.model_dump().items()}
        environment = {**os.environ, **limits, PARENT_PIPE: "1", "TODOKE_INSTANCE": name}
        environment["TODOKE_REBUILD_RECORDS_PER_SECOND"] = "0"
        where = ["--home", str(self.home), "--port", str(self._port_of(name))]
        with self._log(name).open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", "services", "serve", "--role", role, "--no-ground", *where],
                env={**environment, "TODOKE_ADDRESS": self.addresses[0]},
                stdin=self._alive[0],
                stdout=log,
                stderr=log,
            )

    def ended(self) -> list[str]:
        """Processes that ended although nobody asked them to."""
        return [f"{name}: {self._last_words(name)}" for name, each in self.processes.items() if each.poll() is not None]

    async def register(self, kinds: dict[str, str]) -> None:
        """Offices with a licence, by number and service type; all services know them when this returns."""
        shared = await Shared.open(self.settings)
        runtime = await shared.runtime("registry")
        try:
            async with runtime.db.worker() as tx:
                until = in_japan(tx.now).date() + timedelta(days=LICENSED_DAYS)
                for number, kind in kinds.items():
                    await self._register(tx, number, kind, until)
        finally:
            await runtime.db.close()
            await shared.close()
        end = time.monotonic() + READY_SECONDS_MAX
        while not await ground.everybody_knows(self.settings, list(kinds)):
            assert time.monotonic() < end, "the directories stay behind"
            await asyncio.sleep(0.05)

    @staticmethod
    async def _register(tx: Any, number: str, kind: str, until: date) -> None:
        await offices.register(tx, offices.MasterData(number, f"事業所{number}", (kind,)))
        await offices.set_licence(tx, number, until=until, renews=True, cause="granted")

    async def _lay_ground(self) -> None:
        await ensure_database(self.dsn)
        shared = await Shared.open(self.settings)
        try:
            await asyncio.gather(
                migrate(self.dsn, SERVICES, shared.secrets, months_ahead=1),
                ensure_topics(self.settings.kafka, [topic_of(name) for name in SERVICES], partitions=3, replication=1),
                shared.objects.ensure_bucket(),
            )
        finally:
            await shared.close()

    def _wait_until_ready(self) -> None:
        end = time.monotonic() + READY_SECONDS_MAX
        waiting = set(PROCESSES)
        while waiting:
            waiting -= {name for name in waiting if _is_ready(self._health_of(name))}
            assert not self.ended(), self.ended()
            assert time.monotonic() < end, [(name, self._last_words(name)) for name in waiting]
            time.sleep(0.05)

    def _port_of(self, name: str) -> int:
        return self._port + 10 * PROCESSES.index(name)

    def _address(self, name: str) -> str:
        return f"http://127.0.0.1:{self._port_of(name)}"

    def _health_of(self, name: str) -> str:
        return f"http://127.0.0.1:{self._port_of(name) + (2 if name == 'work' else 0)}/health/ready"

    def _log(self, name: str) -> Path:
        return self.home / f"{name}.log"

    def _last_words(self, name: str) -> str:
        return self._log(name).read_text(encoding="utf-8", errors="replace")[-2000:]

    def _end(self) -> None:
        for process in self.processes.values():
            process.kill()
            process.wait(20)
        self._engines.down()
        for end in self._alive:
            os.close(end)


async def fetch(dsn: str, query: str, *values: object) -> list[Any]:
    """Rows, as the administrator."""
    async with administrator(dsn) as db:
        return list(await db.fetch(query, *values))


async def said(dsn: str, service: str, message_ids: Iterable[str]) -> dict[str, list[str]]:
    """What a service said of each of these messages: the types of its events in their order."""
    told: dict[str, list[str]] = {one: [] for one in message_ids}
    rows = await fetch(
        dsn,
        f"SELECT message_id::text AS id, type FROM {service}.journal WHERE message_id = ANY($1::uuid[]) ORDER BY seq",
        list(told),
    )
    for row in rows:
        told[row["id"]].append(row["type"])
    return told


def _is_ready(url: str) -> bool:
    try:
        return bool(httpx.get(url, timeout=5).json()["status"] == "ready")
    except (httpx.HTTPError, ValueError, KeyError):
        return False
