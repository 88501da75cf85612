"""Token buckets: what they let through, when they say to come back, and that they stay bounded."""

import asyncio
from collections.abc import AsyncGenerator
from datetime import timedelta

import pytest
from starlette.datastructures import Headers

from todoke.relay.limits import Limits
from todoke.relay.problem import Problem
from todoke.relay.rates import READING_SECONDS_MAX, READINGS_AT_ONCE, Buckets, RateLimits
from todoke.relay.testing import ManualClock
from todoke.relay.upload import BytesInFlight, Form


def test_reserve_may_come_at_once_and_then_the_rate_holds() -> None:
    clock = ManualClock()
    rates = RateLimits(Limits(sends_per_second_office=20, sends_reserve_office=400), clock)
    for _ in range(2):
        rates.sends("A", 200)
    with pytest.raises(Problem) as refused:
        rates.sends("A")
    assert (refused.value.status, refused.value.retry_after) == (429, 1)
    rates.sends("B", 400)
    clock.move(timedelta(seconds=1))
    rates.sends("A", 20)


class Body:
    """The body of a message of text alone, which is there at once."""

    headers = Headers({"content-type": "multipart/form-data; boundary=b"})

    async def stream(self) -> AsyncGenerator[bytes, None]:
        yield b'--b\r\nContent-Disposition: form-data; name="message"\r\n\r\n{}\r\n--b--\r\n'


async def test_as_many_wait_at_once_as_the_reserve_says() -> None:
    limits = Limits(sends_reserve_office=500)
    rates, in_flight, sent = RateLimits(limits, ManualClock()), BytesInFlight(10_000), []

    async def send(number: int) -> None:
        async with rates.uploading("A", Body(), Form.message(limits), in_flight):
            await asyncio.sleep(0)
            sent.append(number)

    await asyncio.gather(*map(send, range(limits.sends_reserve_office)))
    assert sent == list(range(500))
    assert Limits(sends_reserve_office=5).waiting_max() == 400, "fetches wait, too"


def test_batch_is_refused_whole() -> None:
    clock = ManualClock()
    rates = RateLimits(Limits(sends_per_second_office=20, sends_reserve_office=400), clock)
    rates.sends("A", 300)
    with pytest.raises(Problem) as refused:
        rates.sends("A", 200)
    assert refused.value.retry_after == 5
    rates.sends("A", 100)
    with pytest.raises(Problem):
        rates.sends("B", 401)


def test_requests_of_one_user_do_not_count_for_another() -> None:
    rates = RateLimits(Limits(requests_per_minute_user=2), ManualClock())
    rates.request("a")
    rates.request("a")
    with pytest.raises(Problem) as refused:
        rates.request("a")
    assert refused.value.code == "TDK-TOO-MANY"
    rates.request("b")


def test_number_of_buckets_is_bounded() -> None:
    buckets = Buckets(capacity=1, per_second=1, clock=ManualClock(), buckets_max=3)
    for name in "abcd":
        assert buckets.take(name, 1) == 0
    assert len(buckets) == 3
    assert buckets.take("d", 1) > 0


def test_what_was_not_used_is_there_again_and_never_more_than_that() -> None:
    buckets = Buckets(capacity=10, per_second=0.001, clock=ManualClock())
    assert buckets.take("a", 8) == 0
    assert buckets.take("a", 8) > 0
    buckets.give("a", 6)
    assert buckets.take("a", 8) == 0
    buckets.give("a", 100)
    assert buckets.take("a", 10) == 0
    assert buckets.take("a", 1) > 0


def test_readers_of_an_office_come_evenly_after_the_first_ones_and_no_other_office_waits() -> None:
    clock = ManualClock()
    rates = RateLimits(Limits(requests_per_minute_user=600), clock)
    assert [rates.reading_wait("A") for _ in range(READINGS_AT_ONCE)] == [0] * READINGS_AT_ONCE
    assert [round(rates.reading_wait("A"), 3) for _ in range(3)] == [0.05, 0.1, 0.15]
    assert rates.reading_wait("B") == 0
    assert max(rates.reading_wait("A") for _ in range(1000)) == READING_SECONDS_MAX
    clock.move(timedelta(hours=1))
    assert rates.reading_wait("A") == 0
