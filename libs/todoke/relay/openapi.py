"""What OpenAPI says beside what FastAPI knows: every refusal is a problem document, and which ones a call may meet.

Derived from the operation itself, so that no route has to repeat it: who needs a session, who has a body, who names
something that may not be there.
"""

from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI

from todoke.relay.problem import MEDIA_TYPE

_METHODS: Final = ("get", "put", "post", "delete", "patch")

PROBLEM: Final[dict[str, Any]] = {
    "title": "Problem",
    "description": "RFC 9457; title says in Japanese what is wrong, detail what to do. docs/errors.md lists the codes.",
    "type": "object",
    "required": ["type", "title", "status", "detail", "code", "number", "errors"],
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string", "pattern": "^TDK-[A-Z0-9-]+$"},
        "number": {"anyOf": [{"type": "string", "pattern": "^E-[0-9]{3}$"}, {"type": "null"}]},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["where", "message"],
                "properties": {"where": {"type": "string"}, "message": {"type": "string"}},
            },
        },
        "message_id": {
            "type": "string",
            "format": "uuid",
            "description": "With TDK-SEQUENCE-USED only: the earlier message that has the sequence.",
        },
    },
}

PROBLEM_REF: Final = {"$ref": "#/components/schemas/Problem"}

_CONTENT: Final = {MEDIA_TYPE: {"schema": PROBLEM_REF}}
_RETRY_AFTER: Final = {"Retry-After": {"description": "seconds", "schema": {"type": "integer", "minimum": 0}}}
_HEADERS: Final[Mapping[HTTPStatus, dict[str, Any]]] = {
    HTTPStatus.UNAUTHORIZED: {"WWW-Authenticate": {"schema": {"type": "string", "const": "Bearer"}}},
    HTTPStatus.TOO_MANY_REQUESTS: _RETRY_AFTER,
    HTTPStatus.SERVICE_UNAVAILABLE: _RETRY_AFTER,
}


def request_header(name: str, description: str, *, required: bool = False, **schema: Any) -> dict[str, Any]:
    """A header field of a request that the route reads itself; goes into `openapi_extra["parameters"]`."""
    said = {"name": name, "in": "header", "required": required, "description": description}
    return {**said, "schema": {"type": "string", **schema}}


def answer_headers(**described: str) -> dict[str, Any]:
    """Header fields that an answer always has, with what they say; `_` stands for `-` in their names."""
    return {
        name.replace("_", "-"): {"description": text, "required": True, "schema": {"type": "string"}}
        for name, text in described.items()
    }


def describe_problems(app: FastAPI) -> None:
    """Make the application's OpenAPI document say which problems each call may answer, as FastAPI has it extended."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = made()
            schemas = document.setdefault("components", {}).setdefault("schemas", {})
            for unused in ("HTTPValidationError", "ValidationError"):
                schemas.pop(unused, None)
            schemas["Problem"] = PROBLEM
            _hoist(document["paths"], schemas)
            for path, operations in document["paths"].items():
                for method in set(operations) & set(_METHODS):
                    _describe(path, method, operations[method])
        return app.openapi_schema or {}

    app.openapi = openapi  # type: ignore[method-assign]  # the way FastAPI documents to extend the document


def _hoist(node: Any, schemas: dict[str, Any]) -> None:
    """Move what routes say of types that FastAPI does not see (`$defs`) to where their references point."""
    if isinstance(node, dict) and "$defs" in node:
        told = node.pop("$defs")
        _hoist(list(told.values()), schemas)
        for name, schema in told.items():
            if schemas.setdefault(name, schema) != schema:
                raise ValueError(name)  # two types of one name
    for each in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        _hoist(each, schemas)


def _describe(path: str, method: str, operation: dict[str, Any]) -> None:
    responses = operation["responses"]
    responses.pop("422", None)  # FastAPI's own shape, which no answer of ours has
    for status in sorted(set(_statuses(path, method, operation))):
        problem: dict[str, Any] = {"description": status.phrase, "content": _CONTENT}
        if status in _HEADERS:
            problem["headers"] = _HEADERS[status]
        responses.setdefault(str(status.value), problem)


def _statuses(path: str, method: str, operation: dict[str, Any]) -> Iterator[HTTPStatus]:
    yield HTTPStatus.INTERNAL_SERVER_ERROR
    yield HTTPStatus.SERVICE_UNAVAILABLE
    body = operation.get("requestBody", {}).get("content", {})
    secured = bool(operation.get("security"))
    if secured or "/session" in path:
        yield from (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS)
        yield HTTPStatus.NOT_FOUND  # the office itself may have gone since its token was given
    if operation.get("parameters") or body:
        yield HTTPStatus.UNPROCESSABLE_ENTITY
    if "{" in path:
        yield from (HTTPStatus.CONFLICT, HTTPStatus.GONE)
    if method != "get":
        yield HTTPStatus.CONFLICT
    if body:
        yield from (HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    if any(kind.startswith("multipart/") for kind in body):
        yield HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    if path.endswith("/files/{n}"):
        yield HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
