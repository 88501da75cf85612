"""The sample message sets: invented persons and offices (prefecture code 99 does not exist), all of them valid."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

from careplan.names import parse_name
from careplan.numbers import Sequence

if TYPE_CHECKING:
    from collections.abc import Iterator

Files = list[tuple[str, bytes]]


def sample_sets() -> dict[str, Files]:
    """Every sample set: ``VERSION/FOLDER`` → its files, name and bytes, in order of name."""
    root = files("careplan").joinpath("samples")
    return {
        f"{version.name}/{folder.name}": [
            (file.name, file.read_bytes()) for file in sorted(folder.iterdir(), key=lambda file: file.name)
        ]
        for version in sorted(root.iterdir(), key=lambda folder: folder.name)
        for folder in sorted(version.iterdir(), key=lambda folder: folder.name)
    }


def fresh_sample_sets(sequence_start: str) -> Iterator[tuple[str, Files]]:
    """The sample sets with new sequences, one second apart from ``sequence_start`` on, in the order of the old ones.

    In the samples the sequence stands in file names only, so the bytes stay as they are.

    Raises:
        ValueError: ``sequence_start`` is no real time YYYYMMDDHHMMSS, or too near to the end of the calendar.
    """
    start = Sequence(sequence_start)
    if not start.is_time:
        raise ValueError("the first sequence must be a real time YYYYMMDDHHMMSS")
    in_order = sorted(sample_sets().items(), key=lambda item: (_sequence(item[1]), item[0]))
    for number, (folder, members) in enumerate(in_order):
        sequence = start.later(number)
        yield folder, [(name.replace(_sequence(members), sequence), data) for name, data in members]


def _sequence(members: Files) -> str:
    name = parse_name(members[0][0])
    if name is None:
        raise ValueError("a sample has a name that breaks the grammar")
    return name.sequence
