"""How fast and how lean the whole check of real sets is, beside plain cp932 decoding and csv reading in the same run.

Run ``python -m bench.careplan`` from the root. Prints one table; the marks are those of issue 3.
"""

from __future__ import annotations

import csv
import io
import time
import tracemalloc
from typing import TYPE_CHECKING

import careplan
from careplan import Context, DataFile, OfficeFacts

if TYPE_CHECKING:
    from collections.abc import Callable

FILE_BYTES = 16_384
LARGE_BYTES = 10 * 1024 * 1024
ROUNDS = 7
FOLDERS = ("202407/plan_67_to_provider_a", "202407/plan_123_to_provider_a", "202407/results_from_provider_a")


def grown(name: str, data: bytes, copies: int) -> DataFile:
    """A file with the sample's rows for so many times the persons."""
    parsed = careplan.parse_name(name)
    assert parsed is not None
    rows = careplan.read_rows(DataFile(name, data)).rows
    persons = sorted({row[2] for row in rows})
    more = []
    for copy in range(copies):
        numbers = {person: f"{person[0]}{int(person[1:]) + 100 * copy:09d}" for person in persons}
        more += [(*row[:2], numbers[row[2]], *row[3:]) for row in rows]
    return DataFile(name, careplan.write_rows(parsed.kind, parsed.csv_version, more))


def context_of(name: str) -> Context:
    """The offices that the name tells."""
    parsed = careplan.parse_name(name)
    assert parsed is not None
    return Context(OfficeFacts(parsed.sender_office, frozenset()), OfficeFacts(parsed.recipient_office, frozenset()))


def best(work: Callable[[], object]) -> float:
    """CPU seconds of the fastest of some rounds."""
    times = []
    for _ in range(ROUNDS):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def plain(files: list[DataFile]) -> int:
    """What anybody would do to only read the cells; the number of rows."""
    return sum(len(list(csv.reader(io.StringIO(file.data.decode("cp932"), newline="")))) for file in files)


def speed(folder: str) -> None:
    """One line of the table: a set of files of 16 KB on average, checked as a unit."""
    members = careplan.sample_sets()[folder]
    copies = FILE_BYTES * len(members) // sum(len(data) for _, data in members)
    files = [grown(name, data, copies) for name, data in members]
    context = context_of(files[0].name)
    report = careplan.check_unit(files, context)
    assert not report.errors, report.findings[0]
    sets = [files] * 20
    checked = best(lambda: [careplan.check_unit(each, context) for each in sets])
    read = best(lambda: [plain(each) for each in sets])
    volume = sum(len(file.data) for file in files) * len(sets)
    rate = volume / FILE_BYTES / checked
    print(f"{folder:34} {rate:9.0f} files/s of 16 KB (mark 1000)   {read / checked:5.2f} of plain reading (mark 0.2)")


def memory(folder: str) -> None:
    """One line of the table: a file of 10 MiB."""
    name, data = next(iter(careplan.sample_sets()[folder]))
    file = grown(name, data, LARGE_BYTES // len(data))
    context = context_of(name)
    careplan.check_unit([DataFile(name, data)], context)
    tracemalloc.start()
    careplan.check_unit([file], context)
    peak = tracemalloc.get_traced_memory()[1] + len(file.data)
    tracemalloc.stop()
    print(f"{folder:34} {peak / len(file.data):9.1f} x the file of {len(file.data) / 1024 / 1024:.1f} MiB (mark 10)")


def main() -> None:
    """Print the table."""
    for folder in FOLDERS:
        speed(folder)
    for folder in ("202407/results_from_provider_a", "202407/delete_form1", "202407/prevention_plan"):
        memory(folder)


if __name__ == "__main__":
    main()
