"""The consumer's discipline, poll by poll: real PostgreSQL, records and log handed in by the test."""

import contextlib
import dataclasses
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.kit.topology import TOPIC, Count, Topology, poison, transient, undeliverable
from todoke.events import Event, record_of
from todoke.relay.consumer import ATTEMPTS_MAX, Discipline, Place
from todoke.relay.limits import PARKS_IN_A_ROW_MAX
from todoke.relay.postgres import Database, DatabaseAway, Tx, queries

pytestmark = [pytest.mark.long]
FIRST, SECOND = Place(TOPIC, 0), Place(TOPIC, 1)


@dataclasses.dataclass
class Line:
    """A record as a driver hands it over."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]


class Steered:
    """A log that does nothing but remember what it was told."""

    def __init__(self, end: int = 1000) -> None:
        self.first, self.end = 0, end
        self.at: dict[Place, int] = {}
        self.paused: set[Place] = set()

    def seek(self, place: Place, offset: int) -> None:
        self.at[place] = offset

    def pause(self, place: Place) -> None:
        self.paused.add(place)

    def resume(self, place: Place) -> None:
        self.paused.discard(place)

    async def bounds(self, places: Sequence[Place]) -> Mapping[Place, tuple[int, int]]:
        return dict.fromkeys(places, (self.first, self.end))

    async def mirror(self, offsets: Mapping[Place, int]) -> None:
        del offsets


def line(event: Event, offset: int, place: Place = FIRST) -> Line:
    """The record of an event at a place in the log."""
    record = record_of(event, "routing", datetime.now(UTC), None)
    return Line(
        place.topic, place.partition, offset, 1_000 + offset, record.key.encode(), record.body, record.headers()
    )


async def assigned(topology: Topology, handler: Count, *, careful: bool = False) -> tuple[Discipline, Steered]:
    """A discipline that holds two partitions."""
    discipline, log = topology.discipline(handler, careful=careful), Steered()
    discipline.steer = log
    await discipline.assigned([FIRST, SECOND])
    return discipline, log


async def test_waiting_for_an_engine_after_an_unclean_exit_is_no_attempt(topology: Topology) -> None:
    handler = Count()
    handler.fails = transient
    discipline, _ = await assigned(topology, handler, careful=True)
    record = line(undeliverable(topology.ports, 1), 0)
    for _ in range(ATTEMPTS_MAX + 2):
        await discipline.poll({FIRST: [record]})
    assert discipline.waiting
    handler.fails = lambda _: None
    await discipline.poll({FIRST: [record]})
    assert not await topology.fetch("SELECT 1 FROM hold")
    assert len(await topology.effects()) == 1
    assert not discipline.waiting


async def test_good_batches_end_a_row_of_parks(topology: Topology) -> None:
    handler = Count()
    handler.fails = lambda reason: poison(reason) if reason == "TDK-13" else None
    discipline, _ = await assigned(topology, handler)
    rounds = PARKS_IN_A_ROW_MAX + 1
    for number in range(rounds):
        bad, good = undeliverable(topology.ports, 13), undeliverable(topology.ports, 1)
        await discipline.poll({FIRST: [line(bad, 2 * number)]})
        await discipline.poll({FIRST: [line(good, 2 * number + 1)]})
    assert not discipline.breaker_open
    assert len(await topology.fetch("SELECT 1 FROM hold")) == rounds


async def test_an_open_breaker_stops_the_rest_of_the_poll(topology: Topology) -> None:
    handler = Count()
    handler.fails = lambda reason: poison(reason) if reason == "TDK-13" else None
    discipline, log = await assigned(topology, handler)
    bad = [line(undeliverable(topology.ports, 13), offset) for offset in range(PARKS_IN_A_ROW_MAX + 1)]
    await discipline.poll({FIRST: bad, SECOND: [line(undeliverable(topology.ports, 1), 0, SECOND)]})
    assert discipline.breaker_open
    assert log.paused == {FIRST, SECOND}
    assert await topology.effects() == []
    handler.fails = lambda _: None
    await topology.fetch("DELETE FROM breaker RETURNING 1")
    await discipline.watch_breaker()
    assert log.paused == set()


async def test_a_partition_is_not_forgotten_when_the_database_goes_in_the_midst_of_a_lost_race(
    topology: Topology, monkeypatch: pytest.MonkeyPatch
) -> None:
    discipline, log = await assigned(topology, Count())
    await topology.fetch("UPDATE consumer_offset SET next = 1 RETURNING 1")
    records = [line(undeliverable(topology.ports, number), number) for number in range(2)]
    with monkeypatch.context() as patch:
        patch.setattr(Database, "worker", _away_from_the_second_time_on())
        await discipline.poll({FIRST: records})
    await discipline.poll({FIRST: records})
    assert log.at[FIRST] == 1
    await discipline.poll({FIRST: records[1:]})
    assert [row["reason"] for row in await topology.effects()] == ["TDK-1"]


async def test_nothing_waits_for_partitions_that_are_gone_or_go_on(topology: Topology) -> None:
    handler = Count()
    handler.fails = transient
    discipline, _ = await assigned(topology, handler)
    record = line(undeliverable(topology.ports, 1), 0)
    await discipline.poll({FIRST: [record]})
    handler.fails = poison
    await discipline.poll({FIRST: [record]})
    assert len(await topology.fetch("SELECT 1 FROM hold")) == 1
    assert not discipline.waiting
    handler.fails = transient
    await discipline.poll({FIRST: [line(undeliverable(topology.ports, 2), 1)]})
    assert discipline.waiting
    await discipline.revoked()
    assert not discipline.waiting


async def test_a_log_cut_off_under_a_running_consumer_is_heard_from_its_beginning(topology: Topology) -> None:
    discipline, log = await assigned(topology, Count())
    await discipline.poll({FIRST: [line(undeliverable(topology.ports, number), number) for number in range(5)]})
    log.end = 3  # the last two records are lost; the client found its offset out of range and began anew
    kept = [line(undeliverable(topology.ports, 10 + number), number) for number in range(3)]
    await discipline.poll({FIRST: kept})
    assert log.at[FIRST] == 0
    await discipline.poll({FIRST: kept})
    assert [row["reason"] for row in await topology.effects()][5:] == ["TDK-10", "TDK-11", "TDK-12"]


async def test_a_header_without_a_value_holds_its_record_only(topology: Topology) -> None:
    discipline, _ = await assigned(topology, Count())
    whole = line(undeliverable(topology.ports, 1), 0)
    for offset, name in enumerate(("ce_subject", "ce_id", "ce_type")):
        headers = [(key, None if key == name else value) for key, value in whole.headers]
        await discipline.poll({FIRST: [dataclasses.replace(whole, offset=offset, headers=headers)]})
    await discipline.poll({FIRST: [line(undeliverable(topology.ports, 2), 3)]})
    assert [row["reason"] for row in await topology.effects()] == ["TDK-2"]
    assert len(await topology.fetch("SELECT 1 FROM parked")) == 3


async def test_a_record_that_cannot_even_be_parked_is_tried_again_and_none_behind_it_is_handled(
    topology: Topology, monkeypatch: pytest.MonkeyPatch
) -> None:
    handler = Count()
    handler.fails = lambda reason: poison(reason) if reason == "TDK-13" else None
    discipline, log = await assigned(topology, handler)
    records = [line(undeliverable(topology.ports, number), offset) for offset, number in enumerate((13, 1))]

    async def fails(*_: object) -> None:
        raise RuntimeError("secret")

    with monkeypatch.context() as patch:
        patch.setattr(discipline.parking, "park", fails)
        await discipline.poll({FIRST: records})
    assert (log.at[FIRST], log.paused) == (0, {FIRST})
    assert await topology.effects() == []
    await discipline.poll({FIRST: records})
    assert len(await topology.fetch("SELECT 1 FROM hold")) == 1
    assert [row["reason"] for row in await topology.effects()] == ["TDK-1"]


async def test_a_default_partition_that_was_used_is_found(topology: Topology) -> None:
    sql = queries("todoke.relay", "journal.sql")
    async with topology.hearer.connection() as db:
        assert not [row for row in await sql.default_partitions_used(db) if row["name"] == "journal_rest"]
    async with topology.hearer.worker() as tx:
        await tx.db.execute(
            "INSERT INTO journal (message_id, event_id, key, type, version, payload, recorded_at) "
            "VALUES ('ffffffff-ffff-7fff-bfff-ffffffffffff', gen_random_uuid(), 'k', 'T', 1, '{}', now())"
        )
    async with topology.hearer.connection() as db:
        assert [row["name"] for row in await sql.default_partitions_used(db)] == ["journal_rest"]


def _away_from_the_second_time_on() -> Any:
    real, calls = Database.worker, 0

    @contextlib.asynccontextmanager
    async def worker(self: Database, *values: Any) -> AsyncIterator[Tx]:
        nonlocal calls
        calls += 1
        if calls > 1:
            raise DatabaseAway("test")
        async with real(self, *values) as tx:
            yield tx

    return worker
