"""The generated OpenAPI documents are the truth: whatever is sent, no answer is a 500 or outside of what they say.

schemathesis makes the requests, about messages, holds and sessions that are there, for sender, recipient and operator;
it also follows links from one answer to the next request (stateful). The services are the real ones behind real
listeners, events delivered in the background. Every operation must have succeeded, but for those in `NEVER`.
"""

import asyncio
import contextlib
import dataclasses
import itertools
import json
import socket
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import SkipTest

import httpx
import pyotp
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode, checks
from schemathesis.config import ProjectConfig, ProjectsConfig, SchemathesisConfig
from schemathesis.specs.openapi import checks as openapi_checks

from services.registry.demo import load_demo
from tests.services.ingest.conftest import Client
from tests.services.operators.conftest import Line, accepted, parking
from tests.services.test_two_offices import PICTURE
from tests.services.whole import Whole, whole
from todoke.events import SERVICES, MessageAccepted, record_of, topic_of
from todoke.relay.clock import Ports
from todoke.relay.faults import Transient
from todoke.relay.host import serve
from todoke.relay.kafka import ensure_topics
from todoke.relay.limits import Limits
from todoke.relay.reports import Run, write_report
from todoke.relay.testing import operator_token, operators_side
from todoke.relay.web import application

GENEROUS = Limits(
    requests_per_minute_user=10**9,
    sends_per_second_office=10**6,
    sends_reserve_office=10**9,
    bytes_per_hour_office=10**15,
    wait_seconds_max=0.05,
)
SENDER, RECIPIENT, CHANGER = "9970100018", "9970100117", "9970100216"
APPLICANT, RENEWER = "9970100315", "9970100414"
READY_SECONDS = 90
SECONDS_MAX = 20
"""For one answer: a rebuild that is asked for waits for its turn."""

HOLDS = 3
WORD = {"reason": "直しました", "ticket": "OPS-1"}
REBUILD = "/v1/operator/services/projection/rebuild"
CHECKS = [
    checks.not_a_server_error,
    openapi_checks.status_code_conformance,
    openapi_checks.content_type_conformance,
    openapi_checks.response_headers_conformance,
    openapi_checks.response_schema_conformance,
]
NEVER = {
    "GET /v1/stream": "does not end; services/projection/test_stream reads it",
    f"POST {REBUILD}/switch": "needs lists built anew out of Kafka; faults/test_rebuild",
    f"POST {REBUILD}/compare": "likewise",
    f"GET {REBUILD}/compare": "likewise",
}
"""Operations without a success here, and why."""

ENDLESS = "/v1/stream"

Seen = dict[str, set[int]]
Headers = dict[str, str]
Mended = dict[str, Any]
Knocked = Callable[[Any], Mended]


@dataclasses.dataclass(frozen=True)
class Running:
    """The services: where they are, who asks, and what is there to be asked for."""

    url: str
    operators_url: str
    people: Mapping[str, Headers]
    operator: Headers
    leaving: Headers
    """An operator whose session nobody else needs."""

    logins: Mapping[str, Mapping[str, str]]
    operator_login: Mapping[str, str]
    message: str
    """One with a picture, delivered."""

    text: str
    """One of text alone, delivered."""

    sha256: tuple[str, ...]
    holds: tuple[str, ...]
    report: int


@pytest.fixture
def running(engines: Any, run_home: Path, tmp_path: Path) -> Iterator[Running]:
    """The running services, in a thread of their own."""
    made: Future[Running] = Future()
    stopping = threading.Event()
    troubles: list[Exception] = []

    def run() -> None:
        try:
            troubles.extend(asyncio.run(_running(engines, run_home, tmp_path, made, stopping)))
        except Exception as error:
            made.set_exception(error)
            raise

    thread = threading.Thread(target=run, name="services")
    thread.start()
    try:
        yield made.result(READY_SECONDS)
    finally:
        stopping.set()
        thread.join(READY_SECONDS)
    assert not troubles


