"""Message sets of a real size for any two offices, made from a valid sample by giving each copy another person."""

import dataclasses
from collections.abc import Iterator

from careplan.samples import sample_sets


@dataclasses.dataclass(frozen=True, slots=True)
class _Kind:
    """A sample set, whose offices are replaced; so many copies of its rows are about 10 KB, as the peer's body."""

    sample: str
    sender: bytes
    recipient: bytes
    persons_in: str
    copies: int


_PLANS = _Kind("202407/plan_67_to_provider_a", b"9970100018", b"9970100117", "UPPLAN", 2)
_ACTUALS = _Kind("202407/results_from_provider_a", b"9970100117", b"9970100018", "UPJSK", 4)

Sets = Iterator[list[tuple[str, bytes]]]
"""Messages as lists of file names and contents."""


def plan_sets(sender: str, recipient: str, first_sequence: int) -> Sets:
    """An endless row of messages of three files (form 6, form 7, supplement) with rising sequences."""
    return _sets(_PLANS, sender, recipient, first_sequence)


def actuals_sets(sender: str, recipient: str, first_sequence: int) -> Sets:
    """The same, of one file (what a service office really did), from a service office to a care-management office."""
    return _sets(_ACTUALS, sender, recipient, first_sequence)


def _sets(kind: _Kind, sender: str, recipient: str, first_sequence: int) -> Sets:
    files = sample_sets()[kind.sample]
    persons = set().union(*(_persons(data) for name, data in files if name.startswith(kind.persons_in)))
    old = files[0][0].rpartition("_")[2].partition(".")[0]
    bodies = {name: _enlarged(data, kind, sender, recipient, persons) for name, data in files}
    sequence = first_sequence
    while True:
        yield [(_named(name, kind, sender, recipient, old, str(sequence)), body) for name, body in bodies.items()]
        sequence += 1


def office_numbers(count: int) -> list[str]:
    """Numbers of practice offices that are nobody's: prefecture 99 does not exist."""
    return [f"9981{number:06d}" for number in range(count)]


def _named(name: str, kind: _Kind, sender: str, recipient: str, old: str, sequence: str) -> str:
    changed = name.replace(kind.sender.decode(), sender).replace(kind.recipient.decode(), recipient)
    return changed.replace(old, sequence)


def _enlarged(data: bytes, kind: _Kind, sender: str, recipient: str, persons: set[bytes]) -> bytes:
    own = data.replace(kind.sender, sender.encode()).replace(kind.recipient, recipient.encode())
    copies = [own]
    for copy in range(1, kind.copies):
        other = own
        for person in persons:
            other = other.replace(person, _next_person(person, copy))
        copies.append(other)
    return b"".join(copies)


def _next_person(person: bytes, copy: int) -> bytes:
    """Another insured number of the same shape: ten digits, or H and nine."""
    head = person[:1] if person.startswith(b"H") else b""
    digits = len(person) - len(head)
    return b"%s%0*d" % (head, digits, (int(person[len(head) :]) + copy * 1_000_003) % 10**digits)


def _persons(data: bytes) -> set[bytes]:
    """The insured numbers of a file whose third item they are."""
    return {row.split(b",")[2].strip(b'"') for row in data.splitlines() if row.count(b",") > 20}  # noqa: PLR2004 (rows, not lines of free text)
