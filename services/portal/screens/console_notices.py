"""S-77: what operators tell offices: written, looked at once more, published, withdrawn."""

from collections.abc import Mapping
from typing import Annotated
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response

from careplan import SERVICE_TYPES
from services.portal import shown
from services.portal.announcing import TEXT_CHARACTERS_MAX, TITLE_CHARACTERS_MAX, announcing
from services.portal.console import CONSOLE, Operator, lacking, refused_form, word_of
from services.portal.forms import Form
from services.portal.portal import Portal
from services.portal.routes import go
from services.portal.screens.console_forms import ConsoleForm
from services.portal.wording import Sentence, say
from todoke.client import ApiError
from todoke.client.ops_shapes import Word

NOTICES = f"{CONSOLE}/notices"
WITHDRAW = f"{NOTICES}/{{notice}}/withdraw"
PAGE = 50

DONE = {"published": "S-PUBLISHED", "withdrawn": "S-WITHDRAWN"}
"""`?done=…` → the sentence of what was just done."""


def router(portal: Portal) -> APIRouter:
    """The list, the form, and withdrawing."""
    screens = portal.router("operator")
    _add_list(screens, portal)
    _add_form(screens, portal)
    _add_one(screens, portal)
    return screens


def _add_list(screens: APIRouter, portal: Portal) -> None:
    @screens.get(NOTICES)
    async def notices(
        request: Request,
        operator: Annotated[Operator, Depends(portal.operator())],
        cursor: str | None = None,
    ) -> Response:
        page = await operator.client.operator_notices(operator.token, limit=PAGE, cursor=cursor)
        done = DONE.get(request.query_params.get("done", ""))
        return portal.console_page(
            operator,
            "console_notices.html",
            screen="S-77",
            title="お知らせの管理",
            here="notices",
            notices=page.items,
            after=f"{NOTICES}?{urlencode({'cursor': page.next})}" if page.next else None,
            told=say(done) if done else None,
        )


def _add_form(screens: APIRouter, portal: Portal) -> None:
    async def choices(operator: Operator) -> Mapping[str, object]:
        return {
            "service_types": {code: shown.service_type(code) for code in SERVICE_TYPES},
            "prefectures": {name: name for name in await operator.client.operator_prefectures(operator.token)},
            "key": portal.new_key(),
            "title_max": TITLE_CHARACTERS_MAX,
            "text_max": TEXT_CHARACTERS_MAX,
        }

    form = ConsoleForm(
        portal,
        place=f"{NOTICES}/new",
        carried_out=NOTICES,
        template="console_announce.html",
        screen="S-77",
        title="お知らせの作成",
        here="notices",
        blank=lambda: announcing(Form(())),
        read=announcing,
        values=choices,
    )
    form.add(screens)

    @screens.post(NOTICES)
    async def publish(request: Request, operator: Annotated[Operator, Depends(portal.operator())]) -> Response:
        filled = announcing(await portal.form(request, "operator"))
        mistakes = filled.mistakes()
        if not mistakes:
            try:
                await operator.client.publish_notice(operator.token, filled.notice(), filled.word)
            except ApiError as refused:
                mistakes = [("title", refused_form(refused))]
            else:
                return go(f"{NOTICES}?done=published")
        return await form.page(operator, filled, mistakes)


def _add_one(screens: APIRouter, portal: Portal) -> None:
    portal.forms[WITHDRAW] = WITHDRAW

    @screens.get(f"{NOTICES}/{{notice}}")
    async def one(notice: UUID, operator: Annotated[Operator, Depends(portal.operator())]) -> Response:
        return await _notice_page(portal, operator, notice)

    @screens.post(WITHDRAW)
    async def withdraw(
        notice: UUID, request: Request, operator: Annotated[Operator, Depends(portal.operator())]
    ) -> Response:
        form = await portal.form(request, "operator")
        word = word_of(form)
        if form.text("back"):
            return await _notice_page(portal, operator, notice, word, late=True)
        wrong = lacking(word)
        if wrong is None:
            try:
                await operator.client.withdraw_notice(operator.token, notice, word)
            except ApiError as refused:
                wrong = refused_form(refused)
            else:
                return go(f"{NOTICES}?done=withdrawn")
        return await _notice_page(portal, operator, notice, word, wrong)

    @screens.get(WITHDRAW)
    async def withdrawing(
        notice: UUID, request: Request, operator: Annotated[Operator, Depends(portal.operator())]
    ) -> Response:
        """Where a refused form stood, asked for again: after a login, or from the bar of addresses."""
        late = await portal.late_form(operator, request)
        if late is None:
            return go(f"{NOTICES}/{notice}")
        return await _notice_page(portal, operator, notice, word_of(late), late=True)


async def _notice_page(
    portal: Portal,
    operator: Operator,
    notice: UUID,
    word: Word | None = None,
    wrong: Sentence | None = None,
    *,
    late: bool = False,
) -> Response:
    found = await operator.client.operator_notice(operator.token, notice)
    return portal.console_page(
        operator,
        "console_notice.html",
        screen="S-77",
        title="お知らせの管理",
        here="notices",
        status=422 if wrong else 200,
        notice=found,
        word=word,
        wrong=wrong,
        late=late,
    )
