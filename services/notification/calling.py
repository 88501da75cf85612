"""Webhooks: one signed POST per event and address (Standard Webhooks), only to where webhooks may go."""

import asyncio
import socket
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from structlog.typing import FilteringBoundLogger

from services.notification import rules
from services.notification.addresses import Addresses
from services.notification.outgoing import Ended, Ledger, Row
from todoke.relay.seal import SealBroken

RESOLVE_SECONDS_MAX = 5.0
"""Longest wait for the name of a receiver."""

CALL_SECONDS_MAX = 15.0
"""Longest call, connection and all (Standard Webhooks advises 15 to 30 s)."""

CONNECT_SECONDS_MAX = 5.0
"""Longest wait for a connection."""

CALLS_AT_ONCE = 16
"""Calls in flight."""

ROWS_AT_ONCE = 100
"""Rows of one round: with `CALLS_AT_ONCE` and the limits above it ends before any row comes due again."""

ROWS_PER_TARGET = 4
"""Rows of one target in a round: a slow receiver takes a quarter of the calls in flight at most."""

GONE = 410
"""The receiver says that nothing shall be called here any more."""

_AGENT = "Todoke-Webhooks/1"


class NoDestination(Exception):  # noqa: N818 (named for what the address is)
    """A name that leads to no address a webhook may go to."""


class Pinned(AbstractResolver):
    """Answers with the addresses that were checked: between check and connection the name is not asked again."""

    def __init__(self, addresses: list[ResolveResult]) -> None:
        self._addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The checked addresses."""
        del host, port, family
        return self._addresses

    async def close(self) -> None:
        """Nothing to close."""


async def destinations(host: str, port: int, *, private: bool) -> list[ResolveResult]:
    """The addresses behind a host, each fit for a webhook.

    Raises:
        NoDestination: one of them is not fit (a name that leads inside as well as outside is a trap), or there is none.
        OSError: the name cannot be resolved.
        TimeoutError: nobody resolves it in time.
    """
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(RESOLVE_SECONDS_MAX):
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    results = [
        ResolveResult(
            hostname=host,
            host=str(address[0]),
            port=port,
            family=family,
            proto=socket.IPPROTO_TCP,
            flags=socket.AI_NUMERICHOST,
        )
        for family, _, _, _, address in found
    ]
    # A scope (fe80::1%eth0) makes an address of one link, which is never fit.
    if not results or not all(rules.fit_destination(one["host"].partition("%")[0], private=private) for one in results):
        raise NoDestination
    return results


class WebhookCaller:
    """Calls what is due. Redirects are not followed, cookies and proxies not used, answers not read."""

    def __init__(self, ledger: Ledger, addresses: Addresses, log: FilteringBoundLogger, *, private: bool) -> None:
        self._ledger = ledger
        self._addresses = addresses
        self._log = log
        self._private = private

    async def call_due(self) -> None:
        """One round. Raises `DatabaseAway`; what receivers do is written down, not raised."""
        due, now = await self._claim()
        if not due:
            return
        self._ledger.ports.crash.reach("notification.webhook.after-claim")
        free = asyncio.Semaphore(CALLS_AT_ONCE)
        ends = await asyncio.gather(*(self._call(found, now, free) for found in due))
        self._ledger.ports.crash.reach("notification.webhook.after-send")
        await self._ledger.close([(_row(found), end) for found, end in zip(due, ends, strict=True)])
        self._log.info("webhooks_called", calls=len(ends), failed=sum(not end.ok for end in ends))

    async def _claim(self) -> tuple[Sequence[Any], datetime]:
        ledger = self._ledger
        async with ledger.database.worker() as tx:
            due = await ledger.sql.due_webhooks(tx.db, now=tx.now, rows_max=ROWS_AT_ONCE, per_target=ROWS_PER_TARGET)
            rows = [_row(found) for found in due]
            await ledger.sql.start_tries(
                tx.db,
                event_ids=[row.event_id for row in rows],
                target_ids=[row.target_id for row in rows],
                attempts=[row.attempts for row in rows],
                due=[ledger.due_after(row.attempts, tx.now) for row in rows],
                letters=[None] * len(rows),
            )
            return due, tx.now

    async def _call(self, found: Any, now: datetime, free: asyncio.Semaphore) -> Ended:
        async with free:
            try:
                url, secret = self._opened(found, "address"), self._opened(found, "secret")
                return await self._post(url, secret, found, now)
            except SealBroken:
                return Ended(ok=False, error="sealed_by_another_key", hopeless=True)
            except NoDestination:
                return Ended(ok=False, error="address_not_allowed")
            except TimeoutError:
                return Ended(ok=False, error="timeout")
            except aiohttp.ClientSSLError:
                return Ended(ok=False, error="tls")
            except (aiohttp.ClientError, OSError, ValueError):
                return Ended(ok=False, error="connection")

    def _opened(self, found: Any, label: str) -> str:
        return self._addresses.unseal(found[f"{label}_sealed"], found["office"], found["target_id"], label)

    async def _post(self, url: str, secret: str, found: Any, now: datetime) -> Ended:
        if not rules.fit_url(url, private=self._private):
            raise NoDestination
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        pinned = Pinned(await destinations(parts.hostname or "", port, private=self._private))
        call_id = rules.webhook_id(found["event_id"], found["target_id"])
        body = rules.webhook_body(
            found["event"], found["occurred_at"], found["office"], found["message_id"], found["delivery_no"]
        )
        timestamp = int(now.timestamp())
        headers = {
            "Content-Type": "application/json",
            "User-Agent": _AGENT,
            "webhook-id": call_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": rules.signature(secret, call_id, timestamp, body),
        }
        async with (
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(resolver=pinned, use_dns_cache=False, force_close=True),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=CALL_SECONDS_MAX, sock_connect=CONNECT_SECONDS_MAX),
                trust_env=False,
            ) as session,
            session.post(url, data=body, headers=headers, allow_redirects=False) as answer,
        ):
            return _judged(answer.status)


def _judged(status: int) -> Ended:
    if 200 <= status < 300:  # noqa: PLR2004 (the class of success, RFC 9110 section 15.3)
        return Ended(ok=True, status=status)
    return Ended(ok=False, status=status, error="http", hopeless=status == GONE)


def _row(found: Any) -> Row:
    return Row(found["event_id"], found["target_id"], found["office"], found["event"], found["attempts"] + 1)
