"""A folder that one watcher keeps: its lock, whose it is, and small notes that outlive a kill at any moment."""

import contextlib
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from todoke.client.saving import replace_file, sync_folder
from todoke.client.shapes import Shape

NoteT = TypeVar("NoteT", bound=Shape)

STATE = ".todoke"
"""What the watcher keeps for itself, inside the folder: it moves with it, and every machine on a share sees it."""


class Unwatchable(Exception):  # noqa: N818 (named for what the folder is)
    """A folder that cannot be watched; the text is Japanese and says what to do."""


class Owner(Shape):
    """Whose folder it is: positions and keys mean something for one office at one address only."""

    office: str
    url: str


class WatchedFolder:
    """One watched folder. Everything below `.todoke` in it is ours."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.state = root / STATE
        self._drafts = self.state / "drafts"

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the folder's lock; the system lets it go however this process ends.

        Raises:
            Unwatchable: another watcher holds it, or the folder cannot be written or locked.
        """
        with contextlib.ExitStack() as open_files:
            try:
                self.state.mkdir(0o700, parents=True, exist_ok=True)
                lock = open_files.enter_context((self.state / "lock").open("ab"))
                _take(lock.fileno())
            except BlockingIOError:
                raise Unwatchable(f"このフォルダは、別の todoke watch が見ています: {self.root}") from None
            except OSError as failure:
                raise Unwatchable(f"このフォルダは使えません: {self.root}（{failure.strerror}）") from None
            shutil.rmtree(self._drafts, ignore_errors=True)
            yield

    def claim(self, owner: Owner) -> None:
        """Make the folder this office's, or see that it is.

        Raises:
            Unwatchable: it belongs to another office, or to the same one at another address.
        """
        known = self.note("owner", Owner)
        if known is None:
            self.keep("owner", owner)
        elif known != owner:
            raise Unwatchable(
                f"このフォルダは {known.office}（{known.url}）のものです。別のフォルダを指定してください: {self.root}"
            )

    def note(self, name: str, shape: type[NoteT]) -> NoteT | None:
        """A note, or None when there is none."""
        path = self._path(name)
        try:
            return shape.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except ValidationError:
            raise Unwatchable(f"記録を読めません。別のフォルダを指定してください: {path}") from None

    def notes(self, kind: str, shape: type[NoteT]) -> dict[str, NoteT]:
        """Every note of a kind, by its name, in the order of the names."""
        names = sorted(path.stem for path in (self.state / kind).glob("*.json"))
        found = {name: self.note(f"{kind}/{name}", shape) for name in names}
        return {name: note for name, note in found.items() if note is not None}

    def keep(self, name: str, note: Shape) -> None:
        """Write a note durably, in place of the earlier one."""
        self.write(self._path(name), note.model_dump_json())

    def write(self, path: Path, text: str) -> None:
        """Write a text of ours somewhere in the folder, durably and as a whole. Raises `OSError`."""
        replace_file(path, text.encode(), self._drafts)

    def forget(self, name: str) -> None:
        """Remove a note."""
        path = self._path(name)
        path.unlink(missing_ok=True)
        sync_folder(path.parent)

    def _path(self, name: str) -> Path:
        return self.state / f"{name}.json"


def _take(handle: int) -> None:
    """Take the lock of an open file; `BlockingIOError` when another process has it."""
    if sys.platform == "win32":
        import msvcrt  # noqa: PLC0415 (only there)

        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError:
            raise BlockingIOError from None
    else:
        import fcntl  # noqa: PLC0415 (everywhere else)

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
