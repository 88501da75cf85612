"""Files and ZIP: the very bytes, ranges, and what is written down before they go out."""

import io
import zipfile
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from todoke.events import ContentOpened
from todoke.relay.testing import Stage, journalled

SENDER, RECIPIENT, STRANGER = "9970100018", "9970100117", "9970100216"
CSV_NAME = "UPPLAN_202509_提供票.CSV"
FILES = {CSV_NAME: bytes(range(100)), "計画書 1.pdf": b"%PDF-1.7 practice\n", "写真.jpg": b"\xff\xd8\xff\xd9"}


@pytest.fixture
async def sent(storage: Stage, post: Any) -> Any:
    """A delivered message of three files."""
    made = await post.send(SENDER, RECIPIENT, FILES)
    await storage.hear(made.submitted)
    await storage.hear(made.routed)
    return made


async def said(storage: Stage) -> list[str]:
    async with storage.db.worker() as tx:
        return [kind for kind, _ in await journalled(tx)]


async def test_recipient_and_sender_get_the_very_bytes(sent: Any, office: Callable[..., Any]) -> None:
    for number in (RECIPIENT, SENDER):
        for n, (data, sha256) in enumerate(zip(FILES.values(), sent.hashes, strict=True), 1):
            answer = await office(number).get(f"{sent.url}/files/{n}")
            assert answer.status_code == 200
            assert answer.content == data
            assert answer.headers["etag"] == f'"{sha256}"'
            assert answer.headers["accept-ranges"] == "bytes"
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["cache-control"] == "no-store"


async def test_each_kind_has_its_media_type_and_its_name(sent: Any, office: Callable[..., Any]) -> None:
    answers = [await office(RECIPIENT).get(f"{sent.url}/files/{n}") for n in (1, 2, 3)]
    assert [answer.headers["content-type"] for answer in answers] == [
        "text/csv; charset=Windows-31J",
        "application/pdf",
        "image/jpeg",
    ]
    assert answers[1].headers["content-disposition"] == (
        "attachment; filename=\"___ 1.pdf\"; filename*=UTF-8''%E8%A8%88%E7%94%BB%E6%9B%B8%201.pdf"
    )


RANGES: list[tuple[str, int, bytes, str | None]] = [
    ("bytes=0-9", 206, bytes(range(10)), "bytes 0-9/100"),
    ("bytes=90-", 206, bytes(range(90, 100)), "bytes 90-99/100"),
    ("bytes=-5", 206, bytes(range(95, 100)), "bytes 95-99/100"),
    ("bytes=-500", 206, bytes(range(100)), "bytes 0-99/100"),
    ("bytes=99-99", 206, b"\x63", "bytes 99-99/100"),
    ("bytes=50-4000", 206, bytes(range(50, 100)), "bytes 50-99/100"),
    ("Bytes=0-0", 206, b"\x00", "bytes 0-0/100"),
    ("bytes=0-1,5-6", 200, bytes(range(100)), None),
    ("bytes=9-3", 200, bytes(range(100)), None),
    ("lines=1-2", 200, bytes(range(100)), None),
    ("bytes=-", 200, bytes(range(100)), None),
    ("bytes=x-y", 200, bytes(range(100)), None),
]


async def test_a_range_is_answered_as_http_says(sent: Any, office: Callable[..., Any]) -> None:
    for field, status, content, described in RANGES:
        answer = await office(RECIPIENT).get(f"{sent.url}/files/1", Range=field)
        assert (answer.status_code, answer.content) == (status, content), field
        assert answer.headers.get("content-range") == described
        assert answer.headers["content-length"] == str(len(content))


async def test_a_range_behind_the_end_is_416_and_opens_nothing(
    storage: Stage, sent: Any, office: Callable[..., Any]
) -> None:
    for field in ("bytes=100-", "bytes=4000-5000", "bytes=-0"):
        answer = await office(RECIPIENT).get(f"{sent.url}/files/1", Range=field)
        assert (answer.status_code, answer.json()["code"]) == (416, "TDK-RANGE"), field
        assert answer.headers["content-range"] == "bytes */100"
    assert "ContentOpened" not in await said(storage)


