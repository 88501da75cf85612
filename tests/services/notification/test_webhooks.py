"""Webhooks: signed so that a receiver can believe them, repeated until they arrive, and never sent inside."""

import json
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from services.notification import calling
from todoke.relay.testing import Stage

OWN = "9970100018"
PARTNER = "9970100117"


async def add(stage: Stage, url: str, events: list[str] | None = None) -> Any:
    """Make a webhook; answers the response."""
    body = {"url": url, "events": events or ["delivered", "rejected"]}
    async with stage.client() as client:
        return await client.post("/v1/notifications/webhooks", json=body, headers=stage.token(OWN))


async def results(stage: Stage, webhook_id: str) -> Any:
    """The last results of a webhook."""
    async with stage.client() as client:
        answer = await client.get(f"/v1/notifications/webhooks/{webhook_id}", headers=stage.token(OWN))
    return answer.json()["results"]


async def test_a_call_is_signed_as_the_public_library_verifies_it(
    notification: Any, teller: Any, tick: Any, receiver: Any
) -> None:
    made = (await add(notification, receiver.url)).json()
    event = teller.delivered()
    await notification.hear(event)
    await tick("webhooks")
    [(headers, body)] = receiver.calls
    assert made["secret"].startswith("whsec_")
    document = Webhook(made["secret"]).verify(body, headers)
    assert document["type"] == "message.delivered"
    assert document["data"] == {"office": OWN, "message_id": str(event.message_id), "delivery_no": 1}
    with pytest.raises(WebhookVerificationError):
        Webhook(made["secret"]).verify(body.replace(b"delivered", b"rejected_"), headers)
    [result] = await results(notification, made["id"])
    assert (result["ok"], result["status"], result["final"]) == (True, 204, True)


async def test_a_failed_call_is_repeated_with_the_same_id_and_a_new_timestamp(
    notification: Any, teller: Any, tick: Any, pass_time: Any, receiver: Any
) -> None:
    made = (await add(notification, receiver.url)).json()
    receiver.status = 500
    await notification.hear(teller.delivered())
    await tick("webhooks")
    await tick("webhooks")
    assert len(receiver.calls) == 1
    receiver.status = 200
    pass_time(minutes=2)
    await tick("webhooks")
    await tick("webhooks")
    first, second = (headers for headers, _ in receiver.calls)
    assert first["webhook-id"] == second["webhook-id"]
    assert first["webhook-timestamp"] != second["webhook-timestamp"]
    assert [result["ok"] for result in await results(notification, made["id"])] == [True, False]


async def test_a_receiver_that_never_answers_well_is_given_up_after_days_and_the_last_ten_results_stay(
    notification: Any, teller: Any, tick: Any, pass_time: Any, receiver: Any
) -> None:
    made = (await add(notification, receiver.url)).json()
    receiver.status = 503
    await notification.hear(teller.delivered())
    for _ in range(14):
        await tick("webhooks")
        pass_time(hours=30)
    assert len(receiver.calls) == 11
    shown = await results(notification, made["id"])
    assert [result["final"] for result in shown] == [True, *[False] * 9]


async def test_gone_is_taken_at_its_word(
    notification: Any, teller: Any, tick: Any, pass_time: Any, receiver: Any
) -> None:
    await add(notification, receiver.url)
    receiver.status = 410
    await notification.hear(teller.delivered())
    await tick("webhooks")
    pass_time(days=1)
    await tick("webhooks")
    assert len(receiver.calls) == 1


async def test_a_crash_between_call_and_mark_repeats_the_call_with_its_id(
    notification: Any, teller: Any, tick: Any, pass_time: Any, receiver: Any, crash_at: Any
) -> None:
    await add(notification, receiver.url)
    await notification.hear(teller.delivered())
    with pytest.raises(crash_at("notification.webhook.after-send")):
        await tick("webhooks")
    pass_time(minutes=2)
    await tick("webhooks")
    assert len({headers["webhook-id"] for headers, _ in receiver.calls}) == 1
    assert len(receiver.calls) == 2
    assert receiver.calls[0][1] == receiver.calls[1][1]


async def test_redirects_are_not_followed(notification: Any, teller: Any, tick: Any, receiver: Any) -> None:
    made = (await add(notification, receiver.url)).json()
    receiver.status, receiver.headers = 302, {"Location": receiver.url.replace("/hook", "/elsewhere")}
    await notification.hear(teller.delivered())
    await tick("webhooks")
    assert len(receiver.calls) == 1
    [result] = await results(notification, made["id"])
    assert (result["ok"], result["status"]) == (False, 302)


