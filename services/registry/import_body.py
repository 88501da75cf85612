"""The body of an import, read in passing: multipart/form-data with the parts `act` (JSON) and then `file` (CSV).

The file is never held as a whole: whole lines are handed on while the rest still arrives.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from fastapi import Request
from pydantic import ValidationError
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect

from services.registry.sheet import LINE_BYTES_MAX
from todoke.relay.acts import Word
from todoke.relay.limits import MEBIBYTE
from todoke.relay.problem import Problem

IMPORT_BYTES_MAX = 256 * MEBIBYTE
"""A list of every office of the country has about 40 MiB."""

ACT_BYTES_MAX = 4096
"""Reason, ticket and flag."""

SILENCE_SECONDS_MAX = 30.0
"""A sender that says nothing for so long is gone."""


class ImportAct(Word):
    """Why offices are imported; `dry_run` changes nothing and only tells what would change."""

    dry_run: bool = False


IMPORT_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["act", "file"],
                    "properties": {
                        "act": {
                            "type": "object",
                            "required": ["reason", "ticket"],
                            "properties": {
                                "reason": {"type": "string", "minLength": 1, "maxLength": 200},
                                "ticket": {"type": "string"},
                                "dry_run": {"type": "boolean", "default": False},
                            },
                        },
                        "file": {"type": "string", "contentMediaType": "text/csv"},
                    },
                },
                "encoding": {"act": {"contentType": "application/json"}, "file": {"contentType": "text/csv"}},
            }
        },
    }
}
"""What OpenAPI says of it; `act` stands first."""


class ImportBody:
    """One body while it arrives. Ask for `act()` first, then for `lines()`.

    Both raise `Problem`: TDK-BODY-KIND (415), TDK-BODY-MALFORMED (400), TDK-BODY-SLOW (408), TDK-BODY-TOO-LARGE (413),
    TDK-PART-MISSING, TDK-PART-UNKNOWN, TDK-PART-TWICE, TDK-INVALID (422).
    """

    def __init__(self, request: Request) -> None:
        self._stream = request.stream()
        self._parser = _parser(request.headers.get("content-type", ""), self)
        self._field = bytearray()
        self._value = bytearray()
        self._disposition = b""
        self._act = bytearray()
        self._rest = bytearray()
        self._part = b""
        self._total = 0
        self._ended = False

    async def act(self) -> ImportAct:
        """The part `act`: everything that stands before the file."""
        while self._part != b"file" and await self._more():
            pass
        if not self._act:
            raise _no_act()
        try:
            return ImportAct.model_validate_json(bytes(self._act))
        except ValidationError as wrong:
            found = wrong.errors(include_url=False, include_input=False, include_context=False)
            where = [(".".join(("act", *map(str, one["loc"]))), one["type"]) for one in found]
            raise Problem("TDK-INVALID", where=where) from None

    async def lines(self) -> AsyncIterator[list[bytes]]:
        """The lines of the part `file`, some at a time, without their ends; a very long one comes cut off."""
        if self._part != b"file":
            raise Problem("TDK-PART-MISSING", where=[("file", "この部分を入れてください。")])
        going_on = True
        while going_on:
            *whole, rest = self._rest.split(b"\n")
            self._rest = rest[: LINE_BYTES_MAX + 1]
            if whole:
                yield [bytes(line.removesuffix(b"\r")) for line in whole]
            going_on = await self._more()
        if self._rest:
            yield [line.removesuffix(b"\r") for line in bytes(self._rest).split(b"\n")]

    async def _more(self) -> bool:
        """Read on; answers whether there was more."""
        try:
            async with asyncio.timeout(SILENCE_SECONDS_MAX):
                chunk = await anext(self._stream, None)
            if chunk is not None:
                self._total += len(chunk)
                if self._total > IMPORT_BYTES_MAX:
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
        self._field += data[start:end]

    def header_value(self, data: bytes, start: int, end: int) -> None:
        """A piece of its value."""
        self._value += data[start:end]

    def header_end(self) -> None:
        """A header is whole."""
        if self._field.lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._field.clear()
        self._value.clear()

    def headers_finished(self) -> None:
        """A part begins: `act`, or `file` behind it."""
        _, options = parse_options_header(self._disposition)
        name = options.get(b"name", b"")
        if name not in (b"act", b"file"):
            raise Problem("TDK-PART-UNKNOWN", where=[("body", "act と file だけを入れてください。")])
        if self._part in (name, b"file"):
            raise Problem("TDK-PART-TWICE", where=[(name.decode(), "1つだけ、actを先に入れてください。")])
        if name == b"file" and not self._act:
            raise _no_act()
        self._part = name

    def part_data(self, data: bytes, start: int, end: int) -> None:
        """A piece of a part."""
        if self._part == b"file":
            self._rest += data[start:end]
            return
        self._act += data[start:end]
        if len(self._act) > ACT_BYTES_MAX:
            raise Problem("TDK-BODY-TOO-LARGE")

    def end(self) -> None:
        """The last boundary was seen."""
        self._ended = True


def _no_act() -> Problem:
    return Problem("TDK-PART-MISSING", where=[("act", "fileの前に入れてください。")])


def _parser(content_type: str, body: ImportBody) -> MultipartParser:
    kind, options = parse_options_header(content_type)
    if kind != b"multipart/form-data":
        raise Problem("TDK-BODY-KIND", where=[("Content-Type", "multipart/form-data で送ってください。")])
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
        )
    except (KeyError, FormParserError):
        raise Problem("TDK-BODY-MALFORMED") from None
