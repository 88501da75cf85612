"""What the command line shows to people: Japanese heads and words, times on Japan's clock."""

from collections.abc import Mapping
from datetime import datetime, timedelta, timezone

from todoke.client.shapes import Item, Problem

JAPAN = timezone(timedelta(hours=9), "JST")

WAITING = "確認中"
STATUS: Mapping[str, str] = {
    "submitted": WAITING,
    "accepted": WAITING,
    "routed": WAITING,
    "delivered": "未",
    "downloaded": "済",
    "recalled": "取消",
    "rejected": "失敗",
    "undeliverable": "失敗",
    "expired": "期限切れ",
}
"""Words for the status of a message (screens 0.2)."""

DEAD_ENDS = frozenset({"rejected", "undeliverable", "recalled", "expired"})
"""Statuses in which the recipient does not have the message."""

SEVERITY: Mapping[str, str] = {"error": "直す", "warning": "注意"}
PARTICIPATION: Mapping[str, str] = {"active": "利用中", "suspended": "休止", "none": "不参加"}

EVENTS: Mapping[str, str] = {
    "submitted": "送信",
    "accepted": "検査を通過",
    "rejected": "検査で不合格",
    "routed": "振り分け",
    "undeliverable": "お届けできず",
    "discarded": "お届けできず",
    "delivered": "お届け",
    "opened": "開封",
    "downloaded": "取得（済）",
    "recall_requested": "取消の依頼",
    "recalled": "取消",
    "reminded": "未取得のお知らせ",
    "expired": "期限切れ",
    "erased": "中身の消去",
    "held": "確認中",
    "released": "確認の終わり",
}
"""Steps of the timeline."""


def moment(value: datetime | None) -> str:
    """`2025/09/01 12:34` in Japan, or nothing."""
    return "" if value is None else value.astimezone(JAPAN).strftime("%Y/%m/%d %H:%M")


def sequence(value: datetime) -> str:
    """A 連番 made of this moment in Japan."""
    return value.astimezone(JAPAN).strftime("%Y%m%d%H%M%S")


def status(item: Item) -> str:
    """The status as people call it, with 開封済み and the reason of a failure."""
    if item.held:
        return WAITING
    word = STATUS[item.status]
    if item.reason is not None:
        return f"{word}（{item.reason.message}）"
    if item.status == "delivered" and item.opened_at is not None:
        return f"{word}・開封済み"
    return word


def opened(at: datetime | None) -> str:
    """Whether, and when, the recipient has looked into the files."""
    return "未開封" if at is None else f"開封済み（{moment(at)}）"


def files(item: Item) -> str:
    """The names of the files, one a line."""
    return "\n".join(file.name or f"（{file.label}）" for file in item.files)


def problem(found: Problem) -> str:
    """A problem as two or three lines: what, what to do, where."""
    lines = [f"{found.title}（{found.number or found.code}）", found.detail]
    lines += [f"  {one.where}: {one.message}" for one in found.errors]
    return "\n".join(line for line in lines if line)
