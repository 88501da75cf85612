"""Offices: every change is one event with the next version; the directory; who sees what in PostgreSQL."""

import asyncio
import json
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from services.registry import offices
from todoke.events import Actor, Counts, MessageAccepted, OfficeChanged, Package
from todoke.relay.testing import journalled

from .conftest import HELPER, MANAGER, Login, Registry

OPERATOR = Actor(kind="operator", id="op")
AT = datetime(2026, 4, 1, tzinfo=UTC)


async def test_each_change_of_an_office_is_said_with_the_next_version(registry: Registry) -> None:
    number = MANAGER.office
    renamed = offices.MasterData(number, "新しい名前", ("43", "46"))
    async with registry.stage.db.worker() as tx:
        assert await offices.change(tx, renamed, OPERATOR)
        assert not await offices.change(tx, renamed, OPERATOR)
    async with registry.stage.db.worker() as tx:
        assert await offices.suspend(tx, number, OPERATOR)
        assert not await offices.suspend(tx, number, OPERATOR)
        assert await offices.resume(tx, number, OPERATOR)
        assert not await offices.resume(tx, number, OPERATOR)
        await offices.set_licence(tx, number, until=date(2030, 1, 31), renews=False, cause="renewed")
    said = await _said(registry, number)
    assert [(kind, event["version"]) for kind, event in said] == [
        ("OfficeRegistered", 1),
        ("LicenceChanged", 2),
        ("UserChanged", 1),
        ("OfficeChanged", 3),
        ("OfficeSuspended", 4),
        ("OfficeResumed", 5),
        ("LicenceChanged", 6),
    ]
    assert [e["facts"]["participation"] for k, e in said if k != "UserChanged"] == [
        "none", "active", "active", "suspended", "active", "active",
    ]  # fmt: skip
    assert said[-1][1]["until"] == said[-1][1]["facts"]["licence_until"] == "2030-01-31"
    assert said[2][1]["user_id"] == MANAGER.c_id


async def test_registered_number_is_registered_once(registry: Registry) -> None:
    async with registry.stage.db.worker() as tx:
        assert not await offices.register(tx, offices.MasterData(MANAGER.office, "別の名前"))
        with pytest.raises(offices.UnknownOffice):
            await offices.suspend(tx, "0000000000", OPERATOR)
    assert len(await _said(registry, MANAGER.office)) == 3


async def test_office_that_goes_on_under_another_number_is_closed(registry: Registry) -> None:
    new = offices.MasterData("9970100919", "新しい番号の事業所", ("43",))
    async with registry.stage.db.worker() as tx:
        assert await offices.succeed(tx, MANAGER.office, new, OPERATOR)
        assert not await offices.succeed(tx, MANAGER.office, new, OPERATOR)
    kind, old = (await _said(registry, MANAGER.office))[-1]
    assert (kind, old["version"], old["facts"]["successor"]) == ("OfficeSucceeded", 3, new.number)
    assert old["facts"]["participation"] == "suspended"
    (registered,) = await _said(registry, new.number)
    assert (registered[0], registered[1]["facts"]["predecessor"]) == ("OfficeRegistered", MANAGER.office)


async def test_changes_at_the_same_moment_get_different_versions(registry: Registry) -> None:
    async def rename(name: str) -> None:
        async with registry.stage.db.worker() as tx:
            await offices.change(tx, offices.MasterData(MANAGER.office, name), OPERATOR)

    await asyncio.gather(*(rename(f"事業所 {n}") for n in range(5)))
    versions = [e["version"] for kind, e in await _said(registry, MANAGER.office) if kind == "OfficeChanged"]
    assert versions == [3, 4, 5, 6, 7]


async def test_last_csv_version_is_said_only_when_it_changes(registry: Registry) -> None:
    assert [_version(e) for e in await registry.stage.hear(*_accepted("202208", "202407", "202407"))] == ["202407"]
    assert await registry.stage.hear(*_accepted("202407", start=10)) == []
    assert [_version(e) for e in await registry.stage.hear(*_accepted("202208", start=20))] == ["202208"]
    shown = await registry.get(f"/v1/offices/{MANAGER.office}", await registry.log_in(HELPER))
    assert shown.json()["csv_version_last"] == "202208"