async def _running(
    engines: Any, home: Path, folder: Path, made: Future[Running], stopping: threading.Event
) -> list[Exception]:
    """Run until told to stop, or until something goes wrong; answers what did."""
    async with whole(engines, home, Ports.real(), limits=GENEROUS) as product:
        await ensure_topics(engines.kafka, [topic_of(name) for name in SERVICES], partitions=1, replication=1)
        await load_demo(product.stages["registry"].runtime, folder, "http://127.0.0.1", "http://127.0.0.1")
        public, operators = _free_port(), _free_port()
        closing = asyncio.Event()
        serving = [
            asyncio.create_task(serve(app, address="127.0.0.1", port=port, stopping=closing))
            for app, port in ((product.app(), public), (_operators(product), operators))
        ]
        flowing = asyncio.create_task(_flow(product))
        furnishing = asyncio.create_task(_furnish(product, folder, public, operators, made))
        both = (flowing, furnishing)
        while not (stopping.is_set() or any(each.done() and each.exception() for each in both)):  # noqa: ASYNC110 (another thread)
            await asyncio.sleep(0.05)
        for each in both:
            each.cancel()
        ended = await asyncio.gather(*both, return_exceptions=True)
        closing.set()
        await asyncio.gather(*serving)
    troubles = [each for each in ended if isinstance(each, Exception)]
    if not made.done():
        made.set_exception(troubles[0] if troubles else TimeoutError())
    return troubles


async def _furnish(product: Whole, folder: Path, public: int, operators: int, made: Future[Running]) -> None:
    for port in (public, operators):
        await _answers(f"http://127.0.0.1:{port}")
    made.set_result(await _furnished(product, folder, public, operators))


def _operators(product: Whole) -> Any:
    """The operators' application."""

    async def health() -> dict[str, object]:
        return {"status": "ready", "parts": {}}

    shared = product.shared
    routers = operators_side(*product.stages.values())
    return application("Operators", routers, metrics=shared.metrics, health=health, ids=shared.ports.ids)


async def _furnished(product: Whole, folder: Path, public: int, operators: int) -> Running:
    """What there is to be asked for: delivered messages, holds, a report."""
    demo = json.loads((folder / "demo.json").read_text(encoding="utf-8"))
    people = {office: product.token(office) for office in (SENDER, RECIPIENT)}
    message = await _delivered(product, {"recipient": RECIPIENT, "text": "a"}, [("a.png", PICTURE)])
    text = await _delivered(product, {"recipient": RECIPIENT, "text": "b"}, [])
    async with product.client() as http:
        item = (await http.get(f"/v1/messages/{message}", headers=people[SENDER])).json()
    routing = product.stages["routing"]
    run = Run("demand", product.shared.ports.clock.now(), compared="topic")
    await write_report(routing.db, run)
    async with routing.operators_client() as http:
        reports = await http.get("/v1/operator/services/routing/reconcile", headers=routing.operator())
    return Running(
        url=f"http://127.0.0.1:{public}",
        operators_url=f"http://127.0.0.1:{operators}",
        people=people,
        operator={"Authorization": f"Bearer {operator_token(product.shared, 'operator-1')}"},
        leaving={"Authorization": f"Bearer {operator_token(product.shared, 'operator-2')}"},
        logins={one["number"]: one for one in demo["offices"]},
        operator_login=demo["operator"],
        message=message,
        text=text,
        sha256=tuple(file["sha256"] for file in item["files"]),
        holds=tuple([await _held(product) for _ in range(HOLDS)]),
        report=reports.json()["items"][0]["id"],
    )


async def _delivered(product: Whole, body: dict[str, Any], files: list[tuple[str, bytes]]) -> str:
    """Send a message as soon as the offices are known, and wait until it has arrived."""
    async with product.client() as http:
        client = Client(http, product.token(SENDER))
        while (answer := await client.send(body, files, key=str(body["text"]))).status_code != 202:  # noqa: ASYNC110 (HTTP tells nobody)
            await asyncio.sleep(0.05)
        message_id = str(answer.json()["message_id"])
        path = f"/v1/messages/{message_id}"
        while (await http.get(path, headers=client.headers)).json()["status"] != "delivered":  # noqa: ASYNC110 (the same)
            await asyncio.sleep(0.05)
    return message_id


