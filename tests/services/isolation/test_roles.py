"""PostgreSQL itself, by logging in as each role of each service: what it may not see it does not see, nor change.

Schemas, tables and columns come from the catalogue: a new table is tried like the others, and one that an API role may
read is either under row-level security or named here with the reason why not.
"""

import contextlib
import dataclasses
from collections.abc import AsyncIterator, Iterable
from typing import Any

import asyncpg
import pytest

from todoke.relay.postgres import administrator, connection_target

from .conftest import OWNER, STRANGER, Scene

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.long]

OPEN = {
    "journal": "ids of events, that one is not said twice; neither key nor payload",
    "journal_office": "the same",
    "directory": "public: what every office may know of every other",
    "registry.office": "public, as the directory",
    "projection.pulse": "public: how the system is; it names no office",
    "registry.login_lock": "failed logins by HMAC and network, before it is known who somebody is",
    "registry.login_failure": "when a login failed, by the id of the login",
    "registry.session_feed": "one number",
    "registry.session_ended": "ids of sessions that are over, for every process",
    "registry.notice": "for whom a notice is is a question of service types and prefectures, which the statements ask",
    "projection.operators_word": "public: what operators say of the system; it names no office",
    "registry.operator": "which code was taken last, for whoever logs in as an operator",
}
"""Tables that an API role may read without being an office, and what they give away."""

OFFICE_COLUMNS = {"office", "sender", "recipient"}
"""Columns that hold an office's number wherever they stand; a table that has one is under row-level security."""


@dataclasses.dataclass(frozen=True)
class Table:
    """One table of one service; `secured`: row-level security is enabled and forced."""

    schema: str
    name: str
    oid: int
    partition: bool
    secured: bool
    columns: frozenset[str]

    @property
    def service(self) -> str:
        return self.schema.partition("_")[0]

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"

    def is_among(self, names: Iterable[str]) -> bool:
        return self.name in names or f"{self.service}.{self.name}" in names


def address(scene: Scene) -> str:
    return scene.product.shared.settings.postgres.get_secret_value()


@contextlib.asynccontextmanager
async def logged_in(scene: Scene, role: str, office: str | None = None) -> AsyncIterator[Any]:
    """A session of a role with its own password; for an office when one is given."""
    password = scene.product.shared.secrets.password(role)
    db = await asyncpg.connect(**connection_target(address(scene)), user=role, password=password)
    try:
        if office is not None:
            await db.execute(f"SET app.office = '{office}'")
        yield db
    finally:
        await db.close()


async def tables(scene: Scene) -> list[Table]:
    """Every table of every service, read sets and partitions too."""
    async with administrator(address(scene)) as db:
        rows = await db.fetch(
            """
            SELECT n.nspname AS schema, c.relname AS name, c.oid, c.relispartition AS partition,
                   c.relrowsecurity AND c.relforcerowsecurity AS secured,
                   ARRAY(SELECT attname::text FROM pg_attribute a
                         WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS columns
            FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE c.relkind IN ('r', 'p') AND n.nspname !~ '^(pg_|information_schema|public$)'
            """
        )
    return [Table(**{**row, "columns": frozenset(row["columns"])}) for row in rows]


def services(found: Iterable[Table]) -> list[str]:
    return sorted({table.service for table in found})


async def readable(db: Any) -> dict[int, list[str]]:
    """The columns that this session may read, by table."""
    rows = await db.fetch(
        """
        SELECT a.attrelid, array_agg(a.attname::text) AS columns
        FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
        WHERE c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped
          AND has_schema_privilege(c.relnamespace, 'USAGE') AND has_column_privilege(a.attrelid, a.attnum, 'SELECT')
        GROUP BY a.attrelid
        """
    )
    return {row["attrelid"]: row["columns"] for row in rows}


async def seen(db: Any, table: Table, columns: Iterable[str]) -> list[str]:
    """Every row that this session sees of a table, as text."""
    named = ", ".join(f'"{column}"' for column in columns)
    return [row[0] for row in await db.fetch(f"SELECT ROW({named})::text FROM {table}")]


