"""Two offices and everything they may do to each other, against a model that fits on a page.

The services are the real ones, on real PostgreSQL and object storage; what reaches whom, and when, hypothesis decides.
"""

import asyncio
import dataclasses
import hashlib
import io
import itertools
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, multiple, rule, run_state_machine_as_test
from PIL import Image

import careplan
from tests.services.ingest.conftest import Client
from tests.services.whole import Whole, whole
from todoke.events import MessageRejected, MessageRouted, MessageSubmitted, Recalled
from todoke.relay.limits import Limits
from todoke.relay.testing import ManualClock, manual_ports

GENEROUS = Limits(requests_per_minute_user=10**9, sends_per_second_office=10**6, sends_reserve_office=10**9)
SERVICES = ("ingest", "validation", "routing", "storage", "projection")
SAMPLE = careplan.sample_sets()["202407/plan_67_to_provider_a"]
SAMPLE_SENDER, SAMPLE_RECIPIENT, SAMPLE_SEQUENCE = "9970100018", "9970100117", "20250825121901"
NUMBERS = itertools.count(1)
SEQUENCES = ("20250901000001", "20250901000002")
ENDS = {"rejected", "downloaded", "recalled", "expired"}


def picture() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (8, 8), "white").save(out, "PNG")
    return out.getvalue()


PICTURE = picture()


@dataclasses.dataclass
class Message:
    """What the model knows of one message. `custody`: storage has heard of it."""

    message_id: str
    key: str
    sender: str
    recipient: str
    sequence: str
    body: dict[str, Any]
    files: list[tuple[str, bytes]]
    good: bool
    status: str = "submitted"
    custody: bool = False
    wanted_back: bool = False
    opened: bool = False
    erased: bool = False
    number: int | None = None
    delivered_at: datetime | None = None
    ended_at: datetime | None = None

    @property
    def hashes(self) -> list[str]:
        return [hashlib.sha256(data).hexdigest() for _, data in self.files]


