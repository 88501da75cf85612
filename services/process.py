"""One process of services: HTTP, consumers or both, until it is told to stop or its parent is gone."""

import asyncio
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Sequence

from services.builds import builds
from todoke.relay.host import Host, serve
from todoke.relay.limits import EXIT_NO_PROGRESS
from todoke.relay.memory import give_back_large_blocks
from todoke.relay.service import Shared, configure_logging
from todoke.relay.settings import Settings

END_SECONDS_MAX = 14.0
"""A process that cannot end in this time ends hard: nobody waits longer for it, and nothing acknowledged is lost."""

PARENT_PIPE = "TODOKE_PARENT_PIPE"
"""Set by a parent that holds the child's standard input open: end of file means that the parent is gone."""

ORPHAN_SECONDS_MAX = 8.0
"""An orphan ends so soon, done or not: its engines end too, and waiting for them politely would take far longer."""


async def run(
    settings: Settings, names: Sequence[str], *, serves: bool, works: bool, port: int, operator_port: int
) -> int:
    """Run until SIGTERM, SIGINT, the parent's end or a failure; answers the exit code."""
    configure_logging(settings.log_level, instance=settings.instance, file=settings.log_file)
    give_back_large_blocks()
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    parent = asyncio.create_task(_watch_parent(stopping)) if os.environ.get(PARENT_PIPE) else None
    shared = await Shared.open(settings)
    host = Host(shared, builds(names), serves=serves, works=works)
    try:
        async with host.running():
            public, operators = host.applications()
            closing = asyncio.Event()
            listeners = [(public, port), *([(operators, operator_port)] if serves else [])]
            servers = [
                asyncio.create_task(serve(app, address=settings.listen, port=number, stopping=closing))
                for app, number in listeners
            ]
            reasons = [asyncio.create_task(stopping.wait()), asyncio.create_task(host.failed.wait())]
            await asyncio.wait([*servers, *reasons], return_when=asyncio.FIRST_COMPLETED)
            code = EXIT_NO_PROGRESS if host.failed.is_set() else 1  # what is stuck may not let go
            asyncio.get_running_loop().call_later(END_SECONDS_MAX, os._exit, code)
            await host.stop_services()  # open streams end now, or the servers would wait for them
            closing.set()
            for reason in reasons:
                reason.cancel()
            for outcome in await asyncio.gather(*servers, return_exceptions=True):
                if isinstance(outcome, (Exception, SystemExit)):
                    print(f"todoke: {type(outcome).__name__}: {outcome}", file=sys.stderr)  # noqa: T201 (before or after the log: for whoever started it)
                    return 1
    finally:
        if parent is not None:
            parent.cancel()
        await shared.close()
    return EXIT_NO_PROGRESS if host.failed.is_set() else 0


async def _watch_parent(stopping: asyncio.Event) -> None:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    with contextlib.suppress(OSError):
        while await reader.read(1024):
            pass
    stopping.set()
    end = threading.Timer(ORPHAN_SECONDS_MAX, os._exit, (1,))
    end.daemon = True
    end.start()
