"""Operations about one's own office: licence, application, persons, notices. See `operations`."""

from collections.abc import Sequence
from uuid import UUID

from todoke.client import office_shapes as shapes
from todoke.client.calls import getting, nothing, reading
from todoke.client.core import Ask, Call, Core, Flow, segment
from todoke.client.shapes import Page, SessionAnswer


def login_usage(core: Core, kj_id: str, password: str) -> Flow[SessionAnswer]:
    """Log in as the office itself (利用状況Webサイト): good for its own affairs only.

    Raises `ApiError` 401 for a wrong pair, 429 while locked out (`retry_after` in seconds).
    """
    ask = Ask("POST", "/v1/session/usage", body={"user_id": kj_id, "password": password})
    answer = yield from core.perform(Call(ask, reading(SessionAnswer), repeatable=False, bearer=""))
    core.begin(answer)
    return answer


def own_office(core: Core) -> Flow[shapes.OwnOffice]:
    """One's own office: facts, licence, application, certificate and password dates."""
    return (yield from core.perform(getting(shapes.OwnOffice, "/v1/office")))


def apply_for_licence(
    core: Core, kind: shapes.ApplicationKind, contact_name: str, mail: str, *, auto_renew: bool = True
) -> Flow[shapes.Application]:
    """Apply for a licence (`new`: an operator decides), or for its renewal, which is done at once.

    Raises `ApiError` 409 `TDK-APPLICATION-THERE`, `TDK-RENEWAL-EARLY`, `TDK-RENEWAL-LATE`, `TDK-LICENCE-NEEDED`.
    """
    body = {"kind": kind, "contact_name": contact_name, "mail": mail, "auto_renew": auto_renew}
    ask = Ask("POST", "/v1/office/application", body=body)
    return (yield from core.perform(Call(ask, reading(shapes.Application), repeatable=False)))


def renew_licence(core: Core) -> Flow[shapes.Licence]:
    """A year more. Raises `ApiError` 409 `TDK-RENEWAL-EARLY`, `TDK-RENEWAL-LATE`, `TDK-LICENCE-NEEDED`."""
    ask = Ask("POST", "/v1/office/renewal", body={})
    return (yield from core.perform(Call(ask, reading(shapes.Licence), repeatable=False)))


def set_auto_renewal(core: Core, *, renews: bool) -> Flow[shapes.Licence]:
    """Stop the automatic renewal, or let it go on. Raises `ApiError` 409 when there is no licence, or it has ended."""
    ask = Ask("POST", "/v1/office/auto_renew", body={"renews": renews})
    return (yield from core.perform(Call(ask, reading(shapes.Licence), repeatable=True)))


def make_person_password(core: Core, kj_password: str) -> Flow[shapes.PersonPassword]:
    """A first password for the office's c-ID, shown this once; its sessions end.

    Raises `ApiError` 422 `TDK-PASSWORD-WRONG`, 409 `TDK-NO-C-ID`, `TDK-PASSWORD-MADE` when another one was made at
    the same time, 429 while locked out.
    """
    ask = Ask("POST", "/v1/office/person_password", body={"password": kj_password})
    return (yield from core.perform(Call(ask, reading(shapes.PersonPassword), repeatable=False)))


def users(core: Core) -> Flow[tuple[shapes.User, ...]]:
    """The persons of the office."""
    return (yield from core.perform(getting(shapes.UserList, "/v1/office/users"))).items


def add_user(
    core: Core, name: str, roles: Sequence[shapes.Role], user_id: str | None = None
) -> Flow[shapes.IssuedUser]:
    """A new person with a first password; with `user_id` one of another office, whose name must fit.

    Raises `ApiError` 404 `TDK-NO-USER`, 409 `TDK-USER-THERE`, 403 for who is no administrator.
    """
    body = {"name": name, "roles": list(roles), "user_id": user_id}
    ask = Ask("POST", "/v1/office/users", body=body)
    return (yield from core.perform(Call(ask, reading(shapes.IssuedUser), repeatable=False)))


def change_user(
    core: Core,
    user_id: str,
    *,
    roles: Sequence[shapes.Role] | None = None,
    state: str | None = None,
    name: str | None = None,
    new_password: bool = False,
    end_sessions: bool = False,
) -> Flow[shapes.IssuedUser]:
    """Change a person of the office; what is None stays. Their sessions at this office end with a change.

    Raises `ApiError` 404 `TDK-NO-USER`, 409 `TDK-LAST-ADMIN`, `TDK-USER-SHARED`.
    """
    body = {
        "roles": None if roles is None else list(roles),
        "state": state,
        "name": name,
        "new_password": new_password,
        "end_sessions": end_sessions,
    }
    ask = Ask("PATCH", f"/v1/office/users/{segment(user_id)}", body=body)
    return (yield from core.perform(Call(ask, reading(shapes.IssuedUser), repeatable=False)))


def notices(core: Core, limit: int = 50, cursor: str | None = None) -> Flow[Page[shapes.ListedNotice]]:
    """One page of what operators tell the office, the newest first; `limit` is 1 to 200."""
    params: dict[str, str | int] = {"limit": limit}
    if cursor is not None:
        params["cursor"] = cursor
    return (yield from core.perform(getting(Page[shapes.ListedNotice], "/v1/notices", params)))


def notice(core: Core, notice_id: UUID | str) -> Flow[shapes.Notice]:
    """One notice with its text. Raises `ApiError` 404."""
    return (yield from core.perform(getting(shapes.Notice, f"/v1/notices/{segment(notice_id)}")))


def mark_notice_read(core: Core, notice_id: UUID | str) -> Flow[None]:
    """This person has read it. Raises `ApiError` 404."""
    ask = Ask("POST", f"/v1/notices/{segment(notice_id)}/read")
    yield from core.perform(Call(ask, nothing, repeatable=True))
