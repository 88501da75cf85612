"""What every test may lean on: the engines of this run, and the meaning of the markers.

One set of real engines serves a whole test run. The first worker that asks for it starts a host process
(`engine_host.py`), which watches the run's first process and ends the engines when that is gone, however it went. A
test that kills engines starts a set of its own with `todoke.engines.up`.
"""

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from todoke.engines import Addresses

from . import engine_host

_RUN = "TODOKE_TEST_RUN"
"""Environment variable: the folder of this test run, the same for all its workers."""

Alone = Callable[[str], contextlib.AbstractContextManager[None]]

_LONG_SECONDS = 300
_START_SECONDS = 120.0
_END_SECONDS = 15.0


def _is_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")


def pytest_configure(config: pytest.Config) -> None:
    """Give the run a folder before its workers start; they inherit the variable."""
    if not _is_worker(config):
        os.environ[_RUN] = tempfile.mkdtemp(prefix="todoke-tests-")


def pytest_unconfigure(config: pytest.Config) -> None:
    """End the engines of the run, and remove its folder."""
    if _is_worker(config):
        return
    run = Path(os.environ.pop(_RUN))
    with contextlib.suppress(FileNotFoundError, ProcessLookupError, ValueError):
        host = int((run / engine_host.PID).read_text())
        os.kill(host, signal.SIGTERM)
        deadline = time.monotonic() + _END_SECONDS
        while (run / engine_host.HOME).exists() and time.monotonic() < deadline:
            time.sleep(0.05)
    shutil.rmtree(run, ignore_errors=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test marked `long` or `soak` may take longer; its own `timeout` mark still wins."""
    for item in items:
        if item.get_closest_marker("timeout") is None:
            if item.get_closest_marker("long") is not None:
                item.add_marker(pytest.mark.timeout(_LONG_SECONDS))
            if item.get_closest_marker("soak") is not None:
                item.add_marker(pytest.mark.timeout(0))


@contextlib.contextmanager
def _alone(file: Path) -> Iterator[None]:
    with file.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def alone() -> Alone:
    """Gives, by name, a lock that one worker of the run holds at a time."""
    run = Path(os.environ[_RUN])
    return lambda name: _alone(run / f"{name}.lock")


@pytest.fixture(scope="session")
def engines() -> Addresses:
    """Addresses of real Kafka, PostgreSQL and S3, shared by all tests of the run. A missing engine is a failure."""
    run = Path(os.environ[_RUN])
    with _alone(run / "starting"):
        if not (run / engine_host.READY).exists() and not (run / engine_host.FAILED).exists():
            _start_host(run)
    if (run / engine_host.FAILED).exists():
        pytest.fail(
            "The engines of this test run do not start: " + (run / engine_host.FAILED).read_text(), pytrace=False
        )
    return engine_host.read(run)


def _start_host(run: Path) -> None:
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    first = os.getppid() if worker else os.getpid()
    with (run / "host.log").open("wb") as log:
        host = subprocess.Popen(
            [sys.executable, engine_host.__file__, str(run), str(first)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    (run / engine_host.PID).write_text(str(host.pid))
    deadline = time.monotonic() + _START_SECONDS
    while not (run / engine_host.READY).exists():
        if (code := host.poll()) is not None:
            said = (run / "host.log").read_text(errors="replace").strip()
            (run / engine_host.FAILED).write_text(said or f"the host of the engines ended with {code}")
            return
        if time.monotonic() > deadline:
            host.terminate()
            (run / engine_host.FAILED).write_text(f"not ready within {_START_SECONDS:.0f} s")
            return
        time.sleep(0.05)
    # It outlives this worker on purpose: the run's first process ends it.
    host.returncode = 0


@pytest.fixture(scope="session")
def run_home() -> Path:
    """A folder of keys for the whole run: role passwords belong to the server, so all workers must derive the same."""
    home = Path(os.environ[_RUN]) / "keys-home"
    home.mkdir(exist_ok=True)
    return home
