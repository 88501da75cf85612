"""Every endpoint × every method × everybody × another office's ids: as absent as what never was, after the same work.

The operations and their parameters are those of the generated OpenAPI documents: a new one fails here until it is said
what it is about, and what somebody else's looks like in it.
"""

import dataclasses
import json
import re
from collections.abc import Iterator
from typing import Any, Literal

import pytest

from tests.services.registry.conftest import OFFICE_PASSWORD
from todoke.relay.access import INTERNAL_SECRET_HEADER
from todoke.relay.policy import Act

from .conftest import KEY, OWNER, PARTNER, STRANGER, TEXT, Answer, Owned, Scene

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.long]

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")


@dataclasses.dataclass(frozen=True)
class Op:
    """What a call is about.

    `message`, `webhook`, `session`, `user` and `notice` are things of an office or a person, named by an id; `own` is
    about the caller's own, whoever that is; `public` says the same to every office; `open` asks for no session. `act`
    is what the policy calls it; None where every session of an office may.
    """

    about: Literal["message", "webhook", "session", "user", "notice", "own", "public", "open"]
    act: Act | None = None
    body: Any = None
    upload: bool = False
    usage: bool = False
    """Whether the office itself (利用状況Webサイト) may, too."""


OPERATIONS: dict[str, Op] = {
    "GET /v1/messages/{message_id}": Op("message", "lists"),
    "GET /v1/messages/{message_id}/accesses": Op("message", "lists"),
    "GET /v1/messages/{message_id}/evidence": Op("message", "evidence"),
    "GET /v1/messages/{message_id}/files/{n}": Op("message", "fetch"),
    "GET /v1/messages/{message_id}/findings": Op("message", "findings"),
    "GET /v1/messages/{message_id}/zip": Op("message", "fetch"),
    "POST /v1/messages/{message_id}/recall": Op("message", "recall", {"reason": "誤り"}),
    "POST /v1/messages/{message_id}/receipt": Op("message", "receipt", {"sha256": []}),
    "GET /v1/notifications/webhooks/{webhook_id}": Op("webhook", "manage"),
    "DELETE /v1/notifications/webhooks/{webhook_id}": Op("webhook", "manage"),
    "DELETE /v1/session/{session}": Op("session", usage=True),
    "PATCH /v1/office/users/{user_id}": Op("user", "manage", {"end_sessions": True}),
    "GET /v1/notices/{notice}": Op("notice", "own_office"),
    "POST /v1/notices/{notice}/read": Op("notice", "own_office"),
    "POST /v1/batches": Op("own", "send", upload=True),
    "POST /v1/messages": Op("own", "send", upload=True),
    "POST /v1/messages/check": Op("own", "check", upload=True),
    "GET /v1/changes": Op("own", "lists"),
    "GET /v1/counts": Op("own", "lists"),
    "GET /v1/received": Op("own", "lists"),
    "GET /v1/sent": Op("own", "lists"),
    "GET /v1/stream": Op("own", "lists"),
    "POST /v1/search": Op("own", "lists", {"box": "sent", "text": TEXT}),
    "GET /v1/office": Op("own", "own_office", usage=True),
    "POST /v1/office/application": Op(
        "own", "manage", {"kind": "new", "contact_name": "担当 一郎", "mail": "desk@example.jp"}, usage=True
    ),
    "POST /v1/office/renewal": Op("own", "manage", {}, usage=True),
    "POST /v1/office/auto_renew": Op("own", "manage", {"renews": True}, usage=True),
    "POST /v1/office/person_password": Op("own", "manage", {"password": OFFICE_PASSWORD}, usage=True),
    "GET /v1/office/users": Op("own", "own_office"),
    "POST /v1/office/users": Op("own", "manage", {"name": "推量 花子", "roles": ["staff"], "user_id": OWNER.c_id}),
    "GET /v1/notices": Op("own", "own_office"),
    "GET /v1/notifications/webhooks": Op("own", "manage"),
    "POST /v1/notifications/webhooks": Op("own", "manage", {"url": "https://example.jp/x", "events": ["delivered"]}),
    "POST /v1/notifications/test": Op("own"),
    "GET /v1/notifications/{owner}": Op("own"),
    "PUT /v1/notifications/{owner}": Op("own", body={"mail": []}),
    "GET /v1/session/list": Op("own", usage=True),
    "DELETE /v1/session": Op("own", usage=True),
    "POST /v1/session/password": Op("own", body={"which": "office", "old": "x", "new": "y"}, usage=True),
    "GET /v1/offices": Op("public", "directory"),
    "GET /v1/offices/{number}": Op("public", "directory"),
    "GET /.well-known/jwks.json": Op("open"),
    "GET /v1/limits": Op("open"),
    "GET /v1/status": Op("open"),
    "POST /v1/session/system": Op("open", body={"user_id": "c", "password": "x"}),
    "POST /v1/session/office": Op("open", body={"user_id": "KJ", "password": "x"}),
    "POST /v1/session/usage": Op("open", body={"user_id": "KJ", "password": "x"}),
    "POST /v1/session/refresh": Op("open", body={"refresh_token": "x"}),
}