async def _held(product: Whole) -> str:
    """A message that routing holds, as its consumer would leave it behind."""
    routing, now = product.stages["routing"], product.shared.ports.clock.now()
    message_id = product.shared.ports.ids.uuid7()
    record = record_of(accepted(message_id), "validation", now, None)
    offset = message_id.int % 1_000_000_007
    line = Line(topic_of("validation"), 0, offset, 0, record.key.encode(), record.body, record.headers())
    handler = next(each for each in routing.service.handlers if MessageAccepted in each.hears)
    async with routing.db.worker() as tx:
        await parking(routing).park(tx, handler, str(message_id), line, "Poison: x", None)
    return str(message_id)


async def _flow(product: Whole) -> None:
    """Deliver events as they come; what fails for the moment comes again, as with every consumer."""
    while True:
        for hearer in product.stages:
            with contextlib.suppress(Transient):
                await product.deliver(hearer)
        await asyncio.sleep(0.05)


async def _answers(url: str) -> None:
    async with httpx.AsyncClient() as http:
        while True:
            with contextlib.suppress(httpx.TransportError):
                await http.get(f"{url}/health/live")
                return
            await asyncio.sleep(0.02)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Doors:
    """What makes a generated request one that can succeed: things that are there, and bodies that fit them."""

    def __init__(self, running: Running, http: httpx.Client) -> None:
        self._running = running
        self._numbers = itertools.count()
        self._http = http
        self._password = running.logins[CHANGER]["kj_password"]
        self._mends: dict[str, Knocked] = {
            "POST /v1/messages": lambda case: self._parts("message", self._message(case)),
            "POST /v1/messages/check": lambda case: self._parts("message", self._message(case)),
            "POST /v1/batches": self._batch,
            "POST /v1/messages/{message_id}/receipt": lambda _: {"json": {"sha256": list(running.sha256)}},
            "POST /v1/session/system": lambda _: {"json": self._person(CHANGER)},
            "POST /v1/session/office": lambda _: {"json": self._office(CHANGER), "headers": self._step(CHANGER)},
            "POST /v1/session/usage": lambda _: {"json": self._office(CHANGER)},
            "POST /v1/session/refresh": lambda _: {"json": {"refresh_token": self._session()["refresh_token"]}},
            "POST /v1/session/password": self._new_password,
            "DELETE /v1/session/{session}": self._own_session,
            "GET /v1/session/list": lambda _: {"headers": self._bearer(self._session())},
            "POST /v1/notifications/webhooks": lambda _: {"json": self._webhook()},
            "GET /v1/notifications/webhooks/{webhook_id}": self._made_webhook,
            "DELETE /v1/notifications/webhooks/{webhook_id}": self._made_webhook,
            "PUT /v1/notifications/{owner}": lambda _: {
                "json": {"mail": [{"address": "a@example.jp", "events": ["delivered"]}], "reminder_days": 3}
            },
            "POST /v1/operator/session": lambda _: {"json": self._operator()},
            "POST /v1/operator/offices/import": self._import,
            f"DELETE {REBUILD}": self._rebuild,
            "GET /v1/notices/{notice}": self._notice,
            "POST /v1/notices/{notice}/read": self._reading,
            "GET /v1/operator/notices/{notice}": self._notice,
            "POST /v1/operator/notices/{notice}/withdraw": self._notice,
            "PATCH /v1/office/users/{user_id}": self._user,
            "POST /v1/office/application": self._applying,
            "POST /v1/operator/applications/{application}/approve": self._application,
            "POST /v1/operator/applications/{application}/refuse": self._application,
            "POST /v1/office/renewal": self._renewing,
            "POST /v1/office/person_password": lambda _: {
                "json": {"password": running.logins[RENEWER]["kj_password"]},
                "headers": self._usage(RENEWER),
            },
            "POST /v1/operator/offices": lambda _: {"json": self._newcomer()},
            "GET /v1/operator/offices/{number}/letter": self._letter,
        }

    def headers(self, label: str, person: str) -> Headers:
        """Who asks. What ends a session never ends one that is needed."""
        if label == "DELETE /v1/operator/session":
            return dict(self._running.leaving)
        if label.partition(" ")[2].startswith("/v1/operator"):
            return dict(self._running.operator)
        if label == "DELETE /v1/session":
            return self._bearer(self._session())
        return dict(self._running.people[person])

    def point(self, case: Any) -> None:
        """Let the path name what is there."""
        there = {
            "message_id": self._running.text if case.path.endswith("/recall") else self._running.message,
            "n": "1",
            "number": RECIPIENT,
            "owner": "own",
            "service": "routing",
            "report": self._running.report,
            "subject": self._hold(case.path),
        }
        case.path_parameters = {name: there.get(name, value) for name, value in case.path_parameters.items()}

    def mend(self, case: Any) -> Mended:
        """What to send instead of what was generated, as `requests` takes it."""
        return self._mends.get(case.operation.label, self._with_a_word)(case)

    def _with_a_word(self, case: Any) -> Mended:
        """Every word of an operator is taken as it was generated, unless its ticket or reason do not fit."""
        is_change = case.path.startswith("/v1/operator") and case.method != "GET" and isinstance(case.body, dict)
        return {"json": {**case.body, **WORD}} if is_change else {}

    def _hold(self, path: str) -> str:
        """A hold for each of those who decide about it, and one that stays."""
        show, retry, discard = self._running.holds
        return {"retry": retry, "discard": discard}.get(path.rpartition("/")[2], show)

    def _message(self, case: Any) -> dict[str, Any]:
        """As generated, but to somebody, under a sequence of its own, and never empty."""
        made = case.body.get("message") if isinstance(case.body, dict) else None
        text = made.get("text") if isinstance(made, dict) else None
        fits = (
            isinstance(text, str) and text.strip() and text.isprintable() and len(text) <= GENEROUS.text_characters_max
        )
        return {"recipient": RECIPIENT, "text": text if fits else "a"}

    def _parts(self, part: str, content: Any, *files: tuple[str, tuple[str, bytes, str]]) -> Mended:
        given = files or (("files", ("図.png", PICTURE, "image/png")),)
        body = (part, (None, json.dumps(content), "application/json"))
        return {"files": [body, *given], "headers": {"Idempotency-Key": f"key-{next(self._numbers)}"}}

    def _batch(self, _: Any) -> Mended:
        keys = [f"key-{next(self._numbers)}" for _ in range(2)]
        messages = [{"recipient": RECIPIENT, "text": "a", "idempotency_key": key, "files": ["f1"]} for key in keys]
        # The second is refused: a batch answers for each of its messages.
        messages[1]["recipient"] = SENDER
        return self._parts("messages", messages, ("f1", ("a.png", PICTURE, "image/png")))

    def _person(self, office: str) -> dict[str, str]:
        login = self._running.logins[office]
        return {"user_id": login["c_id"], "password": login["c_password"]}

    def _office(self, office: str) -> dict[str, str]:
        login = self._running.logins[office]
        return {"user_id": login["kj_id"], "password": self._password if office == CHANGER else login["kj_password"]}

    def _step(self, office: str) -> Headers:
        answer = self._http.post(f"{self._running.url}/v1/session/system", json=self._person(office))
        return {"Authorization": f"Bearer {answer.json()['step_token']}"}

    def _session(self) -> dict[str, Any]:
        """A session that nobody else needs."""
        url = f"{self._running.url}/v1/session/office"
        session: dict[str, Any] = self._http.post(url, json=self._office(CHANGER), headers=self._step(CHANGER)).json()
        return session

    def _bearer(self, session: dict[str, Any]) -> Headers:
        return {"Authorization": f"Bearer {session['access_token']}"}

    def _new_password(self, _: Any) -> Mended:
        bearer = self._bearer(self._session())
        old, self._password = self._password, f"{self._password[:20]}-{next(self._numbers)}"
        return {"json": {"which": "office", "old": old, "new": self._password}, "headers": bearer}

    def _own_session(self, case: Any) -> Mended:
        bearer = self._bearer(self._session())
        [*_, one] = self._http.get(f"{self._running.url}/v1/session/list", headers=bearer).json()["items"]
        case.path_parameters = {"session": one["id"]}
        return {"headers": bearer}

    def _webhook(self) -> dict[str, Any]:
        return {"url": f"https://example.jp/{next(self._numbers)}", "events": ["delivered"]}

    def _made_webhook(self, case: Any) -> Mended:
        """One made for this call: an office may have ten, and some of them go again."""
        headers = self._running.people[SENDER]
        url = f"{self._running.url}/v1/notifications/webhooks"
        made = self._http.post(url, json=self._webhook(), headers=headers)
        listed = self._http.get(url, headers=headers).json()["items"]
        case.path_parameters = {"webhook_id": made.json().get("id", listed[-1]["id"])}
        return {"headers": headers}

    def _operator(self) -> dict[str, str]:
        login = self._running.operator_login
        code = pyotp.TOTP(login["totp_secret"]).at(datetime.now().astimezone())
        return {"user_id": login["user_id"], "password": login["password"], "totp": code}

    def _operate(self, path: str, **more: Any) -> Any:
        """A call of an operator."""
        url = f"{self._running.operators_url}/v1/operator{path}"
        return self._http.post(url, json={**more, **WORD}, headers=self._running.operator)

    def _usage(self, office: str) -> Headers:
        """The office itself."""
        return self._bearer(self._http.post(f"{self._running.url}/v1/session/usage", json=self._office(office)).json())

    def _notice(self, case: Any) -> Mended:
        case.path_parameters = {"notice": self._operate("/notices", title="お知らせ", text="a").json()["id"]}
        return self._with_a_word(case)

    def _reading(self, case: Any) -> Mended:
        """By a person whom the registry knows: it keeps who has read what."""
        return {**self._notice(case), "headers": self._bearer(self._session())}

    def _user(self, case: Any) -> Mended:
        url, headers = f"{self._running.url}/v1/office/users", self._running.people[SENDER]
        made = self._http.post(url, json={"name": "a", "roles": ["staff"]}, headers=headers).json()
        case.path_parameters = {"user_id": made["user"]["id"]}
        return {"json": {"name": "b"}, "headers": headers}

    def _applying(self, _: Any) -> Mended:
        """From an office without a licence."""
        self._operate(f"/offices/{APPLICANT}/licence", until=None, cause="ended")
        body = {"kind": "new", "contact_name": "a", "mail": "a@example.jp"}
        return {"json": body, "headers": self._usage(APPLICANT)}

    def _application(self, case: Any) -> Mended:
        """One that waits."""
        self._http.post(f"{self._running.url}/v1/office/application", **self._applying(case))
        office = self._http.get(f"{self._running.url}/v1/office", headers=self._usage(APPLICANT)).json()
        case.path_parameters = {"application": office["application"]["id"]}
        return {"json": {"answer": "a", **WORD} if case.path.endswith("/refuse") else WORD}

    def _renewing(self, _: Any) -> Mended:
        """In the last days of a licence."""
        soon = datetime.now().astimezone() + timedelta(days=10)
        self._operate(f"/offices/{RENEWER}/licence", until=soon.date().isoformat(), cause="corrected")
        return {"json": {}, "headers": self._usage(RENEWER)}

    def _newcomer(self) -> dict[str, Any]:
        return {"number": f"9980{next(self._numbers):06d}", "name": "a", "service_types": ["11"], **WORD}

    def _letter(self, case: Any) -> Mended:
        newcomer = self._newcomer()
        self._operate("/offices", **newcomer)
        self._operate(f"/offices/{newcomer['number']}/letter")
        case.path_parameters = {"number": newcomer["number"]}
        return {}

    def _rebuild(self, _: Any) -> Mended:
        """There is something to give up."""
        self._http.post(f"{self._running.operators_url}{REBUILD}", json=WORD, headers=self._running.operator)
        return {"json": WORD}

    def _import(self, _: Any) -> Mended:
        sheet = b"number,name\n9970100999,x\n"
        act = (None, json.dumps({**WORD, "dry_run": True}), "application/json")
        return {"files": [("act", act), ("file", ("offices.csv", sheet, "text/csv"))]}


