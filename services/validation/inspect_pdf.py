"""What is in a PDF, object by object (ISO 32000-1). Runs in the parser child only.

A file passes if one strict reading accounts for it. One whose cross-reference table has to be rebuilt is judged more
coarsely: different readers may then see different objects, so no suspicious word may stand anywhere in it.
"""

import re
import zlib
from collections.abc import Iterable, Iterator
from io import BytesIO
from math import prod
from typing import Final

import pikepdf

from services.validation.inspect_picture import PIXELS_MAX
from services.validation.parser_protocol import (
    ACTIVE,
    APPENDED,
    CONTENT,
    EMBEDDED,
    ENCRYPTED,
    EXPANDS,
    HEAD_BYTES,
    PDF_BEGIN,
    PIXELS,
    UNREADABLE,
)
from services.validation.polyglot import WEB, is_archive_too

STREAM_BYTES_MAX: Final = 128 * 1024 * 1024
"""Largest unpacked stream that is no picture, in bytes: drawings with a million lines are a fraction of it."""

STREAMS_BYTES_MAX: Final = 512 * 1024 * 1024
"""All unpacked streams of a file that are no pictures."""

FILTERS_MAX: Final = 4
"""Filters in a row on one stream: two are common, more serve only to hide or to blow up."""

REVISIONS_MAX: Final = 32
"""Earlier states of the file (incremental updates) that are looked at, the newest first."""

_PIECE: Final = 1024 * 1024
_WHITE: Final = b"\x00\t\n\x0c\r "
_END: Final = b"%%EOF"
_STATE_END: Final = re.compile(rb"startxref[\0\s]+\d+[\0\s]+%%EOF")
"""How each state of the file ends; the two words may also stand alone in a stream."""

_AFTER_STATE: Final = re.compile(rb"(?:[\0\s]|%[^\r\n]*)*+(?:\Z|\d+[\0\s]+\d+[\0\s]+obj\b|xref\b|startxref\b)")
"""What may follow: an update, which begins with an object or a table (ISO 32000-1 section 7.5.6), or nothing."""

_ACTIONS: Final = frozenset(
    {
        "/JavaScript",
        "/Launch",
        "/SubmitForm",
        "/ImportData",
        "/GoToR",
        "/GoToE",
        "/Rendition",
        "/RichMediaExecute",
        "/Movie",
        "/Sound",
    }
)
"""Types of action (ISO 32000-1 table 198 and the supplement for rich media) that run, send or open something."""

_FILE_KEYS: Final = frozenset({"/F", "/UF", "/DOS", "/Mac", "/Unix"})
"""Under these a file specification holds its embedded files (ISO 32000-1 table 44)."""

_MEDIA: Final = frozenset({"/RichMedia", "/Movie", "/Sound", "/Screen", "/3D"})
"""Types of annotation that play something."""

_SCHEMES: Final = re.compile(r"(?:javascript|vbscript|data|file|jar|ms-\w+):|\\\\", re.IGNORECASE)
"""Targets of a link that are no web address but act on the reader's computer."""

_WORDS: Final = re.compile(
    rb"/(?:JavaScript|JS|Launch|SubmitForm|ImportData|GoToR|GoToE|Rendition|RichMedia\w*|Movie|Sound|Screen|3D"
    rb"|EmbeddedFiles?|EF|FileAttachment|XFA|PS|FFilter|Thread|Ref)(?![\w.-])"
    rb"|/URI(?!\s*\((?:https?|mailto|tel):|\w)"
)
"""An object whose text has none of these names needs no closer look; qpdf writes names without escapes."""