def others(owned: Owned) -> dict[str, list[str]]:
    """What an outsider may try to put into each parameter: what is the owner's."""
    return {
        "message_id": [owned.delivered],
        "webhook_id": [owned.webhook],
        "session": [owned.session],
        "user_id": [OWNER.c_id],
        "notice": [owned.notice],
        "n": ["1"],
        "owner": ["own", "office"],
        "number": [OWNER.office],
        "cursor": list(owned.cursors.values()),
        "wait_for": [f"{owned.delivered}:delivered", f"{owned.received}:delivered"],
        "last-event-id": [owned.stream_id],
        "Idempotency-Key": [KEY],
        "If-None-Match": [f'"{owned.sha256}"'],
        "If-Range": [f'"{owned.sha256}"'],
        "Range": ["bytes=0-0"],
        "partner": [OWNER.office],
        "sequence": [owned.sequence],
        "q": [OWNER.office],
        "since": ["0"],
        "limit": ["1"],
        "status": ["delivered"],
        "month": ["202509"],
        "kind": ["PDF等"],
        "csv_version": ["202407"],
        "service_type": ["43"],
        "from": ["2020-01-01T00:00:00Z"],
        "to": ["2099-01-01T00:00:00Z"],
        "findings": ["true"],
    }


def operations(document: Any) -> dict[str, list[dict[str, Any]]]:
    """Each operation of an OpenAPI document with its parameters."""
    return {
        f"{method.upper()} {path}": operation.get("parameters", [])
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


def filled(path: str, thing: str = "") -> str:
    """A path with this id, and the owner's number where an office is named."""
    names = ("message_id", "webhook_id", "session", "subject", "user_id", "notice", "application")
    ids = dict.fromkeys(names, thing)
    return path.format(**ids, n="1", report="1", owner="own", number=OWNER.office, service="storage")


def sendable(body: Any, *, upload: bool, path: str = "") -> dict[str, Any]:
    """The body of a request as httpx wants it."""
    if not upload:
        return {} if body is None else {"json": body}
    message = {"recipient": PARTNER.office, "text": "a"}
    many = path == "/v1/batches"
    part = ("messages", [{**message, "idempotency_key": KEY}]) if many else ("message", message)
    return {"files": [(part[0], (None, json.dumps(part[1]), "application/json"))]}


def expected(op: Op, caller: str) -> set[int]:
    """How a call about a thing of somebody else must end for this caller."""
    if caller in ("nobody", "rubbish"):
        return {401}
    if caller == "operator":
        return {403}
    if op.about == "session":
        return {404}
    rights: dict[str, set[Act]] = {
        "admin": {"lists", "fetch", "receipt", "recall", "findings", "evidence", "own_office", "manage"},
        "staff": {"lists", "fetch", "receipt", "recall", "findings", "evidence", "own_office"},
        "viewer": {"lists", "findings", "evidence", "own_office"},
        "suspended": {"lists", "fetch", "receipt", "recall", "findings", "evidence", "own_office", "manage"},
        "licence over": {"lists", "fetch", "receipt", "recall", "findings", "evidence", "own_office", "manage"},
        "licence long over": {"lists", "recall", "findings", "evidence", "own_office", "manage"},
        "never licensed": {"own_office", "manage"},
    }
    return {404} if op.act in rights.get(caller, set()) else {403}


def foreign_things(scene: Scene, about: str, office: str) -> list[str]:
    """The things of this kind that are nobody's business at this office."""
    owned = scene.owned
    messages = [owned.rejected] if office == PARTNER.office else [owned.delivered, owned.rejected, owned.received]
    return {"message": messages, **owned.things()}[about]


async def test_every_operation_and_parameter_is_classified(scene: Scene) -> None:
    documented = operations((await scene.ask("GET", "/openapi.json")).json())
    assert documented.keys() == OPERATIONS.keys()
    known = others(scene.owned).keys()
    assert {each["name"] for parameters in documented.values() for each in parameters} <= known


@pytest.mark.parametrize("office", [STRANGER.office, PARTNER.office])
async def test_a_foreign_thing_is_as_absent_as_one_that_never_was(scene: Scene, office: str) -> None:
    wrong = []
    for caller, headers in scene.callers(office).items():
        for operation, op in OPERATIONS.items():
            if op.about not in ("message", *scene.owned.things()):
                continue
            method, path = operation.split(" ")
            seen: list[tuple[Answer, list[str]]] = []
            things = foreign_things(scene, op.about, office)
            for thing in [*things, scene.nothing_like(things[0])]:
                scene.work.taken()
                answer = await scene.ask(method, filled(path, thing), headers, **sendable(op.body, upload=op.upload))
                seen.append((answer, scene.work.taken()))
            if any(each != seen[-1] for each in seen) or seen[-1][0].status not in expected(op, caller):
                wrong.append((caller, operation, seen))
    assert wrong == []


async def test_of_the_operators_calls_an_office_learns_nothing(scene: Scene) -> None:
    wrong = []
    document = (await scene.ask("GET", "/openapi.json", operators=True)).json()
    for caller, headers in scene.callers(STRANGER.office).items():
        if caller == "operator":
            continue
        for operation in operations(document):
            method, path = operation.split(" ")
            if operation == "POST /v1/operator/session":
                continue
            answers = []
            for thing in (scene.owned.delivered, scene.nothing_like(scene.owned.delivered)):
                scene.work.taken()
                body = sendable({"reason": "x", "ticket": "y"}, upload=path.endswith("import"))
                answer = await scene.ask(method, filled(path, thing), headers, operators=True, **body)
                answers.append((answer, scene.work.taken()))
            status = 401 if caller in ("nobody", "rubbish") else 403
            if answers[0] != answers[1] or answers[0][0].status != status or answers[0][1]:
                wrong.append((caller, operation, answers))
    assert wrong == []


async def test_each_listener_knows_only_its_own_paths(scene: Scene) -> None:
    nothing = await scene.ask("GET", "/v1/no-such-thing")
    operators_token = scene.callers(STRANGER.office)["operator"]
    for path in operations((await scene.ask("GET", "/openapi.json", operators=True)).json()):
        for headers in ({}, scene.token(STRANGER.office), operators_token):
            assert await scene.ask("GET", filled(path.split(" ")[1], scene.owned.delivered), headers) == nothing
    for path in OPERATIONS:
        assert (await scene.ask("GET", filled(path.split(" ")[1], "x"), operators=True)).status == 404
    secrets: list[dict[str, Any]] = [{}, {INTERNAL_SECRET_HEADER: "00" * 32}, {INTERNAL_SECRET_HEADER: "é".encode()}]
    for headers in secrets:
        assert await scene.ask("GET", "/internal/sessions/ended", headers) == nothing


def not_offered() -> Iterator[tuple[str, str]]:
    """Methods and paths; a path like `/v1/messages/check` is also a message's, whose methods are offered."""
    offered = [operation.split(" ") for operation in OPERATIONS]
    for path in sorted({path for _, path in offered}):
        for method in METHODS:
            if not any(
                method == each and re.fullmatch(re.sub(r"{\w+}", "[^/]+", known), path) for each, known in offered
            ):
                yield method, path


async def test_a_method_that_is_not_offered_tells_nothing(scene: Scene) -> None:
    wrong = []
    for headers in ({}, scene.token(STRANGER.office)):
        for method, path in not_offered():
            answers = []
            for thing in (scene.owned.delivered, scene.nothing_like(scene.owned.delivered)):
                scene.work.taken()
                answer = await scene.ask(method, filled(path, thing), headers)
                answers.append((answer, scene.work.taken()))
            if answers[0] != answers[1] or answers[0][0].status != 405 or answers[0][1]:
                wrong.append((method, path, answers))
    assert wrong == []


async def test_the_office_itself_reaches_its_own_affairs_and_nothing_else(scene: Scene) -> None:
    wrong = []
    headers = scene.callers(STRANGER.office)["the office itself"]
    for operation, op in OPERATIONS.items():
        if op.about == "open":
            continue
        method, path = operation.split(" ")
        body = sendable(op.body, upload=op.upload, path=path)
        answer = await scene.ask(method, filled(path, scene.nothing_like(scene.owned.delivered)), headers, **body)
        if (answer.status == 403) is op.usage:
            wrong.append((operation, answer))
    assert wrong == []


async def test_nothing_of_the_owner_shows_in_anybody_elses_answers(scene: Scene) -> None:
    documented = operations((await scene.ask("GET", "/openapi.json")).json())
    told = []
    for operation, op in OPERATIONS.items():
        method, path = operation.split(" ")
        for caller, headers in scene.callers(STRANGER.office).items():
            if op.about == "open" and caller != "nobody":
                continue
            tried = list(tries(scene.owned, documented[operation]))
            for query, more in tried if caller == "admin" else tried[:1]:
                body = sendable(op.body, upload=op.upload, path=path)
                thing = scene.owned.things().get(op.about, [scene.owned.delivered])[0]
                answer = await scene.ask(method, filled(path, thing), {**headers, **more}, params=query, **body)
                said = {*query.values(), *more.values()}
                told += [
                    (caller, operation, query, more, secret)
                    for secret in scene.owned.secrets()
                    if secret in answer and not any(secret in text for text in said)
                ]
                assert answer.status < 500, (caller, operation, query, more, answer)
                if op.about not in ("open", "public") and caller in ("nobody", "rubbish"):
                    assert answer.status == 401, (operation, answer)
    assert told == []


def tries(owned: Owned, parameters: list[dict[str, Any]]) -> Iterator[tuple[dict[str, str], dict[str, str]]]:
    """Queries and headers: none, then each parameter with each thing of the owner, and its ETags."""
    yield {}, {}
    known = others(owned)
    for parameter in parameters:
        for value in known[parameter["name"]]:
            if parameter["in"] == "query":
                yield {parameter["name"]: value}, {}
            elif parameter["in"] == "header":
                yield {}, {parameter["name"]: value}
    for etag in (owned.etags["/v1/sent"], f'"{owned.sha256}"', "*"):
        yield {}, {"If-None-Match": etag}


async def test_the_owner_still_has_everything(scene: Scene) -> None:
    """What strangers tried has changed nothing; last in this file, whatever the order: it only looks."""
    mine = scene.token(OWNER.office, user=OWNER.c_id, session=scene.owned.session)
    for thing in (scene.owned.delivered, scene.owned.rejected, scene.owned.received):
        assert (await scene.ask("GET", f"/v1/messages/{thing}", mine)).status == 200
    [hook] = (await scene.ask("GET", "/v1/notifications/webhooks", mine)).json()["items"]
    assert hook["id"] == scene.owned.webhook
    sessions = (await scene.ask("GET", "/v1/session/list", mine)).json()["items"]
    assert scene.owned.session in [one["id"] for one in sessions]
