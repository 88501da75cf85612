"""Photos as telephones make them pass; whatever is none, breaks off, hides something or blows up does not."""

import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, PngImagePlugin

from services.validation.parser_protocol import APPENDED, CONTENT, EXPANDS, PIXELS, UNREADABLE

from .confined import child, inspect_jpeg, inspect_png

NOISE: Final = Image.effect_noise((320, 240), 60)


@pytest.fixture(scope="module", autouse=True)
def judging() -> Iterator[None]:
    with child():
        yield


def saved(kind: str, picture: Image.Image = NOISE, mode: str = "RGB", **options: Any) -> bytes:
    out = io.BytesIO()
    picture.convert(mode).save(out, kind, **options)
    return out.getvalue()


def jpeg(**options: Any) -> bytes:
    return saved("JPEG", **options)


def exif() -> Image.Exif:
    found = Image.Exif()
    found[0x010F] = "Todoke"
    found[0x0112] = 6
    return found


def profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def segment(marker: int, content: bytes) -> bytes:
    return bytes((0xFF, marker)) + (len(content) + 2).to_bytes(2) + content


def with_segment(marker: int, content: bytes) -> bytes:
    data = jpeg()
    return data[:2] + segment(marker, content) + data[2:]


def multi_picture() -> bytes:
    out = io.BytesIO()
    NOISE.convert("RGB").save(out, "MPO", save_all=True, append_images=[NOISE.convert("RGB").resize((160, 120))])
    return out.getvalue()


def resized(data: bytes, width: int, height: int) -> bytes:
    """The JPEG with other measures in its frame header."""
    place = next(data.index(mark) for mark in (b"\xff\xc0", b"\xff\xc2") if mark in data) + 5
    return data[:place] + struct.pack(">HH", height, width) + data[place + 4 :]


def chunk(kind: bytes, content: bytes) -> bytes:
    return len(content).to_bytes(4) + kind + content + zlib.crc32(content, zlib.crc32(kind)).to_bytes(4)


def drawn(width: int, height: int, *chunks: bytes, depth: int = 8, colour: int = 0) -> bytes:
    """A PNG from its chunks; the end chunk is added."""
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join((chunk(b"IHDR", head), *chunks, chunk(b"IEND", b"")))


def with_chunk(kind: bytes, content: bytes) -> bytes:
    return drawn(4, 4, chunk(kind, content), chunk(b"IDAT", zlib.compress(bytes(20))))


def texts() -> PngImagePlugin.PngInfo:
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", "あ" * 500, zip=True)
    info.add_itxt("XML:com.adobe.xmp", "<x:xmpmeta xmlns:x='adobe:ns:meta/'/>", zip=True)
    return info


def zipped() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a.txt", "x")
    return out.getvalue()


