"""Midnight and the ends of months, in Japan and in UTC, met by requests that are under way.

The clock is moved by hand and goes on by a microsecond whenever somebody reads it: over a series of rounds the boundary
falls between any two of the readings that a request makes.
"""

import dataclasses
import itertools
import json
import secrets
from collections import Counter as Tally
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from services.ingest.app import build
from services.ingest.timers import Sweeper
from tests.races.conftest import PICTURE
from tests.races.product import GENEROUS
from tests.races.racing import outcome, race, rounds
from tests.services.ingest.conftest import Client
from tests.services.whole import Whole, whole
from todoke.events import MessageSubmitted
from todoke.relay.access import Operator
from todoke.relay.acts import Acts, Word
from todoke.relay.clock import JAPAN, in_japan, time_of
from todoke.relay.postgres import administrator
from todoke.relay.service import Shared
from todoke.relay.testing import ManualClock, asgi_client, manual_ports, stage

pytestmark = pytest.mark.long
SERVICES = ("ingest", "validation", "routing", "storage", "projection")
NEVER = date(2990, 1, 1)
OFFICES = (f"98{number:08d}" for number in itertools.count(1))
READINGS = 60
"""The requests of a round together read the clock about so often before they commit."""

BATCH, WITH_A_FILE = 25, 6
"""Messages of a batch, many so that it straddles the boundary often; every sixth of them has a file, the last too."""

ERASED_AND_LEFT = 60
"""Messages of the last months whose contents are erased, or must stay: a timer takes some hundreds in one go."""

NEAR = 48
"""So many readings before a batch is committed, its ids have been made."""

WHERE_ROWS_LIE = """
SELECT message_id, tableoid::regclass::text AS home,
       to_regclass('{table}_' || to_char(uuid_extract_timestamp(message_id) AT TIME ZONE 'UTC', 'YYYY_MM'))::text
       AS month
FROM {table} WHERE message_id = ANY($1::uuid[])
"""


@dataclasses.dataclass
class Days:
    """Every service over one database, and ingest a second time as another process has it: with keys of its own."""

    product: Whole
    clock: ManualClock
    ingests: Sequence[httpx.AsyncClient]

    async def send(
        self, web: int, sender: str, recipient: str, *, picture: bool = False, **licence: Any
    ) -> httpx.Response:
        """Hand in a message at one of the two; `licence` is what the sender's token says of it."""
        client = Client(self.ingests[web % 2], self.token(sender, **licence))
        files = [("図.png", PICTURE)] if picture else []
        return await client.send({"recipient": recipient, "text": "あ"}, files, key=secrets.token_hex(8))

    def token(self, office: str, **licence: Any) -> dict[str, str]:
        """An Authorization header."""
        return self.product.stages["ingest"].token(office, **licence)

    def come_to(self, boundary: datetime, readings: int) -> datetime:
        """Move the clock to so few readings before the boundary; answers where it stands."""
        begin = boundary - timedelta(microseconds=readings)
        self.clock.move(begin - self.clock.now())
        return begin

    async def settle(self) -> None:
        """Until nobody has anything to hear."""
        while any([await self.product.deliver(hearer) for hearer in SERVICES]):
            pass

    async def get(self, office: str, path: str, **query: str) -> httpx.Response:
        """A GET."""
        return await self.ingests[0].get(path, headers=self.token(office), params=query)


@pytest.fixture
async def days(engines: Any, run_home: Path) -> AsyncIterator[Days]:
    """From today on."""
    ports = manual_ports()
    assert isinstance(ports.clock, ManualClock)
    async with whole(engines, run_home, ports, SERVICES, GENEROUS) as product:
        shared = await Shared.open(product.shared.settings, ports)
        async with (
            stage(build, "ingest", shared) as second,
            product.client() as one,
            asgi_client(second.service, second.runtime) as two,
        ):
            yield Days(product, ports.clock, (one, two))
        await shared.close()


# --- the end of a licence ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", ["sender", "recipient"])
@rounds(12)
async def test_a_licence_ends_at_midnight_in_japan_for_what_is_under_way_too(
    days: Days, rounds: int, side: str
) -> None:
    late = {"sender": "TDK-NO-LICENCE", "recipient": "TDK-OFFICE-NOT-TAKING-PART"}[side]
    met = Tally[str]()
    for turn in range(rounds):
        last_day = in_japan(days.clock.now()).date() + timedelta(days=1)
        sender, recipient = next(OFFICES), next(OFFICES)
        until = {"sender": (last_day, NEVER), "recipient": (NEVER, last_day)}[side]
        for office, kind, ends in zip((sender, recipient), ("43", "11"), until, strict=True):
            await days.product.register(office, kind, ends)
        midnight = datetime.combine(last_day + timedelta(days=1), time(), JAPAN)
        days.come_to(midnight, turn * 7 % READINGS)
        answers = await race(
            *(
                lambda web=web, of=until[0], offices=(sender, recipient): days.send(web, *offices, licence_until=of)
                for web in range(3)
            )
        )
        await days.settle()
        for answer in answers:
            fate = await _fate(days, sender, answer)
            if answer.status_code == 202:
                in_time = datetime.fromisoformat(answer.json()["submitted_at"]) < midnight
                assert fate == ("delivered" if in_time else f"undeliverable {late}"), turn
            met[fate] += 1
    assert met.keys() == {"delivered", late, f"undeliverable {late}"}, met


