"""Operations of operators, on their own listener: offices, letters, applications, notices. See `operations`.

Each takes the operator's token; a client made for the listener's address carries them out.
"""

import json
from collections.abc import Mapping
from datetime import date
from typing import Any
from uuid import UUID

from todoke.client import ops_shapes as shapes
from todoke.client.calls import itself, nothing, reading
from todoke.client.core import Ask, Call, Core, Flow, segment
from todoke.client.shapes import ShapeT

OFFICES = "/v1/operator/offices"
APPLICATIONS = "/v1/operator/applications"
NOTICES = "/v1/operator/notices"


def operator_login(core: Core, user_id: str, password: str, totp: str) -> Flow[shapes.OperatorToken]:
    """Log in; the token is the caller's to keep. Raises `ApiError` 401, 429 while locked out."""
    body = {"user_id": user_id, "password": password, "totp": totp}
    ask = Ask("POST", "/v1/operator/session", body=body)
    return (yield from core.perform(Call(ask, reading(shapes.OperatorToken), repeatable=False, bearer="")))


def operator_logout(core: Core, token: str) -> Flow[None]:
    """End the session."""
    yield from core.perform(Call(Ask("DELETE", "/v1/operator/session"), nothing, repeatable=True, bearer=token))


def operator_offices(core: Core, /, token: str, **filters: str | int | None) -> Flow[shapes.Paged[shapes.ListedOffice]]:
    """Offices by number.

    Filters: `q`, `service_type`, `participation`, `licence_until_from`, `licence_until_before`, `limit`, `cursor`.
    """
    return (yield from _get(core, token, shapes.Paged[shapes.ListedOffice], OFFICES, filters))


def operator_office(core: Core, token: str, number: str) -> Flow[shapes.OfficePage]:
    """Everything about one office that operators may know. Raises `ApiError` 404."""
    return (yield from _get(core, token, shapes.OfficePage, f"{OFFICES}/{segment(number)}"))


def operator_prefectures(core: Core, token: str) -> Flow[tuple[str, ...]]:
    """The names of the prefectures that offices are in, by code."""
    return (yield from _get(core, token, shapes.Prefectures, "/v1/operator/prefectures")).items


def register_office(core: Core, token: str, office: shapes.NewOffice, word: shapes.Word) -> Flow[shapes.Registered]:
    """Register one office. Raises `ApiError` 409 `TDK-OFFICE-THERE`, 422 `TDK-OFFICE-NUMBER`."""
    body = {**office.model_dump(mode="json"), **word.model_dump()}
    return (yield from _post(core, token, shapes.Registered, OFFICES, body))


def change_office(
    core: Core, token: str, number: str, facts: Mapping[str, Any], word: shapes.Word
) -> Flow[shapes.OfficeChanged]:
    """Other facts of an office, by the members of `NewOffice`. Raises `ApiError` 404."""
    ask = Ask("PATCH", f"{OFFICES}/{segment(number)}", body={**facts, **word.model_dump()})
    return (yield from core.perform(Call(ask, reading(shapes.OfficeChanged), repeatable=False, bearer=token)))


def suspend_office(core: Core, token: str, number: str, word: shapes.Word) -> Flow[shapes.OfficeChanged]:
    """The office takes no part for the time being. Raises `ApiError` 404."""
    path = f"{OFFICES}/{segment(number)}/suspend"
    return (yield from _post(core, token, shapes.OfficeChanged, path, word.model_dump()))


def resume_office(core: Core, token: str, number: str, word: shapes.Word) -> Flow[shapes.OfficeChanged]:
    """The office takes part again. Raises `ApiError` 404."""
    path = f"{OFFICES}/{segment(number)}/resume"
    return (yield from _post(core, token, shapes.OfficeChanged, path, word.model_dump()))


def make_letter(core: Core, token: str, number: str, word: shapes.Word, issued_on: date | None = None) -> Flow[bytes]:
    """New secrets of the office and the PDF that tells them, this once; earlier ones work no more.

    Raises `ApiError` 404, 409 `TDK-LETTER-THERE` when another one was made at the same time.
    """
    day = None if issued_on is None else issued_on.isoformat()
    ask = Ask("POST", f"{OFFICES}/{segment(number)}/letter", body={**word.model_dump(), "issued_on": day})
    return (yield from core.perform(Call(ask, itself, repeatable=False, bearer=token))).body


