"""Checks the files of one message: data files against the national standard, attachments by their parsers."""

import asyncio
import dataclasses
from collections import Counter
from collections.abc import Sequence
from datetime import datetime

import careplan
from careplan import Context, DataFile, Finding, UnitReport
from services.validation.attachments import ParserPool
from services.validation.rules import FileJudgement, Judgement, first_findings
from services.validation.scanning import Scanner, Unscanned
from todoke.events import Counts
from todoke.relay.clock import Clock, in_japan
from todoke.relay.submission import OfficeSeen

INLINE_BYTES_MAX = 64 * 1024
"""Up to this size a unit is checked in the event loop (some milliseconds); longer ones in a thread."""

PARSING_SECONDS_MAX = 5.0
"""After so long no further file of a message is parsed that is refused already."""

SCANNING_SECONDS_MAX = 12.0
"""All files of a message must be scanned in this time, well within that of a batch."""

PICTURE_KIND = "UPKIHON_IMAGE"
"""The one kind of the standard that is a picture: a data file by its name, parsed like an attachment."""


@dataclasses.dataclass(frozen=True, slots=True)
class PlainFile:
    """One file in clear; `n` is its place in the message, `kind` is None for an attachment."""

    n: int
    name: str
    kind: str | None
    data: bytes


@dataclasses.dataclass(frozen=True, slots=True)
class _Scanned:
    """What the scanner said of a message, and what kept it from saying more."""

    findings: tuple[Finding, ...] = ()
    trouble: Unscanned | None = None


class Judging:
    """Judges messages whose offices are known."""

    def __init__(self, parsers: ParserPool, clock: Clock, scanner: Scanner | None = None) -> None:
        self._parsers = parsers
        self._clock = clock
        self._scanner = scanner

    async def judge(
        self, files: Sequence[PlainFile], *, sender: OfficeSeen, recipient: OfficeSeen, at: datetime
    ) -> Judgement:
        """The judgement of a message submitted at `at`: rules about time are held against that moment in Japan.

        Raises:
            ParsersAway: no parser can be started.
            Unscanned: the virus scanner gave no clear word, and nothing else speaks against the message.
        """
        scanned, units, parsed = await asyncio.gather(
            self._scan(files), self._unit(files, sender, recipient, at), self._parse(files)
        )
        found = [*scanned.findings, *parsed]
        if scanned.trouble is not None and not (found or (units is not None and units.errors)):
            raise scanned.trouble
        counts = Counter((finding.file, finding.severity) for finding in found)
        total = Counter(finding.severity for finding in found)
        if units is not None:
            found = [*units.findings, *found]
            total += Counter({"error": units.errors, "warning": units.warnings})
            for name, report in units.per_file.items():
                counts[name, "error"] += report.errors
                counts[name, "warning"] += report.warnings
        return Judgement(
            findings=first_findings(found),
            counts=Counts(errors=total["error"], warnings=total["warning"]),
            files=tuple(
                FileJudgement(
                    part=file.n,
                    kind=file.kind,
                    csv_version=_csv_version(file),
                    counts=Counts(errors=counts[file.name, "error"], warnings=counts[file.name, "warning"]),
                )
                for file in files
            ),
        )

    async def _scan(self, files: Sequence[PlainFile]) -> "_Scanned":
        """What the scanner finds, data files and attachments alike."""
        if self._scanner is None:
            return _Scanned()
        asked = [self._scanner.check(file.name, file.data) for file in files]
        try:
            async with asyncio.timeout(SCANNING_SECONDS_MAX):
                answers = await asyncio.gather(*asked, return_exceptions=True)
        except TimeoutError:
            return _Scanned(trouble=Unscanned("the scanner took too long for all files together"))
        findings: list[Finding] = []
        trouble: Unscanned | None = None
        for answer in answers:
            if isinstance(answer, Unscanned):
                trouble = answer
            elif isinstance(answer, BaseException):
                raise answer
            else:
                findings += answer
        return _Scanned(tuple(findings), trouble)

    async def _parse(self, files: Sequence[PlainFile]) -> list[Finding]:
        """What the parsers say, one file after the other: a message full of hostile files may not take every parser.

        A message that is refused already and has taken long is not parsed to its end.
        """
        started = self._clock.monotonic()
        found: list[Finding] = []
        for file in filter(_needs_parser, files):
            if found and self._clock.monotonic() - started > PARSING_SECONDS_MAX:
                break
            found += await self._parsers.check(file.name, file.data)
        return found

    async def _unit(
        self, files: Sequence[PlainFile], sender: OfficeSeen, recipient: OfficeSeen, at: datetime
    ) -> UnitReport | None:
        data = [DataFile(file.name, file.data) for file in files if file.kind is not None]
        if not data:
            return None
        context = Context(
            sender=_facts(sender),
            recipient=_facts(recipient),
            attachments=[file.name for file in files if file.kind is None],
            month_now=f"{in_japan(at):%Y%m}",
        )
        if sum(len(file.data) for file in data) <= INLINE_BYTES_MAX:
            return careplan.check_unit(data, context)
        return await asyncio.to_thread(careplan.check_unit, data, context)


def _needs_parser(file: PlainFile) -> bool:
    return file.kind is None or file.kind == PICTURE_KIND


def _csv_version(file: PlainFile) -> str | None:
    parsed = careplan.parse_name(file.name)
    return None if parsed is None else parsed.csv_version


def _facts(office: OfficeSeen) -> careplan.OfficeFacts:
    return careplan.OfficeFacts(number=office.number, service_types=frozenset(office.facts.service_types))
