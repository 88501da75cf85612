"""The wiring of routing."""

from services.routing.handlers import Route
from services.routing.restore import restore
from todoke.events import (
    MessageDiscarded,
    MessageHeld,
    MessageReleased,
    MessageRouted,
    MessageUndeliverable,
    OperatorActed,
)
from todoke.relay.directory import DirectoryKeeper
from todoke.relay.service import Runtime, Service


def build(runtime: Runtime) -> Service:
    """Routing: no HTTP of its own, no timer."""
    return Service(
        name="routing",
        says=(MessageRouted, MessageUndeliverable, MessageHeld, MessageReleased, MessageDiscarded, OperatorActed),
        handlers=(Route(runtime.db, runtime.directory), DirectoryKeeper()),
        restore=restore,
    )
