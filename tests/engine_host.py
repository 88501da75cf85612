"""Holds the engines of one test run: a program of its own, ended by the end of the process that it is told to watch.

`python engine_host.py RUN PID`: starts the engines in RUN/home, writes their addresses to RUN/addresses.json, waits.
With `TODOKE_TEST_ENGINES=containers` it asks Docker for the three engines instead of starting the embedded ones.
"""

import contextlib
import json
import os
import select
import shutil
import signal
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from todoke import engines
from todoke.engines import Addresses, S3Address

HOME = "home"
PID = "host.pid"
READY = "addresses.json"
FAILED = "failed"


def read(run: Path) -> Addresses:
    """The addresses that the host of this run has written."""
    raw = json.loads((run / READY).read_text())
    return Addresses(kafka=raw["kafka"], postgres=raw["postgres"], s3=S3Address(**raw["s3"]))


def _write(run: Path, addresses: Addresses) -> None:
    part = run / ".addresses"
    part.touch(mode=0o600)
    part.write_text(json.dumps(asdict(addresses)))
    part.rename(run / READY)


@contextlib.contextmanager
def _embedded(home: Path) -> Iterator[Addresses]:
    with engines.up(home) as running:
        yield running.addresses


@contextlib.contextmanager
def _containers() -> Iterator[Addresses]:
    """The same engines from images; testcontainers' reaper removes them even when this process is killed."""
    from testcontainers.core.container import DockerContainer  # noqa: PLC0415 - only where Docker is
    from testcontainers.core.waiting_utils import wait_for_logs  # noqa: PLC0415 - only where Docker is
    from testcontainers.kafka import KafkaContainer  # noqa: PLC0415 - only where Docker is
    from testcontainers.postgres import PostgresContainer  # noqa: PLC0415 - only where Docker is

    weed = DockerContainer("chrislusf/seaweedfs:4.48").with_exposed_ports(8333).with_env("AWS_ACCESS_KEY_ID", "test")
    weed = weed.with_env("AWS_SECRET_ACCESS_KEY", "practice-secret").with_command("server -s3 -filer")
    with (
        KafkaContainer("confluentinc/cp-kafka:8.0.0").with_kraft() as kafka,
        PostgresContainer("postgres:18", username="postgres", password="practice", dbname="postgres") as postgres,
        weed as s3,
    ):
        wait_for_logs(s3, "Start Seaweed S3 API Server", timeout=60)
        yield Addresses(
            kafka=kafka.get_bootstrap_server(),
            postgres=postgres.get_connection_url(driver=None),
            s3=S3Address(
                endpoint=f"http://{s3.get_container_host_ip()}:{s3.get_exposed_port(8333)}",
                access_key="test",
                secret_key="practice-secret",
                bucket="todoke",
                region="us-east-1",
            ),
        )


def _wait_for_end_of(pid: int) -> None:
    """Until the process is gone, or this one is told to end."""
    woken, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: None)
    with contextlib.suppress(ProcessLookupError):
        watched = os.pidfd_open(pid)
        select.select([watched, woken], [], [])


def _main(run: Path, watched: int) -> None:
    home = run / HOME
    home.mkdir(exist_ok=True)
    started = _containers() if os.environ.get("TODOKE_TEST_ENGINES") == "containers" else _embedded(home)
    with started as addresses:
        _write(run, addresses)
        _wait_for_end_of(watched)
    shutil.rmtree(home, ignore_errors=True)
    if not Path(f"/proc/{watched}").exists():
        shutil.rmtree(run, ignore_errors=True)


if __name__ == "__main__":
    try:
        _main(Path(sys.argv[1]), int(sys.argv[2]))
    except engines.EngineError as error:
        sys.exit(str(error))
