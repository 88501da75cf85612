"""Lists of offices that operators bring in: checked, taken once, whatever dies, stops or happens beside it."""

import asyncio
import contextlib
import dataclasses
import itertools
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import pytest_asyncio

from services.portal import importing
from services.portal import imports as imports_module
from services.portal.apis import Api, SessionSlot
from services.portal.importing import Importer
from services.portal.imports import About, Import, Imports
from services.portal.office_list import NoList
from services.portal.websessions import Held, Owner, WebSessions
from tests.services.whole import Whole, whole
from todoke.client import AsyncClient
from todoke.client.ops_shapes import Word
from todoke.relay.clock import Ports
from todoke.relay.objects import ObjectMissing
from todoke.relay.seal import SealBroken
from todoke.relay.service import Runtime
from todoke.relay.testing import asgi_client, journalled, operator_token, operators_side

pytestmark = pytest.mark.asyncio(loop_scope="module")

WORD = Word(reason="国の一覧の更新", ticket="OPS-75")
HEADER = "事業所番号,事業所名,サービス種類"
SECONDS = 25
FAR = datetime(2099, 1, 1, tzinfo=UTC)
NUMBERS = itertools.count(1000)


class Wire(httpx.AsyncBaseTransport):
    """The way to the registry. After `passes` bytes of a list it holds the rest back until `held` is set."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self.inner = inner
        self.passes: int | None = None
        self.held = asyncio.Event()
        self.reached = asyncio.Event()
        self.is_away = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Pass a list on, as the state of the wire allows."""
        if self.is_away:
            self.reached.set()
            raise httpx.ConnectError("away")
        assert isinstance(request.stream, httpx.AsyncByteStream)
        broken: list[Exception] = []
        content = self._body(request.stream, broken)
        slow = httpx.Request(request.method, request.url, headers=request.headers, content=content)
        answer = await self.inner.handle_async_request(slow)
        for trouble in broken:  # over a real wire whoever sends hears of it, and nobody else
            raise trouble
        return answer

    async def _body(self, stream: httpx.AsyncByteStream, broken: list[Exception]) -> AsyncIterator[bytes]:
        count = 0
        async for piece in _unless_broken(stream, broken):
            yield piece
            count += len(piece)
            if self.passes is not None and count > self.passes:
                self.reached.set()
                await self.held.wait()


async def _unless_broken(stream: httpx.AsyncByteStream, broken: list[Exception]) -> AsyncIterator[bytes]:
    try:
        async for piece in stream:
            yield piece
    except (ObjectMissing, SealBroken) as trouble:
        broken.append(trouble)
        raise


@dataclasses.dataclass
class Console:
    """What an operator's pages do with lists, and the processes behind them."""

    product: Whole
    runtime: Runtime
    imports: Imports
    sessions: WebSessions
    wire: Wire

    async def log_in(self, user: str = "operator-1") -> UUID:
        """A web session of an operator."""
        token = operator_token(self.product.shared, user)
        cookie = await self.sessions.begin(Owner("operator", user_id=user), Held(operator_token=token))
        found = await self.sessions.find("operator", cookie)
        assert found is not None
        return found.id

    async def add(self, session: UUID, data: bytes, user: str = "operator-1", key: str = "") -> UUID:
        """A list as the page takes it in."""

        async def pieces() -> AsyncIterator[bytes]:
            for start in range(0, len(data), 1000):
                yield data[start : start + 1000]

        about = About(word=WORD, name="一覧.csv", shown=())
        return await self.imports.add(user, session, key or str(uuid4()), about, await self.imports.spooled(pieces()))

    def importer(self) -> Importer:
        """A process that carries lists on."""
        return Importer(self.imports, self.sessions, _Api(self.wire), self.runtime.ports, self.runtime.log)

    async def when(self, import_id: UUID, *states: str) -> Import:
        """The list once it is in one of these states."""
        async with asyncio.timeout(SECONDS):
            while True:
                one = await self.imports.find(import_id)
                assert one is not None
                if one.state in states:
                    return one
                await asyncio.sleep(0.05)

    async def said(self, numbers: Iterable[str]) -> Counter[str]:
        """What the registry said of these offices."""
        wanted = set(numbers)
        async with self.product.stages["registry"].db.worker() as tx:
            said = [(kind, json.loads(payload)) for kind, payload in await journalled(tx)]
        return Counter(kind for kind, event in said if event.get("office") in wanted)

    async def acts(self) -> int:
        """How often an operator's import was said."""
        async with self.product.stages["registry"].db.worker() as tx:
            return sum(kind == "OperatorActed" for kind, _ in await journalled(tx))


