"""Who may see and write what in ingest's tables, and what a client is told when an engine is away."""

import asyncio

import asyncpg
import pytest

from services.ingest.keys import MonthKeeper
from todoke.events.examples import EXAMPLES
from todoke.relay.seal import DESTROYED, KeyEpochGone, KeyRing
from todoke.relay.service import Shared
from todoke.relay.testing import Stage

from .conftest import OTHER, RECIPIENT, SENDER, Client, said


async def test_the_sender_comes_from_the_token_and_never_from_the_body(client: Client, ingest: Stage) -> None:
    name = f"UPPLAN_202509_{OTHER}_43_{RECIPIENT}_11_20250825121901.CSV"
    response = await client.send({}, [(name, b"x")])
    assert (response.status_code, response.json()["code"]) == (422, "TDK-SENDER-MISMATCH")
    response = await client.send({"recipient": RECIPIENT, "text": "a", "sender": OTHER})
    assert (response.status_code, response.json()["code"]) == (422, "TDK-INVALID")
    assert await said(ingest) == []


async def test_an_office_sees_its_own_rows_only(client: Client, ingest: Stage) -> None:
    await client.send({"recipient": RECIPIENT, "text": "a"})
    for table in ("submission", "idempotency", "sequence_use"):
        count = f"SELECT count(*) FROM {table}"
        async with ingest.db.api(SENDER) as tx:
            assert await tx.db.fetchval(count) == 1
        for stranger in (RECIPIENT, None):
            async with ingest.db.api(stranger) as tx:
                assert await tx.db.fetchval(count) == 0


async def test_the_role_of_http_writes_nothing(client: Client, ingest: Stage) -> None:
    await client.send({"recipient": RECIPIENT, "text": "a"})
    for statement in (
        "UPDATE submission SET sequence = '0'",
        "DELETE FROM idempotency",
        "INSERT INTO sequence_use VALUES ('a', 'b', '', '{}')",
        "SELECT wrapped FROM month_key",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with ingest.db.api(SENDER) as tx:
                await tx.db.execute(statement)


async def test_a_database_that_is_away_is_503_and_nothing_hangs(client: Client, ingest: Stage) -> None:
    await ingest.db.close()
    response = await client.send({"recipient": RECIPIENT, "text": "a"})
    assert (response.status_code, response.json()["code"]) == (503, "TDK-ENGINE-AWAY")
    assert int(response.headers["Retry-After"]) > 0


async def test_two_processes_that_begin_a_month_use_one_key(ingest: Stage, shared: Shared) -> None:
    epoch = f"20{40 + shared.ports.ids.secret(1)[0] % 50}-{1 + shared.ports.ids.secret(1)[0] % 12:02}"
    rings = [KeyRing(shared.root, shared.key_objects, shared.ports.clock) for _ in range(2)]
    keepers = [MonthKeeper(ingest.db, shared.root, ring, shared.key_objects) for ring in rings]
    keys = await asyncio.gather(*(keeper.key(epoch) for keeper in keepers * 3))
    assert len(set(keys)) == 1
    async with ingest.db.worker() as tx:
        wrapped = await tx.db.fetchval("SELECT wrapped FROM month_key WHERE epoch = $1", epoch)
    assert shared.root.unwrap(wrapped, epoch) == keys[0]


async def test_a_restored_database_takes_the_published_key(ingest: Stage, shared: Shared) -> None:
    epoch = f"21{40 + shared.ports.ids.secret(1)[0] % 50}-{1 + shared.ports.ids.secret(1)[0] % 12:02}"
    async with ingest.db.worker() as tx:
        await tx.db.execute("INSERT INTO month_key VALUES ($1, $2, now())", epoch, shared.root.new_month_key(epoch))
    published = shared.root.new_month_key(epoch)
    await shared.key_objects.publish(epoch, published)
    keeper = MonthKeeper(
        ingest.db, shared.root, KeyRing(shared.root, shared.key_objects, shared.ports.clock), shared.key_objects
    )
    assert await keeper.key(epoch) == shared.root.unwrap(published, epoch)
    await keeper._make(epoch)  # the race that the lines above cannot show: the key appears after it was looked for
    async with ingest.db.worker() as tx:
        assert await tx.db.fetchval("SELECT wrapped FROM month_key WHERE epoch = $1", epoch) == published


async def test_a_key_that_was_destroyed_stands_nowhere_and_is_not_made_again(ingest: Stage, shared: Shared) -> None:
    epoch = f"22{40 + shared.ports.ids.secret(1)[0] % 50}-{1 + shared.ports.ids.secret(1)[0] % 12:02}"

    def keeper() -> MonthKeeper:
        """As of a process that has just begun."""
        ring = KeyRing(shared.root, shared.key_objects, shared.ports.clock)
        return MonthKeeper(ingest.db, shared.root, ring, shared.key_objects)

    await keeper().key(epoch)
    await shared.key_objects.destroy(epoch)
    gone = EXAMPLES["KeyEpochDestroyed"].model_copy(update={"epoch": epoch})
    await ingest.hear(gone, gone)
    with pytest.raises(KeyEpochGone):
        await keeper().key(epoch)
    async with ingest.db.worker() as tx:
        assert await tx.db.fetchval("SELECT wrapped FROM month_key WHERE epoch = $1", epoch) == DESTROYED
