"""Licences: renewed by hand within a window, by themselves shortly before they end, and stopped from doing so."""

from dataclasses import dataclass
from datetime import date, timedelta

from services.registry import offices
from services.registry.rules import Window, renewal_window, renewed_until, renews_by_itself
from todoke.events import Actor
from todoke.relay.clock import in_japan
from todoke.relay.postgres import Database, Tx, queries
from todoke.relay.problem import Problem
from todoke.relay.settings import RegistrySettings

_affairs = queries("services.registry", "affairs.sql")

RENEWAL_SECONDS = 300.0
"""How often licences that renew by themselves are looked for: twelve times in the last hour."""

RENEWALS_PER_TRANSACTION = 200


@dataclass(frozen=True, slots=True)
class Licence:
    """A licence: its last day in Japan, and whether it renews by itself."""

    until: date
    renews: bool


def japanese(day: date) -> str:
    """A day as sentences have it."""
    return f"{day.year}年{day.month}月{day.day}日"


async def renew(
    tx: Tx, office: str, settings: RegistrySettings, actor: Actor, *, renews: bool | None = None
) -> Licence:
    """A year more, by hand; `renews` also says whether it shall renew by itself from now on.

    Raises `Problem` 409: `TDK-LICENCE-NEEDED`, `TDK-RENEWAL-EARLY`, `TDK-RENEWAL-LATE`.
    """
    licence = await _locked(tx, office)
    window = renewal_window(licence.until, settings.renewal_opens_days, settings.renewal_closes_days)
    _refuse_outside(window, in_japan(tx.now).date())
    renewed = Licence(renewed_until(licence.until), licence.renews if renews is None else renews)
    await offices.set_licence(tx, office, until=renewed.until, renews=renewed.renews, cause="renewed", actor=actor)
    return renewed


async def set_auto_renewal(tx: Tx, office: str, actor: Actor, *, renews: bool) -> Licence:
    """Stop the automatic renewal, or let it go on; nothing is said when it is so already.

    Raises `Problem` 409: `TDK-LICENCE-NEEDED`, `TDK-RENEWAL-LATE` (the licence has ended).
    """
    licence = await _locked(tx, office)
    if in_japan(tx.now).date() > licence.until:
        raise Problem("TDK-RENEWAL-LATE", last_day=japanese(licence.until))
    if licence.renews is not renews:
        cause: offices.LicenceCause = "corrected" if renews else "auto_renew_stopped"
        await offices.set_licence(tx, office, until=licence.until, renews=renews, cause=cause, actor=actor)
    return Licence(licence.until, renews)


class AutomaticRenewals:
    """Renews the licences that renew by themselves and are about to end, suspended offices left out."""

    def __init__(self, db: Database, settings: RegistrySettings) -> None:
        self._db = db
        self._settings = settings

    async def run(self) -> None:
        """Renew all that are due, some at a time."""
        while await self._some() == RENEWALS_PER_TRANSACTION:
            pass

    async def _some(self) -> int:
        """Answers how many were found."""
        async with self._db.worker() as tx:
            due = renews_by_itself(tx.now, self._settings.renewal_closes_days)
            rows = await _affairs.licences_to_renew(
                tx.db, first=due.first, last=due.last, rows_max=RENEWALS_PER_TRANSACTION
            )
            for row in rows:
                licence = await _locked(tx, row["number"])
                if licence.renews and due.holds(licence.until):
                    await offices.set_licence(
                        tx, row["number"], until=renewed_until(licence.until), renews=True, cause="renewed"
                    )
        return len(rows)


def next_renewal(licence: Licence) -> date | None:
    """The first day of what the automatic renewal adds."""
    return licence.until + timedelta(days=1) if licence.renews else None


async def _locked(tx: Tx, office: str) -> Licence:
    row = await _affairs.lock_licence(tx.db, office=office)
    if row is None or row["until"] is None:
        raise Problem("TDK-LICENCE-NEEDED")
    return Licence(row["until"], bool(row["renews"]))


def _refuse_outside(window: Window, today: date) -> None:
    if today < window.first:
        raise Problem("TDK-RENEWAL-EARLY", from_day=japanese(window.first))
    if today > window.last:
        raise Problem("TDK-RENEWAL-LATE", last_day=japanese(window.last))
