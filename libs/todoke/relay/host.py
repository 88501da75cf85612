"""Runs services in a process: HTTP, consumers, relays and timers, until told to stop.

`web` hosts HTTP, `work` hosts consumers and timers; relays run in both, because whoever writes wants to be heard at
once and the lease lets only one lead. A service alone (`todoke serve NAME`) is both.

A service relays, hears and serves only after its journal and its topic were compared (`todoke.relay.reconcile`); until
then its HTTP side answers 503 and health says so.
"""

import asyncio
import contextlib
import dataclasses
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any

import httpx
import structlog
import uvicorn
from fastapi import APIRouter, Depends, FastAPI

from todoke.events import MessageHeld, topic_of
from todoke.relay.consumer import Discipline
from todoke.relay.deadline import away
from todoke.relay.faults import Transient
from todoke.relay.handler import Timer
from todoke.relay.kafka import BareHearing, FastStreamHearing, Hearing, KafkaSender, kafka_answers
from todoke.relay.limits import EXIT_NO_PROGRESS, NO_PROGRESS_SECONDS_MAX
from todoke.relay.network import PORTAL_SECRET_LABEL, Networks
from todoke.relay.operating import Operating
from todoke.relay.operating_api import operator_routes
from todoke.relay.pacing import Pace
from todoke.relay.postgres import DatabaseAway, queries
from todoke.relay.publisher import Publisher
from todoke.relay.reconcile import Reconciler
from todoke.relay.service import Build, Runtime, Service, Shared
from todoke.relay.web import Nowhere, application
from todoke.relay.wire import Protocol

GAUGE_SECONDS = 5.0
"""How often lag, outbox and holds are looked at for `/metrics`."""

HEALTH_SECONDS_MAX = 3.0
"""An engine that does not answer the health question in this time is away."""

RECONCILE_AGAIN_SECONDS = 5.0
"""After a comparison that failed by a mistake of ours."""

TIMER_LOOK_SECONDS = 1.0
"""How often timers are asked whether they are due."""

log = structlog.get_logger()


@dataclasses.dataclass(slots=True)
class _Hosted:
    """One service in this process."""

    runtime: Runtime
    service: Service
    publisher: Publisher
    reconciler: Reconciler
    hearing: Hearing | None = None
    is_open: bool = False
    """Whether journal and topic were compared and the service's loops run."""
    last_seq: int = 0
    """The newest number of the journal that this process has seen."""


