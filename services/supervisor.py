"""`todoke up`: engines, ground, the two processes `web` and `work`, kept running until Ctrl-C."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import FrameType

from services import ground
from services.process import PARENT_PIPE
from todoke import engines

READY_SECONDS_MAX = 60.0
RESTART_PAUSE_SECONDS = 1.0
ENGINE_PAUSE_SECONDS = 5.0
"""An engine that does not come up is tried again so often."""

FREE_BYTES_MIN = 96 * 1024 * 1024
"""Below it no engine is started: each would end again, and what it writes meanwhile takes the last room."""

END_SECONDS_MAX = 15.0
CHILDREN = ("web", "work")


class NotStarted(Exception):  # noqa: N818 (named for what happened)
    """Todoke cannot start; the text is one sentence for the person at the terminal."""


class Supervisor:
    """The parent of everything `todoke up` starts."""

    def __init__(self, home: Path, port: int, *, demo: bool) -> None:
        self.home = home
        self.port = port
        self.address = f"http://127.0.0.1:{port}"
        self.operator_address = f"http://127.0.0.1:{port + 1}"
        self._demo = demo
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._started_at: dict[str, float] = {}
        self._stopping = False
        self._try_again_at: dict[str, float] = {}
        """Engine → when a start that failed is tried again."""
        self._told = ""
        """What the last sentence about an engine was about: the same is not said twice in a row."""

    def run(self) -> None:
        """Start everything, print where it is, keep it running; returns after Ctrl-C or SIGTERM.

        Raises `NotStarted`, `engines.EngineError`.
        """
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._stop)
        for port in range(self.port, self.port + 3):
            _require_free(port)
        began = time.monotonic()
        running = engines.up(self.home, only=ground.own_engines())
        try:
            if not self._stopping:
                self._lay_ground()
                for name in CHILDREN:
                    self._start(name)
                self._wait_until_ready()
                self._tell(time.monotonic() - began)
                self._keep(running)
        finally:
            self._end_children()
            running.down()

    def _lay_ground(self) -> None:
        settings = ground.settings_of(self.home, self.address)
        asyncio.run(ground.lay(settings))
        if self._demo:
            asyncio.run(ground.load_practice(settings, self.operator_address))

    def _start(self, name: str) -> None:
        logs = self.home / "logs"
        logs.mkdir(exist_ok=True)
        log_file = logs / f"{name}.log"
        environment = {
            **os.environ,
            PARENT_PIPE: "1",
            "TODOKE_INSTANCE": name,
            "TODOKE_LOG_FILE": str(log_file.absolute()),
        }
        if name == "web":
            environment["TODOKE_ALSO_READY"] = json.dumps([f"http://127.0.0.1:{self.port + 2}/health/ready"])
        command = [sys.executable, "-m", "services", "serve", "--home", str(self.home), "--role", name]
        with log_file.open("ab") as log:
            self._children[name] = subprocess.Popen(  # noqa: S603 (our own program, no argument from outside)
                [*command, "--port", str(self.port), "--no-ground"],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,  # Ctrl-C reaches the parent only, which ends the children in order
            )
        self._started_at[name] = time.monotonic()

    def _wait_until_ready(self) -> None:
        until = time.monotonic() + READY_SECONDS_MAX
        while not self._stopping:
            for name, child in self._children.items():
                if child.poll() is not None:
                    raise NotStarted(f"{name} ended with code {child.returncode}; see {self.home}/logs/{name}.log")
            if _answers(f"{self.address}/health/ready") and self._practice_is_known():
                return
            if time.monotonic() > until:
                raise NotStarted(f"not ready after {READY_SECONDS_MAX:.0f} seconds; see {self.home}/logs")
            time.sleep(0.05)

    def _practice_is_known(self) -> bool:
        """Whether a message sent as soon as the logins are printed meets only services that know its offices."""
        if not self._demo:
            return True
        document = json.loads((self.home / "demo.json").read_text(encoding="utf-8"))
        settings = ground.settings_of(self.home, self.address)
        return asyncio.run(ground.everybody_knows(settings, [office["number"] for office in document["offices"]]))

    def _tell(self, seconds: float) -> None:
        if self._stopping:
            return
        lines = [
            f"届け Todoke is ready after {seconds:.1f} s: {self.address}   (Ctrl-C stops it)",
            f"  the portal: {self.address}/   利用状況Webサイト: {self.address}/usage   the API: {self.address}/v1",
        ]
        if self._demo:
            document = json.loads((self.home / "demo.json").read_text(encoding="utf-8"))
            lines += ["", "Practice logins (also in " + str(self.home / "demo.json") + "):"]
            for one in document["offices"]:
                lines.append(f"  {one['number']}  {one['name']}")
                lines.append(f"      {one['c_id']} {one['c_password']}   {one['kj_id']} {one['kj_password']}")
            operator = document["operator"]
            lines.append(f"  operator {operator['url']}/operator  {operator['user_id']} {operator['password']}")
            lines.append(f"      totp secret {operator['totp_secret']}")
        print("\n".join(lines), flush=True)  # noqa: T201 (for the person at the terminal)

    def _keep(self, running: engines.Running) -> None:
        """Start again what ended, engine or child; a child that cannot stay up is started ever more slowly."""
        pause = RESTART_PAUSE_SECONDS
        while not self._stopping:
            for name in running.ended():
                self._start_engine(running, name)
            for name, child in list(self._children.items()):
                if child.poll() is not None and not self._stopping:
                    lived = time.monotonic() - self._started_at[name]
                    _say(f"{name} ended with code {child.returncode}; starting it again")
                    pause = RESTART_PAUSE_SECONDS if lived > END_SECONDS_MAX else min(pause * 2, 30.0)
                    self._sleep(pause if lived < END_SECONDS_MAX else 0)
                    if not self._stopping:
                        self._start(name)
            time.sleep(0.2)

    def _start_engine(self, running: engines.Running, name: str) -> None:
        """Start an engine again; what keeps it from starting (a full disk) passes, and is waited for."""
        now = time.monotonic()
        if now < self._try_again_at.get(name, 0):
            return
        free = shutil.disk_usage(self.home).free
        if free < FREE_BYTES_MIN:
            self._say_once(
                "disk full",
                f"{name} ended, and the disk of {self.home} is full ({free >> 20} MiB left): free some space, and "
                "everything goes on by itself. Until then nothing can be sent; what was accepted is safe.",
            )
            return
        if name not in self._try_again_at:
            _say(f"{name} ended; starting it again")
        try:
            running.start(name)
        except (engines.EngineError, OSError) as error:
            self._say_once(f"{name} fails", f"{error} Trying again every {ENGINE_PAUSE_SECONDS:.0f} seconds.")
            self._try_again_at[name] = time.monotonic() + ENGINE_PAUSE_SECONDS
        else:
            self._try_again_at.pop(name, None)
            if self._told:
                _say(f"{name} runs again")
            self._told = ""

    def _say_once(self, about: str, sentence: str) -> None:
        if about != self._told:
            self._told = about
            _say(sentence)

    def _sleep(self, seconds: float) -> None:
        """Wait, but not once Ctrl-C was pressed: `time.sleep` goes on after a signal."""
        until = time.monotonic() + seconds
        while not self._stopping and time.monotonic() < until:
            time.sleep(0.1)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self._stopping = True

    def _end_children(self) -> None:
        for child in self._children.values():
            if child.poll() is None:
                child.terminate()
        until = time.monotonic() + END_SECONDS_MAX
        for child in self._children.values():
            try:
                child.wait(max(0.1, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


def _say(sentence: str) -> None:
    """A line for the person at the terminal."""
    with contextlib.suppress(OSError):  # standard error may be a file on the full disk
        print(f"todoke: {sentence}", file=sys.stderr, flush=True)  # noqa: T201 (for the person at the terminal)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 (our own loopback address)
            return bool(answer.status == 200 and json.load(answer)["status"] == "ready")  # noqa: PLR2004 (an HTTP status)
    except (urllib.error.URLError, OSError, ValueError):
        return False


def _require_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            raise NotStarted(f"port {port} is taken: stop what uses it or choose another with --port") from None
