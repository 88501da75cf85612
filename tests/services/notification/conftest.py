"""Notification on stage, with a real mail server and a real receiver of webhooks on loopback."""

import asyncio
import dataclasses
import email.message
import email.policy
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from aiohttp import web
from aiosmtpd.controller import Controller

from todoke.events import (
    Actor,
    Counts,
    Delivered,
    Downloaded,
    Event,
    Expired,
    MessageRejected,
    MessageUndeliverable,
    OfficeFacts,
    OfficeRegistered,
    Package,
    Recalled,
    ReminderDue,
)
from todoke.relay.service import Shared
from todoke.relay.settings import MailSettings
from todoke.relay.testing import Stage

OWN = "9970100018"
PARTNER = "9970100117"
OTHER = "9970100216"
SYSTEM = Actor(kind="system", id="test")


class Postbox:
    """An SMTP server's handler that keeps what arrives, or refuses it with `refusal`."""

    def __init__(self) -> None:
        self.mails: list[email.message.EmailMessage] = []
        self.refusal: str | None = None

    async def handle_RCPT(  # noqa: N802 (aiosmtpd calls it so)
        self, _: Any, __: Any, envelope: Any, address: str, options: Any
    ) -> str:
        """Refuse, or take the address."""
        del options
        if self.refusal is not None:
            return self.refusal
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _: Any, __: Any, envelope: Any) -> str:  # noqa: N802 (aiosmtpd calls it so)
        """Keep the mail."""
        parsed = email.message_from_bytes(envelope.content, policy=email.policy.default)
        assert isinstance(parsed, email.message.EmailMessage)
        self.mails.append(parsed)
        return "250 OK"


@dataclasses.dataclass
class Receiver:
    """A webhook receiver: keeps (headers, body) and answers `status`."""

    url: str = ""
    status: int = 204
    headers: dict[str, str] = dataclasses.field(default_factory=dict)
    pause: float = 0
    calls: list[tuple[dict[str, str], bytes]] = dataclasses.field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        """One call."""
        self.calls.append(({name.lower(): value for name, value in request.headers.items()}, await request.read()))
        await asyncio.sleep(self.pause)
        return web.Response(status=self.status, headers=self.headers)


@pytest.fixture
def postbox(unused_tcp_port: int) -> Any:
    """A running mail server and what it got."""
    box = Postbox()
    controller = Controller(box, hostname="127.0.0.1", port=unused_tcp_port)
    controller.start()
    box.port = unused_tcp_port  # type: ignore[attr-defined]
    yield box
    controller.stop()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A running receiver of webhooks."""
    known = Receiver()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", known.answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    known.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    yield known
    await runner.cleanup()


@pytest.fixture
async def notification(shared: Shared, postbox: Any, on_stage: Callable[[str], Awaitable[Stage]]) -> Stage:
    """The service, with the mail server, allowed to call receivers on this machine."""
    shared.settings = shared.settings.model_copy(
        update={
            "mail": MailSettings(host="127.0.0.1", port=postbox.port, sender="todoke@example.jp"),
            "webhooks_to_private_addresses": True,
        }
    )
    stage = await on_stage("notification")
    names = {OWN: "あおぞら居宅介護支援事業所", PARTNER: "そよかぜ訪問介護センター", OTHER: "ひだまり福祉用具"}
    await stage.hear(
        *[
            OfficeRegistered(
                actor=SYSTEM, office=number, version=1, facts=OfficeFacts(name=name, participation="active")
            )
            for number, name in names.items()
        ]
    )
    return stage


@dataclasses.dataclass
class Teller:
    """Makes events of messages between two offices."""

    shared: Shared
    number: int = 0

    def base(self, sender: str = PARTNER, recipient: str = OWN, message_id: UUID | None = None) -> dict[str, Any]:
        """What every message event has."""
        return {
            "actor": SYSTEM,
            "message_id": message_id or self.shared.ports.ids.uuid7(),
            "sender": sender,
            "recipient": recipient,
        }

    def delivered(self, sender: str = PARTNER, recipient: str = OWN) -> Delivered:
        """A message in the mailbox of `recipient`."""
        self.number += 1
        now = self.shared.ports.clock.now()
        package = Package(
            sequence="20250901120000",
            sender_name="名",
            recipient_name="名",
            submitted_at=now,
            object_key="message/x",
            epoch="2025-09",
            manifest="c2VhbGVk",
        )
        return Delivered(
            **self.base(sender, recipient),
            package=package,
            counts=Counts(),
            delivery_no=self.number,
            delivered_at=now,
        )

    def all_kinds(self) -> list[Event]:
        """One event of every kind that concerns OWN, each of a message of its own."""
        now = self.shared.ports.clock.now()
        return [
            self.delivered(),
            Downloaded(**self.base(OWN, PARTNER), delivery_no=1, downloaded_at=now, receipt_sealed="x"),
            Recalled(**self.base(), delivery_no=2, recalled_at=now),
            Recalled(**self.base(), delivery_no=None, recalled_at=now),
            Expired(**self.base(OWN, PARTNER), delivery_no=3, expired_at=now),
            ReminderDue(**self.base(), days=7, due_at=now),
        ]

    def rejected(self) -> MessageRejected:
        """A message of OWN that breaks the standard."""
        return MessageRejected(
            **self.base(OWN, PARTNER), counts=Counts(errors=1), rejected_at=self.shared.ports.clock.now()
        )

    def undeliverable(self) -> MessageUndeliverable:
        """A message of OWN that could not be delivered."""
        now = self.shared.ports.clock.now()
        return MessageUndeliverable(**self.base(OWN, PARTNER), reason="TDK-UNKNOWN-OFFICE", decided_at=now)


@pytest.fixture
def teller(shared: Shared) -> Teller:
    """Makes events."""
    return Teller(shared)


class Crash(Exception):  # noqa: N818 (named for what happens)
    """The process dies."""


class CrashAt:
    """Dies at a named point, once."""

    def __init__(self, name: str) -> None:
        self.name: str | None = name

    def reach(self, name: str) -> None:
        """Die here."""
        if name == self.name:
            self.name = None
            raise Crash


@pytest.fixture
def crash_at(notification: Stage) -> Callable[[str], type[Exception]]:
    """`with pytest.raises(crash_at("point"))`: the next time this point is reached, everything after it is lost."""

    def arm(name: str) -> type[Exception]:
        object.__setattr__(notification.runtime.ports, "crash", CrashAt(name))
        return Crash

    return arm


Run = Callable[[str], Awaitable[None]]


@pytest.fixture
def tick(notification: Stage) -> Run:
    """Run one of the service's timers once, by the last part of its name."""

    async def run(name: str) -> None:
        timer = next(one for one in notification.service.timers if one.name == f"notification.{name}")
        await timer.run()

    return run


@pytest.fixture
def pass_time(notification: Stage) -> Callable[..., None]:
    """Move the clock."""

    def move(**by: float) -> None:
        notification.runtime.ports.clock.move(timedelta(**by))  # type: ignore[attr-defined]

    return move
