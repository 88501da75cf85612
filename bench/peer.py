"""The peer: the NHS's mesh-sandbox (file store) with its own client, doing the same cycle in the same run."""

import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import httpx

from bench.cycle import CLIENTS, CYCLES_EACH, WARM_UP_EACH
from bench.measured import Measured
from bench.meter import Meter

PORT = 19200
PYTHON = str(Path(".venv-peer/bin/python"))
READY_SECONDS_MAX = 30.0


def measure(home: Path) -> Measured:
    """Run the sandbox with one worker (its index is in memory) and eight clients in a process of their own."""
    home.mkdir(parents=True)
    _mailboxes()
    environment = {
        **os.environ,
        "STORE_MODE": "file",
        "AUTH_MODE": "full",
        "SHARED_KEY": "TestKey",
        "MAILBOXES_DATA_DIR": str(home),
    }
    with (home / "server.log").open("wb") as log:
        server = subprocess.Popen(
            [PYTHON, "-m", "uvicorn", "mesh_sandbox.api:app", "--workers", "1", "--port", str(PORT)],
            env=environment,
            stdout=log,
            stderr=log,
        )
    try:
        _wait()
        return _measure(server.pid)
    finally:
        server.terminate()
        server.wait(10)


def _measure(server: int) -> Measured:
    command = [PYTHON, str(Path(__file__).with_name("peer_client.py")), f"http://127.0.0.1:{PORT}"]
    counts = [str(CLIENTS), str(WARM_UP_EACH), str(CYCLES_EACH)]
    with subprocess.Popen([*command, *counts], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as clients:
        assert clients.stdout is not None
        assert clients.stdin is not None
        if clients.stdout.readline().strip() != "warm":
            raise RuntimeError("the peer's clients did not start")
        meter = Meter({"mesh-sandbox": server, "clients": clients.pid})
        meter.start()
        clients.stdin.write("go\n")
        clients.stdin.flush()
        result = json.loads(clients.stdout.readline())
        cpu = meter.stop()
        clients.stdin.write("end\n")
        clients.stdin.flush()
    return Measured("mesh-sandbox cycle", result["count"], result["seconds"], cpu, result["p50"], result["p99"])


def _mailboxes() -> None:
    """Sixteen mailboxes in place of the packaged ones; the package in the peer's environment is ours to change."""
    find = [PYTHON, "-c", "import mesh_sandbox; print(mesh_sandbox.__file__)"]
    module = Path(subprocess.run(find, check=True, capture_output=True, text=True).stdout.strip())
    packaged = module.parent / "store/data/mailboxes.jsonl"
    original = packaged.with_suffix(".original")
    if not original.exists():
        shutil.copy(packaged, original)
    template = json.loads(original.read_text().splitlines()[0])
    lines = [
        json.dumps(template | {"mailbox_id": f"X26BENCH{number:02d}", "password": "password", "mailbox_name": "bench"})
        for number in range(2 * CLIENTS)
    ]
    packaged.write_text("\n".join(lines) + "\n")


def _wait() -> None:
    until = time.monotonic() + READY_SECONDS_MAX
    while time.monotonic() < until:
        try:
            if httpx.get(f"http://127.0.0.1:{PORT}/health", timeout=2).status_code < 500:  # noqa: PLR2004 (an HTTP status)
                return
        except httpx.HTTPError:
            time.sleep(0.1)
    raise TimeoutError("mesh-sandbox did not start")