_COARSE: Final = re.compile(
    rb"/(?:JavaScript|Launch|SubmitForm|ImportData|GoToR|GoToE|RichMedia|EmbeddedFile|FileAttachment|Rendition)(?![\w-])"
    rb"|/JS\s*[(<]|/XFA\s*[\[(<\d]|/EF\s*<<\s*/(?:F|UF|DOS|Mac|Unix)\s"
)
_ESCAPE: Final = re.compile(rb"#([0-9A-Fa-f]{2})")
_HARMLESS: Final = re.compile("xref entry for the xref stream itself|Resources is missing")
"""Warnings of qpdf about habits of well-known programs."""

_MENDED: Final = re.compile(
    f"{_HARMLESS.pattern}|file is damaged|xref|reconstruct|reported number of objects|stream length|expected endstream"
)
"""Warnings of qpdf about tables and lengths that it could work out; any other means that something is gone or odd."""

_BRACKET: Final = re.compile(rb"\\.|[()]", re.DOTALL)
_REFERENCE: Final = re.compile(rb"(?<![\w.])(\d{1,10}) (\d{1,5}) R(?!\w)")


def inspect(data: bytes) -> set[str]:
    """The codes of everything that speaks against the file; empty if it may pass."""
    found = _frame(data)
    if _END in data and CONTENT not in found:
        found |= _inside(data)
    return found


def _frame(data: bytes) -> set[str]:
    """What stands before, behind and around the document."""
    found: set[str] = set()
    if not data.startswith(PDF_BEGIN):
        found.add(APPENDED if PDF_BEGIN in data[:HEAD_BYTES] else CONTENT)
    last = data.rfind(_END)
    if last < 0:
        found.add(UNREADABLE)
    elif data[last + len(_END) :].strip(_WHITE) or not all(
        _AFTER_STATE.match(data, state.end()) for state in _STATE_END.finditer(data)
    ):
        found.add(APPENDED)
    if is_archive_too(data) or WEB.search(data[:HEAD_BYTES]):
        found.add(APPENDED)
    return found


def _inside(data: bytes) -> set[str]:
    try:
        found, whole = _strictly(data)
        if whole:
            return found | _earlier(data)
        return found | _leniently(data)
    except pikepdf.PasswordError:
        return {ENCRYPTED}
    except (pikepdf.PikepdfError, ValueError, RecursionError):
        return {UNREADABLE}


def _strictly(data: bytes) -> tuple[set[str], bool]:
    """Findings of a reading that repairs nothing, and whether it could account for the whole file."""
    try:
        with pikepdf.open(BytesIO(data), attempt_recovery=False) as document:
            found = _document(document)
            whole = all(_HARMLESS.search(text) for text in document.get_warnings()) and len(document.pages) > 0
    except pikepdf.PasswordError:
        raise
    except pikepdf.PikepdfError:
        return set(), False
    return found | _between_streams(data), whole


def _leniently(data: bytes) -> set[str]:
    """Findings of a file whose table had to be rebuilt, which readers do in different ways."""
    with pikepdf.open(BytesIO(data)) as document:
        found = _document(document)
        mended = all(_MENDED.search(text) for text in document.get_warnings())
        if not mended or _dangling(document) or not document.pages:
            found.add(UNREADABLE)
    if _COARSE.search(_unescaped(data)):
        found.add(ACTIVE)
    return found


def _earlier(data: bytes) -> set[str]:
    """Findings of the states of the file before its incremental updates: a reader can show them."""
    found: set[str] = set()
    ends = [match.end() for match in re.finditer(re.escape(_END), data)]
    for end in ends[-2 : -2 - REVISIONS_MAX : -1]:
        try:
            with pikepdf.open(BytesIO(data[:end]), attempt_recovery=False) as document:
                found |= _document(document)
        except pikepdf.PasswordError:
            found.add(ENCRYPTED)
        except pikepdf.PikepdfError:
            continue  # the first half of a linearized file ends so too, and is no state of it
    return found


def _unescaped(data: bytes) -> bytes:
    """Names without their escapes: `/J#61vaScript` is `/JavaScript` (ISO 32000-1 section 7.3.5)."""
    return _ESCAPE.sub(lambda match: bytes([int(match[1], 16)]), data) if b"#" in data else data


