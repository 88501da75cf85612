"""`POST /v1/messages`, `POST /v1/batches`, `GET /v1/limits`."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Request, Response
from pydantic import BaseModel, Field, TypeAdapter, ValidationError, WithJsonSchema

from services.ingest.rules import IDEMPOTENCY_KEY
from services.ingest.sending import Accepted, Sending, Submission, sealed_bytes
from todoke.relay.access import Access, Caller
from todoke.relay.limits import (
    JSON_BODY_BYTES_MAX,
    MAIL_TARGETS_MAX,
    SEARCHED_MAX,
    STREAMS_PER_USER_MAX,
    WEBHOOKS_MAX,
    Limits,
)
from todoke.relay.openapi import PROBLEM_REF, answer_headers, request_header
from todoke.relay.problem import Problem
from todoke.relay.room import Room
from todoke.relay.submission import MessageBody, Refused, parse_message, problem_of_json, refuse_name
from todoke.relay.upload import BATCH_FILE_PART, BytesInFlight, Form, Upload, UploadedFile, multipart_body


class OfficeRef(BaseModel):
    """An office by number and name, the name as it was when the message was submitted."""

    number: str
    name: str


class Submitted(BaseModel):
    """The message is safe; whether it keeps the standard is judged later. `receipt` is a compact JWS."""

    message_id: UUID
    sequence: str
    sender: OfficeRef
    recipient: OfficeRef
    submitted_at: datetime
    receipt: str
    replayed: bool


class BatchTaken(Submitted):
    """One message of a batch that is safe."""

    idempotency_key: str
    status: Literal[202] = 202


class BatchRefused(BaseModel):
    """One message of a batch that was refused, and why."""

    idempotency_key: str
    status: int
    problem: Annotated[dict[str, Any], WithJsonSchema({"allOf": [PROBLEM_REF]})]


class BatchResults(BaseModel):
    """What became of each message of a batch, in the order of the request."""

    results: list[BatchTaken | BatchRefused]


class BatchMessage(MessageBody):
    """One entry of part `messages`: a message, its idempotency key and the names of its file parts."""

    idempotency_key: str = Field(json_schema_extra={"pattern": f"^{IDEMPOTENCY_KEY.pattern}$"})
    files: tuple[Annotated[str, Field(json_schema_extra={"pattern": BATCH_FILE_PART})], ...] = Field(
        default=(), strict=False, description="Names of file parts (f1, f2 …); one part may serve several messages."
    )

    def body(self) -> MessageBody:
        """The message itself: its digest is the same whether it comes alone or in a batch."""
        return MessageBody(
            recipient=self.recipient, sequence=self.sequence, text=self.text, allow_resend=self.allow_resend
        )


class Limit(BaseModel):
    """One bound and its unit."""

    value: float
    unit: str


class _Foresight:
    """Refuses one message by its file names and its part `message` before its files have come (`upload.Foresight`).

    What an earlier request with the same key could have handed in is not refused here: it has an answer already.
    """

    def __init__(self, sending: Sending, caller: Caller, limits: Limits) -> None:
        self._sending = sending
        self._caller = caller
        self._limits = limits

    def file(self, number: int, name: str) -> None:
        """A name that breaks the rules. Raises `Problem` 422."""
        try:
            refuse_name(number, name, self._limits)
        except Refused as refused:
            raise refused.problem() from None

    async def json(self, raw: bytes) -> None:
        """A message that cannot be read, to the sender itself or to nobody. Raises `Problem` 400, 422."""
        body = parse_message(raw)
        if body.recipient is not None:
            try:
                await self._sending.foresee(self._caller, body.recipient)
            except Refused as refused:
                raise refused.problem() from None


_BATCH = TypeAdapter(list[BatchMessage])

_SEND: dict[str, Any] = {
    **multipart_body("message", "files", MessageBody),
    "parameters": [
        request_header(
            "Idempotency-Key",
            "Made once for a message and kept with it: the same key and content give the same message. Absent or of "
            "another form: 400 TDK-IDEMPOTENCY-KEY. With other content: 422 TDK-IDEMPOTENCY-MISMATCH.",
            required=True,
            pattern=f"^{IDEMPOTENCY_KEY.pattern}$",
        )
    ],
}
"""What a route says of the header and the body that it reads itself."""

_ACCEPTED: dict[int | str, dict[str, Any]] = {202: {"headers": answer_headers(Location="/v1/messages/{message_id}")}}

_FIXED: Mapping[str, float] = {
    "streams_at_once_user": STREAMS_PER_USER_MAX,
    "webhooks_office": WEBHOOKS_MAX,
    "mail_targets_max": MAIL_TARGETS_MAX,
    "searched_messages_max": SEARCHED_MAX,
    "json_body_bytes_max": JSON_BODY_BYTES_MAX,
}
"""Bounds that are the same everywhere."""

_UNITS = (
    ("_bytes_", "bytes"),
    ("bytes_", "bytes"),
    ("_characters_", "characters"),
    ("_days", "days"),
    ("_seconds_", "seconds"),
    ("files_", "files"),
    ("attachments_", "files"),
    ("_messages_", "messages"),
    ("requests_", "requests a minute"),
    ("sends_per_second", "messages a second"),
    ("sends_reserve", "messages"),
    ("streams_", "streams"),
    ("webhooks_", "webhooks"),
    ("mail_targets_", "addresses"),
    ("_at_once_", "requests"),
    ("_items_", "items"),
)


def routes(access: Access, sending: Sending, limits: Limits, in_flight: BytesInFlight, room: Room) -> APIRouter:
    """The router of ingest."""
    router = APIRouter(tags=["send"])
    caller_of = Annotated[Caller, Depends(access.caller)]
    message_form, batch_form = Form.message(limits), Form.batch(limits)

    @router.post(
        "/v1/messages",
        status_code=202,
        openapi_extra=_SEND,
        responses=_ACCEPTED,
        summary="Send one message",
    )
    async def send(
        request: Request,
        response: Response,
        caller: caller_of,
        idempotency_key: Annotated[str | None, Header(include_in_schema=False)] = None,
    ) -> Submitted:
        """Hand in a message. The 202 says that it is safe and in the queue, not that it keeps the standard."""
        access.require(caller, "send")
        room.require()
        key = _idempotency_key(idempotency_key)
        access.rates.sends(caller.office)
        foresight = _Foresight(sending, caller, limits)
        async with access.rates.uploading(
            caller.office, request, message_form, in_flight, foresight=foresight
        ) as upload:
            submission = Submission(key, parse_message(upload.json), upload.files)
            with in_flight.holding(sealed_bytes([submission])):
                [result] = await sending.send(caller, [submission])
        if isinstance(result, Problem):
            raise result
        response.headers["Location"] = f"/v1/messages/{result.kept.message_id}"
        return Submitted(**_answer(result))

    @router.post(
        "/v1/batches",
        openapi_extra=multipart_body("messages", BATCH_FILE_PART, list[BatchMessage]),
        summary="Send many messages with one request",
    )
    async def send_batch(request: Request, caller: caller_of) -> BatchResults:
        """Hand in up to 200 messages. One that is refused does not stop the others."""
        access.require(caller, "send")
        room.require()
        async with access.rates.uploading(caller.office, request, batch_form, in_flight) as upload:
            messages = _batch(upload, limits)
            access.rates.sends(caller.office, len(messages))
            results = await _send_batch(sending, caller, messages, upload, limits, in_flight)
        return BatchResults(
            results=[_batch_result(message, result) for message, result in zip(messages, results, strict=True)]
        )

    @router.get("/v1/limits", summary="Every limit with its unit")
    async def read_limits() -> dict[str, Limit]:
        """The bounds that this installation sets; they need no session."""
        values = {**limits.model_dump(mode="json"), "waiting_at_once_office": limits.waiting_max(), **_FIXED}
        return {name: Limit(value=value, unit=_unit(name)) for name, value in values.items()}

    return router


def _idempotency_key(given: str | None) -> str:
    if given is None or IDEMPOTENCY_KEY.fullmatch(given) is None:
        raise Problem("TDK-IDEMPOTENCY-KEY", where=[("Idempotency-Key", "1～64文字の半角英数字と記号です。")])
    return given


def _answer(accepted: Accepted) -> dict[str, Any]:
    kept = accepted.kept
    return {
        "message_id": kept.message_id,
        "sequence": kept.sequence,
        "sender": OfficeRef(number=kept.sender, name=kept.sender_name),
        "recipient": OfficeRef(number=kept.recipient, name=kept.recipient_name),
        "submitted_at": kept.submitted_at,
        "receipt": accepted.receipt,
        "replayed": kept.replayed,
    }


def _batch(upload: Upload, limits: Limits) -> list[BatchMessage]:
    """The messages of a batch; what is wrong with the batch as a whole refuses it whole."""
    try:
        messages = _BATCH.validate_json(upload.json)
    except ValidationError as broken:
        raise problem_of_json(broken, "messages", frozenset(BatchMessage.model_fields)) from None
    if not messages:
        raise Problem("TDK-NOTHING-TO-SEND", where=[("messages", "1通も入っていません。")])
    if len(messages) > limits.batch_messages_max:
        raise Problem("TDK-BATCH-TOO-LONG", messages=limits.batch_messages_max)
    parts = [file.part for file in upload.files]
    if len(set(parts)) < len(parts):
        raise Problem("TDK-PART-TWICE", where=[("body", "同じ名前のファイルの部分があります。")])
    if unused := set(parts) - {part for message in messages for part in message.files}:
        raise Problem(
            "TDK-PART-UNKNOWN", where=[(part, "どのメッセージにも使われていません。") for part in sorted(unused)]
        )
    return messages


async def _send_batch(
    sending: Sending,
    caller: Caller,
    messages: Sequence[BatchMessage],
    upload: Upload,
    limits: Limits,
    in_flight: BytesInFlight,
) -> list[Accepted | Problem]:
    parts = {file.part: file for file in upload.files}
    results: dict[int, Accepted | Problem] = {}
    sendable: dict[int, Submission] = {}
    for place, message in enumerate(messages):
        try:
            key = _idempotency_key(message.idempotency_key)
            sendable[place] = Submission(key, message.body(), _files_of(message, parts, limits), place)
        except Problem as problem:
            results[place] = problem
    # A part may serve several messages, each of which seals it anew: what is held is the sum, not what was uploaded.
    if sum(len(file.data) for one in sendable.values() for file in one.files) > limits.batch_bytes_max:
        raise Problem("TDK-MESSAGE-TOO-LARGE", mebibytes=limits.batch_bytes_max // (1024 * 1024))
    submissions = list(sendable.values())
    with in_flight.holding(sealed_bytes(submissions)):
        sent = await sending.send(caller, submissions)
    results.update(zip(sendable, sent, strict=True))
    return [results[place] for place in range(len(messages))]


def _files_of(message: BatchMessage, parts: dict[str, UploadedFile], limits: Limits) -> tuple[UploadedFile, ...]:
    """The files of one message, within the bounds of one message."""
    if missing := [part for part in message.files if part not in parts]:
        raise Problem("TDK-PART-MISSING", where=[("files", part[:8]) for part in missing])
    if len(message.files) > limits.files_per_message_max:
        raise Problem("TDK-FILES-TOO-MANY", files=limits.files_per_message_max)
    files = tuple(parts[part] for part in message.files)
    if sum(len(file.data) for file in files) > limits.message_bytes_max:
        raise Problem("TDK-MESSAGE-TOO-LARGE", mebibytes=limits.message_bytes_max // (1024 * 1024))
    return files


def _batch_result(message: BatchMessage, result: Accepted | Problem) -> BatchTaken | BatchRefused:
    if isinstance(result, Problem):
        return BatchRefused(idempotency_key=message.idempotency_key, status=result.status, problem=result.body())
    return BatchTaken(idempotency_key=message.idempotency_key, **_answer(result))


def _unit(name: str) -> str:
    return next(unit for mark, unit in _UNITS if mark in name or name.startswith(mark))
