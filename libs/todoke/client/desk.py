"""What every command of the command line stands on: address, session, output, exit codes."""

import enum
import functools
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any, Concatenate, NoReturn, ParamSpec, TypeVar

import click
from pydantic import BaseModel
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from todoke.client import wording
from todoke.client.clock import SystemClock
from todoke.client.core import Patience
from todoke.client.drivers import DEFAULT_URL, Client
from todoke.client.errors import ApiError, ClientError, HashMismatch, NotLoggedIn, Unreachable, Unreadable
from todoke.client.gathering import Ungatherable
from todoke.client.planning import Unplannable
from todoke.client.saving import Unsavable
from todoke.client.session import FileStore, Session, SessionStore
from todoke.client.shapes import Problem

P = ParamSpec("P")
T = TypeVar("T")

Tell = Callable[..., None]
"""Tells what has just happened (`Desk.tell`): the event's name, a sentence, and what a program wants to know."""

PLAIN_COLUMNS = 240
"""Width of tables that go into a file or a pipe."""


class Exit(enum.IntEnum):
    """How a command ended."""

    DONE = 0
    REFUSED = 1
    USAGE = 2
    NOT_LOGGED_IN = 3
    AWAY = 4
    PARTLY = 5


EXIT_CODES = """\b
終了コード:
  0  できました
  1  断られた、または直すところ（指摘）がある
  2  使い方の誤り
  3  ログインしていない、または終わっている
  4  つながらない、または混み合っている（しばらくして、もう一度）
  5  一部だけできた（同じコマンドをもう一度。2回送られることはありません）"""


class Stopped(Exception):  # noqa: N818 (named for what happened)
    """A command that ends here: with this exit code and this sentence for people (on the error output)."""

    def __init__(self, code: Exit, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code
        self.sentence = sentence


class Output:
    """Where a command prints: tables for people, or (`as_json`) one JSON document."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        width = None if sys.stdout.isatty() else PLAIN_COLUMNS
        self._out = Console(width=width, highlight=False, soft_wrap=False)
        self._err = Console(stderr=True, highlight=False)

    def say(self, sentence: str) -> None:
        """A sentence for people; nothing under `--json`."""
        if not self.as_json:
            self._out.print(Text(sentence))

    def warn(self, sentence: str) -> None:
        """A sentence on the error output."""
        self._err.print(Text(sentence))

    def tell(self, event: str, sentence: str, **facts: Any) -> None:
        """What has just happened, while a command goes on: a sentence with its time, or one line of JSON."""
        now = SystemClock().now()
        if self.as_json:
            click.echo(
                json.dumps({"at": now.isoformat(), "event": event, "message": sentence, **facts}, ensure_ascii=False)
            )
        else:
            self._out.print(Text(f"{wording.moment(now)} {sentence}"))

    def table(self, heads: Sequence[str], rows: Iterable[Sequence[str]], title: str | None = None) -> None:
        """A table for people; nothing under `--json`. Cells are text: markup in a file's name stays text."""
        if self.as_json:
            return
        table = Table(title=title, title_justify="left")
        for head in heads:
            # Whatever does not fit is folded, never cut off; ids must stay whole to be copied.
            table.add_column(head, overflow="fold", no_wrap=head.endswith("ID"))
        for row in rows:
            table.add_row(*(Text(cell) for cell in row))
        self._out.print(table)

    def document(self, value: Any) -> None:
        """The JSON document of this command; nothing without `--json`."""
        if self.as_json:
            click.echo(json.dumps(value, ensure_ascii=False, indent=2, default=_plain))

    def progress(self, items: Sequence[Any], sentence: str, outcomes: Iterable[T]) -> Iterator[T]:
        """What comes of the items as it comes, with a bar on the error output when a person looks at it."""
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=self._err, transient=True, disable=not self._has_reader) as bar:
            yield from bar.track(outcomes, len(items), description=sentence)

    @property
    def _has_reader(self) -> bool:
        """Whether the error output is a person's terminal: who asks for JSON is a program."""
        return self._err.is_terminal and not self.as_json

    def confirm(self, question: str, *, yes: bool) -> None:
        """Ask before something is done.

        Raises:
            Stopped: the answer is no, or nobody is there to answer.
        """
        if yes:
            return
        if not sys.stdin.isatty():
            raise Stopped(Exit.USAGE, "確認できる人がいないときは --yes を付けてください。")
        if not click.confirm(question, err=True):
            raise Stopped(Exit.REFUSED, "やめました。何も送っていません。")


