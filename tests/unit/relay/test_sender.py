"""The sender's words for what became of a round."""

from datetime import UTC, datetime
from typing import Any, cast
from uuid import UUID

import pytest
import structlog
from aiokafka.errors import KafkaConnectionError, MessageSizeTooLargeError

from todoke.events import Record
from todoke.relay.kafka import KafkaSender
from todoke.relay.publisher import OutcomeUnknown, Outgoing


def row(seq: int) -> Outgoing:
    at = datetime(2025, 9, 1, tzinfo=UTC)
    subject = UUID(int=seq)
    return Outgoing(seq, Record(subject, "MessageRouted", 1, "routing", "s", subject, "k", at, None, b"{}"))


async def test_a_broker_lost_while_a_refused_batch_is_taken_apart_leaves_the_outcome_unknown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sender, rows = KafkaSender("127.0.0.1:9", "t", structlog.get_logger()), [row(1), row(2)]
    tries = 0

    async def connected() -> Any:
        return cast("Any", object())

    async def send_batches(_: Any, sent: list[Outgoing]) -> Any:
        nonlocal tries
        tries += 1
        if tries > 1:
            raise KafkaConnectionError
        return {0: sent}, {0: MessageSizeTooLargeError()}

    monkeypatch.setattr(sender, "_connected", connected)
    monkeypatch.setattr(sender, "_send_batches", send_batches)
    with pytest.raises(OutcomeUnknown):
        await sender.send(rows)
    assert tries == 2
