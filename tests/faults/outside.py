"""The world outside: a mail server and a receiver of webhooks on loopback, each in a thread of its own."""

import email
import email.message
import email.policy
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from aiosmtpd.controller import Controller


class Outside:
    """Keeps every mail (its Message-ID) and every webhook call (its webhook-id), in the order they came."""

    def __init__(self) -> None:
        self.mails: list[str] = []
        self.calls: list[str] = []
        self._smtp = Controller(_Postbox(self.mails), hostname="127.0.0.1", port=_free_port())
        self._hooks = ThreadingHTTPServer(("127.0.0.1", 0), _hook(self.calls))
        self._thread = threading.Thread(target=self._hooks.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        """Where webhooks are taken."""
        return f"http://127.0.0.1:{self._hooks.server_address[1]}/hook"

    @property
    def environment(self) -> dict[str, str]:
        """What tells the services of this mail server, and lets webhooks go to this machine."""
        return {
            "TODOKE_MAIL__HOST": "127.0.0.1",
            "TODOKE_MAIL__PORT": str(self._smtp.port),
            "TODOKE_WEBHOOKS_TO_PRIVATE_ADDRESSES": "true",
        }

    def __enter__(self) -> Self:
        self._smtp.start()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._smtp.stop()
        self._hooks.shutdown()
        self._hooks.server_close()
        self._thread.join(10)


class _Postbox:
    def __init__(self, mails: list[str]) -> None:
        self._mails = mails

    async def handle_DATA(self, _: Any, __: Any, envelope: Any) -> str:  # noqa: N802 (aiosmtpd calls it so)
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        self._mails.append(str(mail["Message-ID"]))
        return "250 OK"


def _hook(calls: list[str]) -> type[BaseHTTPRequestHandler]:
    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            calls.append(self.headers["webhook-id"])
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    return Hook


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
