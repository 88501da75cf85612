"""`/v1/operator/services/projection/rebuild`: the lists built anew beside the live ones, on the operators' listener."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from services.projection.comparing import Comparison
from services.projection.rebuild import Begun, Rebuild, Standing, Switched
from todoke.relay.access import Access, Operator
from todoke.relay.acts import Word


def rebuild_routes(access: Access, rebuild: Rebuild) -> APIRouter:
    """Begin, look, compare, switch, abandon."""
    router = APIRouter(prefix="/v1/operator/services/projection/rebuild", tags=["operator"])
    operator_of = Annotated[Operator, Depends(access.operator)]

    @router.post("", status_code=202, summary="Build the lists anew beside the live ones")
    async def begin_rebuild(operator: operator_of, word: Word) -> Begun:
        """From the beginning of every topic; the live lists are not touched."""
        return await rebuild.begin(operator, word)

    @router.get("", summary="How a rebuild is")
    async def standing_of_rebuild(operator: operator_of) -> Standing:
        """`ready` once it has caught up; it goes on hearing until it is switched or abandoned."""
        del operator
        return await rebuild.standing()

    @router.post("/compare", status_code=202, summary="Compare the new lists with the live ones")
    async def compare_rebuild(operator: operator_of, word: Word) -> Comparison:
        """Piece by piece, beside the work; one that is under way goes on. Only numbers are told."""
        return await rebuild.compare(operator, word)

    @router.get("/compare", summary="How a comparison is")
    async def comparison_of_rebuild(operator: operator_of) -> Comparison:
        """Rows per table that were compared, offices that differ; `equal` is null while it is under way."""
        del operator
        return await rebuild.compared()

    @router.post("/switch", summary="Let the new lists and the live ones change places")
    async def switch_rebuild(operator: operator_of, word: Word) -> Switched:
        """In one transaction. What was live is kept for a day and follows; switching again goes back to it."""
        return await rebuild.switch(operator, word)

    @router.delete("", status_code=204, summary="Give up the lists beside the live ones")
    async def abandon_rebuild(operator: operator_of, word: Word) -> Response:
        """Those that are being built, or those that are kept."""
        await rebuild.abandon(operator, word)
        return Response(status_code=204)

    return router
