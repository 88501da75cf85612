"""What operators change, as events: the word that every change needs, sealed before and said inside its transaction."""

import contextlib
from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints

from todoke.events import Actor, MessageEvent, OperatorActed
from todoke.relay.access import Operator
from todoke.relay.manifest import REASON_LABEL, seal_text
from todoke.relay.objects import ObjectExists
from todoke.relay.seal import Binding, Bound, KeyEpochGone, KeyEpochUnknown, OfficeBinding, epoch_of
from todoke.relay.service import Runtime

REASON_CHARACTERS_MAX = 200
"""As long as the reason of a recall."""

TICKET = r"^[0-9A-Za-z][0-9A-Za-z._/#-]{0,63}$"
"""A ticket's number in whatever system there is: it stands in clear, so it has no room for a sentence."""


class Word(BaseModel):
    """What an operator says with every change: why (sealed), and the ticket that asked for it (plain)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    reason: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=REASON_CHARACTERS_MAX)]
    ticket: Annotated[str, StringConstraints(pattern=TICKET)]


def actor_of(operator: Operator) -> Actor:
    """The operator as events name one."""
    return Actor(kind="operator", id=operator.user_id)


class Acts:
    """Makes the events of what operators do to one service.

    Ask for an event before the transaction that says it: sealing may have to ask object storage for the month's key.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._service = runtime.name
        self._ports = runtime.ports
        self._sealer = runtime.seal
        self._keys = runtime.keys
        self._published = runtime.key_objects
        self._root = runtime.root

    async def noted(
        self, by: Operator | Actor, word: Word, act: str, thing: str, *, office: str | None = None
    ) -> OperatorActed:
        """The event of an act (`parked.retry`) on a thing: a message id, an office number, or this service's name.

        An `Actor` is given where nobody is logged in: on the machine itself. Raises `ObjectsAway`.
        """
        act_id = self._ports.ids.uuid7()
        binding = OfficeBinding(office or self._service, act_id, epoch_of(act_id))
        return OperatorActed(
            actor=actor_of(by) if isinstance(by, Operator) else by,
            service=self._service,
            act=act,
            act_id=act_id,
            object=thing,
            office=office,
            ticket=word.ticket,
            reason_sealed=self._sealed(word, await self._month_key(binding.epoch), binding),
            acted_at=self._ports.clock.now(),
        )

    async def sealed_for(self, word: Word, about: MessageEvent) -> str | None:
        """The reason as an event of this message carries it; None when the month of the message has no key any more.

        Raises `ObjectsAway`.
        """
        binding = Binding(about.message_id, about.sender, about.recipient, epoch_of(about.message_id))
        try:
            return self._sealed(word, await self._keys.key(binding.epoch), binding)
        except (KeyEpochGone, KeyEpochUnknown):
            return None

    def _sealed(self, word: Word, month_key: bytes, binding: Bound) -> str:
        return seal_text(word.reason, self._sealer, month_key=month_key, binding=binding, label=REASON_LABEL)

    async def _month_key(self, epoch: str) -> bytes:
        """The month's key. Operators act in months in which nobody has sent anything yet (docs/decisions/0001)."""
        try:
            return await self._keys.key(epoch)
        except KeyEpochUnknown:
            with contextlib.suppress(ObjectExists):  # ingest, or another operator, was first
                await self._published.publish(epoch, self._root.new_month_key(epoch))
            return await self._keys.key(epoch)
