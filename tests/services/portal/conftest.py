"""The portal's sheets on real PostgreSQL and object storage, and the services behind the API that they go through."""

import asyncio
import contextlib
import dataclasses
import itertools
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest_asyncio

import careplan
from services.portal.checking import Checker, Directory
from services.portal.clerk import Clerk
from services.portal.drafts import Drafts
from services.portal.drawer import Drawer
from services.portal.grouping import Dropped
from services.portal.intake import Intake
from services.portal.items import Items
from services.portal.runs import Progress, Runs
from services.portal.sending import Sender
from services.portal.sheets import Sheet, Sheets
from services.registry import offices
from services.registry.offices import MasterData
from tests.services.whole import Whole, whole
from todoke.client import AsyncClient, MemoryStore, NotLoggedIn, Patience, Session
from todoke.client.shapes import SessionOffice, SessionUser
from todoke.events import Actor
from todoke.relay.clock import JAPAN, Ports
from todoke.relay.faults import Transient
from todoke.relay.limits import Limits
from todoke.relay.service import Runtime
from todoke.relay.testing import token_for

OWN = "9970100018"
PARTNER = "9970100117"
OTHER = "9970100216"
STRANGER = "9970100315"
SERVICES = ("registry", "ingest", "validation", "routing", "storage", "projection")
GENEROUS = Limits(requests_per_minute_user=10**9, sends_per_second_office=10**6, sends_reserve_office=10**9)
SYSTEM = Actor(kind="system", id="test")
RESULT_SECONDS = 25
FIRST = datetime(2026, 10, 26, 12, 0, tzinfo=JAPAN)
SETS = {
    PARTNER: careplan.sample_sets()["202407/plan_67_to_provider_a"],
    OTHER: careplan.sample_sets()["202407/plan_67_to_provider_b"],
}


def plan(sequence: str, recipient: str = PARTNER) -> list[Dropped]:
    """A whole set (UPHOSOKU, UPPLAN, UPSIKYU) under a sequence of its own."""
    found = []
    for name, data in SETS[recipient]:
        parsed = careplan.parse_name(name)
        assert parsed is not None
        found.append(Dropped.of(name.replace(parsed.sequence, sequence), data))
    return found


class Wire(httpx.AsyncBaseTransport):
    """The way to the API. `lost` swallows answers: the request arrives, the answer does not."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self._inner = inner
        self.lost = False
        self.sent: list[str] = []
        self.first = asyncio.Event()

    def mend(self) -> None:
        """Whole again, with nothing seen yet."""
        self.lost = False
        self.sent.clear()
        self.first.clear()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Pass a request on, as the state of the wire allows."""
        answer = await self._inner.handle_async_request(request)
        if request.method == "POST" and request.url.path == "/v1/messages":
            self.sent.append(request.headers["idempotency-key"])
            self.first.set()
            if self.lost:
                raise httpx.ReadError("lost")
        return answer


