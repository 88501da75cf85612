"""Ports for what tests start themselves."""

import os
import socket

LOWEST, ROOM, PLACES = 10_000, 50, 200
"""Below 20,000, where engines choose theirs between our looking and our listening, and the kernel's own from 32,768."""


def free_ports(count: int = 3) -> int:
    """The first of so many free ports in a row. Every process of tests begins to look at a place of its own."""
    for place in range(PLACES):
        port = LOWEST + (os.getpid() + place) % PLACES * ROOM
        if all(map(_is_free, range(port, port + count))):
            return port
    raise AssertionError("no free ports")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
