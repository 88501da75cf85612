"""Roles and schemas: what a database must hold before a service can run. Uses dbmate (plain SQL steps).

The kit's own steps come first, then the service's; both run as NAME_owner inside the service's schema. Steps named
`NNNN_pre_…` may run while the older program still works, `NNNN_post_…` once it is gone.
"""

import asyncio
import os
import shutil
import sysconfig
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from todoke.relay.postgres import administrator, queries
from todoke.relay.rootsecret import Secrets

MONTHS_AHEAD = 24
"""Monthly partitions that are ready before their month begins; a daily timer tops them up."""

DBMATE_TLS = ("require", "verify-ca", "verify-full")
"""Values of `sslmode` that make TLS a must; any other one is satisfied without."""

KIT_TABLE = "kit_steps"
SERVICE_TABLE = "service_steps"


class MigrationFailed(Exception):  # noqa: N818 (named for what happened)
    """A step did not go through; the text is the tool's own."""


async def migrate(dsn: str, services: Sequence[str], secrets: Secrets, months_ahead: int = MONTHS_AHEAD) -> None:
    """Bring roles and schemas of the services up to date. Safe to repeat and to run in several processes at once.

    `dsn` is an administrator's; monthly partitions are made so many months ahead.
    Raises `MigrationFailed`, `DatabaseAway`.
    """
    roles = queries("todoke.relay", "roles.sql")
    async with administrator(dsn) as db:
        await roles.lock_migrations(db)
        for service in services:
            async with db.transaction():
                for name, value in (
                    ("todoke.service", service),
                    ("todoke.worker_password", secrets.password(f"{service}_worker")),
                    ("todoke.api_password", secrets.password(f"{service}_api")),
                ):
                    await roles.set_for_this_transaction(db, name=name, value=value)
                await roles.make_service(db)
        outcomes = await asyncio.gather(
            *(_migrate_service(dsn, name, months_ahead) for name in services), return_exceptions=True
        )
        for outcome in outcomes:
            if outcome is not None:
                raise outcome


async def _migrate_service(dsn: str, service: str, months_ahead: int) -> None:
    kit = Path(str(resources.files("todoke.relay").joinpath("schema")))
    address = _as_owner(dsn, service, months_ahead)
    await _dbmate(address, service, kit, KIT_TABLE)
    own = Path(str(resources.files(f"services.{service}").joinpath("schema")))
    await _dbmate(address, service, own, SERVICE_TABLE)


async def _dbmate(address: str, service: str, steps: Path, table: str) -> None:
    program = shutil.which("dbmate", path=sysconfig.get_path("scripts")) or shutil.which("dbmate")
    if program is None:
        raise MigrationFailed("the program dbmate is not installed: run make setup")
    process = await asyncio.create_subprocess_exec(
        program,
        *("--no-dump-schema", "--migrations-dir", str(steps), "--migrations-table", f"{service}.{table}", "migrate"),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env={"DATABASE_URL": address},
    )
    _, errors = await process.communicate()
    if process.returncode != 0:
        raise MigrationFailed(f"{service}: {errors.decode(errors='replace').strip()[-500:]}")


def _as_owner(dsn: str, service: str, months_ahead: int) -> str:
    """The address for dbmate, whose driver knows neither the environment's TLS settings nor `prefer`."""
    parts = urlsplit(dsn)
    said = dict(parse_qsl(parts.query))
    mode = said.pop("sslmode", os.environ.get("PGSSLMODE", ""))
    authority = said.pop("sslrootcert", os.environ.get("PGSSLROOTCERT", ""))
    tls = {"sslmode": mode if mode in DBMATE_TLS else "disable"} | ({"sslrootcert": authority} if authority else {})
    settings = {"search_path": service, "role": f"{service}_owner", "todoke.months_ahead": str(months_ahead)}
    return parts._replace(query=urlencode({**said, **tls, **settings}, quote_via=quote)).geturl()


async def ensure_database(dsn: str) -> None:
    """Make the database that `dsn` names if the server has none of that name. Raises `DatabaseAway`."""
    parts = urlsplit(dsn)
    name = parts.path.lstrip("/")
    sql = queries("todoke.relay", "roles.sql")
    async with administrator(parts._replace(path="/postgres").geturl()) as db:
        await sql.lock_migrations(db)
        if not await sql.database_exists(db, name=name):
            await db.execute(await sql.create_statement(db, name=name))
