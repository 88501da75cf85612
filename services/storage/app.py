"""The wiring of storage."""

from services.storage.api import Desk, router
from services.storage.contents import Contents
from services.storage.handlers import Keep
from services.storage.inventory import Inventory
from services.storage.mailbox import Mailbox
from services.storage.restore import restore
from services.storage.retiring import RETIRE_SECONDS, Retirement
from services.storage.timers import Deadlines, Eraser
from todoke.events import (
    ContentOpened,
    Delivered,
    Downloaded,
    Erased,
    Expired,
    KeyEpochDestroyed,
    MessageDiscarded,
    MessageHeld,
    MessageReleased,
    OperatorActed,
    Recalled,
    RecallRequested,
    ReminderDue,
)
from todoke.relay.service import Runtime, Service, Timer
from todoke.relay.upload import process_budget

TIMER_SECONDS = 60.0
"""How often deadlines are looked at: they are counted in days."""


def build(runtime: Runtime) -> Service:
    """Storage: the handler that delivers, the desk that hands out, and the timers."""
    limits = runtime.settings.limits
    contents = Contents(
        objects=runtime.objects,
        keys=runtime.keys,
        sealer=runtime.seal,
        receipts=runtime.receipts,
        issuer=runtime.settings.address,
        log=runtime.log,
    )
    mailbox = Mailbox(runtime.db, runtime.ports, wait_seconds_max=limits.wait_seconds_max)
    desk = Desk(mailbox, contents, process_budget(limits.bytes_in_flight_max))
    deadlines = Deadlines(runtime.db, runtime.ports, limits)
    eraser = Eraser(runtime.db, runtime.objects, runtime.ports, limits, runtime.log)
    retirement = Retirement(runtime.db, runtime.key_objects, runtime.ports, runtime.last_reconcile_was_clean)
    return Service(
        name="storage",
        says=(
            Delivered,
            ContentOpened,
            Downloaded,
            RecallRequested,
            Recalled,
            ReminderDue,
            Expired,
            Erased,
            KeyEpochDestroyed,
            MessageHeld,
            MessageReleased,
            MessageDiscarded,
            OperatorActed,
        ),
        handlers=(Keep(),),
        routers=(router(runtime.access, desk),),
        timers=(
            Timer("storage.remind", TIMER_SECONDS, deadlines.remind),
            Timer("storage.expire", TIMER_SECONDS, deadlines.expire),
            Timer("storage.erase", TIMER_SECONDS, eraser.erase),
            Timer("storage.sweep", TIMER_SECONDS, eraser.sweep),
            Timer("storage.retire", RETIRE_SECONDS, retirement.run),
        ),
        needs=("postgres", "s3"),
        restore=restore,
        inspect=Inventory(runtime.db, runtime.objects).inspect,
    )
