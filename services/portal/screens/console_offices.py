"""S-74, S-07: the offices, one of them with its application and its letter, and what operators do to it."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import date, timedelta
from typing import Annotated
from urllib.parse import quote, urlencode
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response

from services.portal.console import OFFICES, Operator, is_day, lacking, refused_form, today, word_of
from services.portal.forms import Form
from services.portal.portal import Portal
from services.portal.routes import NotThere, go
from services.portal.wording import Sentence, say
from todoke.client import ApiError
from todoke.client.ops_shapes import OfficePage, Word

LETTER, CHANGE = f"{OFFICES}/{{number}}/letter", f"{OFFICES}/{{number}}/{{act}}"

PAGE = 50
WAITING_MAX = 200
ENDING_DAYS = 60

DONE = {"approved": "S-APPROVED", "refused": "S-REFUSED", "suspended": "S-SUSPENDED", "resumed": "S-RESUMED"}
"""`?done=…` → the sentence of what was just done."""

Act = Callable[[Operator, str, Form, Word], Awaitable[object]]


def router(portal: Portal) -> APIRouter:
    """The list, one office, and the changes."""
    screens = portal.router("operator")
    portal.forms.update({LETTER: LETTER, CHANGE: CHANGE})
    _add_list(screens, portal)
    _add_office(screens, portal)
    _add_letter(screens, portal)
    _add_changes(screens, portal)
    return screens


def _add_list(screens: APIRouter, portal: Portal) -> None:
    @screens.get(OFFICES)
    async def offices(
        operator: Annotated[Operator, Depends(portal.operator())],
        q: str = "",
        ending: str = "",
        cursor: str | None = None,
    ) -> Response:
        day = today(portal.clock.now())
        period = {
            "licence_until_from": day.isoformat(),
            "licence_until_before": (day + timedelta(days=ENDING_DAYS + 1)).isoformat(),
        }
        page = await operator.client.operator_offices(
            operator.token, q=q, **(period if ending else {}), limit=PAGE, cursor=cursor
        )
        waiting = await operator.client.operator_applications(operator.token, state="received", limit=WAITING_MAX)
        narrowed = {name: value for name, value in (("q", q), ("ending", ending)) if value}
        return portal.console_page(
            operator,
            "console_offices.html",
            screen="S-74",
            title="事業所",
            offices=page.items,
            waiting=() if cursor else waiting.items,
            after=f"{OFFICES}?{urlencode({**narrowed, 'cursor': page.next})}" if page.next else None,
            q=q,
            ending=ending,
        )


def _add_office(screens: APIRouter, portal: Portal) -> None:
    @screens.get(f"{OFFICES}/{{number}}")
    async def office(
        number: str, request: Request, operator: Annotated[Operator, Depends(portal.operator())]
    ) -> Response:
        found = await operator.client.operator_office(operator.token, number)
        done = DONE.get(request.query_params.get("done", ""))
        told = say(done) if done else None
        if "there" in request.query_params:
            told = say("E-126", name=found.facts.name)
        return office_page(portal, operator, found, told=told)


def _add_letter(screens: APIRouter, portal: Portal) -> None:
    @screens.post(LETTER)
    async def letter(
        number: str, request: Request, operator: Annotated[Operator, Depends(portal.operator())]
    ) -> Response:
        """The PDF, this once. A page that does not know of the newest letter makes no other one (S-07.3)."""
        form = await portal.form(request, "operator")
        word, day = word_of(form), form.text("issued_on").strip()
        found = await operator.client.operator_office(operator.token, number)
        if form.text("back"):
            return _shown_again(portal, operator, found, "letter", form)
        if _made_at(found) != form.text("made"):
            told = say("E-127")
            return office_page(portal, operator, found, told=told, asked="letter", word=word, issued_on=day, status=409)
        wrong = lacking(word) or (None if is_day(day) else say("E-124"))
        if wrong is None:
            try:
                made = await operator.client.make_letter(operator.token, number, word, date.fromisoformat(day))
            except ApiError as refused:
                wrong = refused_form(refused)
                found = await operator.client.operator_office(operator.token, number)
            else:
                headers = {"Content-Disposition": f'attachment; filename="letter-{found.number}.pdf"'}
                return Response(made, media_type="application/pdf", headers={**headers, "Cache-Control": "no-store"})
        return office_page(portal, operator, found, asked="letter", wrong=wrong, word=word, issued_on=day)


def _add_changes(screens: APIRouter, portal: Portal) -> None:
    @screens.post(CHANGE)
    async def change(
        number: str, act: str, request: Request, operator: Annotated[Operator, Depends(portal.operator())]
    ) -> Response:
        form = await portal.form(request, "operator")
        if act not in ACTS:
            raise NotThere
        if form.text("back"):
            found = await operator.client.operator_office(operator.token, number)
            return _shown_again(portal, operator, found, act, form)
        word, answer, (carry_out, done) = word_of(form), form.text("answer").strip(), ACTS[act]
        wrong = lacking(word) or (say("E-128") if act == "refuse" and not answer else None)
        if wrong is None:
            try:
                await carry_out(operator, number, form, word)
            except ApiError as refused:
                wrong = refused_form(refused)
            else:
                return go(f"{OFFICES}/{number}?done={done}")
        found = await operator.client.operator_office(operator.token, number)
        told = None if _offers(found, act) else wrong
        return office_page(portal, operator, found, told=told, asked=act, wrong=wrong, word=word, answer=answer)

    @screens.get(CHANGE)
    async def changing(
        number: str, act: str, request: Request, operator: Annotated[Operator, Depends(portal.operator())]
    ) -> Response:
        """Where a refused form stood, asked for again: after a login, or from the bar of addresses."""
        if act not in (*ACTS, "letter"):
            raise NotThere
        late = await portal.late_form(operator, request)
        if late is None:
            return go(f"{OFFICES}/{quote(number, safe='')}")
        found = await operator.client.operator_office(operator.token, number)
        return _shown_again(portal, operator, found, act, late)


def _shown_again(portal: Portal, operator: Operator, page: OfficePage, act: str, form: Form) -> Response:
    """The office with a form as it was filled in before the login, unless what it is about was done meanwhile."""
    if not _offers(page, act):
        return office_page(portal, operator, page)
    return office_page(
        portal,
        operator,
        page,
        told=say("S-LATE"),
        asked=act,
        word=word_of(form),
        answer=form.text("answer").strip(),
        issued_on=form.text("issued_on").strip(),
    )


def _offers(page: OfficePage, act: str) -> bool:
    """Whether the page has the form of this act, so that what is wrong can stand in it."""
    if act == "letter":
        return True
    if act in ("approve", "refuse"):
        return page.application is not None and page.application.state == "received"
    return page.facts.participation == ("suspended" if act == "resume" else "active")


async def _approve(operator: Operator, number: str, form: Form, word: Word) -> object:
    application = await _application(operator, number, form)
    return await operator.client.approve_application(operator.token, application, word)


async def _refuse(operator: Operator, number: str, form: Form, word: Word) -> object:
    application = await _application(operator, number, form)
    return await operator.client.refuse_application(operator.token, application, form.text("answer").strip(), word)


async def _suspend(operator: Operator, number: str, _: Form, word: Word) -> object:
    return await operator.client.suspend_office(operator.token, number, word)


async def _resume(operator: Operator, number: str, _: Form, word: Word) -> object:
    return await operator.client.resume_office(operator.token, number, word)


ACTS: Mapping[str, tuple[Act, str]] = {
    "approve": (_approve, "approved"),
    "refuse": (_refuse, "refused"),
    "suspend": (_suspend, "suspended"),
    "resume": (_resume, "resumed"),
}
"""The last part of an address → what is done, and `?done=…` after it."""


async def _application(operator: Operator, number: str, form: Form) -> UUID:
    """The application that the page showed, if it is still this office's newest. Raises `NotThere`."""
    newest = (await operator.client.operator_office(operator.token, number)).application
    if newest is None or str(newest.id) != form.text("application"):
        raise NotThere
    return newest.id


def _made_at(page: OfficePage) -> str:
    return page.letter.made_at.isoformat() if page.letter else ""


def office_page(
    portal: Portal,
    operator: Operator,
    page: OfficePage,
    *,
    told: Sentence | None = None,
    asked: str = "",
    wrong: Sentence | None = None,
    word: Word | None = None,
    answer: str = "",
    issued_on: str = "",
    status: int = 200,
) -> Response:
    """One office; `asked` names the form that is open, with what was typed and what is `wrong` with it."""
    return portal.console_page(
        operator,
        "console_office.html",
        screen="S-74",
        title=page.facts.name,
        status=422 if wrong else status,
        page=page,
        told=told,
        asked=asked,
        wrong=wrong,
        word=word,
        answer=answer,
        issued_on=issued_on or today(portal.clock.now()).isoformat(),
    )
