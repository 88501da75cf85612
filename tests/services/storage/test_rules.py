"""The pure decisions of storage."""

from datetime import UTC, datetime, timedelta
from urllib.parse import unquote
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.storage import rules

NOW = datetime(2026, 3, 31, 15, 5, tzinfo=UTC)
ETAG = '"abc"'


@given(st.lists(st.uuids(), unique=True), st.integers(0, 10**9), st.integers(-500, 500))
def test_numbers_are_dense_and_their_times_never_go_back(ids: list[UUID], last: int, ahead: int) -> None:
    before = NOW + timedelta(seconds=ahead)
    drawn = rules.numbered(ids, rules.Counter(last, before if last else None), NOW)
    assert list(drawn) == ids
    assert [number.delivery_no for number in drawn.values()] == list(range(last + 1, last + 1 + len(ids)))
    assert all(number.delivered_at >= (before if last else NOW) for number in drawn.values())


@given(st.text(max_size=60), st.integers(0, 200))
def test_no_range_field_whatever_leaves_the_content(field: str, size: int) -> None:
    for text in (field, f"bytes={field}"):
        try:
            found = rules.requested_range(text, None, ETAG, size)
        except rules.Unsatisfiable:
            continue
        assert found is None or 0 <= found.start < found.end <= size


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(1, 10**6))
def test_a_range_is_what_it_says(first: int, length: int, size: int) -> None:
    field = f"bytes={first}-{first + length}"
    if first >= size:
        with pytest.raises(rules.Unsatisfiable):
            rules.requested_range(field, None, ETAG, size)
    else:
        assert rules.requested_range(field, None, ETAG, size) == rules.ByteRange(first, min(size, first + length + 1))


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1))
def test_any_name_becomes_one_header_line_that_says_it_again(name: str) -> None:
    field = rules.content_disposition(name)
    assert field.isascii()
    assert field.isprintable()
    assert unquote(field.partition("filename*=UTF-8''")[2]) == name
    plain = field.partition('filename="')[2].partition('"; filename*=')[0]
    assert '"' not in plain
    assert "\\" not in plain


def test_hashes_are_compared_as_a_whole() -> None:
    assert rules.same_hashes(["AA", "bb"], ["aa", "bb"])
    assert rules.same_hashes([], [])
    for given_ in (["aa"], ["bb", "aa"], ["aa\nbb"], ["aa", "bb", ""], [], ["aa", "bé"]):
        assert not rules.same_hashes(given_, ["aa", "bb"])


def test_if_none_match_is_a_list_of_tags_or_a_star() -> None:
    for field in ("*", '"abc"', 'W/"abc"', '"x", "abc"', '"x","abc" '):
        assert rules.names_this(field, ETAG)
    for other in (None, "", "abc", '"abcd"', '"x", "y"'):
        assert not rules.names_this(other, ETAG)


def test_times_are_shown_in_japan() -> None:
    assert rules.shown_time(NOW) == "4月1日 0:05"
