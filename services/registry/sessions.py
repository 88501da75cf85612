"""Sessions: opened by a login, prolonged by refresh tokens that work once, ended everywhere within seconds."""

import base64
import binascii
import functools
import hashlib
import hmac
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, TypeAlias
from uuid import UUID

from services.registry.rules import FAILURES_TOLD, REFRESH_GRACE, SESSION_LIFE, password_expires
from todoke.relay.access import FEED_ROWS_MAX, EndedPage, EndedSessions, Source
from todoke.relay.policy import standing
from todoke.relay.postgres import Database, Tx, queries
from todoke.relay.problem import Problem
from todoke.relay.submission import OFFICE_NUMBER
from todoke.relay.tokens import ACCESS_SECONDS, AccessTokens, Claims

_store = queries("services.registry")
_affairs = queries("services.registry", "affairs.sql")

Secret: TypeAlias = Literal["person", "office"]
"""Whose password."""

SECRET_BYTES = 32
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Opened:
    """A session that was opened or refreshed: its tokens (seconds left beside them) and what it stands for."""

    access_token: str
    expires_in: int
    refresh_token: str
    refresh_expires_in: int
    must_change: tuple[str, ...]
    expired_at: Mapping[Secret, datetime]
    office: str
    office_name: str
    service_types: tuple[str, ...]
    user_id: str | None
    user_name: str
    roles: tuple[str, ...]
    failed_logins_at: tuple[datetime, ...]


