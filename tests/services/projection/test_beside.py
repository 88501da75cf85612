"""A second read set beside the live one: built, compared, switched, kept, abandoned. tests/faults has its consumer."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from datetime import timedelta
from typing import Any

import asyncpg
import httpx
import pytest
from aiokafka import AIOKafkaProducer

from services.projection.comparing import Comparing
from services.projection.filling import Filling
from services.projection.handlers import Lists
from services.projection.level import NEAR_RECORDS, Level, sql
from services.projection.rebuild import KEPT
from todoke.events import MessageEvent
from todoke.relay.clock import Ports
from todoke.relay.handler import Handler, Heard
from todoke.relay.kafka import ensure_topics
from todoke.relay.parking import decisions_of
from todoke.relay.postgres import Database, queries
from todoke.relay.service import Shared
from todoke.relay.testing import ManualClock, Stage, heard, journalled
from todoke.relay.tokens import Claims

from .conftest import RECIPIENT, SENDER, Office, Story, tables
from .test_replay import dice, everything, lives, shuffled

Tell = Callable[..., Story]
Log = list[Heard[Any]]
Hears = Callable[[Log], Awaitable[None]]
WORD = {"reason": "一覧が壊れたため", "ticket": "OPS-12"}
URL = "/v1/operator/services/projection/rebuild"


@pytest.fixture
async def beside(shared: Shared, read_set: str, projection: Stage) -> AsyncIterator[Database]:
    """The database as the consumer of a rebuild sees it; nothing stands beside the live read set afterwards."""
    database = await Database.open(
        "projection", address=read_set, passwords=shared.secrets.password, ports=shared.ports, lists="beside"
    )
    yield database
    await database.close()
    async with projection.db.worker() as tx:
        await tables.abandon_whatever(tx.db)
    await Filling(projection.runtime).due()


class Operator:
    """An operator at the operators' listener."""

    def __init__(self, shared: Shared, client: httpx.AsyncClient) -> None:
        self._shared = shared
        self._client = client

    async def ask(self, method: str, path: str = "", body: Any = WORD) -> httpx.Response:
        ports = self._shared.ports
        session = str(ports.ids.uuid7())
        claims = Claims(subject="op-1", office=None, roles=(), licence_until=None, session=session, scope="operator")
        headers = {"Authorization": f"Bearer {self._shared.tokens.issue(claims, ports.clock.now())}"}
        return await self._client.request(method, URL + path, json=body, headers=headers)

    async def did(self, method: str, path: str = "", body: Any = WORD) -> Any:
        answer = await self.ask(method, path, body)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None


@pytest.fixture
async def at_operators(projection: Stage) -> AsyncIterator[httpx.AsyncClient]:
    """A client of projection on the operators' listener."""
    async with projection.operators_client() as made:
        yield made


@pytest.fixture
def operator(shared: Shared, at_operators: httpx.AsyncClient) -> Operator:
    """An operator with a session."""
    return Operator(shared, at_operators)


def log_of(told: Iterable[tuple[str, MessageEvent]]) -> Log:
    """Events as records of the log: whoever hears one hears when it was recorded."""
    return [heard(event, said_by=service) for service, event in told]


def deliveries(*stories: Story) -> Log:
    """Messages that arrive, one after the other."""
    events = [event for number, story in enumerate(stories, 1) for event in story.until_delivered(number)]
    return log_of((event.SAID_BY[0], event) for event in events)


async def hear(handler: Handler, db: Database, log: Log) -> None:
    """Let a handler write a log into a database."""
    prepared = await handler.prepare(log)
    async with db.worker() as tx:
        await handler.apply(prepared, tx)


@pytest.fixture
def live(projection: Stage) -> Callable[[Log], Awaitable[None]]:
    """`live(log)`: the lists that everybody reads have heard this log."""
    return lambda log: hear(projection.service.handlers[0], projection.db, log)


@pytest.fixture
def rebuilt(operator: Operator, beside: Database) -> Callable[[Log], Awaitable[None]]:
    """`rebuilt(log)`: a read set beside the live one has heard this log."""

    async def fill(log: Log) -> None:
        await operator.did("POST")
        if log:
            await hear(Lists(lambda _: None, live=False), beside, log)

    return fill


