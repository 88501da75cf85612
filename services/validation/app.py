"""The wiring of validation."""

from services.validation.api import Checking, routes
from services.validation.attachments import ParserPool
from services.validation.bundles import Bundles
from services.validation.handlers import Judge
from services.validation.judging import Judging
from todoke.events import (
    FileValidated,
    MessageAccepted,
    MessageDiscarded,
    MessageHeld,
    MessageRejected,
    MessageReleased,
    OperatorActed,
)
from todoke.relay.service import DirectoryKeeper, Runtime, Service
from todoke.relay.upload import process_budget


def build(runtime: Runtime) -> Service:
    """validation: judges messages against the national standard, for the record and for `check`."""
    limits = runtime.settings.limits
    parsers = ParserPool()
    judging = Judging(parsers, runtime.ports.clock)
    bundles = Bundles(runtime.objects, runtime.keys, runtime.seal)
    checking = Checking(runtime.db, runtime.directory, judging, limits, runtime.ports.clock)
    return Service(
        name="validation",
        says=(
            FileValidated,
            MessageAccepted,
            MessageRejected,
            MessageHeld,
            MessageReleased,
            MessageDiscarded,
            OperatorActed,
        ),
        handlers=(DirectoryKeeper(), Judge(runtime.db, runtime.directory, bundles, judging)),
        routers=(routes(runtime.access, checking, limits, process_budget(limits.bytes_in_flight_max)),),
        needs=("postgres", "s3"),
        stop=parsers.close,
    )
