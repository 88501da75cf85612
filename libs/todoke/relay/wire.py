"""The HTTP/1.1 protocol of our listeners: uvicorn's, but what is no HTTP is refused like everything else.

The only module that knows uvicorn's inside.
"""

import json

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from todoke.relay.problem import MEDIA_TYPE, Problem


class Protocol(HttpToolsProtocol):
    """One connection."""

    def send_400_response(self, msg: str) -> None:
        """Refuse bytes that are no request, or more (or other) bytes than a request said it would have.

        A request that was read whole and is being worked on gets its own answer: its bytes were as many as it said
        (RFC 9112 section 6.3), and what was done for it must not be denied. The connection ends after that answer.
        """
        del msg
        cycle: RequestResponseCycle | None = self.cycle
        problem = Problem("TDK-BODY-MALFORMED")
        if cycle is not None and not cycle.response_complete:
            if not cycle.more_body and not cycle.body:
                cycle.keep_alive = False
                return
            cycle.disconnected = True  # before anybody reads on: nothing of it may be kept
            cycle.message_event.set()
            problem = Problem("TDK-BODY-LENGTH")
        content = json.dumps(problem.body(), ensure_ascii=False).encode()
        head = f"HTTP/1.1 400 Bad Request\r\ncontent-type: {MEDIA_TYPE}\r\ncontent-length: {len(content)}\r\n"
        self.transport.write(head.encode("ascii") + b"connection: close\r\n\r\n" + content)
        self.transport.close()
