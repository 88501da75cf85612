"""What lies in an outgoing folder, and which of it is whole: files that have come to rest, grouped into messages."""

import dataclasses
import os
import re
import stat
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from careplan import looks_like_data_name, parse_name, plan_units
from todoke.client.core import Upload
from todoke.client.gathering import Found, gather, is_ignored, read_file
from todoke.client.planning import Planned, Wishes, plan
from todoke.client.saving import TEXT_NAME

SENT = "送信済み"
TROUBLE = "エラー"
WHY_NAME = "理由.txt"
PROOF_END = ".jws"
"""What the watcher itself puts beside files: a folder that comes back with them in it is sent without them."""

INCOMPLETE_SECONDS_MAX = 600.0
"""So long is waited for the rest of a sending unit; then it is judged as it is, and the findings say what lacks."""

_UNFINISHED = re.compile(r"(\.(part|partial|tmp|temp|crdownload|download|filepart|swp|lock)|~)$", re.IGNORECASE)
"""Names that programs give to what they have not finished writing."""

_OFFICE = re.compile(r"[0-9A-Z]{10}")
"""A folder with such a name says to whom attachments and texts go that have no data files beside them."""


@dataclasses.dataclass(frozen=True, slots=True)
class Stamp:
    """What changes when a file is written: size in bytes, time of the last change in ns, and which file it is."""

    size: int
    changed_ns: int
    inode: int

    @classmethod
    def of(cls, path: Path) -> "Stamp | None":
        """The stamp of a plain file; None when there is none."""
        try:
            seen = path.lstat()
        except OSError:
            return None
        return cls(seen.st_size, seen.st_mtime_ns, seen.st_ino) if stat.S_ISREG(seen.st_mode) else None


@dataclasses.dataclass(frozen=True, slots=True)
class Parcel:
    """Files that make a message (a ZIP: one or more). Paths are relative to the outgoing folder."""

    order: str
    paths: tuple[tuple[Path, Stamp], ...]
    recipient: str | None = None
    is_whole: bool = True
    """False while files of its sending unit, or the data files beside an attachment, are not there."""

    def read(self, root: Path, office: str) -> list[Planned] | None:
        """The messages of this parcel; None when a file is being changed or cannot be opened now.

        Raises:
            Ungatherable: a ZIP that cannot be read, a file that is far too large.
            Unplannable: files that make no message.
        """
        found: list[Found] = []
        text: str | None = None
        for path, _ in self.paths:
            try:
                with (root / path).open("rb"):
                    pass
            except OSError:
                return None  # its writer still holds it, or it has just been taken away
            if path.name == TEXT_NAME:
                text = _text(read_file(root / path))
            elif path.suffix.lower() == ".zip":
                found += gather([root / path])
            else:
                found.append(Found(str(path.parent), read_file(root / path)))
        if any(Stamp.of(root / path) != stamp for path, stamp in self.paths):
            return None
        return plan(found, Wishes(recipient=self.recipient, text=text), office)


def _text(file: Upload) -> str:
    """A text as editors of this country save it, without the line end that they add."""
    try:
        text = file.content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = file.content.decode("cp932", errors="replace")
    return text.replace("\r\n", "\n").rstrip("\n")


class Scanner:
    """Looks at a folder again and again, and hands out what has not changed for a while.

    Args:
        root: the outgoing folder.
        settle_seconds: files that keep size, time and identity for so long are taken for whole.
    """

    def __init__(self, root: Path, settle_seconds: float) -> None:
        self._root = root
        self._settle_seconds = settle_seconds
        self._since: dict[Parcel, float] = {}

    def settled(self, office: str, now: datetime, monotonic: float) -> list[Parcel]:
        """The parcels of this office that have come to rest, in the order in which they are to be sent."""
        parcels = list(self._parcels(office))
        self._since = {parcel: self._since.get(parcel, monotonic) for parcel in parcels}
        return sorted(
            (
                parcel
                for parcel, since in self._since.items()
                if monotonic - since >= self._settle_seconds and (parcel.is_whole or self._is_old(parcel, now))
            ),
            key=lambda parcel: parcel.order,
        )

    @property
    def is_empty(self) -> bool:
        """Whether the last look found nothing."""
        return not self._since

    def _is_old(self, parcel: Parcel, now: datetime) -> bool:
        """Whether the last file came so long ago that nobody adds to it any more."""
        try:
            newest = max((self._root / path).lstat().st_ctime for path, _ in parcel.paths)
        except OSError:
            return False
        return (now - datetime.fromtimestamp(newest, UTC)).total_seconds() >= INCOMPLETE_SECONDS_MAX

    def _parcels(self, office: str) -> Iterator[Parcel]:
        for folder, below, names in os.walk(self._root):
            place = Path(folder).relative_to(self._root)
            below[:] = sorted(name for name in below if not is_ignored(name) and not _is_ours(place / name))
            unfinished = [name for name in names if _is_unfinished(name)]
            files = {
                place / name: stamp
                for name in sorted(names)
                if name not in unfinished
                and not is_ignored(name)
                and not (name == WHY_NAME or name.endswith(PROOF_END))
                and (stamp := Stamp.of(Path(folder, name))) is not None
            }
            for parcel in _grouped(place, files, office):
                # Whatever is still being written here may belong to it.
                yield dataclasses.replace(parcel, is_whole=False) if unfinished else parcel


def _is_ours(place: Path) -> bool:
    return place.parts[0] in (SENT, TROUBLE)


def _is_unfinished(name: str) -> bool:
    return name.startswith("~$") or _UNFINISHED.search(name) is not None


def _grouped(place: Path, files: dict[Path, Stamp], office: str) -> Iterator[Parcel]:
    """The files of one folder as parcels: ZIPs and wrong names alone, the rest as `send` groups it."""
    rest: list[Path] = []
    for path, stamp in files.items():
        parsed = parse_name(path.name)
        is_wrong = parsed.sender_office != office if parsed is not None else looks_like_data_name(path.name)
        if is_wrong or path.suffix.lower() == ".zip":
            yield Parcel(path.name, ((path, stamp),))
        else:
            rest.append(path)
    units = plan_units(path.name for path in rest)
    loose = [path for path in rest if not looks_like_data_name(path.name)]
    recipient = place.name if _OFFICE.fullmatch(place.name) else None
    if loose and not units:
        yield _parcel(str(place), loose, files, recipient=recipient, is_whole=recipient is not None)
    elif loose:
        # With one message here they go with it; with several nobody can tell, and the plan will say so.
        is_whole = not any(unit.missing for unit in units)
        yield _parcel(units[0].sequence, rest, files, is_whole=is_whole)
    else:
        for unit in units:
            members = [place / name for name in unit.names]
            yield _parcel(unit.sequence, members, files, is_whole=not unit.missing)


def _parcel(
    order: str, paths: Sequence[Path], files: dict[Path, Stamp], *, recipient: str | None = None, is_whole: bool
) -> Parcel:
    return Parcel(order, tuple((path, files[path]) for path in sorted(paths)), recipient, is_whole)
