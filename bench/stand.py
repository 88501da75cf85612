"""Todoke on the bench: engines and service processes of its own, and offices that exist only there."""

import asyncio
import json
import os
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from services import ground
from services.registry.offices import MasterData, register, set_licence
from todoke import engines
from todoke.events import SERVICES
from todoke.relay.service import Shared
from todoke.relay.tokens import Claims

PORT = 19000
READY_SECONDS_MAX = 180.0
LIMITS = {"sends_per_second_office": 1e6, "sends_reserve_office": 10**6, "requests_per_minute_user": 10**9}
LIMITS |= {"bytes_per_hour_office": 10**13}


class Stand:
    """`split`: one process per service; otherwise `web` and `work`, as `todoke up` has them."""

    def __init__(self, home: Path, offices: dict[str, str], *, split: bool) -> None:
        self.home = home
        self.address = f"http://127.0.0.1:{PORT}"
        self._offices = offices
        self._split = split
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._ports: dict[str, int] = {}

    def __enter__(self) -> Self:
        self._engines = engines.up(self.home)
        try:
            os.environ["TODOKE_ADDRESS"] = self.address
            self.settings = ground.settings_of(self.home, self.address)
            asyncio.run(ground.lay(self.settings))
            self.tokens = asyncio.run(self._register())
            self._start_all()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for child in self._children.values():
            child.terminate()
        for child in self._children.values():
            child.wait(30)
        self._engines.down()
        os.environ.pop("TODOKE_ADDRESS", None)

    def url_of(self, service: str) -> str:
        """Where a service's HTTP side answers."""
        return f"http://127.0.0.1:{self._ports.get(service, PORT)}"

    def pids(self) -> dict[str, int]:
        """Every process of the stand, by name."""
        return {name: child.pid for name, child in self._children.items()} | dict(self._engines.pids)

    async def _register(self) -> dict[str, str]:
        """Offices with a licence, and a token for each as the registry would issue it."""
        shared = await Shared.open(self.settings)
        runtime = await shared.runtime("registry")
        now = shared.ports.clock.now()
        until = (now + timedelta(days=90)).date()
        try:
            for number, service_type in self._offices.items():
                async with runtime.db.worker() as tx:
                    name = f"測定{number}"
                    data = MasterData(number=number, name=name, service_types=(service_type,), prefecture="練習県")
                    await register(tx, data)
                    await set_licence(tx, number, until=until, renews=False, cause="granted")
            return {
                number: shared.tokens.issue(
                    Claims(f"c{number}", number, ("admin",), until, str(shared.ports.ids.uuid7()), "office"),
                    now,
                    seconds=6 * 3600,
                )
                for number in self._offices
            }
        finally:
            await runtime.db.close()
            await shared.close()

    def _start_all(self) -> None:
        if self._split:
            self._ports = {name: PORT + 10 * place for place, name in enumerate(SERVICES)}
            for name, port in self._ports.items():
                self._start(name, [name], port)
        else:
            self._start("web", ["--role", "web"], PORT)
            self._start("work", ["--role", "work"], PORT)
        for name in self._children:
            self._wait(self._ports.get(name, PORT if name == "web" else PORT + 2))
        time.sleep(2)  # let the directory reach everybody before anything is measured

    def _start(self, name: str, arguments: list[str], port: int) -> None:
        environment = {**os.environ, "TODOKE_INSTANCE": name, "TODOKE_LOG_LEVEL": "WARNING"}
        environment |= {"TODOKE_LIMITS": json.dumps(LIMITS), "TODOKE_REGISTRY_ADDRESS": f"http://127.0.0.1:{PORT}"}
        command = [sys.executable, "-m", "services", "serve", *arguments, "--no-ground"]
        with (self.home / f"{name}.log").open("ab") as log:
            self._children[name] = subprocess.Popen(
                [*command, "--home", str(self.home), "--port", str(port)],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def _wait(self, port: int) -> None:
        until = time.monotonic() + READY_SECONDS_MAX
        while time.monotonic() < until:
            try:
                if httpx.get(f"http://127.0.0.1:{port}/health/ready", timeout=5).is_success:
                    return
            except httpx.HTTPError:
                pass
            time.sleep(0.1)
        raise TimeoutError(f"port {port} did not get ready; see {self.home}")
