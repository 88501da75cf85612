"""Which troubles pass by themselves and which never do: the consumer decides by these."""

from typing import Literal


class Transient(Exception):  # noqa: N818 (a property of the trouble, not an error of its own)
    """An engine or a neighbour is away: roll back, wait, try again, for ever."""


class NotYet(Transient):
    """Something this record builds on has not been heard yet; waiting is normal and no alarm."""


class SetAside(Exception):  # noqa: N818 (what is to be done with the record)
    """This record cannot be handled now, and its partition must not wait: its subject is held and comes again alone.

    `cause` is a `MessageHeld.cause`; whoever raises it has a timer that calls `parking.try_set_aside`.
    """

    def __init__(self, cause: Literal["scan"], text: str) -> None:
        super().__init__(text)
        self.cause: Literal["scan"] = cause


class Poison(Exception):  # noqa: N818 (named for what it is: of the record, not of the program)
    """This record can never be handled: park its subject. The text must hold no personal data."""
