"""The sheet of 一括送信: rows, what is selected, the messages that are copied from row to row, and taking it all back.

A sheet belongs to one person; colleagues of the office may open it. Everything here is kept on the server, so closing
the browser, logging out and a new version of the portal lose nothing.
"""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from services.portal.checking import Checker, Outgoing
from services.portal.clerk import Clerk
from services.portal.grouping import Unusable
from services.portal.items import OPEN, Item, Items, Moved, SavedBefore, sql
from services.portal.texts import TEXT_CHARACTERS_MAX
from services.portal.unusual import Unusual, unusual
from todoke.client import shapes
from todoke.relay.postgres import Database, Tx


class NotOne(Exception):  # noqa: N818 (named for what is wrong)
    """Copying needs exactly one selected row; `rows` tells how many there are."""

    def __init__(self, rows: int) -> None:
        super().__init__()
        self.rows = rows


class NothingPicked(Exception):  # noqa: N818 (named for what is wrong)
    """No row is selected."""


class Nothing(Exception):  # noqa: N818 (named for what is missing)
    """There would be nothing left to send."""


@dataclasses.dataclass(frozen=True, slots=True)
class Sheet:
    """A sheet as it stands, its rows in the order of sending."""

    id: UUID
    person: str
    person_name: str
    changed_at: datetime
    clipboard: str | None
    unusable: tuple[Unusable, ...]
    rows: tuple[Item, ...]

    @property
    def picked(self) -> tuple[Item, ...]:
        """The selected rows."""
        return tuple(row for row in self.rows if row.picked)

    @property
    def to_go(self) -> tuple[Item, ...]:
        """Rows that are sent when the sheet is."""
        return tuple(row for row in self.rows if row.may_go)

    @property
    def held_back(self) -> tuple[Item, ...]:
        """Rows with something to be put right first: they stay."""
        return tuple(row for row in self.rows if row.state in OPEN and row.errors)


@dataclasses.dataclass(frozen=True, slots=True)
class OpenSheet:
    """A sheet with rows that were not sent: what the list of drafts shows of it."""

    id: UUID
    person: str
    person_name: str
    changed_at: datetime
    rows: int


@dataclasses.dataclass(frozen=True, slots=True)
class Edited:
    """What a person wants of one row: its text, the version that was looked at, and files to be taken off."""

    version: int
    text: str
    removed: Collection[UUID] = ()


