"""Persons of offices: made with a c-ID of their own, given rights, stopped; the last administrator stays."""

import dataclasses
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from services.registry import offices
from services.registry.rules import C_ID_SERIALS, c_id, searchable
from services.registry.secrets import FIRST_PASSWORD_CHARACTERS, Secrets
from services.registry.sessions import Sessions
from todoke.events import Actor
from todoke.relay.postgres import Database, Tx, queries
from todoke.relay.problem import Problem

_affairs = queries("services.registry", "affairs.sql")

SERIAL_BYTES = 8
TRIES_MAX = 8
"""Draws of a c-ID before something else must be wrong: with a million people one draw in a thousand is taken."""

Role = Literal["admin", "staff", "viewer"]
State = Literal["active", "ended"]


@dataclasses.dataclass(frozen=True, slots=True)
class Wanted:
    """What shall become of a person at an office; None leaves things as they are."""

    roles: Sequence[Role] | None = None
    state: State | None = None
    name: str | None = None
    new_password: bool = False
    end_sessions: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Issued:
    """A person of the office, and the password that is shown this once."""

    user: Mapping[str, Any]
    password: str | None


class People:
    """Adds and changes the persons of an office, in the words of its administrators."""

    def __init__(self, db: Database, secrets: Secrets, sessions: Sessions) -> None:
        self._db = db
        self._secrets = secrets
        self._sessions = sessions

    async def add(self, office: str, name: str, roles: Sequence[Role], actor: Actor) -> Issued:
        """A new person with a first password, which must be changed. Raises `Problem` 404 for an unknown office."""
        password = self._secrets.made(FIRST_PASSWORD_CHARACTERS)
        stored = await self._secrets.hash(password)
        async with self._db.worker() as tx:
            if await _affairs.office_named(tx.db, office=office) is None:
                raise Problem("TDK-NOT-FOUND")
            user_id = await new_person(tx, name, stored)
            await offices.set_user(tx, office, user_id, roles, "active", actor)
            return Issued(await _member(tx, office, user_id), password)

    async def link(self, office: str, user_id: str, name: str, roles: Sequence[Role], actor: Actor) -> Issued:
        """A person of another office may act for this one too. The name is asked with the c-ID, and tells no more.

        Raises `Problem` 404 `TDK-NO-USER` (no such ID, or another name), 409 `TDK-USER-THERE`.
        """
        async with self._db.worker() as tx:
            found = await _affairs.person_named(tx.db, id=user_id)
            if found is None or found["state"] != "active" or searchable(found["name"]) != searchable(name):
                raise Problem("TDK-NO-USER")
            members = {row["user_id"] for row in await _affairs.lock_members(tx.db, office=office)}
            if user_id in members:
                raise Problem("TDK-USER-THERE")
            await offices.set_user(tx, office, user_id, roles, "active", actor)
            return Issued(await _member(tx, office, user_id), None)

    async def change(self, office: str, user_id: str, wanted: Wanted, actor: Actor) -> Issued:
        """Roles, state, name or password of a person; what they had open at this office ends when one of them changes.

        Raises `Problem` 404 `TDK-NO-USER`, 409 `TDK-LAST-ADMIN`, `TDK-USER-SHARED` (name and password of a person who
        acts for other offices too are not this office's business).
        """
        password = self._secrets.made(FIRST_PASSWORD_CHARACTERS) if wanted.new_password else None
        stored = None if password is None else await self._secrets.hash(password)
        async with self._db.worker() as tx:
            members = {row["user_id"]: row for row in await _affairs.lock_members(tx.db, office=office)}
            if user_id not in members:
                raise Problem("TDK-NO-USER")
            roles = list(wanted.roles if wanted.roles is not None else members[user_id]["roles"])
            state: State = wanted.state or members[user_id]["state"]
            _refuse_without_admin(members, user_id, roles, state)
            changed = await offices.set_user(tx, office, user_id, roles, state, actor)
            if wanted.name is not None or stored is not None:
                await self._personal(tx, user_id, wanted.name, stored)
            if changed or wanted.end_sessions:
                await self._sessions.end_person(tx, user_id, office)
            return Issued(await _member(tx, office, user_id), password)

    async def _personal(self, tx: Tx, user_id: str, name: str | None, stored: str | None) -> None:
        if await _affairs.offices_of_person(tx.db, user_id=user_id) > 1:
            raise Problem("TDK-USER-SHARED")
        if name is not None:
            await _affairs.rename_person(tx.db, id=user_id, name=name)
        if stored is not None:
            await _affairs.issue_password(tx.db, id=user_id, password_hash=stored, now=tx.now)
            await self._sessions.end_person(tx, user_id)


async def new_person(tx: Tx, name: str, stored: str) -> str:
    """A person with a c-ID that nobody has; `stored` is the hash of the first password, which must be changed."""
    for _ in range(TRIES_MAX):
        drawn = c_id(int.from_bytes(tx.ports.ids.secret(SERIAL_BYTES)) % C_ID_SERIALS)
        made = await _affairs.insert_user(
            tx.db, id=drawn, name=unicodedata.normalize("NFC", name), password_hash=stored, now=tx.now
        )
        if made is not None:
            return drawn
    raise RuntimeError("no c-ID is free")


async def _member(tx: Tx, office: str, user_id: str) -> Mapping[str, Any]:
    return dict(await _affairs.member(tx.db, office=office, user_id=user_id))


def _refuse_without_admin(
    members: Mapping[str, Mapping[str, Any]], user_id: str, roles: Sequence[str], state: State
) -> None:
    stays = state == "active" and "admin" in roles
    others = any(
        row["state"] == "active" and "admin" in row["roles"] for each, row in members.items() if each != user_id
    )
    was = members[user_id]
    if was["state"] == "active" and "admin" in was["roles"] and not stays and not others:
        raise Problem("TDK-LAST-ADMIN")
