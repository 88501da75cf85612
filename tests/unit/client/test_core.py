"""The decisions of the client: what is repeated, how long, when the session is renewed."""

import json
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from todoke.client import ApiError, AsyncClient, Client, MemoryStore, NotLoggedIn, Patience, Session, Unreachable
from todoke.client.core import Upload
from todoke.client.shapes import SessionOffice

NOW = datetime(2025, 9, 1, 3, 0, tzinfo=UTC)
SUBMITTED = {
    "message_id": "01990000-0000-7000-8000-000000000001",
    "sequence": "20250901120000",
    "sender": {"number": "9970100018", "name": "甲"},
    "recipient": {"number": "9970100117", "name": "乙"},
    "submitted_at": "2025-09-01T03:00:00Z",
    "receipt": "a.b.c",
    "replayed": False,
}


class StillClock:
    """Time that moves only when the client sleeps."""

    def __init__(self) -> None:
        self.passed = 0.0
        self.pauses: list[float] = []
        self.keys = 0

    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.passed)

    def monotonic(self) -> float:
        return self.passed

    def fraction(self) -> float:
        return 1.0

    def key(self) -> str:
        self.keys += 1
        return f"key-{self.keys}"

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.passed += seconds


class Script:
    """A transport that plays answers in order and remembers what it was asked."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        request.read()
        self.asked.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def session(access: str = "access-1", seconds: int = 3600) -> Session:
    return Session(
        url="http://127.0.0.1:8080",
        access_token=access,
        access_until=NOW + timedelta(seconds=seconds),
        refresh_token="refresh-1",
        refresh_until=NOW + timedelta(hours=8),
        office=SessionOffice(number="9970100018", name="甲"),
    )


def renewed(access: str) -> httpx.Response:
    return httpx.Response(
        200,
        json={
            "access_token": access,
            "expires_in": 3600,
            "refresh_token": "refresh-2",
            "refresh_expires_in": 28800,
            "must_change": [],
            "office": {"number": "9970100018", "name": "甲", "service_types": ["43"]},
            "user": None,
        },
    )


def problem(status: int, code: str, headers: dict[str, str] | None = None) -> httpx.Response:
    body = {"title": "題", "status": status, "detail": "やること", "code": code, "number": None, "errors": []}
    return httpx.Response(status, json=body, headers=headers)


def client_of(script: Script, clock: StillClock, store: MemoryStore | None = None, seconds: float = 60) -> Client:
    return Client(
        store=store or MemoryStore(session()),
        clock=clock,
        patience=Patience(seconds=seconds),
        transport=httpx.MockTransport(script),
        sleep=clock.sleep,
    )


def test_a_send_is_repeated_with_the_same_key_until_an_answer_comes() -> None:
    clock = StillClock()
    script = Script(httpx.ReadTimeout("x"), problem(503, "TDK-AWAY"), httpx.Response(202, json=SUBMITTED))
    answer = client_of(script, clock).send("9970100117", text="文", files=[Upload("a.pdf", b"%PDF")])
    assert answer.sequence == "20250901120000"
    assert [request.headers["Idempotency-Key"] for request in script.asked] == ["key-1"] * 3
    assert len(clock.pauses) == 2


def test_retry_after_is_honoured_with_jitter_on_top() -> None:
    clock = StillClock()
    script = Script(
        problem(429, "TDK-RATE", {"Retry-After": "7"}), httpx.Response(200, json={"sent": {}, "received": {}})
    )
    client_of(script, clock).counts()
    assert clock.pauses == [pytest.approx(7.2)]


def test_retry_after_may_be_a_date() -> None:
    clock = StillClock()
    later = "Mon, 01 Sep 2025 03:00:09 GMT"
    script = Script(problem(503, "TDK-AWAY", {"Retry-After": later}), httpx.Response(200, json={"sent": {}}))
    client_of(script, clock).counts()
    assert clock.pauses == [pytest.approx(9.2)]


def test_patience_ends_before_a_long_retry_after() -> None:
    clock = StillClock()
    script = Script(problem(503, "TDK-AWAY", {"Retry-After": "120"}))
    with pytest.raises(ApiError) as refused:
        client_of(script, clock).counts()
    assert (refused.value.status, refused.value.retry_after, clock.pauses) == (503, 120.0, [])


def test_pauses_grow_and_the_deadline_bounds_them_all() -> None:
    clock = StillClock()
    script = Script(*[httpx.ConnectError("x") for _ in range(50)])
    with pytest.raises(Unreachable) as silence:
        client_of(script, clock, seconds=30).counts()
    assert not silence.value.sent
    assert clock.pauses[:4] == pytest.approx([0.2, 0.4, 0.8, 1.6])
    assert clock.passed <= 30


def test_a_login_is_not_repeated_once_it_may_have_arrived() -> None:
    clock = StillClock()
    script = Script(httpx.ReadTimeout("x"))
    with pytest.raises(Unreachable) as silence:
        client_of(script, clock, MemoryStore()).login("c1", "p", "KJ1", "p")
    assert silence.value.sent
    assert len(script.asked) == 1


def test_a_login_is_repeated_while_nobody_listens() -> None:
    clock = StillClock()
    step = httpx.Response(200, json={"step_token": "step", "expires_in": 600})
    script = Script(httpx.ConnectError("x"), step, renewed("access-9"))
    store = MemoryStore()
    begun = client_of(script, clock, store).login("c1", "p", "KJ1", "q")
    assert begun.access_token == "access-9"
    assert store.load() == begun
    assert script.asked[2].headers["Authorization"] == "Bearer step"
    assert json.loads(script.asked[2].content) == {"user_id": "KJ1", "password": "q"}


def test_an_ended_access_token_is_renewed_once() -> None:
    clock = StillClock()
    script = Script(
        problem(401, "TDK-NO-SESSION"), renewed("access-2"), httpx.Response(200, json={"sent": {"delivered": 2}})
    )
    store = MemoryStore(session())
    counts = client_of(script, clock, store).counts()
    assert counts.sent == {"delivered": 2}
    assert [request.headers.get("Authorization") for request in script.asked] == [
        "Bearer access-1",
        None,
        "Bearer access-2",
    ]
    kept = store.load()
    assert kept is not None
    assert kept.refresh_token == "refresh-2"


def test_a_second_401_is_an_error_and_not_a_circle() -> None:
    script = Script(problem(401, "TDK-X"), renewed("access-2"), problem(401, "TDK-X"))
    with pytest.raises(ApiError) as refused:
        client_of(script, StillClock()).counts()
    assert refused.value.code == "TDK-X"


def test_a_token_about_to_end_is_renewed_before_use() -> None:
    script = Script(renewed("access-2"), httpx.Response(200, json={"sent": {}}))
    client_of(script, StillClock(), MemoryStore(session(seconds=10))).counts()
    assert [request.url.path for request in script.asked] == ["/v1/session/refresh", "/v1/counts"]


def test_a_session_renewed_by_another_program_is_taken_over_without_a_refresh() -> None:
    script = Script(problem(401, "TDK-X"), httpx.Response(200, json={"sent": {}}))
    store = MemoryStore(session())
    client = client_of(script, StillClock(), store)
    store.save(session("access-7"))
    client.counts()
    assert script.asked[1].headers["Authorization"] == "Bearer access-7"


def test_an_ended_session_is_forgotten() -> None:
    script = Script(problem(401, "TDK-X"), problem(401, "TDK-SESSION-ENDED"))
    store = MemoryStore(session())
    with pytest.raises(NotLoggedIn):
        client_of(script, StillClock(), store).counts()
    assert store.load() is None


def test_without_a_session_nothing_is_asked() -> None:
    script = Script()
    with pytest.raises(NotLoggedIn):
        client_of(script, StillClock(), MemoryStore()).counts()
    assert script.asked == []


def test_a_problem_carries_code_number_title_and_places() -> None:
    body = {
        "title": "見つかりません。",
        "status": 422,
        "detail": "番号を確かめてください。",
        "code": "TDK-UNKNOWN-OFFICE",
        "number": "E-301",
        "errors": [{"where": "recipient", "message": "ありません"}],
    }
    with pytest.raises(ApiError) as refused:
        client_of(Script(httpx.Response(422, json=body)), StillClock()).office("9970100999")
    error = refused.value
    assert (error.code, error.number, error.title) == ("TDK-UNKNOWN-OFFICE", "E-301", "見つかりません。")
    assert error.errors[0].where == "recipient"


def test_a_front_that_answers_html_is_still_an_api_error() -> None:
    with pytest.raises(ApiError) as refused:
        client_of(Script(httpx.Response(404, text="<html>")), StillClock()).counts()
    assert refused.value.code == "HTTP-404"


def test_pages_are_followed_to_the_end() -> None:
    row = {**SUBMITTED, "status": "delivered", "text": None, "files": []}
    script = Script(
        httpx.Response(200, json={"items": [row], "next": "c2"}),
        httpx.Response(200, json={"items": [row], "next": None}),
    )
    items = list(client_of(script, StillClock()).each_sent(partner="9970100117", limit=1))
    assert len(items) == 2
    assert script.asked[1].url.params["cursor"] == "c2"
    assert script.asked[1].url.params["partner"] == "9970100117"


def test_since_goes_on_after_the_last_number_and_knows_stubs() -> None:
    row = {**SUBMITTED, "status": "delivered", "text": None, "files": [], "delivery_no": 18}
    stub = {"delivery_no": 19, "message_id": SUBMITTED["message_id"], "status": "recalled"}
    script = Script(httpx.Response(200, json={"items": [row, stub]}), httpx.Response(200, json={"items": []}))
    found = list(client_of(script, StillClock()).each_received_since(17))
    assert [type(item).__name__ for item in found] == ["Item", "Stub"]
    assert [request.url.params["since"] for request in script.asked] == ["17", "19"]


async def test_the_asynchronous_client_decides_the_same() -> None:
    clock = StillClock()
    script = Script(
        httpx.ReadTimeout("x"), problem(401, "TDK-X"), renewed("access-2"), httpx.Response(202, json=SUBMITTED)
    )

    async def sleep(seconds: float) -> None:
        clock.sleep(seconds)

    client = AsyncClient(store=MemoryStore(session()), clock=clock, transport=httpx.MockTransport(script), sleep=sleep)
    async with client:
        answer = await client.send("9970100117", text="文")
    assert not answer.replayed
    assert [request.headers.get("Authorization") for request in script.asked] == [
        "Bearer access-1",
        "Bearer access-1",
        None,
        "Bearer access-2",
    ]


def test_the_message_part_and_the_files_are_multipart_with_their_names() -> None:
    script = Script(httpx.Response(202, json=SUBMITTED))
    client_of(script, StillClock()).send("9970100117", files=[Upload("提供票.pdf", b"%PDF-1")], idempotency_key="mine")
    body = script.asked[0].content
    assert b'name="message"' in body
    assert 'filename="提供票.pdf"'.encode() in body
    assert b"application/json" in body
