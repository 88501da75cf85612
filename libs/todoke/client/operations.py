"""Every operation of the client, once: both clients take their methods from here.

Each is a generator over `Core` (see there); its parameters are those of the client's method of the same name.
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypedDict, TypeVar
from uuid import UUID

from pydantic import TypeAdapter
from typing_extensions import Unpack

from todoke.client import shapes
from todoke.client.calls import getting, itself, nothing, reading, rows_of
from todoke.client.core import Answer, Ask, Call, Core, Flow, Upload, segment
from todoke.client.errors import HashMismatch
from todoke.client.session import Session

T = TypeVar("T")

DOWNLOAD_SECONDS_MAX = 300.0
"""Patience of one file or ZIP: 30 MiB over a slow line."""

_LISTED: TypeAdapter[shapes.Item | shapes.Stub] = TypeAdapter(shapes.Item | shapes.Stub)


class Filters(TypedDict, total=False):
    """Filters of the lists. `month` is YYYYMM, `since_time`/`until_time` RFC 3339 (`from`/`to` of the API)."""

    status: str
    partner: str
    month: str
    kind: str
    sequence: str
    csv_version: str
    service_type: str
    since_time: str
    until_time: str
    findings: bool
    wait_for: str
    limit: int


@dataclasses.dataclass(frozen=True, slots=True)
class Outgoing:
    """One message of a batch, with the key that makes sending it again harmless."""

    idempotency_key: str
    recipient: str | None = None
    sequence: str | None = None
    text: str | None = None
    files: tuple[Upload, ...] = ()
    allow_resend: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Paging(Generic[T]):
    """A list that is read page by page: `turn(None)` is the first page, `turn(page.next)` the one after."""

    turn: Callable[[str | None], Flow[shapes.Page[T]]]


# --- session -----------------------------------------------------------------------------------------------------


def login(core: Core, c_id: str, c_password: str, kj_id: str, kj_password: str) -> Flow[Session]:
    """Log in with both steps and keep the session, which lasts 8 hours at most.

    Raises:
        ApiError: 401 for a wrong pair, 429 while locked out (`retry_after` in seconds).
    """
    step = yield from login_person(core, c_id, c_password)
    yield from login_office(core, step.step_token, kj_id, kj_password)
    return core.logged_in()


def login_person(core: Core, c_id: str, password: str) -> Flow[shapes.Step]:
    """The first step of the login alone: who it is. The token is good for `login_office` only, for ten minutes.

    Raises:
        ApiError: 401 for a wrong pair, 429 while locked out (`retry_after` in seconds).
    """
    ask = Ask("POST", "/v1/session/system", body={"user_id": c_id, "password": password})
    return (yield from core.perform(Call(ask, reading(shapes.Step), repeatable=False, bearer="")))


def login_office(core: Core, step_token: str, kj_id: str, password: str) -> Flow[shapes.SessionAnswer]:
    """The second step of the login: for which office. Keeps the session; the answer also tells of failed logins.

    Raises:
        ApiError: 401 for a wrong pair or a step token that has ended (`TDK-STEP-EXPIRED`), 429 while locked out.
    """
    ask = Ask("POST", "/v1/session/office", body={"user_id": kj_id, "password": password})
    answer = yield from core.perform(Call(ask, reading(shapes.SessionAnswer), repeatable=False, bearer=step_token))
    core.begin(answer)
    return answer


def refresh(core: Core) -> Flow[Session]:
    """Renew the session now; every other call does so by itself. Raises `NotLoggedIn` when it has ended."""
    yield from core.renew(core.logged_in().access_token)
    return core.logged_in()


def logout(core: Core) -> Flow[None]:
    """End the session at the service and forget it. Raises `NotLoggedIn` when there is none."""
    yield from core.perform(Call(Ask("DELETE", "/v1/session"), nothing, repeatable=False))
    core.end()


def change_password(core: Core, which: shapes.Secret, old: str, new: str) -> Flow[None]:
    """Replace the password of the `person` or of the `office`.

    Raises:
        ApiError: 422 `TDK-PASSWORD-WRONG` for a wrong old one, `TDK-PASSWORD-SHORT` and the like for a new one that
            may not be used.
    """
    ask = Ask("POST", "/v1/session/password", body={"which": which, "old": old, "new": new})
    yield from core.perform(Call(ask, nothing, repeatable=False))


def sessions(core: Core) -> Flow[tuple[shapes.LoginSession, ...]]:
    """The person's open sessions, of whatever office. Raises what every call raises."""
    return (yield from core.perform(getting(shapes.Page[shapes.LoginSession], "/v1/session/list"))).items


