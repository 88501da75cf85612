"""What is in a JPEG or PNG, part by part. Runs in the parser child only.

The frame of the file is walked by hand, so that every byte is accounted for; the picture itself is then decoded by
Pillow (JPEG, at an eighth of its size) or unpacked and counted (PNG), so that a truncated one is noticed.
"""

import re
import struct
import warnings
import zlib
from io import BytesIO
from itertools import pairwise
from typing import Final

from PIL import Image, PngImagePlugin

from services.validation.parser_protocol import (
    APPENDED,
    CONTENT,
    EXPANDS,
    HEAD_BYTES,
    JPEG_BEGIN,
    PDF_BEGIN,
    PIXELS,
    PNG_BEGIN,
    UNREADABLE,
)
from services.validation.polyglot import WEB, is_archive_too

PIXELS_MAX: Final = 100_000_000
"""Width times height: no camera of an office has more, and a picture bomb has."""

SCANS_MAX: Final = 100
"""Scans of one JPEG: progressive ones have about ten; thousands cost minutes."""

SEGMENTS_MAX: Final = 10_000
"""Segments of one JPEG: a photo has some dozens, a large profile or note some hundreds."""

TEXT_BYTES_MAX: Final = 16 * 1024 * 1024
"""Largest unpacked text or colour profile of a PNG."""

_PIECE: Final = 1024 * 1024
_MARKER: Final = re.compile(rb"\xff+([^\xff])", re.DOTALL)
_NEXT_MARKER: Final = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_EOI, _SOS, _APP0, _APP15, _COMMENT, _APP2 = 0xD9, 0xDA, 0xE0, 0xEF, 0xFE, 0xE2
_MULTI_PICTURE: Final = b"MPF\x00"
_MP_ENTRY: Final = 0xB002

Image.MAX_IMAGE_PIXELS = None  # pixels are counted here, before Pillow sees the file
PngImagePlugin.MAX_TEXT_CHUNK = TEXT_BYTES_MAX


class Broken(Exception):  # noqa: N818 (named for what was found)
    """The file does not keep its format; carries the code."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def inspect_jpeg(data: bytes) -> set[str]:
    """The codes of everything that speaks against the file as a JPEG (ITU-T T.81); empty if it may pass."""
    found = _company(data)
    try:
        walk = _Jpeg(data, 0)
        if not walk.accounts_for_the_rest():
            found.add(APPENDED)
    except Broken as broken:
        return found | {broken.code}
    return found | _decoded(data, (-(-walk.width // 8), -(-walk.height // 8)))


def _company(data: bytes) -> set[str]:
    return {APPENDED} if is_archive_too(data) or PDF_BEGIN in data[:HEAD_BYTES] else set()


def _decoded(data: bytes, size: tuple[int, int]) -> set[str]:
    """Decode with Pillow, scaled down while decoding: the memory of a phone's photo is a 64th that way."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(BytesIO(data), formats=["JPEG"]) as picture:
                picture.draft(None, size)
                picture.load()
        except (OSError, SyntaxError, ValueError, struct.error):
            return {UNREADABLE}
    return set()


