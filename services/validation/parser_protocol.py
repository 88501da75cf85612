"""What the service and its parser children say to each other: jobs, and codes of findings.

The wording of the codes stands in careplan's findings_ja.csv.
"""

import struct
from typing import Final

HEADER: Final = struct.Struct(">cQ")
"""Before each job: the kind and the length of the content in bytes. The answer is one line of codes."""

READY: Final = b"ready\n"
"""What a child says once, when it has loaded its parsers."""

PDF: Final = b"f"
JPEG: Final = b"j"
PNG: Final = b"n"

PDF_BEGIN: Final = b"%PDF-"
JPEG_BEGIN: Final = b"\xff\xd8\xff"
PNG_BEGIN: Final = b"\x89PNG\r\n\x1a\n"

HEAD_BYTES: Final = 1024
"""Readers of PDF and of web pages look for their beginning within so many bytes."""

CPU_SECONDS_MAX: Final = 7
"""Processor time of one job; ordinary files take a hundredth of it."""

KIND: Final = "TDK-ATTACHMENT-KIND"
"""The last extension is none of pdf, jpg, jpeg, png."""

CONTENT: Final = "TDK-ATTACHMENT-CONTENT"
"""The content is not what the extension says."""

PROGRAM: Final = "TDK-ATTACHMENT-PROGRAM"
"""It is a program, by its extension or by its first bytes."""

SVG: Final = "TDK-ATTACHMENT-SVG"
"""It is an SVG drawing, which a browser would run scripts of."""

MACRO: Final = "TDK-ATTACHMENT-MACRO"
"""It is a document with macros."""

ACTIVE: Final = "TDK-ATTACHMENT-ACTIVE"
"""Something in it would act by itself: a script, a launch, a form that sends, media, a way into another file."""

EMBEDDED: Final = "TDK-ATTACHMENT-EMBEDDED"
"""Another file lies inside."""

ENCRYPTED: Final = "TDK-ATTACHMENT-ENCRYPTED"
"""It is encrypted, with or without a password to open it."""

APPENDED: Final = "TDK-ATTACHMENT-APPENDED"
"""Data of another format stands before, behind or between: it could be taken for two kinds of file."""

UNREADABLE: Final = "TDK-ATTACHMENT-UNREADABLE"
"""It is truncated or damaged, or checking it takes more time or memory than any ordinary file does."""

PIXELS: Final = "TDK-ATTACHMENT-PIXELS"
"""A picture has more pixels than allowed."""

EXPANDS: Final = "TDK-ATTACHMENT-EXPANDS"
"""Something in it grows beyond reason when it is unpacked."""
