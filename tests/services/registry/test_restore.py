"""The registry's rows are set up again from its own events, as far as these tell; what they do not is named."""

from datetime import UTC, datetime
from typing import Any

from services.registry import offices
from todoke.events import CATALOGUE, Event
from todoke.relay.restore import Said, Unhealed
from todoke.relay.testing import journalled

from .conftest import HELPER, MANAGER, WORD, Registry

NEW = "9970100919"


async def said(registry: Registry) -> list[Event]:
    async with registry.stage.db.worker() as tx:
        return [CATALOGUE[kind].model_validate_json(payload) for kind, payload in await journalled(tx)]


async def restore(registry: Registry, events: list[Event]) -> list[Unhealed]:
    hook: Any = registry.stage.service.restore
    async with registry.stage.db.worker() as tx:
        return list(await hook([Said(event, datetime.now(UTC)) for event in events], tx))


async def rows(registry: Registry, query: str) -> list[Any]:
    async with registry.stage.db.connection() as db:
        return [tuple(row) for row in await db.fetch(query)]


async def public(registry: Registry) -> list[list[Any]]:
    """Offices, licences and rights, without the times at which rows were written."""
    queries = (
        "SELECT number, version, name, search, suspended, licence_until, service_types FROM office ORDER BY 1",
        "SELECT office, renews, cause FROM licence ORDER BY 1",
        "SELECT office, user_id, roles, state, version FROM membership ORDER BY 1, 2",
    )
    return [await rows(registry, query) for query in queries]


async def test_offices_licences_and_rights_come_back_and_what_cannot_is_named(registry: Registry) -> None:
    before = len(await said(registry))
    async with registry.stage.db.worker() as tx:
        await offices.suspend(tx, HELPER.office, offices.SYSTEM)
        await offices.set_user(tx, MANAGER.office, MANAGER.c_id, ["staff"], "active")
        await offices.register(tx, offices.MasterData(NEW, "新しい事業所", ("11",)))
        await offices.set_licence(tx, NEW, until=tx.now.date(), renews=False, cause="granted")
    events, after = await said(registry), await public(registry)
    async with registry.stage.db.connection() as db:
        await db.execute("DELETE FROM licence")
        await db.execute("DELETE FROM membership")
        await db.execute("DELETE FROM office WHERE number = $1", NEW)
        await db.execute("UPDATE office SET version = version - 1, suspended = false WHERE number = $1", HELPER.office)
    assert before < len(events)
    assert await restore(registry, events) == [Unhealed("office without password", NEW)]
    assert await public(registry) == after
    assert await restore(registry, events) == []
    assert await public(registry) == after


async def test_rights_of_a_person_without_a_row_are_named(registry: Registry) -> None:
    [user, *_] = [event for event in await said(registry) if event.type_name() == "UserChanged"]
    stranger = user.model_copy(update={"user_id": "c0000009999"})
    assert await restore(registry, [stranger]) == [Unhealed("person without name and password", "c0000009999")]


async def test_decisions_certificates_and_withdrawals_come_back_and_lost_words_are_named(registry: Registry) -> None:
    session = (await registry.usage(HELPER.kj_id)).json()
    async with registry.stage.db.worker() as tx:
        await offices.set_licence(tx, HELPER.office, until=None, renews=False, cause="corrected")
    wish = {"kind": "new", "contact_name": "練習 花子", "mail": "hanako@example.jp"}
    await registry.post("/v1/office/application", session, wish)
    async with registry.stage.operators_client() as operators:
        operators.headers.update(registry.stage.operator())
        path = "/v1/operator/applications"
        [waiting] = (await operators.get(path)).json()["items"]
        await operators.post(f"{path}/{waiting['id']}/refuse", json={**WORD, "answer": "番号が違います。"})
        body = {**WORD, "issuer": "Practice CA", "serial": "0A1B", "not_after": "2027-03-15T00:00:00Z"}
        await operators.post(f"/v1/operator/offices/{HELPER.office}/certificate", json=body)
        notice = (await operators.post("/v1/operator/notices", json={**WORD, "title": "件名", "text": "本文"})).json()
        await operators.post(f"/v1/operator/notices/{notice['id']}/withdraw", json=WORD)
    events = await said(registry)
    queries = (
        "SELECT state, version, decided_by FROM application",
        "SELECT office, version, serial FROM certificate",
        "SELECT withdrawn_at IS NULL FROM notice",
    )
    after = [await rows(registry, query) for query in queries]
    async with registry.stage.db.connection() as db:
        await db.execute("UPDATE application SET state = 'received', version = 1, decided_at = NULL, decided_by = NULL")
        await db.execute("DELETE FROM certificate")
        await db.execute("UPDATE notice SET withdrawn_at = NULL")
    assert await restore(registry, events) == []
    assert [await rows(registry, query) for query in queries] == after
    async with registry.stage.db.connection() as db:
        await db.execute("DELETE FROM application")
        await db.execute("DELETE FROM notice")
    assert await restore(registry, events) == [
        Unhealed("application without contact", HELPER.office),
        Unhealed("notice without words", notice["id"]),
    ]
