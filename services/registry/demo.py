"""The practice offices: registered once, with logins that stay the same, written to `DIR/demo.json` for the practiser.

Ids and passwords are derived from the installation's root key, so a crash between database and file, or a lost file,
changes nothing: the next start writes the same file again.
"""

import asyncio
import base64
import csv
import dataclasses
import hmac
import json
import os
from datetime import date, timedelta
from importlib import resources
from pathlib import Path

from services.registry import certificates, offices
from services.registry.operators import TOTP_LABEL, SecondFactors
from services.registry.passwords import Argon2Cost, Passwords
from services.registry.rules import C_ID_SERIALS, c_id, kj_id
from todoke.relay.clock import in_japan
from todoke.relay.postgres import Tx, queries
from todoke.relay.service import Runtime

_store = queries("services.registry")
_affairs = queries("services.registry", "affairs.sql")

OPERATOR_ID = "practice-operator"
PASSWORD_GROUPS = 4
GROUP_CHARACTERS = 4
LETTERS = "abcdefghijkmnpqrstuvwxyz23456789"
"""32 characters that nobody mistakes for one another: 16 of them are 80 bits."""

CERTIFICATE_LIFE = timedelta(days=365)
SERIAL_BYTES = 16
"""RFC 5280 section 4.1.2.2 allows up to 20."""

TOTP_BYTES = 20
"""RFC 4226 section 4: 160 bits."""


@dataclasses.dataclass(frozen=True, slots=True)
class PracticeOffice:
    """One line of the list, with its logins; `licence_days` count from the first load."""

    data: offices.MasterData
    licence_days: int
    c_id: str
    c_password: str
    kj_id: str
    kj_password: str


async def load_demo(runtime: Runtime, home: Path, url: str, operator_url: str) -> None:
    """Register the practice offices and their logins unless they are there, and write `home/demo.json` (mode 0600).

    Raises `DatabaseAway`.
    """
    key = runtime.secrets.hmac_key("registry/practice")
    practice = _practice_offices(key)
    passwords = Passwords(runtime.ports.ids, Argon2Cost())
    try:
        await _load_offices(runtime, practice, passwords)
        await _load_operator(runtime, key, passwords)
    finally:
        await passwords.close()
    _write(home / "demo.json", _document(practice, key, url, operator_url))


def _practice_offices(key: bytes) -> list[PracticeOffice]:
    table = resources.files("services.registry").joinpath("offices.csv").read_text(encoding="utf-8")
    return [
        PracticeOffice(
            data=offices.MasterData(
                number=row["number"],
                name=row["name"],
                service_types=tuple(row["service_types"].split()),
                prefecture=row["prefecture"],
                address=row["address"],
                phone=row["phone"],
                fax=row["fax"],
            ),
            licence_days=int(row["licence_days"]),
            c_id=_practice_c_id(key, row["number"]),
            c_password=_password(key, f"{row['number']}/person"),
            kj_id=kj_id(row["number"]),
            kj_password=_password(key, f"{row['number']}/office"),
        )
        for row in csv.DictReader(table.splitlines())
    ]


async def _load_offices(runtime: Runtime, practice: list[PracticeOffice], passwords: Passwords) -> None:
    numbers = [each.data.number for each in practice]
    async with runtime.db.worker() as tx:
        known = {row["number"] for row in await _store.known_offices(tx.db, numbers=numbers)}
    missing = [each for each in practice if each.data.number not in known]
    hashes = await asyncio.gather(
        *(passwords.hash(text) for each in missing for text in (each.c_password, each.kj_password))
    )
    async with runtime.db.worker() as tx:
        for place, each in enumerate(missing):
            await _load_office(tx, each, hashes[2 * place], hashes[2 * place + 1])


async def _load_office(tx: Tx, practice: PracticeOffice, person_hash: str, office_hash: str) -> None:
    """One office with licence, credentials and its one person; nothing when another process was first."""
    number = practice.data.number
    if not await offices.register(tx, practice.data):
        return
    until: date = in_japan(tx.now).date() + timedelta(days=practice.licence_days)
    await offices.set_licence(tx, number, until=until, renews=False, cause="granted")
    await _store.insert_person(
        tx.db,
        id=practice.c_id,
        name=f"練習 {practice.data.name}",
        password_hash=person_hash,
        must_change=False,
        now=tx.now,
    )
    await _store.insert_credential(
        tx.db,
        office=number,
        kj_id=practice.kj_id,
        password_hash=office_hash,
        must_change=False,
        c_id=practice.c_id,
        now=tx.now,
    )
    await _affairs.note_issue(tx.db, office=number, now=tx.now, before=None)
    await offices.set_user(tx, number, practice.c_id, ["admin"], "active")
    serial = tx.ports.ids.secret(SERIAL_BYTES).hex().upper()
    not_after = tx.now + CERTIFICATE_LIFE
    await certificates.record(tx, number, issuer=certificates.PRACTICE_ISSUER, serial=serial, not_after=not_after)


async def _load_operator(runtime: Runtime, key: bytes, passwords: Passwords) -> None:
    async with runtime.db.worker() as tx:
        if await _store.operator_known(tx.db, id=OPERATOR_ID):
            return
    stored = await passwords.hash(_password(key, OPERATOR_ID))
    second_factors = SecondFactors(runtime.secrets.hmac_key(TOTP_LABEL), runtime.ports.ids)
    sealed = second_factors.seal(OPERATOR_ID, _totp_secret(key))
    async with runtime.db.worker() as tx:
        await _store.insert_operator(tx.db, id=OPERATOR_ID, password_hash=stored, totp_sealed=sealed)


def _document(practice: list[PracticeOffice], key: bytes, url: str, operator_url: str) -> dict[str, object]:
    return {
        "url": url,
        "offices": [
            {
                "number": each.data.number,
                "name": each.data.name,
                "service_types": list(each.data.service_types),
                "c_id": each.c_id,
                "c_password": each.c_password,
                "kj_id": each.kj_id,
                "kj_password": each.kj_password,
            }
            for each in practice
        ],
        "operator": {
            "url": operator_url,
            "user_id": OPERATOR_ID,
            "password": _password(key, OPERATOR_ID),
            "totp_secret": _totp_secret(key),
        },
    }


def _write(path: Path, document: dict[str, object]) -> None:
    """Write the file whole or not at all, readable by its owner only."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        json.dump(document, stream, ensure_ascii=False, indent=2)
        stream.write("\n")
    draft.replace(path)


def _derived(key: bytes, label: str) -> bytes:
    return hmac.digest(key, label.encode(), "sha256")


def _practice_c_id(key: bytes, number: str) -> str:
    return c_id(int.from_bytes(_derived(key, f"{number}/c-id")) % C_ID_SERIALS)


def _password(key: bytes, label: str) -> str:
    letters = [LETTERS[byte % len(LETTERS)] for byte in _derived(key, f"{label}/password")]
    groups = (
        letters[at : at + GROUP_CHARACTERS] for at in range(0, PASSWORD_GROUPS * GROUP_CHARACTERS, GROUP_CHARACTERS)
    )
    return "-".join("".join(group) for group in groups)


def _totp_secret(key: bytes) -> str:
    return base64.b32encode(_derived(key, "totp")[:TOTP_BYTES]).decode()