async def test_a_read_set_built_beside_the_live_one_equals_it(
    projection: Stage, beside: Database, operator: Operator, live: Hears, rebuilt: Hears, tell: Tell
) -> None:
    rng = dice(5)
    told = lives(tell, rng)
    log = log_of(told)
    await live(log)
    wanted = await everything(projection.db)
    await rebuilt([log[told.index(one)] for one in shuffled(told, rng)])
    assert await everything(beside) == wanted  # feeds among them: the live consumer alone writes those
    said = await comparison(projection, operator)
    assert (said["equal"], said["differences"]) == (True, [])
    assert said["tables"]["fact"] == {"live": len(log), "beside": len(log)}
    assert set(said["tables"]) == {"fact", "sent", "received", "tally"}


async def test_it_has_the_same_tables_rights_and_row_security(
    projection: Stage, operator: Operator, beside: Database
) -> None:
    await operator.did("POST")
    async with projection.db.worker() as tx:
        there, made = [
            [dict(row) for row in await tables.layout(tx.db, schema=schema)]
            for schema in ("projection_lists", "projection_beside")
        ]
    assert made == there
    assert {table["owner"] for table in made} == {"projection_owner"}
    async with beside.api(RECIPIENT) as tx:
        assert await tables.see_received(tx.db) == 0


async def test_a_damaged_office_is_found_and_the_switch_heals_it(
    projection: Stage,
    operator: Operator,
    live: Hears,
    rebuilt: Hears,
    tell: Tell,
    sender: Office,
    recipient: Office,
) -> None:
    one, two = tell(), tell()
    log = deliveries(one, two)
    await live(log)
    async with projection.db.worker() as tx:
        await tables.damage_received(tx.db, message_id=one.message_id)
        await tables.lose_sent(tx.db, message_id=two.message_id)
    await rebuilt(log)
    said = await comparison(projection, operator)
    assert said["equal"] is False
    assert said["offices"] == 2
    assert said["differences"] == [
        {"office": SENDER, "table": "sent", "live": 1, "beside": 2},
        {"office": RECIPIENT, "table": "received", "live": 2, "beside": 2},
    ]
    await operator.did("POST", "/switch")
    assert [item["status"] for item in await recipient.items("received")] == ["delivered"] * 2
    assert len(await sender.items("sent")) == 2
    assert (await operator.ask("GET", "/compare", None)).json()["code"] == "TDK-REBUILD-NONE"  # its sides have changed
    assert (await comparison(projection, operator))["offices"] == 2  # the damage is in the one that is kept now


async def test_what_clients_hold_stays_good_over_a_switch(
    operator: Operator, live: Hears, rebuilt: Hears, tell: Tell, recipient: Office
) -> None:
    log = deliveries(tell(), tell(), tell())
    await live(log)
    before = await recipient.get("/v1/received", limit="2")
    etag, cursor = before.headers["ETag"], before.json()["next"]
    await rebuilt(log)
    await operator.did("POST", "/switch")
    # The same page, but a version of another read set: no answer can be taken for one of before.
    after = await recipient.get("/v1/received", headers={"If-None-Match": etag}, limit="2")
    assert (after.status_code, after.json()["items"]) == (200, before.json()["items"])
    assert [item["delivery_no"] for item in await recipient.items("received", limit="2", cursor=cursor)] == [1]
    assert [item["delivery_no"] for item in await recipient.items("received", since="1")] == [2, 3]
    again = await recipient.get("/v1/received", headers={"If-None-Match": after.headers["ETag"]}, limit="2")
    assert again.status_code == 304
    await operator.did("POST", "/switch")
    back = await recipient.get("/v1/received", headers={"If-None-Match": after.headers["ETag"]}, limit="2")
    assert back.status_code == 200


