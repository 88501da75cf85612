"""The HTTP side of a process: one FastAPI application over the routers of its services.

Errors become problem documents, every request one log line and one histogram entry under its route's template (never
the path or the query string), and `traceparent` reaches whatever the request says.
"""

import re
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from fastapi.routing import APIRoute, iter_route_contexts
from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException
from starlette.routing import compile_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from todoke.relay.bodies import SMALL_BODY_SECONDS_MAX, EarlyAnswers, SmallBodies
from todoke.relay.clock import Ids
from todoke.relay.deadline import Deadlines, away
from todoke.relay.faults import Transient
from todoke.relay.metrics import Metrics
from todoke.relay.openapi import describe_problems
from todoke.relay.pacing import Pace, Paced
from todoke.relay.postgres import traceparent_now
from todoke.relay.problem import MEDIA_TYPE, Problem

UNLESS_SAID = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)
"""Headers of every answer that does not say otherwise: nobody keeps it, and a browser that shows it runs nothing."""

TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
"""W3C Trace Context, section 3.2."""

Nowhere = Callable[[], Response]
"""Makes the page that a browser gets for an address that nothing is at."""

Health = Callable[[], Awaitable[dict[str, Any]]]
Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


def application(
    title: str,
    routers: Sequence[APIRouter],
    *,
    metrics: Metrics,
    health: Health,
    ids: Ids,
    lifespan: Lifespan | None = None,
    pace: Pace | None = None,
    nowhere: Nowhere | None = None,
) -> FastAPI:
    """An application of these routers. `health()` answers {"status": "ready" | "degraded" | "away", "parts": {…}}.

    With `pace` whoever gets many refusals gets them slowly.
    """
    app = FastAPI(
        title=title,
        version="1",
        openapi_url="/openapi.json",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        redirect_slashes=False,
    )
    for router in routers:
        app.include_router(router)
    _add_health(app, metrics, health)
    app.add_exception_handler(Problem, _on_problem)
    app.add_exception_handler(Transient, _on_transient)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http if nowhere is None else _browsers_too(nowhere))
    describe_problems(app)
    app.add_middleware(SmallBodies, uploads=_uploads(routers))
    if pace is not None:
        app.add_middleware(Paced, pace=pace)
    app.add_middleware(Deadlines, refusal=lambda: problem_response(away()))
    app.add_middleware(_Watch, metrics=metrics, ids=ids)
    app.add_middleware(EarlyAnswers)
    return app


def _uploads(routers: Sequence[APIRouter]) -> tuple[re.Pattern[str], ...]:
    """The paths of the routes that say they take multipart bodies: they read the body themselves, after the session."""
    # A router that is included in another one is not among its routes: FastAPI's own way through finds it.
    places = iter_route_contexts([route for router in routers for route in router.routes])
    return tuple(
        compile_path(place.path)[0]
        for place in places
        if place.path and isinstance(place.original_route, APIRoute) and _takes_parts(place.original_route)
    )


def _takes_parts(route: APIRoute) -> bool:
    content = (route.openapi_extra or {}).get("requestBody", {}).get("content", {})
    return any(kind.startswith("multipart/") for kind in content)


def problem_response(problem: Problem) -> Response:
    """The answer for a problem."""
    return JSONResponse(problem.body(), status_code=problem.status, headers=problem.headers(), media_type=MEDIA_TYPE)


def _add_health(app: FastAPI, metrics: Metrics, health: Health) -> None:
    @app.get("/health/live", include_in_schema=False)
    async def live() -> dict[str, str]:
        return {"status": "live"}

    @app.get("/health/ready", include_in_schema=False)
    async def ready() -> Response:
        state = await health()
        return JSONResponse(state, status_code=503 if state["status"] == "away" else 200)

    @app.get("/metrics", include_in_schema=False)
    async def show_metrics() -> Response:
        return PlainTextResponse(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)


async def _on_problem(_: Request, problem: Exception) -> Response:
    return problem_response(problem if isinstance(problem, Problem) else Problem("TDK-INTERNAL"))


