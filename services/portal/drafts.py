"""Drafts of single messages: saved by whoever of the office writes, kept for ninety days, not lost to a second window.

A draft has a version. Who saves an older one than is there is told so and may keep both.
"""

import dataclasses
from collections.abc import Iterable, Sequence
from datetime import timedelta
from uuid import UUID

from services.portal import grouping
from services.portal.checking import Checker, Outgoing
from services.portal.clerk import Clerk
from services.portal.drawer import EMPTY_TEXT_BYTES
from services.portal.grouping import Dropped, Unusable
from services.portal.intake import Intake
from services.portal.items import OPEN, Item, Items, Moved, NewFile, SavedBefore, blank, sql
from services.portal.texts import TEXT_CHARACTERS_MAX
from todoke.client import shapes
from todoke.relay.clock import time_of
from todoke.relay.postgres import Database, Tx

KEPT = timedelta(days=90)
"""So long drafts and sheets are kept after their last change."""

REMOVED_KEPT = timedelta(days=1)
"""What was removed, or sent, goes after so long: nobody takes it back any more."""

LISTED_MAX = 200
"""Drafts of one list: more than an office writes in ninety days."""

SWEPT_AT_ONCE = 100
"""Items that one round of the sweeper removes."""


@dataclasses.dataclass(frozen=True, slots=True)
class Written:
    """What a form holds of a draft; `version` is that of the page, 0 for one that was never saved."""

    id: UUID
    version: int
    recipient: str
    text: str