class Sheets:
    """Reads and changes sheets, under row-level security of the clerk's office."""

    def __init__(self, db: Database, items: Items, checker: Checker) -> None:
        self._db = db
        self._items = items
        self._checker = checker

    # --- read ------------------------------------------------------------------------------------------------------

    async def own(self, clerk: Clerk) -> Sheet:
        """The clerk's own sheet, made when there is none."""
        async with self._db.api(clerk.office) as tx:
            row = await sql.sheet_of(tx.db, office=clerk.office, person=clerk.person)
            if row is None:
                row = await self._made(tx, clerk)
            return await self._sheet(tx, row)

    async def get(self, clerk: Clerk, sheet: UUID) -> Sheet | None:
        """A sheet of the clerk's office, or None."""
        async with self._db.api(clerk.office) as tx:
            row = await sql.sheet(tx.db, id=sheet)
            return None if row is None else await self._sheet(tx, row)

    async def head(self, clerk: Clerk, run: UUID) -> OpenSheet | None:
        """The sheet that a sending belongs to, without its rows; None when there is none of this office."""
        async with self._db.api(clerk.office) as tx:
            row = await sql.sheet_of_run(tx.db, run=run)
        return None if row is None else OpenSheet(row["id"], row["person"], self._name(row), row["changed_at"], 0)

    async def row(self, clerk: Clerk, row: UUID) -> Item | None:
        """One row of a sheet of the clerk's office, or None."""
        async with self._db.api(clerk.office) as tx:
            item = await self._items.one(tx, row)
        return item if item is not None and item.sheet is not None else None

    async def open_ones(self, clerk: Clerk) -> list[OpenSheet]:
        """Every sheet of the office that holds rows not sent yet."""
        async with self._db.api(clerk.office) as tx:
            rows = await sql.sheets_with_rows(tx.db, office=clerk.office)
        return [OpenSheet(row["id"], row["person"], self._name(row), row["changed_at"], row["rows"]) for row in rows]

    async def _made(self, tx: Tx, clerk: Clerk) -> Mapping[str, Any]:
        sheet = self._items.ports.ids.uuid7()
        sealed = self._items.seal(clerk.name, clerk, sheet, "person")
        await sql.add_sheet(tx.db, id=sheet, office=clerk.office, person=clerk.person, person_sealed=sealed, now=tx.now)
        found: Mapping[str, Any] = await sql.sheet_of(tx.db, office=clerk.office, person=clerk.person)
        return found

    async def _sheet(self, tx: Tx, row: Mapping[str, Any]) -> Sheet:
        drawer = self._items.drawer
        opened = {
            label: None
            if row[f"{label}_sealed"] is None
            else drawer.unseal(row[f"{label}_sealed"], row["office"], row["id"], label)
            for label in ("clipboard", "unusable")
        }
        return Sheet(
            id=row["id"],
            person=row["person"],
            person_name=self._name(row),
            changed_at=row["changed_at"],
            clipboard=opened["clipboard"],
            unusable=tuple(Unusable(*each) for each in opened["unusable"] or ()),
            rows=tuple(await self._items.of_sheet(tx, row["id"])),
        )

    def _name(self, row: Mapping[str, Any]) -> str:
        return str(self._items.drawer.unseal(row["person_sealed"], row["office"], row["id"], "person"))

    # --- the selection and what is done to it ------------------------------------------------------------------------

    async def pick(self, clerk: Clerk, sheet: UUID, rows: Collection[UUID]) -> None:
        """Exactly these rows are selected from now on."""
        async with self._db.api(clerk.office) as tx:
            await sql.pick(tx.db, sheet=sheet, ids=list(rows))

    async def copy(self, clerk: Clerk, sheet: UUID) -> str:
        """Copy the text of the selected row, place-holders as they stand. Raises `NotOne`."""
        async with self._db.api(clerk.office) as tx:
            picked = [row for row in await self._items.of_sheet(tx, sheet) if row.picked]
            if len(picked) != 1:
                raise NotOne(len(picked))
            sealed = self._items.seal(picked[0].text, clerk, sheet, "clipboard")
            await sql.copy_to_clipboard(tx.db, id=sheet, clipboard_sealed=sealed)
            return picked[0].text

    async def paste(self, clerk: Clerk, sheet: Sheet) -> tuple[int, UUID]:
        """Write what was copied into all selected rows; answers how many, and the id to take it back with.

        Raises `NothingPicked`, also when nothing was copied yet.
        """
        if sheet.clipboard is None:
            raise NothingPicked
        return await self._write_all(clerk, sheet.id, sheet.clipboard)

    async def clear(self, clerk: Clerk, sheet: Sheet) -> tuple[int, UUID]:
        """Empty the texts of all selected rows, as `paste` fills them. Raises `NothingPicked`."""
        return await self._write_all(clerk, sheet.id, "")

    async def _write_all(self, clerk: Clerk, sheet: UUID, text: str) -> tuple[int, UUID]:
        async with self._db.api(clerk.office) as tx:
            rows = await self._items.of_sheet(tx, sheet)
            picked = [row for row in rows if row.picked and row.state in OPEN]
            if not picked:
                raise NothingPicked
            before = {"texts": {str(row.id): row.text for row in picked}}
            await self._items.write_texts(tx, clerk, {row.id: text for row in picked})
            await sql.touch_sheet(tx.db, id=sheet, now=tx.now)
            return len(picked), await self._items.remember(tx, clerk, sheet, before)

    async def remove(self, clerk: Clerk, sheet: UUID) -> tuple[int, UUID]:
        """Take the selected rows off the sheet; nothing that was sent changes. Raises `NothingPicked`."""
        async with self._db.api(clerk.office) as tx:
            picked = [row.id for row in await self._items.of_sheet(tx, sheet) if row.picked]
            if not picked:
                raise NothingPicked
            return await self._remove(tx, clerk, sheet, picked)

    async def tidy(self, clerk: Clerk, sheet: UUID) -> tuple[int, UUID]:
        """Take the rows off that are in the recipients' boxes."""
        async with self._db.api(clerk.office) as tx:
            rows = await self._items.of_sheet(tx, sheet)
            return await self._remove(tx, clerk, sheet, [row.id for row in rows if row.state == "delivered"])

    async def _remove(self, tx: Tx, clerk: Clerk, sheet: UUID, rows: Sequence[UUID]) -> tuple[int, UUID]:
        gone = [row["id"] for row in await sql.remove_items(tx.db, ids=list(rows), now=tx.now)]
        await sql.touch_sheet(tx.db, id=sheet, now=tx.now)
        return len(gone), await self._items.remember(tx, clerk, sheet, {"items": [str(row) for row in gone]})

    async def take_back(self, clerk: Clerk, sheet: UUID, undo: UUID) -> bool:
        """Take an action back; False when it is too late."""
        async with self._db.api(clerk.office) as tx:
            return await self._items.take_back(tx, clerk, sheet, undo)

    async def forget_unusable(self, clerk: Clerk, sheet: UUID) -> None:
        """Close the list of files that could not be used."""
        async with self._db.api(clerk.office) as tx:
            await sql.note_unusable_of_sheet(tx.db, id=sheet, unusable_sealed=None)

    # --- one row -----------------------------------------------------------------------------------------------------

    async def send_again(self, clerk: Clerk, row: UUID) -> None:
        """This set is meant to go out again, although it was sent before. Raises `Moved`."""
        async with self._db.api(clerk.office) as tx:
            if await sql.allow_resend(tx.db, id=row) is None:
                raise Moved

    async def edit(self, clerk: Clerk, row: UUID, wanted: Edited, *, adding: bool = False) -> Item:
        """Other text and fewer files for one row; `adding` says that files follow, so that it may be empty till then.

        Raises:
            SavedBefore: somebody has saved a newer version.
            Moved: the row is gone or on its way.
            Nothing: neither files nor a text would be left.
        """
        async with self._db.api(clerk.office) as tx:
            await sql.lock_item(tx.db, id=row)
            item = await self._items.one(tx, row)
            if item is None or item.state not in OPEN or item.tried:
                raise Moved
            if item.version != wanted.version:
                raise SavedBefore(item.person_name)
            left = tuple(file for file in item.files if file.id not in wanted.removed)
            if not left and not wanted.text.strip() and not adding:
                raise Nothing
            text = wanted.text[:TEXT_CHARACTERS_MAX]
            await sql.write_item(
                tx.db,
                id=row,
                recipient=item.recipient,
                sequence=item.sequence,
                text_sealed=self._items.seal(text, clerk, row, "text"),
                person=clerk.person,
                person_sealed=self._items.seal(clerk.name, clerk, row, "person"),
                saved_at=tx.now,
            )
            gone = [file.id for file in item.files if file.id in wanted.removed]
            await sql.remove_files(tx.db, ids=gone, now=tx.now)
            if not gone:
                await sql.keep_checks(tx.db, ids=[row])
            found = await self._items.one(tx, row)
        if found is None:
            raise Moved
        return found

    async def check(self, clerk: Clerk, rows: Sequence[Item]) -> None:
        """Judge rows anew whose files have changed, or whose attachments nobody has looked into yet.

        Raises `ClientError`, `ObjectsAway`.
        """
        offices = await self._checker.directory.get(clerk.client, {row.recipient for row in rows})
        for row in rows:
            files = tuple(await self._items.contents(row))
            message = Outgoing(row.recipient, row.sequence, row.text, files)
            findings = await self._checker.whole(clerk, offices, message)
            async with self._db.api(clerk.office) as tx:
                await self._items.note_check(tx, row, findings, whole=True)

    # --- before sending ----------------------------------------------------------------------------------------------

    async def offices(self, clerk: Clerk, rows: Sequence[Item]) -> dict[str, shapes.Office]:
        """The recipients of rows, as the directory knows them. Raises `ClientError`."""
        return await self._checker.directory.get(clerk.client, {row.recipient for row in rows if row.recipient})

    async def unusual(self, clerk: Clerk, rows: Sequence[Item]) -> list[Unusual]:
        """What has to be confirmed before these rows go out. Raises `ClientError`."""
        offices = await self.offices(clerk, rows)
        known = await self._known(clerk, {row.recipient for row in rows})
        return unusual(rows, offices, known, clerk.name)

    async def _known(self, clerk: Clerk, partners: Collection[str]) -> set[str]:
        """Those of the offices that this one has sent something to; the API is asked once for each."""
        async with self._db.api(clerk.office) as tx:
            rows = await sql.partners_known(tx.db, office=clerk.office, partners=list(partners))
        known = {row["partner"] for row in rows}
        fresh = [
            partner
            for partner in sorted(set(partners) - known)
            if (await clerk.client.sent(partner=partner, limit=1)).items
        ]
        if fresh:
            async with self._db.api(clerk.office) as tx:
                await sql.know_partners(tx.db, office=clerk.office, partners=fresh)
        return known | set(fresh)
