"""What a parser child gives up before it sees the first file: nothing of it can be had back.

Two walls, either of which refuses a new file, a socket and another process: limits (of open files to those that are
open; of processes, which root is above), and a filter of system calls (seccomp(2)), which binds root too. Linux on
x86-64 and 64-bit ARM; anywhere else no child starts.
"""

import ctypes
import errno
import os
import platform
import resource
import signal
import struct
import sys
from typing import Final

MEMORY_BYTES_MAX: Final = 512 * 1024 * 1024
"""Address space: a photo of 100 million pixels, decoded at an eighth, needs a third of it."""

OPEN_FILES_MAX: Final = 4
"""Open files: the three pipes it was started with, and the kernel's random numbers, which encrypted PDFs want."""

_CALLS: Final[dict[str, tuple[int, frozenset[int]]]] = {
    # what is open: read, write, close, fstat, lseek; memory: mmap, mprotect, munmap, brk, mremap, madvise;
    # signals: rt_sigaction, rt_sigprocmask, rt_sigreturn, sigaltstack, setitimer; itself: sched_yield, getpid, gettid,
    # futex; clock and chance: gettimeofday, clock_gettime, getrandom; its end: exit, exit_group
    "x86_64": (
        0xC000003E,
        frozenset({0, 1, 3, 5, 8, 9, 10, 11, 12, 25, 28, 13, 14, 15, 131, 38, 24, 39, 186, 202, 96, 228, 318, 60, 231}),
    ),
    "aarch64": (
        0xC00000B7,
        frozenset(
            {63, 64, 57, 80, 62, 222, 226, 215, 214, 216, 233, 134, 135, 139, 132, 103, 124, 172, 178, 98, 169, 113}
            | {278, 93, 94}
        ),
    ),
}
"""By machine: its mark (AUDIT_ARCH_* in linux/audit.h), and the numbers of the calls that parsing needs."""

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_DUMPABLE: Final = 4
_PR_SET_SECCOMP: Final = 22
_PR_SET_NO_NEW_PRIVS: Final = 38
_SECCOMP_MODE_FILTER: Final = 2

_LOAD: Final = 0x20
_IF_EQUAL: Final = 0x15
_ANSWER: Final = 0x06
_ALLOWED: Final = 0x7FFF0000
_REFUSED: Final = 0x00050000 | errno.EPERM
_KILLED: Final = 0x80000000
_NUMBER, _MACHINE = 0, 4


class _Program(ctypes.Structure):
    """A filter as the kernel takes it (struct sock_fprog)."""

    _fields_ = (("length", ctypes.c_ushort), ("steps", ctypes.c_char_p))


def confine(parent: int) -> None:
    """Give up what parsing does not need, and live no longer than the process that asked.

    Raises:
        OSError: the kernel refuses a wall, or knows no filter for this machine.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    _prctl(libc, _PR_SET_PDEATHSIG, signal.SIGKILL)
    _prctl(libc, _PR_SET_DUMPABLE, 0)
    if os.getppid() != parent:  # it died before it could be waited for
        sys.exit(1)
    for bound, value in (
        (resource.RLIMIT_AS, MEMORY_BYTES_MAX),
        (resource.RLIMIT_NOFILE, OPEN_FILES_MAX),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(bound, (value, value))
    steps = _filter()
    _prctl(libc, _PR_SET_NO_NEW_PRIVS, 1)  # without it only root may set a filter
    program = _Program(len(steps) // 8, steps)
    _prctl(libc, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(program))


def _filter() -> bytes:
    """The calls that are allowed as a program for the kernel (struct sock_filter each); others end in EPERM."""
    if platform.machine() not in _CALLS:
        raise OSError(errno.ENOSYS, "no filter of system calls for this machine")
    machine, calls = _CALLS[platform.machine()]
    steps = [(_LOAD, 0, 0, _MACHINE), (_IF_EQUAL, 1, 0, machine), (_ANSWER, 0, 0, _KILLED), (_LOAD, 0, 0, _NUMBER)]
    for left, call in zip(range(len(calls), 0, -1), sorted(calls), strict=True):
        steps.append((_IF_EQUAL, left, 0, call))
    steps += [(_ANSWER, 0, 0, _REFUSED), (_ANSWER, 0, 0, _ALLOWED)]
    return b"".join(struct.pack("=HBBI", *step) for step in steps)


def _prctl(libc: ctypes.CDLL, what: int, *values: object) -> None:
    given = [value if not isinstance(value, int) else ctypes.c_ulong(value) for value in values]
    if libc.prctl(what, *given, *[ctypes.c_ulong(0)] * (4 - len(given))):
        raise OSError(ctypes.get_errno(), "a parser child could not be confined")
