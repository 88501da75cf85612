"""What a list is narrowed by, as its address says it, and one page of it."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Literal, TypeAlias
from urllib.parse import urlencode
from uuid import UUID

from services.portal.visitors import Visitor
from todoke.client.operations import Filters
from todoke.client.shapes import Item, Page
from todoke.relay.clock import in_japan

Box: TypeAlias = Literal["received", "sent"]

ROWS = 50
ROWS_OFFERED = (50, 100, 200)

TRAIL_MAX = 40
"""Pages that an address leads back through; before that, 前の50件 leads to the first page."""

CURSOR_CHARACTERS_MAX = 200

SEARCH_CALLS_MAX = 4
"""A search looks through 5,000 messages per call; a page that is not full by then offers to go on."""

SEARCH_CHARACTERS_MAX = 100

MONTHS_BACK = 12

_STATUS = {"open": "delivered", "done": "downloaded"}
_SHAPES = {
    "month": re.compile(r"[0-9]{6}"),
    "state": re.compile(r"open|done"),
    "version": re.compile(r"202407|202208"),
    "service": re.compile(r"[0-9A-Z]{2}"),
}


@dataclass(frozen=True, slots=True)
class Query:
    """The address of a list. `search` is the id of a typed text, `trail` the cursors of the pages up to this one."""

    month: str = ""
    state: str = ""
    version: str = ""
    service: str = ""
    since: str = ""
    until: str = ""
    findings: bool = False
    search: str = ""
    rows: int = ROWS
    trail: tuple[str, ...] = ()

    @classmethod
    def of(cls, fields: Mapping[str, str], trail: Iterable[str] = ()) -> "Query":
        """What the fields of an address or a form say; what makes no sense is left out."""
        plain = {name: _matching(fields.get(name, ""), shape) for name, shape in _SHAPES.items()}
        rows = fields.get("rows", "")
        return cls(
            **plain,
            since=_day(fields.get("from", "")),
            until=_day(fields.get("to", "")),
            findings=fields.get("findings", "") == "1",
            search=_uuid(fields.get("q", "")),
            rows=int(rows) if rows in map(str, ROWS_OFFERED) else ROWS,
            trail=tuple(cursor for cursor in trail if 0 < len(cursor) <= CURSOR_CHARACTERS_MAX)[-TRAIL_MAX:],
        )

    @property
    def is_narrowed(self) -> bool:
        """Whether anything is left out of the list."""
        return replace(self, rows=ROWS, trail=()) != Query()

    @property
    def has_more(self) -> bool:
        """Whether something under くわしい条件 is set."""
        return bool(self.service or self.since or self.until or self.findings or self.rows != ROWS)

    def filters(self) -> Filters:
        """The same for the API."""
        found: Filters = {"limit": self.rows}
        if self.state:
            found["status"] = _STATUS[self.state]
        if self.month:
            found["month"] = self.month
        if self.version:
            found["csv_version"] = self.version
        if self.service:
            found["service_type"] = self.service
        if self.since:
            found["since_time"] = self.since
        if self.until:
            found["until_time"] = self.until
        if self.findings:
            found["findings"] = True
        return found

    def address(self, path: str) -> str:
        """The address of the list as this query wants it."""
        said = {
            "month": self.month,
            "state": self.state,
            "version": self.version,
            "service": self.service,
            "from": self.since,
            "to": self.until,
            "findings": "1" if self.findings else "",
            "q": self.search,
            "rows": str(self.rows) if self.rows != ROWS else "",
        }
        pairs = [(name, value) for name, value in said.items() if value] + [("at", cursor) for cursor in self.trail]
        return path + (f"?{urlencode(pairs)}" if pairs else "")

    @property
    def cursor(self) -> str | None:
        """Where this page begins; None for the first."""
        return self.trail[-1] if self.trail else None


@dataclass(frozen=True, slots=True)
class Listing:
    """One page of a list. `before` and `after` are the queries of its neighbours, or None."""

    query: Query
    text: str
    items: Sequence[Item]
    before: Query | None
    after: Query | None

    @property
    def found(self) -> str:
        """How many rows there are, as far as one page tells."""
        if self.query.trail:
            return f"このページに{len(self.items)}件"
        return f"{len(self.items)}件以上" if self.after else f"{len(self.items)}件"


async def read(visitor: Visitor, box: Box, query: Query, text: str) -> Listing:
    """A page of a list, searched for `text` where there is one.

    Raises `ApiError` 422 for a cursor that is none, and what every call raises.
    """
    if text:
        items, following = await _search(visitor, box, query, text)
    else:
        call = visitor.client.received if box == "received" else visitor.client.sent
        page = await call(query.cursor, **query.filters())
        items, following = list(page.items), page.next
    return Listing(
        query=query,
        text=text,
        items=items,
        before=replace(query, trail=query.trail[:-1]) if query.trail else None,
        after=replace(query, trail=(*query.trail, following)[-TRAIL_MAX:]) if following else None,
    )


async def _search(visitor: Visitor, box: Box, query: Query, text: str) -> tuple[list[Item], str | None]:
    filters, found, cursor = query.filters(), list[Item](), query.cursor
    for _ in range(SEARCH_CALLS_MAX):
        filters["limit"] = query.rows - len(found)
        page: Page[Item] = await visitor.client.search(box, text, cursor, **filters)
        found += page.items
        cursor = page.next
        if cursor is None or len(found) >= query.rows:
            break
    return found, cursor


def months(now: datetime, chosen: str) -> list[str]:
    """The months that the filter offers, newest first: the next one, and a year back."""
    today = in_japan(now)
    count = today.year * 12 + today.month  # of the next month, from zero
    offered = [f"{(count - back) // 12}{(count - back) % 12 + 1:02}" for back in range(MONTHS_BACK + 2)]
    return sorted({*offered, chosen} - {""}, reverse=True)


def _matching(value: str, shape: re.Pattern[str]) -> str:
    return value if shape.fullmatch(value) else ""


def _day(value: str) -> str:
    try:
        return date.fromisoformat(value).isoformat() if re.fullmatch(r"\d{4}-\d{2}-\d{2}", value) else ""
    except ValueError:
        return ""


def _uuid(value: str) -> str:
    try:
        return str(UUID(value))
    except ValueError:
        return ""
