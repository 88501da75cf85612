"""The OpenAPI document says enough to write software from it alone, and says what the code does."""

import base64
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args
from uuid import UUID

import jsonschema_rs
import pytest
from pydantic import BaseModel

from services.ingest.api import BatchMessage
from services.ingest.rules import IDEMPOTENCY_KEY
from services.notification import rules as notification
from services.notification.api import CallData, WebhookCall
from services.projection.rules import PUSHED
from services.projection.shapes import Push
from todoke.relay.limits import Limits
from todoke.relay.problem import Problem, wordings
from todoke.relay.submission import MessageBody
from todoke.relay.upload import MULTIPART, Form
from tools.apidocs import ROOT, documents

MESSAGE = UUID("019a2f3c-0000-7000-8000-000000000000")
NAMES = ("openapi.json", "openapi-operator.json")


@pytest.fixture(scope="module")
def made() -> dict[Path, str]:
    return documents()


@pytest.fixture(scope="module")
def public(made: dict[Path, str]) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(made[ROOT / "docs/api/openapi.json"])
    return document


def operation(document: Mapping[str, Any], method: str, path: str) -> dict[str, Any]:
    found: dict[str, Any] = document["paths"][path][method]
    return found


def parts(document: Mapping[str, Any], path: str) -> dict[str, Any]:
    """The schema of a multipart body."""
    found: dict[str, Any] = operation(document, "post", path)["requestBody"]["content"][MULTIPART]["schema"]
    return found


def headers(document: Mapping[str, Any], method: str, path: str, status: str) -> set[str]:
    return set(operation(document, method, path)["responses"][status].get("headers", {}))


def asked_headers(document: Mapping[str, Any], method: str, path: str) -> dict[str, bool]:
    """Request header → whether it must be there."""
    found = operation(document, method, path).get("parameters", [])
    return {one["name"].lower(): one["required"] for one in found if one["in"] == "header"}


def validator(document: Mapping[str, Any], schema: Mapping[str, Any]) -> Any:
    return jsonschema_rs.Draft202012Validator({**schema, "components": document["components"]})


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for each in node.values():
            yield from references(each)
    elif isinstance(node, list):
        for each in node:
            yield from references(each)


@pytest.mark.parametrize("model", [MessageBody, BatchMessage, Push, WebhookCall, CallData])
def test_types_that_routes_read_and_write_themselves_stand_there_whole(
    public: dict[str, Any], model: type[BaseModel]
) -> None:
    schema = public["components"]["schemas"][model.__name__]
    assert set(schema["properties"]) == set(model.model_fields)
    required = {name for name, field in model.model_fields.items() if field.is_required()}
    assert set(schema.get("required", [])) == required


@pytest.mark.parametrize("name", NAMES)
def test_every_reference_leads_somewhere(made: dict[Path, str], name: str) -> None:
    document = json.loads(made[ROOT / "docs/api" / name])
    schemas = document["components"]["schemas"]
    found = set(references(document))
    assert found
    assert {ref for ref in found if ref.removeprefix("#/components/schemas/") not in schemas} == set()


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/check"])
def test_the_parts_of_a_message_are_those_that_are_read(public: dict[str, Any], path: str) -> None:
    schema, form = parts(public, path), Form.message(Limits())
    files = {name for name in schema["properties"] if name != form.json_part}
    assert schema["required"] == [form.json_part]
    assert files == {"files"}
    assert all(form.is_file_part(name) for name in files)
    assert schema["properties"][form.json_part] == {"$ref": "#/components/schemas/MessageBody"}
    assert schema["properties"]["files"]["items"]["contentMediaType"] == "application/octet-stream"


def test_the_parts_of_a_batch_are_those_that_are_read(public: dict[str, Any]) -> None:
    schema, form = parts(public, "/v1/batches"), Form.batch(Limits())
    assert schema["properties"][form.json_part]["items"] == {"$ref": "#/components/schemas/BatchMessage"}
    judge = validator(public, schema)
    for name in ("f1", "f20", "f99999", "f0", "f01", "f", "files", "f100000", "F1", "xf1"):
        assert judge.is_valid({form.json_part: [], name: "…"}) is form.is_file_part(name), name


@pytest.mark.parametrize("key", ["", "a", "~" * 64, "a" * 65, "a b", "鍵", "!"])
def test_the_idempotency_key_must_be_there_in_the_form_that_is_taken(public: dict[str, Any], key: str) -> None:
    assert asked_headers(public, "post", "/v1/messages") == {"idempotency-key": True}
    [said] = operation(public, "post", "/v1/messages")["parameters"]
    taken = IDEMPOTENCY_KEY.fullmatch(key) is not None
    assert jsonschema_rs.is_valid(said["schema"], key) is taken
    entry = {"idempotency_key": key}
    assert validator(public, public["components"]["schemas"]["BatchMessage"]).is_valid(entry) is taken


