"""A ZIP → its files, within hard limits and without ever touching a disk. All of it is taken, or nothing.

Names inside a ZIP are UTF-8 when its flag says so (APPNOTE 6.3.10, appendix D), otherwise what Japanese Windows writes.
"""

import contextlib
import dataclasses
import functools
import io
import re
import stat
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import PurePosixPath

from services.portal.grouping import Dropped
from todoke.relay.limits import MEBIBYTE

ZIP_BYTES_MAX = 60 * MEBIBYTE
"""A ZIP as it comes."""

UNPACKED_BYTES_MAX = 300 * MEBIBYTE
"""All its files together."""

FILES_MAX = 1500
"""Files in it: three hundred messages of five."""

DEPTH_MAX = 3
"""Folders above a file."""

_ENCRYPTED_FLAG = 0x1
_WALKS = re.compile(r"^/|[:\x00]")
"""Absolute paths, drives of Windows, and names that end early."""

_LITTER = ("__MACOSX/", ".DS_Store", "Thumbs.db", "desktop.ini")
"""What systems put into a ZIP by themselves; nobody chose to send it, so nobody is told that it was left out."""


class ZipRefused(Exception):  # noqa: N818 (named for what happened to it)
    """Nothing of the ZIP is taken. `why` is a key of the wordings: what is wrong with it."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


@dataclasses.dataclass(frozen=True, slots=True)
class Bounds:
    """What a ZIP may hold; bytes are of the unpacked files."""

    files_max: int = FILES_MAX
    unpacked_bytes_max: int = UNPACKED_BYTES_MAX
    depth_max: int = DEPTH_MAX


def is_zip(name: str) -> bool:
    """Whether a dropped file is to be unpacked."""
    return name.casefold().endswith(".zip")


def unpack(data: bytes, bounds: Bounds | None = None) -> list[Dropped]:
    """The files of a ZIP in the order they stand in it, under their bare names; each is unpacked when it is read.

    Raises:
        ZipRefused: `damaged`, `encrypted`, `path`, `nested`, `deep`, `many` or `large`, here or while a file is read:
            nothing of the ZIP may be taken then.
    """
    bounds = bounds or Bounds()
    with _broken_is_damaged():
        archive = zipfile.ZipFile(io.BytesIO(data), metadata_encoding="cp932")
        members = [
            (entry, entry.orig_filename.replace("\\", "/")) for entry in archive.infolist() if not entry.is_dir()
        ]
    wanted = [(entry, path) for entry, path in members if not _is_litter(path)]
    _judge(wanted, bounds)
    return [
        Dropped(PurePosixPath(path).name, entry.file_size, functools.partial(_read, archive, entry))
        for entry, path in wanted
    ]


def _is_litter(path: str) -> bool:
    return path.startswith(_LITTER[0]) or PurePosixPath(path).name in _LITTER[1:]


def _judge(members: list[tuple[zipfile.ZipInfo, str]], bounds: Bounds) -> None:
    if len(members) > bounds.files_max:
        raise ZipRefused("many")
    if sum(entry.file_size for entry, _ in members) > bounds.unpacked_bytes_max:
        raise ZipRefused("large")
    for entry, path in members:
        why = _unfit(entry, path, bounds)
        if why is not None:
            raise ZipRefused(why)


def _unfit(entry: zipfile.ZipInfo, path: str, bounds: Bounds) -> str | None:
    steps = path.split("/")
    if _WALKS.search(path) or ".." in steps or stat.S_ISLNK(entry.external_attr >> 16):
        return "path"
    if len(steps) - 1 > bounds.depth_max:
        return "deep"
    if is_zip(path):
        return "nested"
    return "encrypted" if entry.flag_bits & _ENCRYPTED_FLAG else None


def _read(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    """The bytes of one file: no more than the ZIP said of itself, for what it says was held against the bounds."""
    with _broken_is_damaged(), archive.open(entry) as stream:
        content = stream.read(entry.file_size + 1)
    if len(content) != entry.file_size:
        raise ZipRefused("damaged")
    return content


@contextlib.contextmanager
def _broken_is_damaged() -> Iterator[None]:
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError, ValueError) as broken:
        raise ZipRefused("damaged") from broken
