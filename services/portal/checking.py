"""What would be found in a message if it were sent now.

Names, recipient and data files are judged here, by the very functions that the service judges with, so that a sheet of
three hundred messages has its findings in the time of reading it. Attachments are judged by the service alone
(`POST /v1/messages/check`): its parsers run in processes of their own.
"""

import asyncio
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta

import careplan
from careplan import Context, DataFile
from services.portal import places
from services.portal.clerk import Clerk
from services.portal.places import Shown
from todoke.client import ApiError, AsyncClient, Upload, shapes
from todoke.events import OfficeFacts
from todoke.relay.clock import Clock, in_japan
from todoke.relay.limits import Limits
from todoke.relay.problem import wordings
from todoke.relay.submission import MessageBody, Refusal, Refused, judge, recipient_named

LOOKUPS_AT_ONCE = 8
"""Offices asked for at the same moment: a sheet names some dozen."""

OFFICE_KEPT = timedelta(minutes=5)
"""So long an office's row is believed without asking again; the sending itself is judged by the service anew."""

OFFICES_KEPT_MAX = 5000
"""Rows of the directory that a process remembers."""

INLINE_BYTES_MAX = 64 * 1024
"""Up to this size a unit is checked in the event loop (some milliseconds); longer ones in a thread."""

_NOT_FOUND = 404


@dataclasses.dataclass(frozen=True, slots=True)
class Outgoing:
    """What is to be judged: a message as it would be sent."""

    recipient: str
    sequence: str | None
    text: str
    files: Sequence[DataFile]

    @property
    def body(self) -> MessageBody:
        """The JSON part."""
        return MessageBody(recipient=self.recipient or None, sequence=self.sequence, text=self.text or None)

    @property
    def named_recipient(self) -> str | None:
        """Whom it goes to, as typed or as the names say."""
        return recipient_named(self.body, [file.name for file in self.files])

    @property
    def has_attachments(self) -> bool:
        """Whether there is something that only the service can judge: attachments, and pictures of a set."""
        return any(not _is_table(file.name) for file in self.files)


@dataclasses.dataclass(frozen=True, slots=True)
class _Seen:
    """An office of the directory, as the rules want it."""

    number: str
    facts: OfficeFacts
    version: int = 0


class Directory:
    """Offices by number, asked of the API and remembered for a while by this process; they are public."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._known: dict[str, tuple[datetime, shapes.Office | None]] = {}

    async def get(self, client: AsyncClient, numbers: Iterable[str]) -> dict[str, shapes.Office]:
        """Those of the offices that exist. Raises `ClientError`."""
        wanted = {number for number in numbers if number.isalnum() and number.isascii()}
        gate = asyncio.Semaphore(LOOKUPS_AT_ONCE)

        async def one(number: str) -> tuple[str, shapes.Office | None]:
            async with gate:
                return number, await self._one(client, number)

        found = await asyncio.gather(*map(one, sorted(wanted)))
        return {number: office for number, office in found if office is not None}

    async def _one(self, client: AsyncClient, number: str) -> shapes.Office | None:
        now = self._clock.now()
        known = self._known.get(number)
        if known is not None and known[0] > now:
            return known[1]
        try:
            office: shapes.Office | None = await client.office(number)
        except ApiError as refused:
            if refused.status != _NOT_FOUND:
                raise
            office = None
        if len(self._known) >= OFFICES_KEPT_MAX:
            self._known.clear()
        self._known[number] = (now + OFFICE_KEPT, office)
        return office


class Checker:
    """Judges messages before they are sent."""

    def __init__(self, directory: Directory, limits: Limits, clock: Clock) -> None:
        self.directory = directory
        self._limits = limits
        self._clock = clock

    async def here(self, clerk: Clerk, offices: Mapping[str, shapes.Office], message: Outgoing) -> list[Shown]:
        """What this process finds: everything but what is in attachments. Errors first."""
        now = self._clock.now()
        names = [file.name for file in message.files]
        seen = {number: _Seen(number, _facts(office, now)) for number, office in offices.items()}
        sender = _Seen(clerk.office, OfficeFacts(name=clerk.office_name, service_types=clerk.service_types))
        try:
            draft = judge(message.body, names, sender=sender, offices=seen, now=now, limits=self._limits)
        except Refused as refused:
            return [_of_refusal(one, names) for one in refused.refusals]
        data = [file for file, named in zip(message.files, draft.files, strict=True) if named.parsed is not None]
        if not data:
            return []
        context = Context(
            sender=careplan.OfficeFacts(clerk.office, frozenset(clerk.service_types)),
            recipient=careplan.OfficeFacts(draft.recipient.number, frozenset(draft.recipient.facts.service_types)),
            attachments=[file.name for file, named in zip(message.files, draft.files, strict=True) if not named.parsed],
            month_now=f"{in_japan(now):%Y%m}",
        )
        if sum(len(file.data) for file in data) <= INLINE_BYTES_MAX:
            return _found(data, context)
        return await asyncio.to_thread(_found, data, context)

    async def by_service(self, clerk: Clerk, message: Outgoing) -> list[Shown]:
        """What the service finds in the same message. Raises `ClientError`."""
        body = message.body
        uploads = [Upload(file.name, file.data) for file in message.files]
        verdict = await clerk.client.check(body.recipient, body.sequence, body.text, uploads)
        return [places.of_service(finding) for finding in verdict.findings]

    async def whole(self, clerk: Clerk, offices: Mapping[str, shapes.Office], message: Outgoing) -> list[Shown]:
        """Both together; the service is asked only where it knows more. Raises `ClientError`."""
        mine = await self.here(clerk, offices, message)
        if not message.has_attachments:
            return mine
        return merged(mine, await self.by_service(clerk, message))


def merged(mine: Sequence[Shown], theirs: Sequence[Shown]) -> list[Shown]:
    """The service's findings, those that were found here too in their fuller wording."""
    fuller = {finding.place: finding for finding in mine}
    return [fuller.get(finding.place, finding) for finding in theirs]


def _found(data: Sequence[DataFile], context: Context) -> list[Shown]:
    return places.shown(careplan.check_unit(data, context).findings, data)


def _facts(office: shapes.Office, now: datetime) -> OfficeFacts:
    """The facts as the rules read them: the API says whether an office takes part, not until when."""
    active = office.participation == "active"
    return OfficeFacts(
        name=office.name,
        service_types=tuple(kind.code for kind in office.service_types),
        participation=office.participation,
        licence_until=_tomorrow(now) if active else None,
    )


def _tomorrow(now: datetime) -> date:
    return (in_japan(now) + timedelta(days=1)).date()


def _is_table(name: str) -> bool:
    parsed = careplan.parse_name(name)
    return parsed is not None and careplan.KINDS[parsed.csv_version, parsed.kind].columns > 0


def _of_refusal(refusal: Refusal, names: Sequence[str]) -> Shown:
    return Shown(
        code=refusal.code,
        number=wordings()[refusal.code].number or "",
        severity="error",
        message=refusal.message,
        advice=refusal.advice,
        file=None if refusal.file is None else names[refusal.file - 1],
    )
