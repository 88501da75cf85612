"""`todoke watch` between two offices, killed again and again: each message goes once, and arrives once and whole."""

import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from careplan import parse_name, sample_sets
from tests.spine.product import TODOKE, Product
from todoke.client import Client

SENDER, RECIPIENT = "9970100018", "9970100216"
MESSAGES = 6
KILLS = 5
SECONDS_MAX = 150


def fill(outgoing: Path) -> dict[str, dict[str, bytes]]:
    """Put messages into the folder, one after the other as software writes them; sequence → name → bytes."""
    sent: dict[str, dict[str, bytes]] = {}
    for n in range(MESSAGES):
        sequence = f"2024040112{n:02d}00"
        files: dict[str, bytes] = {}
        for name, content in sample_sets()["202407/plan_67_to_provider_b"]:
            parsed = parse_name(name)
            assert parsed is not None
            files[name.replace(parsed.sequence, sequence)] = content
        sent[sequence] = files
    outgoing.mkdir(parents=True)
    for files in sent.values():
        for name, content in files.items():
            (outgoing / f"{name}.part").write_bytes(content)
            (outgoing / f"{name}.part").rename(outgoing / name)
    return sent


class Watchers:
    """One for each side, started and killed together."""

    def __init__(self, product: Product, outgoing: Path, incoming: Path) -> None:
        self.sides = {SENDER: ("--out", str(outgoing)), RECIPIENT: ("--in", str(incoming))}
        self.home = str(product.home)
        self.log = outgoing.parent / "watchers.log"
        self.running: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Start both."""
        with self.log.open("ab") as log:
            for office, side in self.sides.items():
                words = ("watch", *side, "--settle", "0.2", "--demo", self.home, "--office", office)
                self.running.append(
                    subprocess.Popen([*TODOKE, *words], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
                )

    def end(self, number: signal.Signals) -> list[int]:
        """End both with this signal; answers their exit codes."""
        for one in self.running:
            one.send_signal(number)
        codes = [one.wait(30) for one in self.running]
        self.running.clear()
        return codes


def test_killed_watchers_send_and_receive_each_message_once(product: Product, tmp_path: Path) -> None:
    outgoing, incoming = tmp_path / "out", tmp_path / "in"
    sent = fill(outgoing)
    watchers = Watchers(product, outgoing, incoming)
    moments = random.Random()  # noqa: S311 (when to kill)
    for _ in range(KILLS):
        watchers.start()
        time.sleep(moments.uniform(0.8, 2.5))
        watchers.end(signal.SIGKILL)
    watchers.start()
    try:
        end = time.monotonic() + SECONDS_MAX
        while not (arrived(incoming).keys() >= sent.keys() and put_away(outgoing) == MESSAGES):
            assert time.monotonic() < end, watchers.log.read_text()
            time.sleep(0.2)
    finally:
        codes = watchers.end(signal.SIGTERM)
    assert codes == [0, 0], watchers.log.read_text()
    assert {name: files for name, files in arrived(incoming).items() if name in sent} == sent
    assert not list(outgoing.glob("*.CSV"))
    with Client(product.address) as client:
        client.login(*product.login_of(SENDER))
        for sequence in sent:
            [item] = client.sent(sequence=sequence).items
            assert item.status == "downloaded"


def put_away(outgoing: Path) -> int:
    """How many messages lie among the sent ones."""
    return len(list(outgoing.glob("送信済み/*/受付証.jws")))


def arrived(incoming: Path) -> dict[str, dict[str, bytes]]:
    """Sequence → name → bytes of each message folder; fails when one is there twice."""
    found: dict[str, dict[str, bytes]] = {}
    for folder in incoming.glob("[0-9]*"):
        sequence = folder.name.split("_")[1]
        if sequence in found:
            pytest.fail(f"{sequence} arrived twice")
        found[sequence] = {path.name: path.read_bytes() for path in folder.glob("*.[Cc][Ss][Vv]")}
    return found
