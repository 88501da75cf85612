"""The wiring of the registry."""

from services.registry.api import internal_routes, session_routes
from services.registry.handlers import CsvVersions
from services.registry.logins import Logins
from services.registry.office_api import office_routes
from services.registry.operator_offices import operator_office_routes
from services.registry.operators import TOTP_LABEL, SecondFactors, operator_routes
from services.registry.password_changes import PasswordChanges
from services.registry.passwords import Argon2Cost, Passwords
from services.registry.restore import restore
from services.registry.sessions import Sessions, ended_feed
from services.registry.timers import SWEEP_SECONDS, Sweeper
from todoke.events import (
    LicenceChanged,
    OfficeChanged,
    OfficeRegistered,
    OfficeResumed,
    OfficeSucceeded,
    OfficeSuspended,
    OperatorActed,
    UserChanged,
)
from todoke.relay.access import INTERNAL_SECRET_LABEL
from todoke.relay.acts import Acts
from todoke.relay.network import PORTAL_SECRET_LABEL, Networks
from todoke.relay.service import Runtime, Service, Timer


def build(runtime: Runtime) -> Service:
    """registry: offices and their licences, persons and their rights, logins and sessions."""
    db, clock, access = runtime.db, runtime.ports.clock, runtime.access
    passwords = Passwords(runtime.ports.ids, Argon2Cost())
    logins = Logins(db, passwords, runtime.secrets.hmac_key("registry/login-account"))
    networks = Networks(runtime.settings.trusted_front, runtime.secrets.hmac_key(PORTAL_SECRET_LABEL))
    second_factors = SecondFactors(runtime.secrets.hmac_key(TOTP_LABEL), runtime.ports.ids)
    sessions = Sessions(db, runtime.tokens, access.ended)
    return Service(
        name="registry",
        says=(
            OfficeRegistered,
            OfficeChanged,
            OfficeSuspended,
            OfficeResumed,
            OfficeSucceeded,
            LicenceChanged,
            UserChanged,
            OperatorActed,
        ),
        handlers=(CsvVersions(),),
        pace_seconds=0.5,
        routers=(
            session_routes(
                access=access,
                tokens=runtime.tokens,
                logins=logins,
                sessions=sessions,
                changes=PasswordChanges(db, logins, passwords, sessions),
                networks=networks,
                clock=clock,
            ),
            office_routes(access, db, clock),
            internal_routes(ended_feed(db), runtime.secrets.hmac_key(INTERNAL_SECRET_LABEL), runtime.receipt_key),
        ),
        operator_routers=(
            operator_routes(access, db, runtime.tokens, logins, second_factors, networks),
            operator_office_routes(access, db, Acts(runtime)),
        ),
        timers=(Timer("sweep", SWEEP_SECONDS, Sweeper(db).run),),
        start=passwords.prepare,
        stop=passwords.close,
        restore=restore,
    )
