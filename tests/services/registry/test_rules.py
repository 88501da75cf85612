"""The registry's pure decisions: ids, locks, passwords, networks."""

from datetime import UTC, datetime, timedelta

import pytest
from fastapi import Request
from hypothesis import given
from hypothesis import strategies as st

from services.registry.rules import (
    LOCK_FIRST,
    LOCK_LONGEST,
    c_id,
    kj_id,
    lock_for,
    network_lock_for,
    newest_per_office,
    searchable,
    typed_id,
)
from todoke.relay.network import UNKNOWN, Networks


@pytest.mark.parametrize(("serial", "expected"), [(1, "c0000000018"), (0, "c0000000000"), (19, "c0000000190")])
def test_c_id_has_nine_digits_and_a_check_digit(serial: int, expected: str) -> None:
    assert c_id(serial) == expected


@given(st.integers(min_value=0, max_value=999_999_999), st.integers(min_value=0, max_value=8), st.integers(1, 9))
def test_one_wrong_digit_breaks_the_check(serial: int, place: int, shift: int) -> None:
    good = c_id(serial)[1:]
    wrong = good[:place] + str((int(good[place]) + shift) % 10) + good[place + 1 : 9]
    assert c_id(int(wrong))[1:] != wrong + good[9]


def test_too_large_serial_is_refused() -> None:
    with pytest.raises(ValueError, match="nine digits"):
        c_id(1_000_000_000)


def test_kj_id_has_fourteen_characters() -> None:
    assert kj_id("99A0100019") == "KJ9999A0100019"


def test_locks_begin_at_ten_failures_double_and_end() -> None:
    assert lock_for(9) is None
    assert lock_for(10) == LOCK_FIRST
    assert lock_for(11) == 2 * LOCK_FIRST
    assert lock_for(10_000) == LOCK_LONGEST
    assert network_lock_for(999) is None
    assert network_lock_for(1000) is not None


def test_search_text_is_folded() -> None:
    assert searchable("９９７０ ", "ﾃｽﾄ　Ａｂ") == "9970テストab"
    assert typed_id("　ＫＪ９９ ") == "KJ99"


def test_newest_version_of_each_office_wins_in_any_order() -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    heard = [("A", "202407", at + timedelta(1)), ("A", "202208", at), ("B", "202208", at)]
    expected = {"A": ("202407", at + timedelta(1)), "B": ("202208", at)}
    assert newest_per_office(heard) == newest_per_office(heard[::-1]) == expected


@pytest.mark.parametrize(
    ("trusted", "peer", "forwarded", "network"),
    [
        (None, "198.51.100.7", ["for=192.0.2.1"], "198.51.100.0/24"),
        ("10.0.0.5", "10.0.0.5", ["for=192.0.2.1"], "192.0.2.0/24"),
        ("10.0.0.5", "10.0.0.5", ["for=203.0.113.1, for=192.0.2.1;proto=https"], "192.0.2.0/24"),
        ("10.0.0.0/24", "10.0.0.5", ["for=192.0.2.1", 'proto=https;for="10.0.0.6:81"'], "192.0.2.0/24"),
        ("10.0.0.5", "10.0.0.5", ['for="[2001:db8:1:2ff::1]:4711"'], "2001:db8:1:200::/56"),
        ("10.0.0.5", "10.0.0.5", ["for=_hidden"], UNKNOWN),
        ("10.0.0.5", "10.0.0.5", [], "10.0.0.0/24"),
        (None, "::ffff:192.0.2.9", [], "192.0.2.0/24"),
        (None, "fe80::1%eth0", [], "fe80::/56"),
    ],
)
def test_forwarded_is_believed_from_the_front_only(
    trusted: str | None, peer: str, forwarded: list[str], network: str
) -> None:
    headers = [(b"forwarded", value.encode()) for value in forwarded]
    request = Request({"type": "http", "client": (peer, 1), "headers": headers})
    assert Networks(trusted).of(request) == network


PORTAL = b"p" * 32


@pytest.mark.parametrize(
    ("shown", "peer", "forwarded", "network"),
    [
        (PORTAL.hex(), "127.0.0.1", "for=203.0.113.9", "203.0.113.0/24"),
        (PORTAL.hex(), "10.0.0.2", "for=198.51.100.7, for=203.0.113.9, for=10.0.9.9", "203.0.113.0/24"),
        (PORTAL.hex(), "127.0.0.1", "for=198.51.100.7, for=203.0.113.9", "203.0.113.0/24"),
        (PORTAL.hex(), "127.0.0.1", "", "127.0.0.0/24"),
        ("00" * 32, "127.0.0.1", "for=203.0.113.9", "127.0.0.0/24"),
        ("ä", "127.0.0.1", "for=203.0.113.9", "127.0.0.0/24"),
        ("", "127.0.0.1", "for=203.0.113.9", "127.0.0.0/24"),
    ],
)
def test_the_portal_is_believed_about_its_browser_by_its_secret_and_nobody_else(
    shown: str, peer: str, forwarded: str, network: str
) -> None:
    """One hop further than without: the front's word about the portal, then the portal's about the browser."""
    headers = [(b"todoke-portal", shown.encode())]
    if forwarded:
        headers.append((b"forwarded", forwarded.encode()))
    request = Request({"type": "http", "client": (peer, 1), "headers": headers})
    assert Networks("10.0.0.2", PORTAL).of(request) == network
