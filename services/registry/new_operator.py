"""An operator who did not exist before: made on the machine that holds the root key, by whoever runs it."""

import base64
import dataclasses
import re
from typing import Final

import pyotp

from services.registry.operators import TOTP_LABEL, SecondFactors
from services.registry.passwords import Argon2Cost, Passwords
from todoke.events import Actor
from todoke.relay.acts import Acts, Word
from todoke.relay.postgres import queries
from todoke.relay.service import Runtime

_store = queries("services.registry")

USER_ID: Final = re.compile(r"[a-z0-9][a-z0-9._-]{2,39}")
"""What operators type at the login, and what events say of who acted: no name of a person."""

PASSWORD_BYTES: Final = 10
"""80 bits: 16 characters."""

GROUP_CHARACTERS: Final = 4

TOTP_BYTES: Final = 20
"""RFC 4226 section 4: 160 bits."""

ISSUER: Final = "Todoke"
"""What an authenticator shows beside the ID."""


class NotAnId(ValueError):  # noqa: N818 (named for what was given)
    """The ID is none that an operator may have."""


class OperatorThere(Exception):  # noqa: N818 (named for what was found)
    """There is an operator of this ID already, or was."""


@dataclasses.dataclass(frozen=True, slots=True)
class NewOperator:
    """What a new operator needs for the first login; it is kept nowhere else."""

    user_id: str
    password: str
    totp_secret: str

    @property
    def totp_address(self) -> str:
        """The secret as an authenticator reads it from a QR code (`otpauth:`)."""
        return pyotp.TOTP(self.totp_secret).provisioning_uri(name=self.user_id, issuer_name=ISSUER)


async def add_operator(runtime: Runtime, user_id: str, word: Word) -> NewOperator:
    """Register an operator with a drawn password and a drawn secret of the second factor.

    Raises:
        NotAnId: other than `USER_ID`.
        OperatorThere: nothing is changed.
        DatabaseAway, ObjectsAway: try again.
    """
    if not USER_ID.fullmatch(user_id):
        raise NotAnId(user_id)
    made = NewOperator(
        user_id, _password(runtime.ports.ids.secret(PASSWORD_BYTES)), _base32(runtime.ports.ids.secret(TOTP_BYTES))
    )
    passwords = Passwords(runtime.ports.ids, Argon2Cost())
    try:
        stored = await passwords.hash(made.password)
    finally:
        await passwords.close()
    factors = SecondFactors(runtime.secrets.hmac_key(TOTP_LABEL), runtime.ports.ids)
    sealed = factors.seal(user_id, made.totp_secret)
    machine = Actor(kind="system", id=runtime.name)  # who holds the root key need not be an operator
    said = await Acts(runtime).noted(machine, word, "operator.add", user_id)
    async with runtime.db.worker() as tx:
        if not await _store.insert_operator(tx.db, id=user_id, password_hash=stored, totp_sealed=sealed):
            raise OperatorThere(user_id)
        tx.say(said)
    return made


def _base32(drawn: bytes) -> str:
    return base64.b32encode(drawn).decode("ascii")


def _password(drawn: bytes) -> str:
    letters = _base32(drawn).lower()
    return "-".join(letters[at : at + GROUP_CHARACTERS] for at in range(0, len(letters), GROUP_CHARACTERS))
