"""File name ⇄ parts (clauses 2.3 and 3.3).

Names of version 202208 carry no service types, names of 202407 do; that is how the two are told apart before a byte of
the file is read.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Literal

from careplan.kinds import CSV_VERSIONS, IMAGE_KIND, KINDS, PREFIXES

_ATTACHMENT_ENDS = (".pdf", ".jpg", ".jpeg", ".png")
PICTURE_ENDS = (".jpg", ".jpeg")
_SEPARATORS = re.compile(r"[-_\s]+")
_CSV_SUFFIX = ".CSV"
_OFFICE_LENGTH = 10
_SEQUENCE_LENGTH = 14
_LOOSE = re.compile(
    r"(?:_\d{6})?_(?P<sender>[0-9A-Z]{3,20})(?:_[0-9A-Z]{2})?_(?P<recipient>[0-9A-Z]{3,20})(?:_[0-9A-Z]{2})?"
    r"_(?P<sequence>\d{8,20})(?:_\d+)?\.\w+",
    re.IGNORECASE,
)
"""What follows the kind, with office numbers and sequence of any length."""


@dataclass(frozen=True, slots=True)
class FileName:
    """The parts of a data file's name. Service types are absent in 202208, the branch in all but pictures."""

    kind: str
    csv_version: str
    target_month: str | None
    """YYYYMM, or 000000 of UPHOSOKU with forms 1 to 3 (and of some UPKIHON names); not checked to be a real month."""
    sender_office: str
    sender_service: str | None
    recipient_office: str
    recipient_service: str | None
    sequence: str
    branch: str | None

    def render(self, suffix: str = _CSV_SUFFIX) -> str:
        """The name that these parts make; a picture ends in ``.jpg`` unless another suffix is asked for."""
        if self.kind == IMAGE_KIND and suffix == _CSV_SUFFIX:
            suffix = ".jpg"
        parts = (
            self.kind,
            self.target_month,
            self.sender_office,
            self.sender_service,
            self.recipient_office,
            self.recipient_service,
            self.sequence,
            self.branch,
        )
        return "_".join(part for part in parts if part) + suffix

    @property
    def parties(self) -> tuple[str, str | None, str, str | None, str]:
        """Sender, its type, recipient, its type, sequence: the parts that all files of a sending unit share."""
        return (
            self.sender_office,
            self.sender_service,
            self.recipient_office,
            self.recipient_service,
            self.sequence,
        )


def parse_name(name: str) -> FileName | None:
    """The parts of ``name``, or None when it is not the name of a data file or of a picture of UPKIHON.

    Only the grammar is judged: whether the month is real and the service types exist is said by ``check_unit``.
    """
    kind = guess_kind(name)
    if kind is None:
        return None
    for version in CSV_VERSIONS:
        known = KINDS.get((version, kind))
        match = known.pattern.fullmatch(name) if known else None
        if match:
            part = match.groupdict()
            return FileName(
                kind=kind,
                csv_version=version,
                target_month=part["target_month"] or None,
                sender_office=part["sender_office"],
                sender_service=part["sender_service"] or None,
                recipient_office=part["recipient_office"],
                recipient_service=part["recipient_service"] or None,
                sequence=part["sequence"],
                branch=part.get("branch"),
            )
    return None


def guess_kind(name: str) -> str | None:
    """The kind that ``name`` begins with, whatever follows; None when it begins with none."""
    for prefix in PREFIXES:
        if name.startswith(prefix) and not name[len(prefix) : len(prefix) + 1].isalnum():
            return prefix
    return None


def meant_kind(name: str) -> str | None:
    """The kind that a name which breaks the grammar seems to mean, whatever its letters and separators look like."""
    return guess_kind(_SEPARATORS.sub("_", unicodedata.normalize("NFKC", name)).upper())


def misnumbered_part(name: str) -> Literal["office", "sequence"] | None:
    """Which number of a name that breaks the grammar has too few or too many characters, the offices' first.

    None when the name is broken in another way.
    """
    kind = guess_kind(name.upper())
    loose = None if kind is None else _LOOSE.fullmatch(name, len(kind))
    if loose is None:
        return None
    if {len(loose["sender"]), len(loose["recipient"])} != {_OFFICE_LENGTH}:
        return "office"
    return None if len(loose["sequence"]) == _SEQUENCE_LENGTH else "sequence"


def looks_like_data_name(name: str) -> bool:
    """Whether ``name`` is meant as a data file, so that a breach of the grammar is an error of its name.

    True for everything that ends in ``.csv`` and for names that begin like a kind of the standard; pictures and PDFs
    whose name only happens to begin so stay attachments.
    """
    lowered = name.casefold()
    if lowered.endswith(".csv"):
        return True
    kind = guess_kind(name.upper())
    if kind is None:
        return False
    return lowered.endswith(PICTURE_ENDS) if kind == IMAGE_KIND else not lowered.endswith(_ATTACHMENT_ENDS)
