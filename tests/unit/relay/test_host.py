"""The host's watch over consumers, and timers that fail."""

from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest
import structlog
from fastapi import APIRouter

from todoke.relay.clock import Ports
from todoke.relay.faults import Transient
from todoke.relay.handler import Timer
from todoke.relay.host import GAUGE_SECONDS, Host, _Hosted
from todoke.relay.lagging import Lagging
from todoke.relay.limits import NO_PROGRESS_SECONDS_MAX
from todoke.relay.metrics import Metrics
from todoke.relay.room import Room
from todoke.relay.service import Service
from todoke.relay.steering import Place
from todoke.relay.testing import ManualClock, manual_ports


class Hears:
    """As much of a hearing as the watch looks at."""

    def __init__(self, ports: Ports) -> None:
        self.records_behind = 0
        self.discipline = SimpleNamespace(
            last_progress=ports.clock.monotonic(),
            breaker_open=False,
            waiting=False,
            began=True,
            lagging=Lagging(ports.clock),
        )

    def left(self) -> dict[Place, int]:
        return {Place("todoke.routing.v1", 0): self.records_behind}


@pytest.fixture
def ports() -> Ports:
    return manual_ports()


@pytest.fixture
def host(ports: Ports) -> Host:
    return Host(cast("Any", SimpleNamespace(ports=ports, metrics=Metrics())), {}, serves=False, works=True)


@pytest.fixture
def hears(ports: Ports) -> Hears:
    return Hears(ports)


def watch(host: Host, hears: Hears, ports: Ports, seconds: float) -> None:
    """Let time pass, looked at as often as the host does."""
    clock = cast("ManualClock", ports.clock)
    hosted = cast("Any", SimpleNamespace(service=SimpleNamespace(name="routing")))
    for _ in range(int(seconds / GAUGE_SECONDS)):
        clock.move(timedelta(seconds=GAUGE_SECONDS))
        host._watch(hosted, cast("Any", hears))


def test_lag_after_a_long_idle_time_is_no_standstill(host: Host, hears: Hears, ports: Ports) -> None:
    watch(host, hears, ports, NO_PROGRESS_SECONDS_MAX * 10)
    hears.records_behind = 1
    watch(host, hears, ports, GAUGE_SECONDS)
    assert not host.failed.is_set()
    hears.records_behind = 0
    watch(host, hears, ports, GAUGE_SECONDS)
    hears.records_behind = 1
    watch(host, hears, ports, NO_PROGRESS_SECONDS_MAX - GAUGE_SECONDS)
    assert not host.failed.is_set()


def test_lag_without_progress_ends_the_process(host: Host, hears: Hears, ports: Ports) -> None:
    watch(host, hears, ports, GAUGE_SECONDS)
    hears.records_behind = 3
    watch(host, hears, ports, NO_PROGRESS_SECONDS_MAX)
    assert not host.failed.is_set()
    watch(host, hears, ports, GAUGE_SECONDS)
    assert host.failed.is_set()


def test_progress_starts_the_time_anew(host: Host, hears: Hears, ports: Ports) -> None:
    hears.records_behind = 500
    for _ in range(4):
        watch(host, hears, ports, NO_PROGRESS_SECONDS_MAX / 2)
        hears.discipline.last_progress = ports.clock.monotonic()
    assert not host.failed.is_set()


@pytest.mark.parametrize("why", ["breaker_open", "waiting"])
def test_who_waits_for_an_operator_or_an_engine_is_not_ended(host: Host, hears: Hears, ports: Ports, why: str) -> None:
    hears.records_behind = 3
    setattr(hears.discipline, why, True)
    watch(host, hears, ports, NO_PROGRESS_SECONDS_MAX * 3)
    assert not host.failed.is_set()


@pytest.mark.parametrize("trouble", [Transient("away"), RuntimeError("secret")])
async def test_a_timer_that_fails_does_not_stop_the_others(host: Host, trouble: Exception) -> None:
    async def fails() -> None:
        raise trouble

    hosted = cast("Any", SimpleNamespace(runtime=SimpleNamespace(log=structlog.get_logger())))
    with structlog.testing.capture_logs() as lines:
        await host._run_timer(hosted, Timer("t", 1, fails))
    assert [line["timer"] for line in lines] == ["t"]
    assert "secret" not in str(lines)


async def test_a_service_that_is_not_open_yet_answers_503_and_is_not_ready(ports: Ports) -> None:
    router = APIRouter()

    @router.get("/thing")
    async def thing() -> str:
        return "served"

    service = Service(name="routing", routers=(router,), needs=(), degraded_without=())
    tools = dict.fromkeys(("db", "seal", "keys", "key_objects", "root"))
    runtime = SimpleNamespace(name="routing", settings=SimpleNamespace(kafka="127.0.0.1:9"), ports=ports, **tools)
    hosted = _Hosted(cast("Any", runtime), service, cast("Any", None), cast("Any", None))
    settings = SimpleNamespace(kafka="127.0.0.1:9", also_ready=(), trusted_front=None)
    parts = {
        "objects": Answers(),
        "access": Answers(),
        "ended": SimpleNamespace(fresh=True),
        "room": Room(None, ports.clock),
        "secrets": SimpleNamespace(hmac_key=str.encode),
    }
    shared = SimpleNamespace(ports=ports, metrics=Metrics(), settings=settings, **parts)
    host = Host(cast("Any", shared), {}, serves=True, works=False)
    host._hosted.append(hosted)
    host._postgres_answers = Answers().exists  # type: ignore[method-assign]
    public, _ = host.applications()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=public), base_url="http://todoke") as client:
        refused = await client.get("/thing")
        assert (refused.status_code, "Retry-After" in refused.headers) == (503, True)
        health = await client.get("/health/ready")
        assert (health.status_code, health.json()["parts"]) == (503, {"routing": "reconciling"})
        assert (await client.get("/health/live")).status_code == 200
        hosted.is_open = True
        assert (await client.get("/thing")).json() == "served"
        assert (await client.get("/health/ready")).status_code == 200


class Answers:
    """An engine that is there, and a guard that lets everybody in."""

    async def exists(self, *_: object) -> bool:
        return True

    async def operator(self) -> bool:
        return True

    def office_of(self, _: str) -> None:
        return None


def test_a_journal_whose_numbers_go_back_ends_the_process(host: Host) -> None:
    hosted = _Hosted(cast("Any", None), Service(name="routing"), cast("Any", None), cast("Any", None))
    for last_seq in (0, 5, 5, 90):
        host._notice_restore(hosted, last_seq)
    assert not host.failed.is_set()
    host._notice_restore(hosted, 89)
    assert host.failed.is_set()
