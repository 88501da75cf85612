"""Mail: waiting rows become letters, one per address and occasion, and go out over SMTP (RFC 5321)."""

import dataclasses
import email.utils
from collections.abc import Sequence
from datetime import datetime
from email.message import EmailMessage
from uuid import UUID

import aiosmtplib
from structlog.typing import FilteringBoundLogger

from services.notification import rules
from services.notification.addresses import Addresses
from services.notification.outgoing import Ended, Ledger, Row
from todoke.relay.directory import Directory
from todoke.relay.seal import SealBroken
from todoke.relay.settings import MailSettings

SMTP_SECONDS_MAX = 10.0
"""Longest wait for one answer of the mail server."""

ROUND_SECONDS_MAX = 20.0
"""A slow mail server ends a round: no row may come due again while it is still being tried."""

ROWS_AT_ONCE = 500
"""Rows that one round looks at."""

PERMANENT = 500
"""SMTP codes from here on say that trying again is of no use (RFC 5321 section 4.2.1)."""


@dataclasses.dataclass(slots=True)
class Letter:
    """One mail: the rows that it tells, in the order of their due times."""

    id: UUID
    office: str
    target_id: UUID
    address_sealed: bytes
    rows: list[Row]
    told: list[tuple[str, str | None]]


class Mailer:
    """Sends what is due. A letter's rows are bound together before it goes out, so a second try is the same letter."""

    def __init__(
        self,
        ledger: Ledger,
        addresses: Addresses,
        directory: Directory,
        settings: MailSettings,
        link: str,
        log: FilteringBoundLogger,
    ) -> None:
        self._ledger = ledger
        self._addresses = addresses
        self._directory = directory
        self._settings = settings
        self._link = link
        self._log = log

    async def send_due(self) -> None:
        """One round. Raises `DatabaseAway`; what the mail server does is written down, not raised."""
        letters, names, now = await self._claim()
        if not letters:
            return
        self._ledger.ports.crash.reach("notification.mail.after-claim")
        ends = await self._send(letters, names, now)
        self._ledger.ports.crash.reach("notification.mail.after-send")
        # Letters that were not reached have no end: their rows wait for their next due time.
        await self._ledger.close(
            [(row, end) for letter, end in zip(letters, ends, strict=False) for row in letter.rows]
        )
        self._log.info(
            "mails_sent",
            letters=len(letters),
            failed=sum(not end.ok for end in ends),
            reasons=sorted({end.error for end in ends if end.error is not None}),
        )

    async def _claim(self) -> tuple[list[Letter], dict[str, str], datetime]:
        """Bind due rows into letters and write down that they are being tried."""
        ledger, letters = self._ledger, dict[tuple[UUID, UUID | None], Letter]()
        async with ledger.database.worker() as tx:
            for found in await ledger.sql.due_mails(tx.db, now=tx.now, rows_max=ROWS_AT_ONCE):
                key = (found["target_id"], found["letter"])
                letter = letters.setdefault(
                    key,
                    Letter(
                        found["letter"] or ledger.ports.ids.uuid7(),
                        found["office"],
                        found["target_id"],
                        found["address_sealed"],
                        [],
                        [],
                    ),
                )
                letter.rows.append(
                    Row(
                        found["event_id"],
                        found["target_id"],
                        found["office"],
                        found["event"],
                        found["attempts"] + 1,
                    )
                )
                letter.told.append((found["event"], found["partner"]))
            pairs = [(letter, row) for letter in letters.values() for row in letter.rows]
            await ledger.sql.start_tries(
                tx.db,
                event_ids=[row.event_id for _, row in pairs],
                target_ids=[row.target_id for _, row in pairs],
                attempts=[row.attempts for _, row in pairs],
                due=[ledger.due_after(row.attempts, tx.now) for _, row in pairs],
                letters=[letter.id for letter, _ in pairs],
            )
            new = [target for target, bound in letters if bound is None]
            await ledger.sql.be_quiet(tx.db, target_ids=new, until=tx.now + rules.MAIL_QUIET)
            numbers = {letter.office for letter in letters.values()}
            numbers |= {partner for letter in letters.values() for _, partner in letter.told if partner}
            offices = await self._directory.get(tx.db, numbers)
            names = {number: office.facts.name for number, office in offices.items()}
            return list(letters.values()), names, tx.now

    async def _send(self, letters: Sequence[Letter], names: dict[str, str], now: datetime) -> list[Ended]:
        """How the letters ended, in their order; the list is shorter when the round took too long."""
        settings = self._settings
        if settings.host is None:
            return [Ended(ok=False, error="no_mail_server", hopeless=True)] * len(letters)
        smtp = aiosmtplib.SMTP(
            hostname=settings.host,
            port=settings.port,
            username=settings.username,
            password=settings.password.get_secret_value() if settings.password else None,
            start_tls=settings.starttls,
            timeout=SMTP_SECONDS_MAX,
        )
        ends: list[Ended] = []
        begun = self._ledger.ports.clock.monotonic()
        try:
            async with smtp:
                for letter in letters:
                    if self._ledger.ports.clock.monotonic() - begun > ROUND_SECONDS_MAX:
                        break
                    ends.append(await self._send_one(smtp, letter, names, now))
        except (aiosmtplib.SMTPException, OSError) as failure:
            if not ends:  # nobody was there; a farewell that fails after the letters changes nothing for them
                return [Ended(ok=False, error=type(failure).__name__)] * len(letters)
        return ends

    async def _send_one(self, smtp: aiosmtplib.SMTP, letter: Letter, names: dict[str, str], now: datetime) -> Ended:
        try:
            await smtp.send_message(self._message(letter, names, now))
        except SealBroken:
            return Ended(ok=False, error="sealed_by_another_key", hopeless=True)
        except aiosmtplib.SMTPRecipientsRefused as refused:
            return _refused(max((one.code for one in refused.recipients), default=None))
        except aiosmtplib.SMTPResponseException as refused:
            return _refused(refused.code)
        except (aiosmtplib.SMTPException, OSError) as failure:
            return Ended(ok=False, error=type(failure).__name__)
        return Ended(ok=True, status=250)

    def _message(self, letter: Letter, names: dict[str, str], now: datetime) -> EmailMessage:
        """The mail. Its id is the letter's: a mailbox that gets it twice can see that it is the same."""
        subject, text = rules.letter(letter.office, letter.told, names, self._link)
        sender = self._settings.sender
        message = EmailMessage()
        message["From"] = sender
        message["To"] = self._addresses.unseal(letter.address_sealed, letter.office, letter.target_id, "address")
        message["Subject"] = subject
        message["Date"] = email.utils.format_datetime(now)
        message["Message-ID"] = f"<{letter.id}@{sender.rpartition('@')[2]}>"
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office answers
        message.set_content(text)
        return message


def _refused(code: int | None) -> Ended:
    return Ended(ok=False, status=code, error="refused", hopeless=code is not None and code >= PERMANENT)
