"""The wiring of portal."""

from todoke.events import OperatorActed
from todoke.relay.service import Runtime, Service


def build(runtime: Runtime) -> Service:
    """Portal: what it says, hears and serves."""
    runtime.log.debug("wired")
    return Service(name="portal", says=(OperatorActed,))
