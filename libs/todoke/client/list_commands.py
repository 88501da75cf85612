"""`todoke sent`, `received`, `show` and `offices`."""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, TypeVar

import click

from todoke.client import wording
from todoke.client.desk import EXIT_CODES, Desk, at_desk
from todoke.client.drivers import Client
from todoke.client.errors import ApiError
from todoke.client.operations import Filters
from todoke.client.sending_commands import finding_row
from todoke.client.shapes import Item, Message, Stub, Verdict

F = TypeVar("F", bound=Callable[..., Any])

LIST_ITEMS = 50
"""Rows that a list shows unless more are asked for."""

PAGE_ITEMS_MAX = 200


def _filters(command: F) -> F:
    options = (
        click.option("--all", "everything", is_flag=True, help="全部を出します"),
        click.option("--limit", type=click.IntRange(1), default=LIST_ITEMS, show_default=True, help="出す件数"),
        click.option("--status", help="状態（delivered、downloaded など）"),
        click.option("--partner", help="相手の事業所番号"),
        click.option("--month", help="対象年月（YYYYMM）"),
        click.option("--sequence", help="連番（14けた）"),
    )
    for option in options:
        command = option(command)
    return command


def _chosen(items: Iterator[Item], limit: int, *, everything: bool) -> list[Item]:
    return list(items if everything else islice(items, limit))


def _asked(limit: int, **filters: str | None) -> Filters:
    asked: Filters = {"limit": min(limit, PAGE_ITEMS_MAX)}
    for name, value in filters.items():
        if value is not None:
            asked[name] = value  # type: ignore[literal-required]  # the names are those of the options above
    return asked


@click.command("sent", epilog=EXIT_CODES, help="送信一覧を、新しい順に出します。")
@_filters
@at_desk
def sent(desk: Desk, /, limit: int, *, everything: bool, **filters: str | None) -> None:
    """List what the office has sent."""
    with desk.client() as client:
        items = _chosen(client.each_sent(**_asked(limit, **filters)), limit, everything=everything)
    desk.table(
        ("送信日時", "連番", "送信先事業所", "ファイル名", "メッセージ", "ダウンロード状況", "メッセージID"),
        [
            (
                wording.moment(item.submitted_at),
                item.sequence,
                f"{item.recipient.name}\n{item.recipient.number}",
                wording.files(item),
                item.text or "",
                wording.status(item),
                str(item.message_id),
            )
            for item in items
        ],
    )
    if not items:
        desk.say("まだ何も送っていません。")
    desk.document({"items": items})


@click.command("received", epilog=EXIT_CODES, help="受信一覧を、新しい順に出します。")
@_filters
@click.option("--since", type=click.IntRange(0), help="この配信番号より後を、古い順に全部")
@at_desk
def received(desk: Desk, /, limit: int, *, everything: bool, since: int | None, **filters: str | None) -> None:
    """List what the office has received."""
    with desk.client() as client:
        items: list[Item] | list[Item | Stub]
        if since is None:
            items = _chosen(client.each_received(**_asked(limit, **filters)), limit, everything=everything)
        else:
            items = list(client.each_received_since(since))
    desk.table(
        ("配信番号", "受信日時", "連番", "送信元事業所", "ファイル名", "メッセージ", "データ取得状況", "メッセージID"),
        [_received_row(item) for item in items],
    )
    if not items:
        desk.say("まだ何も届いていません。")
    desk.document({"items": items})


def _received_row(item: Item | Stub) -> tuple[str, ...]:
    if isinstance(item, Stub):
        word = wording.STATUS.get(item.status, item.status)
        return (str(item.delivery_no), "", "", "", "", "", word, str(item.message_id))
    return (
        str(item.delivery_no or ""),
        wording.moment(item.delivered_at),
        item.sequence,
        f"{item.sender.name}\n{item.sender.number}",
        wording.files(item),
        item.text or "",
        wording.status(item),
        str(item.message_id),
    )


@click.command("show", epilog=EXIT_CODES, help="1通のくわしい内容（ファイル、あゆみ、指摘）を出します。")
@click.argument("message_id")
@at_desk
def show(desk: Desk, message_id: str) -> None:
    """Show one message with its files, timeline and findings."""
    with desk.client() as client:
        message = client.message(message_id)
        verdict = _findings(client, message)
    desk.table(("項目", "内容"), _facts(message))
    desk.table(
        ("", "ファイル名", "ファイル種別", "大きさ", "SHA-256"),
        [(str(file.n), file.name or "", file.label, f"{file.size:,}", file.sha256 or "") for file in message.files],
        title="ファイル",
    )
    desk.table(
        ("日時", "できごと", "事業所", "利用者"),
        [
            (
                wording.moment(entry.at),
                wording.EVENTS.get(entry.event, entry.event),
                (entry.by and entry.by.office) or "",
                (entry.by and entry.by.user) or "",
            )
            for entry in message.timeline
        ],
        title="あゆみ",
    )
    if verdict is not None and verdict.findings:
        heads = ("", "ファイル", "行", "列", "指摘", "やること", "番号")
        desk.table(heads, [finding_row(finding) for finding in verdict.findings], title="指摘")
    desk.document({**message.model_dump(mode="json"), "verdict": verdict})


def _findings(client: Client, message: Message) -> Verdict | None:
    """The findings of a message that has any; None where they are hidden or gone."""
    if not message.findings.errors and not message.findings.warnings:
        return None
    try:
        return client.findings(message.message_id)
    except ApiError:
        return None


def _facts(message: Message) -> list[tuple[str, str]]:
    facts = [
        ("状態", wording.status(message)),
        ("連番", message.sequence),
        ("送信元事業所", f"{message.sender.name}（{message.sender.number}）"),
        ("送信先事業所", f"{message.recipient.name}（{message.recipient.number}）"),
        ("対象年月", " ".join(message.months)),
        ("CSVバージョン", message.csv_version or ""),
        ("送信日時", wording.moment(message.submitted_at)),
        ("お届け日時", wording.moment(message.delivered_at)),
        ("取得日時", wording.moment(message.downloaded_at)),
        ("メッセージ", message.text or ""),
    ]
    return [(head, value) for head, value in facts if value]


@click.command("offices", epilog=EXIT_CODES, help="事業所を、名前か番号でさがします。")
@click.argument("query")
@click.option("--limit", type=click.IntRange(1, PAGE_ITEMS_MAX), default=LIST_ITEMS, show_default=True)
@at_desk
def offices(desk: Desk, query: str, limit: int) -> None:
    """Search the directory."""
    with desk.client() as client:
        page = client.offices(query, limit)
    desk.table(
        ("事業所番号", "事業所名", "サービス種類", "利用", "住所", "電話番号"),
        [
            (
                office.number,
                office.name,
                " ".join(f"{kind.code} {kind.name}" for kind in office.service_types),
                wording.PARTICIPATION[office.participation],
                office.address,
                office.phone,
            )
            for office in page.items
        ],
    )
    if not page.items:
        desk.say("見つかりません。番号は10文字です。名前の一部でもさがせます。")
    desk.document(page)
