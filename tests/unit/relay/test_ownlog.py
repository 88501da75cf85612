"""Which topics cannot be the one that the marks are about, and how a record is read as a line of the journal."""

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from todoke.events import record_of
from todoke.events.examples import AT, EXAMPLES
from todoke.relay.ownlog import Mark, Numbers, is_witness, line_of, mismatch

MARK = Mark(first=2, next=10, event_id="a", append_time=7)


@pytest.mark.parametrize(
    ("mark", "bounds", "why"),
    [
        (MARK, {0: (2, 10)}, None),
        (MARK, {0: (2, 99)}, None),
        (MARK, {0: (2, 9)}, "the log ends before its mark"),
        (MARK, {0: (0, 0)}, "the log ends before its mark"),
        (MARK, {}, "the log ends before its mark"),
        (MARK, {0: (3, 10)}, "the log begins later than before"),
        (MARK, {0: (2, 10), 1: (0, 5)}, None),
        (MARK, {0: (2, 10), 1: (4, 5)}, "the log begins later than before"),
        (Mark(suspect=True), {0: (0, 0)}, "the log went on below its mark"),
        (Mark(), {0: (0, 0)}, None),
    ],
)
def test_a_topic_that_fits_its_marks_is_told_from_another(
    mark: Mark, bounds: dict[int, tuple[int, int]], why: str | None
) -> None:
    assert mismatch({0: mark}, bounds) == why


@pytest.mark.parametrize(
    ("offset", "event_id", "time", "is_it"),
    [(9, b"a", 7, True), (9, b"b", 7, False), (9, b"a", 8, False), (8, b"b", 8, None), (10, b"b", 8, None)],
)
def test_only_the_record_below_the_mark_bears_witness(offset: int, event_id: bytes, time: int, is_it: bool) -> None:
    raw = SimpleNamespace(offset=offset, headers=[("ce_id", event_id)], timestamp=time)
    assert is_witness(MARK, raw) is is_it


def _raw(**changed: Any) -> Any:
    record = record_of(EXAMPLES["Delivered"], "storage", AT, None)
    values = {"partition": 1, "offset": 5, "key": record.key.encode(), "value": record.body}
    return SimpleNamespace(**{**values, "headers": record.headers(), **changed})


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_every_event_is_read_as_the_line_it_was_written_from(name: str) -> None:
    event = EXAMPLES[name]
    record = record_of(event, event.SAID_BY[0], AT, None)
    line = line_of(_raw(headers=record.headers(), key=record.key.encode(), value=record.body))
    assert line is not None
    assert (line.subject_id, line.type_name(), line.event(), line.has_body()) == (
        record.subject_id,
        name,
        event,
        True,
    )


def test_what_is_no_event_is_no_line_and_a_newer_event_is_one_without_meaning() -> None:
    assert line_of(_raw(headers=[])) is None
    assert line_of(_raw(key=None)) is None
    headers = dict(_raw().headers) | {"ce_type": b"jp.todoke.something-new"}
    newer = line_of(_raw(headers=list(headers.items())))
    assert newer is not None
    assert (newer.type_name(), newer.event()) == ("SomethingNew", None)
    broken = line_of(_raw(value=b"{"))
    assert broken is not None
    assert not broken.has_body()


@given(st.sets(st.integers(0, 5000)), st.integers(0, 5000))
def test_numbers_are_a_set(numbers: set[int], asked: int) -> None:
    assert (asked in Numbers(numbers)) is (asked in numbers)
