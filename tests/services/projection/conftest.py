"""Stories of messages as the other services would tell them, and a projection that hears them."""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from todoke.events import (
    Actor,
    ContentOpened,
    Counts,
    Delivered,
    Downloaded,
    Erased,
    Expired,
    MessageAccepted,
    MessageDiscarded,
    MessageEvent,
    MessageHeld,
    MessageRejected,
    MessageReleased,
    MessageRouted,
    MessageSubmitted,
    MessageUndeliverable,
    Package,
    Part,
    Pointer,
    Recalled,
    RecallRequested,
    ReminderDue,
)
from todoke.relay.clock import Ports
from todoke.relay.manifest import (
    REASON_LABEL,
    RECEIPT_LABEL,
    Manifest,
    ManifestFile,
    Submitter,
    seal_manifest,
    seal_text,
)
from todoke.relay.objects import ObjectExists
from todoke.relay.postgres import Database, Statements
from todoke.relay.seal import Binding, epoch_of
from todoke.relay.service import Shared
from todoke.relay.settings import S3Settings
from todoke.relay.testing import Stage, fresh_database, manual_ports, secrets_of_home, settings_for

SYSTEM = Actor(kind="system", id="test")
SENDER = "9970100018"
RECIPIENT = "9970100117"
STRANGER = "9970100216"
FILE_NAME = "UPPLAN_202509_9970100018_43_9970100117_11_20250825121901.CSV"
TEXT = "来月分です。ヘルパーさんによろしく。"
PDF_NAME = "地図（山田様宅）.pdf"


