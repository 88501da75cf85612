"""Everything about messages in the making, wired: what the screens of writing and sending are given."""

import contextlib
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from uuid import UUID

from services.portal.checking import Checker, Directory
from services.portal.clerk import Clerk
from services.portal.drafts import Drafts, Sweeper
from services.portal.drawer import Drawer
from services.portal.intake import Intake
from services.portal.items import Items
from services.portal.portal import Portal
from services.portal.runs import Runs
from services.portal.sending import Sender
from services.portal.sheets import Sheets
from services.portal.visitors import Visitor
from todoke.client import ClientError, NotLoggedIn, shapes
from todoke.relay.limits import Limits
from todoke.relay.service import Runtime


@dataclass(frozen=True)
class Making:
    """Drafts, sheets and sendings of one process."""

    drafts: Drafts
    sheets: Sheets
    intake: Intake
    runs: Runs
    sender: Sender
    sweeper: Sweeper
    directory: Directory
    limits: Limits

    async def leave(self, visitor: Visitor) -> bool:
        """Bring what goes on under a session to a good place before it ends; whether its clerk leaves something unsent.

        Raises `DatabaseAway`.
        """
        await self.runs.leaving(visitor.web.id)
        return await self.drafts.leaves_unsent(Clerk.of(visitor.session, visitor.client))

    async def offices(self, clerk: Clerk, numbers: Iterable[str]) -> tuple[dict[str, shapes.Office], bool]:
        """Offices by number, and whether the directory answered: pages are readable without their names."""
        try:
            return await self.directory.get(clerk.client, set(numbers) - {""}), True
        except NotLoggedIn:
            raise
        except ClientError:
            return {}, False


def making(runtime: Runtime, portal: Portal) -> Making:
    """The pieces over this process's ports."""
    db, ports, limits = runtime.db, runtime.ports, runtime.settings.limits
    items = Items(Drawer(runtime.seal, runtime.secrets, runtime.objects), ports)
    directory = Directory(ports.clock)
    checker = Checker(directory, limits, ports.clock)
    intake = Intake(db, items, checker, ports, limits)

    @contextlib.asynccontextmanager
    async def acting(session: UUID) -> AsyncIterator[Clerk]:
        visitor = await portal.visitor_without_browser(session)
        if visitor is None:
            raise NotLoggedIn("the session has ended")
        try:
            yield Clerk.of(visitor.session, visitor.client)
        finally:
            await portal.visitors.keep(visitor)

    return Making(
        drafts=Drafts(db, items, checker, intake),
        sheets=Sheets(db, items, checker),
        intake=intake,
        runs=Runs(db, items, directory, ports),
        sender=Sender(db, items, acting, ports, runtime.log),
        sweeper=Sweeper(db, items),
        directory=directory,
        limits=limits,
    )
