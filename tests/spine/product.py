"""`todoke up --demo` and the office's commands, as a person types them: programs of their own, a home of their own."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.ports import free_ports

READY_SECONDS_MAX = 150.0
END_SECONDS_MAX = 60.0
TODOKE = (sys.executable, "-m", "services")


class Product:
    """One home with its port and settings (`TODOKE_…`); it may be started and ended many times."""

    def __init__(self, home: Path, *, port: int | None = None, settings: Mapping[str, str] | None = None) -> None:
        self.home = home
        self.settings = settings or {}
        self.port = port or free_ports()
        self.address = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait for the line that says it is ready."""
        self.home.mkdir(parents=True, exist_ok=True)
        with self.printed.open("wb") as printed:
            self._process = subprocess.Popen(
                [*TODOKE, "up", "--demo", "--home", str(self.home), "--port", str(self.port)],
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, **self.settings},
            )
        until = time.monotonic() + READY_SECONDS_MAX
        while "ready" not in self.words():
            if self._process.poll() is not None or time.monotonic() > until:
                raise AssertionError(f"it does not start: {self.words()}")
            time.sleep(0.1)

    @property
    def printed(self) -> Path:
        """What it printed on its terminal."""
        return self.home / "terminal.log"

    def words(self) -> str:
        """The same as text."""
        return self.printed.read_text(encoding="utf-8", errors="replace")

    @property
    def demo(self) -> dict[str, Any]:
        """`demo.json`."""
        found: dict[str, Any] = json.loads((self.home / "demo.json").read_text(encoding="utf-8"))
        return found

    def login_of(self, office: str) -> tuple[str, str, str, str]:
        """c-ID, its password, KJ-ID, its password."""
        one = next(each for each in self.demo["offices"] if each["number"] == office)
        return one["c_id"], one["c_password"], one["kj_id"], one["kj_password"]

    def family(self) -> list[psutil.Process]:
        """Every process that it started, and itself."""
        assert self._process is not None
        parent = psutil.Process(self._process.pid)
        return [parent, *parent.children(recursive=True)]

    def interrupt(self) -> int:
        """Ctrl-C, and the exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGINT)
        return self._process.wait(END_SECONDS_MAX)

    def kill(self) -> None:
        """End the parent only, with SIGKILL."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(END_SECONDS_MAX)

    def end(self) -> None:
        """Whatever state it is in."""
        if self._process is not None and self._process.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.interrupt()
            if self._process.poll() is None:
                self._process.kill()

    def run(self, *words: str, office: str, fails: bool = False) -> Any:
        """A command of an office, with `--json`: what it answered."""
        session = self.home / f"session-{office}.json"
        done = subprocess.run(
            [*TODOKE, *words, "--json", "--session", str(session)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
            env={**os.environ, "NO_COLOR": "1"},
        )
        assert (done.returncode != 0) is fails, f"{words}: {done.returncode} {done.stdout} {done.stderr}"
        return json.loads(done.stdout)

    def login(self, office: str) -> None:
        """`todoke login` with the practice logins."""
        self.run("login", "--demo", str(self.home), "--office", office, office=office)


def wait_until_gone(family: list[psutil.Process], seconds: float) -> list[str]:
    """The processes that still live after so long."""
    _, alive = psutil.wait_procs(family, timeout=seconds)
    return [f"{process.pid} {process.name()}" for process in alive if process.is_running()]


def until_status(address: str, seconds: float = READY_SECONDS_MAX) -> None:
    """Until `/health/ready` says ready."""
    end = time.monotonic() + seconds
    while True:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"{address}/health/ready", timeout=10).json()["status"] == "ready":
                return
        assert time.monotonic() < end, "not ready"
        time.sleep(0.2)
