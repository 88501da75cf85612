"""S-13: a message with all its files, and what the office noted about it; S-21: what was found in its files."""

import asyncio
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response

from services.portal.findings import shown_findings
from services.portal.forms import Form
from services.portal.kept import KeptMemo, Memo
from services.portal.portal import Portal
from services.portal.routes import go
from services.portal.screens.sent import composes
from services.portal.visitors import Visitor
from services.portal.wording import Sentence, say
from todoke.client import ApiError
from todoke.client.shapes import Message, Verdict

MEMO = "/messages/{message_id}/memo"
MEMO_CHARACTERS_MAX = 1000
ASSIGNEE_CHARACTERS_MAX = 40

_NOT_JUDGED = "TDK-NOT-JUDGED"


def router(portal: Portal) -> APIRouter:
    """メッセージ 詳細."""
    screens = portal.router()
    visitor_of = Annotated[Visitor, Depends(portal.visitor())]

    portal.forms[MEMO] = "/messages/{message_id}"

    @screens.get("/messages/{message_id}")
    async def message(request: Request, visitor: visitor_of, message_id: UUID) -> Response:
        item, memo = await asyncio.gather(
            visitor.client.message(message_id), portal.memos.of(visitor.office, message_id)
        )
        late = await portal.late_form(visitor, request)
        return await _message_page(portal, visitor, request, item, memo, late)

    @screens.post(MEMO)
    async def write_memo(request: Request, visitor: visitor_of, message_id: UUID) -> Response:
        form = await portal.form(request)
        item = await visitor.client.message(message_id)
        may_write = not form.text("back")
        if may_write and await portal.memos.write(visitor.office, message_id, _memo_of(visitor, form), form.version):
            return go(f"/messages/{message_id}?said=saved")
        theirs = await portal.memos.of(visitor.office, message_id)
        return await _message_page(portal, visitor, request, item, theirs, form, refused=may_write)

    @screens.get("/messages/{message_id}/findings")
    async def findings(visitor: visitor_of, message_id: UUID, shown: str = "") -> Response:
        """The recipient who has not opened the message is asked first: person and value are its content (開封)."""
        item, verdict = await asyncio.gather(visitor.client.message(message_id), _verdict(visitor, message_id))
        is_own = item.sender.number == visitor.office
        may_fill = visitor.may_handle() and not item.erased and (is_own or item.status in ("delivered", "downloaded"))
        fill = may_fill and (is_own or item.opened_at is not None or shown == "persons")
        groups = await shown_findings(visitor, item, verdict.findings, fill=fill) if verdict else None
        return await portal.page(
            visitor,
            "findings.html",
            screen="S-21",
            title="検査結果",
            here=_here(visitor, item),
            tab="findings",
            item=item,
            verdict=verdict,
            groups=groups,
            asks=bool(may_fill and not fill and groups and groups.cards),
        )

    return screens


def _memo_of(visitor: Visitor, form: Form) -> Memo:
    return Memo(
        text=form.text("text")[:MEMO_CHARACTERS_MAX],
        assignee=form.text("assignee").strip()[:ASSIGNEE_CHARACTERS_MAX],
        writer=visitor.session.user.name if visitor.session.user else "",
    )


async def _verdict(visitor: Visitor, message_id: UUID) -> Verdict | None:
    """What was found; None while the check has not ended."""
    try:
        return await visitor.client.findings(message_id)
    except ApiError as refused:
        if refused.code != _NOT_JUDGED:
            raise
        return None


async def _message_page(
    portal: Portal,
    visitor: Visitor,
    request: Request,
    item: Message,
    memo: KeptMemo,
    form: Form | None = None,
    *,
    refused: bool = False,
) -> Response:
    """`form` is a memo that was not written: it came after a session had ended, or was `refused`."""
    is_clash = form is not None and form.version != memo.version
    told: Sentence | None = say("E-404", name=memo.memo.writer) if is_clash else None
    return await portal.page(
        visitor,
        "message.html",
        screen="S-13",
        title="メッセージ 詳細",
        here=_here(visitor, item),
        status=409 if refused else 200,
        tab="content",
        item=item,
        memo=memo,
        mine=_memo_of(visitor, form) if form else memo.memo,
        late=form is not None and not refused,
        told=told,
        said=request.query_params.get("said", ""),
        steps=_steps(visitor, item),
        compose=composes(request),
        at=portal.clock.now(),
    )


def _here(visitor: Visitor, item: Message) -> str:
    return "/sent" if item.sender.number == visitor.office else "/received"


_STEPS = {
    "delivered": "お届け",
    "opened": "開封",
    "downloaded": "取得",
    "recalled": "取消",
    "expired": "期限切れ",
    "rejected": "失敗",
    "undeliverable": "失敗",
}


def _steps(visitor: Visitor, item: Message) -> list[dict[str, Any]]:
    """What happened, when, and who did it (persons of the own office only)."""
    user = visitor.session.user
    steps = []
    for entry in item.timeline:
        if entry.event not in _STEPS:
            continue
        who = ""
        if entry.by and entry.by.user:
            who = f"{user.name} さん" if user and entry.by.user == user.id else entry.by.user
        steps.append({"what": _STEPS[entry.event], "at": entry.at, "who": who})
    return steps
