"""The embedded engines: they start, keep what they acknowledged through kills, and end with whoever started them."""

import asyncio
import contextlib
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from minio import Minio

from todoke import engines
from todoke.engines import ENGINES, Addresses, EngineError, jars, keeper, ports
from todoke.engines.home import is_alive

GONE_SECONDS = 10.0
TOPIC = "trial"

PARENT = """
import sys, time
from pathlib import Path
from todoke import engines
running = engines.up(Path(sys.argv[1]))
print("up", flush=True)
time.sleep(600)
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


class Kept(NamedTuple):
    """What was found of what was written."""

    row: int | None
    record: bytes | None
    stored: bytes


async def write(at: Addresses, mark: str) -> None:
    """Have each engine acknowledge something."""
    connection = await asyncpg.connect(at.postgres)
    await connection.execute("create table if not exists trial (mark text primary key, n int)")
    await connection.execute("insert into trial values ($1, 7)", mark)
    await connection.close()
    admin = AIOKafkaAdminClient(bootstrap_servers=at.kafka)
    await admin.start()
    await admin.create_topics([NewTopic(TOPIC, num_partitions=1, replication_factor=1)])
    await admin.close()
    producer = AIOKafkaProducer(bootstrap_servers=at.kafka, acks="all")
    await producer.start()
    await _sent(producer, mark)
    await producer.stop()
    await asyncio.to_thread(_put, at, mark)


async def _sent(producer: AIOKafkaProducer, mark: str) -> None:
    # A topic exists a moment before its leader does; the producer asks again by itself.
    await producer.send_and_wait(TOPIC, mark.encode(), partition=0)


def _store(at: Addresses) -> Minio:
    host = at.s3.endpoint.removeprefix("http://")
    return Minio(host, at.s3.access_key, at.s3.secret_key, secure=False, region=at.s3.region)


def _put(at: Addresses, mark: str) -> None:
    _store(at).put_object(at.s3.bucket, mark, io.BytesIO(mark.encode()), len(mark))


def _get(at: Addresses, mark: str) -> bytes:
    answer = _store(at).get_object(at.s3.bucket, mark)
    try:
        return bytes(answer.data)
    finally:
        answer.close()
        answer.release_conn()


async def read(at: Addresses, mark: str) -> Kept:
    """Ask each engine for what it acknowledged."""
    connection = await asyncpg.connect(at.postgres)
    row = await connection.fetchval("select n from trial where mark = $1", mark)
    await connection.close()
    consumer = AIOKafkaConsumer(bootstrap_servers=at.kafka, enable_auto_commit=False)
    await consumer.start()
    partition = TopicPartition(TOPIC, 0)
    consumer.assign([partition])
    await consumer.seek_to_beginning(partition)
    found = None
    while found != mark.encode():
        found = (await asyncio.wait_for(consumer.getone(), 20)).value
    await consumer.stop()
    return Kept(row, found, await asyncio.to_thread(_get, at, mark))


def expected(mark: str) -> Kept:
    return Kept(7, mark.encode(), mark.encode())


@dataclass
class Parent:
    """Another program that started the engines of a home."""

    process: asyncio.subprocess.Process
    pids: list[int]


@contextlib.asynccontextmanager
async def parent_of(home: Path) -> AsyncIterator[Parent]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PARENT, str(home), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"up\n"
    try:
        yield Parent(process, [state.pid for state in engines.status(home)])
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def all_gone(pids: list[int]) -> None:
    """Wait until none of the processes lives; fails after ten seconds, the longest that we promise."""
    async with asyncio.timeout(GONE_SECONDS):
        while any(is_alive(pid) for pid in pids):  # noqa: ASYNC110 - other programs' ends send no event
            await asyncio.sleep(0.05)


@pytest.mark.long
async def test_what_is_acknowledged_survives_a_kill_of_each_engine(home: Path) -> None:
    with await asyncio.to_thread(engines.up, home) as running:
        await write(running.addresses, "before")
        before = running.addresses
        for name in ENGINES:
            running.kill(name)
            assert running.ended() == [name]
            assert running.wait(seconds=0) == name
            await asyncio.to_thread(running.start, name)
        assert running.ended() == []
        assert running.addresses == before
        assert await read(running.addresses, "before") == expected("before")


@pytest.mark.long
async def test_engines_end_with_a_killed_parent_and_the_home_starts_again(home: Path) -> None:
    async with parent_of(home) as parent:
        at = engines.addresses(home)
        await write(at, "kept")
        assert all(is_alive(pid) for pid in parent.pids)
        parent.process.kill()
        await parent.process.wait()
        # At once, while the old engines may still be ending: the new start waits for them.
        with await asyncio.to_thread(engines.up, home) as running:
            assert not any(is_alive(pid) for pid in parent.pids)
            assert await read(running.addresses, "kept") == expected("kept")
            second = list(running.pids.values())
        await all_gone(second)


@pytest.mark.long
async def test_a_killed_keeper_takes_its_engine_along(home: Path) -> None:
    with await asyncio.to_thread(engines.up, home, None, {"postgres", "s3"}) as running:
        for name in ("postgres", "s3"):
            os.kill(running._engines[name].keeper_pid, signal.SIGKILL)
        await all_gone(list(running.pids.values()))


@pytest.mark.long
async def test_two_homes_run_side_by_side(tmp_path: Path) -> None:
    with (
        await asyncio.to_thread(engines.up, tmp_path / "one") as one,
        await asyncio.to_thread(engines.up, tmp_path / "two") as two,
    ):
        await asyncio.gather(write(one.addresses, "one"), write(two.addresses, "two"))
        assert await read(two.addresses, "two") == expected("two")
        assert await read(one.addresses, "one") == expected("one")
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(two.addresses.postgres.replace("@", "x@"))


@pytest.mark.long
async def test_another_program_sees_and_stops_the_engines_of_a_home(home: Path) -> None:
    async with parent_of(home) as parent:
        states = engines.status(home)
        assert [(state.name, state.is_running) for state in states] == [(name, True) for name in ENGINES]
        with pytest.raises(EngineError, match=f"in use by a running program .process {parent.process.pid}."):
            engines.up(home)
        await asyncio.to_thread(engines.down, home)
        await all_gone(parent.pids)
        assert not any(state.is_running for state in engines.status(home))


@pytest.mark.long
def test_a_home_restarts_on_its_ports_and_secrets_are_for_the_owner_only(home: Path) -> None:
    with engines.up(home, only={"postgres"}) as running:
        first = running.addresses
    with engines.up(home, only={"postgres"}) as running:
        assert running.addresses == first
        open_files = [each.name for each in home.iterdir() if each.is_file() and each.stat().st_mode & 0o077]
        assert open_files == []
        assert home.stat().st_mode & 0o077 == 0


@pytest.mark.long
def test_a_left_over_pid_file_with_a_strangers_number_does_not_hinder(home: Path) -> None:
    with engines.up(home, only={"postgres"}) as running:
        running.kill("postgres")
        pid_file = home / "postgres" / "postmaster.pid"
        lines = pid_file.read_text().splitlines()
        pid_file.write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")
        running.start("postgres")
        assert running.ended() == []


def test_a_taken_port_is_named_in_one_sentence(home: Path) -> None:
    plan = ports.choose()
    with socket.socket() as taken:
        taken.bind((ports.LOOPBACK, plan.weed_filer))
        taken.listen()
        with pytest.raises(EngineError, match=rf"^Port {plan.weed_filer} \(weed_filer\) is taken by another program"):
            engines.up(home, plan)
    assert not (home / "engines.json").exists()


def test_a_remembered_port_that_is_taken_is_replaced() -> None:
    plan = ports.choose()
    with socket.socket() as taken:
        taken.bind((ports.LOOPBACK, plan.postgres))
        taken.listen()
        assert ports.settle(None, plan, ["kafka", "s3"]) == plan
        assert ports.settle(None, plan, ["postgres"]) != plan


@pytest.mark.parametrize(("written", "age"), [("0", "an older"), ("2", "another, probably newer,"), ("x", "another")])
def test_a_home_of_another_version_is_refused(home: Path, written: str, age: str) -> None:
    home.mkdir()
    (home / "home-version").write_text(written)
    with pytest.raises(EngineError, match=f"was written by {age}"):
        engines.up(home)


def test_a_nearly_full_disk_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(home.parent)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage._replace(free=900 << 20))
    with pytest.raises(EngineError, match="has 900 MiB left, and the engines need 1024 MiB"):
        engines.up(home)


def test_a_home_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EngineError, match=r"cannot be used: "):
        engines.up(tmp_path / "file" / "home")


def test_engines_that_do_not_run_have_no_addresses(home: Path) -> None:
    with pytest.raises(EngineError, match="No engines run on the home"):
        engines.addresses(home)
    engines.down(home)
    assert [state.is_running for state in engines.status(home)] == [False, False, False]


def test_an_engine_that_cannot_start_says_why(home: Path) -> None:
    with engines.up(home, only={"postgres"}):
        pass
    (home / "postgres" / "PG_VERSION").write_text("17\n")
    with pytest.raises(EngineError, match=r"postgres ended while starting.*incompatible"):
        engines.up(home, only={"postgres"})
    assert not engines.status(home)[1].is_running


def test_a_damaged_jar_is_fetched_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jars.class_path()
    for jar in (jars.cache_folder() / "kafka-jars").glob("*.jar"):
        (tmp_path / "kafka-jars").mkdir(exist_ok=True)
        (tmp_path / "kafka-jars" / jar.name).symlink_to(jar)
    damaged = jars.listed()[5]
    (tmp_path / "kafka-jars" / damaged.file_name).unlink()
    (tmp_path / "kafka-jars" / damaged.file_name).write_bytes(b"not a jar")
    fetched: list[jars.Jar] = []
    monkeypatch.setenv("TODOKE_CACHE", str(tmp_path))
    monkeypatch.setattr(jars, "_fetch", lambda missing, _folder: fetched.extend(missing))
    path = jars.class_path().split(os.pathsep)
    assert fetched == [damaged]
    assert len(path) == len(jars.listed()) == 46


def test_a_keeper_puts_a_long_log_aside_while_the_engine_runs(tmp_path: Path) -> None:
    log = tmp_path / "engine.log"
    prints = "while :; do head -c 3000000 /dev/zero | tr '\\0' x; sleep 0.1; done"
    spec = {
        "argv": ["/bin/sh", "-c", prints],
        "stop": [(signal.SIGTERM, 1.0)],
        "user": None,
        "env": {"PATH": os.environ["PATH"]},
        "cwd": str(tmp_path),
        "log": str(log),
    }
    kept = subprocess.Popen(
        [sys.executable, "-I", "-S", keeper.__file__, json.dumps(spec)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with kept:
        deadline = time.monotonic() + 20
        aside = tmp_path / "engine.log.1"
        while not (aside.exists() and aside.stat().st_size and log.stat().st_size < aside.stat().st_size):
            assert time.monotonic() < deadline
            assert kept.poll() is None
            time.sleep(0.05)
        kept.terminate()
