"""Which ports the engines of a home listen on."""

import random
import socket
from collections.abc import Iterable
from dataclasses import fields

from todoke.engines.model import EngineError, PortPlan

LOOPBACK = "127.0.0.1"

_LOWEST, _HIGHEST = 20_000, 32_000
"""Below the range from which Linux takes the ports of outgoing connections (32768 upwards): a port chosen here is still
free at the next start."""


def is_free(port: int) -> bool:
    """Whether a server could listen on this port of the loopback interface now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def answers(port: int) -> bool:
    """Whether something accepts connections on this port of the loopback interface."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=0.5):
            return True
    except OSError:
        return False


def choose() -> PortPlan:
    """A plan of ports that are all free now."""
    chosen: list[int] = []
    wanted = len(fields(PortPlan))
    candidates = list(range(_LOWEST, _HIGHEST))
    random.SystemRandom().shuffle(candidates)
    for port in candidates:
        if is_free(port):
            chosen.append(port)
        if len(chosen) == wanted:
            return PortPlan(*chosen)
    raise EngineError(f"Fewer than {wanted} free ports between {_LOWEST} and {_HIGHEST}: stop other servers first.")


def settle(asked: PortPlan | None, remembered: PortPlan | None, engines: Iterable[str]) -> PortPlan:
    """The plan to start with: what was asked for, else the home's last one while it is free, else a new one.

    Raises:
        EngineError: a port that was asked for is taken; the sentence names it.
    """
    names = list(engines)
    if asked is not None:
        for engine in names:
            for name, port in asked.of(engine).items():
                if not is_free(port):
                    raise EngineError(
                        f"Port {port} ({name}) is taken by another program: stop it or give another port."
                    )
        return asked
    if remembered is not None and all(is_free(port) for engine in names for port in remembered.of(engine).values()):
        return remembered
    return choose()