class Story:
    """One message; each method is one fact about it, at a moment of its own."""

    def __init__(
        self,
        ports: Ports,
        seal: Callable[[str, str, Binding], str],
        *,
        sender: str = SENDER,
        recipient: str = RECIPIENT,
        place: int = 0,
        text: str = TEXT,
        names: tuple[str, ...] = (FILE_NAME, PDF_NAME),
        months: tuple[str, ...] = ("202509",),
        service_type: str | None = "11",
        sequence: str = "20250825121901",
    ) -> None:
        self._clock = ports.clock
        self.message_id = ports.ids.uuid7()
        self.sender, self.recipient = sender, recipient
        self.binding = Binding(self.message_id, sender, recipient, epoch_of(self.message_id))
        self._seal = seal
        self.names = names
        self.submitted_at = self._clock.now()
        self.sha256s = [hashlib.sha256(f"{self.message_id}{name}".encode()).hexdigest() for name in names]
        self.package = Package(
            sequence=sequence,
            csv_version="202407",
            months=months,
            sender_name="やまびこ居宅介護支援",
            recipient_name="訪問介護ひなた",
            sender_service="43",
            service_type=service_type,
            submitted_at=self.submitted_at,
            place=place,
            object_key=f"message/{self.message_id}",
            epoch=self.binding.epoch,
            parts=tuple(self._part(n, name) for n, name in enumerate(names, 1)),
            manifest=self._manifest(text),
        )

    @property
    def base(self) -> dict[str, Any]:
        return {"actor": SYSTEM, "message_id": self.message_id, "sender": self.sender, "recipient": self.recipient}

    def _part(self, n: int, name: str) -> Part:
        data = name.endswith(".CSV")
        return Part(
            ordinal=n,
            role="data" if data else "attachment",
            kind=name.split("_", maxsplit=1)[0] if data else None,
            size=100 * n,
            offset=0,
            length=100 * n + 28,
            sealed_sha256=hashlib.sha256(name.encode()).hexdigest(),
            commitment="00",
        )

    def _manifest(self, text: str) -> str:
        files = tuple(
            ManifestFile(n=n, name=name, sha256=sha, size=100 * n)
            for n, (name, sha) in enumerate(zip(self.names, self.sha256s, strict=True), 1)
        )
        manifest = Manifest(text=text, by=Submitter(user="c0000000018", name="佐藤"), salt="00" * 32, files=files)
        return self._seal("manifest", manifest.model_dump_json(), self.binding)

    def submitted(self) -> MessageSubmitted:
        return MessageSubmitted(
            **{**self.base, "actor": Actor(kind="person", id="c0000000018")},
            package=self.package,
            sender_version=1,
            recipient_version=1,
            idempotency_hmac="00",
            sequence_hmac="00",
            content_hmac="00",
            receipt_sealed=self._seal(RECEIPT_LABEL, f"submission.{self.message_id}", self.binding),
        )

    def accepted(self, warnings: int = 1) -> MessageAccepted:
        findings = tuple(
            Pointer(code="TDK-VERSION-OLD", severity="warning", part=1, row=n + 1, column=3, column_name="対象年月")
            for n in range(min(warnings, 3))
        )
        return MessageAccepted(
            **self.base,
            package=self.package,
            sender_version=1,
            recipient_version=1,
            counts=Counts(warnings=warnings),
            findings=findings,
        )

    def rejected(self) -> MessageRejected:
        findings = (
            Pointer(code="TDK-VERSION-OLD", severity="warning", part=1),
            Pointer(code="TDK-NAME-CONTENT", severity="error", part=1, row=12, column=7, column_name="事業所番号"),
        )
        return MessageRejected(
            **self.base, counts=Counts(errors=1, warnings=1), findings=findings, rejected_at=self._clock.now()
        )

    def routed(self, warnings: int = 1) -> MessageRouted:
        return MessageRouted(**self.base, package=self.package, counts=Counts(warnings=warnings))

    def undeliverable(self) -> MessageUndeliverable:
        return MessageUndeliverable(**self.base, reason="TDK-OFFICE-NOT-TAKING-PART", decided_at=self._clock.now())

    def delivered(self, number: int, warnings: int = 1) -> Delivered:
        return Delivered(
            **self.base,
            package=self.package,
            counts=Counts(warnings=warnings),
            delivery_no=number,
            delivered_at=self._clock.now(),
        )

    def opened(self) -> ContentOpened:
        return ContentOpened(
            **{**self.base, "actor": Actor(kind="person", id="c0000000117")}, opened_at=self._clock.now()
        )

    def downloaded(self, number: int) -> Downloaded:
        return Downloaded(
            **{**self.base, "actor": Actor(kind="person", id="c0000000117")},
            delivery_no=number,
            downloaded_at=self._clock.now(),
            receipt_sealed=self._seal(RECEIPT_LABEL, f"download.{self.message_id}", self.binding),
        )

    def recall_requested(self) -> RecallRequested:
        return RecallRequested(
            **{**self.base, "actor": Actor(kind="person", id="c0000000018")},
            requested_at=self._clock.now(),
            reason_sealed=self._seal(REASON_LABEL, "送り先をまちがえました", self.binding),
        )

    def recalled(self, number: int | None) -> Recalled:
        return Recalled(
            **{**self.base, "actor": Actor(kind="person", id="c0000000018")},
            delivery_no=number,
            recalled_at=self._clock.now(),
            reason_sealed=self._seal(REASON_LABEL, "送り先をまちがえました", self.binding),
        )

    def reminder(self, days: int = 7) -> ReminderDue:
        return ReminderDue(**self.base, days=days, due_at=self._clock.now())

    def expired(self, number: int) -> Expired:
        return Expired(**self.base, delivery_no=number, expired_at=self._clock.now())

    def erased(self, number: int | None) -> Erased:
        return Erased(**self.base, delivery_no=number, erased_at=self._clock.now())

    def held(self, nth: int = 1) -> MessageHeld:
        return MessageHeld(**self.base, cause="parked", held_at=self._clock.now(), nth=nth)

    def released(self, nth: int = 1) -> MessageReleased:
        return MessageReleased(**self.base, released_at=self._clock.now(), nth=nth)

    def discarded(self) -> MessageDiscarded:
        return MessageDiscarded(**self.base, discarded_at=self._clock.now())

    def until_delivered(self, number: int, warnings: int = 1) -> list[MessageEvent]:
        """The whole way into the mailbox."""
        return [self.submitted(), self.accepted(warnings), self.routed(warnings), self.delivered(number, warnings)]


