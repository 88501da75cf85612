"""The wiring of projection."""

import asyncio
import contextlib

from services.projection.api import routes
from services.projection.bell import CHANNEL, Bell
from services.projection.filling import Filling
from services.projection.handlers import Lists, OperatorsWord
from services.projection.items import Opener
from services.projection.positions import Positions
from services.projection.reading import Reading
from services.projection.rebuild import Rebuild
from services.projection.rebuild_api import rebuild_routes
from services.projection.stream import Streams
from services.projection.timers import MEASURE_SECONDS, Pulse
from todoke.events import OperatorActed
from todoke.relay.postgres import Database
from todoke.relay.service import Runtime, Service, Timer


def build(runtime: Runtime) -> Service:
    """projection: hears everything about messages, keeps the lists, answers everybody who reads them."""
    bell = Bell(runtime.ports.clock)
    positions = Positions(runtime.secrets.hmac_key("projection/positions"))
    opener = Opener(runtime.keys, runtime.seal, runtime.log)
    reading = Reading(runtime.db, opener, positions, bell, runtime.settings.limits.wait_seconds_max)
    streams = Streams(runtime.db, bell, positions)
    pulse = Pulse(runtime.db)
    ears = _Ears(runtime.db, bell, streams)
    return Service(
        name="projection",
        says=(OperatorActed,),
        handlers=(Lists(runtime.metrics.listed_seconds.observe), OperatorsWord()),
        pace_seconds=0.03,
        routers=(routes(runtime.access, reading, positions, streams, pulse),),
        operator_routers=(rebuild_routes(runtime.access, Rebuild(runtime)),),
        timers=(Timer("pulse", MEASURE_SECONDS, pulse.measure),),
        loops={"beside": Filling(runtime).run},
        start=ears.start,
        stop=ears.stop,
    )


class _Ears:
    """Listens for commits of the worker, wherever it runs, and wakes this process's readers."""

    def __init__(self, db: Database, bell: Bell, streams: Streams) -> None:
        self._db = db
        self._bell = bell
        self._streams = streams
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to listen."""
        self._task = asyncio.create_task(self._db.hear(CHANNEL, self._bell.ring))

    async def stop(self) -> None:
        """End the streams and stop listening."""
        self._streams.close()
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