async def test_if_range_and_if_none_match(storage: Stage, sent: Any, office: Callable[..., Any]) -> None:
    etag, url = f'"{sent.hashes[0]}"', f"{sent.url}/files/1"
    for field in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        answer = await office(RECIPIENT).get(url, **{"If-None-Match": field})
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", etag)
    assert "ContentOpened" not in await said(storage)
    whole = await office(RECIPIENT).get(url, **{"If-None-Match": '"other"'})
    assert whole.status_code == 200
    for field, status in ((etag, 206), ('"other"', 200), (f"W/{etag}", 200), ("Sun, 22 Nov 2026 00:00:00 GMT", 200)):
        answer = await office(RECIPIENT).get(url, Range="bytes=0-0", **{"If-Range": field})
        assert answer.status_code == status


async def test_the_zip_holds_the_files_under_their_names_and_is_always_the_same(
    sent: Any, office: Callable[..., Any]
) -> None:
    first, second = [await office(number).get(f"{sent.url}/zip") for number in (RECIPIENT, SENDER)]
    assert first.content == second.content
    with zipfile.ZipFile(io.BytesIO(first.content)) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == FILES
        assert all(entry.compress_type == zipfile.ZIP_STORED for entry in archive.infolist())
        assert all(entry.flag_bits & 0x800 for entry in archive.infolist())
    assert first.headers["content-disposition"].startswith(
        f'attachment; filename="{sent.package.sequence}_{SENDER}.zip"'
    )


async def test_the_first_fetch_of_the_recipient_opens_and_the_senders_never_does(
    storage: Stage, sent: Any, office: Callable[..., Any]
) -> None:
    await office(SENDER).get(f"{sent.url}/zip")
    assert "ContentOpened" not in await said(storage)
    await office(RECIPIENT).get(f"{sent.url}/files/2")
    await office(RECIPIENT).get(f"{sent.url}/files/1")
    await office(RECIPIENT).get(f"{sent.url}/zip")
    assert (await said(storage)).count("ContentOpened") == 1
    async with storage.db.worker() as tx:
        [payload] = [body for kind, body in await journalled(tx) if kind == "ContentOpened"]
        opened = ContentOpened.model_validate_json(payload)
        assert opened.actor.id == "c0000000018"
        assert (await tx.db.fetchval("SELECT opened_at FROM delivery")) == opened.opened_at


async def test_every_fetch_is_listed_for_both_and_users_only_for_their_own_side(
    sent: Any, office: Callable[..., Any]
) -> None:
    await office(SENDER, user="c-sender").get(f"{sent.url}/files/1")
    await office(RECIPIENT, user="c-recipient").get(f"{sent.url}/files/3", Range="bytes=0-0")
    await office(RECIPIENT, user="c-recipient").get(f"{sent.url}/zip")
    mine = (await office(RECIPIENT).get(f"{sent.url}/accesses")).json()["items"]
    assert [(item["what"], item["by"]) for item in mine] == [
        ("files/1", {"office": SENDER, "user": None}),
        ("files/3", {"office": RECIPIENT, "user": "c-recipient"}),
        ("zip", {"office": RECIPIENT, "user": "c-recipient"}),
    ]
    theirs = (await office(SENDER).get(f"{sent.url}/accesses")).json()["items"]
    assert [item["by"]["user"] for item in theirs] == ["c-sender", None, None]
    assert all(item["at"].endswith("Z") for item in theirs)


async def test_a_file_that_is_not_there(sent: Any, office: Callable[..., Any]) -> None:
    for n in ("0", "4", "01", "-1", "１", "x"):
        answer = await office(RECIPIENT).get(f"{sent.url}/files/{n}")
        assert (answer.status_code, answer.json()["code"]) == (404, "TDK-NO-FILE")


