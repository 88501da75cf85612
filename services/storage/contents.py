"""Contents: the sealed bytes of a message out of object storage, opened and checked before anybody gets them."""

import asyncio
import dataclasses
import hashlib
import hmac
import io
import zipfile
from collections.abc import Callable, Sequence
from datetime import datetime
from uuid import UUID

from structlog.typing import FilteringBoundLogger

from todoke.events import Package, Part
from todoke.relay.bundle import Span, read_parts
from todoke.relay.manifest import (
    REASON_LABEL,
    RECEIPT_LABEL,
    Manifest,
    ManifestFile,
    receipt_payload,
    seal_text,
    unseal_manifest,
    unseal_text,
)
from todoke.relay.objects import ObjectMissing, Objects
from todoke.relay.problem import Problem
from todoke.relay.seal import Binding, KeyEpochGone, KeyEpochUnknown, MonthKeys, SealBroken, Sealer
from todoke.relay.tokens import ReceiptSigner

INLINE_BYTES_MAX = 256 * 1024
"""Up to this size bytes are opened on the event loop (about 1 ms); larger ones in a thread, so that nobody waits."""

AWAY_SECONDS = 60
"""Retry-After when the month's key is not where it was published: somebody has to bring it back."""

ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The time of every entry, the earliest that a ZIP can say: the same message gives the same ZIP."""

_REGULAR_FILE = 0o100644 << 16
_UNIX = 3


@dataclasses.dataclass(frozen=True, slots=True)
class Holding:
    """A message as one of its offices may see it. `status` is the delivery's, None before it."""

    message_id: UUID
    sender: str
    recipient: str
    object_key: str
    package: Package
    status: str | None
    recalled_at: datetime | None
    erased: bool

    @property
    def binding(self) -> Binding:
        """What its sealed bytes are tied to."""
        return Binding(self.message_id, self.sender, self.recipient, self.package.epoch)

    def part(self, number: str) -> Part:
        """The file of this number, counted from 1. Raises `Problem` TDK-NO-FILE."""
        for part in self.package.parts:
            if str(part.ordinal) == number:
                return part
        raise Problem("TDK-NO-FILE")


@dataclasses.dataclass(frozen=True, slots=True)
class Opened:
    """One file in clear: as the manifest names it, and its very bytes."""

    file: ManifestFile
    data: bytes


class ContentGone(Exception):  # noqa: N818 (named for what was found)
    """The object is not where it should be: rewritten under another key, erased, or lost."""


