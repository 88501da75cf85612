"""Lists of offices that operators bring in: spooled sealed, checked, taken. `importing` carries the work out."""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID, uuid5

from pydantic import BaseModel, ConfigDict

from services.portal.office_list import Encoding, Look, NoList
from services.portal.wording import Sentence
from todoke.client.ops_shapes import BadLine, ImportReport, Word
from todoke.relay.clock import Ids
from todoke.relay.limits import MEBIBYTE
from todoke.relay.objects import Objects
from todoke.relay.postgres import Database, queries
from todoke.relay.rootsecret import Secrets
from todoke.relay.seal import OfficeBinding, Sealer

PIECE_BYTES = MEBIBYTE
"""So much of a list is in memory at a time, and in one object."""

KEPT_WAITING = timedelta(days=1)
"""So long a checked list waits for the operator's word."""

KEPT = timedelta(days=30)
"""So long the result can be looked at."""

LOOSE = timedelta(hours=1)
"""An object that belongs to no list after so long is from an upload that broke off."""

RECENT = 20
SWEPT_AT_ONCE = 200
CHANNEL = "portal_import"

_EPOCH = "imports"
_KEYS = UUID("5b0c5a52-6c1e-4a0b-9d0e-2f6a7d1c9e43")
"""Namespace of ids made of a page's key and a file (RFC 9562 section 5.5)."""

State = Literal["checking", "checked", "taking", "done", "stopped", "refused", "dropped"]

_READ = frozenset({"about", "told", "found", "taken"})
"""What of an `Import` does not stand in its row as it is."""

sql = queries("services.portal", "imports.sql")


class About(BaseModel):
    """What an operator said with a list, and the cells of its first lines."""

    model_config = ConfigDict(frozen=True)

    word: Word
    name: str
    shown: tuple[tuple[str, ...], ...]


class Counts(BaseModel):
    """What the registry counted in a list."""

    model_config = ConfigDict(frozen=True)

    lines: int
    registered: int
    changed: int
    unchanged: int
    bad: int


@dataclass(frozen=True, slots=True)
class Import:
    """One list. `found` is what it would change, `taken` what it did; `told` is why it stopped or is no list."""

    id: UUID
    operator: str
    session: UUID
    spool: UUID
    pieces: int
    encoding: Encoding
    about: About
    lines: int
    made_at: datetime
    state: State
    stopping: bool
    done: int
    told: Sentence | None
    checked_at: datetime | None
    begun_at: datetime | None
    ended_at: datetime | None
    found: Counts | None
    taken: Counts | None
    holder: UUID | None

    @property
    def goes_on(self) -> bool:
        """Whether it is being worked on."""
        return self.state in ("checking", "taking")

    @property
    def is_taking(self) -> bool:
        """Whether its offices are being registered, or were until it stopped; else it is being checked."""
        return self.state == "taking" or (self.state == "stopped" and self.checked_at is not None)

    @property
    def changes(self) -> int:
        """How many offices it would register or change."""
        return self.found.registered + self.found.changed if self.found else 0

    def seconds_left(self, now: datetime) -> int | None:
        """An estimate from the lines so far; None while there is nothing to go by, or nothing left."""
        left = self.lines - self.done
        if not self.goes_on or self.begun_at is None or not self.done or not left:
            return None
        return max(1, round((now - self.begun_at).total_seconds() / self.done * left))


@dataclass(frozen=True, slots=True)
class Spooled:
    """A list that has come in whole: where it lies, and what was seen of it."""

    id: UUID
    pieces: int
    encoding: Encoding
    look: Look


