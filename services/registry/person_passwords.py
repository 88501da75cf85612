"""The password of the c-ID made at approval: issued, and issued again, to whoever knows the office's own password."""

from dataclasses import dataclass

from services.registry.logins import Logins, Typed
from services.registry.secrets import FIRST_PASSWORD_CHARACTERS, Secrets
from services.registry.sessions import Sessions
from todoke.relay.postgres import Database, queries
from todoke.relay.problem import Problem

_store = queries("services.registry")
_affairs = queries("services.registry", "affairs.sql")


@dataclass(frozen=True, slots=True)
class PersonPasswords:
    """Makes first passwords of c-IDs; of two of one office that are made at the same time, one."""

    db: Database
    logins: Logins
    secrets: Secrets
    sessions: Sessions

    async def make(self, office: str, kj_password: str, network: str) -> tuple[str, str]:
        """The c-ID and its new password, which must be changed; every session of the person ends.

        Raises `Problem` 404 for an unknown office, 409 `TDK-NO-C-ID`, 422 `TDK-PASSWORD-WRONG`, 429 `TDK-LOCKED`; 409
        `TDK-PASSWORD-MADE` when another password was made meanwhile: one of the two that were told would never work.
        """
        async with self.db.api(office) as tx:
            credential = await _store.own_credential(tx.db, office=office)
        if credential is None:
            raise Problem("TDK-NOT-FOUND")
        await self.logins.recheck(Typed("office", credential["kj_id"], kj_password, network), where="password")
        if credential["c_id"] is None:
            raise Problem("TDK-NO-C-ID")
        password = self.secrets.made(FIRST_PASSWORD_CHARACTERS)
        stored = await self.secrets.hash(password)
        async with self.db.worker() as tx:
            before = credential["c_id_issued_at"]
            if await _affairs.note_issue(tx.db, office=office, now=tx.now, before=before) is None:
                raise Problem("TDK-PASSWORD-MADE")
            await _affairs.issue_password(tx.db, id=credential["c_id"], password_hash=stored, now=tx.now)
            await self.sessions.end_person(tx, credential["c_id"])
        return credential["c_id"], password