class _Jpeg:
    """One JPEG from `start` on, up to and with its end marker."""

    def __init__(self, data: bytes, start: int) -> None:
        self.width = self.height = 0
        self._data = data
        self._start = start
        self._scans = 0
        self._segments = 0
        self._pictures: list[tuple[int, int]] = []
        self.end = self._walk(start)

    def _walk(self, start: int) -> int:
        if self._data[start : start + len(JPEG_BEGIN)] != JPEG_BEGIN:
            raise Broken(CONTENT)
        place = start + 2
        while True:
            marker, place = self._marker(place)
            if marker == _EOI:
                if not (self.width and self._scans):
                    raise Broken(UNREADABLE)
                return place
            place = self._segment(marker, place)

    def _marker(self, place: int) -> tuple[int, int]:
        """The marker that must begin here, and the place behind it; any number of fill bytes may stand before."""
        found = _MARKER.match(self._data, place)
        self._segments += 1
        if found is None or self._segments > SEGMENTS_MAX:
            raise Broken(UNREADABLE)
        return found[1][0], found.end()

    def _segment(self, marker: int, place: int) -> int:
        """Look at the segment of a marker; the place where the next marker must begin."""
        length = int.from_bytes(self._data[place : place + 2])
        end = place + length
        if length < 2 or end > len(self._data):  # noqa: PLR2004 (the length counts its own two bytes)
            raise Broken(UNREADABLE)
        content = self._data[place + 2 : end]
        if marker in _FRAMES:
            self._frame(content)
        elif _APP0 <= marker <= _APP15 or marker == _COMMENT:
            self._note(marker, content, place + 2)
        elif marker == _SOS:
            return self._scan(end)
        return end

    def _frame(self, content: bytes) -> None:
        if len(content) < 6 or self.width:  # noqa: PLR2004 (precision, height, width, components)
            raise Broken(UNREADABLE)
        self.height, self.width = struct.unpack_from(">HH", content, 1)
        if not (self.height and self.width):
            raise Broken(UNREADABLE)
        if self.height * self.width > PIXELS_MAX:
            raise Broken(PIXELS)

    def _note(self, marker: int, content: bytes, place: int) -> None:
        if WEB.search(content) or PDF_BEGIN in content:
            raise Broken(APPENDED)
        if marker == _APP2 and content.startswith(_MULTI_PICTURE):
            self._pictures = _multi_pictures(content[len(_MULTI_PICTURE) :], place + len(_MULTI_PICTURE))

    def _scan(self, place: int) -> int:
        self._scans += 1
        if self._scans > SCANS_MAX:
            raise Broken(EXPANDS)
        found = _NEXT_MARKER.search(self._data, place)
        if found is None:
            raise Broken(UNREADABLE)
        return found.start()

    def accounts_for_the_rest(self) -> bool:
        """Whether only zeros and the further pictures that the file's own index names (CIPA DC-007) follow.

        Phones store a second exposure or a brightness map that way. Each must be a whole JPEG.
        """
        spans = [(self._start, self.end)]
        for offset, size in self._pictures:
            other = _Jpeg(self._data, offset)
            if other.end > offset + size:
                return False
            spans.append((offset, other.end))
        spans.append((len(self._data), len(self._data)))
        spans.sort()
        return all(
            before <= after and not self._data[before:after].strip(b"\x00")
            for (_, before), (after, _) in pairwise(spans)
        )