async def test_a_message_of_text_alone_has_no_zip(storage: Stage, post: Any, office: Callable[..., Any]) -> None:
    sent = await post.send(SENDER, RECIPIENT, {})
    await storage.hear(sent.routed)
    assert (await office(RECIPIENT).get(f"{sent.url}/zip")).json()["code"] == "TDK-NO-FILE"
    answer = await office(RECIPIENT).receive(sent)
    assert (answer.status_code, answer.json()["status"]) == (200, "downloaded")


async def test_an_unknown_a_foreign_and_an_undelivered_message_are_the_same_404(
    storage: Stage, post: Any, sent: Any, office: Callable[..., Any]
) -> None:
    undelivered = await post.send(SENDER, RECIPIENT)
    await storage.hear(undelivered.submitted)
    unknown = await post.send(SENDER, RECIPIENT)
    storage.runtime.ports.clock.move(timedelta(minutes=2))  # type: ignore[attr-defined]
    answers = [
        await office(RECIPIENT).get(f"{unknown.url}/files/1"),
        await office(RECIPIENT).get(f"{undelivered.url}/files/1"),
        await office(STRANGER).get(f"{sent.url}/files/1"),
        await office(STRANGER).get(f"{sent.url}/zip"),
        await office(STRANGER).get(f"{sent.url}/accesses"),
        await office(STRANGER).receive(sent),
        await office(STRANGER).recall(sent),
        await office(RECIPIENT).recall(sent),
        await office(RECIPIENT).get("/v1/messages/not-an-id/zip"),
        await office(RECIPIENT).get("/v1/messages/6f0c2f3e-6b7c-4d0e-9a57-7c1d2c0d5b11/zip"),
    ]
    assert {answer.status_code for answer in answers} == {404}
    assert len({answer.text for answer in answers}) == 1


async def test_a_young_message_is_waited_for(storage: Stage, post: Any, office: Callable[..., Any]) -> None:
    young = await post.send(SENDER, RECIPIENT)
    clock = storage.runtime.ports.clock
    started, slept = clock.monotonic(), clock.sleep

    async def sleep(seconds: float) -> None:
        if clock.monotonic() - started > 1 and young is not None:
            await storage.hear(young.routed)
        await slept(seconds)

    clock.sleep = sleep  # type: ignore[method-assign]
    assert (await office(RECIPIENT).get(f"{young.url}/files/1")).status_code == 200
    unheard = await post.send(SENDER, STRANGER)
    started = clock.monotonic() + 1000
    before = clock.monotonic()
    assert (await office(STRANGER).get(f"{unheard.url}/files/1")).status_code == 404
    assert 2 <= clock.monotonic() - before < 2.2


async def test_the_sender_may_fetch_from_the_start(storage: Stage, post: Any, office: Callable[..., Any]) -> None:
    fresh = await post.send(SENDER, RECIPIENT)
    await storage.hear(fresh.submitted)
    assert (await office(SENDER).get(f"{fresh.url}/files/1")).status_code == 200


async def test_who_may_not_fetch(storage: Stage, sent: Any, office: Callable[..., Any]) -> None:
    today = storage.runtime.ports.clock.now().date()
    for claims, allowed in (
        ({"roles": ["viewer"]}, False),
        ({"roles": ["staff"]}, True),
        ({"suspended": True}, True),
        ({"licence_until": today - timedelta(days=29)}, True),
        ({"licence_until": today - timedelta(days=35)}, False),
        ({"licence_until": None}, False),
    ):
        answer = await office(RECIPIENT, **claims).get(f"{sent.url}/files/1")
        assert answer.status_code == (200 if allowed else 403), claims
        assert (await office(RECIPIENT, **claims).get(f"{sent.url}/zip")).status_code == answer.status_code


