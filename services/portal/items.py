"""Messages in the making: read, added, changed, removed, in the caller's transaction. Drafts and sheets build on it."""

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from careplan import DataFile
from services.portal import grouping
from services.portal.clerk import Clerk
from services.portal.drawer import Drawer, Range
from services.portal.grouping import Unusable
from services.portal.places import Shown
from todoke.relay.clock import Ports
from todoke.relay.postgres import Tx, queries

State = Literal["unsent", "queued", "sending", "accepted", "delivered", "failed"]

UNDO_SECONDS = 30
"""So long an action can be taken back."""

FILES_OF_OBJECT_MAX = 10_000
"""More than any upload holds: the places of files rise from object to object."""

OPEN: tuple[State, ...] = ("unsent", "failed")
"""States in which content may change and a row may be sent."""

sql = queries("services.portal", "sheets.sql")


class Moved(Exception):  # noqa: N818 (named for what happened)
    """What was to be changed is gone or on its way: the page is older than that."""


class SavedBefore(Exception):  # noqa: N818 (named for what happened)
    """A newer version was saved, by the person of this name: perhaps the same one in another window."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name


@dataclasses.dataclass(frozen=True, slots=True)
class KeptFile:
    """A file of an item: its id, its name, its size in bytes, and where it lies."""

    id: UUID
    name: str
    size: int
    object: int
    place: Range

    @property
    def label(self) -> str:
        """What the lists call its kind."""
        return grouping.label(self.name)


@dataclasses.dataclass(frozen=True, slots=True)
class Item:
    """A message in the making as it stands. Times are UTC; `errors` and `warnings` count all findings."""

    id: UUID
    office: str
    sheet: UUID | None
    version: int
    recipient: str
    sequence: str | None
    text: str
    person: str
    person_name: str
    saved_at: datetime
    removed: bool
    picked: bool
    files: tuple[KeptFile, ...]
    checked: bool
    checked_whole: bool
    errors: int
    warnings: int
    findings: tuple[Shown, ...]
    unusable: tuple[Unusable, ...]
    sent_before: datetime | None
    resend: bool
    state: State
    run: UUID | None
    send_key: str | None
    sending: str
    tried: bool
    message_id: UUID | None
    accepted_at: datetime | None
    reason_code: str | None
    reason: str | None

    @property
    def names(self) -> list[str]:
        """The names of its files, in the order shown."""
        return [file.name for file in self.files]

    @property
    def data_files(self) -> tuple[KeptFile, ...]:
        """Its files that the standard knows."""
        return tuple(file for file in self.files if file.label != "PDF等")

    @property
    def attachments(self) -> tuple[KeptFile, ...]:
        """Its other files."""
        return tuple(file for file in self.files if file.label == "PDF等")

    @property
    def service_type(self) -> str | None:
        """The recipient's service type as the names say it."""
        return grouping.service_type(self.names)

    @property
    def months(self) -> tuple[str, ...]:
        """The service months (YYYYMM) of its files."""
        return grouping.months(self.names)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to send."""
        return not self.files and not self.text.strip()

    @property
    def is_repeated(self) -> bool:
        """Whether this very set was sent before, and nobody has said that it is meant."""
        return self.sent_before is not None and not self.resend

    @property
    def may_go(self) -> bool:
        """Whether it is sent when the whole sheet is."""
        return self.state in OPEN and self.errors == 0 and self.checked and not self.is_repeated and not self.is_empty


def blank(item: UUID, clerk: Clerk, recipient: str, now: datetime) -> Item:
    """A message that nothing was written of yet."""
    return Item(
        id=item,
        office=clerk.office,
        sheet=None,
        version=0,
        recipient=recipient,
        sequence=None,
        text="",
        person=clerk.person,
        person_name=clerk.name,
        saved_at=now,
        removed=False,
        picked=False,
        files=(),
        checked=False,
        checked_whole=False,
        errors=0,
        warnings=0,
        findings=(),
        unusable=(),
        sent_before=None,
        resend=False,
        state="unsent",
        run=None,
        send_key=None,
        sending="",
        tried=False,
        message_id=None,
        accepted_at=None,
        reason_code=None,
        reason=None,
    )


@dataclasses.dataclass(frozen=True, slots=True)
class NewFile:
    """A file that is to be kept."""

    id: UUID
    name: str
    size: int


class Items:
    """Reads and writes items; what is sealed is opened on the way."""

    def __init__(self, drawer: Drawer, ports: Ports) -> None:
        self.drawer = drawer
        self.ports = ports

    # --- read ------------------------------------------------------------------------------------------------------

    async def of_sheet(self, tx: Tx, sheet: UUID) -> list[Item]:
        """The rows of a sheet, in its order."""
        return await self.built(tx, await sql.items_of_sheet(tx.db, sheet=sheet))

    async def by_id(self, tx: Tx, *ids: UUID) -> list[Item]:
        """These items, as far as they are this office's; removed ones too."""
        return await self.built(tx, await sql.items_by_id(tx.db, ids=list(ids)))

    async def one(self, tx: Tx, item: UUID) -> Item | None:
        """One item that is not removed, or None."""
        found = await self.by_id(tx, item)
        return found[0] if found and not found[0].removed else None

    async def built(self, tx: Tx, rows: Sequence[Mapping[str, Any]]) -> list[Item]:
        """Items of their rows, with their files."""
        files: dict[UUID, list[KeptFile]] = defaultdict(list)
        for row in await sql.files_of(tx.db, items=[row["id"] for row in rows]):
            files[row["item"]].append(self._file(row))
        return [self._item(row, files[row["id"]]) for row in rows]

    def _file(self, row: Mapping[str, Any]) -> KeptFile:
        name = self.drawer.unseal(row["name_sealed"], row["office"], row["item"], f"name:{row['id']}")
        return KeptFile(row["id"], name, row["size"], row["object"], Range(row["starts"], row["length"]))

    def _item(self, row: Mapping[str, Any], files: Sequence[KeptFile]) -> Item:
        order = grouping.in_order([file.name for file in files])
        return Item(
            id=row["id"],
            office=row["office"],
            sheet=row["sheet"],
            version=row["version"],
            recipient=row["recipient"],
            sequence=row["sequence"],
            text=self._opened(row, "text") or "",
            person=row["person"],
            person_name=self._opened(row, "person") or "",
            saved_at=row["saved_at"],
            removed=row["removed_at"] is not None,
            picked=row["picked"],
            files=tuple(files[place] for place in order),
            checked=row["checked_version"] == row["version"],
            checked_whole=row["checked_whole"],
            errors=row["errors"],
            warnings=row["warnings"],
            findings=tuple(Shown.of_document(each) for each in self._opened(row, "findings") or ()),
            unusable=tuple(Unusable(*each) for each in self._opened(row, "unusable") or ()),
            sent_before=row["sent_before"],
            resend=row["resend"],
            state=row["state"],
            run=row["run"],
            send_key=row["send_key"],
            sending=self._opened(row, "sending") or "",
            tried=row["tried"],
            message_id=row["message_id"],
            accepted_at=row["accepted_at"],
            reason_code=row["reason_code"],
            reason=row["reason"],
        )

    def _opened(self, row: Mapping[str, Any], label: str) -> Any:
        sealed = row[f"{label}_sealed"]
        return None if sealed is None else self.drawer.unseal(sealed, row["office"], row["id"], label)

    async def contents(self, item: Item) -> list[DataFile]:
        """The bytes of its files, in the order shown: one read per object. Raises `ObjectsAway`, `ObjectMissing`."""
        of_object: dict[int, list[KeptFile]] = defaultdict(list)
        for file in item.files:
            of_object[file.object].append(file)
        found: dict[UUID, bytes] = {}
        for n, files in of_object.items():
            got = await self.drawer.get(item.office, item.id, n, [(file.id, file.place) for file in files])
            found.update(zip((file.id for file in files), got, strict=True))
        return [DataFile(file.name, found[file.id]) for file in item.files]

    # --- write -----------------------------------------------------------------------------------------------------

    def seal(self, value: Any, clerk: Clerk, owner: UUID, label: str) -> bytes:
        """A value of an item or sheet, sealed for its column."""
        return self.drawer.seal(value, clerk.office, owner, label)

    async def add_files(
        self, tx: Tx, office: str, item: UUID, n: int, files: Sequence[NewFile], places: Sequence[Range]
    ) -> None:
        """Write down files that were stored as the item's n-th object."""
        await sql.add_files(
            tx.db,
            item=item,
            office=office,
            object=n,
            ids=[file.id for file in files],
            places=[FILES_OF_OBJECT_MAX * n + at for at in range(len(files))],
            names=[self.drawer.seal(file.name, office, item, f"name:{file.id}") for file in files],
            sizes=[file.size for file in files],
            starts=[place.starts for place in places],
            lengths=[place.length for place in places],
        )

    async def remember(self, tx: Tx, clerk: Clerk, owner: UUID, before: Mapping[str, Any]) -> UUID:
        """Keep what an action changed; answers the id under which it can be taken back."""
        undo = self.ports.ids.uuid7()
        sealed = self.drawer.seal(before, clerk.office, undo, "undo")
        await sql.add_undo(tx.db, id=undo, office=clerk.office, owner=owner, now=tx.now, before_sealed=sealed)
        return undo

    async def take_back(self, tx: Tx, clerk: Clerk, owner: UUID, undo: UUID) -> bool:
        """Take an action back; False when it is too late or was taken back before."""
        since = tx.now - timedelta(seconds=UNDO_SECONDS)
        row = await sql.take_undo(tx.db, id=undo, owner=owner, since=since)
        if row is None:
            return False
        before = self.drawer.unseal(row["before_sealed"], clerk.office, undo, "undo")
        await self._restore(tx, clerk, before)
        return True

    async def _restore(self, tx: Tx, clerk: Clerk, before: Mapping[str, Any]) -> None:
        items, files = _ids(before.get("items", ())), _ids(before.get("files", ()))
        if items:
            await sql.restore_items(tx.db, ids=items)
        if files:
            await sql.restore_files(tx.db, ids=files)
            await sql.touch_item(tx.db, id=UUID(before["item"]), now=tx.now)
        await self.write_texts(tx, clerk, {UUID(key): text for key, text in before.get("texts", {}).items()})

    async def write_texts(self, tx: Tx, clerk: Clerk, texts: Mapping[UUID, str]) -> None:
        """Other texts for items whose content may change; what was found in their files still holds."""
        if not texts:
            return
        sealed = [self.drawer.seal(text, clerk.office, item, "text") for item, text in texts.items()]
        await sql.write_texts(tx.db, ids=list(texts), texts=sealed, now=tx.now)
        await sql.keep_checks(tx.db, ids=list(texts))

    async def note_check(self, tx: Tx, item: Item, findings: Sequence[Shown], *, whole: bool) -> None:
        """Keep what was found in this version of an item."""
        await sql.note_check(
            tx.db,
            id=item.id,
            version=item.version,
            whole=whole,
            errors=sum(finding.severity == "error" for finding in findings),
            warnings=sum(finding.severity == "warning" for finding in findings),
            findings_sealed=self.drawer.seal([each.document() for each in findings], item.office, item.id, "findings"),
        )


def _ids(texts: Iterable[str]) -> list[UUID]:
    return [UUID(text) for text in texts]
