"""What a new user does: `todoke up --demo`, send the sample sets, collect them, Ctrl-C, and again the next day."""

import json
import socket
import subprocess
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from services import ground
from tests.ports import free_ports
from tests.spine.product import TODOKE, Product, wait_until_gone
from todoke import engines

SETS = 23
"""Sample sets of the national standard's practice material."""

MANAGER = "9970100018"

ENGINES_GONE_SECONDS = 20.0
"""api.md says ten; twice that on a machine that is busy with other tests."""


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """A home of its own, which these tests start and end."""
    made = Product(tmp_path_factory.mktemp("up") / "home")
    try:
        yield made
    finally:
        made.end()


def test_the_first_day_of_a_new_user_and_the_next(mine: Product, tmp_path: Path) -> None:
    mine.start()
    said = subprocess.run(
        [*TODOKE, "demo-files", str(tmp_path / "files"), "--json"], capture_output=True, text=True, check=True
    )
    folders: dict[str, list[str]] = defaultdict(list)
    recipients: dict[str, int] = defaultdict(int)
    for one in json.loads(said.stdout)["sets"]:
        folders[one["sender"]].append(one["folder"])
        recipients[one["recipient"]] += 1
    assert sum(map(len, folders.values())) == SETS

    for office in sorted(folders.keys() | recipients.keys()):
        mine.login(office)
    first = {office: mine.run("send", "--yes", *paths, office=office) for office, paths in folders.items()}
    assert [line["state"] for answer in first.values() for line in answer["messages"]] == ["sent"] * SETS
    until_status_of_all(mine, folders, "delivered")
    for office, count in recipients.items():
        fetched = mine.run("fetch", "--all", "--to", str(tmp_path / office), office=office)
        assert [line["state"] for line in fetched["messages"]] == ["downloaded"] * count
        assert_same_bytes(tmp_path / "files", fetched)
    until_status_of_all(mine, folders, "downloaded")

    again = {office: mine.run("send", "--yes", *paths, office=office) for office, paths in folders.items()}
    assert ids(again) == ids(first)
    assert {line["state"] for answer in again.values() for line in answer["messages"]} == {"already_sent"}

    family = mine.family()
    assert mine.interrupt() == 0
    assert wait_until_gone(family, 1) == []
    mine.start()
    until_status_of_all(mine, folders, "downloaded")

    family = mine.family()
    mine.kill()
    assert wait_until_gone(family, ENGINES_GONE_SECONDS) == []
    mine.start()
    until_status_of_all(mine, folders, "downloaded")


def test_an_engine_that_is_somebody_elses_is_used_and_not_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs, ours = tmp_path / "theirs", Product(tmp_path / "ours")
    with engines.up(theirs, only={"postgres"}) as running:
        monkeypatch.setenv("TODOKE_POSTGRES", running.addresses.postgres.removesuffix("/postgres") + "/elsewhere")
        try:
            ours.start()
            ours.login(MANAGER)
            assert ours.run("offices", "9970100117", office=MANAGER)["items"]
            assert {one.name: one.is_running for one in engines.status(ours.home)} == {
                "kafka": True,
                "postgres": False,
                "s3": True,
            }
        finally:
            ours.end()
        monkeypatch.delenv("TODOKE_POSTGRES")
        with pytest.raises(engines.EngineError, match="TODOKE_KAFKA, TODOKE_S3"):
            ground.settings_of(theirs, "http://127.0.0.1:1")


def test_a_taken_port_is_said_in_one_sentence(tmp_path: Path) -> None:
    port = free_ports()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port + 1))
        taken.listen()
        done = subprocess.run(
            [*TODOKE, "up", "--home", str(tmp_path), "--port", str(port)],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.strip().splitlines() == [
        f"todoke: port {port + 1} is taken: stop what uses it or choose another with --port"
    ]


def test_a_home_in_use_is_said_in_one_sentence(product: Product) -> None:
    done = subprocess.run(
        [*TODOKE, "up", "--home", str(product.home), "--port", str(free_ports())],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1
    assert "in use by a running program" in done.stderr


def test_a_killed_child_is_started_again(product: Product) -> None:
    for name in ("web", "work"):
        child = next(one for one in product.family()[1:] if f"--role {name}" in command_of(one))
        child.kill()
        until_answering(product, not_from=child.pid)


def until_answering(product: Product, *, not_from: int) -> None:
    """Until the product is ready and the killed child has a successor."""
    end = time.monotonic() + 120
    while True:
        roles = [command_of(one) for one in product.family()[1:] if one.pid != not_from]
        try:
            ready = httpx.get(f"{product.address}/health/ready", timeout=10).json()["status"] == "ready"
        except httpx.HTTPError:
            ready = False
        if ready and all(any(f"--role {name}" in line for line in roles) for name in ("web", "work")):
            return
        assert time.monotonic() < end, "no successor"
        time.sleep(0.2)


def command_of(process: psutil.Process) -> str:
    """Its command line; nothing when it has ended meanwhile."""
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


def sent(product: Product, office: str) -> list[dict[str, str]]:
    """`todoke sent --all`."""
    answer = product.run("sent", "--all", office=office)
    items: list[dict[str, str]] = answer["items"]
    return items


def until_status_of_all(product: Product, folders: dict[str, list[str]], status: str) -> None:
    """Until every message that was sent has this status in the list of its sender."""
    end = time.monotonic() + 200
    for office, paths in folders.items():
        while (found := [item["status"] for item in sent(product, office)]) != [status] * len(paths):
            assert time.monotonic() < end, f"{office}: not all {status}: {found}"


def ids(answers: dict[str, dict[str, list[dict[str, str]]]]) -> set[str]:
    """Message ids that `todoke send` told."""
    return {line["message_id"] for answer in answers.values() for line in answer["messages"]}


def assert_same_bytes(files: Path, fetched: dict[str, list[dict[str, list[str]]]]) -> None:
    """What was fetched is what was sent, by name and byte."""
    originals = {path.name: path.read_bytes() for path in files.rglob("*") if path.is_file()}
    for line in fetched["messages"]:
        for path in map(Path, line["files"]):
            assert path.read_bytes() == originals[path.name]