async def test_the_feed_goes_on_over_a_switch(
    projection: Stage, operator: Operator, live: Hears, rebuilt: Hears, tell: Tell, recipient: Office
) -> None:
    one, two = tell(), tell()
    log = deliveries(one)
    await live(log)
    changes = await recipient.items("changes")
    await rebuilt(log)
    await operator.did("POST", "/switch")
    assert await recipient.items("changes") == changes
    await projection.hear(*two.until_delivered(2))
    async with projection.db.worker() as tx:
        rows = await tables.numbers(tx.db)
    assert {row["office"]: row["numbers"] for row in rows}[RECIPIENT] == [1, 2]


async def test_after_a_switch_the_old_one_is_kept_for_a_day_and_can_be_gone_back_to(
    projection: Stage, operator: Operator, rebuilt: Hears, ports: Ports
) -> None:
    await rebuilt([])
    switched = await operator.did("POST", "/switch")
    now = await operator.did("GET", body=None)
    assert (now["state"], now["kept_until"]) == ("none", switched["kept_until"])
    assert (await operator.ask("POST")).json()["code"] == "TDK-REBUILD-THERE"
    filling = Filling(projection.runtime)
    assert await filling.due() is not None  # it goes on hearing
    await operator.did("POST", "/switch")
    assert isinstance(ports.clock, ManualClock)
    ports.clock.move(KEPT + timedelta(minutes=1))
    assert await filling.due() is None
    async with projection.db.worker() as tx:
        assert await tables.count_tables(tx.db, schema="projection_beside") == 0
    assert (await operator.ask("POST", "/switch")).json()["code"] == "TDK-REBUILD-NONE"


async def test_an_abandoned_one_is_removed_and_another_can_begin(
    projection: Stage, operator: Operator, rebuilt: Hears
) -> None:
    await rebuilt([])
    first = (await operator.did("GET", body=None))["run"]
    await operator.did("DELETE")
    assert (await operator.did("GET", body=None))["state"] == "none"
    assert (await operator.ask("DELETE")).json()["code"] == "TDK-REBUILD-NONE"
    again = asyncio.create_task(operator.did("POST"))  # waits for the removal
    await asyncio.sleep(0)
    await Filling(projection.runtime).due()
    assert (await again)["run"] != first


async def test_one_that_lags_is_neither_compared_nor_switched(
    projection: Stage, beside: Database, operator: Operator
) -> None:
    await operator.did("POST")
    for records in (NEAR_RECORDS + 1, NEAR_RECORDS):
        async with projection.db.worker() as tx:
            await tables.hear_up_to(tx.db, topic="t", next=records)
        assert (await operator.did("GET", body=None))["progress"] == {"heard": 0, "total": records}
        assert (await operator.ask("POST", "/switch")).json()["code"] == "TDK-REBUILD-NOT-READY"  # nobody fills it here
    async with projection.db.worker() as tx:
        await tables.hear_up_to(tx.db, topic="t", next=NEAR_RECORDS + 1)
    assert (await operator.ask("POST", "/compare")).json()["code"] == "TDK-REBUILD-NOT-READY"
    async with beside.worker() as tx:
        await tables.hear_up_to(tx.db, topic="t", next=NEAR_RECORDS + 1)
    await operator.did("POST", "/switch")


