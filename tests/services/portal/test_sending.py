"""一括送信: one row after another, without the browser, never twice, whatever dies in the middle."""

import asyncio
from datetime import timedelta
from uuid import UUID

import pytest

from services.portal import runs as runs_module
from services.portal import sending, told
from services.portal.drafts import Written
from services.portal.grouping import Dropped
from services.portal.items import Moved
from services.portal.runs import Progress
from services.portal.sheets import Edited
from tests.services.portal.conftest import OTHER, PARTNER, Bench, going, plan
from todoke.relay.postgres import queries

pytestmark = pytest.mark.asyncio(loop_scope="module")


def states(progress: Progress | None) -> list[str]:
    """The rows' states, in the order of sending."""
    assert progress is not None
    return [row.state for row in progress.rows]


async def test_a_sheet_is_sent_in_order_and_each_row_once(bench: Bench) -> None:
    bench.wire.mend()
    numbers, [extra] = bench.numbers(4), bench.numbers(1)
    clerk = bench.clerk()
    sheet = await bench.sheet(clerk, *(plan(sequence) for sequence in numbers), plan(extra, OTHER)[:2])
    await bench.sheets.pick(clerk, sheet.id, [row.id for row in sheet.rows[:1]])
    await bench.sheets.edit(clerk, sheet.rows[0].id, Edited(1, "{事業所名}様 {月}分 {担当者} {ほか}"))
    sheet = await bench.sheets.own(clerk)
    assert [row.sequence for row in sheet.to_go] == numbers
    assert [row.sequence for row in sheet.held_back] == [extra]
    session = bench.log_in(clerk)
    run = await bench.runs.start(clerk, session, sheet.rows)
    assert run is not None
    assert await bench.runs.start(clerk, session, (await bench.sheets.own(clerk)).rows) is None, "pressed twice"
    keys = [row.send_key for row in (await bench.sheets.own(clerk)).rows[:4]]
    assert all(keys)
    with pytest.raises(Moved):
        await bench.sheets.edit(clerk, sheet.rows[1].id, Edited(1, "送っている間は変わらない"))
    async with going(bench.sender()):
        progress = await bench.ended(clerk, run)
    assert progress.ending == "done"
    assert states(progress) == ["delivered"] * 4
    assert bench.wire.sent == keys
    assert await bench.sent_sequences(clerk, numbers) == numbers[::-1]
    first = (await clerk.client.sent(sequence=numbers[0])).items[0]
    assert first.text == f"事業所{PARTNER}様 令和7年9月分 例示 春子 {{ほか}}"
    left = await bench.sheets.own(clerk)
    assert left.to_go == ()
    count, _ = await bench.sheets.tidy(clerk, sheet.id)
    assert count == 4
    assert [row.sequence for row in (await bench.sheets.own(clerk)).rows] == [extra]
    assert await bench.sheets.unusual(clerk, sheet.rows[:1]) == [], "no first message any more"


async def test_a_lost_answer_is_asked_for_again_under_the_same_key(bench: Bench) -> None:
    bench.wire.mend()
    numbers = bench.numbers(4)
    clerk = bench.clerk()
    sheet = await bench.sheet(clerk, *(plan(sequence) for sequence in numbers))
    session = bench.log_in(clerk)
    bench.wire.lost = True
    run = await bench.runs.start(clerk, session, sheet.rows)
    assert run is not None
    async with going(bench.sender()):
        progress = await bench.ended(clerk, run)
        assert progress.ending == "away"
        assert states(progress) == ["failed", "failed", "unsent", "unsent"]
        assert progress.rows[0].reason_code == "E-305"
        with pytest.raises(Moved):
            await bench.sheets.edit(clerk, sheet.rows[0].id, Edited(1, "まだ分からないので変えられない"))
        await bench.sheets.edit(clerk, sheet.rows[3].id, Edited(1, "まだ送っていない"))
        bench.wire.lost = False
        again = await bench.runs.start(clerk, session, (await bench.sheets.own(clerk)).rows)
        assert again is not None
        assert states(await bench.ended(clerk, again)) == ["delivered"] * 4
    assert await bench.sent_sequences(clerk, numbers) == numbers[::-1]


