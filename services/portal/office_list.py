"""A list of offices as people have it: whether it is one at all, in which encoding it is, and the same in UTF-8. Pure.

What stands in its lines is for the registry to judge; here a file is looked at in passing, never held as a whole.
"""

import csv
import hashlib
import re
from typing import Literal

Encoding = Literal["utf-8", "cp932"]

LIST_BYTES_MAX = 64 * 1024 * 1024
"""A list of every office of the country has about 40 MiB."""

REST_BYTES_MAX = 65_536
"""A line that is longer ends here: it is refused anyway."""

SHOWN_LINES = 4
"""Lines that are kept to be looked at: the columns, and some offices."""

SHOWN_BYTES_MAX = 4096
"""So much of each."""

SURE_LINES = 1000
"""After so many lines that are no UTF-8 a block that reads as cp932 is not looked at line by line."""

BOM = b"\xef\xbb\xbf"
_NO_TEXT = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0", b"%PDF")
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_JIS = b"\x1b$"

_NEVER_WRITTEN = re.compile("[\x80\uf8f0-\uf8f3]")
"""What Python makes of the single bytes of cp932 that stand for nothing."""

BROKEN = b"\xff"
"""What a line becomes that cannot be read in its file's encoding: the registry says so of it."""


class NoList(Exception):  # noqa: N818 (named for what it is)
    """The file cannot be a list of offices; `code` is the sentence's number, or the kit's code of it."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Look:
    """Looks at a file while it passes. Ask `encoding()` once all of it was fed."""

    def __init__(self) -> None:
        self.lines = 0
        self._bytes = 0
        self._digest = hashlib.sha256()
        self._first = b""
        self._shown: list[bytes] = []
        self._rest = b""
        self._utf_8 = self._not_utf_8 = self._not_cp932 = self._not_euc = 0
        self._is_text = True
        self._is_jis = False
        self._is_blank = True

    def feed(self, piece: bytes) -> None:
        """A piece of the file, in order. Raises `NoList` when it is too large."""
        self._bytes += len(piece)
        if self._bytes > LIST_BYTES_MAX:
            raise NoList("E-722")
        self._digest.update(piece)
        if len(self._first) < len(_NO_TEXT[0]):
            self._first = (self._first + piece)[: len(_NO_TEXT[0])]
        self._is_text = self._is_text and b"\0" not in piece
        self._is_jis = self._is_jis or _JIS in piece
        self._is_blank = self._is_blank and not piece.strip()
        block, newline, rest = (self._rest + piece).rpartition(b"\n")
        self._rest = rest[:REST_BYTES_MAX]
        if newline:
            self._judge(block)

    def encoding(self) -> Encoding:
        """The file's encoding. Raises `NoList`."""
        if self._rest:
            self._judge(self._rest)
            self._rest = b""
        if self._first.startswith(_UTF_16) or self._is_jis:
            raise NoList("E-721")
        if self._first.startswith(_NO_TEXT) or not self._is_text:
            raise NoList("E-720")
        if self._is_blank:
            raise NoList("TDK-LIST-EMPTY")
        if self._first.startswith(BOM) or self._utf_8 >= self._not_utf_8:
            return "utf-8"
        # Text of EUC-JP passes for cp932 now and then; text of cp932 never passes for EUC-JP.
        if not self._not_euc or 2 * self._not_cp932 > self._not_utf_8:
            raise NoList("E-721")
        return "cp932"

    def digest(self) -> str:
        """The file's SHA-256."""
        return self._digest.hexdigest()

    def shown(self, encoding: Encoding) -> list[list[str]]:
        """The cells of the first lines, for the eyes of whoever chose the file."""
        texts = [line.removeprefix(BOM).decode(encoding, "replace") for line in self._shown]
        return list(csv.reader(texts))

    def _judge(self, block: bytes) -> None:
        lines = block.split(b"\n")
        self.lines += len(lines)
        for line in lines[: SHOWN_LINES - len(self._shown)]:
            self._shown.append(line[:SHOWN_BYTES_MAX].rstrip(b"\r"))
        if block.isascii():
            return
        if _reads(block, "utf-8"):
            self._utf_8 += len(lines)
            return
        if self._not_utf_8 > SURE_LINES and _reads(block, "cp932"):
            self._not_utf_8 += len(lines)
            return
        for line in lines:
            if line.isascii():
                continue
            if _reads(line, "utf-8"):
                self._utf_8 += 1
                continue
            self._not_utf_8 += 1
            self._not_cp932 += not _reads(line, "cp932")
            self._not_euc += not _reads(line, "euc_jp")


class Recoder:
    """The lines of a file in UTF-8, as they are read; `lines` counts those that were handed out."""

    def __init__(self, encoding: Encoding) -> None:
        self._encoding = encoding
        self._rest = b""
        self.lines = 0

    def feed(self, piece: bytes) -> bytes:
        """Whole lines, as far as they are there."""
        block, newline, rest = (self._rest + piece).rpartition(b"\n")
        self._rest = rest[:REST_BYTES_MAX]
        return self._recoded(block) + newline if newline else b""

    def end(self) -> bytes:
        """The last line, if the file does not end with its end."""
        return self._recoded(self._rest) if self._rest else b""

    def _recoded(self, block: bytes) -> bytes:
        self.lines += block.count(b"\n") + 1
        if self._encoding == "utf-8":
            return block
        text = _decoded(block, self._encoding)
        return b"\n".join(map(self._line, block.split(b"\n"))) if text is None else text.encode()

    def _line(self, line: bytes) -> bytes:
        text = _decoded(line, self._encoding)
        return BROKEN if text is None else text.encode()


def _reads(text: bytes, encoding: str) -> bool:
    return _decoded(text, encoding) is not None


def _decoded(text: bytes, encoding: str) -> str | None:
    """The text; None when it is not of this encoding."""
    try:
        found = text.decode(encoding)
    except UnicodeDecodeError:
        return None
    return None if encoding == "cp932" and _NEVER_WRITTEN.search(found) else found
