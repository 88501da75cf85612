"""Objects on the real engine: what is put is there, once, whole, and an absent engine is said in time."""

import asyncio
import contextlib
import random
import socket
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from pydantic import SecretStr

from todoke.engines import Addresses
from todoke.relay import seal
from todoke.relay.bundle import Span, build_bundle, read_parts
from todoke.relay.clock import Ports, SystemClock
from todoke.relay.objects import (
    TOTAL_SECONDS_MAX,
    KeyObjects,
    ObjectExists,
    ObjectMissing,
    Objects,
    ObjectsAway,
    message_key,
)
from todoke.relay.settings import S3Settings
from todoke.relay.testing import ManualClock

CLOCK = SystemClock()


@pytest.fixture(name="settings")
def settings_fixture(engines: Addresses) -> S3Settings:
    s3 = engines.s3
    return S3Settings(
        endpoint=s3.endpoint,
        access_key=s3.access_key,
        secret_key=SecretStr(s3.secret_key),
        bucket=s3.bucket,
        region=s3.region,
    )


@pytest.fixture(name="objects")
async def objects_fixture(settings: S3Settings) -> AsyncIterator[Objects]:
    async with await Objects.open(settings, CLOCK) as objects:
        await objects.ensure_bucket()
        yield objects


@pytest.fixture(name="key")
def key_fixture() -> str:
    return f"message/2025/08/{uuid4()}"


@pytest.mark.parametrize("size", [0, 1, 12_000, 600_000, 9 * 1024 * 1024])
async def test_what_was_put_is_got_again_byte_for_byte(objects: Objects, key: str, size: int) -> None:
    data = random.Random(size).randbytes(size)  # noqa: S311 (test data)
    await objects.put(key, data)
    assert await objects.get(key) == data
    assert await objects.exists(key)


async def test_a_range_is_read_alone(objects: Objects, key: str) -> None:
    data = bytes(range(256)) * 20
    await objects.put(key, data)
    assert await objects.get_range(key, 10, 20) == data[10:30]
    assert await objects.get_range(key, len(data) - 1, 1) == data[-1:]


@pytest.mark.parametrize(("offset", "length"), [(99, 2), (100, 1), (5000, 10)])
async def test_a_range_beyond_the_end_is_missing(objects: Objects, key: str, offset: int, length: int) -> None:
    await objects.put(key, bytes(100))
    with pytest.raises(ObjectMissing):
        await objects.get_range(key, offset, length)


async def test_what_was_never_put_or_was_deleted_is_missing(objects: Objects, key: str) -> None:
    with pytest.raises(ObjectMissing):
        await objects.get(key)
    await objects.put(key, b"x")
    await objects.delete(key)
    assert not await objects.exists(key)
    with pytest.raises(ObjectMissing):
        await objects.get_range(key, 0, 1)
    await objects.delete(key)


async def test_of_many_writers_of_one_key_exactly_one_wins(objects: Objects, key: str) -> None:
    async def write(number: int) -> bool:
        try:
            await objects.put(key, b"%d" % number, once=True)
        except ObjectExists:
            return False
        return True

    won = await asyncio.gather(*(write(number) for number in range(8)))
    assert sum(won) == 1
    assert await objects.get(key) == b"%d" % won.index(True)


async def test_putting_the_same_bytes_once_again_is_no_error(objects: Objects, key: str) -> None:
    await objects.put(key, b"same", once=True)
    await objects.put(key, b"same", once=True)
    with pytest.raises(ObjectExists):
        await objects.put(key, b"other", once=True)


