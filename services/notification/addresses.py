"""Mail addresses, webhook URLs and webhook secrets: sealed in the table, plain only on their way out."""

from uuid import UUID

from todoke.relay.rootsecret import Secrets
from todoke.relay.seal import OfficeBinding, Sealer, hashed_key

EPOCH = "settings"
"""Settings are no contents of a month: they are sealed under a key of their own that outlives the months."""


class Addresses:
    """Seals under a key that only this service derives; a row copied to another office or target does not open."""

    def __init__(self, sealer: Sealer, secrets: Secrets) -> None:
        self._sealer = sealer
        self._key = secrets.hmac_key("notification/addresses")
        self._hmac_key = secrets.hmac_key("notification/address-hmac")

    def seal(self, plain: str, office: str, target: UUID, label: str) -> bytes:
        """The text, sealed for this target; `label` is `address` or `secret`."""
        binding = OfficeBinding(office, target, EPOCH)
        return self._sealer.seal(plain.encode(), month_key=self._key, binding=binding, label=label)

    def unseal(self, sealed: bytes, office: str, target: UUID, label: str) -> str:
        """The text. Raises `SealBroken`."""
        binding = OfficeBinding(office, target, EPOCH)
        return self._sealer.unseal(sealed, month_key=self._key, binding=binding, label=label).decode()

    def fingerprint(self, plain: str, office: str, user: str) -> bytes:
        """What tells an owner's addresses apart without saying them (HMAC-SHA256); letter case does not count."""
        return hashed_key(self._hmac_key, office, user, plain.lower())
