"""`todoke ops` as it is typed, against a real listener of three services: tables, JSON, exit codes."""

import asyncio
import contextlib
import dataclasses
import json
import os
import re
import socket
import stat
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from services.registry.demo import load_demo
from tests.terminal import typed
from todoke.events import MessageSubmitted, topic_of
from todoke.events.examples import EXAMPLES
from todoke.relay.host import serve
from todoke.relay.kafka import ensure_topics
from todoke.relay.metrics import Metrics
from todoke.relay.reconcile import Reconciler
from todoke.relay.restore import ADVICE
from todoke.relay.testing import ManualClock, Stage, journalled, operators_side
from todoke.relay.web import application

from .conftest import SENDER, Room, parking

RUN = "from todoke.client.ops import ops; ops()"
WORD = ("--reason", "直しました", "--ticket", "OPS-3")


@dataclasses.dataclass
class Terminal:
    """Where an operator types."""

    url: str
    home: Path

    async def run(self, *words: str | Path, **variables: str) -> tuple[int, str, str]:
        """Exit code, output, error output."""
        environment = {**os.environ, "TODOKE_OPERATOR_SESSION": str(self.session), **variables}
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", RUN, *map(str, words),
            env=environment, stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await child.communicate()
        return child.returncode or 0, out.decode(), err.decode()

    async def seen(self, *words: str) -> tuple[int, str, str]:
        """The same where the error output is a terminal."""
        environment = {"TODOKE_OPERATOR_SESSION": str(self.session)}
        return await asyncio.to_thread(typed, [sys.executable, "-c", RUN, *words], environment)

    async def json(self, *words: str | Path) -> tuple[int, Any]:
        code, out, err = await self.run(*words, "--json")
        assert out, err
        return code, json.loads(out)

    @property
    def session(self) -> Path:
        return self.home / "config" / "operator.json"


@contextlib.asynccontextmanager
async def listening(stages: Sequence[Stage]) -> AsyncIterator[str]:
    """The operators' listener of a process with these services; yields its address."""

    async def health() -> dict[str, Any]:
        return {"status": "ready", "parts": {}}

    ids = stages[0].runtime.ports.ids
    app = application("operators", operators_side(*stages), metrics=Metrics(), health=health, ids=ids)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    stopping = asyncio.Event()
    server = asyncio.create_task(serve(app, address="127.0.0.1", port=port, stopping=stopping))
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        stopping.set()
        await server


async def look_after(stages: Sequence[Stage]) -> None:
    """Carry out operators' words as the hosts of these services do."""
    words = [parking(stage) for stage in stages]
    while True:
        done = [await each.settle_one() for each in words]
        if not any(done):
            await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def logged_in(registry: Stage, *others: Stage, home: Path) -> AsyncIterator[Terminal]:
    """An operator who is logged in at a process with these services."""
    async with listening([registry, *others]) as url:
        await load_demo(registry.runtime, home, "http://127.0.0.1:9", url)
        made = Terminal(url, home)
        clock = registry.runtime.ports.clock
        assert isinstance(clock, ManualClock)
        clock.move(datetime.now(UTC) - clock.now())  # the second factor runs by the time of both sides
        code, _, err = await made.run("login", "--demo", home)
        assert code == 0, err
        yield made


@pytest.fixture
async def terminal(room: Room, on_stage: Callable[[str], Any], tmp_path: Path) -> AsyncIterator[Terminal]:
    """An operator who is logged in at registry, routing and projection."""
    async with logged_in(await on_stage("registry"), room.routing, room.projection, home=tmp_path) as made:
        settling = asyncio.create_task(look_after([room.routing, room.projection]))
        try:
            yield made
        finally:
            settling.cancel()
            await asyncio.gather(settling, return_exceptions=True)


