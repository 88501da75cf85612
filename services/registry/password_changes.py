"""Changing a password: the old one is checked through the gate of the logins, other sessions end."""

from dataclasses import dataclass
from typing import Literal

from services.registry.logins import Logins, Typed
from services.registry.passwords import Passwords
from services.registry.rules import PASSWORD_CHARACTERS_MAX, password_refusal
from services.registry.sessions import Sessions
from todoke.relay.access import Bearer
from todoke.relay.postgres import Database, queries
from todoke.relay.problem import Problem

_store = queries("services.registry")


@dataclass(frozen=True, slots=True)
class PasswordChange:
    """Which password shall become what, asked from which network."""

    which: Literal["person", "office"]
    old: str
    new: str
    network: str


class PasswordChanges:
    """Changes passwords of persons and of offices."""

    def __init__(self, db: Database, logins: Logins, passwords: Passwords, sessions: Sessions) -> None:
        self._db = db
        self._logins = logins
        self._passwords = passwords
        self._sessions = sessions

    async def change(self, bearer: Bearer, wanted: PasswordChange) -> None:
        """Set a new password; every other session of the same person (or of the office itself) ends.

        Raises:
            Problem: 403 `TDK-NOT-ALLOWED` (the office's password by one who neither administers it nor must change
                it), 422 `TDK-PASSWORD-SAME`, `-SHORT`, `-LONG`, `-WRONG` (the old one), 429 `TDK-LOCKED`.
        """
        _refuse_unless_allowed(bearer, wanted.which)
        refusal = password_refusal(wanted.new, wanted.old)
        if refusal is not None:
            raise Problem(refusal, where=[("new", "")], characters=PASSWORD_CHARACTERS_MAX)
        await self._check_old(bearer, wanted)
        stored = await self._passwords.hash(wanted.new)
        caller = bearer.caller
        async with self._db.api(caller.office) as tx:
            if wanted.which == "person":
                await _store.act_as(tx.db, user_id=bearer.subject)
                await _store.set_person_password(tx.db, id=bearer.subject, password_hash=stored, now=tx.now)
                await self._sessions.end_others(tx, caller.office, bearer.subject, caller.session)
            else:
                await _store.set_office_password(tx.db, office=caller.office, password_hash=stored, now=tx.now)
                await self._sessions.end_others(tx, caller.office, None, caller.session)

    async def _check_old(self, bearer: Bearer, wanted: PasswordChange) -> None:
        login_id = bearer.subject
        if wanted.which == "office" and bearer.caller.user_id is not None:
            async with self._db.api(bearer.caller.office) as tx:
                own = await _store.own_credential(tx.db, office=bearer.caller.office)
            login_id = own["kj_id"] if own else ""  # a restored database may have forgotten the office: nobody's ID
        try:
            await self._logins.check(Typed(wanted.which, login_id, wanted.old, wanted.network))
        except Problem as problem:
            if problem.code == "TDK-LOGIN-FAILED":  # the session is good: a 401 would send the client to the login
                raise Problem("TDK-PASSWORD-WRONG", where=[("old", "")]) from None
            raise


def _refuse_unless_allowed(bearer: Bearer, which: Literal["person", "office"]) -> None:
    is_person = bearer.caller.user_id is not None
    if which == "person" and is_person:
        return
    if which == "office" and (not is_person or "admin" in bearer.caller.roles or "office" in bearer.must_change):
        return
    raise Problem("TDK-NOT-ALLOWED")
