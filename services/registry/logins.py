"""Checking a typed ID and password: the same answer after the same work, whatever is wrong with them.

Failures are counted per typed ID and network, known ID or not, so nobody can lock somebody else out from another
network, and nobody learns from a lock whether an ID exists.
"""

import hmac
import math
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from services.registry.passwords import Passwords
from services.registry.rules import (
    FAILURES_FORGOTTEN,
    KNOWN_NETWORK,
    NETWORK_WINDOW,
    lock_for,
    network_lock_for,
    typed_id,
)
from todoke.relay.postgres import Database, Tx, queries, trace_id_now
from todoke.relay.problem import Problem

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

_store = queries("services.registry")

_PLAIN_ID = re.compile(r"[!-~]{1,64}")
"""What an ID can look like at all; anything else is looked up as one that nobody has."""

_WHOLE_NETWORK = b""
_SECONDS_PER_MINUTE = 60

Kind = Literal["person", "office", "operator"]
SecondFactor = Callable[[Mapping[str, Any], Tx], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class Typed:
    """What somebody typed, where, and from which network. `person_id` is who passed the first step, for the second."""

    kind: Kind
    user_id: str
    password: str
    network: str
    person_id: str | None = None


class Logins:
    """The gate of every login. `account_key` makes the HMACs under which typed IDs are counted.

    Each outcome is a line of the log: `login`, with the ID that a right or a known one stands for, never what was
    typed, and with a name of the network under which its lines belong together and nothing else is known of it.
    """

    def __init__(self, db: Database, passwords: Passwords, account_key: bytes, log: "FilteringBoundLogger") -> None:
        self._db = db
        self._passwords = passwords
        self._account_key = account_key
        self._log = log

    async def check(self, typed: Typed, second_factor: SecondFactor | None = None) -> Mapping[str, Any]:
        """The row of `find_login` for a right pair.

        Raises:
            Problem: 401 `TDK-LOGIN-FAILED` for an unknown ID, a wrong password, an office the person does not belong
                to, or a refused second factor; 429 `TDK-LOCKED`; 503 `TDK-BUSY`.
        """
        login_id = typed_id(typed.user_id)
        account = hmac.digest(self._account_key, f"{typed.kind}/{login_id}".encode(), "sha256")
        known_shape = login_id if _PLAIN_ID.fullmatch(login_id) else ""
        log = self._log.bind(kind=typed.kind, network=self._name_of(typed.network), trace=trace_id_now())
        if typed.person_id is not None:
            log = log.bind(person=typed.person_id)
        async with self._passwords.turn():
            async with self._db.api(None) as tx:
                await _refuse_locked(tx, account, typed.network, log)
                row = await _store.find_login(tx.db, kind=typed.kind, login_id=known_shape, person_id=typed.person_id)
            fits = await self._passwords.check(typed.password, row["password_hash"] if row else None)
            async with self._db.api(None) as tx:
                if fits and await _belongs(row, typed, second_factor, tx):
                    await _store.note_success(tx.db, account=account, network=typed.network, now=tx.now)
                    log.info("login", outcome="in", id=row["subject"])
                    return dict(row)
                subject = typed.person_id or (row["subject"] if row else "")
                minutes = await _count_failure(tx, account, typed.network, subject)
        log.info("login", outcome="refused", id=subject or None)
        if minutes:
            log.warning("login_locked", id=subject or None, minutes=minutes)
        raise Problem("TDK-LOGIN-FAILED")

    def _name_of(self, network: str) -> str:
        return hmac.digest(self._account_key, f"network/{network}".encode(), "sha256")[:6].hex()

    async def recheck(self, typed: Typed, *, where: str) -> None:
        """Let somebody who is logged in go on with the right password, asked for in the member `where`.

        Raises `Problem` 422 `TDK-PASSWORD-WRONG` (the session is good: a 401 would send the client to the login), and
        429 and 503 as `check`.
        """
        try:
            await self.check(typed)
        except Problem as problem:
            if problem.code == "TDK-LOGIN-FAILED":
                raise Problem("TDK-PASSWORD-WRONG", where=[(where, "")]) from None
            raise


async def _belongs(row: Mapping[str, Any], typed: Typed, second_factor: SecondFactor | None, tx: Tx) -> bool:
    if typed.kind == "office" and typed.person_id is not None and not row["is_member"]:
        return False
    return second_factor is None or await second_factor(row, tx)


async def _refuse_locked(tx: Tx, account: bytes, network: str, log: "FilteringBoundLogger") -> None:
    locks = await _store.locks(tx.db, account=account, network=network, now=tx.now, known_after=tx.now - KNOWN_NETWORK)
    if locks:
        log.info("login", outcome="locked")
        seconds = math.ceil(max((lock["locked_until"] - tx.now).total_seconds() for lock in locks))
        raise Problem("TDK-LOCKED", retry_after=seconds, minutes=math.ceil(seconds / _SECONDS_PER_MINUTE))


async def _count_failure(tx: Tx, account: bytes, network: str, subject: str) -> int:
    """Count it; answers the minutes for which this failure locks the ID or the network out, 0 for none."""
    locks = [timedelta()]
    long_ago = datetime.min.replace(tzinfo=tx.now.tzinfo)
    failures = await _store.count_failure(
        tx.db, account=account, network=network, now=tx.now, last_before=tx.now - FAILURES_FORGOTTEN,
        first_before=long_ago,
    )  # fmt: skip
    if (lock := lock_for(failures)) is not None:
        locks.append(lock)
        await _store.lock_login(tx.db, account=account, network=network, until=tx.now + lock)
    failures = await _store.count_failure(
        tx.db, account=_WHOLE_NETWORK, network=network, now=tx.now, last_before=long_ago,
        first_before=tx.now - NETWORK_WINDOW,
    )  # fmt: skip
    if (lock := network_lock_for(failures)) is not None:
        locks.append(lock)
        await _store.lock_login(tx.db, account=_WHOLE_NETWORK, network=network, until=tx.now + lock)
    await _store.note_failure(tx.db, subject=subject, now=tx.now)
    return math.ceil(max(locks).total_seconds() / _SECONDS_PER_MINUTE)
