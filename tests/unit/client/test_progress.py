"""Long work shows a bar to a person at a terminal, and to nobody else."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.terminal import typed

TODOKE = (sys.executable, "-c", "import click, todoke.client.cli as c; g = click.Group('t'); c.register(g); g()")
MESSAGES = 3
SENDING = ("send", "--yes")
FETCHING = ("fetch", "--all", "--to")
BARS = {"send": ("送っています", "検査しています"), "fetch": ("取得しています",)}


@pytest.fixture
def work(logged_in: Any, counter: Any, tmp_path: Path) -> dict[str, list[str]]:
    """Commands with some messages to send, and to fetch; `logged_in` says where the session lies."""
    del logged_in
    plans = tmp_path / "plans"
    plans.mkdir()
    for number in range(MESSAGES):
        name = f"DLT1KYO_9970100018_43_9970100117_11_2025082512190{number}.CSV"
        (plans / name).write_bytes(b"202407,999011,9000000011,20250120\r\n")
        counter.deliver((f"{number}.pdf", b"%PDF-1.7\n"))
    return {"send": [*SENDING, str(plans)], "fetch": [*FETCHING, str(tmp_path / "arrived")]}


@pytest.mark.parametrize("command", ["send", "fetch"])
def test_a_terminal_sees_a_bar_that_reaches_its_end(work: dict[str, list[str]], command: str) -> None:
    code, _, terminal = typed([*TODOKE, *work[command]], {})
    assert code == 0, terminal
    for sentence in BARS[command]:
        assert sentence in terminal
    assert f"{MESSAGES}/{MESSAGES}" in terminal


@pytest.mark.parametrize("command", ["send", "fetch"])
def test_a_program_that_asks_for_json_is_shown_no_bar(work: dict[str, list[str]], command: str) -> None:
    code, out, terminal = typed([*TODOKE, *work[command], "--json"], {})
    assert code == 0, terminal
    assert len(json.loads(out)["messages"]) == MESSAGES
    assert terminal == ""


@pytest.mark.parametrize("command", ["send", "fetch"])
def test_a_file_or_a_pipe_is_given_no_bar(work: dict[str, list[str]], command: str) -> None:
    done = subprocess.run([*TODOKE, *work[command]], capture_output=True, text=True, check=True, env=os.environ)
    assert "\x1b" not in done.stdout + done.stderr
    for sentence in BARS[command]:
        assert sentence not in done.stderr
