"""Files on their way in: unpacked, grouped, checked, sealed, and only then written down, all in one transaction.

A process that dies in between leaves objects that no row names; the sweeper removes them.
"""

import asyncio
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from careplan import DataFile
from services.portal import grouping, unpacking
from services.portal.checking import Checker, Outgoing
from services.portal.clerk import Clerk
from services.portal.drawer import Range
from services.portal.grouping import Dropped, Unit, Unusable
from services.portal.items import OPEN, Item, Items, Moved, NewFile, sql
from services.portal.places import Shown
from todoke.client import ClientError, shapes
from todoke.relay.clock import JAPAN, Ports
from todoke.relay.limits import Limits
from todoke.relay.postgres import Database, Tx

STORED_AT_ONCE = 8
"""Messages that are sealed and stored at the same moment: more would only wait for each other."""

SENT_LOOKED_THROUGH = 1000
"""Sent messages that are compared with new files: a year of a small office. The service refuses the others itself."""

ENDED_BADLY = ("rejected", "undeliverable", "recalled")
"""States after which a sequence is free again."""

WHICH_ROW = "E-210"
IN_USE = "E-604"
ZIP = "E-213"


@dataclasses.dataclass(frozen=True, slots=True)
class Opened:
    """Dropped files after ZIPs were opened."""

    files: tuple[Dropped, ...]
    unusable: tuple[Unusable, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class _Stored:
    """A message that is stored and checked but not written down yet. `known` is the row that it adds to."""

    item: UUID
    known: Item | None
    recipient: str
    sequence: str | None
    n: int
    files: tuple[NewFile, ...]
    ranges: tuple[Range, ...]
    replaced: tuple[UUID, ...]
    findings: tuple[Shown, ...]
    whole: bool


def opened(files: Iterable[Dropped], limits: Limits) -> Opened:
    """ZIPs replaced by what is in them; one that cannot be opened counts as unusable, and nothing of it is taken."""
    found: list[Dropped] = []
    unusable: list[Unusable] = []
    for file in files:
        name = grouping.bare_name(file.name)
        if not name or (not file.size and not file.name):
            continue
        if not unpacking.is_zip(name):
            found.append(dataclasses.replace(file, name=name))
            continue
        try:
            found += _within(unpacking.unpack(file.read()), limits)
        except unpacking.ZipRefused as refused:
            unusable.append(Unusable(name, ZIP, refused.why))
    return Opened(tuple(found), tuple(unusable))


def _within(files: list[Dropped], limits: Limits) -> list[Dropped]:
    """The files of a ZIP, each read once: damage anywhere in it refuses the whole of it before anything is kept."""
    for file in files:
        if file.size <= limits.file_bytes_max:
            file.read()
    return files


class Intake:
    """Takes files into sheets and into single messages."""

    def __init__(self, db: Database, items: Items, checker: Checker, ports: Ports, limits: Limits) -> None:
        self._db = db
        self._items = items
        self._checker = checker
        self._ports = ports
        self._limits = limits

    async def into_sheet(self, clerk: Clerk, sheet: UUID, files: Iterable[Dropped]) -> int:
        """Rows of these files, new ones or added to those of the same recipient and sequence; answers how many.

        Files that cannot be used are kept by name, with the reason, until the next files come.

        Raises:
            ClientError: the API gave no answer; nothing was taken.
            ObjectsAway, DatabaseAway: likewise.
        """
        came = opened(files, self._limits)
        grouped = grouping.group(came.files, sender=clerk.office, file_bytes_max=self._limits.file_bytes_max)
        async with self._db.api(clerk.office) as tx:
            rows = await self._items.of_sheet(tx, sheet)
        units, loose = _placed(grouped.units, grouped.attachments, rows)
        offices = await self._checker.directory.get(clerk.client, [unit.recipient for unit, _ in units])
        gate = asyncio.Semaphore(STORED_AT_ONCE)

        async def store(unit: Unit, row: Item | None) -> _Stored | None:
            async with gate:
                return await self._stored(clerk, unit, row, offices)

        stored = [one for one in await asyncio.gather(*(store(*unit) for unit in units)) if one is not None]
        in_use = [Unusable(file.name, IN_USE) for unit, row in units if _is_lost(row, stored) for file in unit.files]
        unusable = [*came.unusable, *grouped.unusable, *(Unusable(file.name, WHICH_ROW) for file in loose), *in_use]
        before = await self._sent_before(clerk, stored)
        async with self._db.api(clerk.office) as tx:
            for one in stored:
                await self._write(tx, clerk, sheet, one, before.get((one.sequence or "", one.recipient)))
            await self._note_unusable(tx, clerk, sheet, unusable)
            await sql.touch_sheet(tx.db, id=sheet, now=tx.now)
        return len(stored)

    async def into_item(self, clerk: Clerk, item: Item, files: Iterable[Dropped]) -> list[Unusable]:
        """Files added to one message, whatever their names say; answers those that cannot be used at all.

        Raises `Moved` when its content may not change now, and what `into_sheet` raises.
        """
        came = opened(files, self._limits)
        unusable = list(came.unusable)
        wanted = []
        for file in came.files:
            code = grouping.unfit(file.name, file.size, sender=clerk.office, file_bytes_max=self._limits.file_bytes_max)
            if code in (None, "TDK-SENDER-MISMATCH"):  # whose files they are is a finding there, beside the file
                wanted.append(file)
            else:
                unusable.append(Unusable(file.name, str(code)))
        if wanted:
            unit = Unit(item.recipient, item.sequence or "", tuple(wanted))
            stored = await self._stored(clerk, unit, item, {}, check=False)
            if stored is None:
                raise Moved
            async with self._db.api(clerk.office) as tx:
                await self._write(tx, clerk, item.sheet, stored, None)
        return unusable

    async def _stored(
        self,
        clerk: Clerk,
        unit: Unit,
        row: Item | None,
        offices: Mapping[str, shapes.Office],
        *,
        check: bool = True,
    ) -> _Stored | None:
        """One message's new files in object storage, and what is found in all of its files. None: the row is in use."""
        n, kept = 1, []
        item = self._ports.ids.uuid7()
        if row is not None:
            item = row.id
            async with self._db.api(clerk.office) as tx:
                n = await sql.next_object(tx.db, id=row.id)
            if n is None:
                return None
            kept = [file for file in row.files if file.name.casefold() not in _folded(unit)]
        new = [NewFile(self._ports.ids.uuid7(), file.name, file.size) for file in unit.files]
        data = [file.read() for file in unit.files]
        findings: list[Shown] = []
        message = Outgoing(unit.recipient, unit.sequence or None, row.text if row else "", ())
        if check:
            old = await self._items.contents(dataclasses.replace(row, files=tuple(kept))) if row and kept else []
            fresh = [DataFile(file.name, content) for file, content in zip(unit.files, data, strict=True)]
            message = dataclasses.replace(message, files=_in_order([*old, *fresh]))
            findings = await self._checker.here(clerk, offices, message)
        ranges = await self._items.drawer.put(clerk.office, item, n, list(zip([f.id for f in new], data, strict=True)))
        return _Stored(
            item=item,
            known=row,
            recipient=unit.recipient,
            sequence=unit.sequence or None,
            n=n,
            files=tuple(new),
            ranges=tuple(ranges),
            replaced=tuple(file.id for file in row.files if file not in kept) if row else (),
            findings=tuple(findings),
            whole=check and not message.has_attachments,
        )

    async def _write(
        self, tx: Tx, clerk: Clerk, sheet: UUID | None, stored: _Stored, sent_before: datetime | None
    ) -> None:
        """Write a stored message down."""
        if stored.known is None:
            await self._add(tx, clerk, sheet, stored, sent_before)
        else:
            version = await sql.touch_item(tx.db, id=stored.item, now=tx.now)
            if version is None:
                raise Moved
            await sql.remove_files(tx.db, ids=list(stored.replaced), now=tx.now)
            if sheet is not None:
                changed = dataclasses.replace(stored.known, version=version)
                await self._items.note_check(tx, changed, stored.findings, whole=stored.whole)
        await self._items.add_files(tx, clerk.office, stored.item, stored.n, stored.files, stored.ranges)

    async def _add(
        self, tx: Tx, clerk: Clerk, sheet: UUID | None, stored: _Stored, sent_before: datetime | None
    ) -> None:
        seal = self._items.seal
        await sql.add_item(
            tx.db,
            id=stored.item,
            office=clerk.office,
            sheet=sheet,
            recipient=stored.recipient,
            sequence=stored.sequence,
            text_sealed=seal("", clerk, stored.item, "text"),
            person=clerk.person,
            person_sealed=seal(clerk.name, clerk, stored.item, "person"),
            saved_at=tx.now,
            objects=stored.n,
            checked_version=1,
            checked_whole=stored.whole,
            errors=sum(each.severity == "error" for each in stored.findings),
            warnings=sum(each.severity == "warning" for each in stored.findings),
            findings_sealed=seal([each.document() for each in stored.findings], clerk, stored.item, "findings"),
            unusable_sealed=None,
            sent_before=sent_before,
        )

    async def _note_unusable(self, tx: Tx, clerk: Clerk, sheet: UUID, unusable: Sequence[Unusable]) -> None:
        sealed = self._items.seal([each.kept() for each in unusable], clerk, sheet, "unusable") if unusable else None
        await sql.note_unusable_of_sheet(tx.db, id=sheet, unusable_sealed=sealed)

    async def _sent_before(self, clerk: Clerk, stored: Sequence[_Stored]) -> dict[tuple[str, str], datetime]:
        """When sets of these sequences were sent to these recipients, as far as the sent list tells.

        A sequence is the moment at which the files were made, so nothing older has to be read.
        """
        wanted = {(one.sequence, one.recipient) for one in stored if one.sequence}
        since = _made(min((sequence for sequence, _ in wanted), default=""))
        found: dict[tuple[str, str], datetime] = {}
        if since is None:
            return found
        looked = 0
        try:
            async for item in clerk.client.each_sent(since_time=since.isoformat(), limit=200):
                looked += 1
                key = (item.sequence, item.recipient.number)
                if key in wanted and item.status not in ENDED_BADLY:
                    found[key] = item.submitted_at
                if looked >= SENT_LOOKED_THROUGH:
                    break
        except ClientError:  # the service refuses a repeated sequence itself: this only says it earlier
            return found
        return found


def _made(sequence: str) -> datetime | None:
    """The day before a sequence's moment: clocks of offices differ."""
    try:
        return datetime.strptime(sequence, "%Y%m%d%H%M%S").replace(tzinfo=JAPAN) - timedelta(days=1)
    except ValueError:
        return None


def _placed(
    units: Sequence[Unit], attachments: Sequence[Dropped], rows: Sequence[Item]
) -> tuple[list[tuple[Unit, Item | None]], Sequence[Dropped]]:
    """Each unit with the row it adds to; attachments go to the one selected row, else they are left over."""
    by_name = {(row.sequence, row.recipient): row for row in rows if row.state in OPEN}
    placed: list[tuple[Unit, Item | None]] = [(unit, by_name.get((unit.sequence, unit.recipient))) for unit in units]
    picked = [row for row in rows if row.picked and row.state in OPEN]
    if not attachments or len(picked) != 1:
        return placed, attachments
    [row] = picked
    for at, (unit, known) in enumerate(placed):
        if known is row:
            placed[at] = (dataclasses.replace(unit, files=(*unit.files, *attachments)), row)
            return placed, ()
    return [*placed, (Unit(row.recipient, row.sequence or "", tuple(attachments)), row)], ()


def _is_lost(row: Item | None, stored: Sequence[_Stored]) -> bool:
    return row is not None and all(one.known is not row for one in stored)


def _folded(unit: Unit) -> set[str]:
    return {file.name.casefold() for file in unit.files}


def _in_order(files: Sequence[DataFile]) -> list[DataFile]:
    return [files[place] for place in grouping.in_order([file.name for file in files])]
