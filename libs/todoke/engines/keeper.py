"""Keeps one engine: starts it, and ends it when whoever asked for it is gone.

A program of its own, run with nothing but the standard library (`python -I -S keeper.py SPEC`). Its standard input is a
pipe that only the caller holds: end of file means the caller is dead or lets go, so the engine is stopped cleanly and
the keeper ends. If the keeper itself is killed, the kernel kills the engine (PR_SET_PDEATHSIG, set from the keeper's
only thread).
"""

import contextlib
import ctypes
import json
import os
import select
import signal
import subprocess
import sys
from typing import Any

_PR_SET_PDEATHSIG = 1
_PR_SET_SECUREBITS = 28
_SECBIT_NO_SETUID_FIXUP = 1 << 2
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2
_CAP_DAC_READ_SEARCH = 2
_CAPABILITY_VERSION_3 = 0x20080522
_PARENT_LOOK_SECONDS = 1.0
_LOG_BYTES_MAX = 5 << 20


def _become(libc: ctypes.CDLL, uid: int, gid: int) -> None:
    """Give up root for another user, who may still walk into folders closed to others.

    PostgreSQL refuses to run as root. Its data and programs may lie below a folder that only root may enter (a checkout
    in root's own home); the one capability kept lets the server find them, without opening that folder for everybody.
    Without the secure bit access(2) would ignore that capability, and with it the kernel leaves the other ones to us.
    """
    keeps = libc.prctl(_PR_SET_SECUREBITS, _SECBIT_NO_SETUID_FIXUP, 0, 0, 0) == 0
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    if keeps:
        bit = 1 << _CAP_DAC_READ_SEARCH
        header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
        if libc.capset(header, (ctypes.c_uint32 * 6)(bit, bit, bit, 0, 0, 0)) != 0:
            os._exit(1)
        libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, _CAP_DAC_READ_SEARCH, 0, 0)


def _start(spec: dict[str, Any]) -> "subprocess.Popen[bytes]":
    libc = ctypes.CDLL(None, use_errno=True)
    keeper = os.getpid()

    def between_fork_and_exec() -> None:
        if spec["user"] is not None:
            _become(libc, *spec["user"])
        # After the change of user: that clears it.
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != keeper:
            os._exit(1)

    with open(spec["log"], "ab", buffering=0) as log:  # noqa: PTH123 - no pathlib: every import costs start-up time
        return subprocess.Popen(
            spec["argv"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=spec["cwd"],
            env=spec["env"],
            umask=0o077,
            preexec_fn=between_fork_and_exec,  # noqa: PLW1509 - this program has one thread
        )


def _put_log_aside(log: str) -> None:
    """Copy a long log to LOG.1 and empty it: the engine goes on appending to the same file.

    A line printed between the two is lost. Where there is no room for the copy, the log is emptied all the same.
    """
    if os.stat(log).st_size <= _LOG_BYTES_MAX:  # noqa: PTH116 - no pathlib, as above
        return
    with contextlib.suppress(OSError), open(log, "rb") as old, open(f"{log}.1", "wb") as aside:  # noqa: PTH123 - no pathlib, as above
        while piece := old.read(1 << 16):
            aside.write(piece)
    os.truncate(log, 0)


def _stop(engine: "subprocess.Popen[bytes]", steps: list[tuple[int, float]]) -> None:
    """Ask in the given ways, waiting the given seconds after each; then end it by force."""
    for number, seconds in steps:
        engine.send_signal(number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            engine.wait(seconds)
            return
    engine.kill()
    engine.wait()


def _keep(spec: dict[str, Any]) -> int:
    woken, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    told: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda got, _frame: told.append(got))
    signal.signal(signal.SIGCHLD, lambda _got, _frame: None)
    caller = os.getppid()
    engine = _start(spec)
    sys.stdout.write(f"{engine.pid}\n")
    sys.stdout.flush()
    while engine.poll() is None:
        ready, _, _ = select.select([0, woken], [], [], _PARENT_LOOK_SECONDS)
        if woken in ready:
            os.read(woken, 64)
        with contextlib.suppress(OSError):
            _put_log_aside(spec["log"])
        # The pipe alone would not do: a forked child of the caller may hold its other end.
        if 0 in ready or told or os.getppid() != caller:
            _stop(engine, spec["stop"])
    return 0 if told or engine.returncode == 0 else 1


if __name__ == "__main__":
    sys.exit(_keep(json.loads(sys.argv[1])))
