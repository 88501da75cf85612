"""What the mirror of offsets does when its consumer is told to stop."""

import asyncio
from collections.abc import Mapping

import pytest
from aiokafka import TopicPartition

from todoke.relay.kafka import _Steering
from todoke.relay.steering import Place

PLACE = Place("t", 0)


class Committing:
    """Of aiokafka's consumer what the mirror calls: an assignment, and a commit that ends when the test says."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def assignment(self) -> set[TopicPartition]:
        return {TopicPartition(PLACE.topic, PLACE.partition)}

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        assert list(offsets.values()) == [7]
        self.begun.set()
        await self.answered


async def test_a_stop_that_meets_the_brokers_answer_is_not_lost() -> None:
    consumer = Committing()
    mirroring = asyncio.create_task(_Steering(lambda: consumer).mirror({PLACE: 7}))
    await consumer.begun.wait()
    consumer.answered.set_result(None)
    mirroring.cancel()  # the answer is there, and nobody who waits for it has run on yet
    with pytest.raises(asyncio.CancelledError):
        await mirroring
