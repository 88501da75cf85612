"""The typed client against the registry: an office's own affairs, and what operators' screens ask for."""

from datetime import date

import httpx
import pytest

from todoke.client import ApiError, AsyncClient
from todoke.client.ops_shapes import Audience, NewNotice, NewOffice, Word

from .conftest import MANAGER, OFFICE_PASSWORD, PERSON_PASSWORD, Registry

WORD = Word(reason="国の一覧の更新", ticket="OPS-7")
NUMBER = "9970100612"


class At(httpx.AsyncBaseTransport):
    """The application behind a client of a stage, which goes on after one client has closed."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        content = await request.aread()
        answer = await self._http.request(request.method, request.url, headers=request.headers, content=content)
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)


def client(http: httpx.AsyncClient) -> AsyncClient:
    return AsyncClient("http://todoke.test", transport=At(http))


async def test_the_client_of_an_office_sees_to_its_affairs(registry: Registry) -> None:
    async with client(registry.http) as office:
        answer = await office.login_usage(MANAGER.kj_id, OFFICE_PASSWORD)
        assert answer.user is None
        assert (await office.own_office()).standing == "licensed"
        assert (await office.set_auto_renewal(renews=False)).next_renewal is None
        with pytest.raises(ApiError, match="TDK-RENEWAL-EARLY"):
            await office.renew_licence()
        with pytest.raises(ApiError, match="TDK-APPLICATION-THERE"):
            await office.apply_for_licence("new", "練習 花子", "hanako@example.jp")
        issued = await office.make_person_password(OFFICE_PASSWORD)
        assert issued.c_id == MANAGER.c_id
    async with client(registry.http) as office:
        with pytest.raises(ApiError, match="TDK-LOGIN-FAILED"):
            await office.login(MANAGER.c_id, PERSON_PASSWORD, MANAGER.kj_id, OFFICE_PASSWORD)
        await office.login(MANAGER.c_id, issued.password, MANAGER.kj_id, OFFICE_PASSWORD)
        await office.change_password("person", issued.password, PERSON_PASSWORD)
        await office.refresh()
        added = await office.add_user("練習 次郎", ["viewer"])
        changed = await office.change_user(added.user.id, roles=["staff"], new_password=True)
        assert (changed.user.roles, changed.password) != (("viewer",), added.password)
        assert {user.id for user in await office.users()} == {MANAGER.c_id, added.user.id}
        assert (await office.notices()).items == ()


async def test_the_client_of_an_operator_registers_tells_and_decides(
    registry: Registry, operators: httpx.AsyncClient
) -> None:
    token = registry.stage.operator()["Authorization"].removeprefix("Bearer ")
    async with client(operators) as desk:
        made = await desk.register_office(token, NewOffice(number=NUMBER, name="ひびき", service_types=("11",)), WORD)
        assert made.kj_id == f"KJ99{NUMBER}"
        assert (await desk.change_office(token, NUMBER, {"phone": "099-555-0161"}, WORD)).changed
        assert (await desk.suspend_office(token, NUMBER, WORD)).changed
        assert (await desk.resume_office(token, NUMBER, WORD)).changed
        assert (await desk.make_letter(token, NUMBER, WORD, date(2026, 11, 4))).startswith(b"%PDF")
        page = await desk.operator_office(token, NUMBER)
        assert (page.facts.phone, page.letter and page.letter.made_by) == ("099-555-0161", "operator-1")
        found = await desk.operator_offices(token, q="ひびき", participation="none")
        assert [office.number for office in found.items] == [NUMBER]

        assert await desk.operator_prefectures(token) == ()
        for number, prefecture in ((NUMBER, "あおぞら県"), (MANAGER.office, "ひびき県")):
            await desk.change_office(token, number, {"prefecture": prefecture}, WORD)
        assert await desk.operator_prefectures(token) == ("ひびき県", "あおぞら県")
        text = NewNotice(title="件名", text="本文", audience=Audience(kind="service_types", values=("43",)))
        notice = await desk.publish_notice(token, text, WORD)
        assert [each.id for each in (await desk.operator_notices(token)).items] == [notice.id]
        async with client(registry.http) as office:
            await office.login(MANAGER.c_id, PERSON_PASSWORD, MANAGER.kj_id, OFFICE_PASSWORD)
            await office.mark_notice_read(notice.id)
            assert (await office.notice(notice.id)).text == "本文"
        assert (await desk.withdraw_notice(token, notice.id, WORD)).withdrawn_at is not None
        assert (await desk.operator_notice(token, notice.id)).made_by == "operator-1"

        async with registry.stage.db.worker() as tx:
            await tx.db.execute("UPDATE office SET licence_until = NULL WHERE number = $1", MANAGER.office)
        async with client(registry.http) as office:
            await office.login_usage(MANAGER.kj_id, OFFICE_PASSWORD)
            await office.apply_for_licence("new", "練習 花子", "hanako@example.jp")
            [waiting] = (await desk.operator_applications(token, state="received")).items
            refused = await desk.refuse_application(token, waiting.id, "番号をご確認ください。", WORD)
            assert (refused.state, refused.office.number) == ("refused", MANAGER.office)
            again = await office.apply_for_licence("new", "練習 花子", "hanako@example.jp")
            assert (await desk.approve_application(token, again.id, WORD)).c_id == MANAGER.c_id
        await desk.operator_logout(token)