class Drafts:
    """Reads and changes drafts, under row-level security of the clerk's office."""

    def __init__(self, db: Database, items: Items, checker: Checker, intake: Intake) -> None:
        self._db = db
        self._items = items
        self._checker = checker
        self._intake = intake

    async def all(self, clerk: Clerk) -> list[Item]:
        """The office's drafts, latest saved first; those that hold nothing are left out."""
        async with self._db.api(clerk.office) as tx:
            found = await self._items.built(tx, await sql.drafts(tx.db, office=clerk.office, rows_max=LISTED_MAX))
        return [draft for draft in found if not draft.is_empty or draft.recipient]

    async def leaves_unsent(self, clerk: Clerk) -> bool:
        """Whether the clerk has something that was not sent, in a draft or on the sheet; a text of spaces counts."""
        async with self._db.api(clerk.office) as tx:
            return bool(
                await sql.leaves_unsent(tx.db, office=clerk.office, person=clerk.person, empty_bytes=EMPTY_TEXT_BYTES)
            )

    async def get(self, clerk: Clerk, draft: UUID) -> Item | None:
        """A draft, also one that is on its way or was sent; None when it is not there (any more)."""
        async with self._db.api(clerk.office) as tx:
            found = await self._items.one(tx, draft)
        return found if found is not None and found.sheet is None else None

    async def save(self, clerk: Clerk, written: Written) -> Item:
        """Keep what a form holds.

        Raises:
            SavedBefore: a newer version is there.
            Moved: it was removed, or is on its way.
        """
        async with self._db.api(clerk.office) as tx:
            row = await sql.lock_item(tx.db, id=written.id)
            if row is None and written.version == 0:
                await self._add(tx, clerk, written)
            else:
                item = await self._changeable(tx, written.id)
                if item.version != written.version:
                    raise SavedBefore(item.person_name)
                if (item.recipient, item.text) != (written.recipient, written.text):
                    await self._write(tx, clerk, written)
            return await self._changeable(tx, written.id)

    async def overwrite(self, clerk: Clerk, written: Written) -> Item:
        """Keep what a form holds although a newer version is there: the person has seen both. Raises `Moved`."""
        async with self._db.api(clerk.office) as tx:
            await sql.lock_item(tx.db, id=written.id)
            await self._changeable(tx, written.id)
            await self._write(tx, clerk, written)
            return await self._changeable(tx, written.id)

    async def save_beside(self, clerk: Clerk, written: Written) -> Item:
        """Keep what a form holds as a draft of its own, with copies of the files: both versions stay.

        Raises `Moved` when the other one is gone, `ObjectsAway`.
        """
        other = await self.get(clerk, written.id)
        if other is None:
            raise Moved
        data = await self._items.contents(other)
        copy = dataclasses.replace(written, id=self._items.ports.ids.uuid7(), version=0)
        new = [NewFile(self._items.ports.ids.uuid7(), file.name, len(file.data)) for file in data]
        pairs = list(zip([file.id for file in new], [file.data for file in data], strict=True))
        ranges = await self._items.drawer.put(clerk.office, copy.id, 1, pairs) if new else []
        async with self._db.api(clerk.office) as tx:
            await self._add(tx, clerk, copy, objects=1)
            await self._items.add_files(tx, clerk.office, copy.id, 1, new, ranges)
            return await self._changeable(tx, copy.id)

    async def add_files(self, clerk: Clerk, draft: UUID, files: Iterable[Dropped]) -> Item:
        """Add files; an empty recipient is filled in from their names. Those that cannot be used are noted.

        Raises `Moved`, `ClientError`, `ObjectsAway`.
        """
        item = await self._need(clerk, draft)
        unusable = await self._intake.into_item(clerk, item, files)
        async with self._db.api(clerk.office) as tx:
            item = await self._changeable(tx, draft)
            await self._note_unusable(tx, clerk, draft, unusable)
            named = grouping.recipient(item.names)
            if not item.recipient and named is not None:
                await self._write(tx, clerk, Written(draft, item.version, named, item.text))
            return await self._changeable(tx, draft)

    async def remove_file(self, clerk: Clerk, draft: UUID, file: UUID) -> UUID | None:
        """Take a file off; answers the id to take that back with. Raises `Moved`."""
        async with self._db.api(clerk.office) as tx:
            await self._changeable(tx, draft)
            if await sql.remove_file(tx.db, id=file, item=draft, now=tx.now) is None:
                return None
            await sql.touch_item(tx.db, id=draft, now=tx.now)
            return await self._items.remember(tx, clerk, draft, {"item": str(draft), "files": [str(file)]})

    async def remove(self, clerk: Clerk, drafts: Sequence[UUID]) -> tuple[int, UUID]:
        """Remove drafts; answers how many, and the id to take it back with."""
        async with self._db.api(clerk.office) as tx:
            rows = [item.id for item in await self._items.by_id(tx, *drafts) if item.sheet is None]
            gone = [row["id"] for row in await sql.remove_items(tx.db, ids=rows, now=tx.now)]
            undo = await self._items.remember(tx, clerk, _list_of(clerk), {"items": [str(item) for item in gone]})
        return len(gone), undo

    async def take_back(self, clerk: Clerk, undo: UUID, draft: UUID | None = None) -> bool:
        """Take back a removal of drafts, or of a file of one draft; False when it is too late."""
        async with self._db.api(clerk.office) as tx:
            return await self._items.take_back(tx, clerk, draft or _list_of(clerk), undo)

    async def forget_unusable(self, clerk: Clerk, draft: UUID) -> None:
        """Close the list of files that could not be used."""
        async with self._db.api(clerk.office) as tx:
            await self._note_unusable(tx, clerk, draft, ())

    def blank(self, clerk: Clerk, draft: UUID, recipient: str) -> Item:
        """A draft that nobody has saved yet."""
        return blank(draft, clerk, recipient, self._items.ports.clock.now())

    async def check(self, clerk: Clerk, item: Item) -> tuple[Item, dict[str, shapes.Office]]:
        """Judge a draft as it stands; answers it with its findings, and the offices concerned.

        Raises `ClientError`, `ObjectsAway`.
        """
        files = tuple(await self._items.contents(item))
        message = Outgoing(item.recipient, None, item.text, files)
        named = {message.named_recipient or ""} | {item.recipient}
        offices = await self._checker.directory.get(clerk.client, named - {""})
        findings = [] if item.is_empty else await self._checker.whole(clerk, offices, message)
        async with self._db.api(clerk.office) as tx:
            await self._items.note_check(tx, item, findings, whole=True)
            return await self._items.one(tx, item.id) or item, offices

    async def move_to_sheet(self, clerk: Clerk, sheet: UUID, drafts: Sequence[UUID]) -> int:
        """Make rows of drafts that hold data files; answers how many rows there are then.

        One that holds several sets becomes several rows; attachments of such a one stay behind as a draft.
        Raises `ClientError`, `ObjectsAway`.
        """
        async with self._db.api(clerk.office) as tx:
            found = [item for item in await self._items.by_id(tx, *drafts) if item.sheet is None and not item.removed]
        moved = 0
        for item in found:
            keys = grouping.keys(item.names)
            if item.state not in OPEN or not keys:
                continue
            if len(keys) == 1:
                [(sequence, recipient)] = keys
                async with self._db.api(clerk.office) as tx:
                    await sql.move_to_sheet(
                        tx.db, sheet=sheet, ids=[item.id], sequences=[sequence], recipients=[recipient]
                    )
                moved += 1
            else:
                moved += await self._split(clerk, sheet, item)
        return moved

    async def _split(self, clerk: Clerk, sheet: UUID, item: Item) -> int:
        data = [file for file in await self._items.contents(item) if grouping.label(file.name) != "PDF等"]
        rows = await self._intake.into_sheet(clerk, sheet, [Dropped.of(file.name, file.data) for file in data])
        keys = grouping.keys(item.names)
        async with self._db.api(clerk.office) as tx:
            new = [row for row in await self._items.of_sheet(tx, sheet) if (row.sequence, row.recipient) in keys]
            await self._items.write_texts(tx, clerk, {row.id: item.text for row in new if not row.text})
            if item.attachments:
                await sql.remove_files(tx.db, ids=[file.id for file in item.data_files], now=tx.now)
                await sql.touch_item(tx.db, id=item.id, now=tx.now)
            else:
                await sql.remove_items(tx.db, ids=[item.id], now=tx.now)
        return rows

    # --- pieces ------------------------------------------------------------------------------------------------------

    async def _need(self, clerk: Clerk, draft: UUID) -> Item:
        async with self._db.api(clerk.office) as tx:
            return await self._changeable(tx, draft)

    async def _changeable(self, tx: Tx, draft: UUID) -> Item:
        item = await self._items.one(tx, draft)
        if item is None or item.sheet is not None or item.state not in OPEN or item.tried:
            raise Moved
        return item

    async def _add(self, tx: Tx, clerk: Clerk, written: Written, objects: int = 0) -> None:
        seal = self._items.seal
        await sql.add_item(
            tx.db,
            id=written.id,
            office=clerk.office,
            sheet=None,
            recipient=written.recipient,
            sequence=None,
            text_sealed=seal(written.text[:TEXT_CHARACTERS_MAX], clerk, written.id, "text"),
            person=clerk.person,
            person_sealed=seal(clerk.name, clerk, written.id, "person"),
            saved_at=tx.now,
            objects=objects,
            checked_version=0,
            checked_whole=False,
            errors=0,
            warnings=0,
            findings_sealed=None,
            unusable_sealed=None,
            sent_before=None,
        )

    async def _write(self, tx: Tx, clerk: Clerk, written: Written) -> None:
        seal = self._items.seal
        version = await sql.write_item(
            tx.db,
            id=written.id,
            recipient=written.recipient,
            sequence=None,
            text_sealed=seal(written.text[:TEXT_CHARACTERS_MAX], clerk, written.id, "text"),
            person=clerk.person,
            person_sealed=seal(clerk.name, clerk, written.id, "person"),
            saved_at=tx.now,
        )
        if version is None:
            raise Moved

    async def _note_unusable(self, tx: Tx, clerk: Clerk, draft: UUID, unusable: Sequence[Unusable]) -> None:
        sealed = self._items.seal([each.kept() for each in unusable], clerk, draft, "unusable") if unusable else None
        await sql.note_unusable(tx.db, id=draft, unusable_sealed=sealed)


