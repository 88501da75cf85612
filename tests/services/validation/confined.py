"""The inspectors where they work: in a parser child with its real confinement, on every file of these tests."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import services
from services.validation.attachments import PROGRAM
from services.validation.parser_child import INSPECTORS
from services.validation.parser_protocol import HEADER, JPEG, PDF, PNG, READY

_child: list[subprocess.Popen[bytes]] = []


@contextlib.contextmanager
def child() -> Iterator[None]:
    """A parser child for the block."""
    command = [sys.executable, *PROGRAM, str(os.getpid())]
    environment = {"PYTHONPATH": str(Path(services.__path__[0]).parent), "LANG": "C.UTF-8"}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, cwd="/") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == READY
        _child.append(process)
        yield
        _child.clear()
        assert process.poll() is None, "the child ended over a file"


def inspect(data: bytes) -> set[str]:
    """What the child finds in a PDF: the same as this process."""
    return _found(PDF, data)


def inspect_jpeg(data: bytes) -> set[str]:
    """What it finds in a JPEG."""
    return _found(JPEG, data)


def inspect_png(data: bytes) -> set[str]:
    """What it finds in a PNG."""
    return _found(PNG, data)


def _found(kind: bytes, data: bytes) -> set[str]:
    [process] = _child
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(HEADER.pack(kind, len(data)))
    process.stdin.write(data)
    process.stdin.flush()
    answer = process.stdout.readline()
    assert answer.endswith(b"\n"), "the child ended over this file"
    found = set(answer.decode().split())
    assert found == INSPECTORS[kind](data)
    return found
