"""`todoke fetch`: bytes to disk, then the receipt."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from todoke.client.desk import EXIT_CODES, Desk, Exit, at_desk, exit_code, office_of, sentence_of
from todoke.client.drivers import Client
from todoke.client.errors import ClientError
from todoke.client.saving import TEXT_NAME, Unsavable, existing, safe_name, save
from todoke.client.shapes import Item, MessageFile


@dataclasses.dataclass(slots=True)
class Line:
    """One message of a run and what became of it."""

    message_id: str
    item: Item | None = None
    folder: Path | None = None
    saved: list[Path] = dataclasses.field(default_factory=list)
    receipt: str | None = None
    state: str = "waiting"
    word: str = "まだ取得していません"
    failure: Exception | None = None

    def document(self) -> dict[str, Any]:
        """The line as JSON."""
        return {
            "message_id": self.message_id,
            "state": self.state,
            "folder": None if self.folder is None else str(self.folder),
            "files": [str(path) for path in self.saved],
            "receipt": self.receipt,
            "message": self.word,
        }


@click.command(
    "fetch",
    epilog=EXIT_CODES,
    help="データを取得して保存し、受領を知らせます（済になります）。"
    "途中で止まっても、もう一度実行すれば続きから取得します。",
)
@click.argument("message_ids", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="未取得（未）のものを全部")
@click.option("--to", "target", type=click.Path(file_okay=False, path_type=Path), default=Path(), help="保存先フォルダ")
@at_desk
def fetch(desk: Desk, message_ids: tuple[str, ...], target: Path, *, everything: bool) -> None:
    """Save files durably, check their hashes, and only then send the receipts."""
    if bool(message_ids) == everything:
        raise click.UsageError("メッセージIDか --all の、どちらかを指定してください。")
    with desk.client() as client:
        office = office_of(client).office.number
        lines = _waiting(client) if everything else [Line(one) for one in dict.fromkeys(message_ids)]
        for line in desk.progress(lines, "取得しています", lines):
            try:
                _collect(client, line, target, office)
            except (ClientError, Unsavable) as failure:
                line.failure, line.state, line.word = failure, "failed", sentence_of(failure)
                if exit_code(failure) in (Exit.AWAY, Exit.NOT_LOGGED_IN):
                    break
    _conclude(desk, lines)


def _waiting(client: Client) -> list[Line]:
    """Everything not collected yet, oldest first: software imports in the order of arrival."""
    items = sorted(client.each_received(status="delivered", limit=200), key=lambda item: item.delivery_no or 0)
    return [Line(str(item.message_id), item) for item in items]


def _collect(client: Client, line: Line, target: Path, office: str) -> None:
    """Save every file of a message, then send the receipt if it is ours to send."""
    item = line.item or client.message(line.message_id)
    line.item = item
    line.folder = target / safe_name(f"{item.sequence}_{item.sender.number}", 0)
    for file in item.files:
        line.saved.append(_saved(client, item, file, line.folder))
    if item.text:
        line.saved.append(save(line.folder, TEXT_NAME, item.text.encode()))
    line.state, line.word = "fetched", "取得しました"
    if item.recipient.number == office:
        answer = client.receipt(item.message_id, [file.sha256 or "" for file in item.files])
        line.receipt, line.state, line.word = answer.receipt, "downloaded", "済"


def _saved(client: Client, item: Item, file: MessageFile, folder: Path) -> Path:
    """Where the file lies durably, its hash checked; it is not asked for again when an earlier run has saved it."""
    name = safe_name(file.name, file.n)
    if file.sha256 is not None:
        path = existing(folder, name, file.sha256, file.size)
        if path is not None:
            return path
    return save(folder, name, client.fetch_file(item.message_id, file.n, file.sha256))


def _conclude(desk: Desk, lines: Sequence[Line]) -> None:
    desk.table(
        ("連番", "送信元事業所", "保存先", "ファイル数", "結果"),
        [
            (
                line.item.sequence if line.item else line.message_id,
                line.item.sender.name if line.item else "",
                "" if line.folder is None else str(line.folder),
                str(len(line.saved)),
                line.word,
            )
            for line in lines
        ],
    )
    if not lines:
        desk.say("未取得のものはありません。")
    desk.document({"messages": [line.document() for line in lines]})
    bad = [line for line in lines if line.state not in ("downloaded", "fetched")]
    if not bad:
        return
    if len(bad) < len(lines):
        raise SystemExit(int(Exit.PARTLY))
    failures = [exit_code(line.failure) for line in bad if line.failure is not None]
    raise SystemExit(int(next((code for code in failures if code is not Exit.REFUSED), Exit.REFUSED)))