async def _on_transient(_: Request, trouble: Exception) -> Response:
    structlog.get_logger().warning("engine_away", reason=type(trouble).__name__)
    return problem_response(away())


async def _on_invalid(_: Request, error: Exception) -> Response:
    """Where it is wrong, without repeating what was sent."""
    found = error.errors() if isinstance(error, RequestValidationError) else []
    if any(one.get("type") == "json_invalid" for one in found):
        return problem_response(Problem("TDK-BODY-MALFORMED"))
    where = [(".".join(str(step) for step in one["loc"][1:]) or "body", str(one["type"])) for one in found]
    return problem_response(Problem("TDK-INVALID", where=where))


async def _on_http(_: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    if status == 408:  # noqa: PLR2004 (RFC 9110 section 15.5.9)
        return problem_response(Problem("TDK-BODY-SLOW", seconds=int(SMALL_BODY_SECONDS_MAX)))
    codes = {404: "TDK-NOT-FOUND", 405: "TDK-METHOD", 400: "TDK-BODY-MALFORMED", 413: "TDK-BODY-TOO-LARGE"}
    response = problem_response(Problem(codes.get(status, "TDK-INTERNAL")))
    if isinstance(error, HTTPException) and error.headers and "Allow" in error.headers:
        response.headers["Allow"] = error.headers["Allow"]  # RFC 9110 section 15.5.6
    return response


_MISSING = (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED)
"""For a person: an address to which only a form is sent is none to look at."""


def _browsers_too(nowhere: Nowhere) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def on_http(request: Request, error: Exception) -> Response:
        is_missing = isinstance(error, HTTPException) and error.status_code in _MISSING
        wants_page = "text/html" in request.headers.get("accept", "") and not request.url.path.startswith("/v1/")
        return nowhere() if is_missing and wants_page else await _on_http(request, error)

    return on_http


def _on_mistake(error: Exception) -> Response:
    structlog.get_logger().error("request_fails", error=type(error).__name__, at=_innermost(error))
    return problem_response(Problem("TDK-INTERNAL"))


def _innermost(error: Exception) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_name}:{trace.tb_lineno}" if trace else ""


class _Watch:
    """Trace context in, one log line and one histogram entry out; plus the headers that every answer carries.

    A mistake of ours is answered here, where the trace is known: whoever reports it can name it.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, ids: Ids) -> None:
        self._app = app
        self._metrics = metrics
        self._ids = ids
        self._log = structlog.get_logger()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        trace = self._trace(scope)
        token = traceparent_now.set(trace)
        started, status = time.perf_counter(), 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [
                    *message["headers"],
                    (b"x-content-type-options", b"nosniff"),
                    (b"trace-id", trace[3:35].encode()),
                    (b"traceparent", trace.encode()),
                ]
                said = {name for name, _ in message["headers"]}
                message["headers"].extend(pair for pair in UNLESS_SAID if pair[0] not in said)
            await send(message)

        try:
            await self._app(scope, receive, answer)
        except Exception as mistake:
            if status:
                raise
            await _on_mistake(mistake)(scope, receive, answer)
        finally:
            traceparent_now.reset(token)
            self._note(scope, status or 500, time.perf_counter() - started, trace)

    def _trace(self, scope: Scope) -> str:
        for name, value in scope["headers"]:
            text = value.decode("ascii", "replace") if name == b"traceparent" else ""
            if TRACEPARENT.fullmatch(text):
                return str(text)
        return f"00-{self._ids.secret(16).hex()}-{self._ids.secret(8).hex()}-01"

    def _note(self, scope: Scope, status: int, seconds: float, trace: str) -> None:
        route = scope.get("route")
        template = getattr(route, "path", "unknown")
        if not template.startswith(("/health", "/metrics", "/internal")):
            self._metrics.request_seconds.labels(template, scope["method"], str(status)).observe(seconds)
            self._log.info(
                "request",
                route=template,
                method=scope["method"],
                status=status,
                ms=round(seconds * 1000, 1),
                trace=trace[3:35],
            )
