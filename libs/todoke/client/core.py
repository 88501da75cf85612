"""The client without input and output: what to ask next, how long to wait, what an answer means.

An operation is a generator (`Flow`). It yields an `Ask` and is sent back an `Answer` or a `Silence`; it yields a `Wait`
and is sent back None. Two small drivers (`todoke.client.drivers`) carry this out, one blocking, one asynchronous, so
that both clients share every decision.
"""

import dataclasses
import json
from collections.abc import Callable, Generator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Generic, TypeAlias, TypeVar
from urllib.parse import quote

from pydantic import ValidationError

from todoke.client.clock import Clock
from todoke.client.errors import ApiError, NotLoggedIn, Unreachable, Unreadable
from todoke.client.session import Session, SessionStore
from todoke.client.shapes import Problem, SessionAnswer

T = TypeVar("T")

TRANSIENT = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.BAD_GATEWAY, 503, HTTPStatus.GATEWAY_TIMEOUT})
"""Answers after which the same request may succeed."""

REMEMBERED_MAX = 16
"""Lists that a client keeps with their ETags: a program that polls asks for few different ones."""

REFRESH_SECONDS_MAX = 25.0
"""A refresh is repeated for so long only: the service gives the same successor for 30 seconds."""


@dataclasses.dataclass(frozen=True, slots=True)
class Upload:
    """A file to send: its name as it shall arrive, and its bytes."""

    name: str
    content: bytes


@dataclasses.dataclass(frozen=True, slots=True)
class Ask:
    """One HTTP request. `parts` are multipart fields: (field, file name or None, bytes, media type)."""

    method: str
    path: str
    params: Mapping[str, str | int] = dataclasses.field(default_factory=dict)
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    body: Any = None
    parts: tuple[tuple[str, str | None, bytes, str], ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP response, read to its end. Header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def document(self) -> dict[str, Any]:
        """The body as a JSON object; raises `Unreadable` when it is none."""
        try:
            found = json.loads(self.body)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise Unreadable(f"the answer ({self.status}) is no JSON object")
        return found


@dataclasses.dataclass(frozen=True, slots=True)
class Silence:
    """No answer: `cause` names the failure, `sent` tells whether the request may have arrived."""

    cause: str
    sent: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Wait:
    """Do nothing for so many seconds."""

    seconds: float


Flow: TypeAlias = Generator["Ask | Wait", "Answer | Silence | None", T]


@dataclasses.dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """A request, how to read its answer, and whether it may be repeated without harm.

    `bearer` is a token of its own, "" for none; None stands for the session's access token.
    """

    ask: Ask
    read: Callable[[Answer], T]
    repeatable: bool
    bearer: str | None = None
    seconds: float | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Patience:
    """How long a call may take in all, and how its repetitions are spaced (seconds; doubled each time, with jitter)."""

    seconds: float = 60.0
    first_pause: float = 0.2
    longest_pause: float = 10.0

    def pause(self, attempt: int, fraction: float) -> float:
        """The pause after this attempt (1, 2, 3 …): full jitter above a half, so that many clients spread."""
        ceiling = min(self.longest_pause, self.first_pause * 2.0 ** min(attempt - 1, 20))
        return ceiling * (0.5 + 0.5 * fraction)


class Core:
    """What the operations of one client share: address, session, clock, patience."""

    def __init__(self, url: str, store: SessionStore, clock: Clock, patience: Patience) -> None:
        self.url = url.rstrip("/")
        self.store = store
        self.clock = clock
        self.patience = patience
        self.session = store.load()
        self._remembered: dict[tuple[str, ...], Answer] = {}

    def begin(self, answer: SessionAnswer) -> Session:
        """Keep the session that this answer began."""
        self.session = Session.begun(answer, self.url, self.clock.now())
        self.store.save(self.session)
        return self.session

    def end(self) -> None:
        """Forget the session."""
        self.session = None
        self.store.clear()

    def logged_in(self) -> Session:
        """The session; raises `NotLoggedIn` when there is none."""
        if self.session is None:
            raise NotLoggedIn("no session")
        return self.session

    def perform(self, call: Call[T]) -> Flow[T]:
        """Carry out a call: repeat what may be repeated, refresh the session once, read the answer or raise."""
        until = self.clock.monotonic() + (self.patience.seconds if call.seconds is None else call.seconds)
        if call.bearer is not None:
            return read(call, (yield from self._patiently(call, call.bearer, until)), self.clock.now())
        yield from self.freshen()
        used = self.logged_in().access_token
        answer = yield from self._patiently(call, used, until)
        if answer.status == HTTPStatus.UNAUTHORIZED:
            yield from self.renew(used)
            answer = yield from self._patiently(call, self.logged_in().access_token, until)
        return read(call, answer, self.clock.now())

    def perform_list(self, call: Call[T]) -> Flow[T]:
        """Carry out a GET of a list; what came before under the same ETag is not sent again (RFC 9110 section 13)."""
        ask = call.ask
        place = (
            self.logged_in().office.number,
            ask.path,
            *(f"{name}={ask.params[name]}" for name in sorted(ask.params)),
        )
        known = self._remembered.pop(place, None)
        if known is not None:
            ask = dataclasses.replace(ask, headers={**ask.headers, "If-None-Match": known.headers["etag"]})
        answer = yield from self.perform(Call(ask, lambda answer: answer, repeatable=True))
        if known is not None and answer.status == HTTPStatus.NOT_MODIFIED:
            answer = known
        if "etag" in answer.headers:
            self._remembered[place] = answer
            if len(self._remembered) > REMEMBERED_MAX:
                del self._remembered[next(iter(self._remembered))]
        return read(call, answer, self.clock.now())

    def freshen(self) -> Flow[None]:
        """Renew the session when its access token is about to end."""
        session = self.logged_in()
        if not session.is_fresh(self.clock.now()):
            yield from self.renew(session.access_token)

    def renew(self, used: str) -> Flow[None]:
        """Replace the access token `used`: by what another program has stored meanwhile, else by a refresh.

        Raises:
            NotLoggedIn: the session has ended; it is forgotten.
        """
        if self._adopted(used):
            return
        call = Call(
            Ask("POST", "/v1/session/refresh", body={"refresh_token": self.logged_in().refresh_token}),
            read=lambda answer: SessionAnswer.model_validate_json(answer.body),
            repeatable=True,
            bearer="",
            seconds=min(REFRESH_SECONDS_MAX, self.patience.seconds),
        )
        try:
            self.begin((yield from self.perform(call)))
        except ApiError as refused:
            if refused.status not in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN) or self._adopted(used):
                raise
            self.end()
            raise NotLoggedIn("the session has ended") from refused

    def _adopted(self, used: str) -> bool:
        stored = self.store.load()
        if stored is None or stored.access_token == used or not stored.is_fresh(self.clock.now()):
            return False
        self.session = stored
        return True

    def _patiently(self, call: Call[T], bearer: str, until: float) -> Flow[Answer]:
        """The last answer to a call: an end result, or what the service still says when patience runs out."""
        ask = _authorized(call.ask, bearer)
        attempt = 0
        while True:
            attempt += 1
            outcome = yield ask
            if isinstance(outcome, Answer) and (outcome.status not in TRANSIENT or not _harmless(call, outcome)):
                return outcome
            pause = self._pause(outcome, attempt)
            if self.clock.monotonic() + pause >= until or not _harmless(call, outcome):
                if isinstance(outcome, Answer):
                    return outcome
                raise _unreachable(outcome)
            yield Wait(pause)

    def _pause(self, outcome: Answer | Silence | None, attempt: int) -> float:
        own = self.patience.pause(attempt, self.clock.fraction())
        asked = retry_after(outcome, self.clock.now()) if isinstance(outcome, Answer) else None
        return own if asked is None else asked + own * self.clock.fraction()


