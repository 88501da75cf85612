"""A second read set beside the live one: the same steps in another schema, the same log, the same tables."""

from collections.abc import AsyncIterator, Callable
from importlib import resources

import pytest

from services.projection.handlers import Lists
from todoke.relay.postgres import Database, administrator, queries
from todoke.relay.service import Shared
from todoke.relay.testing import Stage

from .conftest import Story
from .test_replay import dice, everything, hear, lives, shuffled, told_to

BESIDE = "projection_v2"


@pytest.fixture
async def beside(shared: Shared, read_set: str) -> AsyncIterator[Database]:
    """Roles, schema and tables of a service of another name, made from projection's own steps."""
    roles = queries("todoke.relay", "roles.sql")
    async with administrator(read_set) as db, db.transaction():
        for service in ("projection", BESIDE):  # it takes the database from everybody else: a clone has no grants yet
            for name, value in {
                "todoke.service": service,
                "todoke.worker_password": shared.secrets.password(f"{service}_worker"),
                "todoke.api_password": shared.secrets.password(f"{service}_api"),
            }.items():
                await roles.set_for_this_transaction(db, name=name, value=value)
            await roles.make_service(db)
        for name, value in {"role": f"{BESIDE}_owner", "search_path": BESIDE}.items():
            await roles.set_for_this_transaction(db, name=name, value=value)
        for package in ("todoke.relay", "services.projection"):
            steps = sorted((resources.files(package) / "schema").iterdir(), key=lambda step: step.name)
            for step in steps:
                await db.execute(step.read_text(encoding="utf-8").split("-- migrate:down")[0])
    database = await Database.open(BESIDE, address=read_set, passwords=shared.secrets.password, ports=shared.ports)
    yield database
    await database.close()


async def test_a_read_set_built_beside_the_live_one_equals_it(
    projection: Stage, beside: Database, tell: Callable[..., Story]
) -> None:
    rng = dice(5)
    log = lives(tell, rng)
    await hear(projection, log)
    await told_to(Lists(lambda _: None), beside, shuffled(log, rng))
    assert await everything(beside) == await everything(projection.db)
