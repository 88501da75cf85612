"""The body of an import, read in passing: multipart/form-data with the parts `act` (JSON) and then `file` (CSV).

The file is never held as a whole: whole lines are handed on while the rest still arrives.
"""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

from fastapi import Request
from pydantic import ValidationError

from services.registry.sheet import LINE_BYTES_MAX
from todoke.relay.acts import Word
from todoke.relay.limits import MEBIBYTE
from todoke.relay.passing import PassingBody
from todoke.relay.problem import Problem

IMPORT_BYTES_MAX = 256 * MEBIBYTE
"""A list of every office of the country has about 40 MiB."""

ACT_BYTES_MAX = 4096
"""Reason, ticket and flag."""


class ImportAct(Word):
    """Why offices are imported; `dry_run` changes nothing and only tells what would change.

    An import that broke off is gone on with by sending the same list under the same `import_id` (of this operator):
    what was taken is passed over, and the report is about both.
    """

    dry_run: bool = False
    import_id: UUID | None = None


IMPORT_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["act", "file"],
                    "properties": {
                        "act": {
                            "type": "object",
                            "required": ["reason", "ticket"],
                            "properties": {
                                "reason": {"type": "string", "minLength": 1, "maxLength": 200},
                                "ticket": {"type": "string"},
                                "dry_run": {"type": "boolean", "default": False},
                                "import_id": {"type": "string", "format": "uuid"},
                            },
                        },
                        "file": {"type": "string", "contentMediaType": "text/csv"},
                    },
                },
                "encoding": {"act": {"contentType": "application/json"}, "file": {"contentType": "text/csv"}},
            }
        },
    }
}
"""What OpenAPI says of it; `act` stands first."""


class ImportBody:
    """One body while it arrives. Ask for `act()` first, then for `lines()`.

    Both raise `Problem` as `PassingBody` does, and TDK-INVALID (422).
    """

    def __init__(self, request: Request) -> None:
        self._body = PassingBody(
            request, "file", names=("act",), fields_bytes_max=ACT_BYTES_MAX, bytes_max=IMPORT_BYTES_MAX
        )

    async def act(self) -> ImportAct:
        """The part `act`: everything that stands before the file."""
        raw = (await self._body.fields()).get("act")
        if not raw:
            raise Problem("TDK-PART-MISSING", where=[("act", "fileの前に入れてください。")])
        try:
            return ImportAct.model_validate_json(raw)
        except ValidationError as wrong:
            found = wrong.errors(include_url=False, include_input=False, include_context=False)
            where = [(".".join(("act", *map(str, one["loc"]))), one["type"]) for one in found]
            raise Problem("TDK-INVALID", where=where) from None

    async def lines(self) -> AsyncIterator[list[bytes]]:
        """The lines of the part `file`, some at a time, without their ends; a very long one comes cut off."""
        rest = b""
        async for piece in self._body.pieces():
            *whole, rest = (rest + piece).split(b"\n")
            rest = rest[: LINE_BYTES_MAX + 1]
            if whole:
                yield [line.removesuffix(b"\r") for line in whole]
        if rest:
            yield [rest.removesuffix(b"\r")]
