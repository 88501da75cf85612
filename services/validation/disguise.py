"""What a refused file really is, as far as its name and first bytes tell: the office is then told what to do instead.

Nothing is let through by these rules; they only name the reason better than "another kind of file".
"""

from pathlib import Path
from typing import Final

from services.validation.parser_protocol import CONTENT, HEAD_BYTES, KIND, MACRO, PROGRAM, SVG

_PROGRAMS: Final = frozenset(
    {".app", ".apk", ".bat", ".cmd", ".com", ".cpl", ".dll", ".exe", ".hta", ".jar", ".js", ".jse", ".lnk", ".msi"}
    | {".msp", ".pif", ".ps1", ".reg", ".scr", ".sh", ".vbe", ".vbs", ".wsf", ".wsh"}
)
"""Extensions that Windows, macOS or a phone would run."""

_MACRO_DOCUMENTS: Final = frozenset(
    {".docm", ".dotm", ".potm", ".ppam", ".ppsm", ".pptm", ".sldm", ".xla", ".xlam", ".xlm", ".xlsb", ".xlsm", ".xltm"}
)
"""Extensions of documents that hold macros."""

_PROGRAM_BEGINNINGS: Final = (
    b"MZ",
    b"\x7fELF",
    b"#!",
    b"\xfe\xed\xfa\xce",
    b"\xfe\xed\xfa\xcf",
    b"\xce\xfa\xed\xfe",
    b"\xcf\xfa\xed\xfe",
    b"\xca\xfe\xba\xbe",
)
"""Windows, Linux, scripts, macOS (both byte orders, both widths), and macOS for several processors or Java."""

_ZIP: Final = b"PK\x03\x04"
_COMPOUND: Final = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_ZIP_MACRO: Final = b"vbaProject.bin"
_COMPOUND_MACRO: Final = "_VBA_PROJECT".encode("utf-16-le")


def of_another_kind(name: str, data: bytes) -> str:
    """The code for a file whose extension may not travel."""
    extension = Path(name).suffix.lower()
    if extension in _PROGRAMS:
        return PROGRAM
    if extension in _MACRO_DOCUMENTS:
        return MACRO
    if extension in (".svg", ".svgz"):
        return SVG
    return _by_content(data) or KIND


def disguised(data: bytes) -> str:
    """The code for a file that does not begin as its extension says."""
    return _by_content(data) or CONTENT


def _by_content(data: bytes) -> str | None:
    if data.startswith(_PROGRAM_BEGINNINGS):
        return PROGRAM
    if (data.startswith(_ZIP) and _ZIP_MACRO in data) or (data.startswith(_COMPOUND) and _COMPOUND_MACRO in data):
        return MACRO
    return SVG if b"<svg" in data[:HEAD_BYTES].lower() else None
