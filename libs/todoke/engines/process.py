"""One engine as a process under its keeper."""

import contextlib
import json
import os
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from todoke.engines import keeper
from todoke.engines.model import EngineError, PortPlan

_READY_SECONDS = 90.0
"""A cold start on a busy machine with two cores took 21 s at most; beyond this something is wrong."""

_POLL_SECONDS = 0.02
_LOG_TAIL_LINES = 4
_STOP_SECONDS = 9.5
"""The keeper's own steps take eight seconds at most."""


@dataclass(frozen=True)
class Command:
    """How an engine is started and stopped.

    Attributes:
        argv: program and arguments; no secret may stand in them.
        stop: signals in the order in which they are tried, each with the seconds to wait after it.
        user: (uid, gid) to run as, None for the caller's own.
        env: the whole environment of the program.
    """

    argv: list[str]
    stop: Sequence[tuple[int, float]]
    user: tuple[int, int] | None = None
    env: dict[str, str] = field(default_factory=dict)


class Engine(ABC):
    """What all engines have in common: a folder, ports, a process, a log.

    Args:
        folder: where its data lies, for this engine alone.
        ports: the plan of the home.
        lock: the home's lock, which the keeper holds too.
    """

    name: ClassVar[str]

    def __init__(self, folder: Path, ports: PortPlan, lock: int) -> None:
        self.folder = folder
        self.ports = ports
        self._lock = lock
        self._keeper: subprocess.Popen[bytes] | None = None
        self._log_start = 0
        self.pid = 0

    @abstractmethod
    def prepare(self) -> None:
        """Make the data folder at the first start, and the settings at every start."""

    @abstractmethod
    def command(self) -> Command:
        """The program to run."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Whether it serves now; called often, answers fast, never raises."""

    def finish(self) -> None:  # noqa: B027 - most engines need nothing here
        """What can only be done when it serves; nothing by default."""

    @property
    def log(self) -> Path:
        """What the program prints; read by people only. Its keeper puts a long one aside as LOG.1."""
        return self.folder.with_suffix(".log")

    @property
    def keeper_pid(self) -> int:
        """Process id of the keeper, 0 before the first start."""
        return self._keeper.pid if self._keeper else 0

    def start(self) -> None:
        """Start it and wait until it serves.

        Raises:
            EngineError: it ended or did not serve in time; the sentence ends with its last words.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.log.touch(mode=0o600)
        self._log_start = self.log.stat().st_size
        self.prepare()
        self._spawn()
        deadline = time.monotonic() + _READY_SECONDS
        while not self.is_ready():
            if not self.is_running():
                raise EngineError(f"{self.name} ended while starting. Its last words ({self.log}): {self.last_words()}")
            if time.monotonic() > deadline:
                self.stop()
                raise EngineError(f"{self.name} did not start within {_READY_SECONDS:.0f} s; see {self.log}.")
            time.sleep(_POLL_SECONDS)
        self.finish()

    def run_once(self, command: Command) -> int:
        """Run a program of the engine to its end, under a keeper too; the answer is 0 when it went well."""
        process, _ = self._under_keeper(command, self.folder.parent)
        assert process.stdin is not None  # noqa: S101 - it is a pipe
        with process.stdin:
            return process.wait()

    def _spawn(self) -> None:
        self.let_go()
        self._keeper, self.pid = self._under_keeper(self.command(), self.folder)

    def _under_keeper(self, command: Command, folder: Path) -> tuple["subprocess.Popen[bytes]", int]:
        spec = {
            "argv": command.argv,
            "stop": command.stop,
            "user": command.user,
            "env": command.env,
            "cwd": str(folder),
            "log": str(self.log),
        }
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", keeper.__file__, json.dumps(spec)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            pass_fds=[self._lock],
            # Ctrl-C at the terminal is for the caller, who then stops the engines in order.
            start_new_session=True,
        )
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        with process.stdout as line:
            pid = int(line.readline() or b"0")
        if not pid:
            raise EngineError(f"{self.name} cannot be started: {command.argv[0]} does not run here.")
        return process, pid

    def is_running(self) -> bool:
        """Whether keeper and engine live."""
        return self._keeper is not None and self._keeper.poll() is None

    def stop(self) -> None:
        """Stop it cleanly, by force after a while; nothing to do when it does not run."""
        if self._keeper is None:
            return
        self.let_go()
        try:
            self._keeper.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            # The kernel ends the engine with its keeper.
            self._keeper.kill()
            self._keeper.wait()

    def let_go(self) -> None:
        """Tell the keeper to stop the engine, and do not wait."""
        if self._keeper is not None and self._keeper.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._keeper.stdin.close()

    def kill(self, number: int) -> None:
        """Send a signal to the engine itself and, when that ends it, see its keeper end."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)
        if self._keeper is not None:
            self._keeper.wait(_STOP_SECONDS)
            self.let_go()

    def last_words(self) -> str:
        """The end of what it printed since its last start, on one line."""
        with self.log.open("rb") as log:
            log.seek(0 if self.log.stat().st_size < self._log_start else self._log_start)
            lines = log.read().decode(errors="replace").splitlines()
        return " | ".join(line.strip() for line in lines[-_LOG_TAIL_LINES:] if line.strip()) or "none"


def plain_environment(**more: str) -> dict[str, str]:
    """The few variables an engine may inherit: what the shell says to Java or PostgreSQL is not meant for it."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "TZ") if name in os.environ}
    return {**kept, "LC_ALL": "C.UTF-8", **more}
