"""Row-level security of storage, by logging in as its API role: another office sees nothing and changes nothing."""

from collections.abc import Callable
from typing import Any

import asyncpg
import pytest

from todoke.relay.testing import TEST_MONTHS_AHEAD, Stage

SENDER, RECIPIENT, STRANGER = "9970100018", "9970100117", "9970100216"
TABLES = ("custody", "delivery", "counter", "ended", "access_log")


@pytest.fixture
async def rows(storage: Stage, post: Any, office: Callable[..., Any]) -> dict[str, Any]:
    """One message in each state that matters."""
    made = {}
    for state in ("submitted", "delivered", "downloaded", "recalled"):
        sent = await post.send(SENDER, RECIPIENT)
        await storage.hear(sent.submitted)
        if state != "submitted":
            await storage.hear(sent.routed)
            await office(RECIPIENT).get(f"{sent.url}/zip")
        if state == "downloaded":
            await office(RECIPIENT).receive(sent)
        if state == "recalled":
            await office(SENDER).recall(sent)
        made[state] = sent
    return made


async def tried(storage: Stage, office: str | None, statement: str, *values: object) -> str:
    """What PostgreSQL answers to the API role of this office."""
    try:
        async with storage.db.api(office) as tx:
            return str(await tx.db.execute(statement, *values))
    except asyncpg.PostgresError as error:
        return type(error).__name__


REFUSED = ("UPDATE 0", "DELETE 0", "InsufficientPrivilegeError", "CheckViolationError")


async def test_another_office_sees_no_row(storage: Stage, rows: Any) -> None:
    assert rows
    for stranger in (STRANGER, "", None):
        async with storage.db.api(stranger) as tx:
            for table in TABLES:
                assert await tx.db.fetch(f"SELECT * FROM {table}") == [], table


async def test_the_recipient_sees_a_message_only_once_it_has_arrived(storage: Stage, rows: Any) -> None:
    hidden = rows["submitted"].message_id
    await storage.hear(rows["submitted"].discarded)
    async with storage.db.api(RECIPIENT) as tx:
        for table in ("custody", "delivery", "ended"):
            seen = {row["message_id"] for row in await tx.db.fetch(f"SELECT message_id FROM {table}")}
            assert seen
            assert hidden not in seen
    async with storage.db.api(SENDER) as tx:
        assert await tx.db.fetchval("SELECT count(*) FROM custody") == 4


@pytest.mark.parametrize("stranger", [STRANGER, None])
async def test_another_office_changes_nothing(storage: Stage, rows: Any, stranger: str | None) -> None:
    sent = rows["delivered"]
    ids = (sent.message_id, SENDER, RECIPIENT)
    own = stranger or ""
    statements: list[tuple[Any, ...]] = [
        ("UPDATE delivery SET status = 'recalled', recalled_at = now()",),
        ("UPDATE delivery SET opened_at = now()",),
        ("UPDATE custody SET recall_requested_at = now()",),
        ("UPDATE custody SET object_key = 'x'",),
        ("UPDATE counter SET last_no = 0",),
        ("UPDATE ended SET ended_at = now()",),
        ("DELETE FROM custody",),
        ("DELETE FROM delivery",),
        ("DELETE FROM access_log",),
        ("DELETE FROM journal",),
        ("UPDATE journal SET key = 'x'",),
        ("INSERT INTO custody VALUES ($1, $2, $3, 'x', '{}')", *ids),
        ("INSERT INTO delivery VALUES ($1, $2, $3, 'claimed')", *ids),
        ("INSERT INTO counter VALUES ($1, 1)", own),
        (
            "INSERT INTO ended (message_id, sender, recipient, cause, ended_at) VALUES ($1, $2, $3, 'recalled', now())",
            *ids,
        ),
        (
            "INSERT INTO ended (message_id, sender, recipient, cause, ended_at) VALUES ($1, $2, $3, 'recalled', now())",
            sent.message_id,
            own,
            own,
        ),
        ("INSERT INTO access_log VALUES ($1, $1, $2, $3, $4, 'c', 'zip', now())", *ids, own),
        ("INSERT INTO access_log VALUES ($1, $1, $2, $3, $4, 'c', 'zip', now())", sent.message_id, own, own, own),
        ("SELECT * FROM doomed_object",),
        ("SELECT payload FROM journal",),
        ("SELECT * FROM outbox",),
        ("SELECT top_up_months()",),
    ]
    for statement, *values in statements:
        assert await tried(storage, stranger, statement, *values) in REFUSED, statement
    async with storage.db.worker() as tx:
        for table in ("custody", "delivery", "ended", "access_log"):
            partitions = await tx.db.fetch(
                "SELECT inhrelid::regclass::text AS relname FROM pg_inherits WHERE inhparent = $1::text::regclass",
                table,
            )
            assert len(partitions) == TEST_MONTHS_AHEAD + 3
            for row in partitions:
                statement = f"SELECT * FROM {row['relname']}"
                assert await tried(storage, SENDER, statement) == "InsufficientPrivilegeError"