async def test_an_operator_looks_decides_and_traces(room: Room, terminal: Terminal) -> None:
    message = room.message()
    for service in ("routing", "projection"):
        await room.hold(service, message)
    code, status = await terminal.json("status")
    assert code == 5
    assert set(status["not_reached"]) == {"ingest", "validation", "storage", "notification", "portal"}
    assert {each["service"]: each["held"] for each in status["services"]} == {
        "registry": 0, "routing": 1, "projection": 1,
    }  # fmt: skip
    code, out, err = await terminal.run("parked", "list")
    assert (code, out.count(str(message))) == (5, 1)
    assert "routing (held)" in out
    assert "not reached" in err
    code, shown = await terminal.json("parked", "show", str(message))
    assert (code, [hold["service"] for hold in shown["items"]]) == (0, ["routing", "projection"])

    decided = ("parked", "discard", str(message), "--service", "all")
    code, refused = await terminal.json(*decided, *WORD)
    assert (code, refused["error"]["exit"]) == (2, 2)
    assert "--destructive" in refused["error"]["message"]
    assert (await terminal.run(*decided, "--destructive"))[0] == 2
    code, done = await terminal.json(*decided, "--destructive", *WORD)
    assert code == 0
    assert [(hold["service"], hold["state"]) for hold in done["items"]] == [
        ("projection", "discarded"), ("routing", "discarded"),
    ]  # fmt: skip
    assert (await terminal.run(*decided, "--destructive", *WORD))[0] == 1

    code, story = await terminal.json("trace", str(message))
    acts = [(step["act"], step["service"]) for step in story["events"] if step["type"] == "OperatorActed"]
    assert (code, acts) == (5, [("parked.discard", "projection"), ("parked.discard", "routing")])
    assert "MessageDiscarded" in {step["type"] for step in story["events"]}
    code, out, _ = await terminal.run("trace", str(message))
    assert "OperatorActed: parked.discard (OPS-3)" in out
    assert "直しました" not in out
    assert (await terminal.json("trace", str(UUID(int=1))))[1]["events"] == []


async def test_the_breaker_is_tripped_and_reset_from_the_command_line(terminal: Terminal) -> None:
    assert (await terminal.run("breaker", "trip", "routing", *WORD))[0] == 2
    assert (await terminal.json("breaker", "trip", "routing", "--destructive", *WORD))[1]["changed"]
    code, out, _ = await terminal.run("breaker", "show")
    assert code == 5
    assert "OPEN" in out
    assert "OPS-3" in out
    code, answer = await terminal.json("breaker", "reset", "routing", "--destructive", *WORD)
    assert (code, answer) == (0, {"service": "routing", "open": False, "changed": True})
    assert (await terminal.run("breaker", "reset", "storage", "--destructive", *WORD))[0] == 1


@pytest.mark.long
async def test_offices_are_imported_found_and_suspended_from_the_command_line(
    terminal: Terminal, tmp_path: Path
) -> None:
    lines = ["number,name,service_types", *(f"98{n:08d},事業所{n},43" for n in range(1200)), "1,x,43"]
    (tmp_path / "offices.csv").write_text("\n".join(lines), encoding="utf-8")
    code, report = await terminal.json("offices", "import", tmp_path / "offices.csv", "--dry-run")
    assert (code, report["registered"], report["bad"]) == (1, 1200, 1)
    [bad] = report["problems"]
    assert (bad["line"], bad["code"], bad["reason"]) == (1202, "TDK-LINE-NUMBER", "number: not ten characters 0-9 A-Z")
    assert (await terminal.run("offices", "import", tmp_path / "offices.csv"))[0] == 2
    (tmp_path / "offices.csv").write_text("\n".join(lines[:-1]), encoding="utf-8")
    done = await terminal.run("offices", "import", tmp_path / "offices.csv", "--destructive", *WORD)
    assert done[0] == 0
    assert "1,200 registered" in done[1]
    again = ("offices", "import", str(tmp_path / "offices.csv"), "--destructive", *WORD)
    assert "offices.csv" in (await terminal.seen(*again))[2]  # the bar: how much of the list has been sent
    assert (await terminal.seen(*again, "--json"))[2] == ""
    assert (await terminal.json("offices", "find", "事業所1199"))[1]["items"][0]["number"] == "9800001199"
    code, answer = await terminal.json("offices", "suspend", SENDER, "--destructive", *WORD)
    assert (code, answer) == (0, {"number": SENDER, "changed": True})
    until = ("--until", "2031-03-31", "--renews", "--cause", "renewed")
    assert (await terminal.run("offices", "licence", SENDER, *until, "--destructive", *WORD))[0] == 0
    found = (await terminal.json("offices", "find", SENDER))[1]["items"][0]["facts"]
    assert (found["participation"], found["licence_until"]) == ("suspended", "2031-03-31")


