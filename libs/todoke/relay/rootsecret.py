"""Keys for purposes, derived from the one root key: role passwords, HMACs of idempotency keys, the internal secret."""

import base64

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

DERIVED_BYTES = 32
"""Length of every derived key."""


class Secrets:
    """What is derived from the root key (HKDF-SHA256, RFC 5869); the same root gives the same keys on every machine."""

    def __init__(self, root: bytes) -> None:
        self._root = root

    def hmac_key(self, label: str) -> bytes:
        """32 bytes for one purpose, named by `label`."""
        info = b"todoke/v1/derived|" + label.encode()
        return HKDF(algorithm=SHA256(), length=DERIVED_BYTES, salt=None, info=info).derive(self._root)

    def password(self, role: str) -> str:
        """The password of a database role."""
        return base64.urlsafe_b64encode(self.hmac_key(f"postgres/{role}")).decode().rstrip("=")
