"""Carrying imports out: the process that holds a list's lease hands it to the registry, line by line as it is taken.

A process that dies leaves its list to another one, which hands it over again from its beginning: the registry passes
over what it has taken under the list's id.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Literal

from structlog.typing import FilteringBoundLogger

from services.portal.apis import Api, SessionSlot
from services.portal.imports import CHANNEL, Import, Imports, State, sql
from services.portal.office_list import Recoder
from services.portal.websessions import WebSessions
from services.portal.wording import Sentence, of_refusal, say
from services.portal.working import work
from todoke.client import ApiError, Unreachable, Unreadable
from todoke.client.posting import is_passing
from todoke.relay.clock import Ports
from todoke.relay.faults import Transient
from todoke.relay.objects import ObjectMissing
from todoke.relay.seal import SealBroken

LEASE = timedelta(seconds=15)
"""So long a list waits for a process that has died."""

BEAT_SECONDS = 1.0
"""How often it is written down how far a list is."""

AT_ONCE = 2
"""Lists of one process at a time: a third operator waits."""

TRIES = 10
PAUSE_SECONDS = 2.0
"""Between two tries while the registry is away: it has started again by then."""

HANDED_BYTES = 64 * 1024
"""So much of a list is handed over at a time."""

SOCKET_OPTIONS = ((socket.SOL_SOCKET, socket.SO_SNDBUF, HANDED_BYTES),)
"""What lies in buffers between us and the registry is not taken yet: the less, the truer the progress."""

NO_LIST = frozenset(
    {
        "TDK-LIST-EMPTY",
        "TDK-LIST-HEADER",
        "TDK-LIST-COLUMN-MISSING",
        "TDK-LIST-COLUMN-TWICE",
        "TDK-LIST-COLUMN-UNKNOWN",
    }
)
"""What the registry says of a file that is no list of offices."""


class Importer:
    """Carries lists through check and import, in every process that does the portal's work."""

    def __init__(
        self, imports: Imports, sessions: WebSessions, api: Api, ports: Ports, log: FilteringBoundLogger
    ) -> None:
        self.imports = imports
        self.sessions = sessions
        self.api = api
        self.ports = ports
        self.log = log

    async def run(self) -> None:
        """Take lists over and carry them on, until cancelled; what is under way then is left to others at once."""
        await work(self.imports.db, CHANNEL, self._claimed, lambda one: _Drive(self, one).go(), AT_ONCE)

    async def _claimed(self) -> Import | None:
        async with self.imports.db.worker() as tx:
            holder = self.ports.ids.uuid7()
            row = await sql.claim_import(tx.db, holder=holder, until=tx.now + LEASE, now=tx.now)
            return None if row is None else self.imports.of_row(row)


class _Drive:
    """One list in the hands of this process."""

    def __init__(self, importer: Importer, one: Import) -> None:
        self._importer = importer
        self._imports = importer.imports
        self._one = one
        self._clock = importer.ports.clock
        self._done = 0
        self._begun_at: datetime | None = None

    async def go(self) -> None:
        """Carry it on until it waits for the operator, is over, or another process has it."""
        log = self._importer.log.bind(list=str(self._one.id), state=self._one.state)
        working, beating = asyncio.create_task(self._carry_on()), asyncio.create_task(self._beat())
        try:
            await asyncio.wait({working, beating}, return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                if working.result():
                    await self._imports.remove_file(self._one)  # else the sweep does
                log.info("import_done")
            elif beating.result():
                working.cancel()
                await asyncio.wait({working})
                await self._imports.end(self._one, "stopped", say("S-IMPORT-STOPPED"))
                log.info("import_stopped")
            else:
                log.info("import_lost")
        except Transient as trouble:  # the lease runs out, and whoever finds the engine there goes on
            log.warning("import_left", error=type(trouble).__name__)
        except asyncio.CancelledError:
            with contextlib.suppress(Transient):
                await self._let_go()
            raise
        except Exception as mistake:  # noqa: BLE001 (the next holder tries again, and the other lists go on)
            log.critical("import_fails", error=type(mistake).__name__)
        finally:
            for task in (working, beating):
                task.cancel()
            await asyncio.gather(working, beating, return_exceptions=True)

    async def _beat(self) -> bool:
        """Hold the lease and say how far it is, until the list is to stop (True) or is somebody else's (False)."""
        while True:
            await self._clock.sleep(BEAT_SECONDS)
            with contextlib.suppress(Transient):
                async with self._imports.db.worker() as tx:
                    row = await sql.keep_import(
                        tx.db,
                        id=self._one.id,
                        holder=self._one.holder,
                        until=tx.now + LEASE,
                        done=self._done,
                        begun_at=self._begun_at,
                    )
                if row is None or row["stopping"]:
                    return row is not None

    async def _carry_on(self) -> bool:
        """Hand the list over until that comes to an end, good or bad; whether it was taken, and by nobody else."""
        for _ in range(TRIES):
            came = await self._handed_over()
            if came is not None:
                return came == "taken"
            await self._clock.sleep(PAUSE_SECONDS)
        await self._imports.end(self._one, "stopped", say("E-726"))
        return False

    async def _handed_over(self) -> Literal["taken", "ended"] | None:
        """Hand the list over once; what came of it, None when it is worth another try."""
        web = await self._importer.sessions.by_id(self._one.session)
        if web is None or not web.alive:
            return await self._ended("stopped", say("E-725"))
        client = self._importer.api.client(SessionSlot(None), None)
        is_checking = self._one.state == "checking"
        try:
            report = await client.import_offices(
                web.held.operator_token, self._lines(), self._one.about.word, self._one.id, dry_run=is_checking
            )
        except ApiError as refused:
            return await self._refused(refused)
        except (ObjectMissing, SealBroken):
            return await self._ended("refused", say("E-727"))
        except (Unreachable, Unreadable, Transient):
            return None
        is_noted = await self._imports.note(self._one, report)
        return "taken" if is_noted and not is_checking else "ended"

    async def _refused(self, refused: ApiError) -> Literal["ended"] | None:
        if refused.status == HTTPStatus.UNAUTHORIZED:
            return await self._ended("stopped", say("E-725"))
        if is_passing(refused):
            return None
        return await self._ended("refused" if refused.code in NO_LIST else "stopped", of_refusal(refused))

    async def _ended(self, state: State, told: Sentence) -> Literal["ended"]:
        await self._imports.end(self._one, state, told)
        return "ended"

    async def _lines(self) -> AsyncIterator[bytes]:
        """The list in UTF-8, read while it is handed over."""
        recoder = Recoder(self._one.encoding)
        self._begun_at, self._done = self._clock.now(), 0
        for n in range(self._one.pieces):
            piece = await self._imports.piece(self._one, n)
            for start in range(0, len(piece), HANDED_BYTES):
                yield recoder.feed(piece[start : start + HANDED_BYTES])
                self._done = recoder.lines
        yield recoder.end()
        self._done = self._one.lines

    async def _let_go(self) -> None:
        async with self._imports.db.worker() as tx:
            await sql.let_import_go(tx.db, id=self._one.id, holder=self._one.holder, now=tx.now)
