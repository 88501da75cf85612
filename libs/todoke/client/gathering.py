"""Files, folders and ZIPs on this machine → files to send, each with the place it was found in."""

import dataclasses
import os
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from todoke.client.core import Upload

ENTRIES_MAX = 10_000
"""Files of one ZIP or of one run: a month end of a large office has some thousand."""

FILE_BYTES_MAX = 64 * 1024 * 1024
"""One file; the service takes 10 MiB, this bound only keeps a mistake (or a ZIP bomb) out of memory."""

TOTAL_BYTES_MAX = 512 * 1024 * 1024
"""All files of one run together, unpacked."""

IGNORED_NAMES = frozenset({"thumbs.db", "desktop.ini", "__macosx"})
"""What operating systems leave in folders and ZIPs beside the user's files (lower case); dot files likewise."""

ZIP_UTF8_FLAG = 0x800
ZIP_ENCRYPTED_FLAG = 0x1
"""General purpose bits 11 and 0 (APPNOTE.TXT section 4.4.4)."""

LOOSE = "."
"""The place of files that were named one by one."""


class Ungatherable(Exception):  # noqa: N818 (named for what the input is)
    """Something that cannot be read for sending; the text is Japanese and meant for the person who named it."""


@dataclasses.dataclass(frozen=True, slots=True)
class Found:
    """A file and the folder (or folder of a ZIP) it lay in. Files of one folder may belong together."""

    place: str
    upload: Upload


def gather(paths: Iterable[Path]) -> list[Found]:
    """Read everything that the paths name: files as they are, folders with their subfolders, ZIPs unpacked.

    Raises:
        Ungatherable: a path is missing or unreadable, a ZIP is damaged or encrypted, or a bound is passed.
    """
    found: list[Found] = []
    total = 0
    for one in _each(paths):
        total += len(one.upload.content)
        found.append(one)
        if total > TOTAL_BYTES_MAX or len(found) > ENTRIES_MAX:
            raise Ungatherable("一度に扱える量を超えています。いくつかに分けてください。")
    return found


def _each(paths: Iterable[Path]) -> Iterator[Found]:
    for path in paths:
        if path.is_dir():
            yield from _of_folder(path)
        elif path.suffix.lower() == ".zip":
            yield from _of_zip(path)
        else:
            yield Found(LOOSE, read_file(path))


def _of_folder(root: Path) -> Iterator[Found]:
    for folder, below, names in os.walk(root):
        below[:] = sorted(name for name in below if not is_ignored(name))
        for name in sorted(names):
            path = Path(folder, name)
            if is_ignored(name):
                continue
            if path.suffix.lower() == ".zip":
                yield from _of_zip(path)
            else:
                yield Found(folder, read_file(path))


def read_file(path: Path) -> Upload:
    """A file under its own name; raises `Ungatherable` when it cannot be read or is far too large."""
    try:
        with path.open("rb") as stream:
            content = stream.read(FILE_BYTES_MAX + 1)
    except OSError as failure:
        raise Ungatherable(f"読めません: {path}（{failure.strerror}）") from None
    if len(content) > FILE_BYTES_MAX:
        raise Ungatherable(f"大きすぎます: {path}")
    return Upload(path.name, content)


def _of_zip(path: Path) -> Iterator[Found]:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
            if len(entries) > ENTRIES_MAX:
                raise Ungatherable(f"ZIPの中のファイルが多すぎます: {path}")
            for entry in entries:
                steps = [step for step in re.split(r"[/\\]", entry_name(entry)) if step not in ("", ".", "..")]
                if steps and not any(is_ignored(step) for step in steps):
                    content = _of_entry(archive, entry, path)
                    yield Found("/".join((str(path), *steps[:-1])), Upload(steps[-1], content))
    except OSError as failure:
        raise Ungatherable(f"読めません: {path}（{failure.strerror or 'ZIP'}）") from None
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError):
        raise Ungatherable(f"ZIPを開けませんでした: {path}。すべて展開して、フォルダを指定してください。") from None


def _of_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path) -> bytes:
    """The bytes of an entry; what its header says of its size is not believed, so a bomb stops at the bound."""
    if entry.flag_bits & ZIP_ENCRYPTED_FLAG:
        raise Ungatherable(f"ZIPにパスワードが付いています: {path}")
    with archive.open(entry) as stream:
        content = stream.read(FILE_BYTES_MAX + 1)
    if len(content) > FILE_BYTES_MAX:
        raise Ungatherable(f"ZIPの中に大きすぎるファイルがあります: {path}")
    return content


def entry_name(entry: zipfile.ZipInfo) -> str:
    """The name of a ZIP entry. Old Japanese ZIPs hold cp932 without saying so; some hold UTF-8 without saying so."""
    if entry.flag_bits & ZIP_UTF8_FLAG:
        return entry.filename
    try:
        raw = entry.orig_filename.encode("cp437")  # zipfile read the bytes so
    except UnicodeEncodeError:
        return entry.filename
    for encoding in ("utf-8", "cp932"):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    return entry.filename


def is_ignored(name: str) -> bool:
    """Whether a name is one that systems leave beside the user's files."""
    return name.startswith(".") or name.lower() in IGNORED_NAMES
