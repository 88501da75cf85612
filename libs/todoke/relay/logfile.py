"""Where a process's log lines go: a file that is kept small while the process runs, or standard error.

Logging never stops the work: a line that cannot be written (the disk is full, nobody reads the pipe) is counted, and
the next one that can be written says how many are missing.
"""

import json
import logging
import os
import sys
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Final

LOG_BYTES_MAX: Final = 32 * 1024 * 1024
"""A file of this size is put aside: some days of a busy office network, and still opened by any editor."""

LOGS_KEPT: Final = 3
"""Files put aside that are kept: `web.log.1` is the newest."""


class LogSink:
    """What structlog writes to: the lines of one process, each given as a whole."""

    def __init__(self, handler: logging.Handler) -> None:
        self._handler = handler
        self._lost = 0
        handler.handleError = self._count  # type: ignore[method-assign]  # logging's own hook for what emit raised

    @classmethod
    def to(cls, file: Path | None, bytes_max: int = LOG_BYTES_MAX) -> "LogSink":
        """A sink for `file`, which belongs to this process alone; standard error without one."""
        return cls(logging.StreamHandler(sys.stderr) if file is None else _KeptSmall(file, bytes_max))

    def write(self, text: str) -> None:
        """Write one line. Never raises."""
        lost, self._lost = self._lost, 0
        if lost:
            self._emit(json.dumps({"event": "log_lines_lost", "level": "warning", "lines": lost}))
            if self._lost:  # that one was lost too: it stands for the lines before it, not for itself
                self._lost = lost
        self._emit(text.removesuffix("\n"))

    def flush(self) -> None:
        """Nothing: each line is flushed when it is written."""

    def _emit(self, line: str) -> None:
        self._handler.handle(logging.makeLogRecord({"msg": line}))

    def _count(self, record: logging.LogRecord) -> None:
        del record
        self._lost += 1


class _KeptSmall(RotatingFileHandler):
    """Puts the file aside by size; what libraries print themselves (a crash's last words) follows into the new one."""

    def __init__(self, file: Path, bytes_max: int) -> None:
        super().__init__(file, maxBytes=bytes_max, backupCount=LOGS_KEPT, encoding="utf-8")

    def doRollover(self) -> None:  # noqa: N802 - logging's own name
        """Put the file aside and take standard output and error along, where they stand in it."""
        file = Path(self.baseFilename)
        standing = file.stat()
        followers = [number for number in (1, 2) if os.path.samestat(os.fstat(number), standing)]
        super().doRollover()
        for number in followers:
            with file.open("ab") as new:
                os.dup2(new.fileno(), number)
