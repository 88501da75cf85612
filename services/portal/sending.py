"""Carrying sendings out: the process that holds a run's lease tries one row after another.

Each row holds its idempotency key before its first try. A process that dies leaves its run to another one, which tries
the row that was under way again under the same key: nothing is lost, nothing goes out twice.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import Any
from uuid import UUID

from structlog.typing import FilteringBoundLogger

from services.portal import grouping
from services.portal.clerk import Clerk
from services.portal.items import Item, Items, sql
from services.portal.runs import CHANNEL, LOOK_SECONDS, RESULT_SECONDS_MAX, Ending, note_results, results_of
from services.portal.wording import of_refusal, say
from services.portal.working import work
from todoke.client import ApiError, ClientError, NotLoggedIn, Unreachable, Unreadable, Upload
from todoke.client.posting import is_passing
from todoke.relay.clock import Ports
from todoke.relay.faults import Transient
from todoke.relay.objects import ObjectMissing
from todoke.relay.postgres import Database

LEASE = timedelta(seconds=15)
"""So long a run waits for a process that has died."""

HEARTBEAT_SECONDS = 4.0
"""A row that takes long must not cost the lease."""

RUNS_AT_ONCE = 8
"""Runs of one process at a time."""

SILENT_MAX = 2
"""So many rows in a row without any answer: the service is away, and the rest stays unsent."""

SEQUENCE_USED = "TDK-SEQUENCE-USED"

Acting = Callable[[UUID], AbstractAsyncContextManager[Clerk]]
"""Gives the clerk of a stored web session for a while; raises `NotLoggedIn` when it has ended."""


class Lost(Exception):  # noqa: N818 (named for what happened)
    """Another process holds the run now."""


class Sender:
    """Carries out runs, in every process that does the portal's work; each run has one holder at a time."""

    def __init__(self, db: Database, items: Items, acting: Acting, ports: Ports, log: FilteringBoundLogger) -> None:
        self.db = db
        self.items = items
        self.acting = acting
        self.ports = ports
        self.log = log

    async def run(self) -> None:
        """Take runs over and carry them out, until cancelled; what is under way then is left to others at once."""
        await work(self.db, CHANNEL, self._claimed, lambda run: _Drive(self, run).go(), RUNS_AT_ONCE)

    async def _claimed(self) -> Mapping[str, Any] | None:
        async with self.db.worker() as tx:
            holder = self.ports.ids.uuid7()
            run: Mapping[str, Any] | None = await sql.claim_run(tx.db, holder=holder, until=tx.now + LEASE, now=tx.now)
            return run


