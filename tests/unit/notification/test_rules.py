"""The pure decisions of notification: wording, pauses, addresses, signatures."""

import base64
import json
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook

from services.notification import rules

NAMES = {"9970100018": "あおぞら居宅介護支援事業所", "9970100117": "そよかぜ訪問介護センター"}


def test_a_letter_counts_by_kind_and_partner_and_holds_nothing_else() -> None:
    told: list[tuple[str, str | None]] = [
        ("delivered", "9970100117"),
        ("delivered", "9970100117"),
        ("recalled", "9900000001"),
    ]
    subject, text = rules.letter("9970100018", told, NAMES, "https://todoke.example")
    assert subject == "【ケアプランデータ連携】お知らせがあります（3件）"
    assert "・新しいデータが届いています: 2件\n　そよかぜ訪問介護センター 2件" in text
    assert "9900000001 1件" in text  # a partner whose name is not known yet
    assert "https://todoke.example" in text


def test_many_partners_are_counted_together_after_the_first_few() -> None:
    told: list[tuple[str, str | None]] = [("delivered", f"99000000{n:02d}") for n in range(12)]
    _, text = rules.letter("9970100018", told, NAMES, "x")
    assert "　ほか 7件" in text


def test_every_kind_has_its_sentence() -> None:
    assert set(rules.sentences()) == {*rules.Told.__args__, rules.TEST}  # type: ignore[attr-defined]


def test_pauses_grow_and_end_after_days() -> None:
    pauses = [rules.next_pause(attempts, 0.5) for attempts in range(1, len(rules.PAUSES) + 1)]
    known = [pause for pause in pauses if pause is not None]
    assert known == sorted(known)
    assert timedelta(days=3) < sum(known, timedelta()) < timedelta(days=5)
    assert rules.next_pause(len(rules.PAUSES) + 1, 0.5) is None


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",  # noqa: S104 (addresses nobody may be sent to)
        "255.255.255.255", "192.0.2.1", "198.18.0.1", "240.0.0.1", "::1", "::", "fe80::1", "fc00::1", "ff02::1",
        "::ffff:10.0.0.1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "2001:db8::1",
    ],
)  # fmt: skip
def test_no_call_goes_inside(address: str) -> None:
    assert not rules.fit_destination(address, private=False)


@pytest.mark.parametrize("address", ["8.8.8.8", "203.104.128.1", "2606:4700::1111", "::ffff:8.8.8.8"])
def test_calls_go_outside(address: str) -> None:
    assert rules.fit_destination(address, private=False)


@pytest.mark.parametrize(
    ("url", "fit"),
    [
        ("https://hooks.example.jp/todoke?x=1", True),
        ("https://hooks.example.jp:8443/", True),
        ("https://8.8.8.8/", True),
        ("http://hooks.example.jp/", False),
        ("https://", False),
        ("https:///x", False),
        ("https://localhost/", False),
        ("https://printer/", False),
        ("https://x.internal/", False),
        ("https://127.0.0.1/", False),
        ("https://[::1]/", False),
        ("https://[::1/", False),
        ("https://a@hooks.example.jp/", False),
        ("https://hooks.example.jp/#x", False),
        ("https://hooks.example.jp\\@10.0.0.1/", False),
        ("https://hooks.example.jp:99999/", False),
        ("https://hooks.example.jp/\r\nX: y", False),
        ("https://例え.jp/", False),
        ("https://hooks.example.jp/" + "x" * 2000, False),
        ("javascript:alert(1)", False),
    ],
)
def test_urls_of_webhooks(url: str, fit: bool) -> None:
    assert rules.fit_url(url, private=False) is fit


@given(st.text(max_size=60))
def test_no_text_breaks_the_look_at_a_url_or_an_address(text: str) -> None:
    rules.fit_url(text, private=False)
    rules.fit_url("https://" + text, private=True)
    rules.fit_mail_address(text)


def test_a_signature_is_the_one_that_the_public_library_makes() -> None:
    secret = rules.new_secret(bytes(range(32)))
    moment = datetime(2025, 9, 1, 3, 0, tzinfo=UTC)
    body = rules.webhook_body("delivered", moment, "9970100018", UUID(int=7), 17)
    ours = rules.signature(secret, "msg_1", int(moment.timestamp()), body)
    assert ours == Webhook(secret).sign("msg_1", moment, body.decode())
    assert base64.b64decode(secret.removeprefix("whsec_")) == bytes(range(32))
    assert json.loads(body)["timestamp"] == "2025-09-01T03:00:00Z"


def test_a_call_has_one_id_per_event_and_target() -> None:
    ids = {rules.webhook_id(UUID(int=event), UUID(int=target)) for event in (1, 2) for target in (3, 4)}
    assert len(ids) == 4
    assert rules.webhook_id(UUID(int=1), UUID(int=3)) in ids
