"""One product for all races, and ways to call it."""

import contextlib
import dataclasses
import io
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from tests.races.product import RECIPIENT, SENDER, Product, fetch, said
from todoke.engines import Addresses
from todoke.relay.clock import Ports
from todoke.relay.service import Shared
from todoke.relay.testing import operator_token, token_for


@pytest.fixture(scope="session")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """The product in processes."""
    with Product(tmp_path_factory.mktemp("product")) as made:
        yield made


@pytest.fixture(scope="session")
def engines(product: Product) -> Addresses:
    """The engines of the product serve also the races that need no process: one set is enough."""
    return product.engines


@pytest.fixture(scope="session")
def run_home(product: Product) -> Path:
    """Passwords of roles belong to the server: whoever makes a database there must derive the product's."""
    return product.home


def png(image: Image.Image) -> bytes:
    """A picture as a file."""
    made = io.BytesIO()
    image.save(made, "PNG")
    return made.getvalue()


PICTURE = png(Image.new("RGB", (8, 8), "white"))


@dataclasses.dataclass
class Counter:
    """Both web processes, and whoever calls them."""

    product: Product
    shared: Shared
    webs: Sequence[httpx.AsyncClient]

    def token(self, office: str, **claims: Any) -> dict[str, str]:
        """An Authorization header of a person at an office."""
        return {"Authorization": f"Bearer {token_for(self.shared, office, **claims)}"}

    def operator(self) -> dict[str, str]:
        """An Authorization header of an operator."""
        return {"Authorization": f"Bearer {operator_token(self.shared)}"}

    async def send(
        self, web: int, body: dict[str, Any], files: Sequence[tuple[str, bytes]] = (), *, key: str, sender: str = SENDER
    ) -> httpx.Response:
        """Hand in a message at one of the two processes."""
        parts: list[tuple[str, Any]] = [("message", (None, json.dumps(body).encode(), "application/json"))]
        parts += [("files", (name, data, "application/octet-stream")) for name, data in files]
        headers = {**self.token(sender), "Idempotency-Key": key}
        return await self.webs[web % 2].post("/v1/messages", files=parts, headers=headers)

    async def send_together(
        self, keys: Sequence[str], *, recipient: str = RECIPIENT, picture: bytes | None = None
    ) -> list[str]:
        """Messages that share an object, or of text alone; answers their ids."""
        files = [] if picture is None else ["f1"]
        messages = [
            {"recipient": recipient, "text": "よろしくお願いします。", "idempotency_key": key, "files": files}
            for key in keys
        ]
        parts: dict[str, Any] = {"messages": (None, json.dumps(messages).encode(), "application/json")}
        if picture is not None:
            parts["f1"] = ("図.png", picture)
        answer = await self.webs[0].post("/v1/batches", files=parts, headers=self.token(SENDER))
        assert answer.status_code == 200, answer.text
        results = answer.json()["results"]
        assert all(one.get("message_id") for one in results), results
        return [one["message_id"] for one in results]

    async def listed(self, box: str, office: str, message_id: str, status: str) -> dict[str, Any]:
        """The message as an office sees it, once its list has this status."""
        item: dict[str, Any] = {}
        for web in range(10):
            listed = await self.get(web, office, f"/v1/{box}?wait_for={message_id}:{status}&limit=1")
            assert listed.status_code == 200, listed.text
            item = (await self.get(web, office, f"/v1/messages/{message_id}")).json()
            if item.get("status") == status:
                return item
        raise AssertionError(f"{message_id} is never {status} in {box}: {item}")

    async def get(self, web: int, office: str, path: str) -> httpx.Response:
        """A GET at one of the two processes."""
        return await self.webs[web % 2].get(path, headers=self.token(office))

    async def post(self, web: int, office: str, path: str, body: Any, **claims: Any) -> httpx.Response:
        """A POST at one of the two processes."""
        return await self.webs[web % 2].post(path, json=body, headers=self.token(office, **claims))

    async def receive(self, web: int, message_id: str, hashes: Sequence[str] = (), **claims: Any) -> httpx.Response:
        """A receipt of the recipient."""
        path = f"/v1/messages/{message_id}/receipt"
        return await self.post(web, RECIPIENT, path, {"sha256": list(hashes)}, **claims)

    async def recall(self, web: int, message_id: str) -> httpx.Response:
        """A recall of the sender."""
        return await self.post(web, SENDER, f"/v1/messages/{message_id}/recall", {"reason": "送り先をまちがえました"})

    async def fetch(self, query: str, *values: object) -> list[Any]:
        """Rows of the database, as its administrator."""
        return await fetch(self.product.dsn, query, *values)

    async def said(self, service: str, message_ids: Sequence[str]) -> dict[str, list[str]]:
        """What a service said of each of these messages."""
        return await said(self.product.dsn, service, message_ids)


@pytest.fixture
async def counter(product: Product) -> AsyncIterator[Counter]:
    """Both web processes; none of the product's processes may end meanwhile."""
    limits = httpx.Limits(max_connections=64, max_keepalive_connections=64)
    async with contextlib.AsyncExitStack() as stack:
        shared = await Shared.open(product.settings, Ports.real())
        stack.push_async_callback(shared.close)
        webs = [
            await stack.enter_async_context(httpx.AsyncClient(base_url=address, limits=limits, timeout=30))
            for address in product.addresses
        ]
        yield Counter(product, shared, webs)
    assert product.ended() == []
