"""S-75: an office is registered; then its letter can be made, once."""

from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from careplan import SERVICE_TYPES
from services.portal import shown
from services.portal.console import OFFICES, Operator, blank, registering, today
from services.portal.portal import Portal
from services.portal.routes import go
from services.portal.screens.console_forms import ConsoleForm
from services.portal.screens.console_offices import office_page
from services.portal.wording import Sentence, of_refusal, say
from todoke.client import ApiError


def router(portal: Portal) -> APIRouter:
    """The form, what it says once more, and registering."""
    screens = portal.router("operator")
    form = ConsoleForm(
        portal,
        place=f"{OFFICES}/new",
        carried_out=OFFICES,
        template="console_register.html",
        screen="S-75",
        title="事業所の登録",
        here="offices",
        blank=lambda: blank(today(portal.clock.now())),
        read=registering,
        values=_choices,
    )
    form.add(screens)

    @screens.post(OFFICES)
    async def register(request: Request, operator: Annotated[Operator, Depends(portal.operator())]) -> Response:
        """An office that is there already is shown, and stays as it is (S-75.2)."""
        filled = registering(await portal.form(request, "operator"))
        mistakes = filled.mistakes()
        if not mistakes:
            try:
                await operator.client.register_office(operator.token, filled.office, filled.word)
            except ApiError as refused:
                if refused.code == "TDK-OFFICE-THERE":
                    return go(f"{OFFICES}/{filled.office.number}?there=1")
                mistakes = [_of(refused)]
        if mistakes:
            return await form.page(operator, filled, mistakes)
        found = await operator.client.operator_office(operator.token, filled.office.number)
        return office_page(
            portal,
            operator,
            found,
            told=say("S-REGISTERED", kj_id=found.kj_id),
            asked="letter",
            word=filled.word,
            issued_on=filled.issued_on,
        )

    return screens


async def _choices(_: Operator) -> Mapping[str, object]:
    return {"service_types": {code: shown.service_type(code) for code in SERVICE_TYPES}}


def _of(refused: ApiError) -> tuple[str, Sentence]:
    """Where on the page a refusal belongs. Raises it again when it is about something else."""
    if refused.code == "TDK-OFFICE-NUMBER":
        return ("number", of_refusal(refused))
    if refused.code == "TDK-INVALID":
        return ("number", say("E-129"))
    raise refused
