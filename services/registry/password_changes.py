"""Changing a password: the old one is checked through the gate of the logins, other sessions end."""

from dataclasses import dataclass
from typing import Literal

from services.registry.leaked import is_known
from services.registry.logins import Logins, Typed
from services.registry.passwords import Passwords
from services.registry.rules import PasswordRule, password_lengths, password_refusal
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

    def __init__(
        self, db: Database, logins: Logins, passwords: Passwords, sessions: Sessions, rule: PasswordRule
    ) -> None:
        self._rule = rule
        self._db = db
        self._logins = logins
        self._passwords = passwords
        self._sessions = sessions

    async def change(self, bearer: Bearer, wanted: PasswordChange) -> None:
        """Set a new password; every other session of the same person (or of the office itself) ends.

        Raises:
            Problem: 403 `TDK-NOT-ALLOWED` (the office's password by one who neither administers it nor must change
                it), 422 `TDK-PASSWORD-SAME`, `-SHORT`, `-LONG`, `-CHARACTER`, `-KNOWN`, `-WRONG` (the old one), 429
                `TDK-LOCKED`.
        """
        _refuse_unless_allowed(bearer, wanted.which)
        login_id = await self._login_id(bearer, wanted)
        self._refuse_weak(wanted, login_id)
        await self._logins.recheck(Typed(wanted.which, login_id, wanted.old, wanted.network), where="old")
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

    def _refuse_weak(self, wanted: PasswordChange, login_id: str) -> None:
        holds_own_id = login_id != "" and login_id.casefold() in wanted.new.casefold()
        known = is_known(wanted.new) or holds_own_id
        refusal = password_refusal(wanted.new, wanted.old, self._rule, known=known)
        if refusal is not None:
            least, most = password_lengths(self._rule)
            raise Problem(refusal, where=[("new", "")], characters=most, least=least)

    async def _login_id(self, bearer: Bearer, wanted: PasswordChange) -> str:
        """The ID whose password is meant."""
        if wanted.which == "person" or bearer.caller.user_id is None:
            return bearer.subject
        async with self._db.api(bearer.caller.office) as tx:
            own = await _store.own_credential(tx.db, office=bearer.caller.office)
        return str(own["kj_id"]) if own else ""  # a restored database may have forgotten the office: nobody's ID


def _refuse_unless_allowed(bearer: Bearer, which: Literal["person", "office"]) -> None:
    is_person = bearer.caller.user_id is not None
    if which == "person" and is_person:
        return
    if which == "office" and (not is_person or "admin" in bearer.caller.roles or "office" in bearer.must_change):
        return
    raise Problem("TDK-NOT-ALLOWED")
