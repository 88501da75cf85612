"""PDFs as printers make them pass; whatever acts, hides, breaks off or blows up does not."""

import io
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Final

import pikepdf
import pypdf
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pikepdf import Array, Dictionary, Name, ObjectStreamMode, Pdf, String

from services.validation.inspect_pdf import REVISIONS_MAX
from services.validation.parser_protocol import (
    ACTIVE,
    APPENDED,
    CONTENT,
    EMBEDDED,
    ENCRYPTED,
    EXPANDS,
    PIXELS,
    UNREADABLE,
)

from .confined import child, inspect

CATALOG: Final = b"<</Type/Catalog/Pages 2 0 R%s>>"
PAGES: Final = b"<</Type/Pages/Kids[3 0 R]/Count 1>>"
PAGE: Final = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 200]/Resources<<>>%s>>"


@pytest.fixture(scope="module", autouse=True)
def judging() -> Iterator[None]:
    with child():
        yield


def written(objects: list[bytes], trailer: bytes = b"", shift: int = 0) -> bytes:
    """A PDF written by hand; `shift` makes its table point beside the objects."""
    out = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"
    places = []
    for number, content in enumerate(objects, 1):
        places.append(len(out) + shift)
        out += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    start = len(out) + shift
    out += b"xref\n0 %d\n0000000000 65535 f \n%s" % (len(objects) + 1, table)
    return out + b"trailer\n<</Size %d/Root 1 0 R%s>>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, trailer, start)


def simple(*more: bytes, catalog: bytes = b"", page: bytes = b"") -> bytes:
    return written([CATALOG % catalog, PAGES, PAGE % page, *more])


def stream(content: bytes, entries: bytes = b"") -> bytes:
    return b"<</Length %d%s>>stream\n%s\nendstream" % (len(content), entries, content)


def updated(data: bytes, number: int, content: bytes) -> bytes:
    """The file with one object written anew behind its end (ISO 32000-1 section 7.5.6)."""
    before = re.findall(rb"startxref\n(\d+)\n", data)[-1]
    size = max(int(each) for each in re.findall(rb"/Size (\d+)", data))
    root = re.findall(rb"/Root (\d+) 0 R", data)[-1]
    place = len(data)
    data += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    start = len(data)
    data += b"xref\n%d 1\n%010d 00000 n \n" % (number, place)
    data += b"trailer\n<</Size %d/Root %s 0 R/Prev %s>>\n" % (max(size, number + 1), root, before)
    return data + b"startxref\n%d\n%%%%EOF\n" % start


def saved(change: Callable[[Pdf], None] = lambda _document: None, **options: object) -> bytes:
    document = Pdf.new()
    for _ in range(3):
        document.add_blank_page()
    document.pages[0].Contents = document.make_stream(b"BT (/JavaScript is a word here) Tj ET\n" * 200)
    change(document)
    out = io.BytesIO()
    document.save(out, **options)  # type: ignore[arg-type]
    return out.getvalue()


def with_link(document: Pdf) -> None:
    action = Dictionary(S=Name.URI, URI=String("https://www.example.jp/?a=/JavaScript"))
    link = Dictionary(Type=Name.Annot, Subtype=Name.Link, Rect=[0, 0, 9, 9], F=4, A=action)
    document.pages[0].Annots = document.make_indirect(Array([link]))


def with_form(document: Pdf) -> None:
    field = document.make_indirect(
        Dictionary(Type=Name.Annot, Subtype=Name.Widget, FT=Name.Tx, T=String("氏名"), Rect=[0, 0, 9, 9])
    )
    document.pages[0].Annots = Array([field])
    document.Root.AcroForm = Dictionary(Fields=Array([field]))


def with_bookmarks(document: Pdf) -> None:
    with document.open_outline() as outline:
        outline.root.append(pikepdf.OutlineItem("HTML/CSS/JS (/JS (a)) /Launch", 1))
    document.Root.OpenAction = Array([document.pages[0].obj, Name.Fit])
    document.Root.Names = Dictionary(EmbeddedFiles=Dictionary(Names=Array()))
    document.docinfo["/Title"] = "担当者会議 /JavaScript"


def with_font_and_picture(document: Pdf) -> None:
    picture = document.make_stream(
        zlib.compress(bytes(300)), Type=Name.XObject, Subtype=Name.Image, Width=10, Height=10, BitsPerComponent=8
    )
    picture.ColorSpace = Name.DeviceRGB
    picture.Filter = Name.FlateDecode
    document.pages[0].Resources = Dictionary(
        XObject=Dictionary(JS=picture, F=picture), Font=Dictionary(EF=Dictionary())
    )