class _Api(Api):
    """The operators' listener at the end of a wire."""

    def __init__(self, wire: Wire) -> None:
        super().__init__("http://operators", b"")
        self._wire = wire

    def client(self, slot: SessionSlot, browser: str | None, seconds: float = 8.0) -> AsyncClient:
        """A client that goes over the wire."""
        del browser, seconds
        return AsyncClient(self.address, store=slot, transport=self._wire)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def console(engines: Any, run_home: Path) -> AsyncIterator[Console]:
    """The registry and the portal's tables; the tests of a module share them and use offices of their own."""
    async with whole(engines, run_home, Ports.real(), ("registry",)) as product:
        runtime = await product.shared.runtime("portal")
        registry = product.stages["registry"]
        client = asgi_client(registry.service, registry.runtime, routers=operators_side(registry))
        made = Console(
            product=product,
            runtime=runtime,
            imports=Imports(runtime.db, runtime.seal, runtime.secrets, runtime.objects, runtime.ports.ids),
            sessions=WebSessions(runtime.db, runtime.seal, runtime.secrets, runtime.ports.ids, 25),
            wire=Wire(client._transport),
        )
        yield made
        await client.aclose()
        await runtime.db.close()


@pytest.fixture(autouse=True)
def mended(console: Console) -> None:
    """The wire is whole when a test begins."""
    console.wire.passes, console.wire.is_away = None, False
    console.wire.held, console.wire.reached = asyncio.Event(), asyncio.Event()