class Contents:
    """Reads and opens what messages hold; seals and opens the receipts about them."""

    def __init__(
        self,
        *,
        objects: Objects,
        keys: MonthKeys,
        sealer: Sealer,
        receipts: ReceiptSigner,
        issuer: str,
        log: FilteringBoundLogger,
    ) -> None:
        self._objects = objects
        self._keys = keys
        self._sealer = sealer
        self._receipts = receipts
        self._issuer = issuer
        self._log = log

    async def manifest(self, holding: Holding) -> Manifest:
        """Names, text and plain hashes of a message.

        Raises `Problem`: TDK-ERASED when the month's key was destroyed, TDK-CONTENT-DAMAGED when it does not open.
        """
        try:
            return unseal_manifest(
                holding.package.manifest,
                self._sealer,
                month_key=await self._month_key(holding),
                binding=holding.binding,
            )
        except (SealBroken, ValueError):
            raise self._damaged(holding, "manifest") from None

    async def read(self, holding: Holding, parts: Sequence[Part], manifest: Manifest) -> list[Opened]:
        """The files of these parts, each checked twice: the sealed bytes as stored, the plain ones as handed in.

        Raises:
            ContentGone: there is no such object.
            Problem: TDK-CONTENT-DAMAGED, a check failed; TDK-ERASED, the month's key was destroyed.
            ObjectsAway: object storage does not answer.
        """
        spans = [Span(part.offset, part.length) for part in parts]
        try:
            sealed = await read_parts(self._objects, holding.object_key, spans)
        except ObjectMissing:
            raise ContentGone from None
        month_key = await self._month_key(holding)
        files = {file.n: file for file in manifest.files}
        if sum(map(len, sealed)) > INLINE_BYTES_MAX:
            return await asyncio.to_thread(self._open, holding, parts, sealed, files, month_key)
        return self._open(holding, parts, sealed, files, month_key)

    async def receipt_writer(self, holding: Holding, manifest: Manifest) -> Callable[[datetime], str]:
        """Signs and seals the download receipt of a moment, without waiting: it is called under a row lock."""
        month_key = await self._month_key(holding)

        def write(at: datetime) -> str:
            payload = receipt_payload(
                "download",
                issuer=self._issuer,
                message_id=holding.message_id,
                sender=holding.sender,
                recipient=holding.recipient,
                sequence=holding.package.sequence,
                files=manifest.files,
                at=at,
            )
            receipt = self._receipts.sign(payload)
            return seal_text(receipt, self._sealer, month_key=month_key, binding=holding.binding, label=RECEIPT_LABEL)

        return write

    async def unseal_receipt(self, holding: Holding, sealed: str) -> str:
        """The receipt that was given."""
        return unseal_text(
            sealed,
            self._sealer,
            month_key=await self._month_key(holding),
            binding=holding.binding,
            label=RECEIPT_LABEL,
        )

    async def seal_reason(self, holding: Holding, reason: str) -> str:
        """The reason of a recall as its event carries it."""
        return seal_text(
            reason,
            self._sealer,
            month_key=await self._month_key(holding),
            binding=holding.binding,
            label=REASON_LABEL,
        )

    def lost(self, holding: Holding) -> Problem:
        """The object of a message that should be there is not: an alarm, and what the office is told."""
        return self._damaged(holding, "object")

    async def _month_key(self, holding: Holding) -> bytes:
        try:
            return await self._keys.key(holding.package.epoch)
        except KeyEpochGone:
            raise Problem("TDK-ERASED") from None
        except KeyEpochUnknown:
            self._log.error("month_key_missing", epoch=holding.package.epoch)
            raise Problem("TDK-ENGINE-AWAY", retry_after=AWAY_SECONDS) from None

    def _open(
        self,
        holding: Holding,
        parts: Sequence[Part],
        sealed: Sequence[bytes],
        files: dict[int, ManifestFile],
        month_key: bytes,
    ) -> list[Opened]:
        opened = []
        for part, content in zip(parts, sealed, strict=True):
            if not hmac.compare_digest(hashlib.sha256(content).hexdigest(), part.sealed_sha256):
                raise self._damaged(holding, "sealed", part.ordinal)
            label = f"part:{part.ordinal}"
            try:
                plain = self._sealer.unseal(content, month_key=month_key, binding=holding.binding, label=label)
                file = files[part.ordinal]
            except (SealBroken, KeyError):
                raise self._damaged(holding, "seal", part.ordinal) from None
            if not hmac.compare_digest(hashlib.sha256(plain).hexdigest(), file.sha256):
                raise self._damaged(holding, "plain", part.ordinal)
            opened.append(Opened(file, plain))
        return opened

    def _damaged(self, holding: Holding, what: str, part: int | None = None) -> Problem:
        self._log.error("content_damaged", message_id=str(holding.message_id), what=what, part=part)
        return Problem("TDK-CONTENT-DAMAGED")


def zipped(files: Sequence[Opened]) -> bytes:
    """The files in a ZIP without compression (APPNOTE 6.3.10), under their names as sent; equal files give equal bytes.

    Names that are not plain ASCII carry the UTF-8 flag (bit 11, section 4.4.4).
    """
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for opened in files:
            entry = zipfile.ZipInfo(opened.file.name, ZIP_EPOCH)
            entry.create_system = _UNIX
            entry.external_attr = _REGULAR_FILE
            archive.writestr(entry, opened.data)
    return target.getvalue()
