"""The program that parses other people's PDFs and pictures: a process of its own, poor in everything.

It holds no key, no address and no environment, opens no file, writes no file, and lives no longer than its parent. On
standard input it takes jobs (kind in one byte, length in eight, content), on standard output it answers each with one
line of codes. `python -m services.validation.parser_child`
"""

import ctypes
import os
import resource
import signal
import sys
from collections.abc import Callable
from typing import BinaryIO, Final

from services.validation import inspect_pdf, inspect_picture
from services.validation.parser_protocol import CPU_SECONDS_MAX, HEADER, JPEG, PDF, PNG, READY, UNREADABLE

MEMORY_BYTES_MAX: Final = 512 * 1024 * 1024
"""Address space: a photo of 100 million pixels, decoded at an eighth, needs a third of it."""

OPEN_FILES_MAX: Final = 16
"""Open files: three pipes, and the libraries that are loaded late."""

INSPECTORS: Final[dict[bytes, Callable[[bytes], set[str]]]] = {
    PDF: inspect_pdf.inspect,
    JPEG: inspect_picture.inspect_jpeg,
    PNG: inspect_picture.inspect_png,
}

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_DUMPABLE: Final = 4
_PR_SET_NO_NEW_PRIVS: Final = 38


def _confine(parent: int) -> None:
    """Give up what parsing does not need; from here on nothing can be had back."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    if os.getppid() != parent:  # it died before it could be waited for
        sys.exit(1)
    for bound, value in (
        (resource.RLIMIT_AS, MEMORY_BYTES_MAX),
        (resource.RLIMIT_NOFILE, OPEN_FILES_MAX),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(bound, (value, value))


def _limit_time() -> None:
    """From now on, so much processor time; then the kernel ends the process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    until = int(used.ru_utime + used.ru_stime) + 1 + CPU_SECONDS_MAX
    resource.setrlimit(resource.RLIMIT_CPU, (until, resource.RLIM_INFINITY))


def _codes(kind: bytes, data: bytes) -> tuple[set[str], bool]:
    """The findings of one file, and whether this process is still good for another."""
    try:
        return INSPECTORS[kind](data), True
    except (MemoryError, RecursionError):
        return {UNREADABLE}, False
    except Exception:  # noqa: BLE001 (a parser that stumbles over a file has judged it: whatever it raises)
        return {UNREADABLE}, False


def main(source: BinaryIO, sink: BinaryIO) -> None:
    """Serve jobs until the parent closes the pipe."""
    sink.write(READY)
    sink.flush()
    while len(header := source.read(HEADER.size)) == HEADER.size:
        kind, length = HEADER.unpack(header)
        data = source.read(length)
        if len(data) != length:
            return
        _limit_time()
        found, sound = _codes(kind, data)
        sink.write(" ".join(sorted(found)).encode("ascii") + b"\n")
        sink.flush()
        if not sound:
            return


if __name__ == "__main__":
    _confine(int(sys.argv[1]))
    main(sys.stdin.buffer, sys.stdout.buffer)
