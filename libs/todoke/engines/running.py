"""Starting, watching and stopping the engines of a home."""

import contextlib
import os
import signal
import time
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from todoke.engines import ports as port_plans
from todoke.engines.home import Home, State, is_alive
from todoke.engines.kafka import Kafka
from todoke.engines.model import ENGINES, Addresses, EngineError, PortPlan, S3Address
from todoke.engines.postgres import Postgres
from todoke.engines.process import Engine
from todoke.engines.seaweed import BUCKET, REGION, Seaweed

_PASSWORD = "postgres-password"  # noqa: S105 - the name of a file
_ACCESS_KEY = "s3-access-key"
_SECRET_KEY = "s3-secret-key"  # noqa: S105 - the name of a file
_DOWN_SECONDS = 12.0
_WATCH_SECONDS = 0.2


@dataclass(frozen=True)
class EngineStatus:
    """One engine of a home as another process sees it.

    Attributes:
        name: one of `ENGINES`.
        is_running: whether its process lives.
        pid: its process id at the last start, 0 when it never ran.
        address: where it listens (or did), without any secret.
    """

    name: str
    is_running: bool
    pid: int
    address: str


class Running:
    """The engines of a home, started by this process; use it in a `with`, or call `down`.

    Args:
        home: the prepared home.
        lock: its lock, held by this process.
        engines: name → engine, not yet started.
        ports: the plan they use.
    """

    def __init__(self, home: Home, lock: int, engines: dict[str, Engine], ports: PortPlan) -> None:
        self._home = home
        self._lock = lock
        self._engines = engines
        self._ports = ports
        self._is_down = False
        self.addresses = _addresses(home, ports)

    @property
    def pids(self) -> dict[str, int]:
        """Engine name → process id of the engine itself (not of its keeper)."""
        return {name: engine.pid for name, engine in self._engines.items()}

    def start(self, name: str) -> None:
        """Start one engine again, on the same port and data; nothing to do when it runs.

        Raises:
            EngineError: it does not start.
        """
        engine = self._engines[name]
        if not engine.is_running():
            engine.start()
            self._write_state()

    def kill(self, name: str) -> None:
        """End one engine with SIGKILL, as a crash would."""
        self._engines[name].kill(signal.SIGKILL)

    def ended(self) -> list[str]:
        """The engines that were started and do not run any more."""
        return [name for name, engine in self._engines.items() if not engine.is_running()]

    def wait(self, seconds: float | None = None) -> str | None:
        """Wait until an engine ends; its name, or None when the seconds have passed first."""
        deadline = None if seconds is None else time.monotonic() + seconds
        while not (ended := self.ended()):
            if deadline is not None and time.monotonic() > deadline:
                return None
            time.sleep(_WATCH_SECONDS)
        return ended[0]

    def down(self) -> None:
        """Stop all engines cleanly, at the same time, within ten seconds; the home can be used again afterwards."""
        if self._is_down:
            return
        self._is_down = True
        for engine in self._engines.values():
            engine.let_go()
        for engine in self._engines.values():
            engine.stop()
        self._home.remember(State(owner=0, ports=self._ports))
        os.close(self._lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.down()

    def _start_all(self) -> None:
        with ThreadPoolExecutor(len(self._engines) or 1) as pool:
            starts = [pool.submit(engine.start) for engine in self._engines.values()]
            # A Ctrl-C while they start waits here for them; `up` then stops what has come up.
            errors = [start.exception() for start in starts]
        for error in errors:
            if error is not None:
                raise error
        self._write_state()

    def _write_state(self) -> None:
        keepers = {name: engine.keeper_pid for name, engine in self._engines.items()}
        self._home.remember(State(owner=os.getpid(), ports=self._ports, keepers=keepers, pids=self.pids))


def up(home: Path, ports: PortPlan | None = None, only: set[str] | None = None) -> Running:
    """Start the engines of a home at the same time and wait until all of them serve.

    Args:
        home: folder of their data, made when missing; one program at a time may use it.
        ports: where to listen; by default where the last start did, as far as free, else on free ports.
        only: names of the engines wanted, all three by default.

    Raises:
        EngineError: with one sentence: port taken, disk full, home in use or of another version, engine broken.
    """
    names = [name for name in ENGINES if only is None or name in only]
    place = Home(home)
    place.prepare()
    lock = place.lock()
    try:
        last = place.state()
        plan = port_plans.settle(ports, last.ports if last else None, names)
        place.remember(State(owner=os.getpid(), ports=plan))
        running = Running(place, lock, {name: _engine(name, place, plan, lock) for name in names}, plan)
    except BaseException:
        os.close(lock)
        raise
    try:
        running._start_all()  # noqa: SLF001 - the other half of this class
    except BaseException:
        running.down()
        raise
    return running


def addresses(home: Path, wanted: Collection[str] = ENGINES) -> Addresses:
    """Where the engines of a home listen, for a process that did not start them; what is not wanted is not looked at.

    Raises:
        EngineError: this home never ran, or the wanted ones do not run now.
    """
    place = Home(home)
    state = place.state()
    if state is None or not state.keepers:
        raise EngineError(
            f"No engines run on the home {place.path}: start them with `todoke up` or `todoke engines up`."
        )
    if missing := sorted(set(wanted) - state.keepers.keys()):
        settings = ", ".join(f"TODOKE_{name.upper()}" for name in missing)
        raise EngineError(
            f"The home {place.path} runs without {', '.join(missing)}: say with {settings} where they are."
        )
    return _addresses(place, state.ports)


def status(home: Path) -> list[EngineStatus]:
    """How the engines of a home are, seen from any process."""
    state = Home(home).state()
    if state is None:
        return [EngineStatus(name, is_running=False, pid=0, address="") for name in ENGINES]
    main_ports = {"kafka": state.ports.kafka, "postgres": state.ports.postgres, "s3": state.ports.s3}
    return [
        EngineStatus(
            name,
            is_running=is_alive(state.keepers.get(name, 0)) and is_alive(state.pids.get(name, 0)),
            pid=state.pids.get(name, 0),
            address=f"{port_plans.LOOPBACK}:{main_ports[name]}",
        )
        for name in ENGINES
    ]


def down(home: Path) -> None:
    """Stop the engines of a home from another process than the one that started them; nothing to do when none run.

    Raises:
        EngineError: they do not end.
    """
    place = Home(home)
    state = place.state()
    if state is None or not place.is_locked():
        return
    for pid in state.keepers.values():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + _DOWN_SECONDS
    while any(is_alive(pid) for pid in state.keepers.values()):
        if time.monotonic() > deadline:
            raise EngineError(f"The engines of {place.path} do not end; their process ids are {state.pids}.")
        time.sleep(_WATCH_SECONDS)


def _addresses(home: Home, ports: PortPlan) -> Addresses:
    password = home.secret(_PASSWORD)
    return Addresses(
        kafka=f"{port_plans.LOOPBACK}:{ports.kafka}",
        postgres=f"postgresql://postgres:{password}@{port_plans.LOOPBACK}:{ports.postgres}/postgres",
        s3=S3Address(
            endpoint=f"http://{port_plans.LOOPBACK}:{ports.s3}",
            access_key=home.secret(_ACCESS_KEY),
            secret_key=home.secret(_SECRET_KEY),
            bucket=BUCKET,
            region=REGION,
        ),
    )


def _engine(name: str, home: Home, ports: PortPlan, lock: int) -> Engine:
    folder = home.path / name
    if name == "kafka":
        return Kafka(folder, ports, lock)
    if name == "postgres":
        home.secret(_PASSWORD)
        return Postgres(folder, ports, lock, home.path / _PASSWORD)
    return Seaweed(folder, ports, lock, home.secret(_ACCESS_KEY), home.secret(_SECRET_KEY))
