"""What every operator's command stands on: a session of its own, the operators' listener, reasons and tickets."""

import functools
import os
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import IO, Any, Concatenate, NoReturn, ParamSpec, TypeVar

import click
import httpx
from pydantic import ValidationError
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from todoke.client.calls import itself, nothing, reading
from todoke.client.clock import SystemClock
from todoke.client.core import Answer, Ask, Call, Patience, read
from todoke.client.desk import Exit, Output, Stopped, exit_code
from todoke.client.drivers import TIMEOUT, Client
from todoke.client.errors import ApiError, ClientError, NotLoggedIn, Unreachable
from todoke.client.session import write_for_owner
from todoke.client.shapes import Problem, Shape, ShapeT
from todoke.client.wording import JAPAN

P = ParamSpec("P")
T = TypeVar("T")

OPERATOR_URL = "http://127.0.0.1:8081"
"""The operators' listener of `todoke up`: its port is the offices' plus one."""

SERVICES = ("registry", "ingest", "validation", "routing", "storage", "notification", "projection", "portal")
"""Every service, in the order of the flow."""

ONE_SERVICE = click.argument("service", type=click.Choice(sorted(SERVICES)))

PATIENCE = Patience(seconds=8)
"""An operator waits at the screen."""

NOT_THERE = frozenset(
    {HTTPStatus.NOT_FOUND, HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT}
)
"""Answers of a process, or a front, that does not reach the service that was asked for."""

EXIT_CODES = """\b
Exit codes:
  0  done
  1  refused, or something differs
  2  wrong use
  3  not logged in, or no longer
  4  not reachable, or busy (try again)
  5  done in part: some services were not reached"""

Word = Mapping[str, Any]
"""Reason and ticket of a change, as the API takes them."""


class OperatorSession(Shape):
    """Who is logged in where, until when (UTC)."""

    url: str
    user_id: str
    access_token: str
    access_until: datetime


class OperatorStore:
    """An operator's session in a file that only its owner may read (0600), apart from the offices' sessions."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self) -> OperatorSession | None:
        """The session; None when there is no file or it holds none of this version."""
        try:
            return OperatorSession.model_validate_json(self.path.read_bytes())
        except (FileNotFoundError, NotADirectoryError, ValidationError):
            return None

    def save(self, session: OperatorSession) -> None:
        """Keep it instead of the earlier one."""
        write_for_owner(self.path, session.model_dump_json(indent=2))

    def clear(self) -> None:
        """Remove the file."""
        self.path.unlink(missing_ok=True)


class OpsDesk(Output):
    """The place where one operator's command works."""

    def __init__(self, url: str | None, store: OperatorStore, *, as_json: bool) -> None:
        super().__init__(as_json=as_json)
        self._given = url
        self.store = store
        self.clock = SystemClock()

    def address(self, otherwise: str = OPERATOR_URL) -> str:
        """Where to log in."""
        return (self._given or otherwise).rstrip("/")

    def session(self) -> OperatorSession:
        """Who is logged in.

        Raises:
            NotLoggedIn: nobody, or not any more.
            Stopped: the session belongs to another address, which must not see its token.
        """
        session = self.store.load()
        if session is None or session.access_until <= self.clock.now():
            raise NotLoggedIn("no operator's session")
        if self._given is not None and session.url != self._given.rstrip("/"):
            raise Stopped(Exit.NOT_LOGGED_IN, f"this login belongs to {session.url}: log in again")
        return session

    def get(self, shape: type[ShapeT], path: str, **params: str | int | None) -> ShapeT:
        """Ask for a document below `/v1/operator`."""
        given = {name: value for name, value in params.items() if value is not None}
        return self._ask(Call(Ask("GET", f"/v1/operator{path}", params=given), reading(shape), repeatable=True))

    def post(self, shape: type[ShapeT], path: str, body: Word | None = None) -> ShapeT:
        """Change something; it is not asked twice when the answer gets lost."""
        return self._ask(Call(Ask("POST", f"/v1/operator{path}", body=body), reading(shape), repeatable=False))

    def delete(self, path: str, body: Word) -> None:
        """Take something away; it is not asked twice when the answer gets lost."""
        self._ask(Call(Ask("DELETE", f"/v1/operator{path}", body=body), nothing, repeatable=False))

    def patch(self, shape: type[ShapeT], path: str, body: Word) -> ShapeT:
        """Change some members of something; it is not asked twice when the answer gets lost."""
        return self._ask(Call(Ask("PATCH", f"/v1/operator{path}", body=body), reading(shape), repeatable=False))

    def fetch(self, path: str, body: Word) -> bytes:
        """Have something made whose bytes are answered this once."""
        return self._ask(Call(Ask("POST", f"/v1/operator{path}", body=body), itself, repeatable=False)).body

    def log_in(self, shape: type[ShapeT], url: str, body: Word) -> ShapeT:
        """Log in at an address."""
        ask = Ask("POST", "/v1/operator/session", body=body)
        with Client(url, patience=PATIENCE) as client:
            return client.run(client.core.perform(Call(ask, reading(shape), repeatable=False, bearer="")))

    def log_out(self) -> None:
        """End the session at the service."""
        self._ask(Call(Ask("DELETE", "/v1/operator/session"), nothing, repeatable=True))

    def _ask(self, call: Call[T]) -> T:
        session = self.session()
        asked = Call(call.ask, call.read, call.repeatable, bearer=session.access_token)
        with Client(session.url, patience=PATIENCE) as client:
            return client.run(client.core.perform(asked))

    def upload(self, shape: type[ShapeT], path: str, act: str, file: Path) -> ShapeT:
        """Send a file of any size with a JSON part before it, and a bar on the error output for a person at a terminal.

        Raises `Unreachable`.
        """
        session = self.session()
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
        bar = Progress(*columns, console=self._err, transient=True, disable=not self._has_reader)
        with bar, bar.open(file, "rb", description=file.name) as stream:
            parts: list[tuple[str, tuple[str | None, IO[bytes] | str, str]]] = [
                ("act", (None, act, "application/json")),
                ("file", ("list.csv", stream, "text/csv")),  # its name on this machine is nobody's business
            ]
            try:
                response = httpx.post(
                    f"{session.url}/v1/operator{path}",
                    files=parts,
                    headers={"Authorization": f"Bearer {session.access_token}"},
                    timeout=TIMEOUT,
                )
            except httpx.RequestError as failure:
                raise Unreachable(type(failure).__name__, sent=True) from None
        answer = Answer(response.status_code, dict(response.headers), response.content)
        return read(Call(Ask("POST", path), reading(shape), repeatable=False), answer, self.clock.now())

    def everywhere(self, ask: Callable[[str], T], services: Iterable[str] = SERVICES) -> tuple[list[T], list[str]]:
        """What each service answers, and the services that were not reached.

        Raises:
            Stopped: no service was reached.
        """
        answers, missing = [], []
        for service in services:
            try:
                answers.append(ask(service))
            except ApiError as refused:
                if refused.status not in NOT_THERE:
                    raise
                missing.append(service)
        if not answers:
            raise Stopped(Exit.AWAY, "no service was reached: is this the operators' listener?")
        return answers, missing

    def end(self, missing: Iterable[str]) -> None:
        """The end of a command that asked several services: exit 5 when some were not reached."""
        if names := ", ".join(missing):
            self.warn(f"not reached: {names}")
            raise SystemExit(int(Exit.PARTLY))


