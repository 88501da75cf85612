"""Three offices over the whole product, behind real listeners: two that own something of every kind, and a stranger.

What a request costs is noted too: each SQL statement and each call of object storage, by its text.
"""

import asyncio
import contextlib
import dataclasses
import json
import socket
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
import pytest_asyncio

from tests.services.ingest.conftest import Client
from tests.services.registry.conftest import Login, Registry
from tests.services.test_two_offices import PICTURE
from tests.services.whole import Whole, whole
from todoke.relay import postgres
from todoke.relay.clock import Ports, in_japan
from todoke.relay.host import serve
from todoke.relay.limits import Limits
from todoke.relay.objects import Objects
from todoke.relay.policy import Scope
from todoke.relay.testing import operator_token, operators_side
from todoke.relay.tokens import Claims
from todoke.relay.web import application

OWNER = Login("9970100018", "c0000000018")
PARTNER = Login("9970100117", "c0000000117")
STRANGER = Login("9970100216", "c0000000216")
NEWCOMER = Login("9970100315", "c0000000315")
"""A stranger who has sent nothing yet."""

KEY = "the-owners-own-key"
TEXT = "だれにも見せない本文"
FILE = "だれにも見せない写真.png"
MAIL = "nobody-else@example.jp"
HOOK = "https://example.jp/only-the-owners"
QUIET_SECONDS = 0.2
NOTICE = "だれにも見せないお知らせ"
PREFECTURE = "持ち主県"

GENEROUS = Limits(
    requests_per_minute_user=10**9,
    sends_per_second_office=10**6,
    sends_reserve_office=10**9,
    bytes_per_hour_office=10**15,
    wait_seconds_max=0,  # a young message is waited for, foreign or not: here everything is young
)


@dataclasses.dataclass
class Work:
    """What was done for requests so far: SQL statements, and methods of object storage."""

    done: list[str] = dataclasses.field(default_factory=list)

    def taken(self) -> list[str]:
        """What was done since the last look."""
        done, self.done = self.done, []
        return done

    async def ended(self) -> None:
        """Until nothing more is done: a stream whose client has gone ends its last look by itself."""
        before = None
        while before != (before := len(self.done)):  # noqa: ASYNC110 (nothing tells when a stream has ended)
            await asyncio.sleep(QUIET_SECONDS)

    @contextlib.contextmanager
    def noted(self) -> Iterator[None]:
        """Note it inside the block, wherever in this process it is done."""
        begun, request = postgres._begun, Objects._request

        @contextlib.asynccontextmanager
        async def noting(db: Any, office: str | None) -> AsyncIterator[None]:
            with db.query_logger(lambda record: self.done.append(record.query)):
                async with begun(db, office):
                    yield

        async def asking(objects: Objects, method: str, *rest: Any) -> Any:
            self.done.append(f"S3 {method}")
            return await request(objects, method, *rest)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(postgres, "_begun", noting)
            patch.setattr(Objects, "_request", asking)
            yield


