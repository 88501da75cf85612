"""A small office counter over real HTTP: it answers as the API does, from memory, for tests of the command line."""

import email.parser
import email.policy
import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import click
import pytest
from click.testing import CliRunner, Result

from todoke.client import MemoryStore, Session
from todoke.client.cli import register
from todoke.client.shapes import SessionOffice

OWN = {"number": "9970100018", "name": "あおぞら居宅介護支援事業所"}
PARTNER = {"number": "9970100117", "name": "そよかぜ訪問介護センター"}


def refusal(status: int, code: str) -> dict[str, Any]:
    """The body of a refusal."""
    return {"title": "できません。", "status": status, "detail": "確かめてください。", "code": code, "number": None}


@dataclass
class Counter:
    """What the counter knows and what it was asked."""

    url: str = ""
    office: dict[str, str] = field(default_factory=lambda: dict(OWN))
    messages: dict[str, dict[str, Any]] = field(default_factory=dict)
    contents: dict[tuple[str, int], bytes] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    findings: list[dict[str, Any]] = field(default_factory=list)
    refusal: dict[str, Any] | None = None
    away_after: int | None = None
    asked: list[tuple[str, str]] = field(default_factory=list)
    sent_files: list[list[tuple[str, bytes]]] = field(default_factory=list)
    receipts: dict[str, list[str]] = field(default_factory=dict)
    corrupt: bool = False
    opened_at: str | None = None
    unchanged: int = 0
    refused_names: set[str] = field(default_factory=set)
    takes_batches: bool = True

    def deliver(self, *files: tuple[str, bytes], text: str | None = None, status: str = "delivered") -> str:
        """Put a message into the office's received list; answers its id."""
        number = len(self.messages) + 1
        message_id = str(UUID(int=0x0199_0000_0000_7000_8000_0000_0000_0000 + number))
        self.messages[message_id] = {
            "message_id": message_id,
            "sequence": f"202509011200{number:02d}",
            "sender": PARTNER,
            "recipient": self.office,
            "text": text,
            "status": status,
            "submitted_at": "2025-09-01T03:00:00Z",
            "delivered_at": "2025-09-01T03:00:01Z",
            "delivery_no": number,
            "files": [
                {
                    "n": n,
                    "name": name,
                    "kind": None,
                    "label": "PDF等",
                    "size": len(content),
                    "sha256": hashlib.sha256(content).hexdigest(),
                }
                for n, (name, content) in enumerate(files, 1)
            ],
            "findings": {"errors": 0, "warnings": 0},
            "timeline": [{"event": "delivered", "at": "2025-09-01T03:00:01Z", "by": None}],
        }
        for n, (_, content) in enumerate(files, 1):
            self.contents[message_id, n] = content
        return message_id


