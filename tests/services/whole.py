"""The whole product in one process, on real PostgreSQL and object storage, with a log in memory in place of Kafka.

Events leave each service's real outbox and reach the real handlers of those who hear them, topic by topic, when a test
says so: thousands of steps take seconds, and every interleaving of topics can be had.
"""

import contextlib
import dataclasses
import importlib
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import httpx

from tests.services.conftest import bucket_of_worker
from todoke.events import CATALOGUE, SERVICES, Actor, Event, OfficeFacts, OfficeRegistered
from todoke.relay.clock import Ports
from todoke.relay.faults import Transient
from todoke.relay.limits import Limits
from todoke.relay.postgres import queries
from todoke.relay.service import Shared
from todoke.relay.settings import S3Settings
from todoke.relay.testing import Stage, fresh_database, hear, secrets_of_home, settings_for, stage, token_for
from todoke.relay.web import application

OUTBOX_ROWS = 10_000
ACTOR = Actor(kind="system", id="registry")


@dataclasses.dataclass
class Whole:
    """Every service over one database; `log` holds what each has said so far."""

    shared: Shared
    stages: dict[str, Stage]
    log: dict[str, list[Event]] = dataclasses.field(default_factory=lambda: defaultdict(list))
    _heard: dict[tuple[str, int, str], int] = dataclasses.field(default_factory=lambda: defaultdict(int))

    def app(self) -> Any:
        """The public application."""

        async def health() -> dict[str, object]:
            return {"status": "ready", "parts": {}}

        routers = [router for each in self.stages.values() for router in each.service.routers]
        ports = self.shared.ports
        return application("Todoke", routers, metrics=self.shared.metrics, health=health, ids=ports.ids)

    def client(self) -> httpx.AsyncClient:
        """A client of the public application, over ASGI."""
        transport = httpx.ASGITransport(app=self.app(), raise_app_exceptions=False)
        return httpx.AsyncClient(transport=transport, base_url=self.shared.settings.address, timeout=30)

    def token(self, office: str) -> dict[str, str]:
        """An Authorization header of a person at `office`."""
        return {"Authorization": f"Bearer {token_for(self.shared, office)}"}

    async def register(self, office: str, service_type: str, until: date) -> None:
        """Make an office known to every service that keeps a directory."""
        facts = OfficeFacts(
            name=f"事業所{office}", service_types=(service_type,), participation="active", licence_until=until
        )
        event = OfficeRegistered(actor=ACTOR, office=office, version=1, facts=facts)
        for each in self.stages.values():
            if any(OfficeRegistered in handler.hears for handler in each.service.handlers):
                await each.hear(event, said_by="registry")

    async def deliver(self, hearer: str) -> list[Event]:
        """Hand a service what it has not heard yet, topic by topic; answers it.

        As with real consumers one topic does not wait for another. Raises the last `Transient` after all had their
        turn; what failed is heard again.
        """
        heard: list[Event] = []
        waiting: Transient | None = None
        for place, handler in enumerate(self.stages[hearer].service.handlers):
            for speaker in sorted({name for event in handler.hears for name in event.SAID_BY} & self.stages.keys()):
                await self._take(speaker)
                at, end = self._heard[hearer, place, speaker], len(self.log[speaker])
                fresh = [event for event in self.log[speaker][at:end] if type(event) in handler.hears]
                try:
                    if fresh:
                        await hear(handler, self.stages[hearer].db, fresh, said_by=speaker)
                except Transient as trouble:
                    waiting = trouble
                    continue
                heard += fresh
                self._heard[hearer, place, speaker] = end
        if waiting is not None:
            raise waiting
        return heard

    async def _take(self, speaker: str) -> None:
        """Take what a service has said out of its outbox, in the order it was said."""
        sql = queries("todoke.relay", "journal.sql")
        async with self.stages[speaker].db.worker() as tx:
            rows = await sql.oldest_unsaid(tx.db, rows_max=OUTBOX_ROWS)
            at_no_place: dict[str, list[object]] = {
                key: [] for key in ("partitions", "begins", "nexts", "event_ids", "append_times")
            }
            await sql.acknowledged(tx.db, seqs=[row["seq"] for row in rows], **at_no_place)
        self.log[speaker] += [CATALOGUE[row["type"]].model_validate_json(row["payload"]) for row in rows]

    async def run_timers(self, service: str) -> None:
        """Run every timer of a service once, in their order."""
        for timer in self.stages[service].service.timers:
            await timer.run()


@contextlib.asynccontextmanager
async def whole(
    engines: Any, home: Path, ports: Ports, services: Sequence[str] = SERVICES, limits: Limits | None = None
) -> AsyncIterator[Whole]:
    """All of these services, started; they end with the block."""
    s3 = S3Settings(
        endpoint=engines.s3.endpoint,
        access_key=engines.s3.access_key,
        secret_key=engines.s3.secret_key,
        bucket=bucket_of_worker(engines.s3.bucket),
        region=engines.s3.region,
    )
    async with contextlib.AsyncExitStack() as stack:
        dsn = await stack.enter_async_context(fresh_database(engines.postgres, secrets_of_home(home, ports)))
        settings = settings_for(home, postgres=dsn, kafka=engines.kafka, s3=s3)
        if limits is not None:
            settings = settings.model_copy(update={"limits": limits})
        shared = await Shared.open(settings, ports)
        stack.push_async_callback(shared.close)
        await shared.objects.ensure_bucket()
        stages = {
            name: await stack.enter_async_context(
                stage(importlib.import_module(f"services.{name}.app").build, name, shared)
            )
            for name in services
        }
        yield Whole(shared, stages)
