"""Nobody sees anything of other offices: not over HTTP, and not in the database either."""

from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

import pytest

from todoke.relay.clock import in_japan
from todoke.relay.postgres import Database
from todoke.relay.testing import Stage

from .conftest import RECIPIENT, SENDER, STRANGER, Office, Story, tables

Tell = Callable[..., Story]
TABLES = ("fact", "sent", "received", "tally", "head", "feed", "change")


async def visible(db: Database, office: str | None) -> dict[str, int]:
    async with db.api(office) as tx:
        return {name: await getattr(tables, f"see_{name}")(tx.db) for name in TABLES}


async def test_row_level_security_shows_the_api_role_its_own_office_only(projection: Stage, tell: Tell) -> None:
    story, under_way = tell(), tell()
    await projection.hear(*story.until_delivered(1), story.recall_requested(), story.held())
    await projection.hear(under_way.submitted(), under_way.accepted())
    nothing = dict.fromkeys(TABLES, 0)
    assert await visible(projection.db, STRANGER) == nothing
    assert await visible(projection.db, None) == nothing
    assert await visible(projection.db, SENDER) == {
        "fact": 8, "sent": 2, "received": 0, "tally": 2, "head": 1, "feed": 1, "change": 2,
    }  # fmt: skip
    # Of the delivered message submission, acceptance, delivery; of the other one the two that carry no news of it.
    assert await visible(projection.db, RECIPIENT) == {
        "fact": 5, "sent": 0, "received": 1, "tally": 1, "head": 1, "feed": 1, "change": 1,
    }  # fmt: skip


async def test_the_api_role_reads_only_and_no_partition_directly(projection: Stage) -> None:
    async with projection.db.worker() as tx:
        rows = await tables.tables_of_service(tx.db)
    whole = [row for row in rows if not row["relispartition"]]
    assert {row["relname"] for row in whole} == {*TABLES, "pulse", "operators_word"}
    assert all(row["forced"] and row["readable"] for row in whole)
    assert not any(row["writable"] for row in rows)
    assert not any(row["readable"] for row in rows if row["relispartition"])


PATHS = ("", "/findings", "/evidence")


@pytest.mark.parametrize("path", PATHS)
async def test_a_message_of_others_is_as_absent_as_one_that_never_was(
    projection: Stage, tell: Tell, office: Callable[..., Office], path: str
) -> None:
    story = tell()
    await projection.hear(*story.until_delivered(1))
    stranger = office(STRANGER)
    answers = [
        await stranger.get(f"/v1/messages/{message_id}{path}")
        for message_id in (story.message_id, UUID(int=story.message_id.int ^ 1), "nonsense", "0" * 32)
    ]
    assert [answer.status_code for answer in answers] == [404] * 4
    assert len({answer.text for answer in answers}) == 1


@pytest.mark.parametrize("path", PATHS)
async def test_the_recipient_sees_a_message_from_its_delivery_on(
    projection: Stage, tell: Tell, recipient: Office, path: str
) -> None:
    story = tell()
    await projection.hear(story.submitted(), story.accepted(), story.routed())
    assert (await recipient.get(f"/v1/messages/{story.message_id}{path}")).status_code == 404
    await projection.hear(story.delivered(1))
    assert (await recipient.get(f"/v1/messages/{story.message_id}{path}")).status_code == 200


async def test_lists_counts_changes_and_search_of_a_stranger_are_empty(
    projection: Stage, tell: Tell, office: Callable[..., Office]
) -> None:
    await projection.hear(*tell().until_delivered(1))
    stranger = office(STRANGER)
    for url in ("/v1/sent", "/v1/received", "/v1/received?since=0", "/v1/changes"):
        assert (await stranger.get(url)).json()["items"] == []
    assert (await stranger.search(box="sent", text="ひなた")).json()["items"] == []
    counts = (await stranger.get("/v1/counts")).json()
    assert set(counts["sent"].values()) | set(counts["received"].values()) == {0}


LISTS = (
    *("/v1/sent", "/v1/received", "/v1/counts", "/v1/changes", "/v1/stream"),
    *("/v1/messages/x", "/v1/messages/x/findings", "/v1/messages/x/evidence"),
)


@pytest.mark.parametrize("url", LISTS)
async def test_nothing_is_answered_without_a_session_or_long_after_the_licence(
    office: Callable[..., Office], url: str
) -> None:
    without = office(SENDER)
    without.headers = {}
    assert (await without.get(url)).status_code == 401
    assert (await office(SENDER, licence_until=None).get(url)).status_code == 403


async def test_lists_stay_open_for_sixty_days_after_the_licence(
    projection: Stage, office: Callable[..., Office]
) -> None:
    today = in_japan(projection.runtime.ports.clock.now()).date()
    for days, status in ((60, 200), (61, 403)):
        lapsed = office(SENDER, licence_until=today - timedelta(days=days))
        assert (await lapsed.get("/v1/sent")).status_code == status
    assert (await office(SENDER, suspended=True).get("/v1/sent")).status_code == 200


async def test_the_pages_are_found_by_index_in_their_own_order(projection: Stage, tell: Tell) -> None:
    story = tell()
    await projection.hear(*story.until_delivered(1))
    newest = UUID(int=story.message_id.int + (1 << 90))
    async with projection.db.api(SENDER) as tx:
        await tables.prefer_order(tx.db)
        sent = [
            row[0]
            for row in await tables.explain_sent(
                tx.db,
                office=SENDER,
                newest=newest,
                submitted_at=projection.runtime.ports.clock.now(),
                place=0,
                message_id=newest,
            )
        ]
        received = [
            row[0] for row in await tables.explain_received(tx.db, office=RECIPIENT, newest=newest, below=2**62)
        ]
    for plan in (sent, received):
        assert not any("Sort" in line and "Sort Key" not in line for line in plan), plan
        scans = [line for line in plan if "Scan" in line]
        assert 0 < len(scans) <= 4, plan  # last month, this month, perhaps the next one, and the rest; not all 27
        assert all("Index" in scan for scan in scans), plan
