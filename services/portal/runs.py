"""Sendings as a person sees them: begun, stopped, how far they are. `sending` carries them out."""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from services.portal import texts
from services.portal.checking import Directory
from services.portal.clerk import Clerk
from services.portal.items import Item, Items, State, sql
from services.portal.wording import say
from todoke.client import shapes
from todoke.relay.clock import Ports
from todoke.relay.postgres import Database, Tx

Ending = Literal["done", "stopped", "session", "away"]

RESULT_SECONDS_MAX = 30.0
"""After so long without a result a row is told as taken, and the run ends without it."""

LOOK_SECONDS = 0.5
"""How often results are asked for: one call for all rows that wait."""

LEAVING_SECONDS_MAX = 8.0
"""A logout waits so long for the row that is under way."""

LISTED_MAX = 200
"""Rows of one page of the sent list."""

IN_BOX: frozenset[str] = frozenset({"delivered", "downloaded", "recalled", "expired"})
REFUSED: frozenset[str] = frozenset({"rejected", "undeliverable"})

CHANNEL = "portal_run"


@dataclasses.dataclass(frozen=True, slots=True)
class Sent:
    """A row of a sending: whom it goes to, and how far it is."""

    id: UUID
    recipient: str
    sequence: str | None
    state: State
    accepted_at: datetime | None
    reason_code: str | None
    reason: str | None


@dataclasses.dataclass(frozen=True, slots=True)
class Progress:
    """How far a sending is; `rows` in the order of sending. `ending` is None while it goes on."""

    run: UUID
    total: int
    started_at: datetime
    stopping: bool
    ending: Ending | None
    rows: tuple[Sent, ...]

    @property
    def counts(self) -> Counter[str]:
        """How many rows are in which state."""
        return Counter(row.state for row in self.rows)

    @property
    def done(self) -> int:
        """Rows with a result, or as good as that."""
        return sum(self.counts[state] for state in ("accepted", "delivered", "failed"))

    def seconds_left(self, now: datetime) -> int | None:
        """An estimate from the rows so far; None while there is nothing to go by, or nothing left."""
        left = self.total - self.done
        if self.ending is not None or not self.done or not left:
            return None
        return max(1, round((now - self.started_at).total_seconds() / self.done * left))


