"""Answers that refuse are held back for whoever gets many of them, and for nobody else."""

from datetime import timedelta
from typing import Any, cast

import pytest

from todoke.relay.network import Networks
from todoke.relay.pacing import AT_ONCE, PER_SECOND, SECONDS_MAX, Pace
from todoke.relay.testing import ManualClock

TOKENS = {"Bearer a": "9970100018", "Bearer a2": "9970100018", "Bearer b": "9970100117"}


class Knows:
    """As much of `Access` as is asked: whose token this is."""

    def office_of(self, authorization: str) -> str | None:
        return TOKENS.get(authorization)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def pace(clock: ManualClock) -> Pace:
    return Pace(cast("Any", Knows()), Networks("192.0.2.1"), clock)


def request(
    authorization: str = "", *, address: str = "198.51.100.7", path: str = "/v1/sent", forwarded: str = ""
) -> dict[str, Any]:
    headers = [(b"authorization", authorization.encode()), (b"forwarded", forwarded.encode())]
    return {"type": "http", "path": path, "client": (address, 1), "headers": [each for each in headers if each[1]]}


def use_up(pace: Pace, scope: dict[str, Any]) -> None:
    assert [pace.seconds(scope, 401) for _ in range(AT_ONCE)] == [0] * AT_ONCE


def test_refusals_come_slowly_after_so_many_and_never_too_slowly(pace: Pace, clock: ManualClock) -> None:
    use_up(pace, request())
    assert [round(pace.seconds(request(), 404) * PER_SECOND) for _ in range(3)] == [1, 2, 3]
    assert max(pace.seconds(request(), 429) for _ in range(1000)) == SECONDS_MAX
    clock.move(timedelta(seconds=SECONDS_MAX))
    assert pace.seconds(request(), 429) <= 1 / PER_SECOND, "a flood that is over costs nobody more than this"
    clock.move(timedelta(hours=1))
    use_up(pace, request())


def test_an_office_waits_for_itself_only_whatever_its_tokens_and_addresses(pace: Pace) -> None:
    use_up(pace, request("Bearer a"))
    assert pace.seconds(request("Bearer a2", address="203.0.113.9"), 404) > 0
    assert pace.seconds(request("Bearer b"), 404) == 0
    assert pace.seconds(request(), 401) == 0


def test_whoever_has_no_session_is_known_by_the_network(pace: Pace) -> None:
    use_up(pace, request("Bearer forged 1"))
    assert pace.seconds(request("Bearer forged 2", address="198.51.100.99"), 401) > 0
    assert pace.seconds(request(address="203.0.113.9"), 401) == 0
    behind = request(address="192.0.2.1", forwarded="for=198.51.100.7")
    assert pace.seconds(behind, 401) > 0
    assert pace.seconds(request(address="192.0.2.1", forwarded="for=203.0.113.10"), 401) == 0


@pytest.mark.parametrize("status", [200, 202, 304, 500, 503])
def test_what_an_office_is_served_is_never_held_back(pace: Pace, status: int) -> None:
    use_up(pace, request("Bearer a"))
    assert pace.seconds(request("Bearer a"), status) == 0


def test_what_everybody_may_ask_is_held_back_for_those_without_a_session(pace: Pace) -> None:
    use_up(pace, request())
    assert pace.seconds(request(path="/v1/status"), 200) > 0
    for path in ("/health/live", "/metrics", "/internal/sessions/ended"):
        assert pace.seconds(request(path=path), 200) == 0