def _list_of(clerk: Clerk) -> UUID:
    """What stands for the list of an office's drafts where an id is wanted."""
    return UUID(int=int(clerk.office.encode().hex(), 16))


class Sweeper:
    """Removes what nobody wants any more: objects first, then rows, so that a run that breaks off is taken up again."""

    def __init__(self, db: Database, items: Items) -> None:
        self._db = db
        self._drawer = items.drawer

    async def sweep(self) -> None:
        """Old drafts and sheets, removed ones, and what belongs to none. Raises `DatabaseAway`, `ObjectsAway`."""
        while await self._sweep_some() == SWEPT_AT_ONCE:
            pass
        async with self._db.worker() as tx:
            await sql.forget_old(tx.db, old=tx.now - KEPT, removed_before=tx.now - REMOVED_KEPT)

    async def _sweep_some(self) -> int:
        async with self._db.worker() as tx:
            rows = await sql.old_items(
                tx.db, old=tx.now - KEPT, removed_before=tx.now - REMOVED_KEPT, rows_max=SWEPT_AT_ONCE
            )
        for row in rows:
            async for entry in self._drawer.objects.list(f"draft/{row['office']}/{row['id']}/"):
                await self._drawer.objects.delete(entry.key)
        async with self._db.worker() as tx:
            await sql.forget_items(tx.db, ids=[row["id"] for row in rows])
        return len(rows)

    async def sweep_orphans(self) -> None:
        """Objects that no item names: their upload broke off before it was written down."""
        async with self._db.worker() as tx:
            now = tx.now
        waiting: dict[UUID, list[str]] = {}
        async for entry in self._drawer.objects.list("draft/"):
            item = UUID(entry.key.split("/")[2])
            if now - entry.modified > REMOVED_KEPT and now - time_of(item) > REMOVED_KEPT:
                waiting.setdefault(item, []).append(entry.key)
            if len(waiting) >= SWEPT_AT_ONCE:
                await self._drop(waiting)
                waiting = {}
        await self._drop(waiting)

    async def _drop(self, keys: dict[UUID, list[str]]) -> None:
        async with self._db.worker() as tx:
            known = {row["id"] for row in await sql.known_items(tx.db, ids=list(keys))}
        for item, names in keys.items():
            if item not in known:
                for name in names:
                    await self._drawer.objects.delete(name)
