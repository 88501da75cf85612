"""The sealed manifest of a message: everything about it that is personal, in one sealed box inside its events.

ingest seals it, validation, storage and projection open it. It stands in `Package.manifest` as base64.
"""

import base64
import binascii
import hashlib
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from todoke.relay.seal import Binding, Bound, SealBroken, Sealer

MANIFEST_LABEL = "manifest"
"""The place within the message that the manifest is sealed for."""

RECEIPT_LABEL = "receipt"
"""The place within the message that the submission receipt is sealed for."""

REASON_LABEL = "reason"
"""The place within the message that the reason of a recall, or of an operator, is sealed for."""

SALT_BYTES = 32
"""Random bytes under which the parts' commitments are made."""


class ManifestFile(BaseModel):
    """One file as the two parties know it. `n` is the part's ordinal, `size` counts plain bytes."""

    model_config = ConfigDict(frozen=True)

    n: int
    name: str
    sha256: str
    size: int


class Submitter(BaseModel):
    """Who sent it: id and name of the user as the access token and the directory of users had them."""

    model_config = ConfigDict(frozen=True)

    user: str | None = None
    name: str | None = None


class Manifest(BaseModel):
    """File names as sent, message text, sender's user, plain hashes, and the salt (hexadecimal) of the commitments."""

    model_config = ConfigDict(frozen=True)

    text: str | None = None
    by: Submitter
    salt: str
    files: tuple[ManifestFile, ...] = ()

    def salt_bytes(self) -> bytes:
        """The salt as bytes."""
        return bytes.fromhex(self.salt)


def seal_manifest(manifest: Manifest, sealer: Sealer, *, month_key: bytes, binding: Binding) -> str:
    """The sealed manifest in base64, as `Package.manifest` carries it."""
    return seal_text(manifest.model_dump_json(), sealer, month_key=month_key, binding=binding, label=MANIFEST_LABEL)


def unseal_manifest(sealed: str, sealer: Sealer, *, month_key: bytes, binding: Binding) -> Manifest:
    """The manifest inside `Package.manifest`.

    Raises:
        SealBroken: it was changed, or sealed for another message, office, month or key.
    """
    plain = unseal_text(sealed, sealer, month_key=month_key, binding=binding, label=MANIFEST_LABEL)
    return Manifest.model_validate_json(plain)


def seal_text(text: str, sealer: Sealer, *, month_key: bytes, binding: Bound, label: str) -> str:
    """Any text of a message (a receipt, a reason), sealed, in base64."""
    sealed = sealer.seal(text.encode(), month_key=month_key, binding=binding, label=label)
    return base64.b64encode(sealed).decode("ascii")


def unseal_text(sealed: str, sealer: Sealer, *, month_key: bytes, binding: Bound, label: str) -> str:
    """The text inside a `*_sealed` field.

    Raises:
        SealBroken: it was changed, or sealed for another message, place, office, month or key.
    """
    try:
        raw = base64.b64decode(sealed, validate=True)
    except binascii.Error:
        raise SealBroken(f"{label} is no base64") from None
    return sealer.unseal(raw, month_key=month_key, binding=binding, label=label).decode()


def receipt_payload(
    kind: Literal["submission", "download"],
    *,
    issuer: str,
    message_id: UUID,
    sender: str,
    recipient: str,
    sequence: str,
    files: Iterable[ManifestFile],
    at: datetime,
) -> dict[str, Any]:
    """What a receipt says: who handed what to whom (or took it), and when. It speaks of names by their hash only."""
    return {
        "iss": issuer,
        "typ": kind,
        "message_id": str(message_id),
        "sender": sender,
        "recipient": recipient,
        "sequence": sequence,
        "files": [
            {"name_sha256": hashlib.sha256(file.name.encode()).hexdigest(), "sha256": file.sha256, "size": file.size}
            for file in files
        ],
        "at": at.isoformat().replace("+00:00", "Z"),
    }