class _Drive:
    """One run in the hands of this process."""

    def __init__(self, sender: "Sender", run: Mapping[str, Any]) -> None:
        self._sender = sender
        self._run: UUID = run["id"]
        self._session: UUID = run["session"]
        self._office: str = run["office"]
        self._holder: UUID = run["holder"]
        self._looked = 0.0
        self._silent = 0

    async def go(self) -> None:
        """Carry it out to its end, or until another process has it."""
        log = self._sender.log.bind(run=str(self._run))
        beating = asyncio.create_task(self._beat())
        try:
            ending = await self._rows()
            if ending != "session":
                await self._wait_for_results()
            await self._end(ending)
            log.info("run_ended", ending=ending)
        except Lost:
            log.info("run_lost")
        except Transient as trouble:  # the lease runs out, and whoever finds the engine there goes on
            log.warning("run_left", error=type(trouble).__name__)
        except asyncio.CancelledError:
            with contextlib.suppress(Transient):
                await self._let_go()
            raise
        except Exception as mistake:  # noqa: BLE001 (the next holder tries again, and the other runs go on)
            log.critical("run_fails", error=type(mistake).__name__)
        finally:
            beating.cancel()

    async def _beat(self) -> None:
        while True:
            await self._sender.ports.clock.sleep(HEARTBEAT_SECONDS)
            with contextlib.suppress(Transient, Lost):
                await self._is_stopping()

    async def _is_stopping(self) -> bool:
        """Hold the lease longer, and hear whether the run is to stop. Raises `Lost`."""
        async with self._sender.db.worker() as tx:
            row = await sql.keep_lease(tx.db, id=self._run, holder=self._holder, until=tx.now + LEASE)
        if row is None:
            raise Lost
        return bool(row["stopping"])

    async def _rows(self) -> Ending:
        """One row after another; answers why it ends."""
        while True:
            stopping = await self._is_stopping()
            try:
                async with self._sender.acting(self._session) as clerk:
                    item = await self._begun(stopping=stopping)
                    if item is None:
                        return "stopped" if stopping else "done"
                    await self._one(clerk, item)
                    await self._look(clerk)
            except NotLoggedIn:
                return "session"
            except ClientError:
                self._silent += 1
            if self._silent >= SILENT_MAX:
                return "away"

    async def _begun(self, *, stopping: bool) -> Item | None:
        """The next row, from now on under way; a stopped run only ends the one that was."""
        async with self._sender.db.worker() as tx:
            row = await sql.begin_next(tx.db, run=self._run, holder=self._holder, stopping=stopping)
            if row is None:
                return None
            [item] = await self._sender.items.built(tx, [row])
        self._sender.ports.crash.reach("portal.row-begun")
        return item

    async def _one(self, clerk: Clerk, item: Item) -> None:
        """Try one row, and write down what came of it."""
        try:
            contents = await self._sender.items.contents(item)
        except ObjectMissing:
            await self._failed(item, "E-307", str(say("E-307")), surely=True)
            return
        files = [Upload(file.name, file.data) for file in contents]
        try:
            taken = await clerk.client.send(
                item.recipient or None,
                item.sequence,
                item.sending or None,
                files,
                item.send_key,
                allow_resend=item.resend,
            )
        except ApiError as refused:
            await self._refused(clerk, item, refused)
            return
        except (Unreachable, Unreadable):
            self._silent += 1
            await self._failed(item, "E-305", str(say("E-305")), surely=False)
            return
        except NotLoggedIn:
            await self._failed(item, "E-306", str(say("E-306")), surely=False)
            raise
        self._sender.ports.crash.reach("portal.row-sent")
        self._silent = 0
        async with self._sender.db.worker() as tx:
            await sql.note_accepted(
                tx.db,
                id=item.id,
                run=self._run,
                holder=self._holder,
                message_id=taken.message_id,
                sequence=taken.sequence,
                now=tx.now,
            )

    async def _refused(self, clerk: Clerk, item: Item, refused: ApiError) -> None:
        if is_passing(refused):
            self._silent += 1
            await self._failed(item, refused.code, str(of_refusal(refused)), surely=False)
            return
        self._silent = 0
        await self._failed(item, refused.code, str(of_refusal(refused)), surely=True)
        if refused.code == SEQUENCE_USED:
            sequence, recipient = next(iter(grouping.keys(item.names)), (item.sequence or "", item.recipient))
            earlier = await clerk.client.sent(partner=recipient, sequence=sequence, limit=1)
            async with self._sender.db.worker() as tx:
                times = [each.submitted_at for each in earlier.items]
                await sql.note_sent_before(tx.db, ids=[item.id for _ in times], times=times)

    async def _failed(self, item: Item, code: str, reason: str, *, surely: bool) -> None:
        async with self._sender.db.worker() as tx:
            await sql.note_failed(
                tx.db, id=item.id, run=self._run, holder=self._holder, code=code, reason=reason, surely=surely
            )

    async def _look(self, clerk: Clerk) -> None:
        """Ask for results now and then: one call for all rows that wait."""
        now = self._sender.ports.clock.monotonic()
        if now - self._looked >= LOOK_SECONDS:
            self._looked = now
            await self._note(clerk)

    async def _note(self, clerk: Clerk) -> bool:
        """Write down the results that are there; answers whether some are not."""
        async with self._sender.db.worker() as tx:
            waiting = await sql.outstanding_of_run(tx.db, run=self._run)
        results = await results_of(clerk, waiting)
        if results:
            async with self._sender.db.worker() as tx:
                await note_results(tx, self._office, results)
        return len(results) < len(waiting)

    async def _wait_for_results(self) -> None:
        """The rows' results, for a while; what comes later shows when the sheet is looked at."""
        clock = self._sender.ports.clock
        until = clock.monotonic() + RESULT_SECONDS_MAX
        while clock.monotonic() < until:
            try:
                async with self._sender.acting(self._session) as clerk:
                    if not await self._note(clerk):
                        return
            except NotLoggedIn:
                return
            except ClientError:
                pass
            await clock.sleep(LOOK_SECONDS)

    async def _end(self, ending: Ending) -> None:
        told = say("E-306" if ending == "session" else "E-305")
        async with self._sender.db.worker() as tx:
            await sql.put_back(tx.db, run=self._run, holder=self._holder, code=told.number, reason=str(told))
            await sql.end_run(tx.db, id=self._run, holder=self._holder, ending=ending, now=tx.now)

    async def _let_go(self) -> None:
        async with self._sender.db.worker() as tx:
            await sql.let_go(tx.db, id=self._run, holder=self._holder, now=tx.now)