class CounterHandler(BaseHTTPRequestHandler):
    """One request of a `Counter`."""

    counter: Counter
    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16  # head and body in one packet: two wait 40 ms for each other

    def log_message(self, *_: object) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        """Lists, messages, files."""
        url = urlsplit(self.path)
        self.counter.asked.append(("GET", url.path))
        steps = url.path.split("/")
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        if "since" in query:
            rows = [row for row in self.counter.messages.values() if row["delivery_no"] > int(query["since"])]
            self.answer_list({"items": rows[: int(query["limit"])]})
        elif url.path in ("/v1/received", "/v1/sent"):
            wanted = query.get("status")
            rows = [row for row in self.counter.messages.values() if wanted in (None, row["status"])]
            self.answer_list({"items": rows[::-1], "next": None})
        elif steps[2] == "messages" and steps[-1] == "findings":
            self.answer(200, {"verdict": "reject", "findings": self.counter.findings})
        elif steps[2] == "offices":
            found = {**PARTNER, "address": "練習県", "service_types": [{"code": "11", "name": "訪問介護"}]}
            self.answer(200, {"items": [{**found, "participation": "active"}], "next": None})
        elif steps[2] == "messages" and len(steps) == 4 and steps[3] in self.counter.messages:
            self.answer(200, self.counter.messages[steps[3]])
        elif len(steps) == 6 and steps[4] == "files":
            content = self.counter.contents[steps[3], int(steps[5])]
            self.answer_bytes(content[:-1] + b"?" if self.counter.corrupt else content)
        else:
            self.problem(404, "TDK-NOT-FOUND")

    def do_POST(self) -> None:
        """Login, check, send, receipts."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.counter.asked.append(("POST", self.path))
        if self.path == "/v1/session/system":
            self.step(json.loads(body))
        elif self.path == "/v1/session/office":
            self.answer(200, self.session())
        elif self.path == "/v1/messages/check":
            errors = any(one["severity"] == "error" for one in self.counter.findings)
            self.answer(200, {"verdict": "reject" if errors else "accept", "findings": self.counter.findings})
        elif self.path == "/v1/messages":
            self.take(body)
        elif self.path == "/v1/batches":
            self.take_all(body)
        elif self.path.endswith("/receipt"):
            self.confirm(self.path.split("/")[3], json.loads(body)["sha256"])
        elif self.path.endswith("/recall"):
            self.take_back(self.path.split("/")[3])

    def step(self, pair: dict[str, str]) -> None:
        """The first step of the login."""
        if pair["password"] != "right":
            self.problem(401, "TDK-LOGIN")
        else:
            self.answer(200, {"step_token": "step", "expires_in": 600})

    def session(self) -> dict[str, Any]:
        """The second step of the login."""
        return {
            "access_token": "access",
            "expires_in": 3600,
            "refresh_token": "refresh",
            "refresh_expires_in": 28800,
            "must_change": [],
            "office": {**self.counter.office, "service_types": ["43"]},
            "user": {"id": "c1", "name": "練習", "roles": ["admin"]},
        }

    def take(self, body: bytes) -> None:
        """A send: once per key."""
        counter = self.counter
        if counter.refusal is not None:
            self.answer(counter.refusal["status"], counter.refusal)
            return
        if self.is_away():
            return
        head, files = self.parts(body)
        self.answer(202, self.taken(self.headers["Idempotency-Key"], head, [content for _, *content in files]))

    def take_all(self, body: bytes) -> None:
        """A batch: each message once per key, and each refused for itself."""
        counter = self.counter
        if self.is_away():
            return
        if not counter.takes_batches:
            self.problem(413, "TDK-BATCH-TOO-LONG")
            return
        heads, files = self.parts(body)
        contents = {field: content for field, *content in files}
        results = []
        for head in heads:
            key = {"idempotency_key": head["idempotency_key"]}
            own = [contents[field] for field in head["files"]]
            if counter.refused_names.intersection(name for name, _ in own):
                results.append({**key, "status": 409, "problem": refusal(409, "TDK-SEQUENCE-USED")})
            else:
                taken = self.taken(head["idempotency_key"], head, own)
                results.append({**key, "status": 202, **taken})
        self.answer(200, {"results": results})

    def is_away(self) -> bool:
        """Answer that the service is away, when it is."""
        counter = self.counter
        is_away = counter.away_after is not None and len(counter.sent_files) >= counter.away_after
        if is_away:
            self.problem(503, "TDK-AWAY", {"Retry-After": "600"})
        return is_away

    def taken(self, key: str, head: dict[str, Any], files: list[Any]) -> dict[str, Any]:
        """What a send of one message answers."""
        counter = self.counter
        named = [(str(name), bytes(content)) for name, content in files]
        replayed = key in counter.keys
        if not replayed:
            counter.keys[key] = counter.deliver(*named, text=head["text"])
            counter.sent_files.append(named)
        row = counter.messages[counter.keys[key]]
        answer = {name: row[name] for name in ("message_id", "sender", "recipient", "submitted_at")}
        sequence = head["sequence"] or row["sequence"]
        return {**answer, "sequence": sequence, "receipt": "a.b.c", "replayed": replayed}

    def take_back(self, message_id: str) -> None:
        """A recall."""
        row = self.counter.messages[message_id]
        if row["status"] == "downloaded":
            self.problem(409, "TDK-ALREADY-DOWNLOADED")
        elif row["status"] == "submitted":
            self.answer(202, {"status": "recall_requested"})
        else:
            row["status"] = "recalled"
            self.answer(200, {"status": "recalled", "opened_at": self.counter.opened_at})

    def parts(self, body: bytes) -> tuple[Any, list[tuple[str, str, bytes]]]:
        """The parts of a multipart body: the JSON, and (field, file name, bytes) of each file."""
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        document = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + body)
        described: Any = None
        files: list[tuple[str, str, bytes]] = []
        for part in document.iter_parts():
            content = part.get_payload(decode=True)
            assert isinstance(content, bytes)
            if part.get_content_type() == "application/json":
                described = json.loads(content)
            else:
                field = str(part.get_param("name", header="content-disposition"))
                files.append((field, str(part.get_filename()), content))
        return described, files

    def confirm(self, message_id: str, hashes: list[str]) -> None:
        """A receipt."""
        self.counter.receipts[message_id] = hashes
        self.counter.messages[message_id]["status"] = "downloaded"
        self.answer(200, {"status": "downloaded", "downloaded_at": "2025-09-01T04:00:00Z", "receipt": "r.r.r"})

    def problem(self, status: int, code: str, headers: dict[str, str] | None = None) -> None:
        """A refusal."""
        self.answer(status, refusal(status, code), headers)

    def answer_list(self, body: Any) -> None:
        """Send a list under its ETag, or that it has not changed."""
        content = json.dumps(body).encode()
        etag = f'"{hashlib.sha256(content).hexdigest()}"'
        if self.headers["If-None-Match"] == etag:
            self.counter.unchanged += 1
            self.answer_bytes(b"", 304, {"ETag": etag})
        else:
            self.answer_bytes(content, 200, {"ETag": etag})

    def answer(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        """Send JSON."""
        self.answer_bytes(json.dumps(body).encode(), status, headers)

    def answer_bytes(self, content: bytes, status: int = 200, headers: dict[str, str] | None = None) -> None:
        """Send bytes."""
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@pytest.fixture
def counter() -> Iterator[Counter]:
    """A counter that answers on a port of its own."""
    known = Counter()
    handler = type("Handler", (CounterHandler,), {"counter": known})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    known.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield known
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def kept_session() -> MemoryStore:
    """A session that has an hour left."""
    now = datetime.now(UTC)
    return MemoryStore(
        Session(
            url="http://127.0.0.1:8080",
            access_token="access-1",
            access_until=now + timedelta(hours=1),
            refresh_token="refresh-1",
            refresh_until=now + timedelta(hours=8),
            office=SessionOffice(number=OWN["number"], name=OWN["name"]),
        )
    )


Run = Callable[..., Result]


@pytest.fixture
def run(counter: Counter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run one command of the command line against the counter, with a session file of its own."""
    monkeypatch.setenv("TODOKE_URL", counter.url)
    monkeypatch.setenv("TODOKE_SESSION", str(tmp_path / "config" / "session.json"))
    monkeypatch.setenv("TODOKE_C_PASSWORD", "right")
    monkeypatch.setenv("TODOKE_KJ_PASSWORD", "right")
    group = click.Group("todoke")
    register(group)

    def invoke(*arguments: str | Path, stdin: str | None = None) -> Result:
        return CliRunner().invoke(group, [str(one) for one in arguments], input=stdin)

    return invoke


@pytest.fixture
def logged_in(run: Run) -> Run:
    """`run`, after a login."""
    result = run("login", "--c-id", "c1", "--kj-id", "KJ1")
    assert result.exit_code == 0, result.output
    return run
