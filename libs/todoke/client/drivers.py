"""Who carries the client's operations out: `Client` blocks, `AsyncClient` awaits; they decide nothing."""

import asyncio
import contextlib
import functools
import ssl
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar
from uuid import UUID

import httpx

from todoke.client import affairs, office_affairs, operating
from todoke.client import operations as do
from todoke.client.clock import Clock, SystemClock
from todoke.client.core import TRANSIENT, Answer, Ask, Call, Core, Flow, Patience, Silence, Wait, read
from todoke.client.errors import Unreachable
from todoke.client.ops_shapes import ImportReport, Word
from todoke.client.session import MemoryStore, Session, SessionStore
from todoke.client.shapes import StreamEvent
from todoke.client.streaming import StreamReader

P = ParamSpec("P")
T = TypeVar("T")

DEFAULT_URL = "http://127.0.0.1:8080"
"""Where `todoke up` listens."""

TIMEOUT = httpx.Timeout(connect=5, read=60, write=60, pool=30)
"""Seconds of one try. The service answers in ten, or sends a comment on the stream twice a minute."""

UNAUTHORIZED = 401


@functools.cache
def _tls() -> ssl.SSLContext:
    """One for all clients of a process: reading the certificates of the machine takes 40 ms."""
    return httpx.create_ssl_context()


def _arguments(ask: Ask) -> dict[str, Any]:
    """The keyword arguments of an httpx request."""
    files = [(field, (name, content, kind)) for field, name, content, kind in ask.parts] or None
    return {
        "method": ask.method,
        "url": ask.path,
        "params": dict(ask.params) or None,
        "headers": dict(ask.headers),
        "json": ask.body,
        "files": files,
    }


def _answer(response: httpx.Response) -> Answer:
    return Answer(
        response.status_code, {name.lower(): text for name, text in response.headers.items()}, response.content
    )


