"""`POST /v1/messages/check`: what would become of a message, without keeping anything."""

from collections.abc import Iterable
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel

import careplan
from services.validation.judging import Judging, PlainFile
from services.validation.rules import Judgement
from services.validation.scanning import Unscanned
from todoke.relay.access import Access, Caller
from todoke.relay.clock import Clock
from todoke.relay.deadline import unbounded
from todoke.relay.directory import Directory
from todoke.relay.limits import Limits
from todoke.relay.policy import may
from todoke.relay.postgres import Database
from todoke.relay.problem import Problem, wordings
from todoke.relay.submission import Draft, MessageBody, Refused, judge, parse_message, recipient_named
from todoke.relay.upload import BytesInFlight, Form, Upload, multipart_body

SCAN_AWAY_SECONDS = 30
"""Retry-After when the virus scanner gives no answer."""

Verdict = Literal["accept", "accept_with_warning", "reject"]


class FindingOut(BaseModel):
    """One finding. `row` counts records from 1, `column` items from 1 as in the standard's tables."""

    code: str
    number: str | None
    severity: Literal["error", "warning"]
    file: str | None
    row: int | None
    column: int | None
    column_name: str | None
    message: str
    advice: str


class CountsOut(BaseModel):
    """How many findings there are in all, also those that are not listed."""

    errors: int
    warnings: int


class CheckResult(BaseModel):
    """What would become of the message; at most 200 findings are listed."""

    verdict: Verdict
    findings: list[FindingOut]
    counts: CountsOut


class Checking:
    """Judges an upload as ingest and the Judge would, but for a sequence in use."""

    def __init__(self, db: Database, directory: Directory, judging: Judging, limits: Limits, clock: Clock) -> None:
        self._db = db
        self._directory = directory
        self._judging = judging
        self._limits = limits
        self._clock = clock

    async def check(self, caller: Caller, upload: Upload) -> CheckResult:
        """The findings of an upload.

        Raises:
            Problem: the JSON part cannot be read, the office may not send, its row is not known here yet, or the virus
                scanner is away.
        """
        body = parse_message(upload.json)
        names = [file.name for file in upload.files]
        named = recipient_named(body, names)
        async with self._db.api(caller.office) as tx:
            offices = await self._directory.get(tx.db, {caller.office, named or caller.office})
        sender = offices.get(caller.office)
        if sender is None:
            raise Problem("TDK-DIRECTORY-BEHIND", retry_after=1)
        now = self._clock.now()
        may(caller.as_of(sender.facts), "check", now)
        try:
            draft = judge(body, names, sender=sender, offices=offices, now=now, limits=self._limits)
        except Refused as refused:
            return _refused(refused, names)
        files = _plain_files(draft, upload)
        unbounded()  # no engine is asked any more, and what judges has bounds of its own
        try:
            judgement = await self._judging.judge(files, sender=sender, recipient=draft.recipient, at=now)
        except Unscanned:
            raise Problem("TDK-SCAN-AWAY", retry_after=SCAN_AWAY_SECONDS) from None
        return _result(judgement)


def routes(access: Access, checking: Checking, limits: Limits, in_flight: BytesInFlight) -> APIRouter:
    """The router of validation."""
    router = APIRouter(tags=["send"])
    form = Form.message(limits)

    @router.post(
        "/v1/messages/check",
        openapi_extra=multipart_body("message", "files", MessageBody),
        summary="Check a message without sending it",
    )
    async def check(request: Request, caller: Annotated[Caller, Depends(access.caller)]) -> CheckResult:
        """Judge a message by every rule but sequences in use. Nothing is kept."""
        access.require(caller, "check")
        async with access.rates.uploading(caller.office, request, form, in_flight, kept=False) as upload:
            return await checking.check(caller, upload)

    return router


def _plain_files(draft: Draft, upload: Upload) -> list[PlainFile]:
    return [
        PlainFile(file.n, file.name, file.kind, uploaded.data)
        for file, uploaded in zip(draft.files, upload.files, strict=True)
    ]


def _result(judgement: Judgement) -> CheckResult:
    counts = judgement.counts
    passed: Verdict = "accept_with_warning" if counts.warnings else "accept"
    return CheckResult(
        verdict=passed if judgement.accepted else "reject",
        findings=list(_findings(judgement.findings)),
        counts=CountsOut(errors=counts.errors, warnings=counts.warnings),
    )


def _findings(findings: Iterable[careplan.Finding]) -> Iterable[FindingOut]:
    for finding in findings:
        words = careplan.wording(finding)
        yield FindingOut(
            code=finding.code,
            number=words.number,
            severity=finding.severity,
            file=finding.file,
            row=finding.row,
            column=finding.column,
            column_name=finding.column_name,
            message=words.message,
            advice=words.advice,
        )


def _refused(refused: Refused, names: list[str]) -> CheckResult:
    """What sending would refuse at once, as findings of the message or of one of its files."""
    findings = [
        FindingOut(
            code=refusal.code,
            number=wordings()[refusal.code].number,
            severity="error",
            file=None if refusal.file is None else names[refusal.file - 1],
            row=None,
            column=None,
            column_name=None,
            message=refusal.message,
            advice=refusal.advice,
        )
        for refusal in refused.refusals
    ]
    return CheckResult(verdict="reject", findings=findings, counts=CountsOut(errors=len(findings), warnings=0))
