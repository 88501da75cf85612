"""Notices: published by operators, withdrawn by them, read by the offices they are for."""

import dataclasses
from datetime import datetime
from typing import Literal, TypeAlias
from uuid import UUID

from todoke.events import Actor, Audience, NoticePublished, NoticeWithdrawn, OperatorActed
from todoke.relay.postgres import Tx, queries
from todoke.relay.problem import Problem

_affairs = queries("services.registry", "affairs.sql")

EXCERPT_CHARACTERS = 49
"""What a list shows of a notice before the ellipsis (screens, section 0.3)."""

State: TypeAlias = Literal["normal", "slow", "down"]


@dataclasses.dataclass(frozen=True, slots=True)
class Draft:
    """A notice as an operator wrote it; without `published_at` it is read at once.

    Under an `id` of the caller's it is published once, however often it is asked for.
    """

    id: UUID | None
    title: str
    text: str
    published_at: datetime | None
    important: bool
    audience: Audience
    state: State | None
    until: datetime | None


async def publish(tx: Tx, draft: Draft, actor: Actor, acted: OperatorActed) -> UUID:
    """Publish a notice, now or at its time; answers its id. Its words stay in the table.

    One that is there already under its id stays as it is, and nothing is said. Raises `Problem` 422 `TDK-INVALID` when
    it would end before it begins.
    """
    notice, published_at = draft.id or tx.ports.ids.uuid7(), draft.published_at or tx.now
    if draft.until is not None and draft.until <= published_at:
        raise Problem("TDK-INVALID", where=[("until", "")])
    made = await _affairs.insert_notice(
        tx.db,
        id=notice,
        title=draft.title,
        body=draft.text,
        published_at=published_at,
        important=draft.important,
        audience=draft.audience.kind,
        audience_values=list(draft.audience.values),
        state=draft.state,
        until=draft.until,
        made_by=actor.id,
    )
    if made is None:
        return notice
    tx.say(
        NoticePublished(
            notice_id=notice,
            published_at=published_at,
            important=draft.important,
            audience=draft.audience,
            state=draft.state,
            until=draft.until,
            actor=actor,
        )
    )
    tx.say(acted)
    return notice


async def withdraw(tx: Tx, notice: UUID, actor: Actor) -> None:
    """Nobody reads it any more. Raises `Problem` 404, 409 `TDK-NOTICE-WITHDRAWN`."""
    if await _affairs.withdraw_notice(tx.db, id=notice, now=tx.now) is None:
        known = await _affairs.notice(tx.db, id=notice)
        raise Problem("TDK-NOT-FOUND" if known is None else "TDK-NOTICE-WITHDRAWN")
    tx.say(NoticeWithdrawn(notice_id=notice, withdrawn_at=tx.now, actor=actor))


def excerpt(text: str) -> str:
    """The beginning of a text on one line: 49 characters, then an ellipsis."""
    line = "".join(text.split("\n")).replace("\r", "")
    return line if len(line) <= EXCERPT_CHARACTERS else line[:EXCERPT_CHARACTERS] + "…"