@pytest.mark.long
async def test_an_office_comes_in_and_is_told_from_the_command_line(terminal: Terminal, tmp_path: Path) -> None:
    number, letter = "9970100612", tmp_path / "letter.pdf"
    yes = ("--destructive", *WORD)
    added = await terminal.json("offices", "add", number, "--name", "ひびき", "--service-types", "11 15", *yes)
    assert (added[0], added[1]["kj_id"]) == (0, f"KJ99{number}")
    code, again = await terminal.json("offices", "add", number, "--name", "べつ", "--service-types", "11", *yes)
    assert (code, again["error"]["problem"]["code"]) == (1, "TDK-OFFICE-THERE")
    assert (await terminal.run("offices", "change", number, "--phone", "099-555-0161", *yes))[0] == 0
    assert (await terminal.run("offices", "letter", number, letter, *yes))[0] == 0
    assert letter.read_bytes().startswith(b"%PDF")
    assert stat.S_IMODE(letter.stat().st_mode) == 0o600
    assert (await terminal.run("offices", "letter", number, letter, *yes))[0] == 2
    nowhere = tmp_path / "nowhere.pdf"
    assert (await terminal.run("offices", "letter", "9999999999", nowhere, *yes))[0] == 1
    assert not nowhere.exists()
    code, out, _ = await terminal.run("offices", "show", number)
    assert (code, "office.letter" in out, "099-555-0161" in out) == (0, True, True)
    assert (await terminal.json("applications", "list", "--state", "received")) == (0, {"items": [], "next": None})
    assert (await terminal.run("applications", "approve", str(UUID(int=1)), *yes))[0] == 1

    (tmp_path / "notice.txt").write_text("日曜日に点検をします。", encoding="utf-8")
    at = ("--title", "点検", "--at", "2031-01-02 09:00", "--until", "2031-01-02 12:00", "--state", "down")
    code, made = await terminal.json("notices", "publish", tmp_path / "notice.txt", *at, *yes)
    assert (code, made["published_at"], made["until"]) == (0, "2031-01-02T00:00:00Z", "2031-01-02T03:00:00Z")
    code, out, _ = await terminal.run("notices", "withdraw", made["id"], *yes)
    assert (code, made["id"] in out) == (0, True)
    [listed] = (await terminal.json("notices", "list"))[1]["items"]
    assert listed["withdrawn_at"] is not None


async def test_a_login_is_the_owners_ends_and_belongs_to_one_address(terminal: Terminal) -> None:
    assert stat.S_IMODE(terminal.session.stat().st_mode) == 0o600
    code, _, err = await terminal.run("status", "--url", "http://127.0.0.1:9")
    assert code == 3
    assert "belongs to" in err
    wrong = {"TODOKE_OPERATOR_PASSWORD": "wrong", "TODOKE_OPERATOR_TOTP": "000000"}
    before = terminal.session.read_bytes()
    code, _, err = await terminal.run("login", "--user-id", "x", "--url", terminal.url, **wrong)
    assert (code, "TDK-LOGIN-FAILED" in err) == (3, True)
    assert terminal.session.read_bytes() == before
    token = json.loads(before)["access_token"]
    assert (await terminal.run("logout"))[0] == 0
    assert not terminal.session.exists()
    assert token not in (await terminal.run("status"))[2]
    code, answer = await terminal.json("status")
    assert (code, answer["error"]["message"]) == (3, "not logged in: todoke ops login")


@pytest.mark.long
async def test_what_a_comparison_cannot_mend_is_named_with_what_to_do_about_it(
    on_stage: Callable[[str], Any], tmp_path: Path
) -> None:
    registry, storage = await on_stage("registry"), await on_stage("storage")
    await ensure_topics(storage.runtime.settings.kafka, [topic_of("storage")], partitions=1, replication=1)
    submitted = EXAMPLES["MessageSubmitted"]
    assert isinstance(submitted, MessageSubmitted)
    lost = [storage.runtime.ports.ids.uuid7() for _ in range(60)]
    await storage.hear(*(submitted.model_copy(update={"message_id": one}) for one in lost))  # nobody put their objects
    async with logged_in(registry, storage, home=tmp_path) as terminal:
        assert (await terminal.run("reconcile", "now", "storage", "--destructive", *WORD))[0] == 0
        assert await comparing(storage).settle()
        code, out, _ = await terminal.run("reconcile", "show", "storage")
        assert code == 1
        (number,) = re.findall(r"and 10 more: --report (\d+)", " ".join(out.split()))
        assert " ".join(ADVICE["object missing"].split()) in " ".join(out.split())
        code, all_of_it = await terminal.json("reconcile", "show", "storage", "--report", number)
        assert (code, [each["subject"] for each in all_of_it["items"]]) == (0, sorted(map(str, lost)))
    async with storage.db.worker() as tx:
        said = [json.loads(payload) for kind, payload in await journalled(tx) if kind == "OperatorActed"]
    assert [(each["act"], each["object"], each["ticket"]) for each in said] == [("reconcile.now", "storage", "OPS-3")]


def comparing(stage: Stage) -> Reconciler:
    """What the host of a service compares with."""
    runtime, service = stage.runtime, stage.service
    return Reconciler(
        service.name,
        "a",
        runtime.db,
        runtime.ports,
        runtime.metrics,
        runtime.log,
        kafka=runtime.settings.kafka,
        restore=service.restore,
        inspect=service.inspect,
    )
