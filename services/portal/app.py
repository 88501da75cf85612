"""The wiring of the portal."""

from collections.abc import Awaitable, Callable
from functools import partial

from services.portal.apis import Api
from services.portal.console import next_port
from services.portal.forms import Csrf
from services.portal.frame import Frames
from services.portal.importing import SOCKET_OPTIONS, Importer
from services.portal.imports import Imports
from services.portal.kept import Likings, Memos, Searches
from services.portal.late import LateForms
from services.portal.live import Live
from services.portal.making import making
from services.portal.pages import Assets, Pages
from services.portal.portal import Portal
from services.portal.screens import (
    applying,
    bulk,
    bulk_row,
    compose,
    console_entry,
    console_notices,
    console_offices,
    drafts,
    entry,
    fetching,
    files,
    first,
    importing_offices,
    listing,
    live,
    messages,
    received,
    registering,
    sent,
    staying,
    top,
    usage,
    withdrawing,
)
from services.portal.visitors import Visitors
from services.portal.websessions import WebSessions
from todoke.events import OperatorActed
from todoke.relay.network import PORTAL_SECRET_LABEL, Networks
from todoke.relay.service import Runtime, Service, Timer

SWEEP_SECONDS = 3600.0

ORPHANS_SECONDS = 24 * 3600.0
"""How often object storage is compared with the drafts: the listing is long."""

VERSION = "1.0.0"
"""As the login says it."""


def build(runtime: Runtime) -> Service:
    """portal: the screens of the offices' staff, over the public API."""
    portal = _portal(runtime)
    made = making(runtime, portal)
    importer = _importer(runtime, portal)
    return Service(
        name="portal",
        says=(OperatorActed,),
        routers=(
            *entry.routers(portal, made.leave),
            first.router(portal),
            *staying.routers(portal),
            top.router(portal),
            received.router(portal),
            sent.router(portal),
            listing.router(portal),
            fetching.router(portal),
            messages.router(portal),
            withdrawing.router(portal),
            live.router(portal),
            compose.router(portal, made),
            drafts.router(portal, made),
            bulk_row.router(portal, made),
            bulk.router(portal, made),
            files.router(portal),
            usage.router(portal),
            applying.router(portal),
        ),
        operator_routers=(
            console_entry.router(portal),
            staying.console_router(portal),
            registering.router(portal),
            importing_offices.router(portal, importer.imports),
            console_offices.router(portal),
            console_notices.router(portal),
            files.router(portal),
        ),
        timers=(
            Timer("sessions", SWEEP_SECONDS, portal.sessions.sweep),
            Timer("late-forms", SWEEP_SECONDS, portal.late.sweep),
            Timer("drafts", SWEEP_SECONDS, made.sweeper.sweep),
            Timer("orphans", ORPHANS_SECONDS, made.sweeper.sweep_orphans),
            Timer("imports", SWEEP_SECONDS, importer.imports.sweep),
        ),
        loops={"sender": made.sender.run, "importer": importer.run},
        degraded_without=("kafka", "s3"),
        stop=_stop(portal, importer),
        nowhere=portal.troubles.nowhere,
        operators_nowhere=partial(portal.troubles.nowhere, "operator"),
    )


def _stop(portal: Portal, importer: Importer) -> Callable[[], Awaitable[None]]:
    async def stop() -> None:
        await portal.live.close()
        await portal.api.close()
        await portal.operator_api.close()
        await importer.api.close()

    return stop


def _importer(runtime: Runtime, portal: Portal) -> Importer:
    imports = Imports(runtime.db, runtime.seal, runtime.secrets, runtime.objects, runtime.ports.ids)
    secret = runtime.secrets.hmac_key(PORTAL_SECRET_LABEL)
    api = Api(portal.operator_api.address, secret, SOCKET_OPTIONS)
    return Importer(imports, portal.sessions, api, runtime.ports, runtime.log)


def _portal(runtime: Runtime) -> Portal:
    settings, ports = runtime.settings.portal, runtime.ports
    secret = runtime.secrets.hmac_key(PORTAL_SECRET_LABEL)
    api = Api(settings.api or runtime.settings.address, secret)
    operator_api = Api(settings.operator_api or next_port(runtime.settings.address), secret)
    sessions = WebSessions(runtime.db, runtime.seal, runtime.secrets, ports.ids, settings.idle_minutes)
    visitors = Visitors(sessions, api, ports.clock)
    assets = Assets()
    return Portal(
        settings=settings,
        db=runtime.db,
        sessions=sessions,
        visitors=visitors,
        api=api,
        operator_api=operator_api,
        csrf=Csrf(runtime.secrets.hmac_key("portal/form")),
        pages=Pages(assets, {"settings": settings, "version": VERSION}),
        assets=assets,
        frames=Frames(ports.clock),
        networks=Networks(runtime.settings.trusted_front),
        clock=ports.clock,
        ids=ports.ids,
        limits=runtime.settings.limits,
        searches=Searches(runtime.db, runtime.seal, runtime.secrets, ports.ids),
        memos=Memos(runtime.db, runtime.seal, runtime.secrets),
        likings=Likings(runtime.db),
        late=LateForms(runtime.db, runtime.seal, runtime.secrets, ports.ids),
        live=Live(visitors.without_browser, api, ports.clock, runtime.log),
        secure=runtime.settings.address.startswith("https://"),
        log=runtime.log,
    )
