"""Errors of the public API: RFC 9457 problem details with a code, a number and Japanese sentences that say what to do.

Every code, its HTTP status and its wording stand in `messages_ja.csv`; no text stands in code.
"""

import csv
import dataclasses
import functools
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

MEDIA_TYPE = "application/problem+json"


@dataclasses.dataclass(frozen=True, slots=True)
class Wording:
    """One row of `messages_ja.csv`; `title` and `detail` may hold `{placeholders}` for values that are not personal."""

    code: str
    status: int
    number: str | None
    title: str
    detail: str


@functools.cache
def wordings() -> Mapping[str, Wording]:
    """All codes of the API."""
    table = resources.files("todoke.relay").joinpath("messages_ja.csv").read_text(encoding="utf-8")
    return {
        row["code"]: Wording(row["code"], int(row["status"]), row["number"] or None, row["title"], row["detail"])
        for row in csv.DictReader(table.splitlines())
    }


class Problem(Exception):  # noqa: N818 (RFC 9457 calls it a problem)
    """A refusal that the caller can do something about.

    `where` names the places in the request (`("recipient", "…")`); `extra` are further members of the answer
    (RFC 9457 section 3.2), `headers` such as Retry-After.
    """

    def __init__(
        self,
        code: str,
        *,
        where: Sequence[tuple[str, str]] = (),
        retry_after: int | None = None,
        extra: Mapping[str, Any] | None = None,
        **fill: str | int,
    ) -> None:
        super().__init__(code)
        self.code = code
        self.where = tuple(where)
        self.retry_after = retry_after
        self.extra = dict(extra or {})
        self.fill = fill

    @property
    def wording(self) -> Wording:
        """The table's row of this code."""
        return wordings()[self.code]

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.wording.status

    def headers(self) -> dict[str, str]:
        """Header fields that belong to the answer."""
        headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        if self.status == 401:  # noqa: PLR2004 (RFC 9110 section 11.6.1 asks for it)
            headers["WWW-Authenticate"] = "Bearer"
        return headers

    def body(self) -> dict[str, Any]:
        """The problem document."""
        wording = self.wording
        return {
            "type": f"urn:todoke:problem:{self.code}",
            "title": wording.title.format_map(self.fill),
            "status": wording.status,
            "detail": wording.detail.format_map(self.fill),
            "code": self.code,
            "number": wording.number,
            "errors": [{"where": place, "message": message} for place, message in self.where],
            **self.extra,
        }
