"""Mail: who is told what, in which words, how often, and what happens when the mail server or we fail."""

import dataclasses
from datetime import timedelta
from typing import Any

import pytest

from todoke.events import Actor, Downloaded, UserChanged
from todoke.relay.testing import heard

OWN = "9970100018"
PARTNER = "9970100117"
ALL = ["delivered", "downloaded", "rejected", "undeliverable", "recalled", "expired", "reminder"]


async def subscribe(stage: Any, owner: str = "own", events: list[str] | None = None, **more: Any) -> Any:
    """Set one mail address; answers the response."""
    body = {"mail": [{"address": "tanto@example.jp", "events": events or ALL}], **more}
    async with stage.client() as client:
        return await client.put(f"/v1/notifications/{owner}", json=body, headers=stage.token(OWN))


async def test_an_arrival_becomes_one_mail_without_personal_data(
    notification: Any, teller: Any, tick: Any, pass_time: Any, postbox: Any
) -> None:
    assert (await subscribe(notification)).status_code == 200
    await notification.hear(*[teller.delivered() for _ in range(3)])
    await tick("mail")
    assert postbox.mails == []  # it lingers for more to tell
    pass_time(seconds=30)
    await tick("mail")
    await tick("mail")
    [mail] = postbox.mails
    assert mail["To"] == "tanto@example.jp"
    assert mail["Subject"] == "【ケアプランデータ連携】新しいデータが届いています（3件）"
    assert mail["Auto-Submitted"] == "auto-generated"
    text = mail.get_content()
    assert "あおぞら居宅介護支援事業所（9970100018）様" in text
    assert "そよかぜ訪問介護センター 3件" in text
    assert notification.runtime.settings.address in text


async def test_every_kind_is_told_to_the_side_it_concerns(
    notification: Any, teller: Any, tick: Any, pass_time: Any, postbox: Any
) -> None:
    await subscribe(notification)
    await notification.hear(*teller.all_kinds())
    await notification.hear(teller.rejected())
    await notification.hear(teller.undeliverable())
    pass_time(seconds=30)
    await tick("mail")
    [mail] = postbox.mails
    # Seven: a recall of a message that never arrived concerns nobody.
    assert mail["Subject"] == "【ケアプランデータ連携】お知らせがあります（7件）"
    for words in (
        "届いています: 1件",
        "（済）: 1件",
        "取り消しました: 1件",
        "期限が切れました: 1件",
        "直すところ",
        "お届けできません",
    ):
        assert words in mail.get_content()


async def test_only_what_was_asked_for_is_told(
    notification: Any, teller: Any, tick: Any, pass_time: Any, postbox: Any
) -> None:
    await subscribe(notification, events=["rejected"])
    await notification.hear(*teller.all_kinds())
    pass_time(seconds=30)
    await tick("mail")
    assert postbox.mails == []


async def test_an_address_is_left_in_peace_after_a_mail(
    notification: Any, teller: Any, tick: Any, pass_time: Any, postbox: Any
) -> None:
    await subscribe(notification)
    for _ in range(3):
        await notification.hear(teller.delivered())
        pass_time(seconds=30)
        await tick("mail")
    assert len(postbox.mails) == 1
    pass_time(minutes=5)
    await tick("mail")
    assert [mail["Subject"][-4:] for mail in postbox.mails] == ["（1件）", "（2件）"]


async def test_a_repeated_event_is_told_once(
    notification: Any, teller: Any, tick: Any, pass_time: Any, postbox: Any
) -> None:
    await subscribe(notification)
    event = teller.delivered()
    for _ in range(3):
        await notification.hear(event)
        pass_time(minutes=6)
        await tick("mail")
    assert len(postbox.mails) == 1


async def test_a_replay_and_old_news_are_told_to_nobody(
    notification: Any, teller: Any, tick: Any, pass_time: Any, postbox: Any
) -> None:
    await subscribe(notification)
    handler = notification.service.handlers[0]
    now = notification.runtime.ports.clock.now()
    replayed = dataclasses.replace(heard(teller.delivered()), replay=True)
    stale = dataclasses.replace(heard(teller.delivered()), time=now - timedelta(hours=73))
    before = dataclasses.replace(heard(teller.delivered()), time=now - timedelta(hours=1))
    for one in (replayed, stale, before):
        prepared = await handler.prepare([one])
        async with notification.db.worker() as tx:
            await handler.apply(prepared, tx)
    pass_time(minutes=1)
    await tick("mail")
    assert postbox.mails == []


async def test_a_mail_server_that_is_away_is_tried_again_with_the_same_letter(
    notification: Any, teller: Any, tick: Any, pass_time: Any, postbox: Any
) -> None:
    await subscribe(notification)
    await notification.hear(teller.delivered())
    pass_time(seconds=30)
    postbox.refusal = "451 later"
    await tick("mail")
    postbox.refusal = None
    await tick("mail")
    assert postbox.mails == []  # not due yet
    pass_time(minutes=2)
    await tick("mail")
    assert len(postbox.mails) == 1


async def test_an_address_that_is_refused_for_good_is_given_up(
    notification: Any, teller: Any, tick: Any, pass_time: Any, postbox: Any
) -> None:
    await subscribe(notification)
    await notification.hear(teller.delivered())
    pass_time(seconds=30)
    postbox.refusal = "550 no such mailbox"
    await tick("mail")
    postbox.refusal = None
    pass_time(days=4)
    await tick("mail")
    assert postbox.mails == []


