"""Files → messages: what belongs together by its name, what cannot be used, and why. Pure; no file is opened."""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from pathlib import PurePosixPath

import careplan

ATTACHMENT_ENDS = (".pdf", ".jpg", ".jpeg", ".png")
"""Endings of files that may go along beside the data; compared without case."""


@dataclasses.dataclass(frozen=True, slots=True)
class Dropped:
    """A file as it came from a browser or out of a ZIP: its bare name, its size, and how its bytes are had.

    A ZIP's files are unpacked one after the other, so that never more than one message of it is held in clear.
    """

    name: str
    size: int
    read: Callable[[], bytes]

    @classmethod
    def of(cls, name: str, data: bytes) -> "Dropped":
        """A file whose bytes are at hand."""
        return cls(name, len(data), lambda: data)


@dataclasses.dataclass(frozen=True, slots=True)
class Unusable:
    """A file that was not taken, by its name; `code` says why (a code or number of the tables of wordings).

    `detail` tells more of it, where there is more: what is wrong with a ZIP.
    """

    name: str
    code: str
    detail: str = ""

    def kept(self) -> tuple[str, str, str]:
        """As it is kept; `Unusable(*kept)` is the same again."""
        return self.name, self.code, self.detail


@dataclasses.dataclass(frozen=True, slots=True)
class Unit:
    """Files that go to one office under one sequence: what makes a row of a sheet."""

    recipient: str
    sequence: str
    files: tuple[Dropped, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Grouped:
    """What became of the files: units in the order of the sheet, attachments that no name places, the unusable."""

    units: tuple[Unit, ...]
    attachments: tuple[Dropped, ...]
    unusable: tuple[Unusable, ...]


def bare_name(name: str) -> str:
    """The file's own name: browsers send the folder before it when a whole folder is chosen."""
    return PurePosixPath(name.replace("\\", "/")).name


def is_attachment(name: str) -> bool:
    """Whether a file that is no data file may go along by its ending."""
    return name.casefold().endswith(ATTACHMENT_ENDS)


def unfit(name: str, size: int, *, sender: str, file_bytes_max: int) -> str | None:
    """Why one file cannot be used, whatever it is sent with; None when it can."""
    if size > file_bytes_max:
        return "TDK-FILE-TOO-LARGE"
    parsed = careplan.parse_name(name)
    if parsed is not None:
        return "TDK-SENDER-MISMATCH" if parsed.sender_office != sender else None
    if careplan.looks_like_data_name(name):
        return "TDK-FILE-NAME"
    return None if is_attachment(name) else "TDK-ATTACHMENT-KIND"


def group(files: Iterable[Dropped], *, sender: str, file_bytes_max: int) -> Grouped:
    """One unit for each (sequence, recipient), ascending; a file that comes twice under one name counts once, the last.

    Args:
        files: in the order of their arrival; units keep data files by name and know nothing of content.
        sender: the own office's number: files that another office made are unusable.
        file_bytes_max: bytes that one file may have.
    """
    units: dict[tuple[str, str], dict[str, Dropped]] = {}
    attachments: dict[str, Dropped] = {}
    unusable: list[Unusable] = []
    for file in files:
        code = unfit(file.name, file.size, sender=sender, file_bytes_max=file_bytes_max)
        parsed = careplan.parse_name(file.name)
        if code is not None:
            unusable.append(Unusable(file.name, code))
        elif parsed is None:
            attachments[file.name] = file
        else:
            units.setdefault((parsed.sequence, parsed.recipient_office), {})[file.name.casefold()] = file
    return Grouped(
        units=tuple(
            Unit(recipient, sequence, tuple(members[name] for name in sorted(members)))
            for (sequence, recipient), members in sorted(units.items())
        ),
        attachments=tuple(attachments.values()),
        unusable=tuple(unusable),
    )


def in_order(names: Sequence[str]) -> list[int]:
    """The places of a message's files as they are shown: data files by name, then the others as they were added."""

    def key(place: int) -> tuple[bool, str]:
        data = careplan.parse_name(names[place]) is not None
        return (not data, names[place] if data else "")

    return sorted(range(len(names)), key=key)


def service_type(names: Iterable[str]) -> str | None:
    """The recipient's service type as the first name says it that says one."""
    types = (parsed.recipient_service for parsed in map(careplan.parse_name, names) if parsed is not None)
    return next((code for code in types if code is not None), None)


def label(name: str) -> str:
    """What the lists call the kind of a file: registration, deletion, or everything else."""
    parsed = careplan.parse_name(name)
    return "PDF等" if parsed is None else careplan.label_of(parsed.kind)


def months(names: Iterable[str]) -> tuple[str, ...]:
    """The service months (YYYYMM) that the names carry, ascending."""
    found = {parsed.target_month for name in names if (parsed := careplan.parse_name(name)) is not None}
    return tuple(sorted(month for month in found if month and month != "000000"))


def keys(names: Iterable[str]) -> set[tuple[str, str]]:
    """The (sequence, recipient) pairs that names carry: more than one means that sets are mixed."""
    return {(name.sequence, name.recipient_office) for name in map(careplan.parse_name, names) if name is not None}


def recipient(names: Iterable[str]) -> str | None:
    """The one recipient that the names agree on, or None."""
    found = {number for _, number in keys(names)}
    return found.pop() if len(found) == 1 else None
