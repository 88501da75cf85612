"""Attachments by allow-list: a PDF, JPEG or PNG where last extension, first bytes and a whole reading agree.

The reading is done by child processes that hold nothing worth stealing; here they are started, fed, timed and replaced.
"""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import psutil

import services
from careplan import Finding
from services.validation.disguise import disguised, of_another_kind
from services.validation.parser_protocol import (
    CPU_SECONDS_MAX,
    HEAD_BYTES,
    HEADER,
    JPEG,
    JPEG_BEGIN,
    PDF,
    PDF_BEGIN,
    PNG,
    PNG_BEGIN,
    READY,
    UNREADABLE,
)
from todoke.relay.faults import Transient

KINDS: Final = {".pdf": PDF, ".jpg": JPEG, ".jpeg": JPEG, ".png": PNG}
"""Extensions that may travel (in lower case), and the letter of the parser that must agree."""

BEGINNINGS: Final = {PDF: PDF_BEGIN, JPEG: JPEG_BEGIN, PNG: PNG_BEGIN}
"""The first bytes of each kind."""

CHILDREN: Final = 2
"""Parser processes of a service process: as many files are parsed at a time."""

PROGRAM: Final = ("-s", "-B", "-P", "-m", "services.validation.parser_child")
"""What Python runs in a child."""

JOBS_MAX: Final = 500
"""Jobs after which a child is replaced: what a parser leaks stays small."""

JOB_SECONDS_MAX: Final = 8.0
"""Longest a job may take by the clock."""

START_SECONDS_MAX: Final = 20.0
"""Longest a child may take to start: it loads its parsers on a busy machine."""

_TRIES: Final = 2
_UNKNOWN_DEATH: Final = 255
_FROM_OUTSIDE: Final = frozenset({-signal.SIGKILL, -signal.SIGTERM, -signal.SIGHUP, -signal.SIGINT, _UNKNOWN_DEATH})
"""Deaths that need not be the file's doing: an operator killed the child, or the kernel, short of memory.

asyncio says 255 when the end of a child was noticed elsewhere first; no child of ours ends with it.
"""

_WANTING = (psutil.STATUS_RUNNING, psutil.STATUS_DISK_SLEEP)
"""States of a child that would go on if it were given processor or memory; one that hangs sleeps."""


class ParsersAway(Transient):
    """The machine cannot start a parser now, or gives it no processor time; it says nothing of the file."""


class _Died(Exception):  # noqa: N818 (named for what happened)
    """The child ended before it answered; `again` if that need not be the file's doing, `starved` if it cannot be."""

    def __init__(self, *, again: bool, starved: bool = False) -> None:
        super().__init__()
        self.again = again
        self.starved = starved


def kind_of(name: str) -> bytes | None:
    """The letter of the parser for a file name, by its last extension; None if no such file may travel."""
    return KINDS.get(Path(name).suffix.lower())


class ParserPool:
    """Judges attachments; its children start with the first one and stay warm."""

    def __init__(self, children: int = CHILDREN) -> None:
        self._free: list[_Child] = []
        self._places = asyncio.Semaphore(children)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End the children that wait for work."""
        children, self._free = self._free, []
        for child in children:
            await child.end()

    async def check(self, name: str, data: bytes) -> tuple[Finding, ...]:
        """What speaks against the file, all of severity error; empty if it may travel.

        Never raises because of a file.

        Raises:
            ParsersAway: no child can be started or gets on; try again later.
        """
        kind = kind_of(name)
        if kind is None:
            return (Finding(of_another_kind(name, data), "error", name),)
        if BEGINNINGS[kind] not in data[:HEAD_BYTES]:
            return (Finding(disguised(data), "error", name),)
        async with self._places:
            codes = await self._parsed(kind, data)
        return tuple(Finding(code, "error", name) for code in codes)

    async def _parsed(self, kind: bytes, data: bytes) -> list[str]:
        starved = False
        for _ in range(_TRIES):
            child = self._free.pop() if self._free else await _Child.start()
            try:
                codes = await child.job(kind, data)
            except _Died as died:
                starved = died.starved
                if not died.again:
                    break
                continue
            except BaseException:  # the caller was cancelled: the child is in the middle of something
                await child.end()
                raise
            if child.jobs < JOBS_MAX and child.alive:
                self._free.append(child)
            else:
                await child.end()
            return codes
        if starved:
            raise ParsersAway("the machine gave the parser no processor time")
        return [UNREADABLE]


class _Child:
    """One parser process."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self.jobs = 0

    @classmethod
    async def start(cls) -> Self:
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *(*PROGRAM, str(os.getpid())),
                stdin=PIPE,
                stdout=PIPE,
                stderr=DEVNULL,  # a parser's complaints repeat what stands in the file
                env={"PYTHONPATH": str(Path(services.__path__[0]).parent), "LANG": "C.UTF-8"},
                cwd="/",
                start_new_session=True,  # Ctrl-C is for the parent, who lets the job in hand finish
            )
        except OSError as error:
            raise ParsersAway(f"no parser process: {type(error).__name__}") from None
        child = cls(process)
        try:
            await child._ready()
        except BaseException:
            await child.end()
            raise
        return child

    async def _ready(self) -> None:
        try:
            async with asyncio.timeout(START_SECONDS_MAX):
                said = await _stream(self._process.stdout).readline()
        except TimeoutError:
            said = b""
        if said != READY:
            raise ParsersAway("the parser process did not start")

    @property
    def alive(self) -> bool:
        """Whether it can take another job."""
        return self._process.returncode is None and not _stream(self._process.stdout).at_eof()

    async def job(self, kind: bytes, data: bytes) -> list[str]:
        self.jobs += 1
        used_before = self._cpu_seconds()
        try:
            async with asyncio.timeout(JOB_SECONDS_MAX):
                answer = await self._answer(kind, data)
        except TimeoutError:
            waited = self._cpu_seconds() - used_before < CPU_SECONDS_MAX / 2
            starved = waited and self._state() in _WANTING
            await self.end()
            raise _Died(again=waited, starved=starved) from None
        if not answer.endswith(b"\n"):
            await self._process.wait()
            raise _Died(again=self._process.returncode in _FROM_OUTSIDE)
        return answer.decode("ascii").split()

    def _cpu_seconds(self) -> float:
        """What the child has used so far: little of it during a job that timed out means a busy machine."""
        try:
            used = psutil.Process(self._process.pid).cpu_times()
        except psutil.Error:
            return 0.0
        return used.user + used.system

    def _state(self) -> str:
        try:
            return str(psutil.Process(self._process.pid).status())
        except psutil.Error:
            return psutil.STATUS_DEAD

    async def _answer(self, kind: bytes, data: bytes) -> bytes:
        sink = self._process.stdin
        assert sink is not None  # noqa: S101 (asked for above)
        try:
            sink.write(HEADER.pack(kind, len(data)))
            sink.write(data)
            await sink.drain()
        except ConnectionError:
            return b""
        return await _stream(self._process.stdout).readline()

    async def end(self) -> None:
        """Kill it and wait for its end: it holds nothing that would have to be put in order."""
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()


def _stream(reader: asyncio.StreamReader | None) -> asyncio.StreamReader:
    assert reader is not None  # noqa: S101 (every child is started with pipes)
    return reader
