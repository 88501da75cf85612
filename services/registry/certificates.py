"""Client certificates of offices, as operators record them. Nothing is bound to them yet."""

from datetime import datetime

from services.registry import offices
from todoke.events import Actor, CertificateChanged
from todoke.relay.postgres import Tx, queries
from todoke.relay.problem import Problem

_store = queries("services.registry")
_affairs = queries("services.registry", "affairs.sql")

PRACTICE_ISSUER = "Practice CA"


async def record(
    tx: Tx, office: str, *, issuer: str, serial: str, not_after: datetime, actor: Actor = offices.SYSTEM
) -> None:
    """An office has another certificate; `serial` is hexadecimal in capitals.

    Raises `UnknownOffice`, `Problem` 409 `TDK-CERTIFICATE-THERE`.
    """
    if not await _store.lock_offices(tx.db, numbers=[office]):
        raise offices.UnknownOffice(office)
    version = await _affairs.insert_certificate(
        tx.db, office=office, issuer=issuer, serial=serial, not_after=not_after, now=tx.now
    )
    if version is None:
        raise Problem("TDK-CERTIFICATE-THERE")
    tx.say(
        CertificateChanged(
            office=office, version=version, issuer=issuer, serial=serial, not_after=not_after, actor=actor
        )
    )