class Sessions:
    """Opens, refreshes, lists and ends sessions, under row-level security of the office concerned."""

    def __init__(
        self, db: Database, tokens: AccessTokens, ended: EndedSessions, password_days: int | None = None
    ) -> None:
        self._password_days = password_days
        self._db = db
        self._tokens = tokens
        self._ended = ended

    async def open_for_person(self, login: Mapping[str, Any], person_id: str) -> Opened:
        """A session of a person at an office, from the row of a right second step.

        Raises `Problem` 403 `TDK-NO-LICENCE-ANY` when the office may only use the usage-state site.
        """
        async with self._db.api(login["office"]) as tx:
            await _store.act_as(tx.db, user_id=person_id)
            facts = await _store.session_facts(tx.db, office=login["office"], user_id=person_id)
            if standing(facts["licence_until"], tx.now) == "outside":
                raise Problem("TDK-NO-LICENCE-ANY")
            failures = await _failures(tx, person_id, login["last_login_at"])
            await _store.person_logged_in(tx.db, id=person_id, now=tx.now)
            return await self._open(tx, login["office"], person_id, facts, failures)

    async def open_for_office(self, login: Mapping[str, Any]) -> Opened:
        """A session of the office itself (利用状況Webサイト), from the row of a right KJ-ID."""
        async with self._db.api(login["office"]) as tx:
            facts = await _store.session_facts(tx.db, office=login["office"], user_id=None)
            failures = await _failures(tx, login["subject"], login["last_login_at"])
            await _store.office_logged_in(tx.db, office=login["office"], now=tx.now)
            return await self._open(tx, login["office"], None, facts, failures)

    async def refresh(self, refresh_token: str) -> Opened:
        """The session's next tokens; the same ones again while the successor is fresh (30 s).

        Raises `Problem` 401 `TDK-SESSION-ENDED`: unknown token, session over, or a token used again later, which ends
        the session, for then two parties hold it.
        """
        office, secret = _read_token(refresh_token)
        async with self._db.api(office) as tx:
            session = await _store.refresh_session(tx.db, hash=_hash(secret))
            if session is not None and session["ended_at"] is None and tx.now < session["until"]:
                successor = await self._successor(tx, session, secret)
                facts = await _store.session_facts(tx.db, office=office, user_id=session["user_id"])
                if successor is not None and (session["scope"] == "usage" or facts["is_member"]):
                    subject = session["user_id"] or facts["kj_id"]
                    failures = await _failures(tx, subject, session["created_at"])
                    return self._opened(tx, session, facts, successor, failures)
                await self._end(tx, [session["id"]])
        raise Problem("TDK-SESSION-ENDED")

    async def end(self, office: str, user_id: str | None, session: UUID) -> None:
        """End one session of the caller. Raises `Problem` 404 for any other."""
        async with self._db.api(office) as tx:
            if session not in await _ids_of(tx, office, user_id):
                raise Problem("TDK-NOT-FOUND")
            await self._end(tx, [session])

    async def end_others(self, tx: Tx, office: str, user_id: str | None, kept: UUID) -> None:
        """End every session of the person (or, without one, of the office itself) but the one that asks."""
        await self._end(tx, [each for each in await _ids_of(tx, office, user_id) if each != kept])

    async def end_office(self, tx: Tx, office: str) -> None:
        """End every session at an office, of persons and of the office itself; `tx` is a worker's."""
        await self._end(
            tx, [row["id"] for row in await _affairs.open_sessions_of_office(tx.db, office=office, now=tx.now)]
        )

    async def end_person(self, tx: Tx, user_id: str, office: str | None = None) -> None:
        """End every session of a person, at one office or at all; `tx` is a worker's."""
        rows = await _affairs.open_sessions_of_person(tx.db, user_id=user_id, office=office, now=tx.now)
        await self._end(tx, [row["id"] for row in rows])

    async def listed(self, office: str, user_id: str | None) -> list[Mapping[str, Any]]:
        """The open sessions of the person, at whatever office, or of the office itself; newest first."""
        async with self._db.api(office) as tx:
            return await _rows_of(tx, office, user_id)

    async def _open(
        self, tx: Tx, office: str, user_id: str | None, facts: Mapping[str, Any], failures: Sequence[datetime]
    ) -> Opened:
        scope: Literal["office", "usage"] = "usage" if user_id is None else "office"
        session = {
            "id": tx.ports.ids.uuid7(),
            "office": office,
            "user_id": user_id,
            "scope": scope,
            "until": tx.now + SESSION_LIFE,
        }
        await _store.insert_session(tx.db, now=tx.now, **session)
        secret = tx.ports.ids.secret(SECRET_BYTES)
        await _store.insert_refresh_token(tx.db, hash=_hash(secret), session=session["id"], office=office, now=tx.now)
        return self._opened(tx, session, facts, secret, failures)

    async def _successor(self, tx: Tx, session: Mapping[str, Any], secret: bytes) -> bytes | None:
        """The secret of the next refresh token, or None when this one was used too long ago."""
        known = await _store.refresh_token(tx.db, hash=_hash(secret))
        if known["used_at"] is not None:
            fresh = tx.now - known["used_at"] <= REFRESH_GRACE
            return _masked(known["successor_masked"], secret) if fresh else None
        successor = tx.ports.ids.secret(SECRET_BYTES)
        await _store.use_refresh_token(
            tx.db, hash=_hash(secret), now=tx.now, successor_masked=_masked(successor, secret)
        )
        await _store.insert_refresh_token(
            tx.db, hash=_hash(successor), session=session["id"], office=session["office"], now=tx.now
        )
        await _store.session_used(tx.db, id=session["id"], now=tx.now)
        return successor

    def _opened(
        self,
        tx: Tx,
        session: Mapping[str, Any],
        facts: Mapping[str, Any],
        secret: bytes,
        failures: Sequence[datetime],
    ) -> Opened:
        left = session["until"] - tx.now
        expires = min(timedelta(seconds=ACCESS_SECONDS), left)
        is_person = session["scope"] == "office"
        asked: tuple[Secret, ...] = ("person", "office") if is_person else ("office",)
        expired_at = {which: at for which in asked if (at := self._expired_at(tx, facts, which)) is not None}
        must_change = [which for which in asked if facts[f"{which}_must_change"] or which in expired_at]
        roles = tuple(facts["roles"]) if is_person else ()
        claims = Claims(
            subject=session["user_id"] if is_person else facts["kj_id"],
            office=session["office"],
            roles=roles,
            licence_until=facts["licence_until"],
            session=str(session["id"]),
            scope=session["scope"],
            must_change=tuple(must_change),
            suspended=facts["suspended"],
        )
        seconds = max(1, math.floor(expires.total_seconds()))
        return Opened(
            access_token=self._tokens.issue(claims, tx.now, seconds),
            expires_in=seconds,
            refresh_token=f"{session['office']}.{_text(secret)}",
            refresh_expires_in=math.floor(left.total_seconds()),
            must_change=tuple(must_change),
            expired_at=expired_at,
            office=session["office"],
            office_name=facts["office_name"],
            service_types=tuple(facts["service_types"]),
            user_id=session["user_id"],
            user_name=facts["user_name"] or "",
            roles=roles,
            failed_logins_at=tuple(failures),
        )

    def _expired_at(self, tx: Tx, facts: Mapping[str, Any], which: Secret) -> datetime | None:
        """When a password expired; None for one that has not, and for a temporary one."""
        expires = password_expires(facts[f"{which}_changed_at"], self._password_days)
        return None if facts[f"{which}_must_change"] or expires is None or expires > tx.now else expires

    async def _end(self, tx: Tx, sessions: Sequence[UUID]) -> None:
        gone = [row["id"] for row in await _store.end_sessions(tx.db, ids=list(sessions), now=tx.now)]
        if gone:
            await _store.feed_ended(tx.db, ids=gone, now=tx.now)
            for each in gone:
                tx.after_commit(functools.partial(self._ended.end, each))


