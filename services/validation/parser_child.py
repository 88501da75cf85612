"""The program that parses other people's PDFs and pictures: a process of its own, poor in everything.

It holds no key, no address and no environment. Once its parsers are loaded and warm it can open no file and no socket
and start no process (`confinement`), and it lives no longer than its parent. On standard input it takes jobs (kind in
one byte, length in eight, content), on standard output it answers each with one line of codes.
`python -m services.validation.parser_child`
"""

import signal
import sys
from collections.abc import Callable
from io import BytesIO
from typing import BinaryIO, Final

import pikepdf
from PIL import Image, ImagePalette, MpoImagePlugin, TiffImagePlugin

from services.validation import inspect_pdf, inspect_picture
from services.validation.confinement import confine
from services.validation.parser_protocol import CPU_SECONDS_MAX, HEADER, JPEG, PDF, PNG, READY, UNREADABLE

INSPECTORS: Final[dict[bytes, Callable[[bytes], set[str]]]] = {
    PDF: inspect_pdf.inspect,
    JPEG: inspect_picture.inspect_jpeg,
    PNG: inspect_picture.inspect_png,
}

LATE: Final = (ImagePalette, MpoImagePlugin, TiffImagePlugin)
"""What Pillow would load with the first picture that has a palette, further pictures or notes of the camera."""


def _warm_up() -> None:
    """Have every parser load and open what it needs late: afterwards nothing can be opened.

    Raises:
        RuntimeError: a good file does not pass.
    """
    for kind, data in ((PDF, _document()), (JPEG, _picture("JPEG")), (PNG, _picture("PNG"))):
        if INSPECTORS[kind](data):
            raise RuntimeError("a parser refuses a good file")
        _codes(kind, data[: len(data) // 2])
    _codes(PDF, _document(pikepdf.Encryption()))


def _document(encryption: pikepdf.Encryption | None = None) -> bytes:
    out = BytesIO()
    with pikepdf.new() as made:
        made.add_blank_page()
        made.save(out, encryption=encryption)
    return out.getvalue()


def _picture(kind: str) -> bytes:
    out = BytesIO()
    Image.new("RGB", (8, 8)).save(out, kind)
    return out.getvalue()


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
        signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS_MAX)  # then the kernel ends the process
        found, sound = _codes(kind, data)
        sink.write(" ".join(sorted(found)).encode("ascii") + b"\n")
        sink.flush()
        if not sound:
            return


def run(parent: int) -> None:
    """Warm up, give everything up, serve."""
    _warm_up()
    confine(parent)
    main(sys.stdin.buffer, sys.stdout.buffer)


if __name__ == "__main__":
    run(int(sys.argv[1]))
