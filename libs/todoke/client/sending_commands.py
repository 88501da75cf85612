"""`todoke send`, `check` and `demo-files`."""

import contextlib
import dataclasses
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import click

from careplan import fresh_sample_sets, plan_units
from todoke.client import wording
from todoke.client.clock import SystemClock
from todoke.client.desk import EXIT_CODES, Desk, Exit, at_desk, exit_code, office_of, sentence_of
from todoke.client.drivers import Client
from todoke.client.errors import ApiError, ClientError
from todoke.client.gathering import gather
from todoke.client.operations import Outgoing
from todoke.client.planning import Planned, Wishes, plan
from todoke.client.posting import is_passing, post
from todoke.client.saving import save
from todoke.client.shapes import Finding, Submission, Verdict

CHECKS_AT_ONCE = 4
"""Judging is work for the service: a few at once use it well, many would only queue."""

PATHS = click.argument("paths", nargs=-1, type=click.Path(exists=True, path_type=Path))


@dataclasses.dataclass(slots=True)
class Line:
    """One message of a run and what became of it."""

    planned: Planned
    state: str = "planned"
    word: str = ""
    verdict: Verdict | None = None
    message_id: str | None = None
    failure: Exception | None = None

    def document(self) -> dict[str, Any]:
        """The line as JSON."""
        return {
            "recipient": self.planned.recipient,
            "sequence": self.planned.sequence,
            "files": [file.name for file in self.planned.files],
            "state": self.state,
            "message_id": self.message_id,
            "verdict": self.verdict,
            "problem": self.failure.problem if isinstance(self.failure, ApiError) else None,
        }


@click.command(
    "send",
    epilog=EXIT_CODES,
    short_help="ファイル・フォルダ・ZIPを検査して送ります。",
    help="ファイル・フォルダ・ZIPを、組ごとに1通にまとめ、検査してから送ります。"
    "もう一度同じものを指定しても、2回は送りません（送信済み、と出ます）。",
)
@PATHS
@click.option("--to", "recipient", help="送り先の事業所番号（10文字）")
@click.option("--text", help="メッセージの文")
@click.option("--sequence", help="連番（14けた）")
@click.option("--yes", is_flag=True, help="確認せずに送ります")
@click.option("--allow-resend", is_flag=True, help="同じ連番・同じ中身でも、もう一度送ります")
@at_desk
def send(
    desk: Desk,
    paths: tuple[Path, ...],
    recipient: str | None,
    text: str | None,
    sequence: str | None,
    *,
    yes: bool,
    allow_resend: bool,
) -> None:
    """Plan, check, ask, send under stable keys."""
    with desk.client() as client:
        office = office_of(client).office.number
        lines = [Line(planned) for planned in plan(gather(paths), Wishes(recipient, sequence, text), office)]
        _show_plan(desk, lines)
        _check_all(desk, lines)
        ready = [line for line in lines if line.failure is None and line.state == "planned"]
        if ready:
            desk.confirm(f"{len(ready)}通を送ります。よろしいですか", yes=yes)
        _send_all(desk, client, ready, office, allow_resend=allow_resend)
    _conclude(desk, lines, Exit.PARTLY)


@click.command("check", epilog=EXIT_CODES, help="送らずに検査だけします。")
@PATHS
@click.option("--to", "recipient", help="送り先の事業所番号（10文字）")
@click.option("--text", help="メッセージの文")
@click.option("--sequence", help="連番（14けた）")
@at_desk
def check(desk: Desk, paths: tuple[Path, ...], recipient: str | None, text: str | None, sequence: str | None) -> None:
    """Judge messages without sending them."""
    with desk.client() as client:
        office = office_of(client).office.number
        lines = [Line(planned) for planned in plan(gather(paths), Wishes(recipient, sequence, text), office)]
        _check_all(desk, lines)
    for line in lines:
        if line.state == "planned":
            line.state, line.word = "accept", "送れます"
    _conclude(desk, lines, Exit.REFUSED)


@click.command("demo-files", help="練習用のファイルを、いまの時刻の連番で作ります（送信元ごと、1通ごとに1フォルダ）。")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@at_desk
def demo_files(desk: Desk, folder: Path) -> None:
    """Write the sample message sets with fresh sequences, so that they can be sent again and again."""
    start = wording.sequence(SystemClock().now())
    made: list[tuple[str, str, str]] = []
    for name, members in fresh_sample_sets(start):
        unit = plan_units(name for name, _ in members)[0]
        place = folder / unit.sender_office / f"{unit.sequence}_{name.replace('/', '_')}"
        for file_name, content in members:
            save(place, file_name, content)
        made.append((unit.sender_office, unit.recipient_office, str(place)))
    desk.table(("送信元事業所", "送信先事業所", "フォルダ"), sorted(made))
    desk.document({"sets": [{"sender": one[0], "recipient": one[1], "folder": one[2]} for one in made]})