class TwoOffices(RuleBasedStateMachine):
    """A care-management office and a service office."""

    product: ClassVar[Whole]
    http: ClassVar[httpx.AsyncClient]
    runner: ClassVar[asyncio.Runner]

    seen: ClassVar[Counter[str]] = Counter()
    """How often a message was seen in each state when everything had settled."""

    messages = Bundle("messages")

    @initialize()
    def two_new_offices(self) -> None:
        number = next(NUMBERS)
        self.offices = (f"98{number:08d}", f"99{number:08d}")
        self.sent: list[Message] = []
        self.live: dict[tuple[str, str, str], set[str]] = {}
        self.last = dict.fromkeys(self.offices, 0)
        self.keys = itertools.count(1)
        until = (self.now() + timedelta(days=36_500)).date()  # time passes by months here
        for office, kind in zip(self.offices, ("43", "11"), strict=True):
            self.run(self.product.register(office, kind, until))

    # --- what offices do ----------------------------------------------------------------------------------------------

    @rule(target=messages, who=st.integers(0, 1), what=st.sampled_from(["text", "picture", "both"]))
    def send_without_a_set(self, who: int, what: str) -> Any:
        body: dict[str, Any] = {"recipient": self.offices[1 - who]}
        if what != "picture":
            body["text"] = "よろしくお願いします。"
        files = [] if what == "text" else [("図.png", PICTURE)]
        return self.send(self.offices[who], body, files, good=True)

    @rule(target=messages, sequence=st.sampled_from(SEQUENCES), good=st.booleans(), resend=st.booleans())
    def send_a_set(self, sequence: str, *, good: bool, resend: bool) -> Any:
        """The sample set between these two, whole or with a file missing."""
        sender, recipient = self.offices
        files = [
            (self.renamed(name, sequence), self.renamed(data.decode("cp932"), sequence).encode("cp932"))
            for name, data in (SAMPLE if good else SAMPLE[:2])
        ]
        return self.send(sender, {"allow_resend": resend}, files, good=good, sequence=sequence, recipient=recipient)

    @rule(message=messages)
    def send_again_with_the_same_key(self, message: Message) -> None:
        answer = self.post_message(message.sender, message.body, message.files, message.key)
        assert answer.status_code == 202, answer.json()
        assert (answer.json()["message_id"], answer.json()["replayed"]) == (message.message_id, True)

    @rule(message=messages)
    def send_other_content_with_the_same_key(self, message: Message) -> None:
        answer = self.post_message(message.sender, {**message.body, "text": "ほかの文"}, message.files, message.key)
        assert (answer.status_code, answer.json()["code"]) == (422, "TDK-IDEMPOTENCY-MISMATCH")

    @rule(message=messages)
    def recall(self, message: Message) -> None:
        answer = self.post(message.sender, f"{message.message_id}/recall", {"reason": "まちがえました"})
        if not message.custody:
            assert answer.status_code == 404
        elif message.status == "recalled" and message.number is not None:
            assert (answer.status_code, answer.json()["status"]) == (200, "recalled")
        elif message.status == "downloaded":
            assert (answer.status_code, answer.json()["code"]) == (409, "TDK-ALREADY-DOWNLOADED")
        elif message.status == "delivered":
            assert (answer.status_code, answer.json()["status"]) == (200, "recalled")
            assert (answer.json()["opened_at"] is not None) == message.opened
            message.status, message.ended_at = "recalled", self.now()
        elif message.status == "submitted":
            assert (answer.status_code, answer.json()["status"]) == (202, "recall_requested")
            message.wanted_back = True
        else:
            assert answer.status_code in ({200} if message.status == "recalled" else {409})

    @rule(message=messages, right=st.booleans())
    def receive(self, message: Message, *, right: bool) -> None:
        hashes = message.hashes if right else ["0" * 64, *message.hashes]
        answer = self.post(message.recipient, f"{message.message_id}/receipt", {"sha256": hashes})
        if message.number is None:
            assert answer.status_code == 404
        elif message.erased or message.status in {"recalled", "expired"}:
            assert (answer.status_code, answer.json()["code"]) == (409, "TDK-NOT-RECEIVABLE")
        elif not right:
            assert (answer.status_code, answer.json()["code"]) == (409, "TDK-HASH-MISMATCH")
        else:
            assert answer.status_code == 200
            if message.status == "delivered":
                message.status, message.ended_at = "downloaded", self.now()

    @rule(message=messages, mine=st.booleans())
    def fetch(self, message: Message, *, mine: bool) -> None:
        if not message.files:
            return
        who = message.sender if mine else message.recipient
        answer = self.get(who, f"/v1/messages/{message.message_id}/files/1")
        if not message.custody or (not mine and message.number is None):
            assert answer.status_code == 404
        elif message.erased or (not mine and message.status in {"recalled", "expired"}):
            assert answer.status_code == 410
        else:
            assert (answer.status_code, answer.content) == (200, message.files[0][1])
            message.opened |= not mine

    @rule(message=messages)
    def a_stranger_finds_nothing(self, message: Message) -> None:
        if message.custody:
            answer = self.get("9799999999", f"/v1/messages/{message.message_id}/files/1")
            assert answer.status_code == 404

    # --- what happens by itself ---------------------------------------------------------------------------------------

    @rule(hearer=st.sampled_from(SERVICES))
    def some_service_hears(self, hearer: str) -> None:
        self.deliver(hearer)

    @rule()
    def everything_settles(self) -> None:
        self.settle()
        for office in self.offices:
            self.check_sent(office)
            self.check_received(office)
            self.check_counts(office)
        self.seen.update("erased" if message.erased else message.status for message in self.sent)

    @rule(days=st.sampled_from([1, 91]))
    def time_passes(self, days: int) -> None:
        self.settle()
        clock = self.product.shared.ports.clock
        assert isinstance(clock, ManualClock)
        clock.move(timedelta(days=days))
        self.run(self.product.run_timers("storage"))
        now = self.now()
        before = now - timedelta(days=90)
        for message in self.sent:
            if message.ended_at is not None and message.ended_at < before:
                message.erased = True
            if message.status == "delivered" and message.delivered_at and message.delivered_at < before:
                message.status, message.ended_at = "expired", now
        self.settle()

    # --- the model ----------------------------------------------------------------------------------------------------

    def send(
        self,
        sender: str,
        body: dict[str, Any],
        files: list[tuple[str, bytes]],
        *,
        good: bool,
        sequence: str | None = None,
        recipient: str | None = None,
    ) -> Any:
        key = f"{sender}-{next(self.keys)}"
        to = recipient or body["recipient"]
        used = self.live.setdefault((sender, to, sequence or ""), set())
        answer = self.post_message(sender, body, files, key)
        if sequence is not None and used and not body["allow_resend"]:
            assert (answer.status_code, answer.json()["code"]) == (409, "TDK-SEQUENCE-USED")
            assert answer.json()["message_id"] in used
            return multiple()
        assert answer.status_code == 202, answer.json()
        said = answer.json()
        message = Message(said["message_id"], key, sender, to, said["sequence"], body, files, good)
        assert sequence in (None, message.sequence)
        used.add(message.message_id)
        self.sent.append(message)
        return message

    def deliver(self, hearer: str) -> bool:
        heard = self.run(self.product.deliver(hearer))
        known = {message.message_id: message for message in self.sent}
        for event in heard:
            message = known.get(str(getattr(event, "message_id", "")))
            if message is None:
                continue
            if hearer == "ingest" and isinstance(event, MessageRejected | Recalled):
                for users in self.live.values():
                    users.discard(message.message_id)
            if hearer == "storage":
                self.storage_heard(event, message)
        return bool(heard)

    def storage_heard(self, event: object, message: Message) -> None:
        if isinstance(event, MessageSubmitted):
            message.custody = True
        elif isinstance(event, MessageRejected):
            assert not message.good
            message.status, message.ended_at = "rejected", event.rejected_at
        elif isinstance(event, MessageRouted):
            assert message.good
            message.custody = True
            if message.wanted_back:
                message.status, message.ended_at = "recalled", self.now()
            else:
                self.last[message.recipient] += 1
                message.number = self.last[message.recipient]
                message.status, message.delivered_at = "delivered", self.now()

    def settle(self) -> None:
        while any(self.deliver(hearer) for hearer in SERVICES):
            pass

    # --- the lists ----------------------------------------------------------------------------------------------------

    def check_sent(self, office: str) -> None:
        items = self.pages(office, "/v1/sent")
        mine = [message for message in reversed(self.sent) if message.sender == office]
        assert [item["message_id"] for item in items] == [message.message_id for message in mine]
        for item, message in zip(items, mine, strict=True):
            self.check_item(item, message, hidden=message.erased)
            assert (item["findings"]["errors"] > 0) == (message.status == "rejected" and not message.erased)

    def check_received(self, office: str) -> None:
        items = self.pages(office, "/v1/received")
        numbered = [message for message in self.sent if message.recipient == office and message.number is not None]
        mine = sorted(numbered, key=lambda message: -(message.number or 0))
        assert [item["message_id"] for item in items] == [message.message_id for message in mine]
        for item, message in zip(items, mine, strict=True):
            assert item["delivery_no"] == message.number
            self.check_item(item, message, hidden=message.erased or message.status == "recalled")
        since = len(mine) // 2
        listed = self.get(office, f"/v1/received?since={since}&limit=200").json()["items"]
        expected = [(message.number, message.status) for message in reversed(mine)][since:]
        assert [(one["delivery_no"], one["status"]) for one in listed] == expected
        gone = [m.status in {"recalled", "expired"} or m.erased for m in reversed(mine)][since:]
        assert ["sequence" not in one for one in listed] == gone

    def check_item(self, item: dict[str, Any], message: Message, *, hidden: bool) -> None:
        assert (item["status"], item["erased"]) == (message.status, message.erased)
        assert (item["sequence"], item["held"]) == (message.sequence, False)
        assert item["delivery_no"] == message.number
        assert item["text"] == (None if hidden else message.body.get("text"))
        names = [None if hidden else name for name, _ in message.files]
        hashes = [None if hidden else digest for digest in message.hashes]
        assert [file["name"] for file in item["files"]] == names
        assert [file["sha256"] for file in item["files"]] == hashes
        assert (item["opened_at"] is not None) == message.opened
        assert (item["downloaded_at"] is not None) == (message.status == "downloaded")

    def check_counts(self, office: str) -> None:
        counts = self.get(office, "/v1/counts").json()
        for box, mine in (
            ("sent", [m for m in self.sent if m.sender == office]),
            ("received", [m for m in self.sent if m.recipient == office and m.number is not None]),
        ):
            expected = {status: sum(m.status == status for m in mine) for status in counts[box]}
            assert counts[box] == expected

    def pages(self, office: str, url: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = []
        cursor = ""
        while True:
            page = self.get(office, f"{url}?limit=7{cursor}").json()
            items += page["items"]
            if page["next"] is None:
                return items
            cursor = f"&cursor={page['next']}"

    # --- speaking to the product --------------------------------------------------------------------------------------

    def renamed(self, text: str, sequence: str) -> str:
        sender, recipient = self.offices
        renamed = text.replace(SAMPLE_SENDER, sender).replace(SAMPLE_RECIPIENT, recipient)
        return renamed.replace(SAMPLE_SEQUENCE, sequence)

    def post_message(
        self, sender: str, body: dict[str, Any], files: list[tuple[str, bytes]], key: str
    ) -> httpx.Response:
        client = Client(self.http, self.product.token(sender))
        answer: httpx.Response = self.run(client.send(body, files, key=key))
        return answer

    def post(self, office: str, path: str, body: object) -> httpx.Response:
        asking = self.http.post(f"/v1/messages/{path}", json=body, headers=self.product.token(office))
        answer: httpx.Response = self.run(asking)
        return answer

    def get(self, office: str, url: str) -> httpx.Response:
        answer: httpx.Response = self.run(self.http.get(url, headers=self.product.token(office)))
        return answer

    def run(self, action: Any) -> Any:
        return self.runner.run(action)

    def now(self) -> datetime:
        return self.product.shared.ports.clock.now()

    def teardown(self) -> None:
        if hasattr(self, "sent"):
            self.everything_settles()


def run_machine(engines: Any, home: Path, *, examples: int, steps: int) -> None:
    with asyncio.Runner() as runner:
        product = whole(engines, home, manual_ports(), SERVICES, GENEROUS)
        TwoOffices.runner = runner
        TwoOffices.product = runner.run(product.__aenter__())
        TwoOffices.http = TwoOffices.product.client()
        try:
            run_state_machine_as_test(
                TwoOffices,
                settings=settings(
                    max_examples=examples,
                    stateful_step_count=steps,
                    deadline=None,
                    suppress_health_check=list(HealthCheck),
                    print_blob=True,
                ),
            )
        finally:
            runner.run(TwoOffices.http.aclose())
            runner.run(product.__aexit__(None, None, None))


@pytest.mark.long
def test_two_offices_see_what_the_model_says(engines: Any, run_home: Path) -> None:
    run_machine(engines, run_home, examples=12, steps=30)


@pytest.mark.soak
def test_two_offices_see_what_the_model_says_for_thousands_of_steps(engines: Any, run_home: Path) -> None:
    run_machine(engines, run_home, examples=200, steps=60)
    assert TwoOffices.seen.keys() >= {*ENDS, "delivered", "erased"}
