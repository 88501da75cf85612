"""A program whose error output is a terminal, as when a person types it."""

import contextlib
import fcntl
import os
import pty
import struct
import subprocess
import termios
import threading
from collections.abc import Mapping, Sequence

ROWS, COLUMNS = 24, 100
SECONDS_MAX = 60.0


def typed(command: Sequence[str], environment: Mapping[str, str]) -> tuple[int, str, str]:
    """Exit code, standard output (a pipe) and everything that the terminal was sent, control characters too."""
    mine, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    seen = bytearray()

    def look() -> None:
        with contextlib.suppress(OSError):  # the other side of a terminal is gone: EIO, not an end of file
            while piece := os.read(mine, 4096):
                seen.extend(piece)

    try:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=its,
            env={**os.environ, "TERM": "xterm", **environment},
        )
    finally:
        os.close(its)
    looking = threading.Thread(target=look)
    looking.start()
    with child:
        out, _ = child.communicate(timeout=SECONDS_MAX)
    looking.join()
    os.close(mine)
    return child.returncode, out.decode(), seen.decode()
