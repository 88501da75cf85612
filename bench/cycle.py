"""The cycle of one message (send, list, fetch, receipt) at eight clients, through Todoke's own client."""

import concurrent.futures
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from bench.measured import Measured
from bench.messages import Sets, actuals_sets, office_numbers, plan_sets
from bench.meter import Meter
from bench.stand import Stand
from todoke.client import Client, MemoryStore, Upload
from todoke.client.session import Session

CLIENTS = 8
CYCLES_EACH = 40
WARM_UP_EACH = 5


def measure(home: Path) -> list[Measured]:
    """Run it in the two-process set-up of `todoke up`: with one file, as the peer has one body, and with three."""
    numbers = office_numbers(2 * CLIENTS)
    managers, providers = numbers[::2], numbers[1::2]
    offices = dict.fromkeys(managers, "43") | dict.fromkeys(providers, "11")
    rows = []
    with Stand(home, offices, split=False) as stand, concurrent.futures.ThreadPoolExecutor(CLIENTS) as threads:
        for what, senders, recipients, sets in (
            ("Todoke cycle, one file", providers, managers, actuals_sets),
            ("Todoke cycle, three files", managers, providers, plan_sets),
        ):
            pairs = [Pair(stand, one, other, sets) for one, other in zip(senders, recipients, strict=True)]
            list(threads.map(lambda pair: pair.run(WARM_UP_EACH), pairs))
            meter = Meter(stand.pids() | {"clients": os.getpid()})
            meter.start()
            began = time.perf_counter()
            seconds = [one for each in threads.map(lambda pair: pair.run(CYCLES_EACH), pairs) for one in each]
            took = time.perf_counter() - began
            cpu = meter.stop()
            rows.append(Measured(what, len(seconds), took, cpu, statistics.median(seconds), _p99(seconds)))
    return rows


class Pair:
    """One office that sends and one that collects."""

    def __init__(self, stand: Stand, sender: str, recipient: str, sets: Callable[[str, str, int], Sets]) -> None:
        self._sender, self._recipient = _client(stand, sender), _client(stand, recipient)
        self._messages = sets(sender, recipient, 20260901000000)

    def run(self, cycles: int) -> list[float]:
        """Seconds of each cycle."""
        return [self._cycle() for _ in range(cycles)]

    def _cycle(self) -> float:
        files = [Upload(name, data) for name, data in next(self._messages)]
        began = time.perf_counter()
        message_id = self._sender.send(files=files).message_id
        page = self._recipient.received(wait_for=f"{message_id}:delivered", limit=1)
        while not page.items or page.items[0].message_id != message_id:
            page = self._recipient.received(wait_for=f"{message_id}:delivered", limit=1)
        hashes = []
        for file in page.items[0].files:
            self._recipient.fetch_file(message_id, file.n, file.sha256)
            hashes.append(file.sha256)
        self._recipient.receipt(message_id, [one for one in hashes if one is not None])
        return time.perf_counter() - began


def _client(stand: Stand, office: str) -> Client:
    store = MemoryStore()
    store.save(Session.model_validate(_session(stand, office)))
    return Client(stand.address, store=store)


def _session(stand: Stand, office: str) -> dict[str, object]:
    return {
        "url": stand.address,
        "access_token": stand.tokens[office],
        "access_until": "2100-01-01T00:00:00Z",
        "refresh_token": "none",
        "refresh_until": "2100-01-01T00:00:00Z",
        "office": {"number": office, "name": office, "service_types": []},
    }


def _p99(seconds: list[float]) -> float:
    return sorted(seconds)[int(len(seconds) * 0.99)]
