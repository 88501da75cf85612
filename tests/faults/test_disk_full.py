"""The disk of the home fills while people work: a refusal in time, nothing lost, and everything comes back by itself.

The home lies on a small file system in memory, whose size the tests change under the running product.
"""

import contextlib
import ctypes
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from services.supervisor import FREE_BYTES_MIN
from tests.spine.product import Product, until_status
from todoke.relay import room
from todoke.relay.room import LOOK_SECONDS

pytestmark = pytest.mark.long

MANAGER, PROVIDER = "9970100018", "9970100117"
WIDE = 2 << 30
"""Enough to start on: a new home asks for one gibibyte. Only what is written takes memory."""

LOW = (room.FREE_BYTES_MIN + FREE_BYTES_MIN) // 2
"""Left on the disk: too little to take anything new, enough to start an engine."""

ANSWER_SECONDS_MAX = 10.0
REMOUNT = 32
OK, ACCEPTED, AWAY = 200, 202, 503


class Disk:
    """A file system of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._mount(0, WIDE)

    def _mount(self, flags: int, size: int) -> None:
        words = (b"tmpfs", str(self.folder).encode(), b"tmpfs", flags, f"size={size}".encode())
        if self._libc.mount(*words) != 0:
            raise OSError(ctypes.get_errno(), "mount")

    def leave(self, free: int) -> None:
        """Make it so small that only so many bytes are free."""
        found = os.statvfs(self.folder)
        self._mount(REMOUNT, (found.f_blocks - found.f_bfree) * found.f_frsize + free)

    def widen(self) -> None:
        """Make room again."""
        self._mount(REMOUNT, WIDE)

    def end(self) -> None:
        """Take it away."""
        self._libc.umount2(str(self.folder).encode(), 2)


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Disk]:
    """The disk of the home."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a file system; a quota that others could set does not make a disk full")
    made = Disk(tmp_path_factory.mktemp("disk"))
    try:
        yield made
    finally:
        made.end()


@pytest.fixture(scope="module")
def product(disk: Disk) -> Iterator[Product]:
    """`todoke up --demo` on that disk."""
    made = Product(disk.folder / "home")
    try:
        made.start()
        until_status(made.address)
        yield made
    finally:
        disk.widen()
        made.end()


class Office:
    """An office's requests, each with ten seconds for its answer."""

    def __init__(self, product: Product, number: str) -> None:
        self.http = httpx.Client(base_url=product.address, timeout=ANSWER_SECONDS_MAX)
        c_id, c_password, kj_id, kj_password = product.login_of(number)
        step = self.http.post("/v1/session/system", json={"user_id": c_id, "password": c_password}).json()
        self.http.headers["Authorization"] = f"Bearer {step['step_token']}"
        whole = self.http.post("/v1/session/office", json={"user_id": kj_id, "password": kj_password}).json()
        self.http.headers["Authorization"] = f"Bearer {whole['access_token']}"

    def close(self) -> None:
        """End the connections."""
        self.http.close()

    def send(self, key: str) -> httpx.Response:
        """A message of text alone."""
        body = f'{{"recipient": "{PROVIDER}", "text": "{key}"}}'
        return self.http.post(
            "/v1/messages",
            headers={"Idempotency-Key": key},
            files=[("message", (None, body.encode(), "application/json"))],
        )

    def received(self) -> list[dict[str, Any]]:
        """The whole list, in its order."""
        items: list[dict[str, Any]] = self.http.get("/v1/received?since=0&limit=200").json()["items"]
        return items


def until(holds: Callable[[], bool], what: str, seconds: float = 120.0) -> None:
    """Ask again and again; what is away meanwhile is no answer yet."""
    end = time.monotonic() + seconds
    while True:
        try:
            if holds():
                return
        except (httpx.HTTPError, KeyError, ValueError):
            pass
        assert time.monotonic() < end, what
        time.sleep(0.2)


def engine(product: Product, name: str) -> psutil.Process:
    """The engine's own process."""
    mine = [each for each in product.family() if name in " ".join(each.cmdline())]
    return min((each for each in mine if "keeper.py" not in " ".join(each.cmdline())), key=lambda each: each.pid)


def test_a_full_disk_is_a_refusal_in_time_and_costs_nothing(disk: Disk, product: Product) -> None:
    with (
        contextlib.closing(Office(product, MANAGER)) as manager,
        contextlib.closing(Office(product, PROVIDER)) as provider,
    ):
        fill_and_free(disk, product, manager, provider)


def fill_and_free(disk: Disk, product: Product, manager: Office, provider: Office) -> None:
    """The story of a disk that fills and is made wide again."""
    accepted = [manager.send("before").json()["message_id"]]
    until(lambda: len(provider.received()) == 1, "the first message arrives")

    disk.leave(LOW)
    time.sleep(LOOK_SECONDS + 0.1)  # one look at the disk is believed so long
    refused = manager.send("low")
    assert refused.status_code == AWAY
    assert int(refused.headers["Retry-After"]) > 0
    assert refused.json()["code"] == "TDK-ENGINE-AWAY"
    health = manager.http.get("/health/ready")
    assert (health.status_code, health.json()["parts"]["disk"]) == (OK, "full")
    assert len(provider.received()) == 1  # what is there can be read and fetched meanwhile

    disk.leave(0)
    engine(product, "postgres").kill()
    until(lambda: bool(re.search(r"the disk of .* is full", product.words())), "a sentence says what to do")
    away = manager.send("full")
    assert away.status_code == AWAY
    assert int(away.headers["Retry-After"]) > 0

    disk.widen()
    until(lambda: manager.http.get("/health/ready").json()["status"] == "ready", "everything comes back")
    for key in ("low", "full", "after"):
        answer = manager.send(key)
        assert answer.status_code == ACCEPTED, answer.text
        accepted.append(answer.json()["message_id"])
    until(lambda: len(provider.received()) == len(accepted), "all arrive")
    items = provider.received()
    assert [item["message_id"] for item in items] == accepted
    assert [item["delivery_no"] for item in items] == [1, 2, 3, 4]
