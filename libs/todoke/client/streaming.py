"""The push stream without input and output: lines in, events out (WHATWG HTML section 9.2, server-sent events)."""

import json

from pydantic import ValidationError

from todoke.client.shapes import StreamEvent

RETRY_SECONDS = 2.0
"""Pause before connecting again until the service names another one."""

RETRY_SECONDS_MAX = 60.0
"""A service that names more is not believed."""


class StreamReader:
    """Reads the lines of one stream, across reconnections."""

    def __init__(self, last_event_id: str | None = None) -> None:
        self.last_event_id = last_event_id
        self.retry_seconds = RETRY_SECONDS
        self._event = ""
        self._data: list[str] = []
        self._id: str | None = None

    def connected(self) -> None:
        """A new connection: half an event of the last one is dropped."""
        self._event, self._data, self._id = "", [], None

    def feed(self, line: str) -> StreamEvent | None:
        """Take one line without its end; an empty one completes an event. Events of unknown shape are passed over."""
        if line == "":
            return self._dispatch()
        field, _, value = line.partition(":")
        self._keep(field, value.removeprefix(" "))
        return None

    def headers(self) -> dict[str, str]:
        """The headers of the next connection."""
        resume = {} if self.last_event_id is None else {"Last-Event-ID": self.last_event_id}
        return {"Accept": "text/event-stream", "Cache-Control": "no-store", **resume}

    def _keep(self, field: str, value: str) -> None:
        if field == "event":
            self._event = value
        elif field == "data":
            self._data.append(value)
        elif field == "id" and "\0" not in value:
            self._id = value
        elif field == "retry" and value.isdecimal():
            self.retry_seconds = min(RETRY_SECONDS_MAX, int(value) / 1000)

    def _dispatch(self) -> StreamEvent | None:
        name, data, position = self._event, "\n".join(self._data), self._id
        self.connected()
        if position is not None:
            self.last_event_id = position
        if not data:
            return None
        try:
            return StreamEvent.model_validate({"id": position, "event": name or "message", **json.loads(data)})
        except (ValidationError, ValueError, TypeError):
            return None
