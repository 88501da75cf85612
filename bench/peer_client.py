"""Runs in the peer's virtual environment: eight mesh-clients, each sending to a mailbox of its own and collecting."""

import concurrent.futures
import json
import os
import statistics
import sys
import time

from mesh_client import MeshClient

BODY_BYTES = 10_420
"""As many as the files of Todoke's cycle have together."""

LISTED_SECONDS_MAX = 10.0


class Pair:
    """A mailbox that sends and one that collects."""

    def __init__(self, url: str, number: int) -> None:
        self._to = f"X26BENCH{2 * number + 1:02d}"
        self._sender = MeshClient(url, f"X26BENCH{2 * number:02d}", "password", shared_key=b"TestKey", verify=False)
        self._recipient = MeshClient(url, self._to, "password", shared_key=b"TestKey", verify=False)

    def run(self, cycles: int) -> list[float]:
        """Seconds of each cycle."""
        return [self._cycle() for _ in range(cycles)]

    def _cycle(self) -> float:
        body = os.urandom(BODY_BYTES)
        began = time.perf_counter()
        sent = self._sender.send_message(self._to, body, workflow_id="BENCH")
        while sent not in self._recipient.list_messages():  # it is accepted in a background task
            if time.perf_counter() - began > LISTED_SECONDS_MAX:
                raise RuntimeError("not listed")
        message = self._recipient.retrieve_message(sent)
        if message.read() != body:
            raise RuntimeError("other bytes")
        message.acknowledge()
        return time.perf_counter() - began


def main(url: str, clients: int, warm_up: int, cycles: int) -> None:
    """Warm up, say so, wait for the word, measure, print one line of JSON."""
    pairs = [Pair(url, number) for number in range(clients)]
    with concurrent.futures.ThreadPoolExecutor(clients) as threads:
        list(threads.map(lambda pair: pair.run(warm_up), pairs))
        print("warm", flush=True)
        sys.stdin.readline()
        began = time.perf_counter()
        seconds = sorted(one for each in threads.map(lambda pair: pair.run(cycles), pairs) for one in each)
        took = time.perf_counter() - began
    p99 = seconds[int(len(seconds) * 0.99)]
    result = {"count": len(seconds), "seconds": took, "p50": statistics.median(seconds), "p99": p99}
    print(json.dumps(result), flush=True)
    sys.stdin.readline()


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
