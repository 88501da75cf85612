"""Uploads: multipart/form-data (RFC 7578) read while it arrives, straight into bounded memory.

Every bound is enforced while reading, never after: one file, all files, their number, the time the body takes, and the
bytes that this process holds for all requests together. Nothing is written to disk.
"""

import asyncio
import dataclasses
import functools
import logging
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final, Protocol
from urllib.parse import unquote_to_bytes

from pydantic import TypeAdapter
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect

from todoke.relay.limits import MEBIBYTE, Limits
from todoke.relay.problem import Problem

JSON_PART_BYTES_MAX = 64 * 1024
"""The JSON part of one message: 1,000 characters of text, each written as a pair of escapes, take 12 kB."""

BATCH_JSON_PART_BYTES_MAX = MEBIBYTE * 4
"""The JSON part of a batch: 200 messages of 12 kB and their lists of files."""

PART_HEADERS_MAX = 8
"""Header fields of one part: disposition, type, transfer encoding, and room for a client's own."""

PART_HEADER_BYTES_MAX = 4096
"""One header field of a part: a file name of 255 bytes, percent-encoded and given twice, takes 1.1 kB."""

REST_BYTES_MAX = MEBIBYTE
"""A body of which no more than this is still to come is judged when it is there."""

PART_OVERHEAD_BYTES = PART_HEADER_BYTES_MAX * PART_HEADERS_MAX + 256
"""Bytes of a part beside its content: its header fields and its boundary."""

BUSY_SECONDS = 3
"""Retry-After when this process holds as many bytes as it may."""

MULTIPART = "multipart/form-data"

BATCH_FILE_PART: Final = "^f[1-9][0-9]{0,4}$"
"""How the file parts of a batch are named: f1, f2 and so on."""

# The parser reports single bytes of a broken body in its log: a log holds nothing of a body here.
logging.getLogger("python_multipart").setLevel(logging.ERROR)

_PARAMETER = re.compile(r';\s*([!#$%&\'*+.^_`|~0-9A-Za-z-]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^\s;"]*)\s*')
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")
_ESCAPED = re.compile(r'\\(["\\])')


@dataclasses.dataclass(frozen=True, slots=True)
class UploadedFile:
    """One file part: the part's name, the file name as the client gave it, and the very bytes."""

    part: str
    name: str
    data: bytes


@dataclasses.dataclass(frozen=True, slots=True)
class Upload:
    """A whole body: the bytes of its JSON part, its files in the order of their arrival, and a page's fields."""

    json: bytes
    files: tuple[UploadedFile, ...]
    fields: tuple[tuple[str, str], ...] = ()

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(len(file.data) for file in self.files)


@dataclasses.dataclass(frozen=True, slots=True)
class Form:
    """What a body may hold: its one JSON part, which other part names are files, and its bounds in bytes.

    A form of a page has no JSON part (an empty name) but fields, together `json_bytes_max` long.
    """

    json_part: str
    json_bytes_max: int
    is_file_part: Callable[[str], bool]
    files_max: int
    file_bytes_max: int
    bytes_max: int
    fields_max: int = 0

    @classmethod
    def page(
        cls, *, files_max: int, file_bytes_max: int, bytes_max: int, fields_max: int, fields_bytes_max: int
    ) -> "Form":
        """A form of a page with file fields of whatever names (HTML standard, section 4.10.22)."""
        return cls(
            json_part="",
            json_bytes_max=fields_bytes_max,
            is_file_part=lambda _: True,
            files_max=files_max,
            file_bytes_max=file_bytes_max,
            bytes_max=bytes_max,
            fields_max=fields_max,
        )

    @classmethod
    def message(cls, limits: Limits) -> "Form":
        """`POST /v1/messages`: part `message` and any number of parts `files`."""
        return cls(
            json_part="message",
            json_bytes_max=JSON_PART_BYTES_MAX,
            is_file_part=lambda name: name == "files",
            files_max=limits.files_per_message_max,
            file_bytes_max=limits.file_bytes_max,
            bytes_max=limits.message_bytes_max,
        )

    @classmethod
    def batch(cls, limits: Limits) -> "Form":
        """`POST /v1/batches`: part `messages`, and file parts `f1`, `f2` and so on."""
        return cls(
            json_part="messages",
            json_bytes_max=BATCH_JSON_PART_BYTES_MAX,
            is_file_part=lambda name: re.fullmatch(BATCH_FILE_PART, name) is not None,
            files_max=limits.batch_messages_max * limits.files_per_message_max,
            file_bytes_max=limits.file_bytes_max,
            bytes_max=limits.batch_bytes_max,
        )

    @property
    def body_bytes_max(self) -> int:
        """The longest body that can keep the other bounds."""
        parts = self.files_max + self.fields_max + 1
        return self.bytes_max + self.json_bytes_max + parts * PART_OVERHEAD_BYTES