def operator_session_path() -> Path:
    """Where the session is kept unless told otherwise (XDG Base Directory Specification)."""
    configured = os.environ.get("XDG_CONFIG_HOME")
    folder = Path(configured) if configured else Path.home() / ".config"
    return folder / "todoke" / "operator.json"


def at_ops_desk(command: Callable[Concatenate[OpsDesk, P], None]) -> Callable[P, None]:
    """Give a command its desk and the options that all have; errors become a sentence and an exit code."""

    @click.option("--url", envvar="TODOKE_OPERATOR_URL", help=f"operators' listener [{OPERATOR_URL}]")
    @click.option(
        "--session",
        type=click.Path(dir_okay=False, path_type=Path),
        envvar="TODOKE_OPERATOR_SESSION",
        help="file that keeps the login",
    )
    @click.option("--json", "as_json", is_flag=True, help="print JSON instead of tables")
    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        url, session, as_json = kwargs.pop("url"), kwargs.pop("session"), kwargs.pop("as_json")
        store = OperatorStore(session if isinstance(session, Path) else operator_session_path())
        desk = OpsDesk(url if isinstance(url, str) else None, store, as_json=bool(as_json))
        try:
            command(desk, *args, **kwargs)
        except (ClientError, Stopped) as failure:
            _stop(desk, failure)

    return run


def changing(command: Callable[Concatenate[OpsDesk, Word, P], None]) -> Callable[Concatenate[OpsDesk, P], None]:
    """Options of a command that changes something: it is refused without `--destructive`, a reason and a ticket."""

    @click.option("--destructive", is_flag=True, help="yes, change it")
    @click.option("--reason", help="why (sealed; name no person)")
    @click.option("--ticket", help="number of the ticket (stands in clear)")
    @functools.wraps(command)
    def run(desk: OpsDesk, /, *args: P.args, **kwargs: P.kwargs) -> None:
        destructive, reason, ticket = kwargs.pop("destructive"), kwargs.pop("reason"), kwargs.pop("ticket")
        wanted = {"--destructive": destructive, "--reason": reason, "--ticket": ticket}
        if lacking := [option for option, value in wanted.items() if not value]:
            raise Stopped(Exit.USAGE, f"this changes something: say {', '.join(lacking)}. Nothing was changed.")
        command(desk, {"reason": reason, "ticket": ticket}, *args, **kwargs)

    return run


def moment(value: datetime | None) -> str:
    """Date and time in Japan, to the second."""
    return "" if value is None else value.astimezone(JAPAN).strftime("%Y-%m-%d %H:%M:%S")


def _stop(desk: OpsDesk, failure: Exception) -> NoReturn:
    problem = failure.problem if isinstance(failure, ApiError) else None
    code, sentence = exit_code(failure), _sentence(failure, problem)
    desk.warn(sentence)
    desk.document({"error": {"exit": int(code), "message": sentence, "problem": problem}})
    raise SystemExit(int(code))


def _sentence(failure: Exception, problem: Problem | None) -> str:
    if problem is not None:
        places = "".join(f"\n  {one.where}: {one.message}" for one in problem.errors)
        return f"{problem.code}: {problem.title}{places}"
    if isinstance(failure, NotLoggedIn):
        return "not logged in: todoke ops login"
    if isinstance(failure, Unreachable):
        maybe = " The change may have been made: look before you repeat it." if failure.sent else ""
        return f"no answer ({failure}).{maybe}"
    return str(failure)
