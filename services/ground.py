"""What must be there before a service runs, or anybody works with it.

Settings of a home, database, schemas, topics, bucket, practice offices, operators.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from services.builds import builds
from todoke import engines
from todoke.events import SERVICES, topic_of
from todoke.relay.acts import Word
from todoke.relay.faults import Transient
from todoke.relay.kafka import ensure_topics
from todoke.relay.migrate import ensure_database, migrate
from todoke.relay.service import Runtime, Shared
from todoke.relay.settings import S3Settings, Settings

if TYPE_CHECKING:
    from services.registry.new_operator import NewOperator

DATABASE = "todoke"
PATIENCE_SECONDS = 60.0
"""How long the ground waits for engines that are somebody else's."""


def own_engines() -> set[str]:
    """The engines that a home runs itself: those that no `TODOKE_KAFKA`, `TODOKE_POSTGRES`, `TODOKE_S3` names."""
    return {name for name in engines.ENGINES if f"TODOKE_{name.upper()}" not in os.environ}


def settings_of(home: Path, address: str, **more: object) -> Settings:
    """The settings of a process of this home: `TODOKE_…` variables first, the home's own engines otherwise.

    Raises `engines.EngineError` when neither says where an engine is.
    """
    values: dict[str, object] = {"home": home, "keys": home / "keys", "address": address, **more}
    if names := own_engines():
        own = engines.addresses(home, names)
        values["disk"] = home
        values |= {
            "kafka": own.kafka,
            "postgres": urlsplit(own.postgres)._replace(path=f"/{DATABASE}").geturl(),
            "s3": S3Settings(
                endpoint=own.s3.endpoint,
                access_key=own.s3.access_key,
                secret_key=own.s3.secret_key,
                bucket=own.s3.bucket,
                region=own.s3.region,
            ),
        }
    for name in ("kafka", "postgres", "s3", "address", "home", "keys", "disk"):
        if f"TODOKE_{name.upper()}" in os.environ:
            values.pop(name, None)  # the environment wins over what was found
    return Settings(**values)  # type: ignore[arg-type]  # pydantic judges the values


async def lay(settings: Settings, services: Sequence[str] = SERVICES) -> None:
    """Database, roles, schemas, topics and bucket, as far as they are missing. Safe in several processes at once.

    Raises `Transient` when an engine stays away for a minute, `MigrationFailed`.
    """
    shared = await Shared.open(settings)
    try:
        waited = 0.0
        while True:
            try:
                await _lay_once(shared, services)
            except Transient:
                if waited >= PATIENCE_SECONDS:
                    raise
                waited += 1
                await asyncio.sleep(1)
            else:
                return
    finally:
        await shared.close()


async def _lay_once(shared: Shared, services: Sequence[str]) -> None:
    settings = shared.settings
    dsn = settings.postgres.get_secret_value()
    await ensure_database(dsn)
    await asyncio.gather(
        migrate(dsn, services, shared.secrets),
        ensure_topics(
            settings.kafka,
            [topic_of(name) for name in SERVICES],
            partitions=settings.partitions,
            replication=settings.replication,
        ),
        shared.objects.ensure_bucket(),
    )


async def everybody_knows(settings: Settings, offices: Sequence[str]) -> bool:
    """Whether every service that judges by its copy of the directory knows these offices."""
    shared = await Shared.open(settings)
    try:
        for name in ("ingest", "validation", "routing"):
            runtime = await shared.runtime(name)
            try:
                async with runtime.db.worker() as tx:
                    if len(await runtime.directory.get(tx.db, offices)) < len(offices):
                        return False
            finally:
                await runtime.db.close()
    finally:
        await shared.close()
    return True


async def load_practice(settings: Settings, operator_url: str) -> None:
    """Load the practice offices once and write `demo.json` into the home."""
    from services.registry.demo import load_demo  # noqa: PLC0415 (only a practice set-up has it)

    async with _registry(settings) as runtime:
        await load_demo(runtime, settings.home, settings.address, operator_url)


async def add_operator(settings: Settings, user_id: str, word: Word) -> "NewOperator":
    """Register an operator. Raises what `services.registry.new_operator.add_operator` does."""
    from services.registry import new_operator  # noqa: PLC0415 (a process of another service has no need of it)

    async with _registry(settings) as runtime:
        return await new_operator.add_operator(runtime, user_id, word)


@contextlib.asynccontextmanager
async def _registry(settings: Settings) -> AsyncIterator[Runtime]:
    """The registry's database and keys, beside whatever process serves it."""
    shared = await Shared.open(settings)
    try:
        runtime = await shared.runtime("registry")
        try:
            builds(["registry"])["registry"](runtime)
            yield runtime
        finally:
            await runtime.db.close()
    finally:
        await shared.close()
