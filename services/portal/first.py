"""Passwords of one's own: the checks of S-08 that both sites share."""

from collections.abc import Mapping

from services.portal import shown
from services.portal.forms import Form
from services.portal.visitors import Visitor
from services.portal.wording import Sentence, of_refusal, say
from todoke.client import ApiError
from todoke.client.shapes import Secret
from todoke.relay.clock import in_japan


async def changed_password(visitor: Visitor, which: Secret, form: Form) -> Mapping[str, Sentence]:
    """Change a password as the form says; answers what is wrong by field, empty when it is done.

    Raises `ApiError` for refusals that are about something else.
    """
    wrong = _mistakes(form)
    if wrong:
        return wrong
    try:
        await visitor.client.change_password(which, form.text("old"), form.text("new"))
    except ApiError as refused:
        return _refused(refused)
    await visitor.client.refresh()
    return {}


def expired(visitor: Visitor, which: Secret) -> Sentence | None:
    """E-106, for a password that must be changed because it has expired."""
    at = visitor.session.expired_at.get(which)
    return None if at is None else say("E-106", date=shown.day(in_japan(at).date()))


def _mistakes(form: Form) -> Mapping[str, Sentence]:
    """What can be seen without asking: field → sentence."""
    if not form.text("old"):
        return {"old": say("E-113")}
    if not form.text("new"):
        return {"new": say("E-113")}
    if form.text("new") != form.text("again"):
        return {"again": say("E-115")}
    return {}


def _refused(refused: ApiError) -> Mapping[str, Sentence]:
    if refused.code in ("TDK-PASSWORD-WRONG", "TDK-LOCKED"):
        return {"old": of_refusal(refused)}
    if refused.number == "E-108":
        return {"new": of_refusal(refused)}
    raise refused