def _authorized(ask: Ask, bearer: str) -> Ask:
    if not bearer:
        return ask
    return dataclasses.replace(ask, headers={**ask.headers, "Authorization": f"Bearer {bearer}"})


def _harmless(call: Call[T], outcome: Answer | Silence | None) -> bool:
    """True when asking again cannot do a thing twice: it is repeatable, or the request never got out."""
    return call.repeatable or (isinstance(outcome, Silence) and not outcome.sent)


def _unreachable(outcome: Silence | None) -> Unreachable:
    return Unreachable("silence", sent=True) if outcome is None else Unreachable(outcome.cause, sent=outcome.sent)


def retry_after(answer: Answer, now: datetime) -> float | None:
    """The seconds of `Retry-After` (RFC 9110 section 10.2.3: a number or a date), or None when there is none."""
    text = answer.headers.get("retry-after")
    if text is None:
        return None
    if text.strip().isdecimal():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, (moment.replace(tzinfo=moment.tzinfo or UTC) - now).total_seconds())


def read(call: Call[T], answer: Answer, now: datetime) -> T:
    """What the answer says.

    Raises:
        ApiError: it is a problem.
        Unreadable: it is nothing that the API knows.
    """
    if answer.status >= HTTPStatus.BAD_REQUEST:
        raise ApiError(answer.status, _problem(answer), retry_after(answer, now))
    unchanged = answer.status == HTTPStatus.NOT_MODIFIED and "If-None-Match" in call.ask.headers
    if answer.status >= HTTPStatus.MULTIPLE_CHOICES and not unchanged:
        raise Unreadable(f"the service answered {answer.status}")
    try:
        return call.read(answer)
    except ValidationError as broken:
        places = {".".join(str(step) for step in error["loc"]) for error in broken.errors(include_input=False)}
        raise Unreadable(f"the answer ({answer.status}) has another shape: {', '.join(sorted(places)[:5])}") from None


def _problem(answer: Answer) -> Problem:
    try:
        return Problem.model_validate_json(answer.body)
    except ValidationError:  # a front, not the service, answered
        return Problem(title="うまくいきませんでした。", status=answer.status, code=f"HTTP-{answer.status}")


def segment(value: object) -> str:
    """One segment of a path: nothing in it can add another."""
    return quote(str(value), safe="")
