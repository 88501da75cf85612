"""The wiring of validation."""

from services.validation.api import Checking, routes
from services.validation.attachments import ParserPool
from services.validation.bundles import Bundles
from services.validation.handlers import Judge
from services.validation.judging import Judging
from services.validation.restore import restore
from services.validation.scanning import Scanner
from services.validation.timers import Rescans
from todoke.events import (
    FileValidated,
    MessageAccepted,
    MessageDiscarded,
    MessageHeld,
    MessageRejected,
    MessageReleased,
    OperatorActed,
)
from todoke.relay.service import DirectoryKeeper, Runtime, Service, Timer
from todoke.relay.upload import process_budget

RESCAN_SECONDS = 10.0
"""How often the scanner is asked whether it is back, and messages that wait for it are tried again."""


def build(runtime: Runtime) -> Service:
    """validation: judges messages against the national standard, for the record and for `check`."""
    limits = runtime.settings.limits
    parsers = ParserPool()
    clamd = runtime.settings.clamd
    scanner = Scanner(clamd, runtime.ports.clock, runtime.log) if clamd else None
    judging = Judging(parsers, runtime.ports.clock, scanner)
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
        timers=(Timer("validation.rescan", RESCAN_SECONDS, Rescans(runtime.db, scanner).run),),
        needs=("postgres", "s3"),
        stop=parsers.close,
        restore=restore,
    )