def ended_feed(db: Database) -> Source:
    """The feed of ended sessions, read from the registry's own database."""

    async def after(number: int) -> EndedPage:
        async with db.api(None) as tx:
            last = await _store.feed_last(tx.db)
            rows = await _store.feed_after(tx.db, after=number, rows_max=FEED_ROWS_MAX)
        upto = rows[-1]["n"] if rows else max(last, number)
        return EndedPage(last=max(last, upto) if rows else last, upto=upto, sessions=tuple(r["session"] for r in rows))

    return after


async def _rows_of(tx: Tx, office: str, user_id: str | None) -> list[Mapping[str, Any]]:
    if user_id is None:
        return list(await _store.sessions_of_office(tx.db, office=office, now=tx.now))
    await _store.act_as(tx.db, user_id=user_id)
    return list(await _store.sessions_of_person(tx.db, user_id=user_id, now=tx.now))


async def _ids_of(tx: Tx, office: str, user_id: str | None) -> list[UUID]:
    return [row["id"] for row in await _rows_of(tx, office, user_id)]


async def _failures(tx: Tx, subject: str, since: datetime | None) -> list[datetime]:
    rows = await _store.failures_since(tx.db, subject=subject, since=since or _LONG_AGO, rows_max=FAILURES_TOLD)
    return [row["at"] for row in rows]


def _hash(secret: bytes) -> bytes:
    return hashlib.sha256(secret).digest()


def _masked(successor: bytes, secret: bytes) -> bytes:
    """XOR with a pad that only the holder of the used token can make; each token pads one successor."""
    pad = hmac.digest(secret, b"successor", "sha256")
    return bytes(a ^ b for a, b in zip(successor, pad, strict=True))


def _text(secret: bytes) -> str:
    return base64.urlsafe_b64encode(secret).decode().rstrip("=")


def _read_token(token: str) -> tuple[str, bytes]:
    """Office and secret of a refresh token. Raises `Problem` 401 `TDK-SESSION-ENDED` for anything else."""
    office, _, text = token.partition(".")
    try:
        secret = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        secret = b""
    if len(secret) != SECRET_BYTES or OFFICE_NUMBER.fullmatch(office) is None:
        raise Problem("TDK-SESSION-ENDED")
    return office, secret
