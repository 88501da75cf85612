"""Messages as ingest leaves them: sealed in object storage, and the events that speak of them."""

import asyncio
import contextlib
import dataclasses
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

import httpx
import pytest

from todoke.events import (
    Actor,
    Counts,
    MessageDiscarded,
    MessageRejected,
    MessageRouted,
    MessageSubmitted,
    MessageUndeliverable,
    Package,
    Part,
)
from todoke.relay.bundle import build_bundle
from todoke.relay.manifest import SALT_BYTES, Manifest, ManifestFile, Submitter, seal_manifest
from todoke.relay.objects import ObjectExists, message_key
from todoke.relay.seal import Binding, commitment, epoch_of
from todoke.relay.service import Shared
from todoke.relay.testing import Stage

SYSTEM = Actor(kind="system", id="test")
CSV_NAME = "UPPLAN_202509_提供票.CSV"
CSV = "利用者,予定\r\n".encode("cp932")
PDF = b"%PDF-1.7 practice\n"


@dataclasses.dataclass(frozen=True)
class Sent:
    """One message: everything that the tests compare."""

    message_id: UUID
    sender: str
    recipient: str
    package: Package
    files: Mapping[str, bytes]

    @property
    def base(self) -> dict[str, Any]:
        return {"actor": SYSTEM, "message_id": self.message_id, "sender": self.sender, "recipient": self.recipient}

    @property
    def submitted(self) -> MessageSubmitted:
        return MessageSubmitted(
            **self.base,
            package=self.package,
            sender_version=1,
            recipient_version=1,
            idempotency_hmac="00",
            sequence_hmac="00",
            content_hmac="00",
            receipt_sealed="AA==",
        )

    @property
    def routed(self) -> MessageRouted:
        return MessageRouted(**self.base, package=self.package, counts=Counts(warnings=1))

    @property
    def rejected(self) -> MessageRejected:
        return MessageRejected(**self.base, counts=Counts(errors=1), rejected_at=self.package.submitted_at)

    @property
    def undeliverable(self) -> MessageUndeliverable:
        return MessageUndeliverable(**self.base, reason="TDK-SUSPENDED", decided_at=self.package.submitted_at)

    @property
    def discarded(self) -> MessageDiscarded:
        return MessageDiscarded(**self.base, discarded_at=self.package.submitted_at)

    @property
    def hashes(self) -> list[str]:
        return [hashlib.sha256(data).hexdigest() for data in self.files.values()]

    @property
    def url(self) -> str:
        return f"/v1/messages/{self.message_id}"


class Post:
    """Hands in messages as ingest would."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared

    async def send(self, sender: str, recipient: str, files: Mapping[str, bytes] | None = None) -> Sent:
        """One message, its bytes in object storage."""
        return (await self.send_together(sender, recipient, [{CSV_NAME: CSV} if files is None else files]))[0]

    async def send_together(self, sender: str, recipient: str, files: Sequence[Mapping[str, bytes]]) -> list[Sent]:
        """Several messages that share one object."""
        ids = [self._shared.ports.ids.uuid7() for _ in files]
        key = message_key(ids[0])
        at, bundles, sent = 0, [], []
        for place, (message_id, named) in enumerate(zip(ids, files, strict=True)):
            package, bundle = await self._package(message_id, sender, recipient, named, key, at, place)
            at += len(bundle)
            bundles.append(bundle)
            sent.append(Sent(message_id, sender, recipient, package, named))
        if at:
            await self._shared.objects.put(key, b"".join(bundles))
        return sent

    async def _package(
        self, message_id: UUID, sender: str, recipient: str, files: Mapping[str, bytes], key: str, at: int, place: int
    ) -> tuple[Package, bytes]:
        epoch = epoch_of(message_id)
        binding = Binding(message_id, sender, recipient, epoch)
        month_key, seal = await self._month_key(epoch), self._shared.seal
        salt = self._shared.ports.ids.secret(SALT_BYTES)
        sealed = [
            seal.seal(data, month_key=month_key, binding=binding, label=f"part:{n}")
            for n, data in enumerate(files.values(), 1)
        ]
        bundle, spans = build_bundle(sealed, at)
        manifest = Manifest(
            text="よろしくお願いします。",
            by=Submitter(user="c1"),
            salt=salt.hex(),
            files=tuple(
                ManifestFile(n=n, name=name, sha256=hashlib.sha256(data).hexdigest(), size=len(data))
                for n, (name, data) in enumerate(files.items(), 1)
            ),
        )
        parts = tuple(
            Part(
                ordinal=n,
                role="data" if name.endswith(".CSV") else "attachment",
                kind="UPPLAN" if name.endswith(".CSV") else None,
                size=len(data),
                offset=span.offset,
                length=span.length,
                sealed_sha256=hashlib.sha256(box).hexdigest(),
                commitment=commitment(salt, data),
            )
            for n, ((name, data), box, span) in enumerate(zip(files.items(), sealed, spans, strict=True), 1)
        )
        package = Package(
            sequence="20250825121901",
            csv_version="202407",
            months=("202509",),
            sender_name="居宅",
            recipient_name="訪問",
            submitted_at=self._shared.ports.clock.now(),
            place=place,
            object_key=key,
            epoch=epoch,
            parts=parts,
            manifest=seal_manifest(manifest, seal, month_key=month_key, binding=binding),
        )
        return package, bundle

    async def _month_key(self, epoch: str) -> bytes:
        if await self._shared.key_objects(epoch) is None:
            with contextlib.suppress(ObjectExists):  # another test worker was first: its key is the one
                await self._shared.key_objects.publish(epoch, self._shared.root.new_month_key(epoch))
        return await self._shared.keys.key(epoch)


@pytest.fixture
def post(shared: Shared) -> Post:
    """Messages ready to be heard of."""
    return Post(shared)


@pytest.fixture
async def storage(on_stage: Callable[[str], Awaitable[Stage]]) -> Stage:
    """The service on real engines."""
    return await on_stage("storage")


@pytest.fixture
async def client(storage: Stage) -> AsyncIterator[httpx.AsyncClient]:
    """Its HTTP side."""
    async with storage.client() as made:
        yield made


class Office:
    """One office at the counter: every call with its own token."""

    def __init__(self, storage: Stage, client: httpx.AsyncClient, number: str, **claims: Any) -> None:
        self._storage, self._client, self._number, self._claims = storage, client, number, claims

    async def get(self, url: str, **headers: str) -> httpx.Response:
        token = self._storage.token(self._number, **self._claims)
        return await self._client.get(url, headers={**token, **headers})

    async def post(self, url: str, body: object) -> httpx.Response:
        return await self._client.post(url, json=body, headers=self._storage.token(self._number, **self._claims))

    async def receive(self, sent: Sent) -> httpx.Response:
        return await self.post(f"{sent.url}/receipt", {"sha256": sent.hashes})

    async def recall(self, sent: Sent) -> httpx.Response:
        return await self.post(f"{sent.url}/recall", {"reason": "送り先をまちがえました"})


@pytest.fixture
def office(storage: Stage, client: httpx.AsyncClient) -> Callable[..., Office]:
    """`office("9970100018")`: that office; further claims go into its token."""

    def made(number: str, **claims: Any) -> Office:
        return Office(storage, client, number, **claims)

    return made


async def together(*calls: Awaitable[Any]) -> list[Any]:
    """All at once."""
    return list(await asyncio.gather(*calls))
