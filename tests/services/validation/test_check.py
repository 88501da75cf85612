"""`check` says what would become of a message, and keeps nothing."""

from datetime import timedelta

import careplan
from tests.services.ingest.conftest import Client, registered
from todoke.relay.clock import in_japan
from todoke.relay.testing import Stage, journalled

from .conftest import CENTRE, HELPER, RENTAL, Sender

PLAN_SET = careplan.sample_sets()["202407/plan_67_to_provider_a"]


async def test_a_valid_set_is_accepted_and_nothing_is_kept(sender: Sender) -> None:
    answer = await sender.check(CENTRE, {"text": "a"}, PLAN_SET)
    assert answer == {"verdict": "accept", "findings": [], "counts": {"errors": 0, "warnings": 0}}
    async with sender.validation.db.worker() as tx:
        assert await journalled(tx) == []
        assert await tx.db.fetchval("SELECT count(*) FROM judgement") == 0


async def test_a_warning_does_not_stop_a_set(sender: Sender) -> None:
    files = [(name, data.removesuffix(b"\r\n")) for name, data in PLAN_SET]
    answer = await sender.check(CENTRE, {}, files)
    assert answer["verdict"] == "accept_with_warning"
    assert {(finding["code"], finding["severity"]) for finding in answer["findings"]} == {
        ("TDK-LAST-LINE-END", "warning")
    }
    assert answer["counts"] == {"errors": 0, "warnings": 3}


async def test_a_finding_has_its_place_and_its_words(sender: Sender) -> None:
    files = [
        (name, data.replace(b"202509", b"20250A", 1) if name.startswith("UPPLAN") else data) for name, data in PLAN_SET
    ]
    answer = await sender.check(CENTRE, {}, files)
    assert answer["verdict"] == "reject"
    finding = answer["findings"][0]
    assert set(finding) == {
        "code",
        "number",
        "severity",
        "file",
        "row",
        "column",
        "column_name",
        "message",
        "advice",
    }
    assert finding["file"].startswith("UPPLAN")
    assert finding["number"].startswith("E-2")
    assert finding["message"].endswith(("。", "）"))


async def test_what_would_be_refused_at_once_is_a_finding(sender: Sender) -> None:
    for body, files, code, number, file in [
        ({}, [("bad.csv", b"x")], "TDK-FILE-NAME", "E-201", "bad.csv"),
        ({"recipient": RENTAL}, PLAN_SET, "TDK-RECIPIENT-MISMATCH", "E-206", None),
        ({"recipient": CENTRE, "text": "a"}, [], "TDK-OWN-NUMBER", "E-207", None),
        ({"recipient": HELPER}, [], "TDK-NOTHING-TO-SEND", "E-212", None),
        ({"recipient": "9979999999", "text": "a"}, [], "TDK-UNKNOWN-OFFICE", "E-301", None),
    ]:
        answer = await sender.check(CENTRE, body, files)
        assert answer["verdict"] == "reject"
        [finding] = answer["findings"]
        assert (finding["code"], finding["number"], finding["file"]) == (code, number, file)
        assert answer["counts"] == {"errors": 1, "warnings": 0}


async def test_a_sequence_in_use_is_no_matter_of_check(sender: Sender) -> None:
    await sender.submit(CENTRE, {}, PLAN_SET)
    assert (await sender.check(CENTRE, {}, PLAN_SET))["verdict"] == "accept"


async def test_a_suspended_recipient_is_a_finding(sender: Sender) -> None:
    until = (in_japan(sender.validation.runtime.ports.clock.now()) + timedelta(days=9)).date()
    await sender.validation.hear(registered(HELPER, until, participation="suspended").model_copy(update={"version": 2}))
    answer = await sender.check(CENTRE, {}, PLAN_SET)
    assert [finding["number"] for finding in answer["findings"]] == ["E-302"]


async def test_who_only_views_may_not_check(validation: Stage) -> None:
    async with validation.client() as http:
        client = Client(http, validation.token(CENTRE, roles=("viewer",)))
        response = await client.send({}, PLAN_SET, key=None, path="/v1/messages/check")
        assert (response.status_code, response.json()["code"]) == (403, "TDK-NOT-ALLOWED")
        response = await Client(http, {}).send({}, PLAN_SET, key=None, path="/v1/messages/check")
        assert response.status_code == 401


async def test_a_body_that_cannot_be_read_is_a_problem(validation: Stage) -> None:
    async with validation.client() as http:
        client = Client(http, validation.token(CENTRE))
        response = await client.send(b"[", key=None, path="/v1/messages/check")
        assert (response.status_code, response.json()["code"]) == (400, "TDK-BODY-MALFORMED")
