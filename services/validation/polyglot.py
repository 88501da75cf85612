"""Signs that a file could be opened as another format than the one it claims: archives, web pages, disk images."""

import re
import struct

_ANYWHERE = (b"Rar!\x1a\x07", b"7z\xbc\xaf\x27\x1c")
"""Archives whose programs search the file for them: a self-extracting archive begins with a program."""

_AT = ((257, b"ustar"), (128, b"DICM"), (32769, b"CD001"), (34817, b"CD001"), (36865, b"CD001"))
"""Formats whose mark does not stand at the beginning: tar, DICOM, ISO 9660."""

_ZIP_END = b"PK\x05\x06"
_ZIP_END_BYTES = 22
_ZIP_TAIL_BYTES = _ZIP_END_BYTES + 0xFFFF
_ZIP_ENTRY = b"PK\x01\x02"

WEB = re.compile(rb"<\s*(?:script|html|svg|body|iframe|\?php|hta:|!doctype\s+html)", re.IGNORECASE)
"""The beginning of something that a browser or a server would run."""


def is_archive_too(data: bytes) -> bool:
    """Whether an archive program or a disk image mounter would find something of its own in the file."""
    return (
        any(mark in data for mark in _ANYWHERE)
        or any(data[place : place + len(mark)] == mark for place, mark in _AT)
        or _is_zip_too(data)
    )


def _is_zip_too(data: bytes) -> bool:
    """Whether a ZIP's end record stands in the tail and points back at a directory (APPNOTE.TXT section 4.3.16)."""
    start = max(0, len(data) - _ZIP_TAIL_BYTES)
    place = data.rfind(_ZIP_END, start)
    while place >= 0:
        record = data[place : place + _ZIP_END_BYTES]
        if len(record) == _ZIP_END_BYTES:
            entries, size = struct.unpack_from("<HI", record, 10)
            behind = place - size
            if entries == 0 or (behind >= 0 and data[behind : behind + len(_ZIP_ENTRY)] == _ZIP_ENTRY):
                return True
        place = data.rfind(_ZIP_END, start, place)
    return False