@contextlib.asynccontextmanager
async def going(importer: Importer) -> AsyncIterator[None]:
    """A process that carries lists on, inside the block."""
    task = asyncio.create_task(importer.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def listed(count: int, *more: str) -> tuple[list[str], bytes]:
    """Numbers that no other test uses, and a list of their offices, with further lines behind them."""
    numbers = [f"98{next(NUMBERS):08d}" for _ in range(count)]
    lines = [HEADER, *(f"{number},あおぞら介護{number},11" for number in numbers), *more]
    return numbers, "\r\n".join(lines).encode("cp932")


async def test_a_list_is_checked_first_and_taken_at_the_operators_word_once(console: Console) -> None:
    session, before = await console.log_in(), await console.acts()
    numbers, data = listed(30, "98,みじかい,11", "9800000001,なまえ,ZZ")
    list_id = await console.add(session, data)
    async with going(console.importer()):
        one = await console.when(list_id, "checked")
        assert one.found is not None
        assert (one.found.registered, one.found.bad, one.changes, one.lines) == (30, 2, 30, 33)
        assert await console.said(numbers) == {}
        bad = await console.imports.bad_lines(list_id)
        assert [(each.line, each.column_name, each.number) for each in bad] == [
            (32, "事業所番号", "E-705"), (33, "サービス種類", "E-709"),
        ]  # fmt: skip
        for _ in range(2):
            await console.imports.go_on(list_id, "operator-1", session, "checked")
        one = await console.when(list_id, "done")
        assert one.taken == one.found
        await console.imports.go_on(list_id, "operator-1", session, "checked")
        await console.imports.go_on(list_id, "operator-1", session, "stopped")
        assert (await console.when(list_id, "done")).ended_at == one.ended_at
        again = await console.when(await console.add(session, data), "checked")
        assert again.found is not None
        assert (again.changes, again.found.unchanged) == (0, 30)
    assert await console.said(numbers) == {"OfficeRegistered": 30}
    assert await console.acts() == before + 1
    assert [key async for key in objects(console, one)] == [], "the file of a list that is over is kept nowhere"


async def objects(console: Console, one: Import) -> AsyncIterator[str]:
    """The objects that hold a list."""
    async for entry in console.runtime.objects.list(f"import/{one.spool}/"):
        yield entry.key


async def test_the_same_file_from_the_same_page_is_one_list(console: Console) -> None:
    session = await console.log_in()
    _, data = listed(3)
    first = await console.add(session, data, key="page-1")
    assert await console.add(session, data, key="page-1") == first
    assert await console.add(session, data + b"\r\n", key="page-1") != first
    assert await console.add(session, data, key="page-2") != first
    assert await console.add(session, data, key="page-1", user="operator-2") != first
    one = await console.imports.find(first)
    assert one is not None
    kept = [key async for key in objects(console, one)]
    assert kept == [f"import/{one.spool}/0"]
    sealed = await console.runtime.objects.get(kept[0])
    assert b"9800" not in sealed
    assert WORD.reason.encode() not in bytes(sealed)


async def test_another_operator_changes_nothing_of_a_list(console: Console) -> None:
    session, other = await console.log_in(), await console.log_in("operator-2")
    numbers, data = listed(3)
    list_id = await console.add(session, data)
    async with going(console.importer()):
        await console.when(list_id, "checked")
        await console.imports.go_on(list_id, "operator-2", other, "checked")
        await console.imports.drop(list_id, "operator-2")
        assert (await console.when(list_id, "checked")).operator == "operator-1"
        await console.imports.drop(list_id, "operator-1")
        await console.imports.go_on(list_id, "operator-1", session, "checked")
        await console.when(list_id, "dropped")
    assert await console.said(numbers) == {}


async def taken_in_part(console: Console, count: int) -> tuple[UUID, UUID, list[str]]:
    """A list that is being taken; the wire holds its rest back. Session, list, numbers."""
    session = await console.log_in()
    numbers, data = listed(count)
    list_id = await console.add(session, data)
    async with going(console.importer()):
        await console.when(list_id, "checked")
    console.wire.passes = importing.HANDED_BYTES
    await console.imports.go_on(list_id, "operator-1", session, "checked")
    return session, list_id, numbers


async def begun(console: Console, numbers: list[str]) -> None:
    """Wait until some of these offices are registered, and not all."""
    await console.wire.reached.wait()
    count = 0
    async with asyncio.timeout(SECONDS):
        while count == 0:
            await asyncio.sleep(0.05)
            count = (await console.said(numbers))["OfficeRegistered"]
    assert count < len(numbers)


async def test_a_process_that_dies_leaves_its_list_to_the_next_one(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await console.acts()
    _, list_id, numbers = await taken_in_part(console, 3000)
    with monkeypatch.context() as dying:
        dying.setattr(importing, "LEASE", timedelta(seconds=2))
        dying.setattr(importing._Drive, "_let_go", lambda _: asyncio.sleep(0))  # who is killed says nothing
        async with going(console.importer()):
            await begun(console, numbers)
    console.wire.passes = None
    async with going(console.importer()):
        one = await console.when(list_id, "done")
    assert one.taken is not None
    assert (one.taken.registered, one.taken.unchanged) == (3000, 0)
    assert await console.said(numbers) == {"OfficeRegistered": 3000}
    assert await console.acts() == before + 1


async def test_who_lost_a_list_spoils_nothing_when_it_is_done_after_all(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that was frozen has the registry's answer when another one holds the list: the file stays."""
    _, list_id, numbers = await taken_in_part(console, 3000)
    monkeypatch.setattr(importing, "BEAT_SECONDS", 3600.0)
    go, over = importing._Drive.go, asyncio.Event()

    async def to_its_end(drive: importing._Drive) -> None:
        await go(drive)
        over.set()

    monkeypatch.setattr(importing._Drive, "go", to_its_end)
    async with going(console.importer()):
        await begun(console, numbers)
        async with console.imports.db.worker() as tx:
            sealed = await imports_module.sql.claim_import(tx.db, holder=uuid4(), until=FAR, now=FAR)
        assert sealed["id"] == list_id
        console.wire.held.set()
        async with asyncio.timeout(SECONDS):
            await over.wait()
    one = await console.when(list_id, "taking")
    assert [key async for key in objects(console, one)] == [f"import/{one.spool}/0"]
    async with console.imports.db.worker() as tx:
        await imports_module.sql.let_import_go(tx.db, id=list_id, holder=one.holder, now=tx.now)
    async with going(console.importer()):
        one = await console.when(list_id, "done")
    assert one.taken is not None
    assert (one.taken.registered, one.taken.unchanged) == (3000, 0)


async def test_a_list_stops_at_the_operators_word_and_goes_on(console: Console) -> None:
    session, list_id, numbers = await taken_in_part(console, 3000)
    async with going(console.importer()):
        await begun(console, numbers)
        await console.imports.stop(list_id, "operator-2")
        await console.imports.stop(list_id, "operator-1")
        one = await console.when(list_id, "stopped")
        assert one.told is not None
        assert "続ける" in one.told.todo
        console.wire.passes = None
        await console.imports.go_on(list_id, "operator-1", session, "stopped")
        one = await console.when(list_id, "done")
    assert one.taken is not None
    assert (one.taken.registered, one.taken.unchanged) == (3000, 0)


async def test_an_ended_session_stops_a_list_and_a_new_login_goes_on(console: Console) -> None:
    session = await console.log_in()
    numbers, data = listed(5)
    list_id = await console.add(session, data)
    await console.sessions.end(session)
    async with going(console.importer()):
        one = await console.when(list_id, "stopped")
        assert one.told is not None
        assert (one.told.number, one.is_taking) == ("E-725", False)
        session = await console.log_in()
        await console.imports.go_on(list_id, "operator-1", session, "stopped")
        await console.when(list_id, "checked")
        await console.imports.go_on(list_id, "operator-1", session, "checked")
        await console.when(list_id, "done")
    assert await console.said(numbers) == {"OfficeRegistered": 5}


async def test_a_registry_that_is_away_stops_a_list_and_a_wrong_list_is_told(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await console.log_in()
    monkeypatch.setattr(importing, "PAUSE_SECONDS", 0.01)
    console.wire.is_away = True
    list_id = await console.add(session, listed(2)[1])
    async with going(console.importer()):
        one = await console.when(list_id, "stopped")
        console.wire.is_away = False
        wrong = await console.when(await console.add(session, b"number,nam\r\n1,2\r\n"), "refused")
        gone = await console.add(session, listed(2)[1])
        await console.when(gone, "checked")
        await console.runtime.objects.delete(f"import/{(await console.when(gone, 'checked')).spool}/0")
        await console.imports.go_on(gone, "operator-1", session, "checked")
        lost = await console.when(gone, "refused")
    assert one.told is not None
    assert wrong.told is not None
    assert lost.told is not None
    assert [each.told and each.told.number for each in (one, wrong, lost)] == ["E-726", "E-714", "E-727"]


async def test_a_registry_that_is_back_in_time_is_asked_again(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "PAUSE_SECONDS", 0.2)
    console.wire.is_away = True
    list_id = await console.add(await console.log_in(), listed(2)[1])
    async with going(console.importer()):
        await console.wire.reached.wait()
        console.wire.is_away = False
        one = await console.when(list_id, "checked", "stopped")
    assert one.state == "checked"


async def test_what_nobody_needs_any_more_is_swept_away(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    session = await console.log_in()
    list_id = await console.add(session, listed(2)[1])
    loose = await console.add(session, listed(2)[1])

    async def broken_off() -> AsyncIterator[bytes]:
        yield b"x" * imports_module.PIECE_BYTES
        raise KeyError("the browser is gone")

    with pytest.raises(KeyError):
        await console.imports.spooled(broken_off())
    with pytest.raises(NoList):
        await console.imports.spooled(no_list())
    async with going(console.importer()):
        one = await console.when(list_id, "checked")
        await console.when(loose, "checked")
    await console.imports.drop(loose, "operator-1")
    monkeypatch.setattr(imports_module, "LOOSE", timedelta(0))
    await asyncio.sleep(1.1)  # storage tells the time of an object to the second
    await console.imports.sweep()
    left = {entry.key async for entry in console.runtime.objects.list("import/")}
    assert f"import/{one.spool}/0" in left
    wanted = {f"import/{each.spool}/0" for each in await console.imports.recent() if each.state not in OVER}
    assert left == wanted
    monkeypatch.setattr(imports_module, "KEPT_WAITING", timedelta(0))
    await console.imports.sweep()
    assert (await console.when(list_id, "dropped")).ended_at is not None
    monkeypatch.setattr(imports_module, "KEPT", timedelta(0))
    await console.imports.sweep()
    assert await console.imports.find(list_id) is None


OVER = ("done", "refused", "dropped")


async def no_list() -> AsyncIterator[bytes]:
    """A file of a spreadsheet that is more than one piece long."""
    yield b"PK\x03\x04"
    for _ in range(3):
        yield b"\x01" * (imports_module.PIECE_BYTES // 2)
