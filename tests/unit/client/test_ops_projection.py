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
    comparisons: list[dict[str, Any]] = field(default_factory=list)
    asked: list[tuple[str, str, Any]] = field(default_factory=list)


@pytest.fixture
def projection() -> Iterator[Projection]:
    made = Projection()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Quiet."""

        def do_GET(self) -> None:
            told = made.comparisons if self.path == f"{BASE}/rebuild/compare" else made.states
            self.answer(200, told.pop(0) if len(told) > 1 else told[0])

        def do_POST(self) -> None:
            self.note("POST")
            if self.path == f"{BASE}/rebuild":
                self.answer(202, {"run": 4})
            elif self.path == f"{BASE}/rebuild/switch":
                self.answer(200, {"kept_until": "2026-09-01T00:00:00Z"})
            else:
                self.answer(202, made.comparisons.pop(0))

        def do_DELETE(self) -> None:
            self.note("DELETE")
            self.send_response(204)
            self.end_headers()

        def note(self, method: str) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            made.asked.append((method, self.path, json.loads(self.rfile.read(length)) if length else None))

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
    begun: dict[str, Any] = {"state": "running", "equal": None, "offices": 0, "differences": []}
    there = {"state": "running", "equal": None, "offices": 0, "tables": {"sent": {"live": 50000, "beside": 50000}}}
    found = [{"office": "9970100018", "table": "sent", "live": 1, "beside": 2}]
    projection.comparisons = [begun, there, {"state": "done", "equal": False, "offices": 1, "differences": found}]
    assert run("compare").exit_code == 2
    assert projection.asked == []
    differs = run("compare", *WORD)
    assert projection.asked == [("POST", f"{BASE}/rebuild/compare", {"reason": "新しい版", "ticket": "OPS-9"})]
    assert differs.exit_code == 1
    assert "9970100018" in differs.stdout
    assert "compared: 50,000 rows" in differs.stderr
    projection.comparisons = [begun, {"state": "done", "equal": True}]
    assert run("compare", *WORD).exit_code == 0


def test_what_is_kept_after_a_switch_is_told_and_may_be_given_up(run: Run, projection: Projection) -> None:
    projection.states = [{"state": "none", "kept_until": "2026-09-01T00:00:00Z"}]
    assert "kept until 2026-09-01 09:00:00" in " ".join(run("status").stdout.split())
    assert run("abandon").exit_code == 2
    assert run("abandon", *WORD).exit_code == 0
    assert projection.asked == [("DELETE", f"{BASE}/rebuild", {"reason": "新しい版", "ticket": "OPS-9"})]


def test_the_switch_is_asked_for_with_its_reason(run: Run, projection: Projection) -> None:
    assert run("switch", *WORD).exit_code == 0
    assert projection.asked == [("POST", f"{BASE}/rebuild/switch", {"reason": "新しい版", "ticket": "OPS-9"})]
