"""Licences: renewed within their window, by themselves before they end, and what may still be done afterwards."""

from datetime import date, datetime, timedelta
from typing import Any

import httpx
import pytest

from services.registry import offices
from services.registry.rules import first_licence_until, renewed_until
from todoke.relay.clock import JAPAN, in_japan

from .conftest import HELPER, MANAGER, WORD, Login, Registry


async def licence_until(registry: Registry, office: str, until: date, *, renews: bool) -> None:
    async with registry.stage.db.worker() as tx:
        await offices.set_licence(tx, office, until=until, renews=renews, cause="corrected")


def today(registry: Registry) -> date:
    return in_japan(registry.clock.now()).date()


def move_to(registry: Registry, day: date, hour: int, minute: int) -> None:
    wanted = datetime(day.year, day.month, day.day, hour, minute, tzinfo=JAPAN)
    registry.clock.move(wanted - registry.clock.now())


async def own(registry: Registry, session: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = (await registry.get("/v1/office", session)).json()
    return found


@pytest.mark.parametrize(("left", "code"), [(91, "TDK-RENEWAL-EARLY"), (-31, "TDK-RENEWAL-LATE")])
async def test_a_renewal_outside_its_window_is_refused_with_the_day(registry: Registry, left: int, code: str) -> None:
    until = today(registry) + timedelta(days=left)
    await licence_until(registry, MANAGER.office, until, renews=False)
    session = (await registry.usage(MANAGER.kj_id)).json()
    refused = await registry.post("/v1/office/renewal", session, {})
    assert (refused.status_code, refused.json()["code"]) == (409, code)
    day = until - timedelta(days=90) if left > 0 else until + timedelta(days=30)
    assert f"{day.year}年{day.month}月{day.day}日" in refused.json()["title"] + refused.json()["detail"]
    assert (await own(registry, session))["renewal"]["possible"] is False


@pytest.mark.parametrize("left", [90, 0, -30])
async def test_a_renewal_within_its_window_adds_a_year_and_says_who_did_it(registry: Registry, left: int) -> None:
    until = today(registry) + timedelta(days=left)
    await licence_until(registry, MANAGER.office, until, renews=False)
    session = await registry.log_in(MANAGER)
    renewed = (await registry.post("/v1/office/renewal", session, {})).json()
    assert renewed["licence_until"] == renewed_until(until).isoformat()
    _, event = (await registry.events("LicenceChanged"))[-1]
    assert (event["cause"], event["actor"]) == ("renewed", {"kind": "person", "id": MANAGER.c_id})


async def test_an_application_for_renewal_renews_at_once(registry: Registry) -> None:
    until = today(registry) + timedelta(days=10)
    await licence_until(registry, MANAGER.office, until, renews=False)
    session = (await registry.usage(MANAGER.kj_id)).json()
    wish = {"kind": "renewal", "contact_name": "練習 花子", "mail": "hanako@example.jp", "auto_renew": True}
    assert (await registry.post("/v1/office/application", session, wish)).json()["state"] == "approved"
    mine = await own(registry, session)
    assert (mine["licence_until"], mine["renewal"]["renews"]) == (renewed_until(until).isoformat(), True)
    again = await registry.post("/v1/office/application", session, wish)
    assert again.json()["code"] == "TDK-RENEWAL-EARLY"
    new = await registry.post("/v1/office/application", session, {**wish, "kind": "new"})
    assert new.json()["code"] == "TDK-APPLICATION-THERE"
    assert len(await registry.events("ApplicationReceived", "ApplicationDecided")) == 2


async def test_a_licence_renews_by_itself_in_its_last_hour_unless_it_was_stopped(registry: Registry) -> None:
    until = today(registry) + timedelta(days=5)
    for login in (MANAGER, HELPER):
        await licence_until(registry, login.office, until, renews=True)
    session = (await registry.usage(HELPER.kj_id)).json()
    stopped = (await registry.post("/v1/office/auto_renew", session, {"renews": False})).json()
    assert stopped == {"licence_until": until.isoformat(), "renews": False, "next_renewal": None}
    count = len(await registry.events("LicenceChanged"))
    await registry.post("/v1/office/auto_renew", session, {"renews": False})
    move_to(registry, until, 22, 59)
    await registry.run_timer("renewals")
    assert len(await registry.events("LicenceChanged")) == count
    move_to(registry, until, 23, 1)
    await registry.run_timer("renewals")
    await registry.run_timer("renewals")
    ((_, event),) = (await registry.events("LicenceChanged"))[count:]
    assert (event["office"], event["until"], event["actor"]["kind"]) == (
        MANAGER.office, renewed_until(until).isoformat(), "system",
    )  # fmt: skip


async def test_what_an_office_may_do_ends_step_by_step_after_its_licence(registry: Registry) -> None:
    until = today(registry) + timedelta(days=1)
    await licence_until(registry, MANAGER.office, until, renews=False)
    standings = []
    for day, hour in ((0, 23), (1, 0), (30, 12), (31, 12), (60, 12), (61, 12)):
        move_to(registry, until + timedelta(days=day), hour, 30)
        session = (await registry.usage(MANAGER.kj_id)).json()
        standings.append((await own(registry, session))["standing"])
    assert standings == ["licensed", "fetching", "fetching", "reading", "reading", "outside"]
    step = (await registry.first_step(MANAGER.c_id)).json()["step_token"]
    refused = await registry.second_step(step, MANAGER.kj_id)
    assert (refused.status_code, refused.json()["code"]) == (403, "TDK-NO-LICENCE-ANY")
    assert "利用申請" in refused.json()["detail"]


async def test_only_administrators_write_the_affairs_of_an_office(registry: Registry) -> None:
    session = await registry.log_in(HELPER)
    for path, body in (
        ("/v1/office/renewal", {}),
        ("/v1/office/auto_renew", {"renews": False}),
        ("/v1/office/person_password", {"password": "x"}),
        ("/v1/office/users", {"name": "練習 次郎", "roles": ["staff"]}),
    ):
        refused = await registry.post(path, session, body)
        assert (refused.status_code, refused.json()["code"]) == (403, "TDK-NOT-ALLOWED"), path


async def test_a_certificate_is_recorded_and_shown_to_both_sides(
    registry: Registry, operators: httpx.AsyncClient
) -> None:
    path = f"/v1/operator/offices/{MANAGER.office}"
    body = {**WORD, "issuer": "Practice CA", "serial": "0A1B", "not_after": "2027-03-15T00:00:00Z"}
    assert (await operators.post(f"{path}/certificate", json=body)).json()["changed"] is True
    twice = await operators.post(f"{path}/certificate", json=body)
    assert (twice.status_code, twice.json()["code"]) == (409, "TDK-CERTIFICATE-THERE")
    await operators.post(f"{path}/certificate", json={**body, "serial": "0A1C", "not_after": "2028-03-15T00:00:00Z"})
    mine = await own(registry, await registry.log_in(MANAGER))
    assert (mine["certificate"]["serial"], mine["certificate"]["not_after"]) == ("0A1C", "2028-03-15T00:00:00Z")
    page = (await operators.get(path)).json()
    assert [each["serial"] for each in page["certificates"]] == ["0A1C", "0A1B"]
    said = await registry.events("CertificateChanged")
    assert [(event["serial"], event["version"]) for _, event in said] == [("0A1B", 1), ("0A1C", 2)]


async def test_operators_find_the_licences_that_end_soon(registry: Registry, operators: httpx.AsyncClient) -> None:
    soon = today(registry) + timedelta(days=20)
    await licence_until(registry, HELPER.office, soon, renews=False)
    await registry.add(Login("9970100216", "c0000000034", licence_days=None))
    before = {"licence_until_before": (soon + timedelta(days=1)).isoformat()}
    found = (await operators.get("/v1/operator/offices", params=before)).json()["items"]
    assert [item["number"] for item in found] == [HELPER.office]
    for first, numbers in ((soon, [HELPER.office]), (soon + timedelta(days=1), [])):
        params = {**before, "licence_until_from": first.isoformat()}
        found = (await operators.get("/v1/operator/offices", params=params)).json()["items"]
        assert [item["number"] for item in found] == numbers
    none = (await operators.get("/v1/operator/offices", params={"participation": "none"})).json()["items"]
    assert [item["number"] for item in none] == ["9970100216"]


def test_a_licence_ends_with_a_month_and_keeps_its_day() -> None:
    assert first_licence_until(date(2026, 3, 2)) == date(2027, 3, 31)
    assert renewed_until(date(2027, 2, 28)) == date(2028, 2, 29)
    assert renewed_until(date(2028, 2, 29)) == date(2029, 2, 28)
    assert renewed_until(date(2027, 5, 14)) == date(2028, 5, 14)
