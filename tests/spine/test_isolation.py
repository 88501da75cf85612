"""Every endpoint with an id × every other office: a foreign message and one that does not exist answer alike."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Mapping
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest
import pytest_asyncio

from services import ground
from tests.spine.product import Product
from todoke.client import AsyncClient, Upload
from todoke.events import SERVICES
from todoke.relay.clock import Ports
from todoke.relay.postgres import connection_target
from todoke.relay.rootsecret import Secrets
from todoke.relay.seal import RootKey

SENDER, RECIPIENT = "9970100018", "9970100117"

NOBODY = "c9999999991"
"""A c-ID that no practice office has."""

OF_A_MESSAGE: Mapping[str, Mapping[str, Any]] = {
    "GET /v1/messages/{message_id}": {},
    "GET /v1/messages/{message_id}/accesses": {},
    "GET /v1/messages/{message_id}/evidence": {},
    "GET /v1/messages/{message_id}/files/{n}": {},
    "GET /v1/messages/{message_id}/findings": {},
    "GET /v1/messages/{message_id}/zip": {},
    "POST /v1/messages/{message_id}/recall": {"reason": "誤り"},
    "POST /v1/messages/{message_id}/receipt": {"sha256": []},
}
"""Each endpoint about one message, with a body that it understands."""

OF_ANOTHER_THING = {
    "GET /v1/notifications/webhooks/{webhook_id}": "webhook",
    "DELETE /v1/notifications/webhooks/{webhook_id}": "webhook",
    "DELETE /v1/session/{session}": "session",
    "PATCH /v1/office/users/{user_id}": "user",
}
"""Each endpoint about one other thing that belongs to an office or a person."""

CHANGED_USER = {"end_sessions": True}
"""What is asked of a person of another office."""

NOBODYS = {
    "GET /v1/offices/{number}",
    "GET /v1/notifications/{owner}",
    "PUT /v1/notifications/{owner}",
    "GET /v1/notices/{notice}",
    "POST /v1/notices/{notice}/read",
}
"""An id that is no secret: the directory is public to offices, an owner is `own` or `office`, always one's own, and
notices are told to offices (to whom: tests/services/registry/test_notices.py)."""

WITHOUT_SESSION = {
    "GET /.well-known/jwks.json",
    "POST /v1/session/system",
    "POST /v1/session/office",
    "POST /v1/session/usage",
    "POST /v1/session/refresh",
}
"""What one needs to get a session, and the public keys of receipts."""

PUBLIC = {"GET /v1/status", "GET /v1/limits"}
"""How the system is, and its bounds: said to everybody."""

pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclasses.dataclass
class Scene:
    """Two offices with their message, what else belongs to the sender, and everybody else."""

    http: httpx.AsyncClient
    tokens: dict[str, str]
    delivered: UUID
    rejected: UUID
    things: dict[str, str]
    endpoints: list[str]

    @property
    def strangers(self) -> list[str]:
        """Every office that has no part in the message."""
        return [office for office in self.tokens if office not in (SENDER, RECIPIENT)]

    async def ask(self, endpoint: str, token: str | None, **ids: object) -> tuple[int, str]:
        """Status and body."""
        method, _, path = endpoint.partition(" ")
        body = CHANGED_USER if method == "PATCH" else OF_A_MESSAGE.get(endpoint) or None
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        anybody = {"n": 1, "number": SENDER, "owner": "own", "notice": UUID(int=0), "user_id": NOBODY}
        filled = path.format(**(anybody | ids))
        async with self.http.stream(method, filled, json=body, headers=headers) as answer:
            if answer.status_code == 200 and filled == "/v1/stream":
                return 200, ""  # it never ends
            return answer.status_code, (await answer.aread()).decode()


@pytest.fixture(scope="module")
def offices(product: Product) -> list[str]:
    """Every practice office."""
    return [office["number"] for office in product.demo["offices"]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(product: Product, offices: list[str]) -> AsyncIterator[Scene]:
    """The message is delivered; everybody is logged in."""
    clients = {office: AsyncClient(product.address) for office in offices}
    for office, client in clients.items():
        await client.login(*product.login_of(office))
    sender = clients[SENDER]
    good = await sender.send(RECIPIENT, text="届きます")
    bad = await sender.send(RECIPIENT, files=[Upload("壊れた写真.png", b"\x89PNG\r\n\x1a\n")])
    hook = await sender.add_webhook("https://example.jp/hook", ["delivered"])
    await _until(sender, good.message_id, "delivered")
    await _until(sender, bad.message_id, "rejected")
    mine = next(session for session in await sender.sessions() if session.current)
    async with httpx.AsyncClient(base_url=product.address, timeout=60) as http:
        document = (await http.get("/openapi.json")).json()
        yield Scene(
            http,
            {office: client.session.access_token for office, client in clients.items() if client.session},
            good.message_id,
            bad.message_id,
            {"webhook": str(hook.id), "session": str(mine.id), "user": product.login_of(SENDER)[0]},
            [f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods],
        )
    await sender.remove_webhook(hook.id)
    for client in clients.values():
        await client.close()


async def test_every_endpoint_is_covered(scene: Scene) -> None:
    with_id = {endpoint for endpoint in scene.endpoints if "{" in endpoint}
    assert with_id == OF_A_MESSAGE.keys() | OF_ANOTHER_THING.keys() | NOBODYS
    assert set(scene.endpoints) >= WITHOUT_SESSION | PUBLIC


async def test_a_foreign_message_is_no_message(scene: Scene) -> None:
    ids = Ports.real().ids

    async def compare(office: str, endpoint: str) -> None:
        token = scene.tokens[office]
        foreign, unknown, odd = await asyncio.gather(
            scene.ask(endpoint, token, message_id=scene.delivered),
            scene.ask(endpoint, token, message_id=ids.uuid7()),
            scene.ask(endpoint, token, message_id="00000000-0000-0000-0000-000000000000"),
        )
        assert foreign == unknown == odd, (office, endpoint)
        assert foreign[0] == 404, (office, endpoint, foreign)

    for office in scene.strangers:
        await asyncio.gather(*(compare(office, endpoint) for endpoint in OF_A_MESSAGE))


async def test_the_recipient_knows_nothing_of_a_message_that_did_not_arrive(scene: Scene) -> None:
    token, ids = scene.tokens[RECIPIENT], Ports.real().ids

    async def compare(endpoint: str) -> None:
        foreign, unknown = await asyncio.gather(
            scene.ask(endpoint, token, message_id=scene.rejected), scene.ask(endpoint, token, message_id=ids.uuid7())
        )
        assert foreign == unknown, endpoint
        assert foreign[0] == 404, endpoint

    await asyncio.gather(*map(compare, OF_A_MESSAGE))


async def test_each_side_has_its_own_rights(scene: Scene) -> None:
    recall, receipt = "POST /v1/messages/{message_id}/recall", "POST /v1/messages/{message_id}/receipt"
    unknown = await scene.ask(recall, scene.tokens[RECIPIENT], message_id=Ports.real().ids.uuid7())
    assert await scene.ask(recall, scene.tokens[RECIPIENT], message_id=scene.delivered) == unknown
    assert unknown[0] == 404
    assert (await scene.ask(receipt, scene.tokens[SENDER], message_id=scene.delivered))[0] == 403


async def test_what_else_belongs_to_an_office_or_person_is_theirs(scene: Scene) -> None:
    nothing = str(Ports.real().ids.uuid7())
    for endpoint, thing in OF_ANOTHER_THING.items():
        name = endpoint.partition("{")[2].partition("}")[0]
        for office in (RECIPIENT, *scene.strangers):
            foreign = await scene.ask(endpoint, scene.tokens[office], **{name: scene.things[thing]})
            unknown_id = NOBODY if thing == "user" else nothing
            unknown = await scene.ask(endpoint, scene.tokens[office], **{name: unknown_id})
            assert foreign == unknown, (office, endpoint)
            assert foreign[0] in (403, 404), (office, endpoint, foreign)
    assert (await scene.ask("GET /v1/sent", scene.tokens[SENDER]))[0] == 200, "somebody ended the sender's session"


async def test_no_list_shows_a_foreign_message(scene: Scene) -> None:
    lists = [e for e in scene.endpoints if e.startswith("GET /v1/") and "{" not in e and e != "GET /v1/stream"]
    for office in scene.strangers:
        for endpoint in lists:
            _, body = await scene.ask(endpoint, scene.tokens[office])
            assert str(scene.delivered) not in body, (office, endpoint)
            assert str(scene.rejected) not in body, (office, endpoint)
    for endpoint in lists:
        _, body = await scene.ask(endpoint, scene.tokens[RECIPIENT])
        assert str(scene.rejected) not in body, endpoint


async def test_without_a_session_there_is_nothing(scene: Scene) -> None:
    forged = scene.tokens[SENDER][:-8] + "AAAAAAAA"
    for endpoint in scene.endpoints:
        if endpoint in WITHOUT_SESSION | PUBLIC:
            continue
        ids = {"message_id": scene.delivered, "webhook_id": scene.things["webhook"], "session": scene.things["session"]}
        for token in (None, "unknown", forged):
            status, body = await scene.ask(endpoint, token, **ids)
            assert status == 401, (endpoint, token, status, body)
            assert str(scene.delivered) not in body


async def test_the_process_that_works_serves_no_office(product: Product, scene: Scene) -> None:
    """It does not follow which sessions were ended, so no token may be good for anything there."""
    mine = {"Authorization": f"Bearer {scene.tokens[SENDER]}"}
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{product.port + 2}", timeout=30) as http:
        assert (await http.get("/health/live")).status_code == 200
        for endpoint in scene.endpoints:
            method, _, path = endpoint.partition(" ")
            assert (await http.request(method, path, headers=mine)).status_code == 404, endpoint


async def test_a_role_may_do_no_more_with_the_installed_database_than_connect(product: Product) -> None:
    """What a copy of a database does not take over, so that the tests of single tables cannot see it."""
    settings = ground.settings_of(product.home, product.address)
    secrets = Secrets(RootKey.load_or_create(settings.keys / "root.key", Ports.real().ids).material)
    target = connection_target(settings.postgres.get_secret_value())
    for service in SERVICES:
        for role in (f"{service}_worker", f"{service}_api"):
            db = await asyncpg.connect(**target, user=role, password=secrets.password(role))
            try:
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await db.execute("CREATE TEMPORARY TABLE mine (x int)")
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await db.execute("CREATE SCHEMA mine")
            finally:
                await db.close()


async def _until(client: AsyncClient, message_id: UUID, status: str) -> None:
    for _ in range(600):
        if (await client.message(message_id)).status == status:
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"not {status}")
