"""Which troubles pass by themselves and which never do: the consumer decides by these."""


class Transient(Exception):  # noqa: N818 (a property of the trouble, not an error of its own)
    """An engine or a neighbour is away: roll back, wait, try again, for ever."""


class NotYet(Transient):
    """Something this record builds on has not been heard yet; waiting is normal and no alarm."""


class Poison(Exception):  # noqa: N818
    """This record can never be handled: park its subject. The text must hold no personal data."""