@dataclasses.dataclass
class Bench:
    """Everything a sheet needs. `sessions` says which web sessions are alive; while `flow` is set events flow."""

    product: Whole
    runtime: Runtime
    wire: Wire
    items: Items
    drafts: Drafts
    sheets: Sheets
    intake: Intake
    runs: Runs
    sessions: dict[UUID, Clerk] = dataclasses.field(default_factory=dict)
    count: Iterator[int] = dataclasses.field(default_factory=lambda: itertools.count(1))
    flow: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)

    def clerk(self, office: str = OWN, person: str = "", name: str = "例示 春子") -> Clerk:
        """Somebody of an office whom no other test knows, with a client that reaches the services."""
        person = person or f"c{next(self.count):010}"
        shared = self.product.shared
        until = shared.ports.clock.now() + timedelta(hours=8)
        kind = "43" if office == OWN else "11"
        session = Session(
            url=shared.settings.address,
            access_token=token_for(shared, office, user=person),
            access_until=until,
            refresh_token="none",
            refresh_until=until,
            office=SessionOffice(number=office, name=f"事業所{office}", service_types=(kind,)),
            user=SessionUser(id=person, name=name, roles=("admin",)),
        )
        client = AsyncClient(
            shared.settings.address, store=MemoryStore(session), patience=Patience(seconds=1), transport=self.wire
        )
        return Clerk.of(session, client)

    def log_in(self, clerk: Clerk) -> UUID:
        """A web session of the clerk."""
        session = self.runtime.ports.ids.uuid7()
        self.sessions[session] = clerk
        return session

    @contextlib.asynccontextmanager
    async def acting(self, session: UUID) -> AsyncIterator[Clerk]:
        """The clerk of a web session that is alive."""
        if session not in self.sessions:
            raise NotLoggedIn("the session has ended")
        yield self.sessions[session]

    def sender(self) -> Sender:
        """What carries runs out."""
        return Sender(self.runtime.db, self.items, self.acting, self.runtime.ports, self.runtime.log)

    async def sheet(self, clerk: Clerk, *sets: Sequence[Dropped]) -> Sheet:
        """The clerk's own sheet, after these files were dropped on it."""
        sheet = await self.sheets.own(clerk)
        if sets:
            await self.intake.into_sheet(clerk, sheet.id, [file for files in sets for file in files])
        return await self.sheets.own(clerk)

    async def ended(self, clerk: Clerk, run: UUID) -> Progress:
        """A run after its end."""
        async with asyncio.timeout(RESULT_SECONDS):
            while True:
                progress = await self.runs.progress(clerk, run)
                assert progress is not None
                if progress.ending is not None:
                    return progress
                await asyncio.sleep(0.05)

    def numbers(self, count: int) -> list[str]:
        """Sequences that no other test uses, rising."""
        return [f"{FIRST + timedelta(seconds=next(self.count)):%Y%m%d%H%M%S}" for _ in range(count)]

    async def sent_sequences(self, clerk: Clerk, numbers: Sequence[str]) -> list[str]:
        """Those of the sequences that the sent list holds, newest first."""
        page = await clerk.client.sent(limit=200)
        return [item.sequence for item in page.items if item.sequence in numbers]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bench(engines: Any, run_home: Path) -> AsyncIterator[Bench]:
    """The services with three offices, and the portal's pieces beside them; events flow by themselves.

    The tests of a module share it: each takes persons of its own, who have sheets of their own, and fresh sequences.
    """
    async with whole(engines, run_home, Ports.real(), SERVICES, GENEROUS) as product:
        await _register(product)
        runtime = await product.shared.runtime("portal")
        made = _made(product, runtime)
        made.flow.set()
        flowing = asyncio.create_task(_flow(product, made.flow))
        try:
            yield made
        finally:
            flowing.cancel()
            [trouble] = await asyncio.gather(flowing, return_exceptions=True)
            await runtime.db.close()
        assert isinstance(trouble, asyncio.CancelledError), trouble


def _made(product: Whole, runtime: Runtime) -> Bench:
    wire = Wire(httpx.ASGITransport(app=product.app(), raise_app_exceptions=False))
    items = Items(Drawer(runtime.seal, runtime.secrets, runtime.objects), runtime.ports)
    directory = Directory(runtime.ports.clock)
    checker = Checker(directory, GENEROUS, runtime.ports.clock)
    intake = Intake(runtime.db, items, checker, runtime.ports, GENEROUS)
    return Bench(
        product=product,
        runtime=runtime,
        wire=wire,
        items=items,
        drafts=Drafts(runtime.db, items, checker, intake),
        sheets=Sheets(runtime.db, items, checker),
        intake=intake,
        runs=Runs(runtime.db, items, directory, runtime.ports),
    )


async def _register(product: Whole) -> None:
    until = date(2099, 3, 31)
    async with product.stages["registry"].db.worker() as tx:
        for number, kind in ((OWN, "43"), (PARTNER, "11"), (OTHER, "17")):
            await offices.register(tx, MasterData(number, f"事業所{number}", (kind,), address="見本県見本市1-1"))
            await offices.set_licence(tx, number, until=until, renews=True, cause="granted")
    for hearer in SERVICES:
        await product.deliver(hearer)


async def _flow(product: Whole, flow: asyncio.Event) -> None:
    """Deliver events as they come."""
    while True:
        await flow.wait()
        for hearer in product.stages:
            with contextlib.suppress(Transient):  # one service has heard of an office before another: it waits
                await product.deliver(hearer)
        await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def going(sender: Sender) -> AsyncIterator[None]:
    """A process that sends, inside the block."""
    task = asyncio.create_task(sender.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
