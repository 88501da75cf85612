"""Whether an accepted message may go to its recipient: a pure decision."""

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

from todoke.events import MessageAccepted, OfficeFacts
from todoke.relay import policy
from todoke.relay.problem import Problem

ROUTED = "routed"
"""The verdict on a message that may go; every other verdict is the code of a refusal."""

UNKNOWN_OFFICE = "TDK-UNKNOWN-OFFICE"


class OfficeKnown(Protocol):
    """An office's row in the directory copy."""

    @property
    def facts(self) -> OfficeFacts:
        """The public facts."""
        ...


def verdict(accepted: MessageAccepted, offices: Mapping[str, OfficeKnown]) -> str:
    """`ROUTED`, or the TDK code that says why the message goes nowhere.

    `offices` holds the rows of both sides as far as they are known. What depends on time (the licence) is judged at the
    time of submission, in Japan: a message handed in on the licence's last evening is not refused because it was
    handled after midnight.
    """
    sender, recipient = offices.get(accepted.sender), offices.get(accepted.recipient)
    if sender is None or recipient is None:
        return UNKNOWN_OFFICE
    return _refusal(sender.facts, recipient.facts, accepted.package.submitted_at) or ROUTED


def _refusal(sender: OfficeFacts, recipient: OfficeFacts, at: datetime) -> str | None:
    try:
        policy.may_send(sender, at)
        policy.may_be_sent_to(recipient, at)
    except Problem as refused:
        return refused.code
    return None