class Runs:
    """Begins, stops and shows sendings, under row-level security of the clerk's office."""

    def __init__(self, db: Database, items: Items, directory: Directory, ports: Ports) -> None:
        self._db = db
        self._items = items
        self._directory = directory
        self._ports = ports

    async def start(self, clerk: Clerk, session: UUID, rows: Sequence[Item]) -> UUID | None:
        """Put rows of one sheet (or one draft) on their way, in this order; answers the run.

        None when the sheet is being sent already, or nothing of it may go. Raises `ClientError`.
        """
        going = [row for row in rows if row.may_go]
        if not going:
            return None
        offices = await self._directory.get(clerk.client, {row.recipient for row in going} - {""})
        run = self._ports.ids.uuid7()
        async with self._db.api(clerk.office) as tx:
            opened = await sql.open_run(
                tx.db,
                id=run,
                office=clerk.office,
                sheet=going[0].sheet,
                person=clerk.person,
                session=session,
                total=len(going),
                now=tx.now,
            )
            if opened is None:
                return None
            await sql.queue_items(
                tx.db,
                run=run,
                ids=[row.id for row in going],
                places=list(range(len(going))),
                send_keys=[str(self._ports.ids.uuid7()) for _ in going],
                texts=[self._items.seal(_filled(row, offices, clerk), clerk, row.id, "sending") for row in going],
            )
            await sql.wake_senders(tx.db)
        return run

    async def stop(self, clerk: Clerk, run: UUID) -> None:
        """End a sending after the row that is under way."""
        async with self._db.api(clerk.office) as tx:
            await sql.ask_to_stop(tx.db, id=run, now=tx.now)

    async def progress(self, clerk: Clerk, run: UUID) -> Progress | None:
        """How far a sending is; None when there is none of this office."""
        async with self._db.api(clerk.office) as tx:
            return await self._progress(tx, await sql.run(tx.db, id=run))

    async def last_of(self, clerk: Clerk, sheet: UUID) -> Progress | None:
        """The latest sending of a sheet."""
        async with self._db.api(clerk.office) as tx:
            return await self._progress(tx, await sql.last_run(tx.db, sheet=sheet))

    async def _progress(self, tx: Tx, row: Mapping[str, Any] | None) -> Progress | None:
        if row is None:
            return None
        rows = await sql.items_of_run(tx.db, run=row["id"])
        return Progress(
            run=row["id"],
            total=row["total"],
            started_at=row["started_at"],
            stopping=row["stop_at"] is not None,
            ending=row["ending"],
            rows=tuple(Sent(**each) for each in rows),
        )

    async def look(self, clerk: Clerk, sheet: UUID) -> None:
        """Ask for the results that rows of a sheet still wait for. Raises `ClientError`."""
        async with self._db.api(clerk.office) as tx:
            waiting = await sql.outstanding_of_sheet(tx.db, sheet=sheet)
        await self._noted(clerk, waiting)

    async def look_at(self, clerk: Clerk, run: UUID) -> None:
        """Ask for the results that rows of a sending still wait for. Raises `ClientError`."""
        async with self._db.api(clerk.office) as tx:
            waiting = await sql.outstanding_of_run(tx.db, run=run)
        await self._noted(clerk, waiting)

    async def _noted(self, clerk: Clerk, waiting: Sequence[Mapping[str, Any]]) -> None:
        results = await results_of(clerk, waiting)
        if results:
            async with self._db.api(clerk.office) as tx:
                await note_results(tx, clerk.office, results)

    async def leaving(self, session: UUID) -> None:
        """A session is about to end: its sendings end after their row, which is waited for a while."""
        async with self._db.worker() as tx:
            rows = await sql.ask_session_to_stop(tx.db, session=session, now=tx.now)
        until = self._ports.clock.monotonic() + LEAVING_SECONDS_MAX
        going = [row["id"] for row in rows]
        while going and self._ports.clock.monotonic() < until:
            await self._ports.clock.sleep(LOOK_SECONDS / 2)
            async with self._db.worker() as tx:
                going = [row["id"] for row in await sql.runs_under_way(tx.db, ids=going)]


@dataclasses.dataclass(frozen=True, slots=True)
class Result:
    """How a row ended that the service had taken."""

    item: UUID
    recipient: str
    state: Literal["delivered", "failed"]
    code: str | None = None
    reason: str | None = None


async def results_of(clerk: Clerk, waiting: Sequence[Mapping[str, Any]]) -> list[Result]:
    """The results of rows (item, recipient, message) that are there by now. Raises `ClientError`."""
    if not waiting:
        return []
    page = await clerk.client.sent(limit=min(LISTED_MAX, max(2 * len(waiting), 10)))
    listed: dict[UUID, shapes.Item] = {item.message_id: item for item in page.items}
    found = []
    for row in waiting:
        item = listed.get(row["message_id"]) or await clerk.client.message(row["message_id"])
        if item.status in IN_BOX:
            found.append(Result(row["id"], row["recipient"] or item.recipient.number, "delivered"))
        elif item.status in REFUSED:
            reason = item.reason
            told = say("E-303", reason=reason.message if reason else "検査で直すところが見つかりました")
            found.append(Result(row["id"], "", "failed", reason.code if reason else None, str(told)))
    return found


async def note_results(tx: Tx, office: str, results: Sequence[Result]) -> None:
    """Write results down, and whom this office has now sent something to."""
    await sql.note_results(
        tx.db,
        ids=[one.item for one in results],
        states=[one.state for one in results],
        codes=[one.code for one in results],
        reasons=[one.reason for one in results],
    )
    await sql.know_partners(tx.db, office=office, partners=[one.recipient for one in results if one.recipient])


def _filled(row: Item, offices: Mapping[str, shapes.Office], clerk: Clerk) -> str:
    office = offices.get(row.recipient)
    name = office.name if office else ""
    return texts.filled(row.text, office_name=name, months=row.months, person=clerk.name)