def import_call(
    token: str, word: shapes.Word, import_id: UUID, *, dry_run: bool
) -> tuple[Call[shapes.ImportReport], bytes, bytes]:
    """The call that takes a list of offices, and what stands before and behind the list in its body (RFC 7578)."""
    boundary = import_id.hex
    act = json.dumps({**word.model_dump(), "dry_run": dry_run, "import_id": str(import_id)})
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}", "Authorization": f"Bearer {token}"}
    before = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="act"\r\nContent-Type: application/json\r\n\r\n{act}\r\n'
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="list.csv"\r\n'
        "Content-Type: text/csv\r\n\r\n"
    )
    ask = Ask("POST", f"{OFFICES}/import", headers=headers)
    call = Call(ask, reading(shapes.ImportReport), repeatable=False)
    return call, before.encode(), f"\r\n--{boundary}--\r\n".encode()


def operator_applications(
    core: Core, /, token: str, **filters: str | int | None
) -> Flow[shapes.Paged[shapes.ReceivedApplication]]:
    """Applications, the oldest first. Filters: `state`, `limit`, `cursor`."""
    return (yield from _get(core, token, shapes.Paged[shapes.ReceivedApplication], APPLICATIONS, filters))


def approve_application(
    core: Core, token: str, application: UUID, word: shapes.Word
) -> Flow[shapes.ReceivedApplication]:
    """The office is licensed and has a c-ID. Raises `ApiError` 409 `TDK-APPLICATION-DECIDED`, `TDK-NO-CREDENTIAL`."""
    path = f"{APPLICATIONS}/{application}/approve"
    return (yield from _post(core, token, shapes.ReceivedApplication, path, word.model_dump()))


def refuse_application(
    core: Core, token: str, application: UUID, answer: str, word: shapes.Word
) -> Flow[shapes.ReceivedApplication]:
    """No licence; the office reads `answer`. Raises `ApiError` 409 `TDK-APPLICATION-DECIDED`."""
    path = f"{APPLICATIONS}/{application}/refuse"
    return (yield from _post(core, token, shapes.ReceivedApplication, path, {**word.model_dump(), "answer": answer}))


def operator_notices(core: Core, /, token: str, **filters: str | int | None) -> Flow[shapes.Paged[shapes.MadeNotice]]:
    """Every notice, the newest first, future and withdrawn ones too. Filters: `limit`, `cursor`."""
    return (yield from _get(core, token, shapes.Paged[shapes.MadeNotice], NOTICES, filters))


def operator_notice(core: Core, token: str, notice: UUID) -> Flow[shapes.MadeNotice]:
    """One notice. Raises `ApiError` 404."""
    return (yield from _get(core, token, shapes.MadeNotice, f"{NOTICES}/{notice}"))


def publish_notice(core: Core, token: str, notice: shapes.NewNotice, word: shapes.Word) -> Flow[shapes.MadeNotice]:
    """Publish a notice, at once or at its time; under an `id` of its own once only. Raises `ApiError` 422."""
    body = {**notice.model_dump(mode="json"), **word.model_dump()}
    return (yield from _post(core, token, shapes.MadeNotice, NOTICES, body))


def withdraw_notice(core: Core, token: str, notice: UUID, word: shapes.Word) -> Flow[shapes.MadeNotice]:
    """Nobody reads it any more. Raises `ApiError` 404, 409 `TDK-NOTICE-WITHDRAWN`."""
    path = f"{NOTICES}/{notice}/withdraw"
    return (yield from _post(core, token, shapes.MadeNotice, path, word.model_dump()))


def _get(
    core: Core, token: str, shape: type[ShapeT], path: str, filters: Mapping[str, str | int | None] | None = None
) -> Flow[ShapeT]:
    given = {name: value for name, value in (filters or {}).items() if value is not None}
    ask = Ask("GET", path, params=given)
    return (yield from core.perform(Call(ask, reading(shape), repeatable=True, bearer=token)))


def _post(core: Core, token: str, shape: type[ShapeT], path: str, body: Mapping[str, Any]) -> Flow[ShapeT]:
    return (yield from core.perform(Call(Ask("POST", path, body=body), reading(shape), repeatable=False, bearer=token)))
