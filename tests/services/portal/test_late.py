"""Late forms on real PostgreSQL: sealed, for their owner alone, for a day (S-00.8)."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from services.portal.forms import Form
from services.portal.late import BYTES_MAX, KEPT, KEPT_OF_OWNER, LateForms
from services.portal.websessions import Owner
from todoke.relay.seal import SealBroken
from todoke.relay.service import Shared
from todoke.relay.testing import ManualClock

OWNER = Owner("office", "9970100018", "c0000000018")
TYPED = Form([("_form", "proof"), ("name", "例示 春子"), ("service_types", "11"), ("service_types", "15")])


@pytest.fixture
async def late(shared: Shared) -> AsyncIterator[LateForms]:
    runtime = await shared.runtime("portal")
    yield LateForms(runtime.db, runtime.seal, runtime.secrets, runtime.ports.ids)
    await runtime.db.close()


@pytest.fixture
def clock(shared: Shared) -> ManualClock:
    found = shared.ports.clock
    assert isinstance(found, ManualClock)
    return found


async def test_its_owner_has_it_again_and_nobody_else(late: LateForms) -> None:
    kept = await late.keep(OWNER, TYPED)
    again = await late.of(OWNER, kept)
    assert again is not None
    assert {name: again.all(name) for name in again} == {"name": ["例示 春子"], "service_types": ["11", "15"]}
    for other in (
        Owner("office", OWNER.office, "c0000000026"),
        Owner("office", "9970100117", OWNER.user_id),
        Owner("usage", OWNER.office),
        Owner("operator", user_id=OWNER.user_id),
    ):
        assert await late.of(other, kept) is None


async def test_the_table_holds_no_word_of_it_and_a_row_given_to_another_does_not_open(late: LateForms) -> None:
    kept = await late.keep(OWNER, TYPED)
    async with late._db.worker() as tx:
        sealed = await tx.db.fetchval("SELECT sealed FROM late_form WHERE id = $1", kept)
        await tx.db.execute("UPDATE late_form SET user_id = 'c0000000026' WHERE id = $1", kept)
    assert "例示".encode() not in sealed
    with pytest.raises(SealBroken):
        await late.of(Owner("office", OWNER.office, "c0000000026"), kept)


async def test_it_goes_after_a_day(late: LateForms, clock: ManualClock) -> None:
    kept = await late.keep(OWNER, TYPED)
    clock.move(KEPT + timedelta(seconds=1))
    assert await late.of(OWNER, kept) is None
    await late.sweep()
    async with late._db.worker() as tx:
        assert await tx.db.fetchval("SELECT count(*) FROM late_form") == 0


async def test_no_owner_has_more_than_can_be_open_and_no_form_is_longer_than_one_types(late: LateForms) -> None:
    colleague = Owner("office", OWNER.office, "c0000000026")
    theirs = await late.keep(colleague, TYPED)
    kept = [await late.keep(OWNER, TYPED) for _ in range(KEPT_OF_OWNER + 1)]
    assert [await late.of(OWNER, each) is not None for each in kept] == [False, *[True] * KEPT_OF_OWNER]
    assert await late.of(colleague, theirs) is not None
    assert await late.keep(OWNER, Form([("text", "x" * BYTES_MAX)])) is None