@pytest.mark.parametrize("of", ["the last day", "the day after"])
@rounds(3)
async def test_midnight_in_utc_ends_no_licence_and_brings_none_back(days: Days, rounds: int, of: str) -> None:
    for turn in range(rounds):
        last_day = in_japan(days.clock.now()).date() + timedelta(days=1)
        sender, recipient = next(OFFICES), next(OFFICES)
        await days.product.register(sender, "43", last_day)
        await days.product.register(recipient, "11", NEVER)
        day = last_day if of == "the last day" else last_day + timedelta(days=1)
        days.come_to(datetime.combine(day, time(), UTC), READINGS - turn * 7 % READINGS)
        answers = await race(
            *(
                lambda web=web, until=last_day, offices=(sender, recipient): days.send(
                    web, *offices, licence_until=until
                )
                for web in range(3)
            )
        )
        await days.settle()
        fates = {await _fate(days, sender, answer) for answer in answers}
        assert fates == ({"delivered"} if of == "the last day" else {"TDK-NO-LICENCE"})


async def _fate(days: Days, sender: str, answer: httpx.Response) -> str:
    """The code of a refusal, or what became of the message and why."""
    if answer.status_code != 202:
        return str(outcome(answer))
    item = (await days.get(sender, f"/v1/messages/{answer.json()['message_id']}")).json()
    return f"{item['status']} {item['reason']['code']}" if item["reason"] else str(item["status"])


# --- the end of a month -----------------------------------------------------------------------------------------------


@rounds(9)
async def test_what_is_under_way_at_the_end_of_a_month_lies_in_the_month_of_its_id(days: Days, rounds: int) -> None:
    sender, recipient = next(OFFICES), next(OFFICES)
    for office, kind in ((sender, "43"), (recipient, "11")):
        await days.product.register(office, kind, NEVER)
    sent: list[str] = []
    with_file: list[str] = []
    straddling, committed_at = 0, READINGS
    for turn in range(rounds):
        boundary = _next_end_of_month(days.clock.now(), japan=turn % 2 == 0)
        begin = days.come_to(boundary, max(0, committed_at - turn * 5 % NEAR))
        batch, *answers, act = await race(
            lambda: _batch(days, sender, recipient),
            lambda: days.send(0, sender, recipient, picture=True),
            lambda: days.send(1, sender, recipient, picture=True),
            lambda: _an_operator_acts(days),
        )
        assert act.acted_at >= boundary - timedelta(microseconds=100)
        committed = datetime.fromisoformat(batch.json()["results"][0]["submitted_at"])
        committed_at = (committed - begin) // timedelta(microseconds=1)
        taken = [*batch.json()["results"], *(answer.json() for answer in answers)]
        assert [one.get("status", 202) for one in taken] == [202] * len(taken)
        assert [answer.status_code for answer in answers] == [202, 202]
        fresh = [one["message_id"] for one in taken]
        straddling += len({f"{time_of(UUID(one)):%Y-%m}" for one in fresh[:BATCH]}) - 1
        sent += fresh
        await days.settle()
        await _each_in_its_month(days, fresh)
        await _listed_by_day(days, sender, taken, boundary)
        with_file = [*fresh[:BATCH:WITH_A_FILE], *fresh[BATCH:]]
        for one in with_file:
            assert (await days.get(recipient, f"/v1/messages/{one}/files/1")).content == PICTURE
    assert straddling, "no batch straddled the end of a month"
    listed = (await days.get(recipient, "/v1/received", since="0", limit="200")).json()["items"]
    assert [one["delivery_no"] for one in listed] == list(range(1, len(listed) + 1))
    assert len(listed) == min(len(sent), 200)
    await _one_key_a_month(days)
    await _erasing_some_leaves_the_others(days, sender, recipient, with_file[-ERASED_AND_LEFT:])


