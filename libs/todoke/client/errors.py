"""What can go wrong for a caller of the client. No text here carries file names, message texts or persons' names."""

from todoke.client.shapes import Problem


class ClientError(Exception):
    """The base of everything that the client raises on purpose."""


class ApiError(ClientError):
    """The service answered with a problem (RFC 9457).

    `code` is the TDK code, `number` the E number or None, `title` and `detail` are Japanese and meant for people,
    `errors` say where in the request. `retry_after` is in seconds, or None.
    """

    def __init__(self, status: int, problem: Problem, retry_after: float | None = None) -> None:
        super().__init__(f"{status} {problem.code}")
        self.status = status
        self.code = problem.code
        self.number = problem.number
        self.title = problem.title
        self.detail = problem.detail
        self.errors = problem.errors
        self.retry_after = retry_after
        self.problem = problem


class Unreachable(ClientError):  # noqa: N818 (named for what the service is)
    """No answer came within the caller's patience. `sent` tells whether the request may have arrived."""

    def __init__(self, cause: str, *, sent: bool) -> None:
        super().__init__(cause)
        self.sent = sent


class NotLoggedIn(ClientError):  # noqa: N818 (named for the state)
    """There is no session, or it has ended: log in (again)."""


class Unreadable(ClientError):  # noqa: N818 (named for what the answer is)
    """The service answered something that is not in its API: another program stands at this address."""


class HashMismatch(ClientError):  # noqa: N818 (named for what was found)
    """Fetched bytes are not what the message says they are; nothing was confirmed."""


class ReceiptInvalid(ClientError):  # noqa: N818 (named for what it is)
    """A receipt that is not believed; the text says which check failed."""
