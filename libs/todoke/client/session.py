"""A login session: what it holds and where it is kept between two runs of a program."""

import os
import tempfile
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol, Self

from pydantic import Field, ValidationError

from todoke.client.shapes import Secret, SessionAnswer, SessionOffice, SessionUser, Shape

FRESH_SECONDS = 30
"""An access token that ends sooner than this is renewed before it is used: the request may take a while."""


class Session(Shape):
    """Tokens, their ends (UTC), and who is logged in."""

    url: str
    access_token: str
    access_until: datetime
    refresh_token: str
    refresh_until: datetime
    must_change: tuple[Secret, ...] = ()
    expired_at: dict[Secret, datetime] = Field(default_factory=dict)
    office: SessionOffice
    user: SessionUser | None = None

    @classmethod
    def begun(cls, answer: SessionAnswer, url: str, now: datetime) -> Self:
        """The session that this answer began at `now` (UTC)."""
        return cls(
            url=url,
            access_token=answer.access_token,
            access_until=now + timedelta(seconds=answer.expires_in),
            refresh_token=answer.refresh_token,
            refresh_until=now + timedelta(seconds=answer.refresh_expires_in),
            must_change=answer.must_change,
            expired_at=answer.expired_at,
            office=answer.office,
            user=answer.user,
        )

    def is_fresh(self, now: datetime) -> bool:
        """True while the access token can still be used for a request."""
        return now < self.access_until - timedelta(seconds=FRESH_SECONDS)


class SessionStore(Protocol):
    """Where a session is kept. Several programs may share one: the newest is read before a refresh."""

    def load(self) -> Session | None:
        """The session, or None."""
        ...

    def save(self, session: Session) -> None:
        """Keep it instead of the earlier one."""
        ...

    def clear(self) -> None:
        """Forget it."""
        ...


class MemoryStore:
    """A session that lives as long as the program."""

    def __init__(self, session: Session | None = None) -> None:
        self._session = session

    def load(self) -> Session | None:
        """The session, or None."""
        return self._session

    def save(self, session: Session) -> None:
        """Keep it."""
        self._session = session

    def clear(self) -> None:
        """Forget it."""
        self._session = None


class FileStore:
    """A session in a file that only its owner may read (0600), replaced as a whole."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self) -> Session | None:
        """The session; None when there is no file or it holds no session of this version."""
        try:
            return Session.model_validate_json(self.path.read_bytes())
        except (FileNotFoundError, NotADirectoryError, ValidationError):
            return None

    def save(self, session: Session) -> None:
        """Keep it instead of the earlier one."""
        write_for_owner(self.path, session.model_dump_json(indent=2))

    def clear(self) -> None:
        """Remove the file."""
        self.path.unlink(missing_ok=True)


def write_for_owner(path: Path, text: str) -> None:
    """Write beside and rename, for the owner's eyes only: of two programs that write at once one is left whole."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=".session-")  # mode 0600
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(text.encode())
            stream.flush()
            os.fsync(stream.fileno())
        Path(draft).replace(path)
    except BaseException:
        with suppress(FileNotFoundError):
            Path(draft).unlink()
        raise
