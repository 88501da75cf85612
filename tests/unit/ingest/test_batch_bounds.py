"""A batch is bounded by what is sealed, not by what was uploaded: one part may serve many messages."""

from typing import Any, cast
from uuid import UUID

import pytest

from services.ingest.api import BatchMessage, _send_batch
from todoke.relay.limits import Limits
from todoke.relay.policy import Caller
from todoke.relay.problem import Problem
from todoke.relay.upload import Upload, UploadedFile

LIMITS = Limits(batch_bytes_max=1000)
CALLER = Caller("c1", "9970100018", frozenset({"staff"}), None, suspended=False, session=UUID(int=1))


class Sends:
    """Takes what reaches it."""

    def __init__(self) -> None:
        self.taken = 0

    async def send(self, caller: Caller, submissions: list[Any]) -> list[Problem]:
        del caller
        self.taken += len(submissions)
        return [Problem("TDK-NOTHING-TO-SEND") for _ in submissions]


async def send(sends: Sends, messages: int) -> None:
    upload = Upload(b"", (UploadedFile("f1", "記録.pdf", bytes(100)),))
    batch = [BatchMessage(idempotency_key=f"k{n}", files=("f1",)) for n in range(messages)]
    await _send_batch(cast("Any", sends), CALLER, batch, upload, LIMITS)


async def test_a_part_that_serves_many_messages_counts_for_each() -> None:
    sends = Sends()
    await send(sends, 10)
    assert sends.taken == 10
    with pytest.raises(Problem) as refused:
        await send(sends, 11)
    assert (refused.value.status, refused.value.code) == (413, "TDK-MESSAGE-TOO-LARGE")
    assert sends.taken == 10
