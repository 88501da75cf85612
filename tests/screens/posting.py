"""Messages for the tests of the screens: sent through the public API as care software sends them."""

import io
import re
import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Self
from uuid import UUID

import pikepdf

import careplan
from tests.screens.browsing import Desk
from todoke.client import Client, Outgoing, Upload
from todoke.client.shapes import Message

MANAGER, HELPER = "9970100018", "9970100117"
"""The practice pair that the samples are made for: 居宅介護支援 and 訪問介護."""

PLAN, RESULTS, CARE_PLAN = (
    "202407/plan_67_to_provider_a",
    "202407/results_from_provider_a",
    "202407/plan_123_to_provider_a",
)
OLD_RESULTS = "202208/results_from_provider_a"


class Post:
    """Sends as any practice office, and waits until it has arrived."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._open = ExitStack()
        self._clients: dict[str, Client] = {}
        # Somewhere in the last half year: a stack that is used again has seen the sequences of the run before.
        self._sequence = datetime.now(UTC) - timedelta(seconds=secrets.randbelow(180 * 86400))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *ended: object) -> None:
        self._open.close()

    def office(self, number: str) -> Client:
        """A program of this office, logged in once for all tests."""
        if number not in self._clients:
            office = self._desk.office(number)
            client = self._open.enter_context(Client(self._desk.url))
            client.login(office.c_id, office.c_password, office.kj_id, office.kj_password)
            self._clients[number] = client
        return self._clients[number]

    def next_sequence(self) -> str:
        """A 連番 that was not used before."""
        self._sequence += timedelta(seconds=1)
        return self._sequence.strftime("%Y%m%d%H%M%S")

    def sample(self, folder: str) -> list[Upload]:
        """A valid set of the standard under a new 連番."""
        members = careplan.sample_sets()[folder]
        old = re.search(r"(\d{14})\.", members[0][0])
        assert old is not None
        sequence = self.next_sequence()
        return [Upload(name.replace(old[1], sequence), data) for name, data in members]

    def send(
        self,
        sender: str,
        recipient: str,
        files: Sequence[Upload] = (),
        text: str | None = None,
        *,
        until: str = "delivered",
    ) -> UUID:
        """Send a message and wait until its sender's list says so; answers its id."""
        sent = self.office(sender).send(recipient, text=text, files=files)
        self.wait(sender, sent.message_id, until)
        return sent.message_id

    def wait(self, office: str, message_id: UUID, status: str) -> Message:
        """Wait until a message has got so far."""
        message = self.office(office).message(message_id)
        for _ in range(30):
            if message.status == status:
                return message
            self.office(office).sent(wait_for=f"{message_id}:{status}", limit=1)
            message = self.office(office).message(message_id)
        raise AssertionError(f"{message_id} is {message.status}, not {status}")

    def until(self, true: Callable[[], bool]) -> None:
        """Wait until something said once is seen in the lists: they follow what happened, they are not it."""
        for _ in range(100):
            if true():
                return
            time.sleep(0.1)
        raise AssertionError("it never came true")

    def results(self, text: str | None = None, *, folder: str = RESULTS) -> UUID:
        """実績 from the helper to the manager: one CSV."""
        return self.send(HELPER, MANAGER, self.sample(folder), text)

    def warned(self) -> UUID:
        """実績 whose last line has no end: accepted, with a 注意."""
        [file] = self.sample(RESULTS)
        return self.send(HELPER, MANAGER, [Upload(file.name, file.content.rstrip(b"\r\n"))])

    def plan(self, text: str | None = None, *, folder: str = PLAN) -> UUID:
        """提供票 from the manager to the helper: three CSVs."""
        return self.send(MANAGER, HELPER, self.sample(folder), text)

    def many(self, sender: str, recipient: str, texts: Sequence[str]) -> list[UUID]:
        """Text messages in one batch, in this order."""
        batch = [
            Outgoing(f"{self.next_sequence()}-{number}", recipient, text=text) for number, text in enumerate(texts)
        ]
        results = self.office(sender).send_batch(batch)
        ids = [result.submission.message_id for result in results if result.submission]
        assert len(ids) == len(texts)
        for message_id in ids:
            self.wait(sender, message_id, "delivered")
        return ids

    def fetch(self, office: str, message_id: UUID) -> None:
        """Fetch every file and give the receipt, as a program does."""
        client = self.office(office)
        message = client.message(message_id)
        for file in message.files:
            client.fetch_file(message_id, file.n, file.sha256)
        client.receipt(message_id, [file.sha256 or "" for file in message.files])
        self.wait(office, message_id, "downloaded")


def empty_pdf() -> bytes:
    """A PDF that passes every check."""
    with pikepdf.new() as made, io.BytesIO() as target:
        made.add_blank_page()
        made.save(target)
        return target.getvalue()