async def test_bytes_that_change_on_the_way_are_refused(
    objects: Objects, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("todoke.relay.objects._md5_now", lambda _data: "1B2M2Y8AsgTpgAmY7PhCfg==")  # of nothing
    with pytest.raises(ObjectsAway, match="BadDigest"):
        await objects.put(key, b"torn")
    assert not await objects.exists(key)


async def test_a_listing_gives_every_key_with_size_and_time(objects: Objects) -> None:
    folder = f"list/{uuid4()}"
    for number in range(12):
        await objects.put(f"{folder}/{number % 3}/{number:02}", bytes(number))
    found = [entry async for entry in objects.list(folder + "/")]
    assert sorted((entry.key, entry.size) for entry in found) == sorted(
        (f"{folder}/{number % 3}/{number:02}", number) for number in range(12)
    )
    assert [entry.key for entry in found] == sorted(entry.key for entry in found)
    assert all(abs(entry.modified - datetime.now(UTC)) < timedelta(minutes=5) for entry in found)
    behind = [entry.key async for entry in objects.list(folder + "/", after=found[8].key)]
    assert behind == [entry.key for entry in found[9:]]


async def test_an_engine_that_is_not_there_is_said_at_once(settings: S3Settings) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{unused.getsockname()[1]}"
    away = settings.model_copy(update={"endpoint": endpoint})
    async with await Objects.open(away, CLOCK) as objects:
        with pytest.raises(ObjectsAway):
            await objects.put("message/x", b"x")
        with pytest.raises(ObjectsAway):
            await objects.ensure_bucket()
        with pytest.raises(ObjectsAway):
            [entry async for entry in objects.list("message/")]


async def test_an_engine_that_never_answers_is_given_up_in_time(
    settings: S3Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    hung_up = asyncio.Event()

    async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(1024):
            pass
        writer.close()
        hung_up.set()

    assert TOTAL_SECONDS_MAX < 10
    monkeypatch.setattr("todoke.relay.objects.TOTAL_SECONDS_MAX", 1.0)
    async with await asyncio.start_server(silence, "127.0.0.1", 0) as server:
        endpoint = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with await Objects.open(settings.model_copy(update={"endpoint": endpoint}), CLOCK) as objects:
            with pytest.raises(ObjectsAway, match="no answer"):
                await objects.get("message/x")
        await hung_up.wait()


class Cutter:
    """Stands between us and the engine and cuts connections without a word, as a killed engine does."""

    def __init__(self, settings: S3Settings) -> None:
        host, port = settings.endpoint.removeprefix("http://").split(":")
        self._engine = (host, int(port))
        self._open: set[asyncio.StreamWriter] = set()
        self._serving: list[asyncio.Task[None]] = []
        self.swallow_next_answer = False

    def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._serving.append(asyncio.create_task(self._serve(reader, writer)))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(*self._engine)
        self._open |= {writer, far_writer}
        await asyncio.gather(self._copy(reader, far_writer), self._copy(far_reader, writer, answers=True))

    async def _copy(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, *, answers: bool = False) -> None:
        with contextlib.suppress(ConnectionError):
            while piece := await source.read(65536):
                if answers and self.swallow_next_answer:
                    self.swallow_next_answer = False
                    self.cut()
                    break
                target.write(piece)
                await target.drain()
        target.close()

    def cut(self) -> None:
        for writer in self._open:
            writer.transport.abort()
        self._open.clear()

    async def close(self) -> None:
        self.cut()
        await asyncio.gather(*self._serving)


async def test_connections_that_died_do_not_fail_the_call_in_hand_nor_the_next(settings: S3Settings, key: str) -> None:
    cutter = Cutter(settings)
    async with await asyncio.start_server(cutter.serve, "127.0.0.1", 0) as server:
        endpoint = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with await Objects.open(settings.model_copy(update={"endpoint": endpoint}), CLOCK) as objects:
            await objects.ensure_bucket()
            await asyncio.gather(*(objects.put(key, b"first") for _ in range(4)))
            cutter.cut()
            assert await objects.get(key) == b"first"
            cutter.swallow_next_answer = True
            await objects.put(key + "-2", b"second", once=True)
            assert await objects.get(key + "-2") == b"second"
            cutter.swallow_next_answer = True
            assert await objects.get(key) == b"first"
        await cutter.close()


async def test_a_bucket_that_is_not_there_is_our_trouble_and_not_a_missing_object(settings: S3Settings) -> None:
    async with await Objects.open(settings.model_copy(update={"bucket": "never-made"}), CLOCK) as objects:
        with pytest.raises(ObjectsAway, match="NoSuchBucket"):
            await objects.get("message/x")
        with pytest.raises(ObjectsAway, match="NoSuchBucket"):
            await objects.exists("message/x")


async def test_a_wrong_key_is_our_trouble(settings: S3Settings) -> None:
    wrong = settings.model_copy(update={"secret_key": SecretStr("wrong")})
    async with await Objects.open(wrong, CLOCK) as objects:
        with pytest.raises(ObjectsAway, match="SignatureDoesNotMatch"):
            await objects.put("message/x", b"x")


async def test_a_moved_clock_does_not_lock_us_out(settings: S3Settings, key: str) -> None:
    async with await Objects.open(settings, SystemClock(timedelta(days=90))) as objects:
        await objects.put(key, b"x")
        assert await objects.get(key) == b"x"


async def test_parts_of_a_bundle_are_read_together_and_alone(objects: Objects, key: str) -> None:
    parts = [b"one", b"", b"three", bytes(3000)]
    content, spans = build_bundle(parts, at=5)
    await objects.put(key, b"12345" + content)
    assert spans == [Span(5, 3), Span(8, 0), Span(8, 5), Span(13, 3000)]
    assert await read_parts(objects, key, spans) == parts
    assert await read_parts(objects, key, spans[2:3]) == [b"three"]
    assert await read_parts(objects, key, []) == []


async def test_a_published_month_key_is_read_by_every_service(objects: Objects) -> None:
    ids, clock = Ports.real().ids, ManualClock()
    root, epoch = seal.RootKey(bytes(32), ids), f"2025-08-{uuid4()}"
    keys = KeyObjects(objects)
    ring = seal.KeyRing(root, keys, clock)
    with pytest.raises(seal.KeyEpochUnknown):
        await ring.key(epoch)
    wrapped = root.wrap(bytes(range(32)), epoch)
    await keys.publish(epoch, wrapped)
    await keys.publish(epoch, wrapped)
    assert await ring.key(epoch) == bytes(range(32))
    with pytest.raises(ObjectExists):
        await keys.publish(epoch, root.new_month_key(epoch))
    assert (epoch, True) in [each async for each in keys.epochs()]
    await keys.destroy(epoch)
    assert (epoch, False) in [each async for each in keys.epochs()]
    assert await ring.key(epoch) == bytes(range(32))
    clock.move(timedelta(seconds=seal.REMEMBERED_SECONDS))
    with pytest.raises(seal.KeyEpochGone):
        await ring.key(epoch)


def test_the_key_of_a_bundle_tells_the_month_of_the_id() -> None:
    message_id = UUID("018cc251-f3ff-7000-8000-000000000000")
    assert message_key(message_id) == f"message/2023/12/{message_id}"