def merged_by_pypdf() -> bytes:
    writer = pypdf.PdfWriter()
    for _ in range(2):
        writer.append(pypdf.PdfReader(io.BytesIO(saved(with_link))))
    writer.add_metadata({"/Title": "提供票"})
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def annotated_by_pypdf() -> bytes:
    writer = pypdf.PdfWriter(io.BytesIO(saved()), incremental=True)
    writer.add_metadata({"/Subject": "第2版"})
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


GOOD: Final[dict[str, Callable[[], bytes]]] = {
    "written by hand": simple,
    "saved plainly": saved,
    "object streams": lambda: saved(object_stream_mode=ObjectStreamMode.generate),
    "linearized": lambda: saved(with_link, linearize=True),
    "linearized with object streams": lambda: saved(linearize=True, object_stream_mode=ObjectStreamMode.generate),
    "web links": lambda: saved(with_link),
    "mail link": lambda: simple(page=b"/A<</S/URI/URI(mailto:a@example.jp)>>"),
    "relative link": lambda: simple(page=b"/A<</S/URI/URI(next/page.html)>>"),
    "form without actions": lambda: saved(with_form),
    "bookmarks, opening view, words that look bad": lambda: saved(with_bookmarks),
    "resources with unlucky names": lambda: saved(with_font_and_picture),
    "old version 1.3": lambda: saved(min_version="1.3", object_stream_mode=ObjectStreamMode.disable),
    "merged by pypdf": merged_by_pypdf,
    "incremental update by pypdf": annotated_by_pypdf,
    "several updates": lambda: updated(updated(simple(), 3, PAGE % b"/Rotate 90"), 3, PAGE % b"/Rotate 180"),
    "update of a linearized file": lambda: updated(saved(linearize=True, min_version="1.3"), 90, b"(x)"),
    "white space behind the end": lambda: simple() + b"\r\n\0\0  \n",
    "its end said twice": lambda: simple() + b"%%EOF\n",
    "an end in a stream": lambda: simple(stream(b"% startxref 9 is not followed by %%EOF, %%EOF is a word")),
    "references of the structure": lambda: simple(b"<</Type/StructElem/Ref[3 0 R]>>"),
    "no line end behind the end": lambda: simple().rstrip(),
    "line ends of Windows": lambda: saved().replace(b"%%EOF\n", b"%%EOF\r\n"),
    "its table a little wrong": lambda: written([CATALOG % b"", PAGES, PAGE % b""], shift=3),
    "uncompressed content that talks about it": lambda: simple(stream(b"(/JavaScript) Tj"), page=b"/Contents 4 0 R"),
    "jump within the document": lambda: simple(catalog=b"/OpenAction<</S/GoTo/D[3 0 R/Fit]>>"),
    "next page button": lambda: simple(page=b"/A<</S/Named/N/NextPage>>"),
    "wrong stream length": lambda: simple(b"<</Length 3>>stream\nq Q q Q q Q\nendstream", page=b"/Contents 4 0 R"),
}


@pytest.mark.parametrize("which", GOOD)
def test_an_ordinary_pdf_passes(which: str) -> None:
    assert inspect(GOOD[which]()) == set()


def zipped() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a.txt", "x")
    return out.getvalue()


def attached(document: Pdf) -> None:
    document.attachments["a.txt"] = b"x"


def encrypted(user: str) -> bytes:
    return saved(encryption=pikepdf.Encryption(owner="secret", user=user))


def script(document: Pdf) -> None:
    document.Root.OpenAction = Dictionary(S=Name.JavaScript, JS=String("app.alert(1)"))


SCRIPT: Final = b"<</S/JavaScript/JS(app.alert\\(1\\))>>"
BOMB: Final = zlib.compress(bytes(130 * 1024 * 1024), 1)