def end_session(core: Core, session_id: UUID | str) -> Flow[None]:
    """End one of the person's sessions; it stops working everywhere within 5 seconds.

    Raises `ApiError` 404 when it is none of one's own.
    """
    yield from core.perform(Call(Ask("DELETE", f"/v1/session/{segment(session_id)}"), nothing, repeatable=True))


# --- send --------------------------------------------------------------------------------------------------------


def send(
    core: Core,
    recipient: str | None = None,
    sequence: str | None = None,
    text: str | None = None,
    files: Sequence[Upload] = (),
    idempotency_key: str | None = None,
    *,
    allow_resend: bool = False,
) -> Flow[shapes.Submission]:
    """Send a message; repeated under its key until an answer comes, so it is sent once at most.

    Args:
        core: the client's own.
        recipient: office number, ten characters; None when the names of data files say it.
        sequence: 連番, 14 digits; None when the names say it, or to have one made.
        text: up to 1,000 characters.
        files: up to 30, each up to 10 MiB, together up to 30 MiB (`limits` tells what holds).
        idempotency_key: 1 to 64 visible ASCII characters. Without one a fresh one is made: the call may then be
            repeated inside, but not by the caller.
        allow_resend: send although an earlier message with this sequence is still in use.

    Returns:
        The submission with its receipt; the judgement of the contents comes later as the message's status.

    Raises:
        ApiError: refused at once and nothing kept: 403 no licence, 409 `TDK-SEQUENCE-USED` or a recipient that does not
            take part, 413 over a limit, 422 everything else that is wrong with names or recipient.
        Unreachable: no answer came in time. It may have been sent: the same call with the same key is harmless.
    """
    key = idempotency_key or core.clock.key()
    ask = Ask(
        "POST",
        "/v1/messages",
        headers={"Idempotency-Key": key},
        parts=_message_parts(_message(recipient, sequence, text, allow_resend=allow_resend), files),
    )
    return (yield from core.perform(Call(ask, reading(shapes.Submission), repeatable=True)))


def check(
    core: Core,
    recipient: str | None = None,
    sequence: str | None = None,
    text: str | None = None,
    files: Sequence[Upload] = (),
) -> Flow[shapes.Verdict]:
    """Judge a message without keeping anything of it; parameters as for `send`.

    Raises:
        ApiError: what a `send` would be refused for at once, but for a sequence in use.
    """
    parts = _message_parts(_message(recipient, sequence, text, allow_resend=False), files)
    ask = Ask("POST", "/v1/messages/check", parts=parts)
    return (yield from core.perform(Call(ask, reading(shapes.Verdict), repeatable=True)))


def send_batch(core: Core, messages: Sequence[Outgoing]) -> Flow[tuple[shapes.BatchResult, ...]]:
    """Send up to 200 messages (60 MiB) in one request; each has its own result, in the order given.

    Raises:
        ApiError: the request as a whole is refused: 400 or 422 malformed, 413 over a limit, 429 over the office's rate.
    """
    described: list[dict[str, Any]] = []
    parts: list[tuple[str, str | None, bytes, str]] = []
    for message in messages:
        fields = [f"f{len(parts) + n}" for n in range(1, len(message.files) + 1)]
        parts += [
            (field, file.name, file.content, "application/octet-stream")
            for field, file in zip(fields, message.files, strict=True)
        ]
        told = _message(message.recipient, message.sequence, message.text, allow_resend=message.allow_resend)
        described.append({**told, "idempotency_key": message.idempotency_key, "files": fields})
    head = ("messages", None, json.dumps(described, ensure_ascii=False).encode(), "application/json")
    ask = Ask("POST", "/v1/batches", parts=(head, *parts))
    return (yield from core.perform(Call(ask, _batch_results, repeatable=True)))


# --- lists and messages ------------------------------------------------------------------------------------------


def sent(core: Core, cursor: str | None = None, **filters: Unpack[Filters]) -> Flow[shapes.Page[shapes.Item]]:
    """One page of what the office has sent, newest first; `cursor` is the `next` of the page before.

    Raises `ApiError` 422 for a filter or cursor that is none.
    """
    return (yield from core.perform_list(_list("/v1/sent", cursor, filters)))


