"""A list page of 200 rows, as a browser asks for it: with few messages stored, and with a million."""

import asyncio
import os
import statistics
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from bench.measured import Measured
from bench.messages import office_numbers, plan_sets
from bench.meter import Meter
from bench.stand import Stand
from services.ground import DATABASE
from services.portal.websessions import Held, Owner, WebSessions
from todoke import engines
from todoke.client import Client, MemoryStore, Upload
from todoke.client.operations import Outgoing
from todoke.client.session import Session
from todoke.relay.postgres import administrator, queries
from todoke.relay.service import Shared

ROWS = 200
STORED = 1_000_000
ONE_IN = 20
"""One in so many of them belongs to the measured office: 50,000, the work of ten years."""

PAGES = 60
WARM_UP = 15
BATCH = 20
_statements = queries("bench", "pages.sql")


def measure(home: Path) -> list[Measured]:
    """Each list page, before and after the million is there."""
    sender, recipient = office_numbers(2)
    with Stand(home, {sender: "43", recipient: "11"}, split=False) as stand:
        _send(stand, sender, recipient)
        cookies = {office: asyncio.run(_log_in(stand, office)) for office in (sender, recipient)}
        wanted = {"受信一覧": ("/received", cookies[recipient]), "送信一覧": ("/sent", cookies[sender])}
        rows = [_pages(stand, f"{name}, {ROWS} stored", *page) for name, page in wanted.items()]
        asyncio.run(_spread(home, sender, recipient))
        return rows + [_pages(stand, f"{name}, {STORED:,} stored", *page) for name, page in wanted.items()]


def _pages(stand: Stand, what: str, path: str, cookie: str) -> Measured:
    seconds = []
    with httpx.Client(base_url=stand.address, cookies={"todoke-office": cookie}, timeout=60) as browser:
        for _ in range(WARM_UP):
            page = browser.get(path, params={"rows": ROWS})
            page.raise_for_status()
            if page.text.count('<tr id="m-') != ROWS:
                raise RuntimeError(f"the page shows {page.text.count('<tr id=')} rows")
        meter = Meter(_servers(stand.pids()))
        meter.start()
        began = time.perf_counter()
        for _ in range(PAGES):
            at = time.perf_counter()
            browser.get(path, params={"rows": ROWS}).raise_for_status()
            seconds.append(time.perf_counter() - at)
        took = time.perf_counter() - began
        return Measured(what, PAGES, took, meter.stop(), statistics.median(seconds), max(seconds))


def _servers(pids: Mapping[str, int]) -> dict[str, int]:
    """Everything that works for a page: the web process and the engines, not the consumers."""
    return {name: pid for name, pid in pids.items() if name != "work"} | {"browser": os.getpid()}


def _send(stand: Stand, sender: str, recipient: str) -> None:
    """As many real messages as a page shows, so that every one of its rows is really opened."""
    sets = plan_sets(sender, recipient, int(datetime.now(UTC).strftime("%Y%m%d%H%M%S")))
    with _client(stand, sender) as client:
        last = None
        for _ in range(ROWS // BATCH):
            batch = []
            for _ in range(BATCH):
                files = tuple(Upload(name, data) for name, data in next(sets))
                batch.append(Outgoing(files[0].name, text="いつもお世話になっております。" * 4, files=files))
            last = client.send_batch(batch)[-1].submission
        if last is None:
            raise RuntimeError("the last message was refused")
        until = time.monotonic() + 60
        while client.counts().sent.get("delivered", 0) < ROWS:
            if time.monotonic() > until:
                raise RuntimeError("the messages do not arrive")
            time.sleep(0.2)


def _client(stand: Stand, office: str) -> Client:
    return Client(stand.address, store=MemoryStore(_session(stand, office)))


def _session(stand: Stand, office: str) -> Session:
    return Session.model_validate(
        {
            "url": stand.address,
            "access_token": stand.tokens[office],
            "access_until": "2100-01-01T00:00:00Z",
            "refresh_token": "none",
            "refresh_until": "2100-01-01T00:00:00Z",
            "office": {"number": office, "name": office, "service_types": []},
            "user": {"id": f"c{office}", "name": "測定 春子", "roles": ["admin"]},
        }
    )


async def _log_in(stand: Stand, office: str) -> str:
    """A browser's session as the login's last step begins it; answers its cookie."""
    shared = await Shared.open(stand.settings)
    runtime = await shared.runtime("portal")
    try:
        settings = runtime.settings.portal
        sessions = WebSessions(runtime.db, runtime.seal, runtime.secrets, runtime.ports.ids, settings.idle_minutes)
        owner = Owner("office", office, f"c{office}")
        return await sessions.begin(owner, Held(session=_session(stand, office)))
    finally:
        await runtime.db.close()
        await shared.close()


async def _spread(home: Path, sender: str, recipient: str) -> None:
    dsn = urlsplit(engines.addresses(home).postgres)._replace(path=f"/{DATABASE}").geturl()
    async with administrator(dsn) as db:
        await _statements.look_into_lists(db)
        await _statements.make_older_id(db)
        await _statements.spread_received(db, office=recipient, count=STORED, one_in=ONE_IN)
        await _statements.spread_sent(db, office=sender, count=STORED, one_in=ONE_IN)
        await _statements.look_at_tables(db)
        await _statements.write_back(db)
