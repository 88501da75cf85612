"""Opens the bundles of submitted messages: reads, unseals and verifies their parts."""

import asyncio
import dataclasses
import hmac
from collections import defaultdict
from collections.abc import Sequence

from services.validation.judging import PlainFile
from todoke.events import MessageSubmitted
from todoke.relay.bundle import Span, read_parts
from todoke.relay.faults import Poison
from todoke.relay.limits import MEBIBYTE
from todoke.relay.manifest import Manifest, unseal_manifest
from todoke.relay.objects import ObjectMissing, Objects
from todoke.relay.seal import Binding, KeyEpochGone, KeyEpochUnknown, MonthKeys, SealBroken, Sealer, commitment

INLINE_BYTES_MAX = MEBIBYTE // 2
"""Up to this size unsealing (about a millisecond) runs in the event loop; longer messages in a thread."""


READS_AT_ONCE = 16
"""Requests to object storage at a time: more would only wait there, and waiting counts against their time limit."""


@dataclasses.dataclass(frozen=True, slots=True)
class Opened:
    """A message in clear."""

    submitted: MessageSubmitted
    manifest: Manifest
    files: tuple[PlainFile, ...]


class Bundles:
    """Reads bundles. Messages that share an object cost one request."""

    def __init__(self, objects: Objects, keys: MonthKeys, sealer: Sealer) -> None:
        self._objects = objects
        self._keys = keys
        self._sealer = sealer
        self._reading = asyncio.Semaphore(READS_AT_ONCE)

    async def open(self, messages: Sequence[MessageSubmitted]) -> list[Opened]:
        """The messages in clear, in any order.

        Raises:
            Poison: a bundle is missing, was changed, or its month's key is gone or missing.
            ObjectsAway: object storage does not answer.
        """
        by_object: dict[str, list[MessageSubmitted]] = defaultdict(list)
        for message in messages:
            by_object[message.package.object_key].append(message)
        opened = await asyncio.gather(*map(self._open_object, by_object.values()))
        return [one for group in opened for one in group]

    async def _open_object(self, messages: Sequence[MessageSubmitted]) -> list[Opened]:
        package = messages[0].package
        spans = [Span(part.offset, part.length) for message in messages for part in message.package.parts]
        try:
            async with self._reading:
                boxes = iter(await read_parts(self._objects, package.object_key, spans))
            month_keys = {message.package.epoch: await self._keys.key(message.package.epoch) for message in messages}
        except ObjectMissing:
            raise Poison("the bundle is missing") from None
        except KeyEpochGone:
            raise Poison("the key of its month is gone") from None
        except KeyEpochUnknown:
            raise Poison("there is no key of its month") from None
        opened = []
        for message in messages:
            sealed = [next(boxes) for _ in message.package.parts]
            month_key = month_keys[message.package.epoch]
            if sum(map(len, sealed)) <= INLINE_BYTES_MAX:
                opened.append(self._unseal(message, sealed, month_key))
            else:
                opened.append(await asyncio.to_thread(self._unseal, message, sealed, month_key))
        return opened

    def _unseal(self, message: MessageSubmitted, sealed: Sequence[bytes], month_key: bytes) -> Opened:
        package = message.package
        binding = Binding(message.message_id, message.sender, message.recipient, package.epoch)
        try:
            manifest = unseal_manifest(package.manifest, self._sealer, month_key=month_key, binding=binding)
            plain = [
                self._sealer.unseal(box, month_key=month_key, binding=binding, label=f"part:{part.ordinal}")
                for box, part in zip(sealed, package.parts, strict=True)
            ]
        except SealBroken:
            raise Poison("the bundle was changed") from None
        salt = manifest.salt_bytes()
        names = {file.n: file.name for file in manifest.files}
        for part, data in zip(package.parts, plain, strict=True):
            if part.ordinal not in names or not hmac.compare_digest(commitment(salt, data), part.commitment):
                raise Poison("a part does not keep its commitment")
        files = tuple(
            PlainFile(part.ordinal, names[part.ordinal], part.kind if part.role == "data" else None, data)
            for part, data in zip(package.parts, plain, strict=True)
        )
        return Opened(message, manifest, files)
