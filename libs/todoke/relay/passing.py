"""One multipart body (RFC 7578) read in passing: small fields, then one file that is never held as a whole."""

import asyncio
from collections.abc import AsyncIterator, Collection

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect

from todoke.relay.problem import Problem
from todoke.relay.upload import MULTIPART, PART_HEADER_BYTES_MAX, PART_HEADERS_MAX, Incoming

SILENCE_SECONDS_MAX = 30.0
"""A sender that says nothing for so long is gone."""


class PassingBody:
    """One body while it arrives. Ask for `fields()` first, then for `pieces()` of the file, which comes last.

    `names` are the fields that may come (None: any); their contents together have at most `fields_bytes_max` bytes, the
    whole body at most `bytes_max`.

    Every method raises `Problem`: TDK-BODY-KIND (415), TDK-BODY-MALFORMED (400), TDK-BODY-SLOW (408),
    TDK-BODY-TOO-LARGE (413), TDK-PART-MISSING, TDK-PART-UNKNOWN, TDK-PART-TWICE (422).
    """

    def __init__(
        self, request: Incoming, file: str, *, names: Collection[str] | None, fields_bytes_max: int, bytes_max: int
    ) -> None:
        self._stream = request.stream()
        self._parser = _parser(request.headers.get("content-type", ""), self)
        self._file = file
        self._names = names
        self._fields_left = fields_bytes_max
        self._left = bytes_max
        self._header, self._value = bytearray(), bytearray()
        self._disposition = b""
        self._fields: dict[str, bytearray] = {}
        self._part = ""
        self._arrived = bytearray()
        self._ended = False
        self.file_name = ""

    async def fields(self) -> dict[str, bytes]:
        """Everything that stands before the file."""
        while self._part != self._file and await self._more():
            pass
        return {name: bytes(content) for name, content in self._fields.items()}

    async def pieces(self) -> AsyncIterator[bytes]:
        """The file, as it arrives."""
        if self._part != self._file:
            raise Problem("TDK-PART-MISSING", where=[(self._file, "この部分を入れてください。")])
        going_on = True
        while going_on:
            if self._arrived:
                piece = bytes(self._arrived)
                self._arrived.clear()
                yield piece
            going_on = await self._more()
        if self._arrived:
            yield bytes(self._arrived)

    async def _more(self) -> bool:
        """Read on; answers whether there was more."""
        try:
            async with asyncio.timeout(SILENCE_SECONDS_MAX):
                chunk = await anext(self._stream, None)
            if chunk is not None:
                self._left -= len(chunk)
                if self._left < 0:
                    raise Problem("TDK-BODY-TOO-LARGE")
                if chunk:
                    self._parser.write(chunk)
                return True
        except TimeoutError:
            raise Problem("TDK-BODY-SLOW", seconds=int(SILENCE_SECONDS_MAX)) from None
        except (ClientDisconnect, FormParserError):
            raise Problem("TDK-BODY-MALFORMED") from None
        if not self._ended:
            raise Problem("TDK-BODY-MALFORMED")
        return False

    # --- what the parser calls ---------------------------------------------------------------------------------

    def header_field(self, data: bytes, start: int, end: int) -> None:
        """A piece of a header's name."""
        self._header += data[start:end]

    def header_value(self, data: bytes, start: int, end: int) -> None:
        """A piece of its value."""
        self._value += data[start:end]

    def header_end(self) -> None:
        """A header is whole."""
        if self._header.lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._header.clear()
        self._value.clear()

    def headers_finished(self) -> None:
        """A part begins: a field, or the file behind all of them."""
        _, options = parse_options_header(self._disposition)
        name = options.get(b"name", b"").decode("utf-8", "replace")
        if name != self._file and self._names is not None and name not in self._names:
            raise Problem("TDK-PART-UNKNOWN", where=[("body", "知らない部分があります。")])
        if self._part == self._file or name in self._fields:
            raise Problem("TDK-PART-TWICE", where=[(name, "1つだけ、ファイルより先に入れてください。")])
        if name == self._file:
            self.file_name = options.get(b"filename", b"").decode("utf-8", "replace")
        else:
            self._fields[name] = bytearray()
        self._part = name

    def part_data(self, data: bytes, start: int, end: int) -> None:
        """A piece of a part."""
        if self._part == self._file:
            self._arrived += data[start:end]
            return
        self._fields_left -= end - start
        if self._fields_left < 0:
            raise Problem("TDK-BODY-TOO-LARGE")
        self._fields[self._part] += data[start:end]

    def end(self) -> None:
        """The last boundary was seen."""
        self._ended = True


def _parser(content_type: str, body: PassingBody) -> MultipartParser:
    kind, options = parse_options_header(content_type)
    if kind != MULTIPART.encode():
        raise Problem("TDK-BODY-KIND", where=[("Content-Type", f"{MULTIPART} で送ってください。")])
    try:
        return MultipartParser(
            options[b"boundary"],
            {
                "on_header_field": body.header_field,
                "on_header_value": body.header_value,
                "on_header_end": body.header_end,
                "on_headers_finished": body.headers_finished,
                "on_part_data": body.part_data,
                "on_end": body.end,
            },
            max_header_count=PART_HEADERS_MAX,
            max_header_size=PART_HEADER_BYTES_MAX,
        )
    except (KeyError, FormParserError):
        raise Problem("TDK-BODY-MALFORMED") from None
