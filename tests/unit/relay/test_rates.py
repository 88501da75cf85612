"""Token buckets: what they let through, when they say to come back, and that they stay bounded."""

from datetime import timedelta

import pytest

from todoke.relay.limits import Limits
from todoke.relay.problem import Problem
from todoke.relay.rates import Buckets, RateLimits
from todoke.relay.testing import ManualClock


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
