"""One service at a time on real engines: `stage` gives it a database of its own and a folder of keys."""

import contextlib
import importlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from todoke.relay.clock import Ports
from todoke.relay.service import Shared
from todoke.relay.settings import S3Settings
from todoke.relay.testing import Stage, fresh_database, manual_ports, secrets_of_home, settings_for, stage

StageFactory = Callable[..., Awaitable[Stage]]


def bucket_of_worker(bucket: str) -> str:
    """A bucket for each worker of the run: what one test sweeps must not be what another one needs."""
    return f"{bucket}-{os.environ.get('PYTEST_XDIST_WORKER', 'alone')}"


@pytest.fixture
def ports() -> Ports:
    """Ports with a clock that the test moves by hand."""
    return manual_ports()


@pytest.fixture
async def shared(engines: Any, run_home: Path, ports: Ports) -> AsyncIterator[Shared]:
    """Keys, objects and a fresh database; several services may be staged over it."""
    s3 = S3Settings(
        endpoint=engines.s3.endpoint,
        access_key=engines.s3.access_key,
        secret_key=engines.s3.secret_key,
        bucket=bucket_of_worker(engines.s3.bucket),
        region=engines.s3.region,
    )
    async with fresh_database(engines.postgres, secrets_of_home(run_home, ports)) as dsn:
        settings = settings_for(run_home, postgres=dsn, kafka=engines.kafka, s3=s3)
        shared = await Shared.open(settings, ports)
        await shared.objects.ensure_bucket()
        try:
            yield shared
        finally:
            await shared.close()


@pytest.fixture
async def on_stage(shared: Shared) -> AsyncIterator[StageFactory]:
    """A way to stage services by name over `shared`; they end with the test."""
    async with contextlib.AsyncExitStack() as stack:

        async def make(name: str) -> Stage:
            build = importlib.import_module(f"services.{name}.app").build
            return await stack.enter_async_context(stage(build, name, shared))

        yield make