async def test_who_asked_without_the_right_to_it_is_written_down_for_the_own_side(
    sent: Any, office: Callable[..., Any]
) -> None:
    viewer = office(RECIPIENT, user="c-viewer", roles=["viewer"])
    for path in ("files/2", "zip", "files/99", "files/x"):
        assert (await viewer.get(f"{sent.url}/{path}")).status_code == 403
    stranger = office(STRANGER, user="c-stranger", roles=["viewer"])
    assert (await stranger.get(f"{sent.url}/files/2")).status_code == 403
    mine = (await viewer.get(f"{sent.url}/accesses")).json()["items"]
    by = {"office": RECIPIENT, "user": "c-viewer"}
    assert [(item["what"], item["by"]) for item in mine] == [("refused/files/2", by), ("refused/zip", by)]
    assert (await office(SENDER).get(f"{sent.url}/accesses")).json()["items"] == []


async def test_damaged_content_is_never_handed_out_nor_opened(
    storage: Stage, sent: Any, office: Callable[..., Any]
) -> None:
    objects, key = storage.runtime.objects, sent.package.object_key
    whole = bytearray(await objects.get(key))
    whole[20] ^= 1
    await objects.put(key, bytes(whole))
    answer = await office(RECIPIENT).get(f"{sent.url}/files/1")
    assert (answer.status_code, answer.json()["code"]) == (500, "TDK-CONTENT-DAMAGED")
    assert (await office(RECIPIENT).get(f"{sent.url}/files/2")).status_code == 200
    await objects.delete(key)
    answer = await office(RECIPIENT).get(f"{sent.url}/files/1")
    assert answer.json()["code"] == "TDK-CONTENT-DAMAGED"
    assert (await said(storage)).count("ContentOpened") == 1


async def test_a_process_that_holds_as_much_as_it_may_says_busy_and_recovers(
    storage: Stage, sent: Any, office: Callable[..., Any]
) -> None:
    desk = next(
        cell.cell_contents
        for route in storage.service.routers[0].routes
        for cell in (getattr(route, "endpoint").__closure__ or ())  # noqa: B009 (mypy knows no endpoint of a route)
        if type(cell.cell_contents).__name__ == "Desk"
    )
    in_flight = desk._in_flight
    await office(RECIPIENT).get(f"{sent.url}/zip")
    assert in_flight.held == 0
    in_flight.take(storage.runtime.settings.limits.bytes_in_flight_max - 100)
    answer = await office(RECIPIENT).get(f"{sent.url}/files/1")
    assert (answer.status_code, answer.json()["code"]) == (503, "TDK-BUSY")
    assert int(answer.headers["retry-after"]) > 0
    in_flight.give(storage.runtime.settings.limits.bytes_in_flight_max - 100)
    assert (await office(RECIPIENT).get(f"{sent.url}/files/1")).status_code == 200
    assert in_flight.held == 0


async def test_names_of_files_stay_inside_the_sealed_fields(
    storage: Stage, sent: Any, office: Callable[..., Any]
) -> None:
    await office(RECIPIENT).get(f"{sent.url}/zip")
    await office(RECIPIENT).receive(sent)
    async with storage.db.worker() as tx:
        everything = " ".join(payload for _, payload in await journalled(tx))
        for table in ("custody", "delivery", "ended", "access_log"):
            everything += str(await tx.db.fetch(f"SELECT * FROM {table}"))
    for secret in (*FILES, "よろしく", *sent.hashes):
        assert secret not in everything


async def test_what_was_found_a_moment_ago_is_judged_again_before_its_bytes_go(
    sent: Any, office: Callable[..., Any]
) -> None:
    first = await office(RECIPIENT).get(f"{sent.url}/files/1")
    assert (await office(SENDER).recall(sent)).status_code == 200
    held = {"If-None-Match": first.headers["etag"]}
    for answer in (
        await office(RECIPIENT).get(f"{sent.url}/files/1"),
        await office(RECIPIENT).get(f"{sent.url}/files/2"),
        await office(RECIPIENT).get(f"{sent.url}/files/1", **held),
        await office(RECIPIENT).get(f"{sent.url}/zip"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (410, "TDK-RECALLED")
    assert (await office(STRANGER).get(f"{sent.url}/files/1")).status_code == 404
