"""How data looks on every screen (screens.md 0.3): dates, office cells, file stacks, states."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal, TypeAlias

from careplan import SERVICE_TYPES
from todoke.client.shapes import Item, MessageFile
from todoke.relay.clock import in_japan

EXCERPT_CHARACTERS = 50
"""Of a message in a list; then three full stops."""

NOTICE_CHARACTERS = 49
"""Of a notice in a list; then one character of three dots."""

FILES_SHOWN = 3
"""Of more, two are shown and a colon."""

Tone: TypeAlias = Literal["done", "wait", "care", "stop", "quiet", "key"]


@dataclass(frozen=True, slots=True)
class State:
    """A state as a chip: word, colour, icon; `more` stands beside it."""

    word: str
    tone: Tone
    icon: str
    more: str = ""


_CHECKING = State("確認中", "quiet", "clock")
_WAITING = State("未", "wait", "ring")
_DONE = State("済", "done", "tick")
_RECALLED = State("取消", "quiet", "swap")
_FAILED = State("失敗", "stop", "stop")
_EXPIRED = State("期限切れ", "care", "warn")

_SENT = {
    "delivered": _WAITING,
    "downloaded": _DONE,
    "recalled": _RECALLED,
    "rejected": _FAILED,
    "undeliverable": _FAILED,
    "expired": _EXPIRED,
}


def sent_state(item: Item) -> State:
    """ダウンロード状況 of a row of the sent list."""
    if item.held:
        return _CHECKING
    state = _SENT.get(item.status, _CHECKING)
    if state is _WAITING and item.opened_at is not None:
        return State(state.word, state.tone, state.icon, "開封済み")
    return state


def received_state(item: Item) -> State:
    """データ取得状況 of a row of the received list."""
    return _SENT.get(item.status, _WAITING)


def moment(at: datetime | None, *, seconds: bool = False) -> str:
    """`2026/11/04 09:41`, Japan time; empty for None."""
    return "" if at is None else in_japan(at).strftime("%Y/%m/%d %H:%M:%S" if seconds else "%Y/%m/%d %H:%M")


def short_moment(at: datetime) -> str:
    """`11/04 09:41`, Japan time."""
    return in_japan(at).strftime("%m/%d %H:%M")


def weekday_moment(at: datetime) -> str:
    """`11/10（火）17:15`, Japan time."""
    here = in_japan(at)
    return f"{here.month}/{here.day}（{'月火水木金土日'[here.weekday()]}）{here:%H:%M}"


def day(of: date | None) -> str:
    """`2027/3/31`, as licences and certificates are dated; empty for None."""
    return "" if of is None else f"{of.year}/{of.month}/{of.day}"


def month(yyyymm: str) -> str:
    """`2026年11月` of `202611`."""
    return f"{yyyymm[:4]}年{int(yyyymm[4:6])}月"


def excerpt(text: str | None) -> str:
    """The beginning of a message in one line (0.3)."""
    line = "".join((text or "").splitlines())
    return line if len(line) <= EXCERPT_CHARACTERS else line[:EXCERPT_CHARACTERS] + "..."


def notice_excerpt(text: str) -> str:
    """The beginning of a notice in one line (0.3)."""
    line = "".join(text.splitlines())
    return line if len(line) <= NOTICE_CHARACTERS else line[:NOTICE_CHARACTERS] + "…"


def stacked(files: Sequence[MessageFile]) -> list[MessageFile]:
    """A message's files in the order of the screens: data files by name, then the others as they were added."""
    data = sorted((file for file in files if file.label != "PDF等"), key=lambda file: file.name or "")
    return data + [file for file in files if file.label == "PDF等"]


def size(count: int) -> str:
    """A size that people read: `812 KB`, `1.4 MB`."""
    if count < 1024 * 1024:
        return f"{max(1, round(count / 1024))} KB"
    return f"{count / 1024 / 1024:.1f} MB"


def service_type(code: str | None) -> str:
    """`43: 居宅介護支援`; the bare code when the table lacks it; empty for None."""
    if code is None:
        return ""
    known = SERVICE_TYPES.get(code)
    return code if known is None else f"{code}: {known.name_ja}"


FILTERS = {
    "moment": moment,
    "short_moment": short_moment,
    "weekday_moment": weekday_moment,
    "day": day,
    "month": month,
    "excerpt": excerpt,
    "notice_excerpt": notice_excerpt,
    "stacked": stacked,
    "size": size,
    "service_type": service_type,
    "sent_state": sent_state,
    "received_state": received_state,
}
"""What templates may call by name."""
