"""What the logins of all sites have in common: what is wrong with a form, and how a refusal is told."""

import math
from dataclasses import dataclass

from fastapi import Request, Response

from services.portal.portal import Portal
from services.portal.rules import KJ_ID_LENGTH, begins_with_kj, is_kj_id, place_within
from services.portal.websessions import Kind
from services.portal.wording import Sentence, of_code, of_refusal, say
from todoke.client import ApiError


@dataclass(frozen=True, slots=True)
class Wrong:
    """What is wrong with a login form: the sentence, the field it stands under and that takes focus, the status."""

    sentence: Sentence
    where: str
    status: int = 422
    retry_seconds: int | None = None


@dataclass(frozen=True, slots=True)
class LoginScreen:
    """A page to log in at: its template, id and title, and the kind of session that it begins."""

    template: str
    screen: str
    title: str
    kind: Kind

    def page(
        self,
        portal: Portal,
        request: Request,
        *,
        wanted: str = "",
        typed: str = "",
        wrong: Wrong | None = None,
        told: Sentence | None = None,
        status: int = 200,
    ) -> Response:
        """The page, with what was typed and what was wrong; its browser keeps the cookie that proves the form."""
        cookie = portal.cookie(request, self.kind) or portal.ids.secret(32).hex()
        response = portal.bare_page(
            self.template,
            screen=self.screen,
            title=self.title,
            csrf=portal.csrf.token(cookie),
            status=wrong.status if wrong else status,
            wrong=wrong,
            typed=typed,
            told=told,
            wanted=place_within(wanted, ""),
        )
        portal.set_cookie(response, self.kind, cookie)
        if wrong is not None and wrong.retry_seconds is not None:
            response.headers["Retry-After"] = str(wrong.retry_seconds)
        return response


def refused_login(refused: ApiError) -> Wrong:
    """A pair that is wrong, or locked. Raises the refusal again when it is about something else."""
    if refused.code == "TDK-LOCKED":
        seconds = int(refused.retry_after or 60)
        return Wrong(of_code("TDK-LOCKED", minutes=math.ceil(seconds / 60)), "password", 429, seconds)
    if refused.code == "TDK-LOGIN-FAILED":
        return Wrong(of_refusal(refused), "password")
    raise refused


def kj_mistake(typed: str, password: str) -> Wrong | None:
    """What can be seen of a KJ-ID and its password without asking: it counts as no failure."""
    if not is_kj_id(typed):
        number = say("E-104", n=len(typed)) if len(typed) != KJ_ID_LENGTH or not begins_with_kj(typed) else None
        return Wrong(number or of_code("TDK-LOGIN-FAILED"), "user_id")
    return None if password else Wrong(say("E-113"), "password")