tables = Statements(Path(__file__).with_name("tables.sql").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def read_set(engines: Any, run_home: Path) -> str:
    """DSN of a database that holds this service's schema only, one for the worker: making one costs two seconds."""

    async def make() -> str:
        async with contextlib.AsyncExitStack() as stack:
            secrets = secrets_of_home(run_home, manual_ports())
            dsn = await stack.enter_async_context(fresh_database(engines.postgres, secrets, ["projection"]))
            stack.pop_all()  # it goes with the server of this run
            return dsn

    return asyncio.run(make())


@pytest.fixture
async def shared(engines: Any, run_home: Path, ports: Ports, read_set: str) -> AsyncIterator[Shared]:
    """Keys, objects, and an empty read set."""
    s3 = S3Settings(
        endpoint=engines.s3.endpoint,
        access_key=engines.s3.access_key,
        secret_key=engines.s3.secret_key,
        bucket=engines.s3.bucket,
        region=engines.s3.region,
    )
    shared = await Shared.open(settings_for(run_home, postgres=read_set, s3=s3), ports)
    await shared.objects.ensure_bucket()
    try:
        yield shared
    finally:
        await shared.close()


@pytest.fixture
async def projection(on_stage: Callable[[str], Awaitable[Stage]]) -> Stage:
    """The service on real engines, with empty lists."""
    stage = await on_stage("projection")
    await forget_everything(stage.db)
    return stage


async def forget_everything(db: Database) -> None:
    """Empty the read set."""
    async with db.worker() as tx:
        await tables.forget_everything(tx.db)


@pytest.fixture
async def tell(shared: Shared) -> Callable[..., Story]:
    """`tell(recipient="…")`: a new message, its manifest sealed as ingest would."""
    epoch = epoch_of(shared.ports.ids.uuid7())
    if await shared.key_objects(epoch) is None:
        with contextlib.suppress(ObjectExists):  # another test worker was first: its key is the one
            await shared.key_objects.publish(epoch, shared.root.new_month_key(epoch))
    month_key = await shared.keys.key(epoch)

    def seal(label: str, text: str, binding: Binding) -> str:
        if label == "manifest":
            manifest = Manifest.model_validate_json(text)
            return seal_manifest(manifest, shared.seal, month_key=month_key, binding=binding)
        return seal_text(text, shared.seal, month_key=month_key, binding=binding, label=label)

    def told(**facts: Any) -> Story:
        return Story(shared.ports, seal, **facts)

    return told


class Office:
    """One office that reads; further claims go into its token."""

    def __init__(self, projection: Stage, client: httpx.AsyncClient, number: str, **claims: Any) -> None:
        self._client = client
        self.headers = projection.token(number, **claims)

    async def get(self, url: str, headers: dict[str, str] | None = None, **query: Any) -> httpx.Response:
        return await self._client.get(url, params=query or None, headers={**self.headers, **(headers or {})})

    async def items(self, box: str, **query: Any) -> list[dict[str, Any]]:
        answer = await self.get(f"/v1/{box}", **query)
        assert answer.status_code == 200, answer.text
        items: list[dict[str, Any]] = answer.json()["items"]
        return items

    async def search(self, **body: Any) -> httpx.Response:
        return await self._client.post("/v1/search", json=body, headers=self.headers)


@pytest.fixture
async def client(projection: Stage) -> AsyncIterator[httpx.AsyncClient]:
    """The service's HTTP side."""
    async with projection.client() as made:
        yield made


@pytest.fixture
def office(projection: Stage, client: httpx.AsyncClient) -> Callable[..., Office]:
    """`office("9970100018")`: that office."""

    def made(number: str, **claims: Any) -> Office:
        return Office(projection, client, number, **claims)

    return made


@pytest.fixture
def sender(office: Callable[..., Office]) -> Office:
    """The office that sends."""
    return office(SENDER)


@pytest.fixture
def recipient(office: Callable[..., Office]) -> Office:
    """The office that receives."""
    return office(RECIPIENT, user="c0000000117")