async def test_a_slow_receiver_times_out_and_does_not_stop_the_others(
    notification: Any, teller: Any, tick: Any, receiver: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calling, "CALL_SECONDS_MAX", 0.2)
    receiver.pause = 1
    made = (await add(notification, receiver.url)).json()
    other = (await add(notification, receiver.url.replace("127.0.0.1", "localhost"))).json()
    receiver.pause = 1
    await notification.hear(teller.delivered())
    await tick("webhooks")
    assert [result["error"] for result in await results(notification, made["id"])] == ["timeout"]
    assert [result["error"] for result in await results(notification, other["id"])] == ["timeout"]


async def test_addresses_inside_are_refused_when_made_and_again_when_called(
    notification: Any, shared: Any, on_stage: Any, teller: Any, receiver: Any
) -> None:
    made = (await add(notification, receiver.url)).json()  # made while practice allowed it
    shared.settings = shared.settings.model_copy(update={"webhooks_to_private_addresses": False})
    strict = await on_stage("notification")
    for url in (
        receiver.url,
        "https://127.0.0.1/x",
        "https://10.0.0.8/x",
        "https://[::1]/x",
        "https://[::ffff:169.254.169.254]/x",
        "https://[64:ff9b::a00:1]/x",
        "https://localhost/x",
        "https://printer.local/x",
        "http://example.com/x",
        "https://user:pass@example.com/x",
        "ftp://example.com/x",
        "https://example.com:0/x",
    ):
        refused = await add(strict, url)
        assert (refused.status_code, refused.json()["code"]) == (422, "TDK-WEBHOOK-URL"), url
    await strict.hear(teller.delivered())
    await next(timer for timer in strict.service.timers if timer.name.endswith("webhooks")).run()
    assert receiver.calls == []
    [result] = await results(strict, made["id"])
    assert result["error"] == "address_not_allowed"


async def test_a_name_that_leads_inside_is_refused_at_the_call() -> None:
    with pytest.raises(calling.NoDestination):
        await calling.destinations("localhost", 443, private=False)
    assert await calling.destinations("localhost", 443, private=True)


async def test_another_office_sees_and_ends_nothing(notification: Any, receiver: Any) -> None:
    made = (await add(notification, receiver.url)).json()
    path = f"/v1/notifications/webhooks/{made['id']}"
    async with notification.client() as client:
        stranger = notification.token(PARTNER)
        assert (await client.get(path, headers=stranger)).status_code == 404
        assert (await client.delete(path, headers=stranger)).status_code == 404
        assert (await client.get("/v1/notifications/webhooks", headers=stranger)).json() == {"items": []}
        own = notification.token(OWN)
        shown = (await client.get(path, headers=own)).json()
        assert (shown["url"], shown["events"], shown["results"]) == (receiver.url, ["delivered", "rejected"], [])
        assert "secret" not in shown
        assert (await client.delete(path, headers=own)).status_code == 204
        assert (await client.get(path, headers=own)).status_code == 404


async def test_the_secret_lies_sealed(notification: Any, receiver: Any) -> None:
    made = (await add(notification, receiver.url)).json()
    async with notification.db.connection() as db:
        [row] = await db.fetch("SELECT target::text AS row FROM target")
    for plain in (made["secret"], made["secret"].encode().hex(), receiver.url, receiver.url.encode().hex()):
        assert plain not in row["row"]


async def test_the_same_address_twice_and_too_many_are_refused(notification: Any, receiver: Any) -> None:
    assert (await add(notification, receiver.url)).status_code == 201
    assert (await add(notification, receiver.url)).json()["code"] == "TDK-WEBHOOK-TWICE"
    for n in range(9):
        assert (await add(notification, f"{receiver.url}/{n}")).status_code == 201
    assert (await add(notification, f"{receiver.url}/9")).json()["code"] == "TDK-WEBHOOKS-TOO-MANY"


async def test_a_test_call_goes_out(notification: Any, tick: Any, receiver: Any) -> None:
    await add(notification, receiver.url)
    async with notification.client() as client:
        answer = await client.post("/v1/notifications/test", headers=notification.token(OWN))
    assert answer.json() == {"mail": 0, "webhooks": 1}
    await tick("webhooks")
    [(_, body)] = receiver.calls
    assert json.loads(body)["type"] == "message.test"


async def test_what_ended_long_ago_is_forgotten_and_what_waits_stays(
    notification: Any, teller: Any, tick: Any, pass_time: Any, receiver: Any
) -> None:
    await add(notification, receiver.url)
    await notification.hear(teller.delivered())
    await tick("webhooks")
    await notification.hear(teller.rejected())
    pass_time(days=15)
    await tick("tidy")
    async with notification.db.connection() as db:
        rows = await db.fetch("SELECT event FROM delivery_queue")
    assert [row["event"] for row in rows] == ["rejected"]
