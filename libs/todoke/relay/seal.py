"""The sealed box: what leaves a process only encrypted (files, names, texts, plain hashes), and the keys to it.

Three layers. A root key (a 0600 file) wraps one random key per month; the month's key and the message's id give, by
HKDF-SHA256 (RFC 5869), one key per part; AES-256-GCM (NIST SP 800-38D) seals the part, its random nonce in front.
Destroying a month's key makes everything sealed under it unreadable.
"""

import asyncio
import dataclasses
import hmac
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol, Self
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from todoke.relay import keyfile
from todoke.relay.clock import Clock, Ids, time_of
from todoke.relay.faults import Transient

KEY_BYTES = 32
"""AES-256."""

NONCE_BYTES = 12
"""The nonce length that GCM is made for. Random ones are safe here: a derived key seals one part, a few times."""

TAG_BYTES = 16
"""GCM's whole tag."""

OVERHEAD_BYTES = NONCE_BYTES + TAG_BYTES
"""By so much is a sealed text longer than the plain one."""

DESTROYED = b""
"""What stands in a wrapped key's place after its destruction."""

REMEMBERED_SECONDS = 3600.0
"""So long a month's key is used without asking whether it is still there."""

_UUID_VERSION = 7
_INFO = b"todoke/v1|"
_WRAP = b"todoke/v1|month-key|"


class SealBroken(Exception):  # noqa: N818 (named for what was found)
    """Sealed bytes that are damaged, or that were sealed for another place, office, month or key."""


class KeyEpochUnknown(Exception):  # noqa: N818 (named for what is missing)
    """There is no key for this month, here and now: it was never made, or has not arrived."""


class KeyEpochGone(Exception):  # noqa: N818 (named for what happened)
    """The month's key was destroyed; what it sealed cannot be read by anybody any more."""


def epoch_of(message_id: UUID) -> str:
    """The key epoch of a message, `YYYY-MM` in UTC, from the time inside its UUIDv7 (RFC 9562 section 5.7).

    Raises:
        ValueError: the id is no UUIDv7.
    """
    if message_id.version != _UUID_VERSION:
        message = "a message id is a UUID of version 7"
        raise ValueError(message)
    return time_of(message_id).strftime("%Y-%m")


class Bound(Protocol):
    """What sealed bytes are tied to: they open only in the place they were sealed for."""

    @property
    def epoch(self) -> str:
        """The month whose key seals, `YYYY-MM`."""
        ...

    def identity(self) -> bytes:
        """The id that goes into the derived key."""
        ...

    def context(self) -> tuple[bytes, ...]:
        """Everything else that the sealed bytes must not be moved away from."""
        ...


@dataclasses.dataclass(frozen=True, slots=True)
class Binding:
    """A message: its id (UUIDv7), the office numbers of both sides, and the key epoch."""

    message_id: UUID
    sender: str
    recipient: str
    epoch: str

    def identity(self) -> bytes:
        """The 16 bytes of the message id."""
        return self.message_id.bytes

    def context(self) -> tuple[bytes, ...]:
        """Message id, sender, recipient, epoch."""
        return (
            b"message",
            self.message_id.bytes,
            self.sender.encode(),
            self.recipient.encode(),
            self.epoch.encode(),
        )


@dataclasses.dataclass(frozen=True, slots=True)
class OfficeBinding:
    """Something that one office keeps (a draft, a reason): the office's number, the thing's id, and the key epoch."""

    office: str
    object_id: UUID
    epoch: str

    def identity(self) -> bytes:
        """The 16 bytes of the id."""
        return self.object_id.bytes

    def context(self) -> tuple[bytes, ...]:
        """Office, id, epoch."""
        return (b"office", self.office.encode(), self.object_id.bytes, self.epoch.encode())


def _joined(parts: tuple[bytes, ...]) -> bytes:
    """The parts, each behind its length in four bytes: no two different tuples give the same bytes."""
    return b"".join(len(part).to_bytes(4) + part for part in parts)


class Sealer:
    """Seals and unseals under a month's key. `label` names the place within the message: `part:3`, `manifest`."""

    def __init__(self, ids: Ids) -> None:
        self._ids = ids

    def seal(self, plain: bytes, *, month_key: bytes, binding: Bound, label: str) -> bytes:
        """Nonce (12 bytes), cipher text, tag (16 bytes)."""
        nonce = self._ids.secret(NONCE_BYTES)
        cipher = AESGCM(_derived(month_key, binding, label))
        return nonce + cipher.encrypt(nonce, plain, _joined((*binding.context(), label.encode())))

    def unseal(self, sealed: bytes, *, month_key: bytes, binding: Bound, label: str) -> bytes:
        """The plain bytes.

        Raises:
            SealBroken: they were changed, or sealed for another message, label, office, month or key.
        """
        cipher = AESGCM(_derived(month_key, binding, label))
        opened = _opened(cipher, sealed, _joined((*binding.context(), label.encode())))
        if opened is None:
            message = f"sealed bytes of epoch {binding.epoch} do not open ({len(sealed)} bytes)"
            raise SealBroken(message)
        return opened


def _derived(month_key: bytes, binding: Bound, label: str) -> bytes:
    info = _INFO + binding.identity() + b"|" + label.encode()
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=info).derive(month_key)


