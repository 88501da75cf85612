"""The virus scanner, if there is one: clamd over its socket (its manual page, section COMMANDS; `INSTREAM`, `PING`).

It fails closed: whatever is no clear word about a file leaves the message unjudged, to be tried again.
"""

import asyncio
import re
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from structlog.typing import FilteringBoundLogger

from careplan import Finding
from todoke.relay.clock import Clock
from todoke.relay.faults import SetAside

INFECTED = "TDK-FILE-INFECTED"
"""The scanner knows something bad that stands in the file."""

CONNECT_SECONDS_MAX = 2.0
"""A scanner on the same network that takes no connection in this time is away."""

SCAN_SECONDS_MAX = 8.0
"""Longest scan of one file (10 MiB): a batch has 20 s for everything."""

REST_SECONDS = 5.0
"""After a failure nobody asks for so long: a batch of messages does not wait for the same scanner one by one."""

SCANS_AT_ONCE = 4
"""Files that are scanned at a time; clamd's own default is ten threads."""

CHUNK_BYTES = 64 * 1024
"""Bytes of one chunk of INSTREAM."""

REPLY_BYTES_MAX = 1024
"""A reply is one short line: the name of what was found is its longest part."""

_FOUND = re.compile(rb"stream: .{1,900} FOUND", re.DOTALL)


class Unscanned(SetAside):
    """The scanner gave no clear answer about a file; the text says what happened, for the operator."""

    def __init__(self, why: str) -> None:
        super().__init__("scan", f"not scanned: {why}")


class Scanner:
    """Asks clamd at `address`: `host:port`, or the path of a Unix socket."""

    def __init__(self, address: str, clock: Clock, log: FilteringBoundLogger) -> None:
        self._address = address
        self._clock = clock
        self._log = log
        self._places = asyncio.Semaphore(SCANS_AT_ONCE)
        self._rests_until = 0.0

    async def check(self, name: str, data: bytes) -> tuple[Finding, ...]:
        """What the scanner found in a file.

        Raises:
            Unscanned: it is away, took too long, refused the file or answered something else.
        """
        async with self._places:
            if self._clock.monotonic() < self._rests_until:
                raise Unscanned("the scanner failed a moment ago")
            reply = await self._ask(b"zINSTREAM\0", data)
        if reply == b"stream: OK":
            return ()
        if _FOUND.fullmatch(reply):
            return (Finding(INFECTED, "error", name),)
        if reply == b"INSTREAM size limit exceeded. ERROR":
            self._log.error("scanner_refuses", bytes=len(data))
            raise Unscanned("larger than the scanner's StreamMaxLength")
        self._rest("no answer" if not reply else "an answer that is none")
        raise Unscanned("the scanner gave no clear answer")

    async def answers(self) -> bool:
        """Whether the scanner is there."""
        try:
            return await self._ask(b"zPING\0", None) == b"PONG"
        except Unscanned:
            return False

    async def _ask(self, command: bytes, data: bytes | None) -> bytes:
        """The reply to a command, without its end; empty or cut off if the scanner ended in the middle."""
        try:
            async with asyncio.timeout(SCAN_SECONDS_MAX), self._connected() as (reader, writer):
                writer.write(command)
                if data is not None:
                    await _stream(writer, data)
                reply = await _reply(reader)
        except (OSError, TimeoutError, ValueError) as trouble:
            self._rest(type(trouble).__name__)
            raise Unscanned("the scanner does not answer") from None
        return reply

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        host, _, port = self._address.rpartition(":")
        async with asyncio.timeout(CONNECT_SECONDS_MAX):
            if "/" in self._address:
                reader, writer = await asyncio.open_unix_connection(self._address)
            else:
                reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
        try:
            yield reader, writer
        finally:
            writer.transport.abort()  # nothing is owed to it any more

    def _rest(self, why: str) -> None:
        self._rests_until = self._clock.monotonic() + REST_SECONDS
        self._log.warning("scanner_away", reason=why)


async def _stream(writer: asyncio.StreamWriter, data: bytes) -> None:
    """The file in chunks, each behind its length in four bytes; a chunk of length 0 ends it.

    A scanner that has heard enough (too large) answers and closes while we write: its answer is read all the same.
    """
    try:
        for at in range(0, len(data), CHUNK_BYTES):
            piece = data[at : at + CHUNK_BYTES]
            writer.write(struct.pack(">I", len(piece)) + piece)
            await writer.drain()
        writer.write(struct.pack(">I", 0))
        await writer.drain()
    except ConnectionError:
        return


async def _reply(reader: asyncio.StreamReader) -> bytes:
    """One reply up to its NUL; what came without one counts as nothing."""
    said = b""
    while b"\0" not in said and len(said) < REPLY_BYTES_MAX:
        piece = await reader.read(REPLY_BYTES_MAX)
        if not piece:
            return b""
        said += piece
    line, end, _ = said.partition(b"\0")
    return line if end else b""
