"""What leaves the portal as a file: names in headers, ZIPs with a folder per message, tables."""

import asyncio
import csv
import io
import re
import zipfile
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote
from uuid import UUID

from services.portal.visitors import Visitor
from todoke.client.errors import HashMismatch
from todoke.client.shapes import Item
from todoke.relay.clock import in_japan
from todoke.relay.problem import Problem

HIDDEN = frozenset({"recalled", "expired"})
"""Received messages whose files nobody can have any more."""

_NOT_ASCII = re.compile(r"[^A-Za-z0-9._-]")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def attachment(name: str) -> dict[str, str]:
    """The headers of a file to save (RFC 6266, RFC 8187): nothing in its name can end the header or run anything."""
    plain = _NOT_ASCII.sub("_", name)
    return {
        "Content-Disposition": f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}",
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "Cache-Control": "no-store",
    }


def archive_name(now: datetime) -> str:
    """`受信_20261104_0942.zip`, Japan time."""
    return f"受信_{in_japan(now).strftime('%Y%m%d_%H%M')}.zip"


@dataclass(frozen=True, slots=True)
class Wanted:
    """A message to fetch, and the folder it stands in."""

    item: Item
    folder: str


@dataclass(frozen=True, slots=True)
class Fetch:
    """What one press of データ取得 brings."""

    messages: tuple[Wanted, ...]
    archive: str

    @property
    def alone(self) -> bool:
        """Whether it is one CSV alone, which is saved as it is."""
        files = [file for wanted in self.messages for file in wanted.item.files]
        return len(self.messages) == 1 and len(files) == 1 and (files[0].name or "").lower().endswith(".csv")

    @property
    def file_count(self) -> int:
        """How many files there are in all."""
        return sum(len(wanted.item.files) for wanted in self.messages)


def fetch_of(items: Iterable[Item], now: datetime) -> Fetch:
    """Messages in the order of their 連番, each in a folder `連番_送信元事業所番号`."""
    ordered = sorted(items, key=lambda item: (item.sequence, item.delivery_no or 0))
    folders: dict[str, int] = {}
    wanted = []
    for item in ordered:
        name = f"{item.sequence}_{item.sender.number}"
        folders[name] = count = folders.get(name, 0) + 1
        wanted.append(Wanted(item, name if count == 1 else f"{name}_{count}"))
    return Fetch(tuple(wanted), archive_name(now))


async def content(visitor: Visitor, message_id: UUID, n: int) -> bytes:
    """The very bytes of a file. Raises `Problem` TDK-HASH-MISMATCH, and what every fetch raises."""
    try:
        return await visitor.client.fetch_file(message_id, n)
    except HashMismatch:
        raise Problem("TDK-HASH-MISMATCH") from None


async def packed(visitor: Visitor, fetch: Fetch) -> AsyncIterator[bytes]:
    """The ZIP of a fetch, file by file: at most one file of it stands in memory.

    A file that cannot be had ends the answer in the middle, so that the browser knows the download as broken.
    """
    pipe = _Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
        for wanted in fetch.messages:
            for file in wanted.item.files:
                data = await content(visitor, wanted.item.message_id, file.n)
                await asyncio.to_thread(archive.writestr, f"{wanted.folder}/{file.name}", data)
                yield pipe.taken()
    yield pipe.taken()


class _Pipe(io.RawIOBase):
    """A place to write to that cannot be rewound, so that the ZIP can be sent while it is made."""

    def __init__(self) -> None:
        super().__init__()
        self._written = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        piece = bytes(data)  # type: ignore[call-overload]  # any buffer that the parser hands over
        self._written += piece
        return len(piece)

    def taken(self) -> bytes:
        """What was written since the last call."""
        piece = bytes(self._written)
        self._written.clear()
        return piece


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> bytes:
    """A CSV for Excel: with a byte order mark, and without a cell that Excel would calculate."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(head)
    writer.writerows([_harmless(cell) for cell in row] for row in rows)
    return text.getvalue().encode("utf-8-sig")


def _harmless(cell: str) -> str:
    return f"'{cell}" if cell.startswith(_FORMULA) else cell
