"""Browsers' sessions: a random cookie, of which we keep the SHA-256, and the tokens of the API, sealed.

Each step of a login begins a session with a new cookie: what was set before it, by whomever, is worth nothing after.
"""

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, TypeAlias
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from todoke.client import Session
from todoke.relay.clock import Ids
from todoke.relay.postgres import Database, Tx, queries
from todoke.relay.rootsecret import Secrets
from todoke.relay.seal import OfficeBinding, Sealer

Kind: TypeAlias = Literal["step", "office", "usage", "operator"]

COOKIE_BYTES = 32
STEP_SECONDS = 600
"""How long the first half of a login is good for; the API's own step token lasts as long."""

WHOLE_SECONDS = 8 * 3600
"""No session lasts longer, however often it is used."""

USE_NOTED_SECONDS = 60
"""A use is written down so often at most."""

REMEMBERED = timedelta(days=1)
"""So long after its end a session is still known by name, for a form that comes too late."""

_EPOCH = "session"
_store = queries("services.portal")


class Held(BaseModel):
    """What belongs to a session and nobody else's business: tokens, and what the next page has to know.

    `step_token` and `typed_id` belong to the first half of a login; `wanted` is the page to go to after it, and after
    the passwords that must be changed first. `session` is the API's; `operator_token` that of an operator.
    `failed_logins_at` are failures before this login.
    """

    model_config = ConfigDict(frozen=True)

    session: Session | None = None
    step_token: str = ""
    typed_id: str = ""
    wanted: str = ""
    operator_token: str = ""
    failed_logins_at: tuple[datetime, ...] = ()


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose a session is: an office, a person at it, or neither (first half of a login, operators)."""

    kind: Kind
    office: str = ""
    user_id: str = ""


@dataclass(frozen=True, slots=True)
class WebSession:
    """A session as its row says. `idle_until` is when it ends if nothing happens any more."""

    id: UUID
    kind: Kind
    office: str
    user_id: str
    held: Held
    used_at: datetime
    until: datetime
    idle_until: datetime
    alive: bool

    @property
    def owner(self) -> Owner:
        """Whose it is, also after its end."""
        return Owner(self.kind, self.office, self.user_id)


class WebSessions:
    """The table of sessions."""

    def __init__(self, db: Database, sealer: Sealer, secrets: Secrets, ids: Ids, idle_minutes: int) -> None:
        self._db = db
        self._sealer = sealer
        self._key = secrets.hmac_key("portal/web-session")
        self._ids = ids
        self._idle = timedelta(minutes=idle_minutes)

    async def begin(self, owner: Owner, held: Held, seconds: int = WHOLE_SECONDS) -> str:
        """A new session; answers its cookie. Raises `DatabaseAway`."""
        cookie = base64.urlsafe_b64encode(self._ids.secret(COOKIE_BYTES)).decode().rstrip("=")
        session_id = self._ids.uuid7()
        async with self._db.worker() as tx:
            await _store.begin_session(
                tx.db,
                id=session_id,
                hash=_hash(cookie),
                kind=owner.kind,
                office=owner.office,
                user_id=owner.user_id,
                sealed=self._seal(owner.office, session_id, held),
                now=tx.now,
                until=tx.now + timedelta(seconds=seconds),
            )
        return cookie

    async def find(self, kind: Kind, cookie: str, *, used: bool = True) -> WebSession | None:
        """The session of a cookie, with `alive` False when it has ended; None for an unknown one.

        `used` counts this as a use, which puts its end off. Raises `DatabaseAway`.
        """
        async with self._db.worker() as tx:
            row = await _store.session_of_hash(tx.db, hash=_hash(cookie), kind=kind)
            if row is None:
                return None
            found = self._shown(tx, row)
            if used and found.alive and (tx.now - found.used_at).total_seconds() >= USE_NOTED_SECONDS:
                await _store.use_session(tx.db, id=found.id, now=tx.now)
                return self._shown(tx, {**row, "used_at": tx.now})
        return found

    async def by_id(self, session_id: UUID) -> WebSession | None:
        """A session by its id: for work that goes on without its browser. Raises `DatabaseAway`."""
        async with self._db.worker() as tx:
            row = await _store.session_of_id(tx.db, id=session_id)
            return None if row is None else self._shown(tx, row)

    async def keep(self, session: WebSession, held: Held) -> None:
        """Keep what belongs to a session anew. Raises `DatabaseAway`."""
        async with self._db.worker() as tx:
            await _store.keep_session(tx.db, id=session.id, sealed=self._seal(session.office, session.id, held))

    async def end(self, session_id: UUID) -> None:
        """End a session here; the API's is ended by whoever holds its token. Raises `DatabaseAway`."""
        async with self._db.worker() as tx:
            await _store.end_session(tx.db, id=session_id, now=tx.now)

    async def sweep(self) -> None:
        """Forget what ended long ago. Raises `DatabaseAway`."""
        async with self._db.worker() as tx:
            await _store.forget_sessions(tx.db, before=tx.now - REMEMBERED)

    def _shown(self, tx: Tx, row: Mapping[str, Any]) -> WebSession:
        idle_until = min(row["until"], row["used_at"] + self._idle)
        alive = row["ended_at"] is None and tx.now < idle_until
        return WebSession(
            id=row["id"],
            kind=row["kind"],
            office=row["office"],
            user_id=row["user_id"],
            held=self._unseal(row["office"], row["id"], row["sealed"]) if alive else Held(),
            used_at=row["used_at"],
            until=row["until"],
            idle_until=idle_until,
            alive=alive,
        )

    def _seal(self, office: str, session_id: UUID, held: Held) -> bytes:
        binding = OfficeBinding(office, session_id, _EPOCH)
        plain = held.model_dump_json().encode()
        return self._sealer.seal(plain, month_key=self._key, binding=binding, label="held")

    def _unseal(self, office: str, session_id: UUID, sealed: bytes) -> Held:
        binding = OfficeBinding(office, session_id, _EPOCH)
        return Held.model_validate_json(self._sealer.unseal(sealed, month_key=self._key, binding=binding, label="held"))


def _hash(cookie: str) -> bytes:
    return hashlib.sha256(cookie.encode()).digest()
