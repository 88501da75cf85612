"""A flood: one office (or nobody) asks as fast as it can over many connections; a program of its own.

`python flooding.py` reads one JSON object from its standard input: `port`, `connections`, and `requests`, each with
`method`, `path`, `headers` and, for an upload, `message` and `files`. It says `on` with the first answer, floods until
its standard input ends, then prints how often each status came. Requests are made once and sent as bytes: a flood must
cost its sender little.
"""

import asyncio
import itertools
import json
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

BOUNDARY = "todoke-flood"
KEY = b"idempotency-key-of-the-flood-000"
"""Stands in a request for a key of its own: as many characters as any number written below."""

GONE_SECONDS = 0.01
"""Before a lost connection is opened anew."""

HEAD_BYTES_MAX = 1 << 16


def request(
    method: str,
    path: str,
    headers: Mapping[str, str],
    message: Mapping[str, Any] | None = None,
    files: Sequence[tuple[str, bytes]] = (),
) -> bytes:
    """A whole HTTP/1.1 request; `KEY` stands where each sending puts a key of its own."""
    body = b""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", *(f"{name}: {value}" for name, value in headers.items())]
    if message is not None:
        parts = [
            ("form-data; name=message\r\nContent-Type: application/json", json.dumps(message).encode()),
            *((f'form-data; name=files; filename="{name}"', data) for name, data in files),
        ]
        for disposition, data in parts:
            body += f"--{BOUNDARY}\r\nContent-Disposition: {disposition}\r\n\r\n".encode() + data + b"\r\n"
        body += f"--{BOUNDARY}--\r\n".encode()
        lines += [f"Content-Type: multipart/form-data; boundary={BOUNDARY}", f"Idempotency-Key: {KEY.decode()}"]
    if body or method in ("POST", "PUT"):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


class Line:
    """One connection that is opened when it is needed."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, whole: bytes) -> int:
        """Send a request and read its answer; its status. Raises `OSError`, `EOFError` when the connection is lost."""
        try:
            if self._streams is None:
                self._streams = await asyncio.open_connection("127.0.0.1", self._port)
            reader, writer = self._streams
            writer.write(whole)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = head.partition(b"content-length:")[2].partition(b"\r\n")[0]
            if length:
                await reader.readexactly(int(length))
            elif b"transfer-encoding: chunked" in head:
                while await reader.readuntil(b"\r\n") != b"0\r\n":
                    pass
                await reader.readuntil(b"\r\n")
            if b"connection: close" in head:
                self.close()
            return int(head.split(b" ", 2)[1])
        except (OSError, EOFError):
            self.close()
            raise

    def close(self) -> None:
        """Close it."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


class Flood:
    """Many connections, each with its next request as soon as the last one is answered."""

    def __init__(self, port: int, requests: Sequence[bytes]) -> None:
        self._port = port
        self._requests = requests
        self._keys = itertools.count(time.time_ns())
        self.seen: Counter[str] = Counter()
        self.answered = asyncio.Event()

    async def run(self, connections: int) -> None:
        """Until cancelled."""
        await asyncio.gather(*(self._connection(number) for number in range(connections)))

    async def _connection(self, number: int) -> None:
        line = Line(self._port)
        for whole in itertools.islice(itertools.cycle(self._requests), number, None):
            try:
                self.seen[str(await line.ask(self.with_own_key(whole)))] += 1
                self.answered.set()
            except (OSError, EOFError):
                self.seen["lost"] += 1
                await asyncio.sleep(GONE_SECONDS)

    def with_own_key(self, whole: bytes) -> bytes:
        """The request with a key that no other one has."""
        at = whole.find(KEY, 0, HEAD_BYTES_MAX)
        key = f"{next(self._keys):0{len(KEY)}}".encode()
        return whole if at < 0 else whole[:at] + key + whole[at + len(KEY) :]


async def _main() -> None:
    told = json.loads(sys.stdin.readline())
    requests = [
        request(
            each["method"],
            each["path"],
            each["headers"],
            each.get("message"),
            [(name, b"\0" * size) for name, size in each.get("files", ())],
        )
        for each in told["requests"]
    ]
    flood = Flood(told["port"], requests)
    running = asyncio.create_task(flood.run(told["connections"]))
    await flood.answered.wait()
    print("on", flush=True)  # noqa: T201 (whoever started it waits for this)
    await asyncio.to_thread(sys.stdin.read)
    running.cancel()
    print(json.dumps(flood.seen), flush=True)  # noqa: T201 (the account is what it prints)


if __name__ == "__main__":
    asyncio.run(_main())
