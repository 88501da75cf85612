"""Every event has an example and a golden file per version, and golden files decode for ever."""

import json
from datetime import UTC, datetime
from pathlib import Path
from types import NoneType
from typing import Literal, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from todoke.events import (
    CATALOGUE,
    Headers,
    MessageHeld,
    MessageSubmitted,
    Undecodable,
    body_of,
    decode,
    read_headers,
    record_of,
    upcasts,
)
from todoke.events.examples import AT, EXAMPLES, MESSAGE
from todoke.events.upcasts import Body

GOLDEN = Path(__file__).parents[2] / "golden" / "events"


def test_every_event_has_an_example() -> None:
    assert set(EXAMPLES) == set(CATALOGUE)


@pytest.mark.parametrize("name", sorted(CATALOGUE))
def test_an_example_shows_every_field(name: str) -> None:
    event = EXAMPLES[name]
    assert set(type(event).model_fields) == event.model_fields_set


@pytest.mark.parametrize("name", sorted(CATALOGUE))
def test_the_newest_golden_file_is_the_example(name: str) -> None:
    golden = GOLDEN / f"{name}.v{CATALOGUE[name].VERSION}.json"
    assert json.loads(golden.read_text(encoding="utf-8")) == json.loads(body_of(EXAMPLES[name]))


@pytest.mark.parametrize("golden", sorted(GOLDEN.glob("*.json")), ids=lambda path: path.stem)
def test_every_golden_file_decodes(golden: Path) -> None:
    name, _, version = golden.stem.rpartition(".v")
    event = decode(_headers(name, int(version)), golden.read_bytes())
    assert type(event) is CATALOGUE[name]


@pytest.mark.parametrize("name", sorted(CATALOGUE))
def test_a_record_reads_back_as_it_was_said(name: str) -> None:
    event = EXAMPLES[name]
    record = record_of(event, event.SAID_BY[0], AT, "00-" + "1" * 32 + "-" + "2" * 16 + "-01")
    headers = read_headers(record.headers())
    assert (headers.event_id, headers.subject, headers.time) == (record.event_id, event.subject(), AT)
    assert decode(headers, record.body) == event


@pytest.mark.parametrize("name", sorted(CATALOGUE))
def test_what_may_be_nothing_may_be_left_out_of_a_body(name: str) -> None:
    event = EXAMPLES[name]
    none_allowed = [field for field, info in type(event).model_fields.items() if NoneType in get_args(info.annotation)]
    bare = event.model_copy(update=dict.fromkeys(none_allowed))
    assert decode(_headers(name, event.VERSION), body_of(bare)) == bare


def test_the_same_fact_has_the_same_id_and_another_service_says_another() -> None:
    held = EXAMPLES["MessageHeld"]
    assert held.event_id("storage") == held.event_id("storage")
    assert held.event_id("storage") != held.event_id("routing")


def test_a_service_says_only_what_is_its_own() -> None:
    with pytest.raises(ValueError, match="routing does not say MessageSubmitted"):
        record_of(EXAMPLES["MessageSubmitted"], "routing", AT, None)


def test_a_newer_field_is_kept() -> None:
    body = json.loads(body_of(EXAMPLES["ContentOpened"])) | {"later": "kept"}
    event = decode(_headers("ContentOpened", 1), json.dumps(body).encode())
    assert json.loads(body_of(event))["later"] == "kept"


@pytest.mark.parametrize(
    ("name", "version", "body"),
    [("ContentOpened", 99, b"{}"), ("ContentOpened", 1, b"{"), ("ContentOpened", 1, b"[]"), ("Nothing", 1, b"{}")],
)
def test_what_cannot_be_read_says_so_without_repeating_it(name: str, version: int, body: bytes) -> None:
    with pytest.raises(Undecodable):
        decode(_headers(name, version), body)


def _causes_were_numbers(body: Body) -> Body:
    return {**body, "cause": ("parked", "scan")[body["cause"]]}


def _times_were_called_at(body: Body) -> Body:
    return {**{name: value for name, value in body.items() if name != "at"}, "held_at": body["at"]}


@given(st.integers(1, 3), st.sampled_from(["parked", "scan"]), st.datetimes(timezones=st.just(UTC)), st.integers(1, 99))
def test_an_event_of_any_older_version_is_lifted_step_by_step(
    version: int, cause: Literal["parked", "scan"], held_at: datetime, nth: int
) -> None:
    held = EXAMPLES["MessageHeld"].model_copy(update={"cause": cause, "held_at": held_at, "nth": nth})
    body = json.loads(body_of(held))
    if version <= 2:
        body["at"] = body.pop("held_at")
    if version == 1:
        body["cause"] = ("parked", "scan").index(cause)
    steps = {("MessageHeld", 1): _causes_were_numbers, ("MessageHeld", 2): _times_were_called_at}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MessageHeld, "VERSION", 3)
        patch.setattr(upcasts, "UPCASTS", steps)
        assert decode(_headers("MessageHeld", version), json.dumps(body).encode()) == held


def test_a_body_over_the_limit_is_never_said() -> None:
    event = EXAMPLES["MessageSubmitted"]
    assert isinstance(event, MessageSubmitted)
    big = event.model_copy(update={"receipt_sealed": "x" * 70_000})
    with pytest.raises(ValueError, match="over 65536"):
        record_of(big, "ingest", AT, None)


def _headers(name: str, version: int) -> Headers:
    wire = CATALOGUE[name].wire_type() if name in CATALOGUE else "jp.todoke.nothing"
    return Headers(MESSAGE, wire, version, "test", str(MESSAGE), AT, None)
