"""Secrets that are told once, on paper or on a screen: made of characters that nobody mistakes, kept as hashes."""

from dataclasses import dataclass

from services.registry.passwords import Passwords
from todoke.relay.clock import Ids

CAPITALS = "ABCDEFGHJKLMNPQRSTUVWXYZ"
SMALL = "abcdefghijkmnpqrstuvwxyz"
DIGITS = "23456789"
SIGNS = "!@#$%^&*~+"
"""The signs that stand in the head of a letter; none is mistaken for another, or for a letter."""

CLASSES = (CAPITALS, SMALL, DIGITS, SIGNS)

FIRST_PASSWORD_CHARACTERS = 14
"""An office's first password, or a person's: as long as the letter's first grid tells."""

CERTIFICATE_SECRET_CHARACTERS = 16

_DRAW_BYTES = 4
"""2^32 over the 66 characters: what is left over makes none of them likelier by more than one part in 60 million."""


@dataclass(frozen=True, slots=True)
class Secrets:
    """Makes secrets and their hashes."""

    ids: Ids
    passwords: Passwords

    def made(self, length: int) -> str:
        """A secret in which each of the four classes of characters stands at least once (length 4 and more)."""
        every = "".join(CLASSES)
        while True:
            text = "".join(every[self._below(len(every))] for _ in range(length))
            if all(any(each in kind for each in text) for kind in CLASSES):
                return text

    async def hash(self, secret: str) -> str:
        """Its argon2id hash."""
        return await self.passwords.hash(secret)

    def _below(self, bound: int) -> int:
        return int.from_bytes(self.ids.secret(_DRAW_BYTES)) % bound
