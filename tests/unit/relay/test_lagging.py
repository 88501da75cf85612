"""How old what was not heard yet is, as `/metrics` says it."""

from datetime import timedelta

import pytest

from todoke.relay.lagging import Lagging
from todoke.relay.steering import Place
from todoke.relay.testing import ManualClock

ONE, OTHER = Place("todoke.routing.v1", 0), Place("todoke.routing.v1", 1)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def lagging(clock: ManualClock) -> Lagging:
    return Lagging(clock)


def hear(lagging: Lagging, clock: ManualClock, place: Place, seconds_old: float) -> None:
    lagging.heard(place, int((clock.now().timestamp() - seconds_old) * 1000))


def test_a_consumer_that_moves_and_stays_an_hour_behind_says_an_hour(lagging: Lagging, clock: ManualClock) -> None:
    for _ in range(10):
        hear(lagging, clock, ONE, 3600)
        assert lagging.seconds({ONE: 5}) == pytest.approx(3600, abs=0.01)
        clock.move(timedelta(seconds=5))


def test_a_record_after_a_quiet_day_is_not_a_day_old(lagging: Lagging, clock: ManualClock) -> None:
    hear(lagging, clock, ONE, 0)
    clock.move(timedelta(days=1))
    assert lagging.seconds({ONE: 0}) == 0
    clock.move(timedelta(seconds=5))
    assert lagging.seconds({ONE: 1}) == pytest.approx(5, abs=0.01)


def test_a_busy_partition_that_is_never_quite_empty_is_as_old_as_what_it_hears(
    lagging: Lagging, clock: ManualClock
) -> None:
    assert lagging.seconds({ONE: 0}) == 0
    for _ in range(100):
        clock.move(timedelta(seconds=5))
        hear(lagging, clock, ONE, 0.02)
        assert lagging.seconds({ONE: 3}) == pytest.approx(0.02, abs=0.01)


def test_the_slowest_partition_counts(lagging: Lagging, clock: ManualClock) -> None:
    hear(lagging, clock, ONE, 1)
    hear(lagging, clock, OTHER, 60)
    assert lagging.seconds({ONE: 1, OTHER: 1}) == pytest.approx(60, abs=0.01)
    assert lagging.seconds({ONE: 1, OTHER: 0}) == pytest.approx(1, abs=0.01)


def test_what_nothing_is_known_of_counts_from_the_first_look(lagging: Lagging, clock: ManualClock) -> None:
    assert lagging.seconds({ONE: 9}) == 0
    clock.move(timedelta(seconds=30))
    assert lagging.seconds({ONE: 9}) == pytest.approx(30, abs=0.01)
    lagging.forget()
    assert lagging.seconds({ONE: 9}) == 0
