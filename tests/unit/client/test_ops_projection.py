"""`todoke ops projection` against a small listener that answers as the projection service does."""

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from todoke.client import ops_commands
from todoke.client.ops import ops
from todoke.client.ops_desk import OperatorSession, OperatorStore

WORD = ("--destructive", "--reason", "新しい版", "--ticket", "OPS-9")
BASE = "/v1/operator/services/projection"


@dataclass
class Projection:
    """What the listener answers and what it was asked."""

    url: str = ""
    states: list[dict[str, Any]] = field(default_factory=list)
    comparison: dict[str, Any] = field(default_factory=dict)
    asked: list[tuple[str, str, Any]] = field(default_factory=list)


@pytest.fixture
def projection() -> Iterator[Projection]:
    made = Projection()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Quiet."""

        def do_GET(self) -> None:
            self.answer(200, made.states.pop(0) if len(made.states) > 1 else made.states[0])

        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            made.asked.append(("POST", self.path, json.loads(self.rfile.read(length)) if length else None))
            if self.path == f"{BASE}/rebuild":
                self.answer(202, {"run": 4})
            else:
                self.answer(200, made.comparison if self.path == f"{BASE}/rebuild/compare" else {})

        def answer(self, status: int, document: Any) -> None:
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    made.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()


Run = Callable[..., Result]


@pytest.fixture
def run(projection: Projection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run one command as an operator who is logged in."""
    store = OperatorStore(tmp_path / "operator.json")
    until = datetime.now(UTC) + timedelta(hours=1)
    store.save(OperatorSession(url=projection.url, user_id="op", access_token="t", access_until=until))
    monkeypatch.setenv("TODOKE_OPERATOR_SESSION", str(store.path))
    monkeypatch.setattr(ops_commands, "LOOK_AGAIN_SECONDS", 0.01)
    return lambda *typed: CliRunner().invoke(ops, ["projection", *typed])


def test_a_rebuild_begins_with_a_reason_and_is_watched_until_it_is_ready(run: Run, projection: Projection) -> None:
    assert run("rebuild").exit_code == 2
    assert run("switch").exit_code == 2
    assert projection.asked == []
    projection.states = [
        {"state": "running", "progress": {"heard": 1000, "total": 5000}},
        {"state": "ready", "progress": {"heard": 5000, "total": 5000}},
    ]
    done = run("rebuild", "--wait", *WORD)
    assert (done.exit_code, done.stdout.strip()) == (0, "ready: 5,000 of 5,000 events")
    assert "running: 1,000 of 5,000 events" in done.stderr
    assert projection.asked == [("POST", f"{BASE}/rebuild", {"reason": "新しい版", "ticket": "OPS-9"})]
    assert json.loads(run("rebuild", "--json", *WORD).stdout) == {"run": 4}
    assert run("status").exit_code == 0


def test_a_failed_rebuild_and_a_difference_exit_1(run: Run, projection: Projection) -> None:
    projection.states = [{"state": "failed"}]
    assert run("status").exit_code == 1
    projection.comparison = {"equal": False, "differences": [{"office": "9970100018", "what": "sent"}]}
    differs = run("compare")
    assert differs.exit_code == 1
    assert "9970100018" in differs.stdout
    projection.comparison = {"equal": True, "differences": []}
    assert run("compare").exit_code == 0


def test_the_switch_is_asked_for_with_its_reason(run: Run, projection: Projection) -> None:
    assert run("switch", *WORD).exit_code == 0
    assert projection.asked == [("POST", f"{BASE}/rebuild/switch", {"reason": "新しい版", "ticket": "OPS-9"})]