BAD: Final[dict[str, tuple[Callable[[], bytes], str]]] = {
    "script on opening": (lambda: simple(catalog=b"/OpenAction" + SCRIPT), ACTIVE),
    "script in an object stream": (lambda: saved(script, object_stream_mode=ObjectStreamMode.generate), ACTIVE),
    "script in a linearized file": (lambda: saved(script, linearize=True), ACTIVE),
    "script by an escaped name": (lambda: simple(catalog=b"/OpenAction<</S/J#61vaScr#69pt/J#53(x)>>"), ACTIVE),
    "script behind an indirect name": (lambda: simple(b"/JavaScript", catalog=b"/AA<</WC<</S 4 0 R>>>>"), ACTIVE),
    "script in the name tree": (lambda: simple(SCRIPT, catalog=b"/Names<</JavaScript<</Names[(a)4 0 R]>>>>"), ACTIVE),
    "script as a stream": (lambda: simple(stream(b"x"), catalog=b"/OpenAction<</S/JavaScript/JS 4 0 R>>"), ACTIVE),
    "script of a page": (lambda: simple(page=b"/AA<</O" + SCRIPT + b">>"), ACTIVE),
    "script of a field": (lambda: simple(b"<</FT/Tx/AA<</K" + SCRIPT + b">>>>", page=b"/Annots[4 0 R]"), ACTIVE),
    "script as the next action": (lambda: simple(page=b"/A<</S/URI/URI(http://a)/Next[" + SCRIPT + b"]>>"), ACTIVE),
    "script deep in arrays": (lambda: simple(page=b"/X" + b"[" * 90 + SCRIPT + b"]" * 90), ACTIVE),
    "script nobody refers to": (lambda: simple(SCRIPT), ACTIVE),
    "script in no table": (lambda: simple().replace(b"xref\n0", b"9 0 obj " + SCRIPT + b" endobj\nxref\n0"), ACTIVE),
    "script added by an update": (lambda: updated(simple(), 1, CATALOG % b"/OpenAction" + b" " + SCRIPT), ACTIVE),
    "script taken away by an update": (lambda: updated(simple(SCRIPT), 4, b"null"), ACTIVE),
    "script in a file with a broken table": (
        lambda: written([CATALOG % (b"/OpenAction" + SCRIPT), PAGES, PAGE % b""], shift=9),
        ACTIVE,
    ),
    "launch": (lambda: simple(page=b"/A<</S/Launch/F(cmd.exe)>>"), ACTIVE),
    "launch on Windows": (lambda: simple(catalog=b"/OpenAction<</S/Launch/Win<</F(cmd.exe)>>>>"), ACTIVE),
    "form that sends": (lambda: simple(page=b"/A<</S/SubmitForm/F(http://a)>>"), ACTIVE),
    "form that fetches": (lambda: simple(page=b"/A<</S/ImportData/F(a.fdf)>>"), ACTIVE),
    "jump into another file": (lambda: simple(page=b"/A<</S/GoToR/F(//host/a.pdf)/D[0/Fit]>>"), ACTIVE),
    "jump into an embedded file": (lambda: simple(page=b"/A<</S/GoToE/T<</R/C>>>>"), ACTIVE),
    "thread of another file": (lambda: simple(page=b"/A<</S/Thread/F(a.pdf)/D 0>>"), ACTIVE),
    "XFA form": (lambda: simple(stream(b"<xdp/>"), catalog=b"/AcroForm<</Fields[]/XFA 4 0 R>>"), ACTIVE),
    "rich media": (lambda: simple(b"<</Type/Annot/Subtype/RichMedia/Rect[0 0 1 1]>>", page=b"/Annots[4 0 R]"), ACTIVE),
    "rendition": (lambda: simple(page=b"/A<</S/Rendition/OP 0>>"), ACTIVE),
    "sound": (lambda: simple(page=b"/A<</S/Sound/Sound 9 0 R>>"), ACTIVE),
    "film": (lambda: simple(b"<</Subtype/Movie/Movie<</F(a.avi)>>>>", page=b"/Annots[4 0 R]"), ACTIVE),
    "link to a script": (lambda: simple(page=b"/A<</S/URI/URI(java\\nscript:alert\\(1\\))>>"), ACTIVE),
    "link to a file": (lambda: simple(page=b"/A<</S/URI/URI(file:///c:/windows/a.exe)>>"), ACTIVE),
    "link in UTF-16 to a script": (
        lambda: simple(page=b"/A<</S/URI/URI<FEFF" + "javascript:1".encode("utf-16-be").hex().encode() + b">>>"),
        ACTIVE,
    ),
    "PostScript": (lambda: simple(stream(b"quit", b"/Type/XObject/Subtype/PS")), ACTIVE),
    "data from another file": (lambda: simple(stream(b"", b"/F(c:/a.txt)")), ACTIVE),
    "attachment": (lambda: saved(attached), EMBEDDED),
    "attachment in an object stream": (
        lambda: saved(attached, object_stream_mode=ObjectStreamMode.generate),
        EMBEDDED,
    ),
    "attachment as an annotation": (
        lambda: simple(b"<</Type/Annot/Subtype/FileAttachment/FS<</F(a)/EF<</F 5 0 R>>>>>>", stream(b"MZ")),
        EMBEDDED,
    ),
    "portfolio": (lambda: simple(catalog=b"/Collection<<>>/Names<</EmbeddedFiles<</Names[(a)4 0 R]>>>>"), EMBEDDED),
    "embedded stream nobody refers to": (lambda: simple(stream(b"MZ", b"/Type/EmbeddedFile")), EMBEDDED),
    "encrypted for nobody": (lambda: encrypted(""), ENCRYPTED),
    "encrypted with a password": (lambda: encrypted("open"), ENCRYPTED),
    "bytes before the beginning": (lambda: b"GIF89a" + simple(), APPENDED),
    "byte order mark before the beginning": (lambda: b"\xef\xbb\xbf" + simple(), APPENDED),
    "a program with a PDF inside": (lambda: b"MZ" + bytes(100) + simple(), APPENDED),
    "archive behind the end": (lambda: simple() + zipped(), APPENDED),
    "archive in a stream": (lambda: simple(stream(zipped())), APPENDED),
    "text behind the end": (lambda: simple() + b"<script>alert(1)</script>", APPENDED),
    "a program behind the end, and the two words again": (
        lambda: simple() + b"MZ" + b"\x01" * 500 + b"\n%%EOF\n",
        APPENDED,
    ),
    "a program behind the end, and the whole end again": (
        lambda: simple() + b"MZ" + b"\x01" * 500 + simple()[simple().rindex(b"\nstartxref") :],
        APPENDED,
    ),
    "a page of another file": (
        lambda: simple(stream(b"q Q", b"/Subtype/Form/BBox[0 0 1 1]/Ref<</F(c:/a.pdf)/Page 0>>")),
        ACTIVE,
    ),
    "picture behind the end": (lambda: simple() + b"\xff\xd8\xff\xe0", APPENDED),
    "web page in a comment": (lambda: simple().replace(b"%\xe2", b"%<html><script>x</script>\n%\xe2"), APPENDED),
    "RAR in a stream": (lambda: simple(stream(b"Rar!\x1a\x07\x01\x00")), APPENDED),
    "tape archive": (lambda: simple().replace(b"%\xe2", b"%" + b"x" * 247 + b"ustar\x00\n%\xe2", 1), APPENDED),
    "empty": (lambda: b"", CONTENT),
    "only the first bytes": (lambda: b"%PDF-1.7\n", UNREADABLE),
    "no objects": (lambda: b"%PDF-1.7\n%%EOF\n", UNREADABLE),
    "no pages": (lambda: written([b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[]/Count 0>>"]), UNREADABLE),
    "pages in a circle": (lambda: written([CATALOG % b"", b"<</Type/Pages/Kids[2 0 R]/Count 1>>"]), UNREADABLE),
    "truncated": (lambda: saved()[:-400], UNREADABLE),
    "its middle missing": (lambda: saved()[:300] + saved()[-100:], UNREADABLE),
    "one key with two meanings": (
        lambda: simple(page=b"/A<</S/URI/S/GoTo/URI(http://a)>>"),
        UNREADABLE,
    ),
    "content that blows up": (lambda: simple(stream(BOMB, b"/Filter/FlateDecode")), EXPANDS),
    "content packed twice": (
        lambda: simple(stream(zlib.compress(BOMB), b"/Filter[/FlateDecode/FlateDecode]")),
        EXPANDS,
    ),
    "content packed many times": (lambda: simple(stream(b"x", b"/Filter[" + b"/FlateDecode" * 9 + b"]")), EXPANDS),
    "picture of 10 000 000 000 points": (
        lambda: simple(stream(b"x", b"/Subtype/Image/Width 100000/Height 100000")),
        PIXELS,
    ),
}


@pytest.mark.parametrize("which", BAD)
def test_a_hostile_pdf_is_found_out(which: str) -> None:
    make, code = BAD[which]
    assert code in inspect(make())


@pytest.mark.parametrize("revision", [0, 3, REVISIONS_MAX - 1])
def test_a_script_in_any_earlier_state_is_found(revision: int) -> None:
    data = simple(b"null")
    for number in range(REVISIONS_MAX):
        data = updated(data, 4, SCRIPT.replace(b"JavaScript", b"Launch") if number == revision else b"(x)")
    assert inspect(data) == {ACTIVE}


@pytest.mark.parametrize("share", range(1, 20))
def test_a_pdf_cut_anywhere_never_passes(share: int) -> None:
    for data in (
        saved(with_link),
        saved(linearize=True, object_stream_mode=ObjectStreamMode.generate),
        merged_by_pypdf(),
    ):
        assert inspect(data[: len(data) * share // 20])


@settings(deadline=timedelta(seconds=5), max_examples=60)
@given(st.data())
def test_a_damaged_pdf_is_judged_without_an_error(data: st.DataObject) -> None:
    content = bytearray(saved(with_link))
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    inspect(bytes(content))