@dataclasses.dataclass(frozen=True)
class Answer:
    """An answer as far as it may say something: no date and no trace."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: str

    @classmethod
    def of(cls, response: httpx.Response, body: bytes) -> "Answer":
        fleeting = {"date", "trace-id", "traceparent"}
        headers = tuple(sorted((name, value) for name, value in response.headers.items() if name not in fleeting))
        return cls(response.status_code, headers, body.decode("utf-8", "replace"))

    def header(self, name: str) -> str:
        return dict(self.headers)[name]

    def json(self) -> Any:
        return json.loads(self.body)

    def __contains__(self, text: str) -> bool:
        return text in self.body or any(text in value for _, value in self.headers)


@dataclasses.dataclass
class Owned:
    """Everything that belongs to the owner, or to the owner and the partner."""

    delivered: str = ""
    rejected: str = ""
    received: str = ""
    sequence: str = ""
    receipt: str = ""
    webhook: str = ""
    notice: str = ""
    session: str = ""
    refresh: str = ""
    step: str = ""
    sha256: str = ""
    cursors: dict[str, str] = dataclasses.field(default_factory=dict)
    etags: dict[str, str] = dataclasses.field(default_factory=dict)
    stream_id: str = ""

    def secrets(self) -> list[str]:
        """What no answer to anybody else may hold."""
        texts = [TEXT, FILE, MAIL, HOOK, NOTICE, OWNER.c_id, OWNER.kj_id, *self.cursors.values(), *self.etags.values()]
        ids = [self.delivered, self.rejected, self.received, self.sequence, self.webhook, self.session, self.notice]
        return [*texts, *ids, self.refresh, self.sha256, self.receipt]

    def things(self) -> dict[str, list[str]]:
        """What belongs to the owner alone, by its kind."""
        things = {"webhook": self.webhook, "session": self.session, "user": OWNER.c_id, "notice": self.notice}
        return {kind: [thing] for kind, thing in things.items()}


@dataclasses.dataclass
class Scene:
    """The running product, what belongs to whom, and ways to ask."""

    product: Whole
    http: httpx.AsyncClient
    operators: httpx.AsyncClient
    work: Work
    owned: Owned = dataclasses.field(default_factory=Owned)

    async def ask(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, *, operators: bool = False, **more: Any
    ) -> Answer:
        """One request; of a stream that does not end only the beginning is read."""
        http = self.operators if operators else self.http
        async with http.stream(method, path, headers=headers, **more) as response:
            endless = response.headers.get("content-type", "").startswith("text/event-stream")
            body = await anext(response.aiter_bytes()) if endless else await response.aread()
        if endless:
            await self.work.ended()
        await asyncio.sleep(0)  # asyncpg tells of the last statement in the next turn of the loop
        return Answer.of(response, body)

    def token(
        self,
        office: str | None,
        *,
        user: str | None = None,
        roles: Iterable[str] = ("admin",),
        licence_until: date | str | None = "licensed",
        scope: Scope = "office",
        **more: Any,
    ) -> dict[str, str]:
        """An Authorization header as the registry would issue it."""
        shared = self.product.shared
        now = shared.ports.clock.now()
        claims = Claims(
            subject=user or f"c{office}",
            office=office,
            roles=tuple(roles),
            licence_until=(now + timedelta(days=99)).date() if isinstance(licence_until, str) else licence_until,
            session=more.pop("session", None) or str(shared.ports.ids.uuid7()),
            scope=scope,
            **more,
        )
        return {"Authorization": f"Bearer {shared.tokens.issue(claims, now)}"}

    def callers(self, office: str) -> dict[str, dict[str, str]]:
        """Everybody that somebody of this office, or somebody outside of every office, may be."""
        today = in_japan(self.product.shared.ports.clock.now()).date()
        return {
            "admin": self.token(office),
            "staff": self.token(office, roles=("staff",)),
            "viewer": self.token(office, roles=("viewer",)),
            "without a role": self.token(office, roles=()),
            "the office itself": self.token(office, roles=(), scope="usage"),
            "suspended": self.token(office, suspended=True),
            "licence over": self.token(office, licence_until=today - timedelta(days=10)),
            "licence long over": self.token(office, licence_until=today - timedelta(days=40)),
            "never licensed": self.token(office, licence_until=None),
            "must change": self.token(office, must_change=("person",)),
            "operator": {"Authorization": f"Bearer {operator_token(self.product.shared)}"},
            "nobody": {},
            "rubbish": {"Authorization": "Bearer rubbish"},
        }

    def nothing_like(self, thing: str) -> str:
        """An id like this one, as old as it, that nobody has."""
        if thing.startswith("c"):
            return f"{thing[:-1]}{(int(thing[-1]) + 1) % 10}"
        return str(UUID(int=UUID(thing).int ^ 1))

    async def settle(self) -> None:
        """Until every service has heard everything."""
        while [event for hearer in self.product.stages for event in await self.product.deliver(hearer)]:
            pass

    async def send(self, office: str, recipient: str, key: str, **more: Any) -> dict[str, Any]:
        """Send a message; the answer."""
        files = more.pop("files", ())
        answer = await Client(self.http, self.token(office)).send({"recipient": recipient, **more}, files, key=key)
        assert answer.status_code == 202, answer.text
        answered: dict[str, Any] = answer.json()
        return answered


async def _own(scene: Scene, owned: Owned) -> None:
    """Give the owner one of everything."""
    registry = Registry(scene.product.stages["registry"], scene.http)
    for login in (OWNER, PARTNER, STRANGER, NEWCOMER):
        await registry.add(login)
    await scene.settle()
    session = await registry.log_in(OWNER)
    owned.refresh, owned.session = session["refresh_token"], ""
    mine = {"Authorization": f"Bearer {session['access_token']}"}
    [one] = (await scene.ask("GET", "/v1/session/list", mine)).json()["items"]
    owned.session = one["id"]
    owned.step = (await registry.first_step(OWNER.c_id)).json()["step_token"]
    await _messages(scene, owned)
    made = await scene.ask("POST", "/v1/notifications/webhooks", mine, json={"url": HOOK, "events": ["delivered"]})
    owned.webhook = made.json()["id"]
    owned.notice = await _notice(scene)
    wanted = {"mail": [{"address": MAIL, "events": ["delivered"]}]}
    assert (await scene.ask("PUT", "/v1/notifications/own", mine, json=wanted)).status == 200
    for path in ("/v1/sent", "/v1/received"):
        page = await scene.ask("GET", f"{path}?limit=1", mine)
        owned.cursors[path] = page.json()["next"]
    for path in ("/v1/sent", "/v1/received", "/v1/received?since=0"):
        owned.etags[path] = (await scene.ask("GET", path, mine)).header("etag")
    file = await scene.ask("GET", f"/v1/messages/{owned.delivered}/files/1", mine)
    owned.sha256 = file.header("etag").strip('"')
    beginning = (await scene.ask("GET", "/v1/stream", mine)).body
    owned.stream_id = beginning.partition("id: ")[2].strip()


async def _notice(scene: Scene) -> str:
    """What operators tell the owner's prefecture, in which nobody else is; the id."""
    operator = {"Authorization": f"Bearer {operator_token(scene.product.shared)}"}
    word = {"reason": "お知らせ", "ticket": "OPS-1"}
    there = {**word, "prefecture": PREFECTURE}
    moved = await scene.operators.patch(f"/v1/operator/offices/{OWNER.office}", json=there, headers=operator)
    assert moved.is_success
    audience = {"kind": "prefectures", "values": [PREFECTURE]}
    wanted = {**word, "title": NOTICE, "text": NOTICE, "audience": audience}
    made = await scene.operators.post("/v1/operator/notices", json=wanted, headers=operator)
    return str(made.json()["id"])