def _next_end_of_month(now: datetime, *, japan: bool) -> datetime:
    zone = JAPAN if japan else UTC
    month = (now.astimezone(zone).replace(day=1) + timedelta(days=32)).date().replace(day=1)
    return datetime.combine(month, time(), zone)


async def _batch(days: Days, sender: str, recipient: str) -> httpx.Response:
    messages = [
        {
            "recipient": recipient,
            "text": "あ",
            "idempotency_key": secrets.token_hex(8),
            "files": ["f1"] if number % WITH_A_FILE == 0 else [],
        }
        for number in range(BATCH)
    ]
    parts: dict[str, Any] = {
        "messages": (None, json.dumps(messages).encode(), "application/json"),
        "f1": ("図.png", PICTURE),
    }
    return await days.ingests[0].post("/v1/batches", files=parts, headers=days.token(sender))


async def _an_operator_acts(days: Days) -> Any:
    """Whoever is first in a month makes its key; it may be an operator whose reason is sealed."""
    runtime = days.product.stages["projection"].runtime
    operator = Operator(user_id="operator-1", session=runtime.ports.ids.uuid7())
    return await Acts(runtime).noted(operator, Word(reason="月末の確認", ticket="OPS-9"), "rebuild.begin", "projection")


async def _each_in_its_month(days: Days, message_ids: Sequence[str]) -> None:
    """Key, object and rows of a message lie in the month inside its id, whatever the clock said when they were made."""
    said = [event for event in days.product.log["ingest"] if str(event.message_id) in message_ids]  # type: ignore[attr-defined]
    assert len(said) == len(message_ids)
    for event in said:
        assert isinstance(event, MessageSubmitted)
        first = UUID(event.package.object_key.rpartition("/")[2])
        assert event.package.epoch == f"{time_of(event.message_id):%Y-%m}"
        assert event.package.object_key == f"message/{time_of(first):%Y/%m}/{first}"
        assert event.package.sequence[:8] in {
            f"{in_japan(event.package.submitted_at + timedelta(seconds=s)):%Y%m%d}" for s in (0, 60)
        }
    async with administrator(days.product.shared.settings.postgres.get_secret_value()) as db:
        for table in ("ingest.submission", "ingest.journal", "storage.custody", "storage.delivery", "storage.journal"):
            rows = await db.fetch(WHERE_ROWS_LIE.format(table=table), message_ids)
            assert {str(row["message_id"]) for row in rows} == set(message_ids)
            assert all(row["home"] == (row["month"] or f"{table}_rest") for row in rows), table


async def _listed_by_day(days: Days, sender: str, taken: Sequence[Any], boundary: datetime) -> None:
    """A day of the send list is a day in Japan."""
    for day in {in_japan(boundary - timedelta(seconds=1)).date(), in_japan(boundary).date()}:
        query = {"from": day.isoformat(), "to": day.isoformat(), "limit": "200"}
        listed = (await days.get(sender, "/v1/sent", **query)).json()["items"]
        here = {
            one["message_id"] for one in taken if in_japan(datetime.fromisoformat(one["submitted_at"])).date() == day
        }
        assert {one["message_id"] for one in listed} >= here
        assert not {one["message_id"] for one in taken} - here & {one["message_id"] for one in listed}


async def _one_key_a_month(days: Days) -> None:
    """The key that ingest's row names is the one that is published."""
    ingest = days.product.stages["ingest"]
    async with ingest.db.worker() as tx:
        rows = await tx.db.fetch("SELECT epoch, wrapped FROM month_key")
    assert rows
    for row in rows:
        assert await days.product.shared.key_objects(row["epoch"]) == row["wrapped"]


async def _erasing_some_leaves_the_others(days: Days, sender: str, recipient: str, message_ids: Sequence[str]) -> None:
    """Neither the eraser nor the sweeper takes an object for another month's that it is not."""
    digest = (await days.get(recipient, f"/v1/messages/{message_ids[0]}")).json()["files"][0]["sha256"]
    collected, others = message_ids[::2], message_ids[1::2]
    for one in collected:
        path = f"/v1/messages/{one}/receipt"
        answer = await days.ingests[0].post(path, json={"sha256": [digest]}, headers=days.token(recipient))
        assert answer.status_code == 200
    ingest = days.product.stages["ingest"].runtime

    async def clean() -> bool:
        return True

    for _ in range(91):
        days.clock.move(timedelta(days=1))
        await Sweeper(ingest.db, ingest.objects, ingest.ports.clock, clean).run()
    await days.product.run_timers("storage")
    await days.settle()
    for one in collected:
        assert outcome(await days.get(sender, f"/v1/messages/{one}/files/1")) == "TDK-ERASED"
    for one in others:
        assert (await days.get(sender, f"/v1/messages/{one}/files/1")).content == PICTURE
