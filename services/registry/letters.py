"""Making letters: new secrets of an office, kept as hashes and told once, on paper."""

import asyncio
from dataclasses import dataclass
from datetime import date

from services.registry import offices
from services.registry.letter_pdf import Letter, pdf_of
from services.registry.rules import kj_id
from services.registry.secrets import CERTIFICATE_SECRET_CHARACTERS, FIRST_PASSWORD_CHARACTERS, Secrets
from services.registry.sessions import Sessions
from todoke.events import OfficeFacts, OperatorActed
from todoke.relay.clock import Clock, in_japan
from todoke.relay.postgres import Database, queries
from todoke.relay.problem import Problem
from todoke.relay.settings import Settings

_affairs = queries("services.registry", "affairs.sql")


@dataclass(frozen=True, slots=True)
class Letters:
    """Makes letters; of two of one office that are made at the same time, one."""

    db: Database
    clock: Clock
    secrets: Secrets
    sessions: Sessions
    settings: Settings

    async def make(self, number: str, issued_on: date | None, operator: str, acted: OperatorActed) -> bytes:
        """The PDF. The office's earlier secrets work no more and its sessions end, once this answers.

        Raises `UnknownOffice`, `ValueError` for a day before 令和, `Problem` 409 `TDK-LETTER-THERE` when another letter
        was made meanwhile: this one would tell secrets that never worked, or end those of a letter just printed.
        """
        async with self.db.worker() as tx:
            facts = await offices.facts(tx, number)
            before = await _affairs.letter(tx.db, office=number)
        password = self.secrets.made(FIRST_PASSWORD_CHARACTERS)
        certificate_secret = self.secrets.made(CERTIFICATE_SECRET_CHARACTERS)
        stored, stored_certificate = [await self.secrets.hash(each) for each in (password, certificate_secret)]
        day = issued_on or in_japan(self.clock.now()).date()
        # Typeset first: secrets of a letter that cannot be made must not replace those that work.
        pdf = await asyncio.to_thread(pdf_of, self._letter(number, facts, (password, certificate_secret), day))
        async with self.db.worker() as tx:
            await offices.facts(tx, number)
            kept = await _affairs.keep_letter(
                tx.db,
                office=number,
                certificate_secret_hash=stored_certificate,
                made_by=operator,
                now=tx.now,
                before=before and before["made_at"],
            )
            if kept is None:
                raise Problem("TDK-LETTER-THERE")
            await _affairs.letter_secret(tx.db, office=number, kj_id=kj_id(number), password_hash=stored, now=tx.now)
            await self.sessions.end_office(tx, number)
            tx.say(acted)
        return pdf

    def _letter(self, number: str, facts: OfficeFacts, told: tuple[str, str], day: date) -> Letter:
        return Letter(
            kj_id=kj_id(number),
            number=number,
            name=facts.name,
            phone=facts.phone,
            fax=facts.fax,
            address=facts.address,
            password=told[0],
            certificate_secret=told[1],
            issued_on=day,
            issuer=self.settings.registry.issuer,
            usage_address=self.settings.registry.usage_address or f"{self.settings.address}/usage/login",
        )
