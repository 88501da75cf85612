"""CPU seconds of process trees, engines included, and the machine they are measured on."""

import os
import platform
import subprocess
import time
from collections.abc import Mapping

import psutil


def machine() -> str:
    """What a figure means nothing without: cores, what else runs (load of the last minute), Python, commit."""
    describe = ["git", "describe", "--always", "--dirty"]
    commit = subprocess.run(describe, capture_output=True, text=True, check=False).stdout.strip() or "unknown"
    load = f"load {os.getloadavg()[0]:.1f} before"
    return f"{os.cpu_count()} cores, {load}, Python {platform.python_version()}, commit {commit}"


class Meter:
    """CPU seconds per name between `start()` and `stop()`; a name is a process with its children, ended ones too.

    This process, whose children are what it measures, stands for itself alone.
    """

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._processes = {name: psutil.Process(pid) for name, pid in pids.items()}
        self._at: dict[str, float] = {}

    def start(self) -> None:
        """Begin to count."""
        self._at = self._read()

    def stop(self) -> dict[str, float]:
        """CPU seconds since `start()`."""
        now = self._read()
        return {name: now[name] - self._at[name] for name in now}

    def _read(self) -> dict[str, float]:
        return {name: _tree(process) for name, process in self._processes.items()}


def _tree(process: psutil.Process) -> float:
    if process.pid == os.getpid():
        return time.process_time()
    total = 0.0
    for each in (process, *process.children(recursive=True)):
        try:
            times = each.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total
