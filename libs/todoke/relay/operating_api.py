"""`/v1/operator/services/{service}/…`, `/v1/operator/status` and `…/trace`, for every service that a process hosts.

In a cluster each service is a process of its own behind one front that goes by the path; `status` and `trace` then
tell of that process only, and `todoke ops` asks every service and puts the answers together.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query
from pydantic import BaseModel

from todoke.relay.access import Access, Operator
from todoke.relay.acts import Word
from todoke.relay.operating import (
    Breaker,
    BreakerChanged,
    Decided,
    HoldDetail,
    HoldPage,
    Lag,
    Operating,
    ServiceStatus,
    Story,
    merged,
)
from todoke.relay.problem import Problem
from todoke.relay.reports import Asked, Findings, Reports

PAGE = 50
PAGE_MAX = 200

Limit = Annotated[int, Query(ge=1, le=PAGE_MAX)]
Number = Annotated[str | None, Query(pattern=r"^[0-9]{1,18}$")]
"""Cursor of a list that goes by numbers."""

Subject = Annotated[str, Path(pattern=r"^[0-9A-Za-z?-]{1,64}$")]
"""A message id, an office number, or `?` for records that do not say what they are about."""


Named = Callable[[str], Operating]
"""Answers the service of a path; raises `Problem` TDK-NOT-FOUND for one that this process does not host."""


class Status(BaseModel):
    """The services of the process that answers."""

    services: list[ServiceStatus]


def operator_routes(access: Access, hosted: Mapping[str, Operating]) -> APIRouter:
    """What operators see of the services of this process, and do to them."""

    def named(service: str) -> Operating:
        if service not in hosted:
            raise Problem("TDK-NOT-FOUND")
        return hosted[service]

    router = APIRouter(prefix="/v1/operator", tags=["operator"], dependencies=[Depends(access.operator)])
    _add_sights(router, hosted, named)
    _add_holds(router, access, named)
    _add_breaker(router, access, named)
    _add_reconcile(router, access, named)
    return router


def _add_sights(router: APIRouter, hosted: Mapping[str, Operating], named: Named) -> None:
    @router.get("/status")
    async def show_status() -> Status:
        """The services of this process at a glance."""
        return Status(services=await asyncio.gather(*(each.status() for each in hosted.values())))

    @router.get("/messages/{message_id}/trace")
    async def trace_message(message_id: UUID) -> Story:
        """What the services of this process said about a message, by time."""
        return merged(message_id, [await each.story(message_id) for each in hosted.values()])

    @router.get("/services/{service}/status")
    async def show_service(of: Annotated[Operating, Depends(named)]) -> ServiceStatus:
        """One service at a glance."""
        return await of.status()

    @router.get("/services/{service}/lag")
    async def show_lag(of: Annotated[Operating, Depends(named)]) -> Lag:
        """How far the service has heard each partition, and what of its own Kafka does not hold yet."""
        return await of.lag()

    @router.get("/services/{service}/journal/{message_id}")
    async def show_journal(of: Annotated[Operating, Depends(named)], message_id: UUID) -> Story:
        """What the service said about a message, and whether it held it."""
        return await of.story(message_id)


def _add_holds(router: APIRouter, access: Access, named: Named) -> None:
    @router.get("/services/{service}/parked")
    async def list_parked(
        of: Annotated[Operating, Depends(named)],
        limit: Limit = PAGE,
        cursor: Annotated[str | None, Query(max_length=300)] = None,
    ) -> HoldPage:
        """What the service holds now, the oldest first."""
        return await of.holds(limit, cursor)

    @router.get("/services/{service}/parked/{subject}")
    async def show_parked(of: Annotated[Operating, Depends(named)], subject: Subject) -> HoldDetail:
        """One hold with its records: where they stand and what they say they are, never what is in them."""
        return await of.hold(subject)

    @router.post("/services/{service}/parked/{subject}/retry", status_code=202)
    async def retry_parked(
        of: Annotated[Operating, Depends(named)],
        subject: Subject,
        word: Word,
        operator: Annotated[Operator, Depends(access.operator)],
    ) -> Decided:
        """Let the service handle the records again; one that fails again is held again."""
        return await of.decide(operator, subject, word, discard=False)

    @router.post("/services/{service}/parked/{subject}/discard", status_code=202)
    async def discard_parked(
        of: Annotated[Operating, Depends(named)],
        subject: Subject,
        word: Word,
        operator: Annotated[Operator, Depends(access.operator)],
    ) -> Decided:
        """Give the records up. This cannot be taken back: in validation, routing and storage the message is lost."""
        return await of.decide(operator, subject, word, discard=True)


def _add_breaker(router: APIRouter, access: Access, named: Named) -> None:
    @router.get("/services/{service}/breaker")
    async def show_breaker(of: Annotated[Operating, Depends(named)]) -> Breaker:
        """Whether the service has stopped consuming, and why."""
        return await of.breaker()

    @router.post("/services/{service}/breaker/reset")
    async def reset_breaker(
        of: Annotated[Operating, Depends(named)],
        word: Word,
        operator: Annotated[Operator, Depends(access.operator)],
    ) -> BreakerChanged:
        """Let the service consume again."""
        return await of.reset(operator, word)

    @router.post("/services/{service}/breaker/trip")
    async def trip_breaker(
        of: Annotated[Operating, Depends(named)],
        word: Word,
        operator: Annotated[Operator, Depends(access.operator)],
    ) -> BreakerChanged:
        """Let the service stop consuming."""
        return await of.trip(operator, word)


def _add_reconcile(router: APIRouter, access: Access, named: Named) -> None:
    @router.get("/services/{service}/reconcile")
    async def list_comparisons(
        of: Annotated[Operating, Depends(named)], limit: Limit = PAGE, cursor: Number = None
    ) -> Reports:
        """Comparisons of journal, topic and objects, the newest first, with the first things that were not mended."""
        return await of.comparisons(limit, cursor)

    @router.get("/services/{service}/reconcile/{report}")
    async def list_findings(
        of: Annotated[Operating, Depends(named)],
        report: Annotated[int, Path(ge=1, le=2**62)],
        limit: Limit = PAGE,
        cursor: Number = None,
    ) -> Findings:
        """Everything that one comparison could not mend: message ids, office numbers, places in the log."""
        return await of.findings(report, limit, cursor)

    @router.post("/services/{service}/reconcile", status_code=202)
    async def compare_now(
        of: Annotated[Operating, Depends(named)],
        word: Word,
        operator: Annotated[Operator, Depends(access.operator)],
    ) -> Asked:
        """Let the service compare journal, topic and all objects, beside its work; reports follow."""
        return await of.compare(operator, word)
