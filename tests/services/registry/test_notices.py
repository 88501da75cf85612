"""Notices: read from their time on by those they are for, unread per person, and gone when they are withdrawn."""

from datetime import timedelta
from typing import Any

import httpx

from services.registry.notices import excerpt

from .conftest import HELPER, MANAGER, WORD, Registry

NOTICES = "/v1/operator/notices"
PLAIN = {"title": "点検のお知らせ", "text": "日曜日に点検をします。\nその間は使えません。"}


async def published(operators: httpx.AsyncClient, **values: Any) -> dict[str, Any]:
    answer = await operators.post(NOTICES, json={**PLAIN, **WORD, **values})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def listed(registry: Registry, session: dict[str, Any]) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = (await registry.get("/v1/notices", session)).json()["items"]
    return items


async def test_a_notice_is_read_from_its_time_on(registry: Registry, operators: httpx.AsyncClient) -> None:
    tomorrow = registry.clock.now() + timedelta(hours=3)
    made = await published(operators, published_at=tomorrow.isoformat())
    session = await registry.log_in(MANAGER)
    assert await listed(registry, session) == []
    assert (await registry.get(f"/v1/notices/{made['id']}", session)).status_code == 404
    registry.clock.move(timedelta(hours=4))
    session = await registry.log_in(MANAGER)
    (notice,) = await listed(registry, session)
    assert (notice["title"], notice["excerpt"]) == (PLAIN["title"], "日曜日に点検をします。その間は使えません。")
    ((_, event),) = await registry.events("NoticePublished")
    assert (event["notice_id"], event["audience"]) == (made["id"], {"kind": "all", "values": []})
    assert "点検" not in str(await registry.events())


async def test_an_important_notice_is_unread_until_this_person_says_so(
    registry: Registry, operators: httpx.AsyncClient
) -> None:
    made = await published(operators, important=True)
    mine, theirs = [await registry.log_in(login) for login in (MANAGER, HELPER)]
    path = f"/v1/notices/{made['id']}"
    assert (await registry.get(path, mine)).json()["text"] == PLAIN["text"]
    assert [notice["unread"] for notice in await listed(registry, mine)] == [True]
    for _ in range(2):
        assert (await registry.post(f"{path}/read", mine, None)).status_code == 204
    assert [notice["unread"] for notice in await listed(registry, mine)] == [False]
    assert [notice["unread"] for notice in await listed(registry, theirs)] == [True]


async def test_a_notice_reaches_those_it_is_for_only(registry: Registry, operators: httpx.AsyncClient) -> None:
    await operators.patch(
        f"/v1/operator/offices/{HELPER.office}", json={**WORD, "service_types": ["11"], "prefecture": "練習県"}
    )
    for_type = await published(operators, audience={"kind": "service_types", "values": ["11", "13"]})
    for_place = await published(operators, audience={"kind": "prefectures", "values": ["練習県"]})
    everybody = await published(operators)
    mine, theirs = [await registry.log_in(login) for login in (MANAGER, HELPER)]
    assert [notice["id"] for notice in await listed(registry, mine)] == [everybody["id"]]
    order = [everybody["id"], for_place["id"], for_type["id"]]
    assert [notice["id"] for notice in await listed(registry, theirs)] == order
    assert (await registry.get(f"/v1/notices/{for_type['id']}", mine)).status_code == 404
    middle = (await registry.get(f"/v1/notices/{for_place['id']}", theirs)).json()
    assert (middle["previous"], middle["next"]) == (everybody["id"], for_type["id"])
    pages = []
    cursor = None
    while True:
        params = f"?limit=2{'&cursor=' + cursor if cursor else ''}"
        page = (await registry.get(f"/v1/notices{params}", theirs)).json()
        pages.append([notice["id"] for notice in page["items"]])
        if (cursor := page["next"]) is None:
            break
    assert pages == [order[:2], order[2:]]
    assert (await registry.get("/v1/notices?cursor=nonsense", theirs)).status_code == 422


async def test_a_withdrawn_notice_is_gone_for_offices_and_stays_for_operators(
    registry: Registry, operators: httpx.AsyncClient
) -> None:
    made = await published(operators)
    withdraw = f"{NOTICES}/{made['id']}/withdraw"
    assert (await operators.post(withdraw, json={})).status_code == 422
    assert (await operators.post(withdraw, json=WORD)).json()["withdrawn_at"] is not None
    again = await operators.post(withdraw, json=WORD)
    assert (again.status_code, again.json()["code"]) == (409, "TDK-NOTICE-WITHDRAWN")
    session = await registry.log_in(MANAGER)
    assert await listed(registry, session) == []
    assert [each["id"] for each in (await operators.get(NOTICES)).json()["items"]] == [made["id"]]
    kinds = [kind for kind, _ in await registry.events("NoticePublished", "NoticeWithdrawn", "OperatorActed")]
    assert kinds == ["NoticePublished", "OperatorActed", "NoticeWithdrawn", "OperatorActed"]


async def test_a_notice_published_again_under_its_id_is_there_once(
    registry: Registry, operators: httpx.AsyncClient
) -> None:
    known = {"id": "01990000-0000-7000-8000-0000000000aa"}
    first, again = await published(operators, **known), await published(operators, **known, title="べつの件名")
    assert first == again
    assert [each["title"] for each in (await operators.get(NOTICES)).json()["items"]] == [PLAIN["title"]]
    kinds = [kind for kind, _ in await registry.events("NoticePublished", "OperatorActed")]
    assert kinds == ["NoticePublished", "OperatorActed"]


async def test_a_notice_that_ends_before_it_begins_is_refused(operators: httpx.AsyncClient) -> None:
    wrong = {"published_at": "2027-01-02T00:00:00Z", "until": "2027-01-01T00:00:00Z", "state": "down"}
    assert (await operators.post(NOTICES, json={**PLAIN, **WORD, **wrong})).status_code == 422
    for audience in ({"kind": "all", "values": ["11"]}, {"kind": "prefectures", "values": []}):
        assert (await operators.post(NOTICES, json={**PLAIN, **WORD, "audience": audience})).status_code == 422
    assert (await operators.get(NOTICES)).json()["items"] == []


def test_an_excerpt_is_one_line_of_49_characters() -> None:
    assert excerpt("あ" * 49) == "あ" * 49
    assert excerpt("あ" * 30 + "\r\n" + "い" * 20) == "あ" * 30 + "い" * 19 + "…"
