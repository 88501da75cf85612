"""The wiring of the registry."""

from services.registry.affairs_api import affairs_routes, user_routes
from services.registry.api import internal_routes, session_routes
from services.registry.handlers import CsvVersions
from services.registry.importing import Importer
from services.registry.letters import Letters
from services.registry.licences import RENEWAL_SECONDS, AutomaticRenewals
from services.registry.logins import Logins
from services.registry.notice_api import notice_routes
from services.registry.office_api import office_routes
from services.registry.operator_applications import operator_application_routes
from services.registry.operator_notices import operator_notice_routes
from services.registry.operator_office_page import operator_office_page_routes
from services.registry.operator_offices import operator_office_routes, prefecture_routes
from services.registry.operators import TOTP_LABEL, SecondFactors, operator_routes
from services.registry.password_changes import PasswordChanges
from services.registry.passwords import Argon2Cost, Passwords
from services.registry.people import People
from services.registry.person_passwords import PersonPasswords
from services.registry.restore import restore
from services.registry.secrets import Secrets
from services.registry.sessions import Sessions, ended_feed
from services.registry.timers import SWEEP_SECONDS, Sweeper
from todoke.events import (
    ApplicationDecided,
    ApplicationReceived,
    CertificateChanged,
    LicenceChanged,
    NoticePublished,
    NoticeWithdrawn,
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
    db, clock, access, settings = runtime.db, runtime.ports.clock, runtime.access, runtime.settings.registry
    passwords = Passwords(runtime.ports.ids, Argon2Cost())
    logins = Logins(db, passwords, runtime.secrets.hmac_key("registry/login-account"), runtime.log)
    networks = Networks(runtime.settings.trusted_front, runtime.secrets.hmac_key(PORTAL_SECRET_LABEL))
    second_factors = SecondFactors(runtime.secrets.hmac_key(TOTP_LABEL), runtime.ports.ids)
    sessions = Sessions(db, runtime.tokens, access.ended, settings.password_days)
    secrets = Secrets(runtime.ports.ids, passwords)
    letters = Letters(db, clock, secrets, sessions, runtime.settings)
    acts = Acts(runtime)
    importer = Importer(db, acts)
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
            ApplicationReceived,
            ApplicationDecided,
            CertificateChanged,
            NoticePublished,
            NoticeWithdrawn,
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
                changes=PasswordChanges(db, logins, passwords, sessions, settings.password_rule),
                networks=networks,
                clock=clock,
            ),
            office_routes(access, db, clock, settings),
            affairs_routes(access, db, settings, PersonPasswords(db, logins, secrets, sessions), networks),
            user_routes(access, db, People(db, secrets, sessions)),
            notice_routes(access, db),
            internal_routes(ended_feed(db), runtime.secrets.hmac_key(INTERNAL_SECRET_LABEL), runtime.receipt_key),
        ),
        operator_routers=(
            operator_routes(access, db, runtime.tokens, logins, second_factors, networks),
            operator_office_routes(access, db, acts, importer),
            prefecture_routes(access, db),
            operator_office_page_routes(access, db, acts, letters),
            operator_application_routes(access, db, acts, secrets),
            operator_notice_routes(access, db, acts),
        ),
        timers=(
            Timer("sweep", SWEEP_SECONDS, Sweeper(db).run),
            Timer("imports", SWEEP_SECONDS, importer.sweep),
            Timer("renewals", RENEWAL_SECONDS, AutomaticRenewals(db, settings).run),
        ),
        start=passwords.prepare,
        stop=passwords.close,
        restore=restore,
    )
