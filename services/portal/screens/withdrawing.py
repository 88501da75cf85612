"""S-23: taking a message back while it is 未."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response

from services.portal.forms import Form
from services.portal.portal import Portal
from services.portal.routes import NotThere, go
from services.portal.visitors import Visitor
from services.portal.wording import Sentence, of_refusal, say
from todoke.client import ApiError
from todoke.client.shapes import Message

WITHDRAW = "/messages/{message_id}/withdraw"

REASONS = (
    "送り先をまちがえた",
    "ファイルをまちがえた",
    "内容にまちがいがあった",
    "同じものを2回送った",
    "そのほか",
)
REASON_CHARACTERS_MAX = 200
ON_ITS_WAY = ("submitted", "accepted", "routed", "delivered")


def router(portal: Portal) -> APIRouter:
    """取消する."""
    screens = portal.router()
    visitor_of = Annotated[Visitor, Depends(portal.visitor("admin", "staff"))]

    portal.forms[WITHDRAW] = WITHDRAW

    @screens.get(WITHDRAW)
    async def ask(request: Request, visitor: visitor_of, message_id: UUID) -> Response:
        item, late = await _own(visitor, message_id), await portal.late_form(visitor, request)
        return await _page(portal, visitor, item, typed=_typed(late) if late else None)

    @screens.post(WITHDRAW)
    async def withdraw(request: Request, visitor: visitor_of, message_id: UUID) -> Response:
        form = await portal.form(request)
        chosen, more = typed = _typed(form)
        if form.text("back"):
            return await _page(portal, visitor, await _own(visitor, message_id), typed=typed)
        if chosen not in REASONS or (chosen == REASONS[-1] and not more):
            item = await _own(visitor, message_id)
            return await _page(portal, visitor, item, wrong=say("E-414"), typed=typed, status=422)
        reason = more if chosen == REASONS[-1] else f"{chosen} {more}".strip()
        try:
            taken = await visitor.client.recall(message_id, reason[:REASON_CHARACTERS_MAX])
        except ApiError as refused:
            if refused.status != 409:  # noqa: PLR2004 (an HTTP status)
                raise
            item = await _own(visitor, message_id)
            return await _page(portal, visitor, item, told=of_refusal(refused), status=409)
        if taken.status == "recalled":
            await visitor.client.sent(wait_for=f"{message_id}:recalled", limit=1)  # the list it leads to says so
        return go("/sent?said=" + ("recalled" if taken.status == "recalled" else "recalling"))

    return screens


def _typed(form: Form) -> tuple[str, str]:
    """The reason that was chosen, and the words beside it."""
    return form.text("reason"), form.text("more").strip()


async def _own(visitor: Visitor, message_id: UUID) -> Message:
    """A message that this office sent. Raises `NotThere` for any other."""
    item = await visitor.client.message(message_id)
    if item.sender.number != visitor.office:
        raise NotThere
    return item


async def _page(
    portal: Portal,
    visitor: Visitor,
    item: Message,
    *,
    told: Sentence | None = None,
    wrong: Sentence | None = None,
    typed: tuple[str, str] | None = None,
    status: int = 200,
) -> Response:
    """Asks once more when nothing is `wrong` with what was `typed`: it came after a session had ended."""
    return await portal.page(
        visitor,
        "withdraw.html",
        screen="S-23",
        title="取消する",
        here="/sent",
        status=status,
        item=item,
        may=item.status in ON_ITS_WAY,
        told=told,
        wrong=wrong,
        typed=typed or ("", ""),
        was_typed=typed is not None,
        reasons=REASONS,
    )