def _between_streams(data: bytes) -> set[str]:
    """Objects that no table names are dead for a reader that keeps the rules; nothing may lie in wait there either."""
    pieces = []
    place = 0
    while (start := data.find(b"stream", place)) >= 0:
        pieces.append(data[place:start])
        end = data.find(b"endstream", start)
        if end < 0:
            place = start
            break
        place = end + len(b"endstream")
    pieces.append(data[place:])
    return {ACTIVE} if _COARSE.search(_unescaped(_without_strings(b"\n".join(pieces)))) else set()


def _without_strings(text: bytes) -> bytes:
    """The text less what stands in (nested) brackets: titles and links may speak of scripts."""
    kept = []
    depth = place = 0
    for match in _BRACKET.finditer(text):
        if match[0] == b"(":
            if depth == 0:
                kept.append(text[place : match.end()])
            depth += 1
        elif match[0] == b")" and depth:
            depth -= 1
            place = match.start()
    if depth == 0:
        kept.append(text[place:])
    return b"".join(kept)


def _dangling(document: pikepdf.Pdf) -> bool:
    """Whether an object that is referred to does not exist: part of the file is gone."""
    there: set[tuple[bytes, bytes]] = set()
    wanted: set[tuple[bytes, bytes]] = set()
    for each in _objects(document):
        number, generation = each.objgen
        there.add((b"%d" % number, b"%d" % generation))
        wanted.update(_REFERENCE.findall(_text(each)))
    return not wanted <= there


def _objects(document: pikepdf.Pdf) -> Iterator[pikepdf.Object]:
    """Every object that a table of the file names; mere numbers and what cannot be read at all are left out."""
    every: Iterable[object] = document.objects
    for each in every:
        if isinstance(each, pikepdf.Object):
            yield each


def _text(each: pikepdf.Object) -> bytes:
    """The object as text, its names in one spelling; a stream without its data."""
    return (each.stream_dict if isinstance(each, pikepdf.Stream) else each).unparse(resolved=True)


def _document(document: pikepdf.Pdf) -> set[str]:
    found: set[str] = set()
    if document.is_encrypted or "/Encrypt" in document.trailer:
        found.add(ENCRYPTED)
    found |= _tree(document.trailer)
    unpacked = 0
    for each in _objects(document):
        is_stream = isinstance(each, pikepdf.Stream)
        if _WORDS.search(_text(each)) or (is_stream and "/F" in each):
            found |= _tree(each)
        if is_stream:
            codes, size = _stream(each)
            found |= codes
            unpacked += size
            if unpacked > STREAMS_BYTES_MAX:
                return found | {EXPANDS}
    return found


def _tree(top: pikepdf.Object) -> set[str]:
    """The findings of an object and of everything direct in it; what is indirect is an object of its own."""
    found: set[str] = set()
    for each in _dictionaries(top):
        found |= _dictionary(each)
    return found


def _dictionaries(top: pikepdf.Object) -> Iterator[pikepdf.Object]:
    waiting: list[object] = [top]
    while waiting:
        each = waiting.pop()
        if isinstance(each, pikepdf.Dictionary | pikepdf.Stream):
            yield each
            waiting.extend(value for _, value in each.items() if _is_direct(value))
        elif isinstance(each, pikepdf.Array):
            waiting.extend(value for value in each if _is_direct(value))


def _is_direct(value: object) -> bool:
    return isinstance(value, pikepdf.Dictionary | pikepdf.Array) and not value.is_indirect


