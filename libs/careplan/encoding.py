"""Bytes ⇄ text in MS932, the encoding of the standard (Python's ``cp932``), with its traps.

- UTF-8 and UTF-16 files decode into rubbish or not at all: they are recognised and said as one finding.
- The user-defined area and four single bytes decode without complaint: the row patterns refuse their characters.
- Python encodes 388 IBM extension characters to other bytes than Windows does: the writer uses the usual ones.
- Wave dash, minus and six more characters come in two Unicode forms, of which cp932 knows one.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Final

_UTF8_MARK = b"\xef\xbb\xbf"
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_ISO_2022 = b"\x1b$"
_THREE_BYTES = re.compile("[\u0800-\uffff]")
_MOSTLY_NULL = 4  # UTF-16 of ASCII is half NUL; a quarter is no accident

# Forms that cp932 lacks → the forms it has (wave dash, minus, parallel, cent, pound, not, em dash, broken bar).
SAME_CHARACTER: Final = str.maketrans(
    {
        "\u301c": "\uff5e",
        "\u2212": "\uff0d",
        "\u2016": "\u2225",
        "\u00a2": "\uffe0",
        "\u00a3": "\uffe1",
        "\u00ac": "\uffe2",
        "\u2014": "\u2015",
        "\u00a6": "\uffe4",
    }
)
REPLACEMENT: Final = "〓"
"""What the writer puts where a character cannot be written in MS932."""


def decode(data: bytes) -> str | int:
    """The text of a file, or the offset of the first byte that is not MS932 (0 for a file in another encoding)."""
    if data.startswith((_UTF8_MARK, *_UTF16_MARKS)) or (_ISO_2022 in data and data.isascii()):
        return 0
    nulls = data.count(0)
    if nulls and nulls * _MOSTLY_NULL > len(data):
        return 0
    try:
        text = data.decode("cp932")
    except UnicodeDecodeError as error:
        return 0 if is_utf8(data) else error.start
    if len(text) != len(data) and is_utf8(data):
        return 0
    return text


def is_utf8(data: bytes) -> bool:
    """Whether the bytes are UTF-8 with a mark or with Japanese in it.

    No MS932 text of more than a few characters ever is.
    """
    if data.startswith(_UTF8_MARK):
        return True
    try:
        return _THREE_BYTES.search(data.decode("utf-8")) is not None
    except UnicodeDecodeError:
        return False


@cache
def _ibm_bytes() -> dict[str, bytes]:
    """Character → its bytes among the IBM extensions, for those that Python encodes to the NEC copies (ED, EE)."""
    found = {}
    for lead in (0xFA, 0xFB, 0xFC):
        for trail in range(0x40, 0xFD):
            pair = bytes((lead, trail))
            try:
                character = pair.decode("cp932")
            except UnicodeDecodeError:
                continue
            if character.encode("cp932")[0] in {0xED, 0xEE}:
                found[character] = pair
    return found


@cache
def _ibm_characters() -> re.Pattern[str]:
    return re.compile(f"([{''.join(_ibm_bytes())}])")


def encode(text: str) -> bytes:
    """``text`` in MS932 as Windows writes it; what MS932 lacks becomes 〓."""
    text = text.translate(SAME_CHARACTER)
    ibm = _ibm_bytes()
    return b"".join(ibm[part] if part in ibm else _encode_plain(part) for part in _ibm_characters().split(text) if part)


def _encode_plain(text: str) -> bytes:
    try:
        data = text.encode("cp932")
    except UnicodeEncodeError:
        return b"".join(map(_encode_one, text))
    return data if _USER_DEFINED.search(text) is None else b"".join(map(_encode_one, text))


_USER_DEFINED = re.compile("[\x7f-\xa0\ue000-\uf8ff]")


def _encode_one(character: str) -> bytes:
    if _USER_DEFINED.match(character):
        character = REPLACEMENT
    try:
        return character.encode("cp932")
    except UnicodeEncodeError:
        return REPLACEMENT.encode("cp932")
