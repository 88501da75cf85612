"""The folder that holds the engines' data: who may use it, which version wrote it, what it remembers."""

import fcntl
import json
import os
import secrets
import shutil
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from todoke.engines.model import EngineError, PortPlan

HOME_VERSION = "1"
"""Raised when the layout of the engines' data changes so that an older or newer program must keep its hands off."""

_FREE_BYTES_MIN = 1 << 30
"""Kafka and PostgreSQL stop in the middle of their work on a full disk; a gibibyte is some days of trying out."""

_LAST_OWNER_SECONDS = 12.0
"""An owner that died leaves its engines up to ten seconds to end; then the lock is free."""


@dataclass
class State:
    """What `engines.json` says: the ports, and the processes of the running engines.

    Attributes:
        owner: process id of the caller of `up`.
        ports: the plan of the last start, kept for the next.
        keepers: engine name → process id of its keeper.
        pids: engine name → process id of the engine itself.
    """

    owner: int
    ports: PortPlan
    keepers: dict[str, int] = field(default_factory=dict)
    pids: dict[str, int] = field(default_factory=dict)


class Home:
    """One folder of engine data.

    Args:
        path: the folder; made when it is missing, for its owner only.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()

    @property
    def _state_file(self) -> Path:
        return self.path / "engines.json"

    def prepare(self) -> None:
        """Make the folder, and refuse one that this program must not touch.

        Raises:
            EngineError: another version wrote it, it cannot be written, or its disk is nearly full.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            version_file = self.path / "home-version"
            if not version_file.exists() and not (self.path / "postgres").exists():
                write_private(version_file, HOME_VERSION + "\n")
            found = version_file.read_text().strip() if version_file.exists() else "0"
        except OSError as error:
            raise EngineError(f"The home {self.path} cannot be used: {error.strerror}.") from error
        if found != HOME_VERSION:
            age = "an older" if found.isdecimal() and int(found) < int(HOME_VERSION) else "another, probably newer,"
            raise EngineError(
                f"The home {self.path} was written by {age} version of Todoke (layout {found}, this program knows "
                f"{HOME_VERSION}): use that version, or another --home."
            )
        free = shutil.disk_usage(self.path).free
        if free < _FREE_BYTES_MIN:
            raise EngineError(
                f"The disk of {self.path} has {free >> 20} MiB left, and the engines need {_FREE_BYTES_MIN >> 20} MiB: "
                "free some space or give another --home."
            )

    def lock(self) -> int:
        """Take the home for this process; the answer is the open file to close, or to hand to the keepers.

        The keepers hold the same lock, so it stays taken until the last engine of a dead owner has ended.

        Raises:
            EngineError: another running program has it.
        """
        handle = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + _LAST_OWNER_SECONDS
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                state = self.state()
                owner = state.owner if state else 0
                if (owner and is_alive(owner)) or time.monotonic() > deadline:
                    os.close(handle)
                    raise EngineError(
                        f"The home {self.path} is in use by a running program (process {owner or 'unknown'}): "
                        "stop that one first, or give another --home."
                    ) from None
                time.sleep(0.1)
            else:
                return handle

    def is_locked(self) -> bool:
        """Whether some program runs on this home now."""
        try:
            handle = os.open(self.path / "lock", os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(handle)
        return False

    def state(self) -> State | None:
        """What the last start wrote, or None when the home never ran (or the file is damaged)."""
        try:
            raw: dict[str, Any] = json.loads(self._state_file.read_text())
            raw["ports"] = PortPlan(**raw["ports"])
            return State(**raw)
        except (FileNotFoundError, ValueError, TypeError, KeyError):
            return None

    def remember(self, state: State) -> None:
        """Write the state for other processes and for the next start."""
        write_private(self._state_file, json.dumps(asdict(state), indent=1) + "\n")

    def secret(self, name: str) -> str:
        """The secret of this name, made once and kept in a file for the owner only."""
        file = self.path / name
        try:
            return file.read_text().strip()
        except FileNotFoundError:
            write_private(file, secrets.token_hex(20) + "\n")
            return file.read_text().strip()

    def known_secret(self, name: str) -> str:
        """The secret of this name.

        Raises:
            EngineError: this home never ran.
        """
        try:
            return (self.path / name).read_text().strip()
        except FileNotFoundError as error:
            raise EngineError(f"The home {self.path} holds no engines yet: run `todoke up` first.") from error


def write_private(file: Path, text: str) -> None:
    """Write a file of mode 0600 so that a reader, or a crash, never sees half of it."""
    part = file.with_name(f".{file.name}.{os.getpid()}")
    part.unlink(missing_ok=True)
    part.touch(mode=0o600)
    with part.open("w", encoding="utf-8") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    part.replace(file)


def is_alive(pid: int) -> bool:
    """Whether a process of this id exists and is not merely waiting for its parent to notice its end."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in {"Z", "X"}
