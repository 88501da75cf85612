"""The wiring of notification."""

from services.notification.addresses import Addresses
from services.notification.api import Settings, router
from services.notification.calling import WebhookCaller
from services.notification.handlers import Announce, KeepOffices
from services.notification.mailing import Mailer
from services.notification.outgoing import Ledger
from services.notification.timers import Upkeep
from todoke.events import OperatorActed
from todoke.relay.service import Runtime, Service, Timer

MAIL_SECONDS = 5.0
"""How often due mail is looked for."""

WEBHOOK_SECONDS = 1.0
"""How often due webhooks are looked for."""

REMIND_SECONDS = 60.0
"""How often chosen reminders are looked for: they are counted in days."""

TIDY_SECONDS = 3600.0
"""How often the queue is cleared."""


def build(runtime: Runtime) -> Service:
    """Notification: hears what concerns offices, queues, and sends by timers."""
    settings = runtime.settings
    mails = settings.mail.host is not None
    private = settings.webhooks_to_private_addresses
    if not mails:
        runtime.log.info("mail_is_off", reason="no mail host is configured")
    addresses = Addresses(runtime.seal, runtime.secrets)
    ledger = Ledger(runtime.db, runtime.ports)
    mailer = Mailer(ledger, addresses, runtime.directory, settings.mail, settings.address, runtime.log)
    caller = WebhookCaller(ledger, addresses, runtime.log, private=private)
    upkeep = Upkeep(runtime.db)
    return Service(
        name="notification",
        says=(OperatorActed,),
        handlers=(Announce(mails=mails), KeepOffices()),
        pace_seconds=0.2,
        routers=(router(runtime.access, Settings(runtime.db, addresses, runtime.ports, private=private, mails=mails)),),
        timers=(
            Timer("notification.mail", MAIL_SECONDS, mailer.send_due),
            Timer("notification.webhooks", WEBHOOK_SECONDS, caller.call_due),
            Timer("notification.remind", REMIND_SECONDS, upkeep.remind),
            Timer("notification.tidy", TIDY_SECONDS, upkeep.tidy),
        ),
    )
