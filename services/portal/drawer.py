"""Where messages in the making are kept: texts and names sealed in the tables, files sealed as objects.

Objects are `draft/{office}/{item}/{n}`; each holds the files that were added together, each file sealed on its own.
They are no contents of a month: the key is this service's own and outlives the months.
"""

import dataclasses
import json
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from todoke.relay.objects import Objects
from todoke.relay.rootsecret import Secrets
from todoke.relay.seal import OVERHEAD_BYTES, OfficeBinding, Sealer

EPOCH = "drafts"

EMPTY_TEXT_BYTES = OVERHEAD_BYTES + len(json.dumps(""))
"""So long is an empty text when it is sealed."""


@dataclasses.dataclass(frozen=True, slots=True)
class Range:
    """Where a sealed file lies in its object, in bytes."""

    starts: int
    length: int


def object_key(office: str, item: UUID, n: int) -> str:
    """The key of an item's n-th object."""
    return f"draft/{office}/{item}/{n}"


class Drawer:
    """Seals and unseals; a value copied to another office, item or place does not open (`SealBroken`)."""

    def __init__(self, sealer: Sealer, secrets: Secrets, objects: Objects) -> None:
        self._sealer = sealer
        self._key = secrets.hmac_key("portal/drafts")
        self.objects = objects

    def seal(self, value: Any, office: str, owner: UUID, label: str) -> bytes:
        """A JSON value, sealed for one place: `text`, `name:{file}` and so on."""
        plain = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
        return self._seal(plain, office, owner, label)

    def unseal(self, sealed: bytes, office: str, owner: UUID, label: str) -> Any:
        """The value again."""
        return json.loads(self._unseal(sealed, office, owner, label))

    async def put(self, office: str, item: UUID, n: int, files: Sequence[tuple[UUID, bytes]]) -> list[Range]:
        """Store files (id, bytes) as the n-th object of an item; answers where each lies. Raises `ObjectsAway`."""
        body = bytearray()
        ranges = []
        for file, data in files:
            sealed = self._seal(data, office, item, f"file:{file}")
            ranges.append(Range(len(body), len(sealed)))
            body += sealed
        await self.objects.put(object_key(office, item, n), bytes(body))
        return ranges

    async def get(self, office: str, item: UUID, n: int, files: Sequence[tuple[UUID, Range]]) -> list[bytes]:
        """The bytes of files that lie in one object. Raises `ObjectMissing`, `ObjectsAway`."""
        body = await self.objects.get(object_key(office, item, n))
        return [
            self._unseal(body[place.starts : place.starts + place.length], office, item, f"file:{file}")
            for file, place in files
        ]

    def _seal(self, plain: bytes, office: str, owner: UUID, label: str) -> bytes:
        binding = OfficeBinding(office, owner, EPOCH)
        return self._sealer.seal(plain, month_key=self._key, binding=binding, label=label)

    def _unseal(self, sealed: bytes, office: str, owner: UUID, label: str) -> bytes:
        binding = OfficeBinding(office, owner, EPOCH)
        return self._sealer.unseal(sealed, month_key=self._key, binding=binding, label=label)
