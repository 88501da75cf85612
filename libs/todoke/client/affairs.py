"""Operations about offices, limits, keys and notifications: everything that is no message. See `operations`."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from todoke.client import shapes
from todoke.client.calls import getting, nothing, reading
from todoke.client.core import Answer, Ask, Call, Core, Flow, segment


def office(core: Core, number: str) -> Flow[shapes.Office]:
    """An office of the directory by its number (ten characters). Raises `ApiError` 404."""
    return (yield from core.perform(getting(shapes.Office, f"/v1/offices/{segment(number)}")))


def offices(core: Core, q: str, limit: int = 50, cursor: str | None = None) -> Flow[shapes.Page[shapes.Office]]:
    """One page of the directory: offices whose name or number holds `q`; `limit` is 1 to 200."""
    params: dict[str, str | int] = {"q": q, "limit": limit}
    if cursor is not None:
        params["cursor"] = cursor
    return (yield from core.perform(getting(shapes.Page[shapes.Office], "/v1/offices", params)))


def limits(core: Core) -> Flow[shapes.Limits]:
    """Every limit of the service, by name, with its unit."""
    return (yield from core.perform(getting(shapes.Limits, "/v1/limits")))


def status(core: Core) -> Flow[shapes.SystemStatus]:
    """How the whole system is: `normal`, `slow` or `down`, and a sentence in Japanese."""
    return (yield from core.perform(getting(shapes.SystemStatus, "/v1/status")))


def jwks(core: Core) -> Flow[Mapping[str, Any]]:
    """The public keys of receipts as a JWK set (RFC 7517); keep it to verify receipts offline. Needs no session."""
    ask = Ask("GET", "/.well-known/jwks.json")
    return (yield from core.perform(Call(ask, Answer.document, repeatable=True, bearer="")))


def notifications(core: Core, scope: str = "own") -> Flow[shapes.NotificationSettings]:
    """Who is told by mail: one's `own` settings or the `office`'s."""
    return (yield from core.perform(getting(shapes.NotificationSettings, f"/v1/notifications/{segment(scope)}")))


def set_notifications(
    core: Core, settings: shapes.NotificationSettings, scope: str = "own"
) -> Flow[shapes.NotificationSettings]:
    """Replace the settings of `own` or `office`.

    Raises `ApiError` 403 when the office's need an administrator, 422 for an address that is none.
    """
    ask = Ask("PUT", f"/v1/notifications/{segment(scope)}", body=settings.model_dump(mode="json"))
    return (yield from core.perform(Call(ask, reading(shapes.NotificationSettings), repeatable=True)))


def add_webhook(core: Core, url: str, events: Sequence[str]) -> Flow[shapes.NewWebhook]:
    """Make a webhook; the secret in the answer is shown this once.

    Raises `ApiError` 422 `TDK-WEBHOOK-URL`, 409 for one that is there already or too many.
    """
    ask = Ask("POST", "/v1/notifications/webhooks", body={"url": url, "events": list(events)})
    return (yield from core.perform(Call(ask, reading(shapes.NewWebhook), repeatable=False)))


def webhooks(core: Core) -> Flow[tuple[shapes.Webhook, ...]]:
    """All webhooks of the office. Raises `ApiError` 403 for who may not see them."""
    return (yield from core.perform(getting(shapes.Page[shapes.Webhook], "/v1/notifications/webhooks"))).items


def test_notifications(core: Core) -> Flow[shapes.Tested]:
    """Send a test to one's mail addresses and, for an administrator, to the office's and its webhooks."""
    return (
        yield from core.perform(Call(Ask("POST", "/v1/notifications/test"), reading(shapes.Tested), repeatable=False))
    )


def webhook(core: Core, webhook_id: UUID | str) -> Flow[shapes.Webhook]:
    """A webhook with its last ten results. Raises `ApiError` 404."""
    return (yield from core.perform(getting(shapes.Webhook, f"/v1/notifications/webhooks/{segment(webhook_id)}")))


def remove_webhook(core: Core, webhook_id: UUID | str) -> Flow[None]:
    """End a webhook. Raises `ApiError` 404."""
    ask = Ask("DELETE", f"/v1/notifications/webhooks/{segment(webhook_id)}")
    yield from core.perform(Call(ask, nothing, repeatable=True))
