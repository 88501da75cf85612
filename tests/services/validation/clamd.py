"""A stand-in for clamd: a real server on a real socket that speaks its protocol, well or badly."""

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

EICAR = b"".join((rb"X5O!P%@AP[4\PZX54(P^)", b"7CC)7}$", b"EICAR-STANDARD-", b"ANTIVIRUS-TEST-FILE!", b"$H+H*"))
"""The harmless test file that every scanner calls a virus; in one piece it would make scanners refuse this source."""


class Clamd:
    """What it is to do, and what it was given."""

    def __init__(self) -> None:
        self.behaviour = "well"
        self.stream_max = 25 * 1024 * 1024
        self.scanned: list[bytes] = []
        self.pings = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await self._answer(reader, writer)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        command = await reader.readuntil(b"\0")
        if self.behaviour == "silence":
            await reader.read()
            return
        if command == b"zPING\0":
            self.pings += 1
            writer.write(b"PONG\0" if self.behaviour != "garbage" else b"\xff\xfe\0")
        elif command == b"zINSTREAM\0":
            await self._scan(reader, writer)
        else:
            writer.write(b"UNKNOWN COMMAND\0")
        await writer.drain()

    async def _scan(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        data = b""
        while (length := struct.unpack(">I", await reader.readexactly(4))[0]) > 0:
            data += await reader.readexactly(length)
            if self.behaviour == "dies in the middle":
                return
            if len(data) > self.stream_max:
                writer.write(b"INSTREAM size limit exceeded. ERROR\0")
                return
        if self.behaviour == "dies before its answer":
            return
        self.scanned.append(data)
        writer.write(self._verdict(data))

    def _verdict(self, data: bytes) -> bytes:
        match self.behaviour:
            case "garbage":
                return b"\x00\xff" * 300
            case "endless":
                return b"stream: " * 1000
            case "half an answer":
                return b"stream: O"
            case "an error":
                return b"stream: Can't allocate memory ERROR\0"
            case _:
                return b"stream: Eicar-Test-Signature FOUND\0" if EICAR in data else b"stream: OK\0"


@asynccontextmanager
async def listening(clamd: Clamd, path: Path | None = None) -> AsyncIterator[str]:
    """Serve on a Unix socket at `path`, or on a free TCP port; yields the address as the setting takes it."""
    if path is not None:
        server = await asyncio.start_unix_server(clamd.serve, str(path))
        address = str(path)
    else:
        server = await asyncio.start_server(clamd.serve, "127.0.0.1", 0)
        address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield address
    finally:
        server.close()
        await server.wait_closed()