def document(url: str, headers: Headers) -> Any:
    """The document that the services serve."""
    project = ProjectConfig(headers=headers, request_timeout=SECONDS_MAX)
    config = SchemathesisConfig(projects=ProjectsConfig(default=project))
    return schemathesis.openapi.from_url(f"{url}/openapi.json", config=config).exclude(path=ENDLESS)


def judged(seen: Seen, response: Any, case: Any) -> None:
    case.validate_response(response, checks=CHECKS)
    seen[case.operation.label].add(response.status_code)


def bounded(examples: int, **more: Any) -> settings:
    return settings(
        max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True, **more
    )


def walk(running: Running, *, examples: int, steps: int) -> Seen:
    """From answer to request to answer, each held against the document."""
    seen: Seen = defaultdict(set)
    schema = document(running.url, dict(running.people[SENDER])).exclude(path="/v1/session", method="DELETE")
    base: Any = schema.as_state_machine()

    class Machine(base):  # type: ignore[misc]
        def validate_response(self, response: Any, case: Any, **_: Any) -> None:
            judged(seen, response, case)

    Machine.run(settings=bounded(examples, stateful_step_count=steps))
    return seen


def knock(schema: Any, doors: Doors, person: str, *, examples: int) -> Seen:
    """At every call, with what it wants and with what it does not want, about things that are there.

    Raises an `ExceptionGroup` of what was wrong, once everything has been asked.
    """
    seen: Seen = defaultdict(set)
    wrong: list[Exception] = []
    for found in schema.get_all_operations():
        for mode in GenerationMode:
            try:
                _ask(found.ok(), mode, doors, person, seen, examples)
            except (SkipTest, Unsatisfiable):  # nothing can be wrong with a call without anything
                continue
            except Exception as error:  # noqa: BLE001 (told below, with all others)
                error.add_note(f"{found.ok().label}, {mode.name}, {person}")
                wrong.append(error)
    if wrong:
        raise ExceptionGroup("answers outside the document", wrong)
    return seen