def _silence(failure: httpx.RequestError) -> Silence:
    never_left = isinstance(failure, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
    return Silence(type(failure).__name__, sent=not never_left)


def _stream_call(reader: StreamReader) -> Call[None]:
    return Call(Ask("GET", "/v1/stream", headers=reader.headers()), lambda _: None, repeatable=True)


def _refused(call: Call[None], answer: Answer, core: Core) -> None:
    """Raise what a refused stream says; a passing trouble is waited out instead."""
    if answer.status not in TRANSIENT:
        read(call, answer, core.clock.now())


def _blocking(
    operation: Callable[Concatenate[Core, P], Flow[T]],
) -> Callable[Concatenate["Client", P], T]:
    @functools.wraps(operation)
    def method(self: "Client", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self.run(operation(self.core, *args, **kwargs))

    return method


def _paged(
    operation: Callable[Concatenate[Core, P], do.Paging[T]],
) -> Callable[Concatenate["Client", P], Iterator[T]]:
    @functools.wraps(operation)
    def method(self: "Client", /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        paging = operation(self.core, *args, **kwargs)
        cursor: str | None = None
        while True:
            page = self.run(paging.turn(cursor))
            yield from page.items
            cursor = page.next
            if cursor is None:
                return

    return method


def _awaited(
    operation: Callable[Concatenate[Core, P], Flow[T]],
) -> Callable[Concatenate["AsyncClient", P], Coroutine[Any, Any, T]]:
    @functools.wraps(operation)
    async def method(self: "AsyncClient", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self.run(operation(self.core, *args, **kwargs))

    return method


def _paged_async(
    operation: Callable[Concatenate[Core, P], do.Paging[T]],
) -> Callable[Concatenate["AsyncClient", P], AsyncIterator[T]]:
    @functools.wraps(operation)
    async def method(self: "AsyncClient", /, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[T]:
        paging = operation(self.core, *args, **kwargs)
        cursor: str | None = None
        while True:
            page = await self.run(paging.turn(cursor))
            for item in page.items:
                yield item
            cursor = page.next
            if cursor is None:
                return

    return method


class Client:
    """A blocking client of one Todoke service, for one session. Use it as a context manager, from one thread.

    Args:
        url: the address, without `/v1`.
        store: where the session is kept; in memory unless told otherwise.
        patience: how long calls are repeated.
        clock: time and chance.
        transport: an httpx transport (a test's, or one with client certificates).
        sleep: how pauses are waited out (seconds).

    Every method raises `ApiError` for a refusal, `Unreachable` when no answer came in time, `NotLoggedIn` without a
    session, `Unreadable` when something else than Todoke answered. What may be repeated without harm is repeated until
    `patience` ends; the session is renewed when it is time.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        store: SessionStore | None = None,
        patience: Patience | None = None,
        clock: Clock | None = None,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.core = Core(url, store or MemoryStore(), clock or SystemClock(), patience or Patience())
        self._sleep = sleep
        self._http = httpx.Client(base_url=self.core.url, timeout=TIMEOUT, transport=transport, verify=_tls())

    @property
    def session(self) -> Session | None:
        """Who is logged in, or None."""
        return self.core.session

    def close(self) -> None:
        """Close the connections; the session goes on."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()

    def run(self, flow: Flow[T]) -> T:
        """Carry out an operation."""
        outcome: Answer | Silence | None = None
        while True:
            try:
                step = flow.send(outcome)
            except StopIteration as done:
                return done.value  # type: ignore[no-any-return]  # a generator's return value is typed by Flow
            if isinstance(step, Wait):
                self._sleep(step.seconds)
                outcome = None
            else:
                outcome = self._exchange(step)

    def _exchange(self, ask: Ask) -> Answer | Silence:
        try:
            return _answer(self._http.request(**_arguments(ask)))
        except httpx.RequestError as failure:
            return _silence(failure)

    def stream(self, last_event_id: str | None = None) -> Iterator[StreamEvent]:
        """The office's pushes, for ever, from the first `next` on; a lost connection resumes after the last event.

        Raises:
            ApiError: it is refused: 401, 403.
            NotLoggedIn: the session has ended.
        """
        reader = StreamReader(last_event_id)
        while True:
            self.run(self.core.freshen())
            with contextlib.suppress(httpx.RequestError):
                yield from self._pushes(reader)
            self._sleep(reader.retry_seconds)

    def _pushes(self, reader: StreamReader) -> Iterator[StreamEvent]:
        call, used = _stream_call(reader), self.core.logged_in().access_token
        arguments = _arguments(call.ask)
        arguments["headers"]["Authorization"] = f"Bearer {used}"
        with self._http.stream(**arguments) as response:
            if response.status_code == UNAUTHORIZED:
                self.run(self.core.renew(used))
                return
            if response.is_error:
                response.read()
                _refused(call, _answer(response), self.core)
                return
            reader.connected()
            for line in response.iter_lines():
                event = reader.feed(line)
                if event is not None:
                    yield event

    login = _blocking(do.login)
    login_person = _blocking(do.login_person)
    login_office = _blocking(do.login_office)
    refresh = _blocking(do.refresh)
    logout = _blocking(do.logout)
    change_password = _blocking(do.change_password)
    sessions = _blocking(do.sessions)
    end_session = _blocking(do.end_session)
    send = _blocking(do.send)
    check = _blocking(do.check)
    send_batch = _blocking(do.send_batch)
    sent = _blocking(do.sent)
    received = _blocking(do.received)
    each_sent = _paged(do.each_sent)
    each_received = _paged(do.each_received)
    received_since = _blocking(do.received_since)
    each_received_since = _paged(do.each_received_since)
    search = _blocking(do.search)
    message = _blocking(do.message)
    findings = _blocking(do.findings)
    accesses = _blocking(do.accesses)
    evidence = _blocking(do.evidence)
    counts = _blocking(do.counts)
    changes = _blocking(do.changes)
    fetch_file = _blocking(do.fetch_file)
    fetch_zip = _blocking(do.fetch_zip)
    receipt = _blocking(do.receipt)
    recall = _blocking(do.recall)
    office = _blocking(affairs.office)
    offices = _blocking(affairs.offices)
    limits = _blocking(affairs.limits)
    status = _blocking(affairs.status)
    jwks = _blocking(affairs.jwks)
    notifications = _blocking(affairs.notifications)
    set_notifications = _blocking(affairs.set_notifications)
    add_webhook = _blocking(affairs.add_webhook)
    webhook = _blocking(affairs.webhook)
    webhooks = _blocking(affairs.webhooks)
    test_notifications = _blocking(affairs.test_notifications)
    remove_webhook = _blocking(affairs.remove_webhook)
    login_usage = _blocking(office_affairs.login_usage)
    own_office = _blocking(office_affairs.own_office)
    apply_for_licence = _blocking(office_affairs.apply_for_licence)
    renew_licence = _blocking(office_affairs.renew_licence)
    set_auto_renewal = _blocking(office_affairs.set_auto_renewal)
    make_person_password = _blocking(office_affairs.make_person_password)
    users = _blocking(office_affairs.users)
    add_user = _blocking(office_affairs.add_user)
    change_user = _blocking(office_affairs.change_user)
    notices = _blocking(office_affairs.notices)
    notice = _blocking(office_affairs.notice)
    mark_notice_read = _blocking(office_affairs.mark_notice_read)
    operator_login = _blocking(operating.operator_login)
    operator_logout = _blocking(operating.operator_logout)
    operator_offices = _blocking(operating.operator_offices)
    operator_office = _blocking(operating.operator_office)
    operator_prefectures = _blocking(operating.operator_prefectures)
    register_office = _blocking(operating.register_office)
    change_office = _blocking(operating.change_office)
    suspend_office = _blocking(operating.suspend_office)
    resume_office = _blocking(operating.resume_office)
    make_letter = _blocking(operating.make_letter)
    operator_applications = _blocking(operating.operator_applications)
    approve_application = _blocking(operating.approve_application)
    refuse_application = _blocking(operating.refuse_application)
    operator_notices = _blocking(operating.operator_notices)
    operator_notice = _blocking(operating.operator_notice)
    publish_notice = _blocking(operating.publish_notice)
    withdraw_notice = _blocking(operating.withdraw_notice)


class AsyncClient:
    """The same client for asyncio; methods and errors are those of `Client`, awaited."""

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        store: SessionStore | None = None,
        patience: Patience | None = None,
        clock: Clock | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Coroutine[Any, Any, None]] = asyncio.sleep,
    ) -> None:
        self.core = Core(url, store or MemoryStore(), clock or SystemClock(), patience or Patience())
        self._sleep = sleep
        self._http = httpx.AsyncClient(base_url=self.core.url, timeout=TIMEOUT, transport=transport, verify=_tls())

    @property
    def session(self) -> Session | None:
        """Who is logged in, or None."""
        return self.core.session

    async def close(self) -> None:
        """Close the connections; the session goes on."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()

    async def run(self, flow: Flow[T]) -> T:
        """Carry out an operation."""
        outcome: Answer | Silence | None = None
        while True:
            try:
                step = flow.send(outcome)
            except StopIteration as done:
                return done.value  # type: ignore[no-any-return]  # a generator's return value is typed by Flow
            if isinstance(step, Wait):
                await self._sleep(step.seconds)
                outcome = None
            else:
                outcome = await self._exchange(step)

    async def _exchange(self, ask: Ask) -> Answer | Silence:
        try:
            return _answer(await self._http.request(**_arguments(ask)))
        except httpx.RequestError as failure:
            return _silence(failure)

    async def stream(self, last_event_id: str | None = None) -> AsyncIterator[StreamEvent]:
        """The office's pushes, for ever, from the first `next` on; a lost connection resumes after the last event.

        Raises:
            ApiError: it is refused: 401, 403.
            NotLoggedIn: the session has ended.
        """
        reader = StreamReader(last_event_id)
        while True:
            await self.run(self.core.freshen())
            with contextlib.suppress(httpx.RequestError):
                async for event in self._pushes(reader):
                    yield event
            await self._sleep(reader.retry_seconds)

    async def _pushes(self, reader: StreamReader) -> AsyncIterator[StreamEvent]:
        call, used = _stream_call(reader), self.core.logged_in().access_token
        arguments = _arguments(call.ask)
        arguments["headers"]["Authorization"] = f"Bearer {used}"
        async with self._http.stream(**arguments) as response:
            if response.status_code == UNAUTHORIZED:
                await self.run(self.core.renew(used))
                return
            if response.is_error:
                await response.aread()
                _refused(call, _answer(response), self.core)
                return
            reader.connected()
            async for line in response.aiter_lines():
                event = reader.feed(line)
                if event is not None:
                    yield event

    async def import_offices(
        self, token: str, pieces: AsyncIterator[bytes], word: Word, import_id: UUID, *, dry_run: bool
    ) -> ImportReport:
        """Take a list of offices (CSV in UTF-8) that is read while it is sent, or (`dry_run`) tell what that would do.

        It is not repeated by itself. Sent again under the same id it goes on where it broke off.

        Raises:
            ApiError: 401, 422 `TDK-LIST-…` when its first line cannot be read.
            Unreachable: no answer; some of the list may have been taken. Whatever `pieces` raises goes through.
        """
        call, before, behind = operating.import_call(token, word, import_id, dry_run=dry_run)

        async def body() -> AsyncIterator[bytes]:
            yield before
            async for piece in pieces:
                yield piece
            yield behind

        try:
            response = await self._http.post(call.ask.path, content=body(), headers=dict(call.ask.headers))
        except httpx.RequestError as failure:
            raise Unreachable(type(failure).__name__, sent=True) from None
        return read(call, _answer(response), self.core.clock.now())

    login = _awaited(do.login)
    login_person = _awaited(do.login_person)
    login_office = _awaited(do.login_office)
    refresh = _awaited(do.refresh)
    logout = _awaited(do.logout)
    change_password = _awaited(do.change_password)
    sessions = _awaited(do.sessions)
    end_session = _awaited(do.end_session)
    send = _awaited(do.send)
    check = _awaited(do.check)
    send_batch = _awaited(do.send_batch)
    sent = _awaited(do.sent)
    received = _awaited(do.received)
    each_sent = _paged_async(do.each_sent)
    each_received = _paged_async(do.each_received)
    received_since = _awaited(do.received_since)
    each_received_since = _paged_async(do.each_received_since)
    search = _awaited(do.search)
    message = _awaited(do.message)
    findings = _awaited(do.findings)
    accesses = _awaited(do.accesses)
    evidence = _awaited(do.evidence)
    counts = _awaited(do.counts)
    changes = _awaited(do.changes)
    fetch_file = _awaited(do.fetch_file)
    fetch_zip = _awaited(do.fetch_zip)
    receipt = _awaited(do.receipt)
    recall = _awaited(do.recall)
    office = _awaited(affairs.office)
    offices = _awaited(affairs.offices)
    limits = _awaited(affairs.limits)
    status = _awaited(affairs.status)
    jwks = _awaited(affairs.jwks)
    notifications = _awaited(affairs.notifications)
    set_notifications = _awaited(affairs.set_notifications)
    add_webhook = _awaited(affairs.add_webhook)
    webhook = _awaited(affairs.webhook)
    webhooks = _awaited(affairs.webhooks)
    test_notifications = _awaited(affairs.test_notifications)
    remove_webhook = _awaited(affairs.remove_webhook)
    login_usage = _awaited(office_affairs.login_usage)
    own_office = _awaited(office_affairs.own_office)
    apply_for_licence = _awaited(office_affairs.apply_for_licence)
    renew_licence = _awaited(office_affairs.renew_licence)
    set_auto_renewal = _awaited(office_affairs.set_auto_renewal)
    make_person_password = _awaited(office_affairs.make_person_password)
    users = _awaited(office_affairs.users)
    add_user = _awaited(office_affairs.add_user)
    change_user = _awaited(office_affairs.change_user)
    notices = _awaited(office_affairs.notices)
    notice = _awaited(office_affairs.notice)
    mark_notice_read = _awaited(office_affairs.mark_notice_read)
    operator_login = _awaited(operating.operator_login)
    operator_logout = _awaited(operating.operator_logout)
    operator_offices = _awaited(operating.operator_offices)
    operator_office = _awaited(operating.operator_office)
    operator_prefectures = _awaited(operating.operator_prefectures)
    register_office = _awaited(operating.register_office)
    change_office = _awaited(operating.change_office)
    suspend_office = _awaited(operating.suspend_office)
    resume_office = _awaited(operating.resume_office)
    make_letter = _awaited(operating.make_letter)
    operator_applications = _awaited(operating.operator_applications)
    approve_application = _awaited(operating.approve_application)
    refuse_application = _awaited(operating.refuse_application)
    operator_notices = _awaited(operating.operator_notices)
    operator_notice = _awaited(operating.operator_notice)
    publish_notice = _awaited(operating.publish_notice)
    withdraw_notice = _awaited(operating.withdraw_notice)
