"""Rows of the tables as items of the API: what is sealed is opened here, for one of the two parties, and never kept."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from structlog.typing import FilteringBoundLogger

import careplan
from services.projection.rules import Box
from services.projection.shapes import FileItem, FindingCounts, Item, OfficeRef, Stub
from services.projection.wording import reason_of
from todoke.relay.manifest import REASON_LABEL, RECEIPT_LABEL, Manifest, unseal_manifest, unseal_text
from todoke.relay.problem import Problem
from todoke.relay.seal import Binding, KeyEpochGone, KeyEpochUnknown, MonthKeys, SealBroken, Sealer

Record = Mapping[str, Any]
"""A row of `sent` or `received`, as the page statements select it."""


class Opener:
    """Opens what rows hold sealed. Keys are asked for once per month and kept by the key ring, opened texts never."""

    def __init__(self, keys: MonthKeys, sealer: Sealer, log: FilteringBoundLogger) -> None:
        self._keys = keys
        self._sealer = sealer
        self._log = log

    async def items(self, rows: Sequence[Record], box: Box) -> list[Item]:
        """The rows as items of a box. Raises `Problem` 503 `TDK-BUSY` while a month's key is not there yet."""
        keys = await self.keys(rows)
        return [item_of(row, box, self.manifest(row, box, keys)) for row in rows]

    async def keys(self, rows: Iterable[Record]) -> dict[str, bytes | None]:
        """The month keys of some rows; None for a month whose key was destroyed."""
        return {epoch: await self._key(epoch) for epoch in {row["epoch"] for row in rows}}

    def manifest(self, row: Record, box: Box, keys: Mapping[str, bytes | None]) -> Manifest | None:
        """The manifest of a row, or None where its content is hidden from this box."""
        month_key = keys[row["epoch"]]
        if hidden(row, box) or month_key is None:
            return None
        try:
            return unseal_manifest(row["manifest"], self._sealer, month_key=month_key, binding=_binding(row))
        except (SealBroken, ValueError):
            self._broken(row["message_id"], "manifest")
            return None

    async def receipt(self, row: Record, sealed: str | None) -> str | None:
        """A receipt as compact JWS, or None where there is none or its key is gone."""
        return await self._text(row, sealed, RECEIPT_LABEL)

    async def reason(self, row: Record, sealed: str | None) -> str | None:
        """The reason of a recall, or None where none was kept or its key is gone."""
        return await self._text(row, sealed, REASON_LABEL)

    async def _text(self, row: Record, sealed: str | None, label: str) -> str | None:
        if sealed is None:
            return None
        month_key = await self._key(row["epoch"])
        if month_key is None:
            return None
        try:
            return unseal_text(sealed, self._sealer, month_key=month_key, binding=_binding(row), label=label)
        except (SealBroken, ValueError):
            self._broken(row["message_id"], label)
            return None

    async def _key(self, epoch: str) -> bytes | None:
        try:
            return await self._keys.key(epoch)
        except KeyEpochGone:
            return None
        except KeyEpochUnknown:
            raise Problem("TDK-BUSY", retry_after=2) from None

    def _broken(self, message_id: UUID, what: str) -> None:
        """A damaged row must not take its list down with it: its content is hidden and operators are told."""
        self._log.error("sealed_text_damaged", message_id=str(message_id), what=what)


def hidden(row: Record, box: Box) -> bool:
    """Whether the content is hidden: erased for both sides, recalled for the recipient."""
    return row["erased_at"] is not None or (box == "received" and row["status"] == "recalled")


def _binding(row: Record) -> Binding:
    return Binding(row["message_id"], row["sender"], row["recipient"], row["epoch"])


def stub_of(row: Record) -> Stub | None:
    """The stub that `since` answers for a row that was recalled, expired or erased; None for any other row."""
    if row["status"] in ("recalled", "expired") or row["erased_at"] is not None:
        return Stub(delivery_no=row["delivery_no"], message_id=row["message_id"], status=row["status"])
    return None


def item_of(row: Record, box: Box, manifest: Manifest | None) -> Item:
    """A row as an item; without a manifest its content is hidden."""
    counts = (0, 0) if manifest is None else (row["errors"], row["warnings"])
    return Item(
        message_id=row["message_id"],
        sequence=row["sequence"],
        sender=OfficeRef(number=row["sender"], name=row["sender_name"]),
        recipient=OfficeRef(number=row["recipient"], name=row["recipient_name"]),
        service_type=row["service_type"],
        text=None if manifest is None else manifest.text,
        csv_version=row["csv_version"],
        months=row["months"],
        status=row["status"],
        held=row["held"],
        erased=row["erased_at"] is not None,
        submitted_at=row["submitted_at"],
        delivered_at=row["delivered_at"],
        opened_at=row["opened_at"],
        downloaded_at=row["downloaded_at"],
        delivery_no=row["delivery_no"],
        files=_files(row, manifest),
        findings=FindingCounts(errors=counts[0], warnings=counts[1]),
        reason=reason_of(row["status"], row["reason"]) if box == "sent" else None,
        recall_requested_at=row["recall_requested_at"],
    )


def _files(row: Record, manifest: Manifest | None) -> list[FileItem]:
    known = {} if manifest is None else {file.n: file for file in manifest.files}
    files = []
    for part in json.loads(row["parts"]):
        file = known.get(part["n"])
        files.append(
            FileItem(
                n=part["n"],
                name=None if file is None else file.name,
                kind=part["kind"],
                label=careplan.label_of(part["kind"] or ""),
                size=part["size"],
                sha256=None if file is None else file.sha256,
            )
        )
    return files
