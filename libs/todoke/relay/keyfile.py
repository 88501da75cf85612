"""Files that hold a secret: made once, complete or not at all, readable by their owner only."""

import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path

OTHERS = 0o077
"""Mode bits that let anybody but the owner near the file."""


class KeyFileRefused(Exception):  # noqa: N818 (named for what happened to the file)
    """A key file that must not be used; the text tells the operator which file and what to do."""


def load_or_create(path: Path, make: Callable[[], bytes]) -> bytes:
    """The bytes of the key file at `path`; when there is none, it is made from `make()`.

    Two processes that start at once end with the same key: the file is written under another name, synced, and linked
    into place, which exactly one of them can do.

    Raises:
        KeyFileRefused: the file may be read by others, belongs to another user, or is no regular file.
    """
    if not path.exists():
        _create(path, make())
    return _load(path)


def _create(path: Path, secret: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mode 0600 from its first moment
    draft = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(secret)
            stream.flush()
            os.fsync(stream.fileno())
        try:
            path.hardlink_to(draft)
        except FileExistsError:
            return  # another process was first: its key is the one
        _sync_folder(path.parent)
    finally:
        draft.unlink()


def _sync_folder(folder: Path) -> None:
    """Make the new name durable: what is sealed under a key that a power cut takes away is lost."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _load(path: Path) -> bytes:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as stream:
        facts = os.fstat(stream.fileno())
        if not stat.S_ISREG(facts.st_mode):
            message = f"the key file {path} is no regular file"
            raise KeyFileRefused(message)
        if facts.st_uid != os.geteuid():
            message = f"the key file {path} belongs to user {facts.st_uid}, but this process is user {os.geteuid()}"
            raise KeyFileRefused(message)
        if facts.st_mode & OTHERS:
            mode = stat.S_IMODE(facts.st_mode)
            message = f"the key file {path} has mode {mode:04o}, so others can read it; run: chmod 600 {path}"
            raise KeyFileRefused(message)
        return stream.read()
