"""Two offices with logins: their hashes are cheap, the registry's own work is not."""

import dataclasses
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any

import httpx
import pytest

from services.registry import offices
from services.registry.passwords import Argon2Cost, Passwords
from services.registry.rules import kj_id
from todoke.relay.clock import in_japan
from todoke.relay.postgres import queries
from todoke.relay.testing import ManualClock, Stage, journalled

WORD = {"reason": "国の一覧の更新", "ticket": "OPS-7"}
CHEAP = Argon2Cost(memory_kib=64, passes=1, lanes=1)
PERSON_PASSWORD = "correct horse battery"
OFFICE_PASSWORD = "staple of the office"

_store = queries("services.registry")


@dataclasses.dataclass(frozen=True)
class Login:
    """An office and its one person."""

    office: str
    c_id: str
    roles: tuple[str, ...] = ("admin",)
    licence_days: int | None = 365
    must_change: bool = False

    @property
    def kj_id(self) -> str:
        return kj_id(self.office)


MANAGER = Login("9970100018", "c0000000018")
HELPER = Login("9970100117", "c0000000026", roles=("staff",))


@dataclasses.dataclass
class Registry:
    """The registry on stage, and what a test does with it."""

    stage: Stage
    http: httpx.AsyncClient

    @property
    def clock(self) -> ManualClock:
        clock = self.stage.runtime.ports.clock
        assert isinstance(clock, ManualClock)
        return clock

    async def add(self, login: Login) -> None:
        passwords = Passwords(self.stage.runtime.ports.ids, CHEAP)
        hashes = [await passwords.hash(text) for text in (PERSON_PASSWORD, OFFICE_PASSWORD)]
        await passwords.close()
        async with self.stage.db.worker() as tx:
            await offices.register(tx, offices.MasterData(login.office, f"事業所 {login.office}", ("43",)))
            if login.licence_days is not None:
                until = in_japan(tx.now).date() + timedelta(days=login.licence_days)
                await offices.set_licence(tx, login.office, until=until, renews=True, cause="granted")
            await _store.insert_person(
                tx.db,
                id=login.c_id,
                name="練習 花子",
                password_hash=hashes[0],
                must_change=login.must_change,
                now=tx.now,
            )
            await _store.insert_credential(
                tx.db,
                office=login.office,
                kj_id=login.kj_id,
                password_hash=hashes[1],
                must_change=False,
                c_id=login.c_id,
                now=tx.now,
            )
            await offices.set_user(tx, login.office, login.c_id, login.roles, "active")

    async def first_step(self, user_id: str, password: str = PERSON_PASSWORD) -> httpx.Response:
        return await self.http.post("/v1/session/system", json={"user_id": user_id, "password": password})

    async def second_step(self, step: str, user_id: str, password: str = OFFICE_PASSWORD) -> httpx.Response:
        return await self.http.post(
            "/v1/session/office", json={"user_id": user_id, "password": password}, headers=bearer(step)
        )

    async def log_in(self, login: Login) -> dict[str, Any]:
        step = (await self.first_step(login.c_id)).json()["step_token"]
        answer = await self.second_step(step, login.kj_id)
        assert answer.status_code == 200, answer.text
        session: dict[str, Any] = answer.json()
        return session

    async def refresh(self, token: str) -> httpx.Response:
        return await self.http.post("/v1/session/refresh", json={"refresh_token": token})

    async def get(self, path: str, session: dict[str, Any]) -> httpx.Response:
        return await self.http.get(path, headers=bearer(session["access_token"]))

    async def post(self, path: str, session: dict[str, Any], body: Any) -> httpx.Response:
        return await self.http.post(path, json=body, headers=bearer(session["access_token"]))

    async def usage(self, kj_id: str, password: str = OFFICE_PASSWORD) -> httpx.Response:
        return await self.http.post("/v1/session/usage", json={"user_id": kj_id, "password": password})

    async def events(self, *kinds: str, since: int = 0) -> list[tuple[str, Mapping[str, Any]]]:
        """What was said, of these types (of all, when none is named)."""
        async with self.stage.db.worker() as tx:
            said = (await journalled(tx))[since:]
        return [(kind, json.loads(payload)) for kind, payload in said if not kinds or kind in kinds]

    async def run_timer(self, name: str) -> None:
        await next(timer for timer in self.stage.service.timers if timer.name == name).run()


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture
async def registry(on_stage: Callable[[str], Awaitable[Stage]]) -> AsyncIterator[Registry]:
    """The registry with MANAGER and HELPER."""
    stage = await on_stage("registry")
    async with stage.client() as http:
        found = Registry(stage, http)
        for login in (MANAGER, HELPER):
            await found.add(login)
        yield found


@pytest.fixture
async def operators(registry: Registry) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the operators' listener, logged in."""
    async with registry.stage.operators_client() as http:
        http.headers.update(registry.stage.operator())
        yield http