GOOD_JPEG: Final[dict[str, Callable[[], bytes]]] = {
    "plain": jpeg,
    "grey": lambda: jpeg(mode="L"),
    "for print": lambda: jpeg(mode="CMYK"),
    "progressive": lambda: jpeg(progressive=True),
    "restart markers": lambda: jpeg(restart_marker_blocks=4),
    "best quality": lambda: jpeg(quality=100, subsampling=0),
    "a photo with EXIF and colour profile": lambda: jpeg(exif=exif(), icc_profile=profile()),
    "comment and XMP": lambda: jpeg(comment="8月の訪問", xmp=b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"),
    "many zeros behind the end": lambda: jpeg() + bytes(5000),
    "fill bytes before a marker": lambda: jpeg().replace(b"\xff\xdb", b"\xff\xff\xff\xdb", 1),
    "two exposures": multi_picture,
    "two exposures and zeros": lambda: multi_picture() + bytes(100),
    "one point": lambda: jpeg(picture=Image.new("L", (1, 1))),
    "12 million points": lambda: jpeg(picture=Image.new("L", (4000, 3000))),
}

GOOD_PNG: Final[dict[str, Callable[[], bytes]]] = {
    **{mode: partial(saved, "PNG", mode=mode) for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")},
    "interlaced by hand": lambda: drawn(1, 1, chunk(b"IDAT", zlib.compress(bytes(2)))),
    "texts, profile, EXIF": lambda: saved("PNG", pnginfo=texts(), icc_profile=profile(), exif=exif()),
    "pixels in many chunks": lambda: drawn(
        4, 4, *(chunk(b"IDAT", zlib.compress(bytes(20))[place : place + 1]) for place in range(11))
    ),
    "unknown chunks that may be ignored": lambda: with_chunk(b"vpAg", b"x" * 9),
}

BAD_JPEG: Final[dict[str, tuple[Callable[[], bytes], str]]] = {
    "text": (lambda: b"hello", CONTENT),
    "PNG": (lambda: saved("PNG"), CONTENT),
    "GIF": (lambda: saved("GIF", mode="L"), CONTENT),
    "something before it": (lambda: b"GIF89a" + jpeg(), CONTENT),
    "only its first bytes": (lambda: b"\xff\xd8\xff", UNREADABLE),
    "a film behind it, as phones make them": (
        lambda: jpeg() + bytes.fromhex("00000018") + b"ftypmp42\0\0\0\0isommp42" + b"\x01" * 5000,
        APPENDED,
    ),
    "first bytes and a program": (lambda: b"\xff\xd8\xff\xe0" + b"MZ" * 500, UNREADABLE),
    "no picture between the ends": (lambda: b"\xff\xd8\xff\xd9", UNREADABLE),
    "only notes": (lambda: b"\xff\xd8" + segment(0xFE, b"x") + b"\xff\xd9", UNREADABLE),
    "no scan": (lambda: jpeg()[: jpeg().index(b"\xff\xda")] + b"\xff\xd9", UNREADABLE),
    "two frames": (
        lambda: jpeg().replace(b"\xff\xc4", segment(0xC0, b"\x08\0\1\0\1\1\1\x11\0") + b"\xff\xc4", 1),
        UNREADABLE,
    ),
    "zero points high": (lambda: resized(jpeg(), 320, 0), UNREADABLE),
    "an archive behind it": (lambda: jpeg() + zipped(), APPENDED),
    "an archive in a note": (lambda: with_segment(0xFE, zipped()), APPENDED),
    "a web page behind it": (lambda: jpeg() + b"<html></html>", APPENDED),
    "a web page in a note": (lambda: with_segment(0xFE, b"<SCRIPT>alert(1)</SCRIPT>"), APPENDED),
    "a server page in a note": (lambda: with_segment(0xED, b"<?php system($_GET[0]); ?>"), APPENDED),
    "a PDF in a note": (lambda: with_segment(0xFE, b"%PDF-1.7\n1 0 obj"), APPENDED),
    "a PDF behind it": (lambda: jpeg() + b"%PDF-1.7\n%%EOF", APPENDED),
    "a second JPEG behind it": (lambda: jpeg() + jpeg(), APPENDED),
    "zeros and then something": (lambda: jpeg() + bytes(50) + b"x", APPENDED),
    "two exposures and something": (lambda: multi_picture() + b"MZ", APPENDED),
    "10 000 million points": (lambda: resized(jpeg(), 65500, 65500), PIXELS),
    "just too many points": (lambda: resized(jpeg(), 10001, 10000), PIXELS),
    "progressive with too many scans": (
        lambda: jpeg(progressive=True).replace(
            b"\xff\xd9", jpeg(progressive=True)[jpeg(progressive=True).rindex(b"\xff\xda") : -2] * 120 + b"\xff\xd9"
        ),
        EXPANDS,
    ),
}

BAD_PNG: Final[dict[str, tuple[Callable[[], bytes], str]]] = {
    "JPEG": (jpeg, CONTENT),
    "SVG": (lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>", CONTENT),
    "only its first bytes": (lambda: b"\x89PNG\r\n\x1a\n", UNREADABLE),
    "an animation": (lambda: saved("PNG", save_all=True, append_images=[NOISE.convert("RGB").rotate(90)]), CONTENT),
    "an archive behind it": (lambda: saved("PNG") + zipped(), APPENDED),
    "something in its end": (
        lambda: saved("PNG")[:-12] + chunk(b"IEND", b"MZ" * 50),
        APPENDED,
    ),
    "one byte behind it": (lambda: saved("PNG") + b"\0", APPENDED),
    "a web page in a text": (lambda: with_chunk(b"tEXt", b"Comment\0<script>alert(1)</script>"), APPENDED),
    "a packed server page in a text": (lambda: with_chunk(b"zTXt", b"C\0\0" + zlib.compress(b"<?php 1 ?>")), APPENDED),
    "a PDF in a text": (lambda: with_chunk(b"tEXt", b"C\0%PDF-1.7"), APPENDED),
    "a wrong check sum": (lambda: saved("PNG").replace(b"IHDR\0", b"IHDR\1", 1), UNREADABLE),
    "no pixels": (lambda: drawn(4, 4), UNREADABLE),
    "too few pixels": (lambda: drawn(4, 5, chunk(b"IDAT", zlib.compress(bytes(20)))), UNREADABLE),
    "more pixels than said": (lambda: drawn(4, 3, chunk(b"IDAT", zlib.compress(bytes(20)))), EXPANDS),
    "a small picture that unpacks to 50 MB": (
        lambda: drawn(4, 4, chunk(b"IDAT", zlib.compress(bytes(50_000_000)))),
        EXPANDS,
    ),
    "a text that unpacks to 50 MB": (
        lambda: with_chunk(b"zTXt", b"C\0\0" + zlib.compress(bytes(50_000_000))),
        EXPANDS,
    ),
    "a profile that unpacks to 50 MB": (
        lambda: with_chunk(b"iCCP", b"C\0\0" + zlib.compress(bytes(50_000_000))),
        EXPANDS,
    ),
    "pixels that are no pixels": (lambda: drawn(4, 4, chunk(b"IDAT", b"MZ" * 20)), UNREADABLE),
    "pixels in two runs": (
        lambda: drawn(
            4,
            4,
            chunk(b"IDAT", zlib.compress(bytes(20))[:5]),
            chunk(b"tEXt", b"a\0b"),
            chunk(b"IDAT", zlib.compress(bytes(20))[5:]),
        ),
        UNREADABLE,
    ),
    "an unknown kind of colour": (lambda: drawn(4, 4, chunk(b"IDAT", b""), colour=5), UNREADABLE),
    "an impossible depth": (lambda: drawn(4, 4, chunk(b"IDAT", b""), depth=3), UNREADABLE),
    "a critical chunk nobody knows": (lambda: with_chunk(b"ABCD", b""), UNREADABLE),
    "no points at all": (lambda: drawn(0, 4, chunk(b"IDAT", zlib.compress(b""))), UNREADABLE),
    "10 000 million points": (lambda: drawn(100_000, 100_000, chunk(b"IDAT", zlib.compress(bytes(99)))), PIXELS),
}


@pytest.mark.parametrize("which", GOOD_JPEG)
def test_an_ordinary_jpeg_passes(which: str) -> None:
    assert inspect_jpeg(GOOD_JPEG[which]()) == set()


@pytest.mark.parametrize("which", GOOD_PNG)
def test_an_ordinary_png_passes(which: str) -> None:
    assert inspect_png(GOOD_PNG[which]()) == set()


@pytest.mark.parametrize("which", BAD_JPEG)
def test_a_hostile_jpeg_is_found_out(which: str) -> None:
    make, code = BAD_JPEG[which]
    assert code in inspect_jpeg(make())


@pytest.mark.parametrize("which", BAD_PNG)
def test_a_hostile_png_is_found_out(which: str) -> None:
    make, code = BAD_PNG[which]
    assert code in inspect_png(make())


@pytest.mark.parametrize("share", range(1, 40))
def test_a_picture_cut_anywhere_never_passes(share: int) -> None:
    for data in (jpeg(), jpeg(progressive=True), jpeg(exif=exif()), multi_picture()):
        assert inspect_jpeg(data[: len(data) * share // 40])
    for data in (saved("PNG"), saved("PNG", pnginfo=texts())):
        assert inspect_png(data[: len(data) * share // 40])


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (5, 5), (8, 8), (9, 17), (33, 7)])
def test_an_interlaced_png_has_as_many_bytes_as_its_passes_say(size: tuple[int, int]) -> None:
    width, height = size
    steps = ((0, 8, 0, 8), (4, 8, 0, 8), (0, 4, 4, 8), (2, 4, 0, 4), (0, 2, 2, 4), (1, 2, 0, 2), (0, 1, 1, 2))
    length = 0
    for left, across, top, down in steps:
        columns, rows = len(range(left, width, across)), len(range(top, height, down))
        length += rows * (1 + columns) if columns else 0
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 1)
    pixels = chunk(b"IDAT", zlib.compress(bytes(length)))
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + pixels + chunk(b"IEND", b"")
    assert inspect_png(data) == set()


@settings(deadline=timedelta(seconds=5), max_examples=40)
@given(st.data())
def test_a_damaged_picture_is_judged_without_an_error(data: st.DataObject) -> None:
    for make, inspect in ((multi_picture, inspect_jpeg), (lambda: saved("PNG", pnginfo=texts()), inspect_png)):
        content = bytearray(make())
        for _ in range(data.draw(st.integers(1, 5))):
            content[data.draw(st.integers(0, min(len(content), 900) - 1))] = data.draw(st.integers(0, 255))
        inspect(bytes(content))
