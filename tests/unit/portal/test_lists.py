"""The addresses of lists, names of downloads, and what a tab has missed."""

import asyncio
import io
import zipfile
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest

from services.portal.downloads import _Pipe, attachment, table
from services.portal.lists import Query, months
from services.portal.live import QUEUE_MAX, Channel, News, Tab

NOW = datetime(2026, 11, 4, 0, 42, tzinfo=UTC)


def read(address: str) -> Query:
    query = urlsplit(address).query
    return Query.of(dict(parse_qsl(query)), parse_qs(query).get("at", []))


def test_an_address_of_a_list_says_all_of_its_query() -> None:
    query = Query(
        month="202611",
        state="open",
        version="202407",
        service="43",
        since="2026-11-01",
        until="2026-11-30",
        findings=True,
        search="0192f0a1-7c7c-7c7c-8c7c-7c7c7c7c7c7c",
        rows=200,
        trail=("eyJhIjox==", "b&c"),
    )
    assert read(query.address("/received")) == query
    assert Query().address("/sent") == "/sent"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("month", "2026-11"),
        ("state", "all"),
        ("version", "1"),
        ("service", "<b>"),
        ("from", "2026-02-30"),
        ("to", "20260201"),
        ("q", "ヒダマリ"),
        ("rows", "100000"),
        ("rows", "５０"),
        ("findings", "yes"),
    ],
)
def test_what_makes_no_sense_in_an_address_is_left_out(name: str, value: str) -> None:
    assert Query.of({name: value}) == Query()


def test_the_months_of_the_filter_are_the_next_one_and_a_year_back() -> None:
    offered = months(NOW, "201901")
    assert offered[:3] == ["202612", "202611", "202610"]
    assert offered[-2:] == ["202511", "201901"]
    assert months(datetime(2026, 12, 31, 15, tzinfo=UTC), "")[0] == "202702"  # in Japan it is January


@pytest.mark.parametrize("name", ['a"; x=y\r\nSet-Cookie: a=b', "予定 2026%0d%0a.pdf", "..\\..\\a.csv", "\u202e"])
def test_no_name_gets_out_of_its_header(name: str) -> None:
    said = attachment(name)["Content-Disposition"]
    assert said.isascii()
    assert said.isprintable()
    assert said.count('"') == 2
    assert said.count(";") == 2


def test_a_saved_table_calculates_nothing() -> None:
    text = table(["a"], [["=1+1"], ["+81"], ["-1"], ["@x"], ["plain"]]).decode("utf-8-sig")
    assert text.splitlines() == ["a", "'=1+1", "'+81", "'-1", "'@x", "plain"]


def test_a_zip_can_be_sent_while_it_is_made() -> None:
    pipe, pieces = _Pipe(), []
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("a/予定.CSV", "b/予定.CSV"):
            archive.writestr(name, b"1" * 5000)
            pieces.append(pipe.taken())
    pieces.append(pipe.taken())
    with zipfile.ZipFile(io.BytesIO(b"".join(pieces))) as made:
        assert made.testzip() is None
        assert made.namelist() == ["a/予定.CSV", "b/予定.CSV"]


def news(number: int) -> News:
    return News("message-state", f"m{number}", f"e{number}", NOW + timedelta(seconds=number))


def test_a_tab_is_told_what_happened_since_its_page_was_made() -> None:
    channel = Channel("9970100018", NOW)
    channel.recent.extend(news(number) for number in range(1, 4))
    later = NOW + timedelta(seconds=10)
    assert [each.message_id for each in channel.missed(None, NOW + timedelta(seconds=2), later)] == ["m2", "m3"]
    assert [each.message_id for each in channel.missed("e2", None, later)] == ["m3"]
    for after, rendered in ((None, NOW - timedelta(seconds=1)), (None, None), ("gone", None)):
        assert [each.event for each in channel.missed(after, rendered, later)] == ["list-changed"]


def test_a_tab_that_does_not_read_is_told_to_ask_for_everything() -> None:
    async def tell() -> list[News | None]:
        tab = Tab(session=None)  # type: ignore[arg-type]  # nobody asks for it here
        for number in range(QUEUE_MAX + 1):
            tab.tell(news(number))
        return [tab.waiting.get_nowait() for _ in range(tab.waiting.qsize())]

    [only] = asyncio.run(tell())
    assert only is not None
    assert (only.event, only.message_id, only.id) == ("list-changed", "", f"e{QUEUE_MAX}")