def _ask(operation: Any, mode: GenerationMode, doors: Doors, person: str, seen: Seen, examples: int) -> None:
    @given(case=operation.as_strategy(generation_mode=mode))
    @bounded(examples)
    def call(case: Any) -> None:
        headers, mended = doors.headers(operation.label, person), Mended()
        if mode is GenerationMode.POSITIVE or case.media_type is not None:
            doors.point(case)
        if mode is GenerationMode.POSITIVE:
            mended = doors.mend(case)
        headers.update(mended.pop("headers", {}))
        judged(seen, case.call(headers=headers, **mended), case)

    call()


def everywhere(running: Running, *, examples: int) -> Seen:
    """Both documents, for everybody; which statuses each operation gave."""
    seen: Seen = defaultdict(set)
    public, operators = document(running.url, {}), document(running.operators_url, {})
    with httpx.Client(timeout=SECONDS_MAX) as http:
        doors = Doors(running, http)
        for schema, person in ((public, SENDER), (public, RECIPIENT), (operators, SENDER)):
            for label, statuses in knock(schema, doors, person, examples=examples).items():
                seen[label] |= statuses
    labels = {found.ok().label for schema in (public, operators) for found in schema.get_all_operations()}
    assert labels <= seen.keys()
    return seen


def without_success(seen: Seen) -> dict[str, list[int]]:
    return {
        label: sorted(statuses) for label, statuses in seen.items() if not any(200 <= one < 300 for one in statuses)
    }


@pytest.mark.long
def test_no_answer_lies_outside_the_documents(running: Running) -> None:
    seen = everywhere(running, examples=2)
    assert {label: seen for label, seen in without_success(seen).items() if label not in NEVER} == {}
    assert {404, 409, 422} <= set().union(*seen.values())
    walk(running, examples=5, steps=10)


@pytest.mark.soak
def test_no_answer_lies_outside_the_documents_for_thousands_of_requests(running: Running) -> None:
    seen = everywhere(running, examples=100)
    assert {label: seen for label, seen in without_success(seen).items() if label not in NEVER} == {}
    walk(running, examples=300, steps=30)