async def _messages(scene: Scene, owned: Owned) -> None:
    picture = [(FILE, PICTURE)]
    sent = await scene.send(OWNER.office, PARTNER.office, KEY, text=TEXT, files=picture)
    owned.delivered, owned.sequence, owned.receipt = sent["message_id"], sent["sequence"], sent["receipt"]
    broken = await scene.send(OWNER.office, PARTNER.office, "broken", text=TEXT, files=[(FILE, PICTURE[:16])])
    owned.rejected = broken["message_id"]
    for key in ("first", "second"):
        owned.received = (await scene.send(PARTNER.office, OWNER.office, key, text=TEXT))["message_id"]
    await scene.settle()


@contextlib.asynccontextmanager
async def listening(app: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an application behind a real listener."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    closing = asyncio.Event()
    serving = asyncio.create_task(serve(app, address="127.0.0.1", port=port, stopping=closing))
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as http:
        async with asyncio.timeout(10):
            while True:
                with contextlib.suppress(httpx.TransportError):
                    await http.get("/health/live")
                    break
                await asyncio.sleep(0.02)
        yield http
    closing.set()
    await serving


def operators_app(product: Whole) -> Any:
    """The application of the operators' listener."""

    async def health() -> dict[str, object]:
        return {"status": "ready", "parts": {}}

    shared = product.shared
    routers = operators_side(*product.stages.values())
    return application("Operators", routers, metrics=shared.metrics, health=health, ids=shared.ports.ids)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def scene(engines: Any, run_home: Path) -> AsyncIterator[Scene]:
    """The scene; one for all tests that only look."""
    work = Work()
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(work.noted())
        product = await stack.enter_async_context(whole(engines, run_home, Ports.real(), limits=GENEROUS))
        http = await stack.enter_async_context(listening(product.app()))
        operators = await stack.enter_async_context(listening(operators_app(product)))
        made = Scene(product, http, operators, work)
        await _own(made, made.owned)
        yield made
        for each in product.stages.values():
            if each.service.stop is not None:
                await each.service.stop()  # open streams end, or the listeners would wait for them