def received(core: Core, cursor: str | None = None, **filters: Unpack[Filters]) -> Flow[shapes.Page[shapes.Item]]:
    """One page of what the office has received, newest first; `cursor` is the `next` of the page before.

    Raises `ApiError` 422 for a filter or cursor that is none.
    """
    return (yield from core.perform_list(_list("/v1/received", cursor, filters)))


def each_sent(core: Core, **filters: Unpack[Filters]) -> Paging[shapes.Item]:
    """Everything that the office has sent, newest first, page after page."""
    return Paging(lambda cursor: core.perform_list(_list("/v1/sent", cursor, filters)))


def each_received(core: Core, **filters: Unpack[Filters]) -> Paging[shapes.Item]:
    """Everything that the office has received, newest first, page after page."""
    return Paging(lambda cursor: core.perform_list(_list("/v1/received", cursor, filters)))


def received_since(core: Core, since: int, limit: int = 50) -> Flow[tuple[shapes.Item | shapes.Stub, ...]]:
    """What came after delivery number `since`, ascending and without a gap; empty when nothing did.

    A `Stub` stands for a message that was recalled, has expired or was erased. `limit` is 1 to 200.
    """
    ask = Ask("GET", "/v1/received", params={"since": since, "limit": limit})
    return (yield from core.perform_list(Call(ask, _since, repeatable=True)))


def each_received_since(core: Core, since: int = 0, limit: int = 200) -> Paging[shapes.Item | shapes.Stub]:
    """Everything after delivery number `since`, until nothing more is there yet."""

    def turn(cursor: str | None) -> Flow[shapes.Page[shapes.Item | shapes.Stub]]:
        items = yield from received_since(core, since if cursor is None else int(cursor), limit)
        return shapes.Page[shapes.Item | shapes.Stub](items=items, next=str(items[-1].delivery_no) if items else None)

    return Paging(turn)


def search(
    core: Core, box: shapes.Box, text: str, cursor: str | None = None, **filters: Unpack[Filters]
) -> Flow[shapes.Page[shapes.Item]]:
    """One page of a search over office names and numbers, texts and file names.

    At most 5,000 messages are looked through per call: a page may be empty and still have a `next`.
    """
    body = {**_params(filters), "box": box, "text": text, "cursor": cursor}
    ask = Ask("POST", "/v1/search", body={name: value for name, value in body.items() if value is not None})
    return (yield from core.perform(Call(ask, reading(shapes.Page[shapes.Item]), repeatable=True)))


def message(core: Core, message_id: UUID | str) -> Flow[shapes.Message]:
    """One message with its timeline. Raises `ApiError` 404 when it is not there or not ours."""
    return (yield from core.perform(getting(shapes.Message, f"/v1/messages/{segment(message_id)}")))


def findings(core: Core, message_id: UUID | str) -> Flow[shapes.Verdict]:
    """What was found in a message's files: at most 200 findings, and the counts of all. Raises `ApiError` 404."""
    return (yield from core.perform(getting(shapes.Verdict, f"/v1/messages/{segment(message_id)}/findings")))


def accesses(core: Core, message_id: UUID | str) -> Flow[tuple[shapes.Access, ...]]:
    """Who fetched a message, and when (UTC); users of the own side only. Raises `ApiError` 404."""
    path = f"/v1/messages/{segment(message_id)}/accesses"
    return (yield from core.perform(getting(shapes.Page[shapes.Access], path))).items


def evidence(core: Core, message_id: UUID | str) -> Flow[Any]:
    """The record of delivery (送達記録) as a JSON object: events, hashes, receipts. Raises `ApiError` 404."""
    ask = Ask("GET", f"/v1/messages/{segment(message_id)}/evidence", headers={"Accept": "application/json"})
    return (yield from core.perform(Call(ask, Answer.document, repeatable=True)))


def counts(core: Core) -> Flow[shapes.Counts]:
    """How many messages there are per status, in each list."""
    return (yield from core.perform(getting(shapes.Counts, "/v1/counts")))


def changes(core: Core, limit: int = 50) -> Flow[tuple[shapes.Change, ...]]:
    """The office's last changes, newest first; `limit` is 1 to 200."""
    call = getting(shapes.Page[shapes.Change], "/v1/changes", {"limit": limit})
    return (yield from core.perform(call)).items


# --- fetch, receipt, recall --------------------------------------------------------------------------------------


