"""What makes a body a message that may be sent: the rules that are refused at once, as pure functions.

ingest turns a refusal into a problem, validation's `check` into findings. All else is judged by `validation`.
"""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError

import careplan
from todoke.events import OfficeFacts
from todoke.relay.clock import in_japan
from todoke.relay.filenames import TOO_LONG, name_clashes, name_problem
from todoke.relay.limits import Limits
from todoke.relay.policy import standing_of
from todoke.relay.problem import Problem, wordings

OFFICE_NUMBER = re.compile(r"[0-9A-Z]{10}")
NO_MONTH = "000000"
"""What stands for the month in the name of UPHOSOKU with forms 1 to 3 (clause 2.3)."""

SEQUENCE = re.compile(r"[0-9]{14}")

_TEXT_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")

Role = Literal["data", "attachment"]

_NAME_CODES: Mapping[str | None, str] = {
    None: "TDK-FILE-NAME",
    "office": "TDK-FILE-NAME-OFFICE",
    "sequence": "TDK-FILE-NAME-SEQUENCE",
}
"""What is wrong with a name that is meant as a data file, by the part of it that has a wrong length."""


class MessageBody(BaseModel):
    """The JSON part of a message, as the client wrote it."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    recipient: str | None = Field(
        None,
        description="Office number. May be left out when the names of data files say it; if both do, they agree.",
        json_schema_extra={"pattern": f"^{OFFICE_NUMBER.pattern}$"},
    )
    sequence: str | None = Field(
        None,
        description="連番, as a rule YYYYMMDDHHMMSS. May be left out: the data files' names say it, or it is made.",
        json_schema_extra={"pattern": f"^{SEQUENCE.pattern}$"},
    )
    text: str | None = Field(None, description="Up to `text_characters_max` characters (GET /v1/limits).")
    allow_resend: bool = Field(default=False, description="Send although the sequence is in use.")

    def canonical(self) -> bytes:
        """The same bytes for the same meaning: every field, in a fixed order."""
        return self.model_dump_json().encode()


def parse_message(raw: bytes) -> MessageBody:
    """The body of part `message`.

    Raises:
        Problem: TDK-BODY-MALFORMED, it is no JSON object; TDK-INVALID, a field is unknown or of the wrong type.
    """
    try:
        return MessageBody.model_validate_json(raw)
    except ValidationError as broken:
        raise problem_of_json(broken, "message", frozenset(MessageBody.model_fields)) from None


def problem_of_json(broken: ValidationError, part: str, known: frozenset[str]) -> Problem:
    """The problem that tells where a JSON part does not fit; nothing of its content is repeated."""
    errors = broken.errors(include_url=False, include_context=False, include_input=False)
    if any(error["type"] == "json_invalid" or not error["loc"] for error in errors):
        return Problem("TDK-BODY-MALFORMED", where=[(part, "JSON として読めません。")])
    places = [
        ".".join(str(step) if isinstance(step, int) or step in known else "?" for step in e["loc"]) for e in errors
    ]
    return Problem("TDK-INVALID", where=[(place, "項目の名前か形が違います。") for place in places])


class OfficeSeen(Protocol):
    """The row of an office in the directory copy of the service that judges."""

    @property
    def number(self) -> str:
        """Ten characters."""
        ...

    @property
    def version(self) -> int:
        """Which state of the row it is."""
        ...

    @property
    def facts(self) -> OfficeFacts:
        """The public facts."""
        ...


@dataclasses.dataclass(frozen=True, slots=True)
class DraftFile:
    """One file before its content is looked at; `n` counts from 1. Data files have a parsed name."""

    n: int
    name: str
    role: Role
    parsed: careplan.FileName | None

    @property
    def kind(self) -> str | None:
        """The file kind of the standard, None for an attachment."""
        return None if self.parsed is None else self.parsed.kind


@dataclasses.dataclass(frozen=True, slots=True)
class Draft:
    """A message that nothing known at once speaks against.

    `sequence_made`: nobody gave a sequence; the one here is made from the clock and may be moved on if it is in use.
    """

    sender: OfficeSeen
    recipient: OfficeSeen
    sequence: str
    sequence_made: bool
    text: str | None
    allow_resend: bool
    files: tuple[DraftFile, ...]
    csv_version: str | None
    months: tuple[str, ...]
    sender_service: str | None
    service_type: str | None


@dataclasses.dataclass(frozen=True, slots=True)
class Refusal:
    """One reason to refuse at once. `file` counts from 1; `fill` goes into the wording."""

    code: str
    where: str
    file: int | None = None
    fill: Mapping[str, str | int] = dataclasses.field(default_factory=dict)

    @property
    def message(self) -> str:
        """What is wrong, in Japanese."""
        return wordings()[self.code].title.format_map(self.fill)

    @property
    def advice(self) -> str:
        """What to do, in Japanese."""
        return wordings()[self.code].detail.format_map(self.fill)


class Refused(Exception):  # noqa: N818 (named for what happened to the message)
    """The message is refused at once, for one reason or several; the first one decides the answer."""

    def __init__(self, refusals: Sequence[Refusal]) -> None:
        super().__init__(", ".join(refusal.code for refusal in refusals))
        self.refusals = tuple(refusals)

    def problem(self) -> Problem:
        """The refusal as an answer: code and status of the first reason, all reasons in `errors`."""
        first = self.refusals[0]
        where = [(one.where, one.message) for one in self.refusals]
        return Problem(first.code, where=where, **first.fill)  # type: ignore[arg-type]  # fills a wording only


def recipient_named(body: MessageBody, names: Sequence[str]) -> str | None:
    """Whom the message seems to go to: the body's recipient, else that of the first data file's name."""
    if body.recipient is not None:
        return body.recipient
    return next((parsed.recipient_office for name in names if (parsed := careplan.parse_name(name))), None)


def judge(
    body: MessageBody,
    names: Sequence[str],
    *,
    sender: OfficeSeen,
    offices: Mapping[str, OfficeSeen],
    now: datetime,
    limits: Limits,
) -> Draft:
    """A draft of the message, judged by its body, its file names and the directory at `now`.

    The rules run in a fixed order, and the first group that finds anything ends it: limits, names, content, offices
    and sequence in the names, recipient.

    Raises:
        Refused: with every reason of that group.
    """
    files = tuple(_draft_file(n, name) for n, name in enumerate(names, 1))
    _stop_at(_over_limits(body, files, limits))
    _stop_at(_bad_names(files, limits))
    _stop_at(_no_content(body, files))
    parsed = [file.parsed for file in files if file.parsed is not None]
    _stop_at(_names_against_body(body, files, sender.number))
    number = body.recipient or (parsed[0].recipient_office if parsed else None)
    recipient = _recipient(number, sender.number, offices, now)
    sequence = body.sequence or (parsed[0].sequence if parsed else None)
    return Draft(
        sender=sender,
        recipient=recipient,
        sequence=sequence or made_sequence(now),
        sequence_made=sequence is None,
        text=body.text if body.text and body.text.strip() else None,
        allow_resend=body.allow_resend,
        files=files,
        csv_version=next((name.csv_version for name in parsed), None),
        months=tuple(sorted({name.target_month for name in parsed if name.target_month not in (None, NO_MONTH)})),
        sender_service=next((name.sender_service for name in parsed if name.sender_service), None),
        service_type=next((name.recipient_service for name in parsed if name.recipient_service), None),
    )


def refuse_name(number: int, name: str, limits: Limits) -> None:
    """Judge one file name alone, before the others are known. Raises `Refused`."""
    _stop_at(_bad_names((_draft_file(number, name),), limits))


def refuse_recipient(number: str, sender: str, offices: Mapping[str, OfficeSeen], now: datetime) -> None:
    """Judge a recipient before the files are known. Raises `Refused`."""
    _recipient(number, sender, offices, now)


def made_sequence(moment: datetime) -> str:
    """A sequence from the clock: YYYYMMDDHHMMSS in Japan, as care software makes them."""
    return in_japan(moment).strftime("%Y%m%d%H%M%S")


def _stop_at(refusals: list[Refusal]) -> None:
    if refusals:
        raise Refused(refusals)


def _draft_file(n: int, name: str) -> DraftFile:
    parsed = careplan.parse_name(name)
    return DraftFile(n, name, "attachment" if parsed is None else "data", parsed)


def _over_limits(body: MessageBody, files: Sequence[DraftFile], limits: Limits) -> list[Refusal]:
    found = []
    if len(files) > limits.files_per_message_max:
        found.append(Refusal("TDK-FILES-TOO-MANY", "files", fill={"files": limits.files_per_message_max}))
    if sum(file.role == "attachment" for file in files) > limits.attachments_per_message_max:
        fill = {"files": limits.attachments_per_message_max}
        found.append(Refusal("TDK-ATTACHMENTS-TOO-MANY", "files", fill=fill))
    if body.text is not None and len(body.text) > limits.text_characters_max:
        found.append(Refusal("TDK-TEXT-TOO-LONG", "text", fill={"characters": limits.text_characters_max}))
    return found


def _bad_names(files: Sequence[DraftFile], limits: Limits) -> list[Refusal]:
    clashes = name_clashes([file.name for file in files])
    return [
        Refusal(code, _place(file), file.n, _name_fill(limits))
        for place, file in enumerate(files)
        if (code := _name_code(file, limits) or clashes.get(place)) is not None
    ]


def _name_code(file: DraftFile, limits: Limits) -> str | None:
    if len(file.name.encode("utf-8", "surrogatepass")) > limits.file_name_bytes_max:
        return TOO_LONG
    if (problem := name_problem(file.name)) is not None:
        return problem
    unlike_data = file.parsed is None and careplan.looks_like_data_name(file.name)
    return _NAME_CODES[careplan.misnumbered_part(file.name)] if unlike_data else None


def _name_fill(limits: Limits) -> Mapping[str, int]:
    return {"bytes": limits.file_name_bytes_max, "characters": limits.file_name_bytes_max // 3}


def _place(file: DraftFile) -> str:
    return f"files[{file.n}]"


def _no_content(body: MessageBody, files: Sequence[DraftFile]) -> list[Refusal]:
    text = body.text or ""
    if _TEXT_CONTROLS.search(text):
        return [Refusal("TDK-INVALID", "text")]
    if not files and not text.strip():
        return [Refusal("TDK-NOTHING-TO-SEND", "files")]
    return []


def _names_against_body(body: MessageBody, files: Sequence[DraftFile], sender: str) -> list[Refusal]:
    named = [(file, file.parsed) for file in files if file.parsed is not None]
    found = [
        Refusal("TDK-SENDER-MISMATCH", _place(file), file.n) for file, name in named if name.sender_office != sender
    ]
    if body.sequence is not None and SEQUENCE.fullmatch(body.sequence) is None:
        found.append(Refusal("TDK-SEQUENCE-FORM", "sequence"))
    if len({(name.recipient_office, name.sequence) for _, name in named}) > 1:
        return [*found, Refusal("TDK-NAMES-DISAGREE", "files")]
    if named:
        name = named[0][1]
        if body.recipient not in (None, name.recipient_office):
            found.append(Refusal("TDK-RECIPIENT-MISMATCH", "recipient"))
        if body.sequence not in (None, name.sequence) and not found:
            found.append(Refusal("TDK-SEQUENCE-MISMATCH", "sequence"))
    return found


def _recipient(number: str | None, sender: str, offices: Mapping[str, OfficeSeen], now: datetime) -> OfficeSeen:
    if number is None:
        raise Refused([Refusal("TDK-NO-RECIPIENT", "recipient")])
    if number == sender:
        raise Refused([Refusal("TDK-OWN-NUMBER", "recipient")])
    recipient = offices.get(number) if OFFICE_NUMBER.fullmatch(number) else None
    if recipient is None:
        raise Refused([Refusal("TDK-UNKNOWN-OFFICE", "recipient")])
    if standing_of(recipient.facts, now) != "licensed":
        raise Refused([Refusal("TDK-OFFICE-NOT-TAKING-PART", "recipient", fill={"name": recipient.facts.name})])
    return recipient
