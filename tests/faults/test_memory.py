"""What a process holds in memory is what it counted before it held it: measured from outside, on the process itself."""

import asyncio
import json
from pathlib import Path

import httpx

from tests.faults.stack import Stack
from tests.faults.traffic import RECIPIENTS, SENDERS, client_of, until
from todoke.relay.limits import MEBIBYTE, Limits

BYSTANDER = "9970100414"
HOSTILE = (*SENDERS, RECIPIENTS[0])

PART_BYTES = 10 * MEBIBYTE
USES = 6
"""One part serves so many messages: ten mebibytes come, sixty are sealed."""

BESIDE_BYTES_MAX = 80 * MEBIBYTE
"""What parsing, threads and the connections to the engines take beside the parts."""


def resident(stack: Stack, field: str) -> int:
    """Bytes of the web process in memory: `VmRSS` now, `VmHWM` at most since the last `forget_peak` (proc(5))."""
    status = Path(f"/proc/{stack.processes['web'].pid}/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith(field))


def forget_peak(stack: Stack) -> None:
    Path(f"/proc/{stack.processes['web'].pid}/clear_refs").write_text("5", encoding="ascii")


async def hostile_batch(stack: Stack, token: str, run: str) -> httpx.Response:
    messages = [{"recipient": BYSTANDER, "idempotency_key": f"{run}-{n}", "files": ["f1"]} for n in range(USES)]
    async with httpx.AsyncClient(base_url=stack.address, timeout=60) as http:
        return await http.post(
            "/v1/batches",
            headers={"Authorization": f"Bearer {token}"},
            files=[
                ("messages", (None, json.dumps(messages), "application/json")),
                ("f1", ("写真.pdf", bytes(PART_BYTES), "application/pdf")),
            ],
        )


async def token_of(stack: Stack, office: str) -> str:
    async with client_of(stack, office) as client:
        assert client.session is not None
        return client.session.access_token


async def test_parts_that_serve_many_messages_are_counted_as_often_as_they_are_sealed(stack: Stack) -> None:
    tokens = [await token_of(stack, office) for office in HOSTILE]
    before = resident(stack, "VmRSS")
    forget_peak(stack)
    answers = await asyncio.gather(*(hostile_batch(stack, token, "hostile") for token in tokens))
    grown = resident(stack, "VmHWM") - before
    assert {answer.status_code for answer in answers} <= {200, 503}
    refused = {answer.json()["code"] for answer in answers if answer.status_code == 503}
    assert refused <= {"TDK-BUSY", "TDK-ENGINE-AWAY"}  # the second: sixty mebibytes were not stored in time
    assert grown > PART_BYTES * USES, "it measures what it is meant to"
    assert grown <= Limits().bytes_in_flight_max + BESIDE_BYTES_MAX

    async def all_served() -> bool:
        """Nothing stays counted: once nobody else sends, a batch is taken."""
        return (await hostile_batch(stack, tokens[0], "hostile")).status_code == 200

    await until(all_served, "a batch after the others")