async def test_three_roles_per_service_and_none_is_more_than_that(scene: Scene) -> None:
    names = services(await tables(scene))
    async with administrator(address(scene)) as db:
        roles = {row["rolname"]: row for row in await db.fetch("SELECT * FROM pg_roles WHERE rolname !~ '^pg_'")}
        members = await db.fetch("SELECT roleid::regrole::text, member::regrole::text FROM pg_auth_members m "
                                 "WHERE roleid::regrole::text ~ '_(owner|worker|api)$'")  # fmt: skip
    assert names == sorted(scene.product.stages)
    for service in names:
        for kind in ("owner", "worker", "api"):
            role = roles[f"{service}_{kind}"]
            powers = ("rolsuper", "rolbypassrls", "rolcreaterole", "rolcreatedb", "rolreplication")
            assert not any(role[power] for power in powers), role
            assert role["rolcanlogin"] is (kind != "owner")
    assert members == [], "nobody is a member of a service's role"


async def test_every_table_with_an_office_is_under_forced_security(scene: Scene) -> None:
    found = await tables(scene)
    bare = [
        str(table)
        for table in found
        if table.columns & OFFICE_COLUMNS and not table.partition and not table.secured and not table.is_among(OPEN)
    ]
    assert bare == []


async def test_an_api_role_reads_no_table_unless_it_is_secured_or_said_to_be_open(scene: Scene) -> None:
    found = await tables(scene)
    bare = []
    for service in services(found):
        async with logged_in(scene, f"{service}_api") as db:
            columns = await readable(db)
        for table in found:
            own = table.service == service and not table.partition
            if table.oid in columns and not (own and (table.secured or table.is_among(OPEN))):
                bare.append((service, str(table), columns[table.oid]))
            if table.name.startswith("journal"):
                assert not {"key", "payload", "subject"} & set(columns.get(table.oid, ()))
    assert bare == []


async def test_an_api_role_sees_rows_of_its_office_only(scene: Scene) -> None:
    found = await tables(scene)
    own: dict[str, int] = {}
    for service in services(found):
        for office in (None, "", STRANGER.office, "' OR true --", "%"):
            async with logged_in(scene, f"{service}_api") as db:
                if office is not None:
                    await db.execute("SELECT set_config('app.office', $1, false)", office)
                columns = await readable(db)
                for table in found:
                    if table.is_among(OPEN) or table.oid not in columns:
                        continue
                    rows = await seen(db, table, columns[table.oid])
                    own_rows = [
                        row for row in rows if office == STRANGER.office and (office in row or STRANGER.c_id in row)
                    ]
                    assert rows == own_rows, (service, office, str(table))
        async with logged_in(scene, f"{service}_api", OWNER.office) as db:
            columns = await readable(db)
            mine = [table for table in found if table.oid in columns and not table.is_among(OPEN)]
            own[service] = sum([len(await seen(db, table, columns[table.oid])) for table in mine])
    assert all(
        own[service] for service in ("ingest", "validation", "storage", "projection", "notification", "registry")
    )


async def test_nobody_reaches_another_schema(scene: Scene) -> None:
    found = await tables(scene)
    for service in services(found):
        for kind in ("worker", "api"):
            async with logged_in(scene, f"{service}_{kind}") as db:
                columns = await readable(db)
            assert [str(table) for table in found if table.oid in columns and table.service != service] == [], kind
            assert [table for table in found if table.oid in columns]