async def test_accepted_messages_heard_again_change_nothing(registry: Registry) -> None:
    log = [*_accepted("202208"), *_accepted("202407", start=10)]
    for event in log:
        await registry.stage.hear(event)
    before = await _said(registry, MANAGER.office)
    for again in ([log[1], log[0]], log, log[:1]):
        assert await registry.stage.hear(*again) == []
    assert await _said(registry, MANAGER.office) == before


async def test_message_of_text_alone_tells_no_version(registry: Registry) -> None:
    assert await registry.stage.hear(*_accepted(None)) == []


async def test_directory_is_searched_by_number_and_name(registry: Registry) -> None:
    session = await registry.log_in(MANAGER)
    found = (await registry.get("/v1/offices?q=９９７０１００１", session)).json()
    assert [item["number"] for item in found["items"]] == [HELPER.office]
    found = (await registry.get("/v1/offices?q=事業所&limit=1", session)).json()
    assert [item["number"] for item in found["items"]] == [MANAGER.office]
    rest = (await registry.get(f"/v1/offices?q=事業所&limit=1&cursor={found['next']}", session)).json()
    assert [item["number"] for item in rest["items"]] == [HELPER.office]
    assert rest["next"] is None
    assert (await registry.get("/v1/offices?q=%25", session)).json()["items"] == []


@pytest.mark.parametrize("query", ["cursor=!", "cursor=4pyT", "limit=0", "limit=201", "limit=x", "q=" + "x" * 101])
async def test_bad_queries_are_refused(registry: Registry, query: str) -> None:
    answer = await registry.get(f"/v1/offices?{query}", await registry.log_in(MANAGER))
    assert (answer.status_code, answer.json()["code"]) == (422, "TDK-INVALID")


async def test_office_is_shown_with_its_participation_as_of_now(registry: Registry) -> None:
    session = await registry.log_in(MANAGER)
    shown = (await registry.get(f"/v1/offices/{HELPER.office}", session)).json()
    assert shown == {
        "number": HELPER.office,
        "name": f"事業所 {HELPER.office}",
        "address": "",
        "phone": "",
        "service_types": [{"code": "43", "name": "居宅介護支援"}],
        "participation": "active",
        "csv_version_last": None,
    }
    late = Login("9970100216", "c0000000034", licence_days=0)
    await registry.add(late)
    assert (await registry.get(f"/v1/offices/{late.office}", session)).json()["participation"] == "active"
    registry.clock.move(timedelta(days=1))
    session = await registry.log_in(MANAGER)
    assert (await registry.get(f"/v1/offices/{late.office}", session)).json()["participation"] == "none"
    assert (await registry.get("/v1/offices/0000000000", session)).status_code == 404
    assert (await registry.get("/v1/offices/%00", session)).status_code == 404


async def test_own_office_and_its_users(registry: Registry) -> None:
    session = await registry.log_in(MANAGER)
    own = (await registry.get("/v1/office", session)).json()
    assert (own["kj_id"], own["c_id"]) == (MANAGER.kj_id, MANAGER.c_id)
    assert own["renewal"]["renews"] is True
    assert own["licence_until"] is not None
    users = (await registry.get("/v1/office/users", session)).json()["items"]
    last_login_at = users[0].pop("last_login_at")
    assert users == [{"id": MANAGER.c_id, "name": "練習 花子", "roles": ["admin"], "state": "active"}]
    assert last_login_at is not None


async def test_receipt_keys_are_public_and_no_access_key_is_among_them(registry: Registry) -> None:
    runtime = registry.stage.runtime
    keys = (await registry.http.get("/.well-known/jwks.json")).json()["keys"]
    assert [key["kid"] for key in keys] == [runtime.receipt_key.key_id]