def _show_plan(desk: Desk, lines: Sequence[Line]) -> None:
    rows = [
        (line.planned.sequence or "（自動）", line.planned.recipient, _names(line.planned), line.planned.text or "")
        for line in lines
    ]
    desk.table(("連番", "送信先事業所", "ファイル", "メッセージ"), rows, title=f"送るもの（{len(lines)}通）")


def _names(planned: Planned) -> str:
    lines = [file.name for file in planned.files]
    if planned.missing:
        lines.append(f"（足りない種類: {'、'.join(planned.missing)}）")
    return "\n".join(lines)


def _check_all(desk: Desk, lines: Sequence[Line]) -> None:
    """Judge every message, a few at a time; refusals stay with their line, an absent service ends the command."""
    with ThreadPoolExecutor(CHECKS_AT_ONCE) as pool, contextlib.ExitStack() as clients:
        free: SimpleQueue[Client] = SimpleQueue()
        for _ in range(min(CHECKS_AT_ONCE, len(lines))):
            free.put(clients.enter_context(desk.client()))
        try:
            for line in desk.progress(lines, "検査しています", pool.map(lambda line: _check_one(free, line), lines)):
                _show_findings(desk, line)
        finally:
            pool.shutdown(cancel_futures=True)


def _check_one(free: "SimpleQueue[Client]", line: Line) -> Line:
    planned, client = line.planned, free.get()
    try:
        line.verdict = client.check(planned.recipient, planned.sequence, planned.text, planned.files)
    except ApiError as refused:
        if is_passing(refused):
            raise
        line.failure, line.state, line.word = refused, "refused", sentence_of(refused)
    else:
        if line.verdict.verdict == "reject":
            line.state, line.word = "rejected", "直すところがあります"
    finally:
        free.put(client)
    return line


def _show_findings(desk: Desk, line: Line) -> None:
    if line.verdict is None or not line.verdict.findings:
        return
    desk.table(
        ("", "ファイル", "行", "列", "指摘", "やること", "番号"),
        [finding_row(finding) for finding in line.verdict.findings],
        title=f"{line.planned.sequence or ''} → {line.planned.recipient}",
    )


def finding_row(finding: Finding) -> tuple[str, ...]:
    """A finding as cells of a table."""
    return (
        wording.SEVERITY[finding.severity],
        finding.file or "",
        "" if finding.row is None else str(finding.row),
        finding.column_name or ("" if finding.column is None else str(finding.column)),
        finding.message,
        finding.advice,
        finding.number or finding.code,
    )


def _send_all(desk: Desk, client: Client, lines: Sequence[Line], office: str, *, allow_resend: bool) -> None:
    """Send in order (messages to one office keep theirs); an absent service stops the rest."""
    outcomes = post(client, [_letter(client, line.planned, office, allow_resend=allow_resend) for line in lines])
    failure: Exception | None = None
    try:
        for line, outcome in desk.progress(lines, "送っています", zip(lines, outcomes, strict=True)):
            _note(client, line, outcome)
    except ClientError as away:
        failure = away
    for line in lines:
        if line.state == "planned":
            line.state, line.word = "not_sent", "まだ送っていません" if failure is None else sentence_of(failure)
            line.failure, failure = failure, None


def _letter(client: Client, planned: Planned, office: str, *, allow_resend: bool) -> Outgoing:
    # Meant again is another message: it needs a key that no earlier one had.
    key = client.core.clock.key() if allow_resend else planned.key(office)
    return Outgoing(key, planned.recipient, planned.sequence, planned.text, planned.files, allow_resend)


def _note(client: Client, line: Line, outcome: Submission | ApiError) -> None:
    """Keep what became of a message; of one that had been sent before, also what became of it since."""
    if isinstance(outcome, ApiError):
        line.failure, line.state, line.word = outcome, "refused", sentence_of(outcome)
        return
    line.message_id = str(outcome.message_id)
    if not outcome.replayed:
        line.state, line.word = "sent", "送信しました"
        return
    line.state = "already_sent"
    before = client.message(outcome.message_id)
    line.word = f"送信済み（{wording.status(before)}）"
    if before.status in wording.DEAD_ENDS:
        line.state = "already_ended"
        line.word += "。もう一度送るときは --allow-resend を付けてください。"


GOOD = frozenset({"sent", "already_sent", "accept"})


def _conclude(desk: Desk, lines: Sequence[Line], mixed: Exit) -> None:
    """Show what became of each message and end with the exit code of the whole; `mixed` when some went well."""
    desk.table(
        ("連番", "送信先事業所", "結果", "メッセージID"),
        [(line.planned.sequence or "", line.planned.recipient, line.word, line.message_id or "") for line in lines],
        title="結果",
    )
    desk.document({"messages": [line.document() for line in lines]})
    bad = [line for line in lines if line.state not in GOOD]
    if not bad:
        return
    if len(bad) < len(lines):
        raise SystemExit(int(mixed))
    failures = [exit_code(line.failure) for line in bad if line.failure is not None]
    raise SystemExit(int(next((code for code in failures if code is not Exit.REFUSED), Exit.REFUSED)))
