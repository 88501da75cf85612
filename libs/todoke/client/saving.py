"""Fetched files onto this machine's disk: whole or not at all, durable, never over a different file."""

import contextlib
import hashlib
import os
import re
import tempfile
import unicodedata
from collections.abc import Iterator
from pathlib import Path

NAME_BYTES_MAX = 255
"""A name in UTF-8: what common file systems hold."""

FILE_MODE = 0o600
"""What is fetched names people: its owner reads it, nobody else until the owner says so."""

FOLDER_MODE = 0o700
"""The same for the folder of a message: names of attachments speak too."""

TEXT_NAME = "メッセージ.txt"
"""The text of a message as a file; no attachment may end in .txt, so the name is free."""

TWINS_MAX = 1000
"""So many different files of one name in one folder are no accident."""

DEVICE_NAMES = frozenset(
    {"con", "prn", "aux", "nul", *(f"com{n}" for n in range(1, 10)), *(f"lpt{n}" for n in range(1, 10))}
)
"""Names that Windows keeps for devices, with any extension."""

_FORBIDDEN = re.compile(r'[<>:"/\\|?*]')
_HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


class Unsavable(Exception):  # noqa: N818 (named for what happened)
    """A file that could not be written; the text is Japanese and names the folder only."""


def safe_name(name: str | None, n: int) -> str:
    """A plain file name for this disk from what another office called its file; `n` names a file without a name.

    Path separators, control, format and bidirectional characters, device names, leading dots and trailing dots and
    spaces go; the rest stays as it came.
    """
    kept = "".join(char for char in name or "" if unicodedata.category(char) not in _HIDDEN_CATEGORIES)
    plain = _FORBIDDEN.sub("_", kept).strip(" ").lstrip(".").rstrip(". ")
    if not plain:
        return f"file-{n}"
    if plain.partition(".")[0].rstrip().lower() in DEVICE_NAMES:
        plain = f"_{plain}"
    return _shortened(plain, "")


def save(folder: Path, name: str, content: bytes) -> Path:
    """Write the file durably and return where it lies; `name` comes from `safe_name`.

    A file of that name with the same bytes is left as it is; one with other bytes is never touched: the new one is
    called `name (2)`. When this returns, file and folder entry have been synced.

    Raises:
        Unsavable: the disk is full, the folder is read-only, or the like.
    """
    try:
        _make(folder)
        for candidate in _candidates(folder, name):
            if _placed(candidate, content):
                _sync_place(folder)
                return candidate
    except OSError as failure:
        raise Unsavable(f"保存できません: {folder}（{failure.strerror}）") from None
    raise Unsavable(f"同じ名前のファイルが多すぎます: {folder}")


def replace_file(path: Path, content: bytes, drafts: Path) -> None:
    """Write a file of our own durably and as a whole: whoever looks, at any moment, sees the old one or the new one.

    `drafts` is a folder on the same disk; what a kill leaves there may be removed.

    Raises:
        OSError: the disk is full, the folder is read-only, or the like.
    """
    for folder in (path.parent, drafts):
        _make(folder)
    handle, draft = tempfile.mkstemp(dir=drafts)  # mode 0600
    with os.fdopen(handle, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    Path(draft).replace(path)
    sync_folder(path.parent)


def unused(path: Path) -> Path:
    """This path, or the first of `name (2)`, `name (3)` … that nothing stands at."""
    for candidate in _candidates(path.parent, path.name, is_folder=True):
        if not os.path.lexists(candidate):
            return candidate
    raise Unsavable(f"同じ名前のものが多すぎます: {path.parent}")


def existing(folder: Path, name: str, sha256: str, size: int) -> Path | None:
    """Where these very bytes lie already from an earlier run, or None."""
    for candidate in _candidates(folder, name):
        try:
            if not candidate.is_file():
                return None
            if candidate.stat().st_size == size and hashlib.sha256(candidate.read_bytes()).hexdigest() == sha256:
                _sync_file(candidate)
                _sync_place(folder)
                return candidate
        except OSError:
            return None
    return None


def _candidates(folder: Path, name: str, *, is_folder: bool = False) -> Iterator[Path]:
    stem, dot, extension = name.rpartition(".")
    if not stem or is_folder:
        stem, dot, extension = name, "", ""
    yield folder / name
    for n in range(2, TWINS_MAX):
        yield folder / _shortened(stem, f" ({n}){dot}{extension}")


def _shortened(stem: str, end: str) -> str:
    room = NAME_BYTES_MAX - len(end.encode())
    return stem.encode()[:room].decode(errors="ignore") + end


def _placed(path: Path, content: bytes) -> bool:
    """True when the file lies at `path` now; False when a different one does."""
    if os.path.lexists(path):
        if path.is_symlink() or not path.is_file() or path.read_bytes() != content:
            return False
        _sync_file(path)
        return True
    draft = path.parent / f".todoke-{os.getpid()}.part"
    with contextlib.suppress(FileNotFoundError):
        draft.unlink()
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    try:
        with os.fdopen(os.open(draft, flags, FILE_MODE), "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        return _renamed(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def _renamed(draft: Path, path: Path) -> bool:
    """Give the draft its name unless another program took it meanwhile."""
    try:
        path.hardlink_to(draft)  # unlike a rename, this never replaces anything
    except FileExistsError:
        return False
    except OSError:  # a file system without hard links
        if os.path.lexists(path):
            return False
        draft.rename(path)
    return True


def _sync_file(path: Path) -> None:
    """An earlier run may have been killed between writing and syncing."""
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


def _make(folder: Path) -> None:
    """A folder and those above it that are missing, each durable in the one that it stands in."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(FOLDER_MODE, parents=True, exist_ok=True)
    for each in missing:
        sync_folder(each.parent)


def _sync_place(folder: Path) -> None:
    """The entries of a folder and its own: an earlier run may have been killed before it had synced either."""
    sync_folder(folder)
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Make what was created, renamed or removed in a folder durable."""
    if not hasattr(os, "O_DIRECTORY"):  # Windows keeps folders in order by itself
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
