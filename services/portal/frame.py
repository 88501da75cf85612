"""What stands around every page of an office: who is logged in, the two menus, the number of 未, the bands."""

import asyncio
import dataclasses
from collections import OrderedDict
from dataclasses import dataclass
from datetime import date

from services.portal.shown import day, moment
from services.portal.visitors import Visitor
from services.portal.wording import Sentence, of_code, say
from todoke.client import ClientError, NotLoggedIn, shapes
from todoke.relay.clock import Clock, in_japan

FACTS_SECONDS = 60.0
"""How long an office's licence is believed to be what it was: it changes once a year."""

OFFICES_KEPT = 2000

STATUS_SECONDS = 15.0
"""How often the whole system's state is asked for, for all visitors together."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A way of the main menu."""

    name: str
    path: str
    icon: str


MENU = (
    Entry("トップ", "/", "home"),
    Entry("受信一覧", "/received", "inbox"),
    Entry("送信一覧", "/sent", "outbox"),
    Entry("新規作成", "/compose", "new"),
    Entry("下書き一覧", "/drafts", "pen"),
    Entry("一括送信", "/bulk", "stack"),
)
"""Row 2 in its order; ログアウト, the seventh, is a button (it changes something)."""


@dataclass(frozen=True, slots=True)
class Frame:
    """The values of the frame. `here` is the path of the menu's entry that the page belongs to."""

    here: str
    office_name: str
    office_number: str
    person: str
    unread: int | None
    counts: shapes.Counts | None = None
    bands: tuple[Sentence, ...] = ()
    menu: tuple[Entry, ...] = MENU


@dataclass(frozen=True, slots=True)
class OfficeFacts:
    """What of an office's licence every page has to know."""

    licence_until: date | None
    fetch_until: date | None
    asked_at: float


class Frames:
    """Makes the frame of a page; an API that is away makes it poorer, never an error."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._facts: OrderedDict[str, OfficeFacts] = OrderedDict()
        self._status: shapes.SystemStatus | None = None
        self._status_asked_at = 0.0

    async def of(self, visitor: Visitor, here: str) -> Frame:
        """The frame for this visitor. Raises `NotLoggedIn` when the session has ended."""
        plain = plain_frame(visitor, here)
        counts, bands = await asyncio.gather(self._counts(visitor), self._bands(visitor))
        unread = None if counts is None else counts.received.get("delivered", 0)
        return dataclasses.replace(plain, unread=unread, counts=counts, bands=bands)

    async def _counts(self, visitor: Visitor) -> shapes.Counts | None:
        try:
            return await visitor.client.counts()
        except NotLoggedIn:
            raise
        except ClientError:
            return None

    async def _bands(self, visitor: Visitor) -> tuple[Sentence, ...]:
        return (*await self._maintenance(visitor), *await self._licence(visitor))

    async def _licence(self, visitor: Visitor) -> tuple[Sentence, ...]:
        facts = await self._facts_of(visitor)
        today = in_japan(self._clock.now()).date()
        if facts is None or facts.licence_until is None or facts.fetch_until is None or today <= facts.licence_until:
            return ()
        code = "TDK-NO-LICENCE" if today <= facts.fetch_until else "TDK-NO-LICENCE-FETCH"
        return (of_code(code, until=day(facts.licence_until), fetch_until=day(facts.fetch_until)),)

    async def _maintenance(self, visitor: Visitor) -> tuple[Sentence, ...]:
        now = self._clock.monotonic()
        if self._status is None or now - self._status_asked_at >= STATUS_SECONDS:
            try:
                self._status = await visitor.client.status()
            except NotLoggedIn:
                raise
            except ClientError:
                return ()
            self._status_asked_at = now
        if self._status.state != "down":
            return ()
        return (say("E-603", until=moment(self._status.until) or "しばらく"),)

    async def _facts_of(self, visitor: Visitor) -> OfficeFacts | None:
        known = self._facts.get(visitor.office)
        now = self._clock.monotonic()
        if known is not None and now - known.asked_at < FACTS_SECONDS:
            return known
        try:
            office = await visitor.client.own_office()
        except NotLoggedIn:
            raise
        except ClientError:
            return known
        facts = self._facts[visitor.office] = OfficeFacts(office.licence_until, office.fetch_until, now)
        self._facts.move_to_end(visitor.office)
        if len(self._facts) > OFFICES_KEPT:
            self._facts.popitem(last=False)
        return facts


def plain_frame(visitor: Visitor, here: str) -> Frame:
    """The frame without what only the API can tell."""
    session = visitor.session
    person = session.user.name if session.user else ""
    return Frame(here, session.office.name, session.office.number, person, None)
