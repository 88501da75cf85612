"""The whole product as separate processes over engines of its own, every one of which a test may kill and start again.

`web` hosts every HTTP side; each service's consumer, relay and timers run in a process of their own. A second instance
of a service is named `storage#2`.
"""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import psutil
from prometheus_client.parser import text_string_to_metric_families

from services import ground
from tests.ports import free_ports
from todoke import engines
from todoke.events import SERVICES
from todoke.relay.postgres import administrator
from todoke.relay.service import Runtime, Shared

WORKERS = SERVICES
PROCESSES = ("web", *WORKERS)
SERVE = (sys.executable, "-m", "services", "serve")
READY_SECONDS_MAX = 120.0
PORTS = 40


class Stack:
    """Start with `with Stack(home) as stack`. `environment` is given to every process."""

    def __init__(self, home: Path, **environment: str) -> None:
        self.home = home
        self.port = free_ports(PORTS)
        self.address = f"http://127.0.0.1:{self.port}"
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.offset_seconds = dict.fromkeys(PROCESSES, 0)
        """How far a process's clock is ahead. It only ever grows: what was due stays due."""
        self._environment = environment
        self._alive = os.pipe()
        """Every child reads it; its end tells them that this process is gone."""

    def __enter__(self) -> Self:
        self.engines = engines.up(self.home)
        try:
            self.settings = ground.settings_of(self.home, self.address)
            asyncio.run(ground.lay(self.settings))
            asyncio.run(ground.load_practice(self.settings, f"http://127.0.0.1:{self.port + 1}"))
            self.practice = json.loads((self.home / "demo.json").read_text(encoding="utf-8"))
            for name in PROCESSES:
                self.start(name)
            self.wait_until_ready()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def start(self, name: str, **environment: str) -> None:
        """Start a process, named `web` or by its service (`storage`, `storage#2`)."""
        service, _, second = name.partition("#")
        role = ["--role", "web"] if service == "web" else [service, "--role", "work"]
        more = {
            "TODOKE_INSTANCE": second or "1",
            "TODOKE_PARENT_PIPE": "1",
            "TODOKE_CLOCK_OFFSET_SECONDS": str(self.offset_seconds[service]),
            "TODOKE_LIMITS__UPLOADS_AT_ONCE_OFFICE": "100",  # requests of one office must meet
            **self._environment,
            **environment,
        }
        with self._log(name).open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [*SERVE, *role, "--no-ground", "--home", str(self.home), "--port", str(self._port_of(service, second))],
                env={**os.environ, **more, "TODOKE_ADDRESS": self.address},
                stdin=self._alive[0],
                stdout=log,
                stderr=log,
            )

    def kill(self, name: str) -> None:
        """Kill a process of ours, or an engine, without a word."""
        if name in engines.ENGINES:
            self.engines.kill(name)
        else:
            self.processes[name].kill()
            self.processes[name].wait(20)

    def stop(self, name: str) -> None:
        """End a process as a supervisor does."""
        self.processes[name].terminate()
        self.processes[name].wait(40)

    async def restart(self, name: str) -> None:
        """Start what was killed; an engine is waited for."""
        if name in engines.ENGINES:
            await asyncio.to_thread(self.engines.start, name)
        else:
            self.start(name)

    def freeze(self, name: str) -> None:
        """Stop a process of ours, or an engine with all its processes, in its tracks, as a dying host does."""
        for process in self._all_of(name):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.suspend()

    def thaw(self, name: str) -> None:
        """Let it go on."""
        for process in self._all_of(name):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()

    def _all_of(self, name: str) -> list[psutil.Process]:
        """The process and, of an engine, those that it made; it comes first, so that it makes no more."""
        if name not in engines.ENGINES:
            return [psutil.Process(self.processes[name].pid)]
        first = psutil.Process(self.engines.pids[name])
        return [first, *first.children(recursive=True)]

    def ended(self) -> list[str]:
        """Processes that ended although nobody asked them to."""
        return [
            f"{name} ended with {process.returncode}"
            for name, process in self.processes.items()
            if process.poll() is not None
        ]

    async def wait_for_end(self, name: str, seconds: float = 60) -> int:
        """The exit code of a process that is about to end."""
        return await asyncio.to_thread(self.processes[name].wait, seconds)

    def wait_until_ready(self) -> None:
        """Until every HTTP side and every consumer says that it is there."""
        until = time.monotonic() + READY_SECONDS_MAX
        for name in self.processes:
            service, _, second = name.partition("#")
            while not _is_ready(self._port_of(service, second) + (0 if service == "web" else 2)):
                if time.monotonic() > until:
                    raise AssertionError(f"{name} is not ready: {self.last_words(name)}")
                time.sleep(0.1)

    async def until_ready(self) -> None:
        """The same beside other tasks."""
        await asyncio.to_thread(self.wait_until_ready)

    async def metric(self, name: str, metric: str, **labels: str) -> float:
        """What a worker's `/metrics` says of a metric; fails when it says nothing."""
        async with httpx.AsyncClient(timeout=10) as http:
            answer = await http.get(f"http://127.0.0.1:{self._port_of(name, '') + 2}/metrics")
        for family in text_string_to_metric_families(answer.text):
            for sample in family.samples:
                if sample.name == metric and labels.items() <= sample.labels.items():
                    return float(sample.value)
        raise AssertionError(f"{name} does not show {metric} {labels}")

    def last_words(self, name: str) -> str:
        """The end of a process's log."""
        return self._log(name).read_text(encoding="utf-8", errors="replace")[-2000:]

    def login_of(self, office: str) -> tuple[str, str, str, str]:
        """c-ID, its password, KJ-ID, its password."""
        one = next(each for each in self.practice["offices"] if each["number"] == office)
        return one["c_id"], one["c_password"], one["kj_id"], one["kj_password"]

    @contextlib.asynccontextmanager
    async def database(self) -> AsyncIterator[Any]:
        """A connection as the administrator."""
        async with administrator(self.settings.postgres.get_secret_value()) as db:
            yield db

    async def fetch(self, query: str, *values: object) -> list[Any]:
        """Rows, as the administrator."""
        async with self.database() as db:
            return list(await db.fetch(query, *values))

    @contextlib.asynccontextmanager
    async def runtime(self, service: str) -> AsyncIterator[Runtime]:
        """A service's tools in this process: what an operator's program has."""
        shared = await Shared.open(self.settings)
        runtime = await shared.runtime(service)
        try:
            yield runtime
        finally:
            await runtime.db.close()
            await shared.close()

    def _port_of(self, service: str, second: str) -> int:
        """The `--port` of a process; a worker's own listener is the second after it."""
        if service == "web":
            return self.port
        return self.port + 2 + WORKERS.index(service) + (10 if second else 0)

    def _log(self, name: str) -> Path:
        return self.home / f"{name}.log"

    def _end(self) -> None:
        for process in self.processes.values():
            if process.poll() is None:
                process.kill()
                process.wait(20)
        self.engines.down()
        for end in self._alive:
            os.close(end)


def where_it_hears(service: str) -> str:
    """The schema in which a service keeps how far it has heard, and what it holds."""
    return "projection_lists" if service == "projection" else service


def _is_ready(port: int) -> bool:
    try:
        answer = httpx.get(f"http://127.0.0.1:{port}/health/ready", timeout=10)
        return bool(answer.json()["status"] == "ready")
    except (httpx.HTTPError, ValueError, KeyError):
        return False