def test_headers_that_programs_need_are_told(public: dict[str, Any]) -> None:
    assert headers(public, "post", "/v1/messages", "202") == {"Location"}
    for path in ("/v1/sent", "/v1/received"):
        assert headers(public, "get", path, "200") == headers(public, "get", path, "304") == {"ETag"}
        assert asked_headers(public, "get", path) == {"if-none-match": False}
    file = "/v1/messages/{message_id}/files/{n}"
    assert headers(public, "get", file, "206") == {"ETag", "Content-Disposition", "Content-Range"}
    assert set(asked_headers(public, "get", file)) == {"range", "if-range", "if-none-match"}


@pytest.mark.parametrize("name", NAMES)
def test_whoever_shall_wait_is_told_how_long(made: dict[Path, str], name: str) -> None:
    document = json.loads(made[ROOT / "docs/api" / name])
    waits = [
        (path, method, status)
        for path, operations in document["paths"].items()
        for method, one in operations.items()
        for status in set(one["responses"]) & {"429", "503"}
    ]
    assert waits
    assert [wait for wait in waits if headers(document, wait[1], wait[0], wait[2]) != {"Retry-After"}] == []


def test_a_problem_is_what_is_told_of_it(public: dict[str, Any]) -> None:
    schema = public["components"]["schemas"]["Problem"]
    problem = Problem("TDK-SEQUENCE-USED", where=[("sequence", "…")], extra={"message_id": str(MESSAGE)})
    assert set(problem.body()) == set(schema["properties"])
    assert set(Problem("TDK-SEQUENCE-USED").body()) == set(schema["required"])
    judge = validator(public, schema)
    assert judge.is_valid(problem.body())
    for code in wordings():
        assert judge.is_valid({**problem.body(), "code": code}), code


def test_pushes_and_their_data_are_told(public: dict[str, Any]) -> None:
    content = operation(public, "get", "/v1/stream")["responses"]["200"]["content"]["text/event-stream"]
    event = content["x-itemSchema"]["properties"]
    assert set(event["event"]["enum"]) == set(PUSHED.values())
    lines = dict(line.split(": ", 1) for line in content["example"].splitlines() if line)
    assert lines["event"] in event["event"]["enum"]
    assert Push.model_validate_json(lines["data"]).message_id == MESSAGE
    assert event["data"]["contentSchema"] == {"$ref": "#/components/schemas/Push"}


def test_a_call_of_a_webhook_is_what_is_told_of_it(public: dict[str, Any]) -> None:
    called = operation(public, "post", "/v1/notifications/webhooks")["callbacks"]["told"]["{$request.body#/url}"][
        "post"
    ]
    judge = validator(public, called["requestBody"]["content"]["application/json"]["schema"])
    moment = datetime(2026, 4, 1, tzinfo=UTC)
    for told in (*get_args(notification.Told), notification.TEST):
        body = notification.webhook_body(told, moment, "9970100018", MESSAGE, None)
        assert judge.is_valid(json.loads(body)), told
    assert not judge.is_valid(json.loads(notification.webhook_body("opened", moment, "9970100018", MESSAGE, 1)))
    by_name = {one["name"]: one for one in called["parameters"]}
    secret = notification.new_secret(b"s" * notification.SECRET_BYTES)
    signed = notification.signature(secret, "msg_1", 1, b"{}")
    assert jsonschema_rs.is_valid(by_name["webhook-signature"]["schema"], signed)
    assert base64.b64decode(signed.removeprefix("v1,"), validate=True)


@pytest.mark.parametrize("page", ["integrating.md", "integrating.ja.md"])
def test_the_signature_check_that_is_shown_believes_a_call_of_ours_only(page: str) -> None:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    [shown] = [block for block in text.split("```") if block.startswith("python\n") and "def verified(" in block]
    made: dict[str, Any] = {}
    exec(shown.removeprefix("python\n"), made)  # noqa: S102 (of our own page, as its reader would run it)
    secret = notification.new_secret(b"s" * notification.SECRET_BYTES)
    body = notification.webhook_body("delivered", datetime(2026, 4, 1, tzinfo=UTC), "9970100018", MESSAGE, 17)
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": "1000",
        "webhook-signature": notification.signature(secret, "msg_1", 1000, body),
    }
    assert made["verified"](secret, headers, body, now=1001)["data"]["delivery_no"] == 17
    for late, changed in ((1400, body), (1001, body.replace(b"17", b"18"))):
        with pytest.raises(ValueError, match=r"too old|not signed"):
            made["verified"](secret, headers, changed, now=late)