ATTEMPTS = (
    "SET ROLE {service}_owner",
    "SET ROLE {service}_worker",
    "SET ROLE {other}_api",
    "SET ROLE postgres",
    "SET SESSION AUTHORIZATION {other}_api",
    "SET session_replication_role = replica",
    "CREATE TABLE {service}.mine (x int)",
    "CREATE TABLE public.mine (x int)",
    "CREATE SCHEMA mine",
    "CREATE FUNCTION {service}.mine() RETURNS int LANGUAGE sql RETURN 1",
    "CREATE ROLE mine",
    "ALTER ROLE {role} BYPASSRLS",
    "DROP SCHEMA {service} CASCADE",
    "GRANT {service}_owner TO {role}",
    "SELECT * FROM pg_authid",
    "SELECT pg_read_file('/etc/hostname')",
    "COPY (SELECT 1) TO PROGRAM 'true'",
    "SELECT {service}.partition_by_month('{service}.journal')",
    "SELECT {service}.office_policy('{service}.directory', 'office')",
)
ATTEMPTS_ON_TABLES = (
    "ALTER TABLE {table} DISABLE ROW LEVEL SECURITY",
    "ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY",
    "ALTER TABLE {table} OWNER TO {role}",
    "CREATE POLICY mine ON {table} USING (true)",
    "DROP TABLE {table}",
    "TRUNCATE {table}",
    "CREATE TRIGGER mine BEFORE UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
)


WITHOUT_EFFECT = ("GRANT ALL ON {table} TO {role}", "SELECT {service}.grant_worker('{table}')")
"""Only a warning, for somebody who has rights and may not hand them on: what counts is that nothing has changed."""


async def refused(db: Any, statement: str) -> bool:
    """Whether PostgreSQL refuses it for want of a right."""
    try:
        async with db.transaction():
            await db.execute(statement)
            raise asyncpg.RaiseError("undone")  # noqa: TRY301 (whatever it did is rolled back)
    except asyncpg.InsufficientPrivilegeError:
        return True
    except asyncpg.RaiseError:
        return False


async def test_no_role_that_logs_in_may_change_what_holds_it(scene: Scene) -> None:
    found = await tables(scene)
    names = services(found)
    allowed = []
    for number, service in enumerate(names):
        for kind in ("worker", "api"):
            role = f"{service}_{kind}"
            attempts = [
                each.format(service=service, other=names[number - 1], role=role)
                for each in ATTEMPTS
                if each != "SET ROLE {service}_worker" or kind == "api"
            ]
            attempts += [
                each.format(table=table, role=role)
                for each in ATTEMPTS_ON_TABLES
                for table in found
                if table.service == service and not table.partition
            ]
            async with logged_in(scene, role) as db:
                allowed += [(role, each) for each in attempts if not await refused(db, each)]
                before = await db.fetch("SELECT oid, relacl::text FROM pg_class ORDER BY oid")
                for each in WITHOUT_EFFECT:
                    for table in found:
                        with contextlib.suppress(asyncpg.InsufficientPrivilegeError):
                            await db.execute(each.format(service=service, table=table, role=role))
                assert await db.fetch("SELECT oid, relacl::text FROM pg_class ORDER BY oid") == before
    assert allowed == []


async def test_what_was_said_is_changed_by_nobody(scene: Scene) -> None:
    found = await tables(scene)
    journals = [table for table in found if table.name.startswith("journal")]
    changes = [f"UPDATE {table} SET key = 'x'" for table in journals] + [f"DELETE FROM {table}" for table in journals]
    for service in services(found):
        for kind in ("worker", "api"):
            async with logged_in(scene, f"{service}_{kind}") as db:
                assert [each for each in changes if not await refused(db, each)] == [], kind
    async with administrator(address(scene)) as db:  # not even by the owner of the tables, but for dropping them
        for service in services(found):
            async with db.transaction():
                await db.execute(f"SET LOCAL ROLE {service}_owner")
                for statement in (f"UPDATE {service}.journal SET key = 'x'", f"DELETE FROM {service}.journal_office"):
                    with contextlib.suppress(asyncpg.RaiseError):
                        async with db.transaction():
                            done = await db.execute(statement)
                            assert done.endswith(" 0"), (statement, done)


async def test_security_that_is_switched_off_is_an_error_and_no_way_in(scene: Scene) -> None:
    found = await tables(scene)
    for service in services(found):
        async with logged_in(scene, f"{service}_api", STRANGER.office) as db:
            await db.execute("SET row_security = off")
            columns = await readable(db)
            for table in found:
                if table.oid in columns and table.secured and not table.is_among(OPEN):
                    with pytest.raises(asyncpg.InsufficientPrivilegeError):
                        await seen(db, table, columns[table.oid])
