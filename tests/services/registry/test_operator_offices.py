"""Operators and offices: a list is imported in passing, once and in any state; an office is stopped and goes on."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest

from services.registry import offices
from services.registry.importing import REMEMBERED, ROWS_PER_TRANSACTION
from todoke.events import Actor
from todoke.relay.postgres import Tx
from todoke.relay.testing import journalled

from .conftest import HELPER, MANAGER, WORD, Registry

HEADER = "number,name,service_types,prefecture,address,phone,fax,licence_days"
IMPORT = "/v1/operator/offices/import"


def office_lines(count: int, *, start: int = 0, name: str = "事業所") -> list[str]:
    return [
        f"98{number:08d},{name}{number},43 11,練習県,青空市{number}番地,099-555-0101,099-555-0102,365"
        for number in range(start, start + count)
    ]


def parts(lines: Iterable[str | bytes], **act: Any) -> dict[str, Any]:
    whole = b"\n".join(line if isinstance(line, bytes) else line.encode() for line in lines)
    return {
        "act": (None, json.dumps(WORD | act), "application/json"),
        "file": ("offices.csv", whole, "text/csv"),
    }


async def imported(operators: httpx.AsyncClient, lines: Iterable[str | bytes], **act: Any) -> dict[str, Any]:
    answer = await operators.post(IMPORT, files=parts(lines, **act))
    assert answer.status_code == 200, answer.text
    report: dict[str, Any] = answer.json()
    return report


async def said(registry: Registry, *, since: int = 0) -> list[tuple[str, Mapping[str, Any]]]:
    async with registry.stage.db.worker() as tx:
        return [(kind, json.loads(payload)) for kind, payload in (await journalled(tx))[since:]]


async def test_a_list_is_imported_once_and_each_change_is_said(
    registry: Registry, operators: httpx.AsyncClient
) -> None:
    before = len(await said(registry))
    lines = [HEADER, *office_lines(2000)]
    assert await imported(operators, lines, dry_run=True) == {
        "dry_run": True, "lines": 2000, "registered": 2000, "changed": 0, "unchanged": 0, "bad": 0, "problems": [],
    }  # fmt: skip
    assert len(await said(registry)) == before

    report = await imported(operators, lines)
    assert (report["registered"], report["changed"], report["unchanged"]) == (2000, 0, 0)
    events = await said(registry, since=before)
    assert [kind for kind, _ in events].count("OfficeRegistered") == 2000
    acts = [event for kind, event in events if kind == "OperatorActed"]
    assert [(act["act"], act["ticket"]) for act in acts] == [("offices.import", "OPS-7")]
    assert len(events) == 2001
    first = next(event for kind, event in events if kind == "OfficeRegistered")
    assert first["actor"] == {"kind": "operator", "id": "operator-1"}
    assert first["facts"]["service_types"] == ["43", "11"]
    assert first["facts"]["participation"] == "none"

    report = await imported(operators, lines)
    assert (report["registered"], report["changed"], report["unchanged"]) == (0, 0, 2000)
    assert len(await said(registry)) == before + 2001
    report = await imported(operators, [HEADER, *office_lines(10, name="新しい"), *office_lines(90, start=10)])
    assert (report["registered"], report["changed"], report["unchanged"]) == (0, 10, 90)
    changes = [event for kind, event in await said(registry, since=before + 2001) if kind == "OfficeChanged"]
    assert {event["version"] for event in changes} == {2}
    assert changes[0]["facts"]["name"].startswith("新しい")
    found = (await operators.get("/v1/operator/offices", params={"q": "新しい3"})).json()
    assert [(item["number"], item["version"]) for item in found["items"]] == [("9800000003", 2)]


async def test_bad_lines_are_reported_and_the_others_taken(operators: httpx.AsyncClient) -> None:
    good, long = office_lines(3), "x" * 10_000_000
    lines: list[str | bytes] = [
        HEADER + "\r", good[0], "", "123,x,,,,,,", b"9800000009,\xff,,,,,,", good[1], good[1], long, good[2],
    ]  # fmt: skip
    report = await imported(operators, lines)
    assert (report["lines"], report["registered"], report["bad"]) == (7, 3, 4)
    assert [problem["line"] for problem in report["problems"]] == [4, 5, 7, 8]
    assert [problem["reason"].partition(":")[0] for problem in report["problems"]] == [
        "number", "not UTF-8", "number", "longer than 4096 bytes",
    ]  # fmt: skip


async def test_an_import_leaves_alone_what_the_list_does_not_tell(
    registry: Registry, operators: httpx.AsyncClient
) -> None:
    await imported(operators, [HEADER, *office_lines(1)])
    report = await imported(operators, ["name,number", "あらた,9800000000", f"別の名前,{MANAGER.office}"])
    assert report["changed"] == 2
    items = (await operators.get("/v1/operator/offices", params={"q": "9800000000"})).json()["items"]
    assert (items[0]["facts"]["name"], items[0]["facts"]["address"]) == ("あらた", "青空市0番地")
    own = (await registry.get("/v1/office", await registry.log_in(MANAGER))).json()
    assert own["name"] == "別の名前"
    assert own["licence_until"] is not None
    async with registry.stage.db.worker() as tx:
        assert await tx.db.fetchval("SELECT count(*) FROM office_credential") == 2


async def test_an_import_that_dies_goes_on_when_it_is_run_again(
    registry: Registry, operators: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    take, taken = offices.take, [0]

    async def dies(tx: Tx, rows: Any, actor: Actor) -> offices.Taken:
        taken[0] += 1
        if taken[0] == 2:
            raise KeyError("the process is gone")
        return await take(tx, rows, actor)

    monkeypatch.setattr(offices, "take", dies)
    before = len(await said(registry))
    lines = [HEADER, *office_lines(ROWS_PER_TRANSACTION + 100)]
    assert (await operators.post(IMPORT, files=parts(lines))).status_code == 500
    assert len(await said(registry)) == before + ROWS_PER_TRANSACTION + 1
    report = await imported(operators, lines)
    assert (report["registered"], report["unchanged"]) == (100, ROWS_PER_TRANSACTION)
    acts = [event for kind, event in await said(registry, since=before) if kind == "OperatorActed"]
    assert len(acts) == 2


async def test_an_import_that_dies_goes_on_under_its_id_and_counts_what_was_taken_before(
    registry: Registry, operators: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    take, taken = offices.take, [0]

    async def dies(tx: Tx, rows: Any, actor: Actor) -> offices.Taken:
        taken[0] += 1
        if taken[0] == 2:
            raise KeyError("the process is gone")
        return await take(tx, rows, actor)

    monkeypatch.setattr(offices, "take", dies)
    before, act = len(await said(registry)), {"import_id": str(uuid4())}
    bad = "98,みじかい,,,,,,"
    lines = [HEADER, *office_lines(ROWS_PER_TRANSACTION + 50), bad, *office_lines(50, start=ROWS_PER_TRANSACTION + 50)]
    assert (await operators.post(IMPORT, files=parts(lines, **act))).status_code == 500
    count = ROWS_PER_TRANSACTION + 100
    report, again = [await imported(operators, lines, **act) for _ in range(2)]  # gone on with, and after its end
    assert report == again
    assert (report["registered"], report["unchanged"], report["bad"]) == (count, 0, 1)
    assert report["problems"] == [
        {
            "line": ROWS_PER_TRANSACTION + 52, "reason": "number: not ten characters 0-9 A-Z",
            "code": "TDK-LINE-NUMBER", "number": "E-705", "column": 1, "column_name": "事業所番号",
            "message": "事業所番号が、半角10文字（数字と英大文字）ではありません。",
            "advice": "先頭の0が消えていないか確かめてください。表計算ソフトで開くと消えることがあります。",
        }
    ]  # fmt: skip
    kinds = Counter(kind for kind, _ in await said(registry, since=before))
    assert kinds == {"OfficeRegistered": count, "OperatorActed": 1}


async def test_one_import_sent_twice_at_once_takes_each_line_once(
    registry: Registry, operators: httpx.AsyncClient
) -> None:
    """A process that was believed dead goes on beside the one that took its work over."""
    before, lines, act = len(await said(registry)), [HEADER, *office_lines(1800)], {"import_id": str(uuid4())}
    reports = await asyncio.gather(*(imported(operators, lines, **act) for _ in range(2)))
    assert [(report["registered"], report["unchanged"]) for report in reports] == [(1800, 0)] * 2
    kinds = Counter(kind for kind, _ in await said(registry, since=before))
    assert kinds == {"OfficeRegistered": 1800, "OperatorActed": 1}
    await registry.run_timer("imports")
    registry.clock.move(REMEMBERED + timedelta(seconds=1))
    await registry.run_timer("imports")
    async with registry.stage.db.worker() as tx:
        assert await tx.db.fetchval("SELECT count(*) FROM office_import") == 0


async def test_two_imports_at_once_register_each_office_once(registry: Registry, operators: httpx.AsyncClient) -> None:
    before = len(await said(registry))
    mine, theirs = office_lines(700), office_lines(700, name="別名")
    reports = await asyncio.gather(imported(operators, [HEADER, *mine]), imported(operators, [HEADER, *theirs[::-1]]))
    events = await said(registry, since=before)
    registered = [event["office"] for kind, event in events if kind == "OfficeRegistered"]
    assert sorted(registered) == [line[:10] for line in mine]
    changed = [event["office"] for kind, event in events if kind == "OfficeChanged"]
    assert len(changed) == len(set(changed)) == sum(report["changed"] for report in reports)


ACT = (None, json.dumps(WORD))
NO_IMPORTS: list[tuple[dict[str, Any], int, str]] = [
    ({"act": (None, "{}", "application/json"), "file": ("a", b"number,name")}, 422, "TDK-INVALID"),
    ({"act": (None, "{", "application/json"), "file": ("a", b"number,name")}, 422, "TDK-INVALID"),
    ({"file": ("a", b"number,name")}, 422, "TDK-PART-MISSING"),
    ({"act": ACT}, 422, "TDK-PART-MISSING"),
    ({"file": ("a", b"number,name"), "act": ACT}, 422, "TDK-PART-MISSING"),
    ({"act": ACT, "more": ("a", b"")}, 422, "TDK-PART-UNKNOWN"),
    ({"act": (None, " " * 5000), "file": ("a", b"")}, 413, "TDK-BODY-TOO-LARGE"),
    ({"act": ACT, "file": ("a", b"")}, 422, "TDK-LIST-EMPTY"),
    ({"act": ACT, "file": ("a", b"nummer,name")}, 422, "TDK-LIST-COLUMN-UNKNOWN"),
]


async def test_a_body_that_is_no_import_is_refused(registry: Registry, operators: httpx.AsyncClient) -> None:
    before = len(await said(registry))
    for files, status, code in NO_IMPORTS:
        answer = await operators.post(IMPORT, files=files)
        assert (answer.status_code, answer.json()["code"]) == (status, code), files
    assert len(await said(registry)) == before


async def test_a_body_of_another_kind_or_cut_off_is_refused(registry: Registry, operators: httpx.AsyncClient) -> None:
    assert (await operators.post(IMPORT, json=WORD)).json()["code"] == "TDK-BODY-KIND"
    request = operators.build_request("POST", IMPORT, files=parts([HEADER, *office_lines(5)]))
    cut = (await request.aread())[:-10]
    kind = {"Content-Type": request.headers["Content-Type"]}
    assert (await operators.post(IMPORT, content=cut, headers=kind)).json()["code"] == "TDK-BODY-MALFORMED"
    stranger = registry.stage.token(HELPER.office)
    assert (await operators.post(IMPORT, files=parts([HEADER]), headers=stranger)).status_code == 403


async def test_an_office_is_suspended_resumed_and_licensed_with_a_reason(
    registry: Registry, operators: httpx.AsyncClient
) -> None:
    before, path = len(await said(registry)), f"/v1/operator/offices/{MANAGER.office}"
    for act, changed in (("suspend", True), ("suspend", False), ("resume", True)):
        answer = await operators.post(f"{path}/{act}", json=WORD)
        assert answer.json() == {"number": MANAGER.office, "changed": changed}
    licence = WORD | {"until": "2031-03-31", "renews": True, "cause": "renewed"}
    assert (await operators.post(f"{path}/licence", json=licence)).json()["changed"]
    events = await said(registry, since=before)
    assert [kind for kind, _ in events] == [
        "OfficeSuspended", "OperatorActed", "OfficeResumed", "OperatorActed", "LicenceChanged", "OperatorActed",
    ]  # fmt: skip
    assert [event["act"] for kind, event in events if kind == "OperatorActed"] == [
        "office.suspend", "office.resume", "office.licence",
    ]  # fmt: skip
    assert events[1][1]["office"] == MANAGER.office
    shown = (await operators.get("/v1/operator/offices", params={"q": MANAGER.office})).json()["items"]
    assert shown[0]["facts"]["licence_until"] == date(2031, 3, 31).isoformat()
    for act in ("suspend", "resume", "licence"):
        assert (await operators.post(f"{path}/{act}", json={"reason": "x"})).status_code == 422
        unknown = await operators.post(
            f"/v1/operator/offices/0000000000/{act}", json=licence if act == "licence" else WORD
        )
        assert (unknown.status_code, unknown.json()["code"]) == (404, "TDK-NOT-FOUND")
    assert len(await said(registry)) == before + 6


async def test_offices_are_operators_business_on_their_listener_only(registry: Registry) -> None:
    calls = [
        ("GET", "/v1/operator/offices"),
        ("POST", IMPORT),
        *(("POST", f"/v1/operator/offices/{MANAGER.office}/{act}") for act in ("suspend", "resume", "licence")),
    ]
    async with registry.stage.operators_client() as listener:
        for method, path in calls:
            assert (await listener.request(method, path, json=WORD)).status_code == 401
            answer = await listener.request(method, path, json=WORD, headers=registry.stage.token(MANAGER.office))
            assert (answer.status_code, answer.json()["code"]) == (403, "TDK-NOT-ALLOWED")
            elsewhere = await registry.http.request(method, path, json=WORD, headers=registry.stage.operator())
            assert elsewhere.status_code == 404


@pytest.mark.soak
@pytest.mark.timeout(300)
async def test_the_list_of_the_whole_country_is_imported(
    registry: Registry, operators: httpx.AsyncClient, record_property: Any
) -> None:
    lines = [HEADER, *office_lines(250_000)]
    for run, expected in (("first", "registered"), ("again", "unchanged")):
        began = time.perf_counter()
        report = await imported(operators, lines)
        record_property(f"seconds_{run}", round(time.perf_counter() - began, 1))
        assert report[expected] == 250_000
    async with registry.stage.db.worker() as tx:
        assert await tx.db.fetchval("SELECT count(*) FROM journal_office WHERE type = 'OfficeRegistered'") == 250_002