class BytesInFlight:
    """How many bytes of uploads this process holds; above the bound nobody gets more."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self.held = 0

    def take(self, count: int) -> None:
        """Count bytes that are about to be kept.

        Raises:
            Problem: TDK-BUSY, there is no room.
        """
        if self.held + count > self._bytes_max:
            raise Problem("TDK-BUSY", retry_after=BUSY_SECONDS)
        self.held += count

    def give(self, count: int) -> None:
        """The bytes are gone."""
        self.held -= count

    @contextmanager
    def holding(self, count: int) -> Iterator[None]:
        """Count bytes that are kept inside the block, before they are. Raises `Problem` TDK-BUSY."""
        self.take(count)
        try:
            yield
        finally:
            self.give(count)


class Quota(Protocol):
    """How many bytes may be uploaded; whose, and in what time, is not known here."""

    def take(self, count: int) -> None:
        """Count so many bytes. Raises `Problem` when that is too many: none of them is counted."""
        ...

    def give(self, count: int) -> None:
        """So many of them did not come."""
        ...


class _Uncounted:
    """No quota: what a page takes counts when it is sent."""

    def take(self, count: int) -> None:
        """Let it pass."""

    def give(self, count: int) -> None:
        """Nothing was counted."""


UNCOUNTED: Quota = _Uncounted()


class Foresight(Protocol):
    """What can be refused of a body while much of it is still to come; all of it is judged again when it is there."""

    def file(self, number: int, name: str) -> None:
        """The file of this number, counted from 1, has this name. Raises `Problem`."""
        ...

    async def json(self, raw: bytes) -> None:
        """The JSON part. Raises `Problem`."""
        ...


class Incoming(Protocol):
    """As much of a request as reading its body takes (Starlette's `Request` has it)."""

    @property
    def headers(self) -> Headers:
        """The header fields."""
        ...

    def stream(self) -> AsyncGenerator[bytes, None]:
        """The body as it arrives."""
        ...


@asynccontextmanager
async def receiving(
    request: Incoming,
    form: Form,
    in_flight: BytesInFlight,
    *,
    seconds_max: float,
    quota: Quota = UNCOUNTED,
    foresight: Foresight | None = None,
) -> AsyncIterator[Upload]:
    """Read a body; its bytes count as in flight until the block ends, and against `quota` whatever becomes of it.

    A body that says its length is refused by `quota` before a byte of it is read.

    Raises:
        Problem: TDK-BODY-KIND (415), TDK-BODY-BOUNDARY, TDK-BODY-CUT, TDK-BODY-MALFORMED (400), TDK-BODY-SLOW (408),
            TDK-BUSY (503), TDK-PART-UNKNOWN, TDK-PART-TWICE, TDK-PART-MISSING (422), TDK-FILE-TOO-LARGE,
            TDK-FILES-TOO-MANY, TDK-MESSAGE-TOO-LARGE (413); whatever `quota` and `foresight` raise.
    """
    boundary = _boundary(request.headers)
    declared = request.headers.get("content-length", "")
    expected = int(declared) if declared.isdecimal() else 0
    if expected > form.body_bytes_max:
        raise _message_too_large(form)
    reading = _Reading(form, in_flight, quota, expected, foresight)
    try:
        yield await _read(request, reading, boundary, seconds_max)
    finally:
        in_flight.give(reading.taken)


async def _read(request: Incoming, reading: "_Reading", boundary: str, seconds_max: float) -> Upload:
    try:
        parser = MultipartParser(
            boundary.encode("ascii"),
            {
                "on_part_begin": reading.part_begin,
                "on_header_field": reading.header_field,
                "on_header_value": reading.header_value,
                "on_header_end": reading.header_end,
                "on_headers_finished": reading.headers_finished,
                "on_part_data": reading.part_data,
                "on_part_end": reading.part_end,
                "on_end": reading.end,
            },
            max_header_count=PART_HEADERS_MAX,
            max_header_size=PART_HEADER_BYTES_MAX,
        )
        async with asyncio.timeout(seconds_max):
            async for chunk in request.stream():
                reading.count(len(chunk))
                if chunk:
                    parser.write(chunk)
                    await reading.foresee()
    except TimeoutError:
        raise Problem("TDK-BODY-SLOW", seconds=int(seconds_max)) from None
    except ClientDisconnect:
        raise Problem("TDK-BODY-CUT", where=[("body", "本文が途中で終わっています。")]) from None
    except FormParserError:
        raise reading.misformed() from None
    finally:
        reading.settle()
    return reading.result()


def multipart_body(json_part: str, file_part: str, content: Any = dict[str, Any]) -> dict[str, Any]:
    """What OpenAPI says of such a body: FastAPI cannot know, for it never sees it whole.

    `content` is the type of the JSON part. `file_part` names a part that may come many times, or is a pattern of names
    (`^…$`) that come once each.
    """
    refs, shared = TypeAdapter.json_schemas(
        [(json_part, "validation", TypeAdapter(content))], ref_template="#/components/schemas/{model}"
    )
    schema: dict[str, Any] = {
        "type": "object",
        "required": [json_part],
        "properties": {json_part: refs[json_part, "validation"]},
        "additionalProperties": False,
        **shared,
    }
    if file_part.startswith("^"):
        schema["patternProperties"] = {file_part: _FILE}
    else:
        schema["properties"][file_part] = {"type": "array", "items": _FILE}
    encoding = {json_part: {"contentType": "application/json"}}
    return {"requestBody": {"required": True, "content": {MULTIPART: {"schema": schema, "encoding": encoding}}}}


_FILE = {
    "type": "string",
    "contentMediaType": "application/octet-stream",
    "description": "The bytes; the part's Content-Disposition has the `filename` (or `filename*`, RFC 8187, in UTF-8).",
}


@functools.cache
def process_budget(bytes_max: int) -> BytesInFlight:
    """The one count of this process, whatever services it hosts."""
    return BytesInFlight(bytes_max)


def malformed(where: str, message: str) -> Problem:
    """A body that cannot be read at all."""
    return Problem("TDK-BODY-MALFORMED", where=[(where, message)])


def _no_boundary(where: str, message: str) -> Problem:
    return Problem("TDK-BODY-BOUNDARY", where=[(where, message)])


def _message_too_large(form: Form) -> Problem:
    return Problem("TDK-MESSAGE-TOO-LARGE", mebibytes=form.bytes_max // MEBIBYTE)


def _boundary(headers: Headers) -> str:
    kind, parameters = _parameters(headers.get("content-type", ""))
    if kind.lower() != MULTIPART:
        raise Problem("TDK-BODY-KIND", where=[("Content-Type", f"{MULTIPART} で送ってください。")])
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise Problem("TDK-BODY-KIND", where=[("Content-Encoding", "圧縮せずに送ってください。")])
    boundary = parameters.get("boundary", "")
    if _BOUNDARY.fullmatch(boundary) is None:
        raise _no_boundary("Content-Type", "boundary がないか、形が正しくありません。")
    return boundary


def _parameters(field: str) -> tuple[str, dict[str, str]]:
    """Value and parameters of a header field; names in lower case, quotes and their escapes taken off.

    A backslash escapes only a quote or itself: browsers write the backslashes of a path bare.
    """
    value, _, _ = field.partition(";")
    parameters: dict[str, str] = {}
    place = len(value)
    while place < len(field):
        found = _PARAMETER.match(field, place)
        if found is None:
            if field[place:].strip(" \t;"):
                raise malformed("Content-Disposition", "ヘッダーの形が正しくありません。")
            break
        name, text = found.group(1).lower(), found.group(2)
        if name in parameters:
            raise malformed("Content-Disposition", "同じ項目が2回あります。")
        parameters[name] = _ESCAPED.sub(r"\1", text[1:-1]) if text.startswith('"') else text
        place = found.end()
    return value.strip(), parameters


def _file_name(parameters: dict[str, str]) -> str | None:
    """The file name of a part: `filename*` (RFC 8187) before plain `filename` (UTF-8, RFC 7578 section 4.2)."""
    extended = parameters.get("filename*")
    if extended is None:
        return parameters.get("filename")
    charset, _, rest = extended.partition("'")
    _, _, encoded = rest.partition("'")
    if charset.lower() not in ("utf-8", "us-ascii"):
        raise malformed("filename*", "UTF-8 で書いてください。")
    try:
        return unquote_to_bytes(encoded).decode(charset)
    except UnicodeDecodeError:
        raise malformed("filename*", "UTF-8 として読めません。") from None


class _Reading:
    """The state of one body while it arrives: the parser's callbacks fill it in."""

    def __init__(
        self, form: Form, in_flight: BytesInFlight, quota: Quota, expected: int, foresight: Foresight | None
    ) -> None:
        quota.take(expected)
        self._expected = expected
        self._foresight = foresight
        self._form = form
        self._in_flight = in_flight
        self._quota = quota
        self._drawn = expected
        self._json: bytes | None = None
        self._files: list[UploadedFile] = []
        self._fields: list[tuple[str, str]] = []
        self._field_bytes = 0
        self._total = 0
        self._file_bytes = 0
        self._field = bytearray()
        self._value = bytearray()
        self._headers: dict[str, str] = {}
        self._part = ""
        self._name: str | None = None
        self._content = bytearray()
        self._begun = self._ended = self._foreseen = False
        self.taken = 0
        """Bytes counted as in flight for this body."""

    def count(self, arrived: int) -> None:
        """Bytes of the body, whatever is in them."""
        self._total += arrived
        if self._total > self._form.body_bytes_max:
            raise _message_too_large(self._form)
        if self._total > self._drawn:
            self._quota.take(self._total - self._drawn)
            self._drawn = self._total

    def _ahead(self) -> Foresight | None:
        """Who looks at what is here, as long as much may still come."""
        ends_soon = self._ended or (self._expected and self._expected - self._total <= REST_BYTES_MAX)
        return None if ends_soon else self._foresight

    async def foresee(self) -> None:
        """Look once at the JSON part before the files behind it have come."""
        if self._json is not None and not self._foreseen and (foresight := self._ahead()) is not None:
            self._foreseen = True
            await foresight.json(self._json)

    def settle(self) -> None:
        """What was announced and did not come does not count."""
        if self._drawn > self._total:
            self._quota.give(self._drawn - self._total)
            self._drawn = self._total

    def part_begin(self) -> None:
        self._begun = True
        self._headers = {}
        self._content = bytearray()

    def header_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def header_end(self) -> None:
        try:
            self._headers[self._field.decode("ascii").lower()] = self._value.decode("utf-8")
        except UnicodeDecodeError:
            raise malformed("Content-Disposition", "UTF-8 として読めません。") from None
        self._field.clear()
        self._value.clear()

    def headers_finished(self) -> None:
        disposition, parameters = _parameters(self._headers.get("content-disposition", ""))
        if disposition.lower() != "form-data" or "name" not in parameters:
            raise malformed("Content-Disposition", "form-data の name がありません。")
        if self._headers.get("content-transfer-encoding", "binary").lower() not in ("binary", "8bit", "7bit"):
            raise malformed("Content-Transfer-Encoding", "そのままの形（binary）で送ってください。")
        self._part = parameters["name"]
        if self._form.fields_max:
            self._begin_of_page(_file_name(parameters))
        elif self._part == self._form.json_part:
            self._begin_json()
        elif self._form.is_file_part(self._part):
            self._begin_file(_file_name(parameters))
        else:
            raise Problem("TDK-PART-UNKNOWN", where=[("body", "使わない名前の部分があります。")])

    def _begin_of_page(self, name: str | None) -> None:
        """A field, or a file; a file field that was left empty comes as a file without a name."""
        if name is None or name == "":
            self._name = name
            if len(self._fields) >= self._form.fields_max:
                raise malformed("body", "項目が多すぎます。")
        else:
            self._begin_file(name)

    def _begin_json(self) -> None:
        self._name = None
        if self._json is not None:
            raise Problem("TDK-PART-TWICE", where=[(self._part, "1つだけ入れてください。")])
        kind = self._headers.get("content-type", "application/json").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise Problem("TDK-BODY-KIND", where=[(self._part, "application/json で送ってください。")])

    def _begin_file(self, name: str | None) -> None:
        if name is None:
            raise Problem("TDK-FILE-NAME-MISSING", where=[(self._part, "filename を付けてください。")])
        if len(self._files) >= self._form.files_max:
            raise Problem("TDK-FILES-TOO-MANY", files=self._form.files_max)
        if (foresight := self._ahead()) is not None:
            foresight.file(len(self._files) + 1, name)
        self._name = name

    def part_data(self, data: bytes, start: int, end: int) -> None:
        count = end - start
        if self._name is None:
            self._field_bytes += count
            if self._field_bytes > self._form.json_bytes_max:
                raise Problem("TDK-MESSAGE-PART-TOO-LARGE", kibibytes=self._form.json_bytes_max // 1024)
        else:
            self._check_file(count)
        self._in_flight.take(count)
        self.taken += count
        self._content += data[start:end]

    def _check_file(self, count: int) -> None:
        if len(self._content) + count > self._form.file_bytes_max:
            place = (f"files[{len(self._files) + 1}]", "このファイルが大きすぎます。")
            raise Problem("TDK-FILE-TOO-LARGE", where=[place], mebibytes=self._form.file_bytes_max // MEBIBYTE)
        self._file_bytes += count
        if self._file_bytes > self._form.bytes_max:
            raise _message_too_large(self._form)

    def part_end(self) -> None:
        content = bytes(self._content)
        self._content = bytearray()
        if self._form.fields_max and not self._name:
            self._end_field(content)
        elif self._name is None:
            self._json = content
        else:
            self._files.append(UploadedFile(self._part, self._name, content))

    def _end_field(self, content: bytes) -> None:
        if self._name == "":
            return
        try:
            self._fields.append((self._part, content.decode("utf-8")))
        except UnicodeDecodeError:
            raise malformed("body", "UTF-8 として読めません。") from None

    def end(self) -> None:
        self._ended = True

    def misformed(self) -> Problem:
        """What the parser could not get on with: the first boundary, or the header of a part."""
        if self._begun:
            return malformed("body", "multipart/form-data の形が正しくありません。")
        return _no_boundary("body", "boundary の区切りが本文にありません。")

    def result(self) -> Upload:
        """The whole body, once the stream is over."""
        if self._total and not self._begun:
            raise self.misformed()
        if not self._ended:
            raise Problem("TDK-BODY-CUT", where=[("body", "本文が途中で終わっています。")])
        if self._form.fields_max:
            return Upload(b"", tuple(self._files), tuple(self._fields))
        if self._json is None:
            raise Problem("TDK-PART-MISSING", where=[(self._form.json_part, "この部分を入れてください。")])
        return Upload(self._json, tuple(self._files))