def _dictionary(each: pikepdf.Object) -> set[str]:
    found: set[str] = set()
    keys = set(each.keys())
    action, subtype, kind = (_name(each, key) for key in ("/S", "/Subtype", "/Type"))
    if action in _ACTIONS or subtype in _MEDIA or _is_script(each, keys) or "/XFA" in keys:
        found.add(ACTIVE)
    if kind == "/EmbeddedFile" or subtype == "/FileAttachment" or _has_files(each, keys):
        found.add(EMBEDDED)
    if subtype == "/PS" or (isinstance(each, pikepdf.Stream) and not keys.isdisjoint({"/F", "/FFilter"})):
        found.add(ACTIVE)  # PostScript is a program; a stream with /F takes its data from another file
    if (action == "/Thread" and "/F" in keys) or _shows_another_file(each):
        found.add(ACTIVE)
    if "/URI" in keys and isinstance(each["/URI"], pikepdf.String):
        target = str(each["/URI"]).translate(dict.fromkeys(range(33)))
        if _SCHEMES.match(target):
            found.add(ACTIVE)
    return found


def _shows_another_file(each: pikepdf.Object) -> bool:
    """Whether it is drawn with a page of another file (reference XObject, ISO 32000-1 section 8.10.4)."""
    reference: object = each.get("/Ref")
    return isinstance(reference, pikepdf.Dictionary) and "/F" in reference


def _is_script(each: pikepdf.Object, keys: set[str]) -> bool:
    if "/JavaScript" in keys:
        return True
    if "/JS" not in keys:
        return False
    script = each["/JS"]
    return isinstance(script, pikepdf.String) or (isinstance(script, pikepdf.Stream) and "/Subtype" not in script)


def _has_files(each: pikepdf.Object, keys: set[str]) -> bool:
    """Whether it names an embedded file, or is a tree of them with an entry (some programs write an empty one)."""
    found = False
    if "/EF" in keys:
        files: object = each["/EF"]
        found |= isinstance(files, pikepdf.Dictionary) and not _FILE_KEYS.isdisjoint(files.keys())
    if "/EmbeddedFiles" in keys:
        tree: object = each["/EmbeddedFiles"]
        found |= isinstance(tree, pikepdf.Dictionary) and any(len(tree.get(key, ())) for key in ("/Names", "/Kids"))
    return found


def _name(each: pikepdf.Object, key: str) -> str:
    value = each.get(key)
    return str(value) if isinstance(value, pikepdf.Name) else ""


def _stream(each: pikepdf.Object) -> tuple[set[str], int]:
    """Findings about the size of a stream, and its unpacked size where that was counted."""
    if _name(each, "/Subtype") == "/Image":
        sides: list[object] = [each.get("/Width"), each.get("/Height")]
        numbers = [side for side in sides if isinstance(side, int)]
        return ({PIXELS} if prod(numbers) > PIXELS_MAX else set()), 0
    filters = _filters(each)
    if len(filters) > FILTERS_MAX:
        return {EXPANDS}, 0
    size = 0
    content = each.read_raw_bytes()
    for name in filters:
        if name not in ("/FlateDecode", "/Fl"):
            break
        last = name is filters[-1]
        content, size = _inflated(content, keep=not last)
        if size > STREAM_BYTES_MAX:
            return {EXPANDS}, size
    return set(), size


def _filters(each: pikepdf.Object) -> list[str]:
    value = each.get("/Filter")
    if isinstance(value, pikepdf.Name):
        return [str(value)]
    return [str(name) for name in value] if isinstance(value, pikepdf.Array) else []


def _inflated(packed: bytes, *, keep: bool) -> tuple[bytes, int]:
    """The unpacked bytes if they are needed, and their number; unpacking stops above the limit and at damage."""
    engine = zlib.decompressobj()
    kept: list[bytes] = []
    size = 0
    try:
        while packed and not engine.eof and size <= STREAM_BYTES_MAX:
            piece = engine.decompress(packed, _PIECE)
            size += len(piece)
            packed = engine.unconsumed_tail
            if keep:
                kept.append(piece)
    except zlib.error:
        pass  # readers show what can be unpacked: so is only that counted
    return b"".join(kept), size
