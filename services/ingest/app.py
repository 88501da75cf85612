"""The wiring of ingest."""

from services.ingest.api import routes
from services.ingest.handlers import LetGo
from services.ingest.keys import MonthKeeper
from services.ingest.ledger import Ledger
from services.ingest.restore import Bundles, restore
from services.ingest.rules import HmacKeys
from services.ingest.sending import Sending
from services.ingest.timers import Sweeper
from todoke.events import MessageSubmitted, OperatorActed
from todoke.relay.service import DirectoryKeeper, Runtime, Service, Timer
from todoke.relay.upload import process_budget

SWEEP_SECONDS = 6 * 3600
"""How often orphans are looked for: they are a week old then, so hours do not matter."""


def build(runtime: Runtime) -> Service:
    """ingest: takes messages, keeps them safe, says MessageSubmitted."""
    hmacs = HmacKeys(
        idempotency=runtime.secrets.hmac_key("ingest/idempotency"),
        sequence=runtime.secrets.hmac_key("ingest/sequence"),
        content=runtime.secrets.hmac_key("ingest/content"),
    )
    limits = runtime.settings.limits
    sending = Sending(
        db=runtime.db,
        objects=runtime.objects,
        directory=runtime.directory,
        keys=MonthKeeper(runtime.db, runtime.root, runtime.keys, runtime.key_objects),
        sealer=runtime.seal,
        hmacs=hmacs,
        ledger=Ledger(
            db=runtime.db,
            hmacs=hmacs,
            sealer=runtime.seal,
            receipts=runtime.receipts,
            issuer=runtime.settings.address,
        ),
        limits=limits,
        ports=runtime.ports,
    )
    sweeper = Sweeper(runtime.db, runtime.objects, runtime.ports.clock, runtime.last_reconcile_was_clean)
    return Service(
        name="ingest",
        says=(MessageSubmitted, OperatorActed),
        handlers=(DirectoryKeeper(), LetGo()),
        pace_seconds=0.2,
        routers=(routes(runtime.access, sending, limits, process_budget(limits.bytes_in_flight_max), runtime.room),),
        timers=(Timer("sweep", SWEEP_SECONDS, sweeper.run),),
        needs=("postgres", "s3"),
        stop=sending.stop,
        restore=restore,
        inspect=Bundles(runtime.db, runtime.objects, runtime.ports.clock).inspect,
    )