@pytest.mark.parametrize(
    ("point", "mails"), [("notification.mail.after-claim", 1), ("notification.mail.after-send", 2)]
)
async def test_a_crash_between_sending_and_marking_repeats_the_very_same_mail(
    notification: Any, teller: Any, tick: Any, pass_time: Any, postbox: Any, crash_at: Any, point: str, mails: int
) -> None:
    await subscribe(notification)
    await notification.hear(teller.delivered())
    pass_time(seconds=30)
    with pytest.raises(crash_at(point)):
        await tick("mail")
    await notification.hear(teller.delivered())  # news that comes later goes into a letter of its own
    pass_time(minutes=2)
    await tick("mail")
    assert len(postbox.mails) == mails
    assert len({mail["Message-ID"] for mail in postbox.mails}) == 1
    assert all(mail["Subject"].endswith("（1件）") for mail in postbox.mails)


async def test_the_default_reminder_comes_from_storage_and_a_choice_replaces_it(
    notification: Any, teller: Any, tick: Any, pass_time: Any, postbox: Any
) -> None:
    await subscribe(notification, events=["reminder"], reminder_days=3)
    message = teller.delivered()
    await notification.hear(message)
    reminder_due = teller.all_kinds()[-1]
    await notification.hear(reminder_due)
    pass_time(days=2)
    await tick("remind")
    await tick("mail")
    assert postbox.mails == []
    pass_time(days=1, hours=1)
    for _ in range(3):
        await tick("remind")
        await tick("mail")
        pass_time(hours=1)
    [mail] = postbox.mails
    assert "まだ取得していないデータがあります" in mail["Subject"]


async def test_a_collected_message_is_not_reminded_of_even_after_a_replay(
    notification: Any, teller: Any, tick: Any, pass_time: Any, postbox: Any
) -> None:
    await subscribe(notification, events=["reminder"], reminder_days=1)
    message = teller.delivered()
    now = notification.runtime.ports.clock.now()
    collected = Downloaded(
        **teller.base(message_id=message.message_id), delivery_no=1, downloaded_at=now, receipt_sealed="x"
    )
    await notification.hear(message, collected)
    await notification.hear(message)
    pass_time(days=1, hours=1)
    await tick("remind")
    await tick("mail")
    assert postbox.mails == []


async def test_without_a_choice_storage_s_reminder_is_told(
    notification: Any, teller: Any, tick: Any, pass_time: Any, postbox: Any
) -> None:
    await subscribe(notification, events=["reminder"])
    await notification.hear(teller.all_kinds()[-1])
    pass_time(seconds=30)
    await tick("mail")
    assert len(postbox.mails) == 1


async def test_who_left_the_office_hears_no_more(
    notification: Any, teller: Any, tick: Any, pass_time: Any, postbox: Any
) -> None:
    await subscribe(notification)
    await subscribe(notification, owner="office")
    await notification.hear(
        UserChanged(
            actor=Actor(kind="system", id="test"),
            office=OWN,
            version=2,
            user_id="c0000000018",
            roles=(),
            state="ended",
        )
    )
    await notification.hear(teller.delivered())
    pass_time(seconds=30)
    await tick("mail")
    assert len(postbox.mails) == 1  # the office's own address


async def test_addresses_lie_sealed_and_settings_come_back(notification: Any) -> None:
    answer = await subscribe(notification, reminder_days=5)
    assert answer.json() == {"mail": [{"address": "tanto@example.jp", "events": ALL}], "reminder_days": 5}
    async with notification.db.connection() as db:
        rows = await db.fetch("SELECT target::text AS row FROM target")
    assert rows
    assert all("tanto" not in row["row"] for row in rows)
    assert all(b"tanto".hex() not in row["row"] for row in rows)
    async with notification.client() as client:
        again = await client.get("/v1/notifications/own", headers=notification.token(OWN))
        assert again.json() == answer.json()
        other_person = await client.get("/v1/notifications/own", headers=notification.token(OWN, user="c0000000099"))
        assert other_person.json() == {"mail": [], "reminder_days": None}
        other_office = await client.get("/v1/notifications/own", headers=notification.token(PARTNER))
        assert other_office.json()["mail"] == []


NO_ADDRESSES = (
    "no-at",
    "a@b",
    "a b@example.jp",
    "a@example.jp\nBcc: x@y.jp",
    "名前@example.jp",
    "<a@example.jp>",
    "a@exa_mple.jp",
)


async def test_addresses_that_are_none_are_refused_without_repeating_them(notification: Any) -> None:
    async with notification.client() as client:
        for address in NO_ADDRESSES:
            body = {"mail": [{"address": address, "events": ["delivered"]}], "reminder_days": None}
            answer = await client.put("/v1/notifications/own", json=body, headers=notification.token(OWN))
            assert (answer.status_code, answer.json()["code"]) == (422, "TDK-MAIL-ADDRESS"), address
            assert address not in answer.text


async def test_the_office_s_settings_are_the_administrators_business(notification: Any) -> None:
    async with notification.client() as client:
        for role in ("staff", "viewer"):
            headers = notification.token(OWN, roles=[role])
            assert (await client.get("/v1/notifications/own", headers=headers)).status_code == 200
            assert (await client.get("/v1/notifications/office", headers=headers)).status_code == 403
            assert (await client.get("/v1/notifications/webhooks", headers=headers)).status_code == 403
            refused = await client.put("/v1/notifications/office", json={"mail": []}, headers=headers)
            assert refused.status_code == 403
        assert (await client.get("/v1/notifications/own")).status_code == 401


async def test_a_test_mail_goes_out_at_once(notification: Any, tick: Any, postbox: Any) -> None:
    await subscribe(notification)
    async with notification.client() as client:
        answer = await client.post("/v1/notifications/test", headers=notification.token(OWN))
    assert (answer.status_code, answer.json()) == (202, {"mail": 1, "webhooks": 0})
    await tick("mail")
    [mail] = postbox.mails
    assert mail["Subject"] == "【ケアプランデータ連携】これは試しのお知らせです"