class Host:
    """The services of one process."""

    def __init__(self, shared: Shared, builds: Mapping[str, Build], *, serves: bool, works: bool) -> None:
        self._shared = shared
        self._builds = builds
        self._serves = serves
        self._works = works
        self._hosted: list[_Hosted] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._stops: list[Callable[[], Awaitable[None]]] = []
        self.failed = asyncio.Event()
        """Set when the process must end to be started again (exit 70)."""

    # --- life --------------------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Host"]:
        """Build every service and keep its loops running inside the block."""
        try:
            for name, build in self._builds.items():
                self._hosted.append(await self._host(name, build))
            for hosted in self._hosted:
                await self._start(hosted)
            if self._serves:
                self._keep("ended-sessions", self._shared.ended.run)
            self._keep("gauges", self._gauges)
            yield self
        finally:
            await self._end()

    async def _host(self, name: str, build: Build) -> _Hosted:
        runtime = await self._shared.runtime(name)
        settings = runtime.settings
        owner = f"{name}-{settings.instance}-{os.getpid()}"
        sender = KafkaSender(settings.kafka, topic_of(name), runtime.log)
        publisher = Publisher(name, owner, runtime.db, sender, runtime.ports, runtime.metrics, runtime.log)
        runtime.db.said = publisher.wake
        service = build(runtime)
        reconciler = Reconciler(
            name,
            owner,
            runtime.db,
            runtime.ports,
            runtime.metrics,
            runtime.log,
            kafka=settings.kafka,
            restore=service.restore,
            inspect=service.inspect,
        )
        return _Hosted(runtime, service, publisher, reconciler)

    async def _start(self, hosted: _Hosted) -> None:
        service = hosted.service
        if service.stop is not None:
            self._stops.append(service.stop)
        if service.start is not None:
            await service.start()
        self._tasks.append(asyncio.create_task(self._open(hosted), name=f"{service.name}-open"))

    async def _open(self, hosted: _Hosted) -> None:
        """Compare journal and topic; only then relay, hear, run timers and serve."""
        service = hosted.service
        if service.says:  # who says nothing has no journal to compare
            await self._until_done(hosted, hosted.reconciler.at_start)
            self._keep(f"{service.name}-relay", hosted.publisher.run)
        if self._works:
            await self._work(hosted)
        hosted.is_open = True
        await self._until_done(hosted, hosted.reconciler.look_after_start)

    async def _until_done(self, hosted: _Hosted, compare: Callable[[], Awaitable[None]]) -> None:
        """Try again what fails by a mistake of ours: a closed service that says why is better than an open one."""
        while True:
            try:
                await compare()
            except Exception as mistake:  # noqa: BLE001 (whatever it is)
                hosted.runtime.log.critical("reconcile_fails", error=type(mistake).__name__)
                await self._shared.ports.clock.sleep(RECONCILE_AGAIN_SECONDS)
            else:
                return

    async def _work(self, hosted: _Hosted) -> None:
        service = hosted.service
        if service.says:
            self._keep(f"{service.name}-reconcile", hosted.reconciler.watch)
        if service.handlers:
            hosted.hearing = await self._hearing(hosted)
            self._keep(f"{service.name}-hear", hosted.hearing.run)
            self._keep(f"{service.name}-holds", lambda: self._settle_holds(hosted))
        for name, loop in service.loops.items():
            self._keep(f"{service.name}-{name}", loop)
        timers = (*service.timers, Timer("months", 24 * 3600, lambda: self._top_up(hosted)))
        self._keep(f"{service.name}-timers", lambda: self._run_timers(hosted, timers))

    async def _hearing(self, hosted: _Hosted) -> Hearing:
        runtime, service = hosted.runtime, hosted.service
        clean = True
        with contextlib.suppress(DatabaseAway):
            async with runtime.db.connection() as db:
                clean = await _consumer_sql().start_instance(
                    db, instance=runtime.settings.instance, started_at=runtime.ports.clock.now()
                )
        discipline = Discipline(
            service.name,
            service.handlers,
            runtime.db,
            runtime.ports,
            runtime.metrics.consumer(service.name),
            runtime.log,
            says_holds=MessageHeld in service.says,
            careful=clean is False,
            pace_seconds=service.pace_seconds,
        )
        driver = BareHearing if runtime.settings.driver == "bare" else FastStreamHearing
        return driver(discipline, runtime.settings.kafka, runtime.settings.instance, runtime.log)

    async def _end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.stop_services()
        for hosted in self._hosted:
            if hosted.hearing is not None and not self.failed.is_set():
                with contextlib.suppress(DatabaseAway):
                    async with hosted.runtime.db.connection() as db:
                        await _consumer_sql().end_instance(db, instance=hosted.runtime.settings.instance)
            await hosted.runtime.db.close()

    async def stop_services(self) -> None:
        """End what services began, once: open streams, groups that wait for their commit."""
        stops, self._stops = self._stops, []
        for stop in stops:
            await stop()

    def _keep(self, name: str, loop: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a loop for ever; one that ends by an exception of its own starts again after a second."""

        async def again_and_again() -> None:
            while True:
                try:
                    await loop()
                except asyncio.CancelledError:
                    raise
                except Transient as trouble:
                    log.warning("loop_waits", loop=name, reason=type(trouble).__name__)
                except Exception as mistake:  # noqa: BLE001 (a loop must not die silently)
                    log.critical("loop_fails", loop=name, error=type(mistake).__name__)
                await self._shared.ports.clock.sleep(1)

        self._tasks.append(asyncio.create_task(again_and_again(), name=name))

    # --- loops -------------------------------------------------------------------------------------------------

    async def _settle_holds(self, hosted: _Hosted) -> None:
        discipline = _discipline(hosted)
        while True:
            await discipline.watch_breaker()
            if not await discipline.parking.settle_one():
                await self._shared.ports.clock.sleep(2)

    async def _run_timers(self, hosted: _Hosted, timers: Sequence[Timer]) -> None:
        clock = self._shared.ports.clock
        journal = queries("todoke.relay", "journal.sql")
        while True:
            for timer in timers:
                async with hosted.runtime.db.connection() as db:
                    due = await journal.due_timer(
                        db,
                        name=f"timer/{timer.name}",
                        owner=hosted.runtime.settings.instance,
                        seconds=min(timer.every_seconds, 60.0),
                        every=timer.every_seconds,
                    )
                if due:
                    await self._run_timer(hosted, timer)
            await clock.sleep(TIMER_LOOK_SECONDS)

    async def _run_timer(self, hosted: _Hosted, timer: Timer) -> None:
        """One that fails comes again when it is due; the others must not wait for it."""
        try:
            await timer.run()
        except Transient as trouble:
            hosted.runtime.log.warning("timer_waits", timer=timer.name, reason=type(trouble).__name__)
        except Exception as mistake:  # noqa: BLE001 (a mistake in one timer is no reason to stop the others)
            hosted.runtime.log.critical("timer_fails", timer=timer.name, error=type(mistake).__name__)

    async def _top_up(self, hosted: _Hosted) -> None:
        journal = queries("todoke.relay", "journal.sql")
        async with hosted.runtime.db.connection() as db:
            used = await journal.default_partitions_used(db)
            if used:
                hosted.runtime.log.critical("default_partition_used", tables=[row["name"] for row in used])
            await journal.top_up_months(db)

    async def _gauges(self) -> None:
        journal = queries("todoke.relay", "journal.sql")
        clock, metrics = self._shared.ports.clock, self._shared.metrics
        while True:
            for hosted in self._hosted:
                name = hosted.service.name
                with contextlib.suppress(DatabaseAway):
                    async with hosted.runtime.db.connection() as db:
                        row = await journal.outbox_age(db)
                    age = (clock.now() - row["oldest"]).total_seconds() if row["oldest"] else 0.0
                    metrics.outbox_rows.labels(name).set(row["waiting"])
                    metrics.outbox_seconds.labels(name).set(max(0.0, age))
                    self._notice_restore(hosted, row["last_seq"])
                if hosted.hearing is not None:
                    self._watch(hosted, hosted.hearing)
            await clock.sleep(GAUGE_SECONDS)

    def _notice_restore(self, hosted: _Hosted, last_seq: int) -> None:
        """The journal's numbers never go back, unless an older copy was put under a running process: start again."""
        if last_seq < hosted.last_seq:
            log.critical("database_went_back", service=hosted.service.name, exit=EXIT_NO_PROGRESS)
            self.failed.set()
        hosted.last_seq = last_seq

    def _watch(self, hosted: _Hosted, hearing: Hearing) -> None:
        name, discipline, left = hosted.service.name, hearing.discipline, hearing.left()
        lag = sum(left.values())
        now = self._shared.ports.clock.monotonic()
        if not lag:
            discipline.last_progress = now  # nothing to do is no standstill: the time counts from the first lag on
        stalled = now - discipline.last_progress
        self._shared.metrics.lag_events.labels(name).set(lag)
        self._shared.metrics.lag_seconds.labels(name).set(discipline.lagging.seconds(left))
        self._shared.metrics.stalled_seconds.labels(name).set(stalled)
        if stalled > NO_PROGRESS_SECONDS_MAX and not discipline.breaker_open and not discipline.waiting:
            log.critical("no_progress", service=name, lag=lag, exit=EXIT_NO_PROGRESS)
            self.failed.set()

    # --- health ------------------------------------------------------------------------------------------------

    async def health(self) -> dict[str, Any]:
        """Each part with its state; `away` when something is missing that a service of this process needs."""
        checks: dict[str, Callable[[], Coroutine[Any, Any, bool]]] = {
            "postgres": self._postgres_answers,
            "s3": self._s3_answers,
            "kafka": lambda: kafka_answers(self._shared.settings.kafka),
        }
        names = list(checks)
        answers = await asyncio.gather(*(_in_time(checks[name]()) for name in names))
        up = dict(zip(names, answers, strict=True))
        needed = {need for hosted in self._hosted for need in hosted.service.needs}
        wanted = needed | {part for hosted in self._hosted for part in hosted.service.degraded_without}
        parts = {name: "ready" if up[name] else "away" for name in sorted(wanted)}
        for hosted in self._hosted:
            if not hosted.is_open:
                parts[hosted.service.name] = "reconciling"
            elif hosted.hearing is not None and hosted.hearing.discipline.breaker_open:
                parts[hosted.service.name] = "breaker open"
            elif hosted.hearing is not None and not hosted.hearing.discipline.began:
                parts[hosted.service.name] = "starting"
        if self._serves and not self._shared.ended.fresh:
            parts["ended-sessions"] = "stale"
        if not self._shared.room.has_room:
            parts["disk"] = "full"
        for url in self._shared.settings.also_ready:
            parts |= await self._ask(url)
        if any(parts.get(name) == "away" for name in needed) or not {"starting", "reconciling"}.isdisjoint(
            parts.values()
        ):
            status = "away"
        else:
            status = "ready" if all(state == "ready" for state in parts.values()) else "degraded"
        return {"status": status, "parts": parts}

    async def _postgres_answers(self) -> bool:
        for hosted in self._hosted[:1]:
            async with hosted.runtime.db.connection() as db:
                await queries("todoke.relay", "journal.sql").answers(db)
        return True

    async def _s3_answers(self) -> bool:
        await self._shared.objects.exists("health")
        return True

    async def _ask(self, url: str) -> dict[str, str]:
        try:
            answer = await self._shared.http.get(url, timeout=HEALTH_SECONDS_MAX + 1)
            parts: dict[str, str] = answer.json()["parts"]
        except (httpx.HTTPError, ValueError, KeyError):
            return {"work": "starting"}
        return {"work": "ready", **parts}

    # --- HTTP --------------------------------------------------------------------------------------------------

    def applications(self) -> tuple[FastAPI, FastAPI]:
        """The public application and the operators'; both serve health and metrics.

        A process that only works serves nothing else: it does not follow which sessions were ended.
        """
        serving = self._hosted if self._serves else []
        public = [_gated(hosted, router) for hosted in serving for router in hosted.service.routers]
        shared = self._shared
        operators = [_gated(hosted, router) for hosted in self._hosted for router in hosted.service.operator_routers]
        operators.append(
            operator_routes(shared.access, {each.service.name: Operating(each.runtime) for each in self._hosted})
        )
        nowhere = [hosted.service.nowhere for hosted in self._hosted if hosted.service.nowhere]
        lost = [hosted.service.operators_nowhere for hosted in self._hosted if hosted.service.operators_nowhere]
        networks = Networks(shared.settings.trusted_front, shared.secrets.hmac_key(PORTAL_SECRET_LABEL))
        pace = Pace(shared.access, networks, shared.ports.clock)

        def made(title: str, routers: Sequence[APIRouter], missing: Sequence[Nowhere]) -> FastAPI:
            return application(
                title,
                routers,
                metrics=shared.metrics,
                health=self.health,
                ids=shared.ports.ids,
                pace=pace,
                nowhere=next(iter(missing), None),
            )

        return made("Todoke", public, nowhere), made("Todoke operators", operators, lost)


async def serve(app: FastAPI, *, address: str, port: int, stopping: asyncio.Event) -> None:
    """Serve an application until `stopping` is set; open requests get some seconds to end."""
    config = uvicorn.Config(
        app,
        host=address,
        port=port,
        log_config=None,
        access_log=False,
        loop="uvloop",
        http=Protocol,
        timeout_graceful_shutdown=5,
        timeout_keep_alive=75,
        server_header=False,
        lifespan="off",
    )
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]  # signals are for the process
    task = asyncio.create_task(server._serve())  # noqa: SLF001 (serve() would take the process's signals)
    waiter = asyncio.create_task(stopping.wait())
    await asyncio.wait({task, waiter}, return_when=asyncio.FIRST_COMPLETED)
    server.should_exit = True
    waiter.cancel()
    await task


def _gated(hosted: _Hosted, router: APIRouter) -> APIRouter:
    """The router of a service, which answers 503 until the service is open."""

    async def must_be_open() -> None:
        if not hosted.is_open:
            raise away()

    gate = APIRouter(dependencies=[Depends(must_be_open)])
    gate.include_router(router)
    return gate


def _discipline(hosted: _Hosted) -> Discipline:
    if hosted.hearing is None:
        raise RuntimeError(hosted.service.name)
    return hosted.hearing.discipline


def _consumer_sql() -> Any:
    return queries("todoke.relay", "consumer.sql")


async def _in_time(check: Coroutine[Any, Any, bool]) -> bool:
    try:
        async with asyncio.timeout(HEALTH_SECONDS_MAX):
            return await check
    except (Transient, TimeoutError):
        return False