def fetch_file(core: Core, message_id: UUID | str, n: int, sha256: str | None = None) -> Flow[bytes]:
    """The very bytes of the n-th file; with `sha256` (from the list) they are compared.

    Raises:
        HashMismatch: other bytes arrived than the service or the list says.
        ApiError: 404 not there or not ours, 410 recalled, expired or erased.
    """
    ask = Ask("GET", f"/v1/messages/{segment(message_id)}/files/{n}", headers={"Accept-Encoding": "identity"})
    answer = yield from core.perform(Call(ask, itself, repeatable=True, seconds=DOWNLOAD_SECONDS_MAX))
    said = sha256 or answer.headers.get("etag", "").removeprefix("W/").strip('"')
    if said != hashlib.sha256(answer.body).hexdigest():
        raise HashMismatch(f"file {n} of {message_id}")
    return answer.body


def fetch_zip(core: Core, message_id: UUID | str) -> Flow[bytes]:
    """All files of a message as one ZIP, under the names they were sent with.

    Raises `ApiError` 404 not there or not ours, 410 recalled, expired or erased.
    """
    ask = Ask("GET", f"/v1/messages/{segment(message_id)}/zip", headers={"Accept-Encoding": "identity"})
    answer = yield from core.perform(Call(ask, itself, repeatable=True, seconds=DOWNLOAD_SECONDS_MAX))
    return answer.body


def receipt(core: Core, message_id: UUID | str, sha256: Sequence[str]) -> Flow[shapes.ReceiptAnswer]:
    """Confirm that every file is safe here (済): the hashes in the order of the message's files.

    Raises `ApiError` 409 for wrong hashes and for a message that is recalled, expired or erased.
    """
    ask = Ask("POST", f"/v1/messages/{segment(message_id)}/receipt", body={"sha256": list(sha256)})
    return (yield from core.perform(Call(ask, reading(shapes.ReceiptAnswer), repeatable=True)))


def recall(core: Core, message_id: UUID | str, reason: str) -> Flow[shapes.RecallAnswer]:
    """Take a message back (取消) before it is 済; `reason` has 1 to 200 characters and is shown to the own side only.

    Returns:
        `recalled` with the moment at which the recipient had opened the content, if it had; `recall_requested` while
        the message has not arrived: it takes effect on arrival.

    Raises:
        ApiError: 409 `TDK-ALREADY-DOWNLOADED` and other ends, 404 not there or not ours.
    """
    ask = Ask("POST", f"/v1/messages/{segment(message_id)}/recall", body={"reason": reason})
    return (yield from core.perform(Call(ask, reading(shapes.RecallAnswer), repeatable=True)))


# --- pieces ------------------------------------------------------------------------------------------------------

_NAMES = {"since_time": "from", "until_time": "to"}


def _list(path: str, cursor: str | None, filters: Filters) -> Call[shapes.Page[shapes.Item]]:
    params = _params(filters)
    if cursor is not None:
        params["cursor"] = cursor
    return getting(shapes.Page[shapes.Item], path, params)


def _params(filters: Filters) -> dict[str, str | int]:
    found: dict[str, str | int] = {}
    for name, value in filters.items():
        if isinstance(value, bool):
            found[name] = "true" if value else "false"
        elif isinstance(value, str | int):
            found[_NAMES.get(name, name)] = value
    return found


def _message(
    recipient: str | None, sequence: str | None, text: str | None, *, allow_resend: bool
) -> dict[str, str | bool | None]:
    return {"recipient": recipient, "sequence": sequence, "text": text, "allow_resend": allow_resend}


def _message_parts(
    message: Mapping[str, Any], files: Sequence[Upload]
) -> tuple[tuple[str, str | None, bytes, str], ...]:
    head = ("message", None, json.dumps(message, ensure_ascii=False).encode(), "application/json")
    return (head, *(("files", file.name, file.content, "application/octet-stream") for file in files))


def _since(answer: Answer) -> tuple[shapes.Item | shapes.Stub, ...]:
    return tuple(_LISTED.validate_python(item) for item in rows_of(answer, "items"))


def _batch_results(answer: Answer) -> tuple[shapes.BatchResult, ...]:
    return tuple(_batch_result(result) for result in rows_of(answer, "results"))


def _batch_result(result: Mapping[str, Any]) -> shapes.BatchResult:
    submitted = shapes.Submission.model_validate(result) if "message_id" in result else None
    return shapes.BatchResult.model_validate({**result, "submission": submitted})