class Desk(Output):
    """The place where one command works.

    Args:
        url: from `--url` or `TODOKE_URL`; None leaves it to the session.
        store: the file of the session.
        as_json: print one JSON document instead of tables.
    """

    def __init__(self, url: str | None, store: FileStore, *, as_json: bool) -> None:
        super().__init__(as_json=as_json)
        self._url = url
        self.store = store

    def client(self, patience: Patience | None = None) -> Client:
        """A client with the kept session.

        Raises:
            Stopped: the kept session belongs to another address, which must not see its token.
        """
        session = self.store.load()
        if session is not None and self._url is not None and session.url != self._url.rstrip("/"):
            raise Stopped(Exit.NOT_LOGGED_IN, f"このログインは {session.url} のものです。ログインし直してください。")
        url = self._url or (session.url if session else DEFAULT_URL)
        return Client(url, store=self.store, patience=patience)

    def stranger(self, url: str | None, store: SessionStore | None = None, patience: Patience | None = None) -> Client:
        """A client without the kept session: a login that fails leaves that one as it was."""
        return Client(self._url or url or DEFAULT_URL, store=store, patience=patience)


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    return str(value)


def session_path() -> Path:
    """Where the session is kept unless told otherwise (XDG Base Directory Specification)."""
    configured = os.environ.get("XDG_CONFIG_HOME")
    folder = Path(configured) if configured else Path.home() / ".config"
    return folder / "todoke" / "session.json"


def at_desk(command: Callable[Concatenate[Desk, P], None]) -> Callable[P, None]:
    """Give a command its desk and the options that all commands have; errors become a sentence and an exit code."""

    @click.option("--url", envvar="TODOKE_URL", help=f"宛先（初めの値: ログイン先、なければ {DEFAULT_URL}）")
    @click.option(
        "--session",
        type=click.Path(dir_okay=False, path_type=Path),
        envvar="TODOKE_SESSION",
        help="ログインを保つファイル",
    )
    @click.option("--json", "as_json", is_flag=True, help="表のかわりにJSONを出します")
    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        url, session, as_json = kwargs.pop("url"), kwargs.pop("session"), kwargs.pop("as_json")
        store = FileStore(session if isinstance(session, Path) else session_path())
        desk = Desk(url if isinstance(url, str) else None, store, as_json=bool(as_json))
        try:
            command(desk, *args, **kwargs)
        except ApiError as refused:
            _stop(desk, exit_code(refused), wording.problem(refused.problem), refused.problem)
        except (ClientError, Ungatherable, Unplannable, Unsavable, Stopped) as failure:
            _stop(desk, exit_code(failure), sentence_of(failure))

    return run


def exit_code(failure: Exception) -> Exit:
    """The exit code that a failure leads to."""
    if isinstance(failure, Stopped):
        return failure.code
    if isinstance(failure, NotLoggedIn):
        return Exit.NOT_LOGGED_IN
    if isinstance(failure, Unreachable | Unreadable):
        return Exit.AWAY
    if isinstance(failure, Ungatherable | Unplannable):
        return Exit.USAGE
    if isinstance(failure, ApiError):
        if failure.status == HTTPStatus.UNAUTHORIZED:
            return Exit.NOT_LOGGED_IN
        if failure.status == HTTPStatus.TOO_MANY_REQUESTS or failure.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return Exit.AWAY
    return Exit.REFUSED


def sentence_of(failure: Exception) -> str:
    """What people are told of a failure."""
    if isinstance(failure, ApiError):
        return wording.problem(failure.problem)
    if isinstance(failure, NotLoggedIn):
        return "ログインしていません。todoke login でログインしてください。"
    if isinstance(failure, Unreachable):
        return "つながりませんでした。しばらくして、もう一度試してください。"
    if isinstance(failure, Unreadable):
        return "宛先の答えを読めませんでした。--url を確かめてください。"
    if isinstance(failure, HashMismatch):
        return "届いた中身が記録と違います。「未」のままなので、もう一度取得してください。（E-405）"
    return str(failure)


def _stop(desk: Desk, code: Exit, sentence: str, problem: Problem | None = None) -> NoReturn:
    desk.warn(sentence)
    desk.document({"error": {"exit": int(code), "message": sentence, "problem": problem}})
    raise SystemExit(int(code))


def office_of(client: Client) -> Session:
    """The session of a command that needs one; raises `NotLoggedIn` without."""
    return client.core.logged_in()