@pytest.mark.parametrize(
    "table", ["licence", "office_credential (office, kj_id)", "membership", "session", "refresh_token"]
)
async def test_api_role_sees_rows_of_its_office_only(registry: Registry, table: str) -> None:
    for login in (MANAGER, HELPER):
        await registry.log_in(login)
    name, _, columns = table.partition(" ")
    async with registry.stage.db.api(MANAGER.office) as tx:
        rows = await tx.db.fetch(f"SELECT {columns.strip('()') or '*'} FROM {name}")
    assert {row["office"] for row in rows} == {MANAGER.office}
    async with registry.stage.db.api(None) as tx:
        assert await tx.db.fetchval(f"SELECT count(*) FROM {name}") == 0


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT password_hash FROM person",
        "SELECT password_hash FROM office_credential",
        "SELECT password_hash FROM operator",
        "INSERT INTO membership VALUES ('c0000000018', '9970100117', '{admin}', 'active', 1, now())",
        "UPDATE office SET name = 'x'",
        "UPDATE membership SET roles = '{admin}'",
        "DELETE FROM session",
        "DELETE FROM session_ended",
        "UPDATE journal_office SET payload = '{}'",
        "SET ROLE registry_owner",
        "SELECT * FROM ingest.journal",
    ],
)
async def test_api_role_is_refused(registry: Registry, statement: str) -> None:
    with pytest.raises(asyncpg.PostgresError, match="permission denied"):
        async with registry.stage.db.api(MANAGER.office) as tx:
            await tx.db.execute(statement)


async def test_api_role_changes_no_row_of_another_office_or_person(registry: Registry) -> None:
    await registry.log_in(HELPER)
    async with registry.stage.db.api(MANAGER.office) as tx:
        await tx.db.execute("SELECT set_config('app.user', $1, true)", MANAGER.c_id)
        assert await tx.db.execute("UPDATE session SET ended_at = now()") == "UPDATE 0"
        assert await tx.db.execute("UPDATE person SET must_change = true WHERE id = $1", HELPER.c_id) == "UPDATE 0"
        assert await tx.db.execute("UPDATE office_credential SET must_change = true") == "UPDATE 1"
        names = [row["id"] for row in await tx.db.fetch("SELECT id FROM person")]
        assert names == [MANAGER.c_id]
    with pytest.raises(asyncpg.PostgresError, match="row-level security"):
        async with registry.stage.db.api(MANAGER.office) as tx:
            await tx.db.execute(
                "INSERT INTO session VALUES ($1, $2, NULL, 'usage', now(), now(), now())", UUID(int=5), HELPER.office
            )


async def test_login_function_answers_one_row_of_the_typed_id(registry: Registry) -> None:
    async with registry.stage.db.api(None) as tx:
        rows = await tx.db.fetch("SELECT * FROM find_login('person', $1, NULL)", MANAGER.c_id)
        assert [row["subject"] for row in rows] == [MANAGER.c_id]
        assert await tx.db.fetch("SELECT * FROM find_login('person', '%', NULL)") == []


async def _said(registry: Registry, number: str) -> list[tuple[str, Mapping[str, Any]]]:
    async with registry.stage.db.worker() as tx:
        said = [(kind, json.loads(payload)) for kind, payload in await journalled(tx)]
    return [(kind, payload) for kind, payload in said if payload["office"] == number]


def _accepted(*versions: str | None, start: int = 0) -> list[MessageAccepted]:
    return [
        MessageAccepted(
            actor=Actor(kind="system", id="validation"),
            message_id=UUID(int=start + place),
            sender=MANAGER.office,
            recipient=HELPER.office,
            package=Package(
                sequence="20260401000000",
                csv_version=version,
                sender_name="a",
                recipient_name="b",
                submitted_at=AT + timedelta(seconds=start + place),
                object_key="k",
                epoch="2026-04",
                manifest="",
            ),
            sender_version=1,
            recipient_version=1,
            counts=Counts(),
        )
        for place, version in enumerate(versions)
    ]


def _version(event: object) -> str | None:
    assert isinstance(event, OfficeChanged)
    return event.facts.csv_version_last