def _opened(cipher: AESGCM, sealed: bytes, context: bytes) -> bytes | None:
    if len(sealed) < OVERHEAD_BYTES:
        return None
    try:
        return cipher.decrypt(sealed[:NONCE_BYTES], memoryview(sealed)[NONCE_BYTES:], context)  # no copy of it
    except InvalidTag:
        return None


class RootKey:
    """The key above all others: 32 bytes in a 0600 file on a path of its own.

    Month keys are wrapped with AES-256-GCM rather than with RFC 3394, because GCM's associated data ties a wrapped key
    to its month: one month's wrapped key put in another's place does not open.
    """

    def __init__(self, key: bytes, ids: Ids) -> None:
        if len(key) != KEY_BYTES:
            message = f"a root key has {KEY_BYTES} bytes, this one has {len(key)}"
            raise ValueError(message)
        self.material = key
        """The 32 bytes themselves, from which other secrets are derived (`rootsecret`)."""
        self._cipher = AESGCM(key)
        self._ids = ids

    @classmethod
    def load_or_create(cls, path: Path, ids: Ids) -> Self:
        """Read the key file (64 hexadecimal digits), or make it.

        Raises:
            keyfile.KeyFileRefused: others may read the file, or it holds no root key.
        """
        text = keyfile.load_or_create(path, lambda: ids.secret(KEY_BYTES).hex().encode() + b"\n")
        try:
            return cls(bytes.fromhex(text.decode("ascii")), ids)
        except ValueError:
            message = f"the file {path} holds no root key (64 hexadecimal digits); put the right file back"
            raise keyfile.KeyFileRefused(message) from None

    def new_month_key(self, epoch: str) -> bytes:
        """A fresh random month key, wrapped for `epoch`."""
        return self.wrap(self._ids.secret(KEY_BYTES), epoch)

    def wrap(self, month_key: bytes, epoch: str) -> bytes:
        """The month key under the root key, 60 bytes."""
        nonce = self._ids.secret(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, month_key, _WRAP + epoch.encode())

    def unwrap(self, wrapped: bytes, epoch: str) -> bytes:
        """The month key, 32 bytes.

        Raises:
            SealBroken: it was wrapped by another root key or for another month, or it is damaged.
        """
        month_key = _opened(self._cipher, wrapped, _WRAP + epoch.encode())
        if month_key is None or len(month_key) != KEY_BYTES:
            message = f"the month key of {epoch} does not open with this root key"
            raise SealBroken(message)
        return month_key


class MonthKeys(Protocol):
    """Where the month keys come from."""

    async def key(self, epoch: str) -> bytes:
        """The month's key, 32 bytes; raises `KeyEpochUnknown` or `KeyEpochGone`."""
        ...


WrappedKeys = Callable[[str], Awaitable[bytes | None]]
"""Answers an epoch with its wrapped key, `DESTROYED`, or None when there is none (yet)."""


class KeyRing:
    """The month keys of a process: asked for once an hour, kept in memory between. A key not found is not remembered.

    So a destroyed key is forgotten by every process within an hour. While the source is away a known key is used on.
    """

    def __init__(self, root: RootKey, source: WrappedKeys, clock: Clock) -> None:
        self._root = root
        self._source = source
        self._clock = clock
        self._keys: dict[str, tuple[bytes, float]] = {}
        self._asking = asyncio.Lock()

    async def key(self, epoch: str) -> bytes:
        """The month's key, 32 bytes.

        Raises:
            KeyEpochUnknown: the source has none.
            KeyEpochGone: it was destroyed.
            SealBroken: the root key does not open it.
        """
        return self._fresh(epoch) or await self._asked(epoch)

    def _fresh(self, epoch: str) -> bytes | None:
        key, until = self._keys.get(epoch, (None, 0.0))
        return key if self._clock.monotonic() < until else None

    async def _asked(self, epoch: str) -> bytes:
        async with self._asking:  # hundreds of requests that wait for a new month's key ask once
            if (fresh := self._fresh(epoch)) is not None:
                return fresh
            known, _ = self._keys.get(epoch, (None, 0.0))
            try:
                wrapped = await self._source(epoch)
            except Transient:
                if known is None:
                    raise
                return known
            self._keys.pop(epoch, None)
            key = self._unwrapped(wrapped, epoch)
            self._keys[epoch] = key, self._clock.monotonic() + REMEMBERED_SECONDS
            return key

    def _unwrapped(self, wrapped: bytes | None, epoch: str) -> bytes:
        if wrapped is None:
            raise KeyEpochUnknown(epoch)
        if wrapped == DESTROYED:
            raise KeyEpochGone(epoch)
        return self._root.unwrap(wrapped, epoch)


def commitment(salt: bytes, plain: bytes) -> str:
    """HMAC-SHA256 of the plain bytes under a random salt, in hexadecimal.

    It commits to content without giving it away: a plain hash of a 33-byte delete file can be guessed in minutes.
    """
    return hmac.digest(salt, plain, "sha256").hex()


def hashed_key(secret: bytes, *parts: str | bytes) -> bytes:
    """HMAC-SHA256 (32 bytes) over the parts, each behind its length: for idempotency keys and sequences in tables."""
    pieces = tuple(part.encode() if isinstance(part, str) else part for part in parts)
    return hmac.digest(secret, _joined(pieces), "sha256")