class Imports:
    """The table of lists and the objects that hold them."""

    def __init__(self, db: Database, sealer: Sealer, secrets: Secrets, objects: Objects, ids: Ids) -> None:
        self.db = db
        self._sealer = sealer
        self._key = secrets.hmac_key("portal/imports")
        self._objects = objects
        self._ids = ids

    # --- a list comes in ---------------------------------------------------------------------------------------

    async def spooled(self, pieces: AsyncIterator[bytes]) -> Spooled:
        """Keep a file sealed while it arrives.

        Raises:
            NoList: it is none, or too large; nothing is kept.
            ObjectsAway: it could not be kept.
        """
        look, spool, waiting, count = Look(), self._ids.uuid7(), bytearray(), 0
        try:
            async for piece in pieces:
                look.feed(piece)
                waiting += piece
                if len(waiting) >= PIECE_BYTES:
                    await self._put(spool, count, bytes(waiting))
                    count += 1
                    waiting.clear()
            encoding = look.encoding()
        except NoList:
            await self._remove(spool, count)
            raise
        if waiting:
            await self._put(spool, count, bytes(waiting))
            count += 1
        return Spooled(spool, count, encoding, look)

    async def add(self, operator: str, session: UUID, key: str, about: About, spooled: Spooled) -> UUID:
        """A list that waits to be checked; the same file under the same key and word is the same list.

        Raises `DatabaseAway`.
        """
        same = (operator, key, spooled.look.digest(), about.word.reason, about.word.ticket)
        import_id = uuid5(_KEYS, json.dumps(same))
        async with self.db.worker() as tx:
            added = await sql.add_import(
                tx.db,
                id=import_id,
                operator=operator,
                session=session,
                spool=spooled.id,
                pieces=spooled.pieces,
                encoding=spooled.encoding,
                about_sealed=self._seal(about.model_dump_json().encode(), import_id, "about"),
                lines=spooled.look.lines,
                now=tx.now,
            )
            await sql.wake_importers(tx.db)
        if added is None:
            await self._remove(spooled.id, spooled.pieces)
        return import_id

    # --- what operators see and say ----------------------------------------------------------------------------

    async def find(self, import_id: UUID) -> Import | None:
        """One list. Raises `DatabaseAway`."""
        async with self.db.worker() as tx:
            row = await sql.import_of_id(tx.db, id=import_id)
        return None if row is None else self.of_row(row)

    async def recent(self) -> list[Import]:
        """The last lists of all operators, newest first. Raises `DatabaseAway`."""
        async with self.db.worker() as tx:
            return [self.of_row(row) for row in await sql.recent_imports(tx.db, rows_max=RECENT)]

    async def bad_lines(self, import_id: UUID) -> Sequence[BadLine]:
        """The lines that were not taken, as far as they are listed. Raises `DatabaseAway`."""
        async with self.db.worker() as tx:
            found = await sql.bad_lines(tx.db, id=import_id)
        return [BadLine(**each) for each in json.loads(found)] if found else []

    async def go_on(self, import_id: UUID, operator: str, session: UUID, was: State) -> None:
        """Take a checked list, or go on with one that stopped; said again it changes nothing. Raises `DatabaseAway`."""
        async with self.db.worker() as tx:
            await sql.go_on_with_import(tx.db, id=import_id, operator=operator, session=session, was=was, now=tx.now)
            await sql.wake_importers(tx.db)

    async def stop(self, import_id: UUID, operator: str) -> None:
        """Stop where it is; what was taken stays. Raises `DatabaseAway`."""
        async with self.db.worker() as tx:
            await sql.ask_import_to_stop(tx.db, id=import_id, operator=operator)

    async def drop(self, import_id: UUID, operator: str) -> None:
        """Do not take a list, or no more of it. Raises `DatabaseAway`."""
        async with self.db.worker() as tx:
            await sql.drop_import(tx.db, id=import_id, operator=operator, now=tx.now)

    # --- for whoever carries it out ----------------------------------------------------------------------------

    async def piece(self, one: Import, n: int) -> bytes:
        """A piece of the file. Raises `ObjectMissing`, `ObjectsAway`."""
        return self._unseal(await self._objects.get(_object_key(one.spool, n)), one.spool, f"piece:{n}")

    async def note(self, one: Import, report: ImportReport) -> bool:
        """Write down what the registry told; False when somebody else holds the list now. Raises `DatabaseAway`."""
        counts = report.model_dump_json(include=set(Counts.model_fields))
        bad = json.dumps([each.model_dump() for each in report.problems], ensure_ascii=False)
        noted = sql.note_checked if one.state == "checking" else sql.note_taken
        async with self.db.worker() as tx:
            found = await noted(tx.db, id=one.id, holder=one.holder, report=counts, bad=bad, now=tx.now)
        return found is not None

    async def end(self, one: Import, state: State, told: Sentence) -> None:
        """It stopped, or is no list. Raises `DatabaseAway`."""
        why = json.dumps((told.number, told.what, told.todo), ensure_ascii=False)
        async with self.db.worker() as tx:
            await sql.note_ended(tx.db, id=one.id, holder=one.holder, state=state, why=why, now=tx.now)

    def of_row(self, row: Mapping[str, Any]) -> Import:
        """A list as its row says."""
        own = {field.name: row[field.name] for field in fields(Import) if field.name not in _READ}
        return Import(
            **own,
            about=About.model_validate_json(self._unseal(row["about_sealed"], row["id"], "about")),
            told=Sentence(*json.loads(row["why"])) if row["why"] else None,
            found=_counts(row["found"]),
            taken=_counts(row["taken"]),
        )

    # --- what is left over -------------------------------------------------------------------------------------

    async def sweep(self) -> None:
        """Old lists, and the objects that no list needs any more. Raises `DatabaseAway`, `ObjectsAway`."""
        async with self.db.worker() as tx:
            now = tx.now
            await sql.drop_forgotten(tx.db, before=now - KEPT_WAITING, now=now)
            await sql.forget_old_imports(tx.db, before=now - KEPT)
        loose: dict[UUID, list[str]] = {}
        async for entry in self._objects.list("import/"):
            if now - entry.modified > LOOSE:
                loose.setdefault(UUID(entry.key.split("/")[1]), []).append(entry.key)
            if len(loose) >= SWEPT_AT_ONCE:
                await self._drop(loose)
                loose = {}
        await self._drop(loose)

    async def _drop(self, keys: Mapping[UUID, Sequence[str]]) -> None:
        async with self.db.worker() as tx:
            wanted = {row["spool"] for row in await sql.spools_in_use(tx.db, spools=list(keys))}
        for spool, names in keys.items():
            if spool not in wanted:
                for name in names:
                    await self._objects.delete(name)

    # --- sealing -----------------------------------------------------------------------------------------------

    async def _put(self, spool: UUID, n: int, plain: bytes) -> None:
        await self._objects.put(_object_key(spool, n), self._seal(plain, spool, f"piece:{n}"))

    async def _remove(self, spool: UUID, count: int) -> None:
        for n in range(count):
            await self._objects.delete(_object_key(spool, n))

    async def remove_file(self, one: Import) -> None:
        """The file of a list that is over. Raises `ObjectsAway`."""
        await self._remove(one.spool, one.pieces)

    def _seal(self, plain: bytes, owner: UUID, label: str) -> bytes:
        binding = OfficeBinding("", owner, _EPOCH)
        return self._sealer.seal(plain, month_key=self._key, binding=binding, label=label)

    def _unseal(self, sealed: bytes, owner: UUID, label: str) -> bytes:
        binding = OfficeBinding("", owner, _EPOCH)
        return self._sealer.unseal(sealed, month_key=self._key, binding=binding, label=label)


def _counts(told: str | None) -> Counts | None:
    return None if told is None else Counts.model_validate_json(told)


def _object_key(spool: UUID, n: int) -> str:
    return f"import/{spool}/{n}"