async def test_one_is_ready_when_it_has_heard_what_the_log_holds_now(
    engines: Any, projection: Stage, beside: Database, operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.projection.rebuild.READY_SECONDS_MAX", 0.1)
    runtime, kafka = projection.runtime, engines.kafka
    topic = f"short-{runtime.ports.ids.uuid7()}"
    await operator.did("POST")
    async with projection.db.worker() as tx:
        await tables.hear_up_to(tx.db, topic=topic, next=0)
    assert (await operator.did("GET", body=None))["state"] == "running"  # nobody knows how long the log is
    monkeypatch.setattr(runtime, "settings", runtime.settings.model_copy(update={"kafka": kafka}))
    await ensure_topics(kafka, [topic], partitions=1, replication=1)
    assert (await operator.did("GET", body=None))["state"] == "ready"  # it is empty
    producer = AIOKafkaProducer(bootstrap_servers=kafka)
    await producer.start()
    try:
        for _ in range(2):
            await producer.send_and_wait(topic, b"{}")
    finally:
        await producer.stop()
    for live, made, state in ((1, 0, "running"), (1, 1, "running"), (2, 2, "ready")):
        for db, next_offset in ((projection.db, live), (beside, made)):
            async with db.worker() as tx:
                await tables.hear_up_to(tx.db, topic=topic, next=next_offset)
        assert (await operator.did("GET", body=None))["state"] == state, (live, made)


async def test_a_comparison_goes_piece_by_piece_and_is_taken_up_where_it_was(
    projection: Stage, operator: Operator, live: Hears, rebuilt: Hears, tell: Tell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.projection.comparing.PIECE_ROWS", 4)
    stories = [tell() for _ in range(5)]
    log = deliveries(*stories)
    await live(log)
    await rebuilt(log)
    async with projection.db.worker() as tx:
        await tables.damage_received(tx.db, message_id=stories[0].message_id)
        await tables.damage_received(tx.db, message_id=stories[4].message_id)
    before = len(await acts(projection))
    begun = await operator.did("POST", "/compare")
    assert (begun["state"], begun["equal"], begun["tables"]) == ("running", None, {})
    steps = [begun]
    while await Comparing(projection.db, projection.runtime.ports.clock).piece():  # each time as another process
        steps.append(await operator.did("GET", "/compare", None))
        assert steps[-1]["equal"] is (None if steps[-1]["state"] == "running" else False)
        if steps[-1]["state"] == "running":
            assert (await operator.did("POST", "/compare"))["began_at"] == begun["began_at"]
    now = steps[-1]
    compared = [step["tables"]["fact"]["live"] for step in steps[1:]]
    assert compared == sorted(compared)
    assert (len(set(compared)) >= 3, compared[-1], now["state"]) == (True, len(log), "done")
    # Two of the pieces differ: the first one with two messages, the last one with one.
    assert now["differences"] == [{"office": RECIPIENT, "table": "received", "live": 3, "beside": 3}]
    assert now["tables"]["tally"]["live"] == now["tables"]["tally"]["beside"] > 0
    assert (await operator.did("POST", "/compare"))["tables"] == {}  # another one begins
    assert (await acts(projection))[before:] == ["rebuild.compare"] * 2  # to ask for what is under way changes nothing


@pytest.mark.soak
async def test_a_million_rows_are_compared(projection: Stage, operator: Operator, rebuilt: Hears) -> None:
    await rebuilt([])
    for first in range(0, 250_000, 10_000):
        async with projection.db.worker() as tx:
            await tables.make_facts(tx.db, first=first, last=first + 9_999)
    async with projection.db.worker() as tx:
        await tables.lose_a_fact(tx.db)
    said = await comparison(projection, operator)
    assert said["tables"]["fact"] == {"live": 999_999, "beside": 1_000_000}
    assert (said["equal"], said["offices"]) == (False, 1)


async def test_a_piece_waits_for_a_read_set_that_lags(
    projection: Stage, beside: Database, operator: Operator, rebuilt: Hears
) -> None:
    await rebuilt([])
    await operator.did("POST", "/compare")
    async with projection.db.worker() as tx:
        await tables.hear_up_to(tx.db, topic="t", next=NEAR_RECORDS + 1)
    comparing = Comparing(projection.db, projection.runtime.ports.clock)
    assert not await comparing.piece()
    async with beside.worker() as tx:
        await tables.hear_up_to(tx.db, topic="t", next=NEAR_RECORDS + 1)
    assert await comparing.piece()


async def acts(projection: Stage) -> list[str]:
    """What operators ever did here, by the events that say so."""
    async with projection.db.worker() as tx:
        said = await journalled(tx)
    return [json.loads(payload)["act"] for kind, payload in said if kind == "OperatorActed"]


async def comparison(projection: Stage, operator: Operator) -> Any:
    """What a comparison finds that is asked for now."""
    await operator.did("POST", "/compare")
    comparing = Comparing(projection.db, projection.runtime.ports.clock)
    while await comparing.piece():
        pass
    found = await operator.did("GET", "/compare", None)
    assert found["state"] == "done"
    return found


async def test_a_switch_waits_for_the_live_consumers_transaction(
    projection: Stage, beside: Database, operator: Operator
) -> None:
    await operator.did("POST")
    async with projection.db.worker() as tx:
        await tables.hear_up_to(tx.db, topic="t", next=1)
    async with beside.worker() as tx:
        await tables.hear_up_to(tx.db, topic="t", next=2)
    async with projection.db.worker() as tx:
        await tables.hear_up_to(tx.db, topic="t", next=2)
        switching = asyncio.create_task(operator.did("POST", "/switch"))
        done, _ = await asyncio.wait({switching}, timeout=0.5)
        assert not done
    await switching


async def test_a_live_transaction_that_waited_for_the_switch_goes_into_the_new_read_set(
    projection: Stage, beside: Database, operator: Operator
) -> None:
    async def heard_one_more() -> None:
        async with projection.db.worker() as tx:
            await tables.hear_up_to(tx.db, topic="t", next=5)

    async def heard_by(db: Database) -> int | None:
        async with db.worker() as tx:
            found: int | None = await tables.heard(tx.db)
            return found

    await operator.did("POST")
    for db in (projection.db, beside):
        async with db.worker() as tx:
            await tables.hear_up_to(tx.db, topic="t", next=4)
    async with Level(projection.db, projection.runtime.ports.clock).held() as tx:
        waiting = asyncio.create_task(heard_one_more())
        done, _ = await asyncio.wait({waiting}, timeout=0.3)
        assert not done
        await sql.switch(tx.db)
    await waiting
    assert (await heard_by(projection.db), await heard_by(beside)) == (5, 4)


async def test_what_could_not_be_heard_goes_with_its_read_set(
    projection: Stage, beside: Database, operator: Operator
) -> None:
    async with projection.db.worker() as tx:
        await tables.hold_one(tx.db, subject="a")
    await operator.did("POST")
    async with beside.worker() as tx:
        await tables.hold_one(tx.db, subject="b")
    assert (await operator.did("GET", body=None))["held"] == 1
    await operator.did("POST", "/switch")
    async with projection.db.worker() as tx:
        assert [row["subject"] for row in await tables.holds(tx.db)] == ["b"]
    async with beside.worker() as tx:
        assert [row["subject"] for row in await tables.holds(tx.db)] == ["a"]


async def test_what_an_operator_gave_up_is_not_asked_for_again(
    projection: Stage, beside: Database, operator: Operator
) -> None:
    async with projection.db.worker() as tx:
        await tables.hold_one(tx.db, subject="held")
        await tables.hold_one(tx.db, subject="given up")
        await tables.give_up(tx.db)
    await operator.did("POST")
    async with beside.worker() as tx:
        consumer = queries("todoke.relay", "consumer.sql")
        offsets = ("topics", "partitions", "expected", "nexts", "event_ids", "append_times")
        nowhere: dict[str, list[Any]] = {column: [] for column in offsets}
        known = decisions_of(await consumer.advance_and_lock(tx.db, **nowhere, subjects=["held", "given up"]))
    assert known.held == frozenset()
    assert known.given_up == {("given up", "event")}


async def test_only_the_owner_makes_tables_and_only_the_worker_may_ask_it_to(projection: Stage) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with projection.db.worker() as tx:
            await tables.make_a_table(tx.db)
    for call in (tables.call_make, tables.call_switch, tables.call_drop):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with projection.db.api(SENDER) as tx:
                await call(tx.db)


@pytest.mark.parametrize("body", [{}, {"reason": "理由"}, {"reason": " ", "ticket": "1"}, {**WORD, "ticket": "二 番"}])
async def test_every_change_needs_a_reason_and_a_ticket(operator: Operator, body: Any) -> None:
    for method, path in (("POST", ""), ("POST", "/compare"), ("POST", "/switch"), ("DELETE", "")):
        assert (await operator.ask(method, path, body)).status_code == 422


async def test_offices_may_do_none_of_it(sender: Office, at_operators: httpx.AsyncClient) -> None:
    for method, path in (("GET", ""), ("POST", ""), ("POST", "/compare"), ("POST", "/switch"), ("DELETE", "")):
        answer = await at_operators.request(method, URL + path, json=WORD, headers=sender.headers)
        assert answer.status_code == 403
        assert (await at_operators.request(method, URL + path, json=WORD)).status_code == 401
