"""Message sets of a real size for any two offices, made from a valid sample by giving each copy another person."""

from collections.abc import Iterator

from careplan.samples import sample_sets

COPIES = 2
"""Copies of the sample's rows: together about 10 KB, as the peer's bodies are."""

_SAMPLE = "202407/plan_67_to_provider_a"
_SENDER, _RECIPIENT = b"9970100018", b"9970100117"


def plan_sets(sender: str, recipient: str, first_sequence: int) -> Iterator[list[tuple[str, bytes]]]:
    """An endless row of messages (form 6, form 7, supplement) with rising sequences."""
    files = sample_sets()[_SAMPLE]
    persons = set().union(*(_persons(data) for name, data in files if name.startswith("UPPLAN")))
    old = files[0][0].rpartition("_")[2].partition(".")[0]
    bodies = {name: _enlarged(data, sender, recipient, persons) for name, data in files}
    sequence = first_sequence
    while True:
        yield [(_named(name, sender, recipient, old, str(sequence)), body) for name, body in bodies.items()]
        sequence += 1


def office_numbers(count: int) -> list[str]:
    """Numbers of practice offices that are nobody's: prefecture 99 does not exist."""
    return [f"9981{number:06d}" for number in range(count)]


def _named(name: str, sender: str, recipient: str, old: str, sequence: str) -> str:
    changed = name.replace(_SENDER.decode(), sender).replace(_RECIPIENT.decode(), recipient)
    return changed.replace(old, sequence)


def _enlarged(data: bytes, sender: str, recipient: str, persons: set[bytes]) -> bytes:
    own = data.replace(_SENDER, sender.encode()).replace(_RECIPIENT, recipient.encode())
    copies = [own]
    for copy in range(1, COPIES):
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
    return {row.split(b",")[2].strip(b'"') for row in data.splitlines() if row.count(b",") > 20}  # noqa: PLR2004