async def test_each_side_may_do_only_its_own(storage: Stage, rows: Any) -> None:
    message_id = rows["delivered"].message_id
    receive = (
        "UPDATE delivery SET status = 'downloaded', downloaded_at = now(), receipt_sealed = 'x' WHERE message_id = $1"
    )
    recall = "UPDATE delivery SET status = 'recalled', recalled_at = now() WHERE message_id = $1"
    assert await tried(storage, SENDER, receive, message_id) == "InsufficientPrivilegeError"
    assert await tried(storage, RECIPIENT, recall, message_id) == "InsufficientPrivilegeError"
    expire = "UPDATE delivery SET status = 'expired' WHERE message_id = $1"
    for office in (SENDER, RECIPIENT):
        assert await tried(storage, office, expire, message_id) in REFUSED
        for column, value in (
            ("delivery_no", "7"),
            ("delivered_at", "now()"),
            ("sender", "'x'"),
            ("expired_at", "now()"),
        ):
            statement = f"UPDATE delivery SET {column} = {value} WHERE message_id = $1"
            assert await tried(storage, office, statement, message_id) == "InsufficientPrivilegeError"
        closed = (
            "INSERT INTO ended (message_id, sender, recipient, cause, ended_at) VALUES ($1, $2, $3, 'rejected', now())"
        )
        assert await tried(storage, office, closed, message_id, SENDER, RECIPIENT) == "InsufficientPrivilegeError"
    wanted = "UPDATE custody SET recall_requested_at = now() WHERE message_id = $1"
    assert await tried(storage, RECIPIENT, wanted, message_id) == "UPDATE 0"
    other = "INSERT INTO access_log VALUES ($1, $1, $2, $3, $4, 'c', 'zip', now())"
    assert await tried(storage, RECIPIENT, other, message_id, SENDER, RECIPIENT, SENDER) == "InsufficientPrivilegeError"
    assert await tried(storage, RECIPIENT, receive, message_id) == "UPDATE 1"


@pytest.mark.parametrize("state", ["downloaded", "recalled"])
async def test_nothing_leaves_an_end_state_not_even_by_the_worker(storage: Stage, rows: Any, state: str) -> None:
    message_id = rows[state].message_id
    for change in (
        "status = 'delivered', downloaded_at = NULL, receipt_sealed = NULL, recalled_at = NULL",
        "status = 'expired', expired_at = now(), downloaded_at = NULL, receipt_sealed = NULL, recalled_at = NULL",
        "delivery_no = 99",
        "opened_at = NULL",
        "downloaded_at = now(), recalled_at = now()",
    ):
        with pytest.raises(asyncpg.CheckViolationError):
            async with storage.db.worker() as tx:
                await tx.db.execute(f"UPDATE delivery SET {change} WHERE message_id = $1", message_id)


async def test_every_table_with_an_office_column_is_under_forced_security(storage: Stage) -> None:
    async with storage.db.worker() as tx:
        bare = await tx.db.fetch(
            """
            SELECT DISTINCT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
            WHERE c.relnamespace = 'storage'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
              AND a.attname IN ('sender', 'recipient', 'office') AND NOT (c.relrowsecurity AND c.relforcerowsecurity)
            """
        )
    assert bare == []
