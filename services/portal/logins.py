"""What the logins of all sites have in common: what is wrong with a form, and how a refusal is told."""

import math
from dataclasses import dataclass

from services.portal.rules import KJ_ID_LENGTH, begins_with_kj, is_kj_id
from services.portal.wording import Sentence, of_code, of_refusal, say
from todoke.client import ApiError


@dataclass(frozen=True, slots=True)
class Wrong:
    """What is wrong with a login form: the sentence, the field it stands under and that takes focus, the status."""

    sentence: Sentence
    where: str
    status: int = 422
    retry_seconds: int | None = None


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