@pytest.mark.parametrize("point", ["begun", "sent"])
async def test_s19_5_a_process_that_dies_leaves_its_row_to_the_next_one(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    bench.wire.mend()
    numbers = bench.numbers(4)
    clerk = bench.clerk()
    sheet = await bench.sheet(clerk, *(plan(sequence) for sequence in numbers))
    session = bench.log_in(clerk)
    monkeypatch.setattr(sending, "LEASE", sending.LEASE / 100)
    died = asyncio.Event()

    class Crash:
        """Stops for good at the place, as a killed process does: it writes nothing any more."""

        def reach(self, name: str) -> None:
            if name == f"portal.row-{point}" and not died.is_set():
                died.set()
                raise KilledError

    dying = bench.sender()
    dying.ports = type(dying.ports)(clock=dying.ports.clock, ids=dying.ports.ids, crash=Crash())
    run = await bench.runs.start(clerk, session, sheet.rows)
    assert run is not None
    task = asyncio.create_task(dying.run())
    await asyncio.wait_for(died.wait(), 20)
    await bench.runs.stop(clerk, run)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    async with going(bench.sender()):
        progress = await bench.ended(clerk, run)
    assert progress.ending == "stopped"
    assert states(progress) == ["delivered", "unsent", "unsent", "unsent"], "the row under way gets its result"
    assert await bench.sent_sequences(clerk, numbers) == numbers[:1]


class KilledError(Exception):
    """The process is gone."""


async def test_a_holder_that_lost_its_lease_writes_nothing(bench: Bench) -> None:
    bench.wire.mend()
    numbers = bench.numbers(4)
    clerk = bench.clerk()
    sheet = await bench.sheet(clerk, plan(numbers[0]))
    session = bench.log_in(clerk)
    run = await bench.runs.start(clerk, session, sheet.rows)
    sql = queries("services.portal", "sheets.sql")
    ids = bench.runtime.ports.ids
    old, new = ids.uuid7(), ids.uuid7()
    async with bench.runtime.db.worker() as tx:
        assert (await sql.claim_run(tx.db, holder=old, until=tx.now, now=tx.now))["id"] == run
        assert (await sql.begin_next(tx.db, run=run, holder=old, stopping=False))["id"] == sheet.rows[0].id
    async with bench.runtime.db.worker() as tx:
        assert (await sql.claim_run(tx.db, holder=new, until=tx.now, now=tx.now))["id"] == run
        told = {"id": sheet.rows[0].id, "run": run, "holder": old}
        assert await sql.note_accepted(tx.db, **told, message_id=run, sequence="1", now=tx.now) is None
        assert await sql.note_failed(tx.db, **told, code="x", reason="x", surely=True) is None
        assert await sql.keep_lease(tx.db, id=run, holder=old, until=tx.now) is None
        assert await sql.begin_next(tx.db, run=run, holder=old, stopping=False) is None
        assert (await sql.begin_next(tx.db, run=run, holder=new, stopping=True))["state"] == "sending"
    assert run is not None
    async with going(bench.sender()):
        assert (await bench.ended(clerk, run)).ending == "done"


async def test_s19_2_a_stop_lets_the_running_row_end_and_the_rest_stays_unsent(bench: Bench) -> None:
    bench.wire.mend()
    numbers = bench.numbers(4)
    clerk = bench.clerk()
    sheet = await bench.sheet(clerk, *(plan(sequence) for sequence in numbers))
    session = bench.log_in(clerk)
    run = await bench.runs.start(clerk, session, sheet.rows)
    assert run is not None
    stopping = False

    async def stop_on_second(_: object) -> None:
        nonlocal stopping
        if len(bench.wire.sent) >= 1 and not stopping:
            stopping = True
            await bench.runs.stop(clerk, run)

    clerk.client._http.event_hooks["request"].append(stop_on_second)
    async with going(bench.sender()):
        progress = await bench.ended(clerk, run)
    assert progress.ending == "stopped"
    sent = progress.counts["delivered"]
    assert 1 <= sent <= 2
    assert states(progress) == ["delivered"] * sent + ["unsent"] * (4 - sent)
    assert len(await bench.sent_sequences(clerk, numbers)) == sent


async def test_an_ended_session_stops_the_run_and_a_new_login_goes_on(bench: Bench) -> None:
    bench.wire.mend()
    numbers = bench.numbers(4)
    clerk = bench.clerk()
    sheet = await bench.sheet(clerk, *(plan(sequence) for sequence in numbers))
    ended = UUID(int=7)
    run = await bench.runs.start(clerk, ended, sheet.rows)
    assert run is not None
    async with going(bench.sender()):
        progress = await bench.ended(clerk, run)
        assert (progress.ending, states(progress)) == ("session", ["unsent"] * 4)
        again = await bench.runs.start(clerk, bench.log_in(clerk), (await bench.sheets.own(clerk)).rows)
        assert again is not None
        assert states(await bench.ended(clerk, again)) == ["delivered"] * 4
    assert len(await bench.sent_sequences(clerk, numbers)) == 4


async def test_a_logout_waits_for_the_running_row(bench: Bench) -> None:
    bench.wire.mend()
    numbers = bench.numbers(4)
    clerk = bench.clerk()
    sheet = await bench.sheet(clerk, *(plan(sequence) for sequence in numbers))
    session = bench.log_in(clerk)
    run = await bench.runs.start(clerk, session, sheet.rows)
    assert run is not None
    async with going(bench.sender()):
        await asyncio.wait_for(bench.wire.first.wait(), 20)
        await bench.runs.leaving(session)
        del bench.sessions[session]
        progress = await bench.ended(clerk, run)
    assert "sending" not in states(progress)
    assert progress.counts["unsent"] == 4 - len(bench.wire.sent)
    await bench.runs.look(clerk, sheet.id)
    assert len(await bench.sent_sequences(clerk, numbers)) == len(bench.wire.sent)


async def test_a_set_that_was_sent_before_is_left_out_until_it_is_meant(bench: Bench) -> None:
    bench.wire.mend()
    numbers = bench.numbers(4)
    clerk = bench.clerk()
    session = bench.log_in(clerk)
    sheet = await bench.sheet(clerk, plan(numbers[0]))
    async with going(bench.sender()):
        run = await bench.runs.start(clerk, session, sheet.rows)
        assert run is not None
        await bench.ended(clerk, run)
        await bench.sheets.tidy(clerk, sheet.id)
        sheet = await bench.sheet(clerk, plan(numbers[0]), plan(numbers[1]))
        assert [row.is_repeated for row in sheet.rows] == [True, False]
        assert [row.sequence for row in sheet.to_go] == numbers[1:2]
        await bench.sheets.send_again(clerk, sheet.rows[0].id)
        run = await bench.runs.start(clerk, session, (await bench.sheets.own(clerk)).rows)
        assert run is not None
        assert states(await bench.ended(clerk, run)) == ["delivered"] * 2
    assert sorted(await bench.sent_sequences(clerk, numbers)) == [numbers[0], numbers[0], numbers[1]]


async def test_s19_3_a_row_that_the_pipeline_refuses_fails_with_its_reason_and_may_be_put_right(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.wire.mend()
    numbers = bench.numbers(4)
    clerk = bench.clerk()
    session = bench.log_in(clerk)
    bad = [Dropped.of(file.name, file.read().replace(b",202509,", b",202513,")) for file in plan(numbers[0])]
    sheet = await bench.sheet(clerk, bad, plan(numbers[1]))
    async with bench.runtime.db.worker() as tx:  # as if the check before sending had known less than the service
        await tx.db.execute("UPDATE item SET errors = 0")
    async with going(bench.sender()):
        run = await bench.runs.start(clerk, session, (await bench.sheets.own(clerk)).rows)
        assert run is not None
        progress = await bench.ended(clerk, run)
        assert states(progress) == ["failed", "delivered"]
        assert "お届けできませんでした" in str(progress.rows[0].reason)
        await bench.intake.into_sheet(clerk, sheet.id, plan(numbers[0]))
        mended = await bench.sheets.own(clerk)
        assert [row.errors for row in mended.rows] == [0, 0]
        monkeypatch.setattr(runs_module, "LOOK_SECONDS", 0.1)
        run = await bench.runs.start(clerk, session, mended.rows)
        assert run is not None
        assert states(await bench.ended(clerk, run)) == ["delivered"]
    listed = (await clerk.client.sent(limit=200)).items
    statuses = sorted(item.status for item in listed if item.sequence in numbers)
    assert statuses == ["delivered", "delivered", "rejected"]


async def test_a_draft_is_sent_as_a_run_of_one(bench: Bench) -> None:
    bench.wire.mend()
    clerk = bench.clerk()
    session = bench.log_in(clerk)
    draft = bench.runtime.ports.ids.uuid7()
    await bench.drafts.save(clerk, Written(draft, 0, OTHER, "文だけの連絡です。"))
    item = await bench.drafts.get(clerk, draft)
    assert item is not None
    item, offices = await bench.drafts.check(clerk, item)
    assert offices[OTHER].name == f"事業所{OTHER}"
    assert item.may_go
    assert [one.why for one in await bench.sheets.unusual(clerk, [item])] == ["first"]
    run = await bench.runs.start(clerk, session, [item])
    assert run is not None
    async with going(bench.sender()):
        await bench.ended(clerk, run)
    sent = await bench.drafts.get(clerk, draft)
    assert sent is not None
    assert (sent.state, len(sent.sequence or "")) == ("delivered", 14)
    assert draft not in [item.id for item in await bench.drafts.all(clerk)]


async def test_s19_6_a_row_without_a_result_says_so_and_changes_by_itself_later(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.wire.mend()
    numbers = bench.numbers(4)
    clerk = bench.clerk()
    session = bench.log_in(clerk)
    sheet = await bench.sheet(clerk, plan(numbers[0]))
    monkeypatch.setattr(sending, "RESULT_SECONDS_MAX", 0.5)
    bench.flow.clear()
    async with going(bench.sender()):
        run = await bench.runs.start(clerk, session, sheet.rows)
        assert run is not None
        progress = await bench.ended(clerk, run)
    [row] = progress.rows
    assert (progress.ending, row.state, row.accepted_at is not None) == ("done", "accepted", True)
    assert row.accepted_at is not None
    assert not told.late(row, row.accepted_at + timedelta(seconds=29))
    assert told.late(row, row.accepted_at + timedelta(seconds=31))
    bench.flow.set()
    async with asyncio.timeout(20):
        while (await bench.sheets.own(clerk)).rows[0].state != "delivered":
            await bench.runs.look(clerk, sheet.id)
            await asyncio.sleep(0.05)
