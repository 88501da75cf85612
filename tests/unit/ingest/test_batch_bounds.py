"""A batch is bounded by what is sealed, not by what was uploaded: one part may serve many messages."""

from typing import Any, cast
from uuid import UUID

import pytest

from services.ingest.api import BatchMessage, _send_batch
from todoke.relay.limits import Limits
from todoke.relay.policy import Caller
from todoke.relay.problem import Problem
from todoke.relay.seal import OVERHEAD_BYTES
from todoke.relay.upload import BytesInFlight, Upload, UploadedFile

LIMITS = Limits(batch_bytes_max=1000)
CALLER = Caller("c1", "9970100018", frozenset({"staff"}), None, suspended=False, session=UUID(int=1))


class Sends:
    """Takes what reaches it."""

    def __init__(self, in_flight: BytesInFlight) -> None:
        self.in_flight = in_flight
        self.taken = 0
        self.held = 0

    async def send(self, caller: Caller, submissions: list[Any]) -> list[Problem]:
        del caller
        self.taken += len(submissions)
        self.held = self.in_flight.held
        return [Problem("TDK-NOTHING-TO-SEND") for _ in submissions]


async def send(sends: Sends, messages: int) -> None:
    upload = Upload(b"", (UploadedFile("f1", "記録.pdf", bytes(100)),))
    batch = [BatchMessage(idempotency_key=f"k{n}", files=("f1",)) for n in range(messages)]
    await _send_batch(cast("Any", sends), CALLER, batch, upload, LIMITS, sends.in_flight)


async def test_a_part_that_serves_many_messages_counts_for_each() -> None:
    sends = Sends(BytesInFlight(100_000))
    await send(sends, 10)
    assert sends.taken == 10
    with pytest.raises(Problem) as refused:
        await send(sends, 11)
    assert (refused.value.status, refused.value.code) == (413, "TDK-MESSAGE-TOO-LARGE")
    assert sends.taken == 10


async def test_what_is_sealed_is_counted_before_it_is_held_and_refused_when_there_is_no_room() -> None:
    """Ten sealed copies of a hundred bytes, and the one just sealed; the part itself was counted as it came."""
    sends = Sends(BytesInFlight(11 * (100 + OVERHEAD_BYTES)))
    await send(sends, 10)
    assert (sends.held, sends.in_flight.held) == (11 * (100 + OVERHEAD_BYTES), 0)
    sends.in_flight.take(1)
    with pytest.raises(Problem) as refused:
        await send(sends, 10)
    assert (refused.value.status, refused.value.code) == (503, "TDK-BUSY")
    assert (sends.taken, sends.in_flight.held) == (10, 1)