def _multi_pictures(index: bytes, base: int) -> list[tuple[int, int]]:
    """Offset and size of each picture besides the first, from the index of a multi-picture file (CIPA DC-007 5.2)."""
    try:
        order = {b"II": "<", b"MM": ">"}[index[:2]]
        (place,) = struct.unpack_from(order + "I", index, 4)
        (count,) = struct.unpack_from(order + "H", index, place)
        for number in range(count):
            tag, _, size, value = struct.unpack_from(order + "HHII", index, place + 2 + 12 * number)
            if tag == _MP_ENTRY:
                entries = [struct.unpack_from(order + "III", index, value + 16 * each) for each in range(size // 16)]
                return [(base + offset, length) for _, length, offset in entries if offset]
    except (KeyError, struct.error):
        raise Broken(UNREADABLE) from None
    return []


def inspect_png(data: bytes) -> set[str]:
    """The codes of everything that speaks against the file as a PNG (ISO/IEC 15948); empty if it may pass."""
    found = _company(data)
    try:
        walk = _Png(data)
    except Broken as broken:
        return found | {broken.code}
    if walk.end != len(data):
        found.add(APPENDED)
    return found | _opened(data)


def _opened(data: bytes) -> set[str]:
    """Whether Pillow, too, takes it for a PNG."""
    try:
        with Image.open(BytesIO(data), formats=["PNG"]) as picture:
            picture.verify()
    except (OSError, SyntaxError, ValueError, struct.error):
        return {UNREADABLE}
    return set()


class _Png:
    """A PNG, chunk by chunk, up to and with its end."""

    _CHANNELS: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
    _DEPTHS: Final = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
    _PASSES: Final = ((0, 8, 0, 8), (4, 8, 0, 8), (0, 4, 4, 8), (2, 4, 0, 4), (0, 2, 2, 4), (1, 2, 0, 2), (0, 1, 1, 2))
    """Of each pass of an interlaced picture: first column, column step, first row, row step."""

    def __init__(self, data: bytes) -> None:
        if not data.startswith(PNG_BEGIN):
            raise Broken(CONTENT)
        self._data = data
        self._expected = 0
        self._unpacked = 0
        self._engine = zlib.decompressobj()
        self._closed = False
        self.end = self._walk()

    def _walk(self) -> int:
        place = len(PNG_BEGIN)
        before = b""
        while before != b"IEND":
            length = int.from_bytes(self._data[place : place + 4])
            end = place + 12 + length
            if end > len(self._data):
                raise Broken(UNREADABLE)
            kind, content = self._data[place + 4 : place + 8], self._data[place + 8 : end - 4]
            if zlib.crc32(content, zlib.crc32(kind)) != int.from_bytes(self._data[end - 4 : end]):
                raise Broken(UNREADABLE)
            if (kind == b"IHDR") != (place == len(PNG_BEGIN)):
                raise Broken(UNREADABLE)
            self._closed |= before == b"IDAT" != kind
            self._chunk(kind, content)
            place, before = end, kind
        if self._unpacked != self._expected or not self._engine.eof:
            raise Broken(UNREADABLE)
        return place

    def _chunk(self, kind: bytes, content: bytes) -> None:
        if kind == b"IHDR":
            self._header(content)
        elif kind == b"IDAT":
            self._pixels(content)
        elif kind == b"IEND" and content:
            raise Broken(APPENDED)
        elif kind in (b"acTL", b"fcTL", b"fdAT"):
            raise Broken(CONTENT)  # an animation: the first picture would not be all that it shows
        elif kind in (b"tEXt", b"zTXt", b"iTXt", b"iCCP", b"eXIf"):
            self._note(kind, content)
        elif kind not in (b"PLTE", b"IEND") and not kind[0] & 0x20:
            raise Broken(UNREADABLE)  # a critical chunk that no reader knows

    def _header(self, content: bytes) -> None:
        if len(content) != 13:  # noqa: PLR2004 (ISO/IEC 15948 section 11.2.2)
            raise Broken(UNREADABLE)
        width, height, depth, colour, packing, filtering, interlace = struct.unpack(">IIBBBBB", content)
        if depth not in self._DEPTHS.get(colour, ()) or packing or filtering or interlace > 1 or not width * height:
            raise Broken(UNREADABLE)
        if width * height > PIXELS_MAX:
            raise Broken(PIXELS)
        bits = depth * self._CHANNELS[colour]
        passes = self._PASSES if interlace else ((0, 1, 0, 1),)
        for left, across, top, down in passes:
            columns, rows = -(-(width - left) // across), -(-(height - top) // down)
            if columns > 0 and rows > 0:
                self._expected += rows * (1 + (columns * bits + 7) // 8)

    def _pixels(self, content: bytes) -> None:
        if self._closed:
            raise Broken(UNREADABLE)  # the pixels must stand in one run of chunks
        try:
            while content and not self._engine.eof:
                self._unpacked += len(self._engine.decompress(content, _PIECE))
                content = self._engine.unconsumed_tail
                if self._unpacked > self._expected:
                    raise Broken(EXPANDS)
        except zlib.error:
            raise Broken(UNREADABLE) from None

    def _note(self, kind: bytes, content: bytes) -> None:
        _, _, rest = content.partition(b"\x00")
        packed = b""
        if kind in (b"zTXt", b"iCCP"):
            packed = rest[1:]
        elif kind == b"iTXt" and rest[:1] == b"\x01":
            packed = rest[2:].partition(b"\x00")[2].partition(b"\x00")[2]
        try:
            text = zlib.decompressobj().decompress(packed, TEXT_BYTES_MAX + 1) if packed else content
        except zlib.error:
            raise Broken(UNREADABLE) from None
        if len(text) > TEXT_BYTES_MAX:
            raise Broken(EXPANDS)
        if WEB.search(text) or PDF_BEGIN in text:
            raise Broken(APPENDED)
