"""No personal data in events, topics, logs, metrics or engines' files: canaries are sent, and nowhere found."""

import base64
import io
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import asyncpg
import httpx
import pytest
from aiokafka import AIOKafkaProducer
from PIL import Image, PngImagePlugin

from careplan import DataFile, layout_of, parse_name, read_rows, sample_sets, write_rows
from services import ground
from tests.spine.needles import Needles, forms, hashes
from tests.spine.product import Product
from todoke.client import Client, Upload
from todoke.client.shapes import MailTarget, NotificationSettings
from todoke.events import SERVICES, topic_of
from todoke.relay.clock import Ports
from todoke.relay.kafka import ensure_topics, read_topic
from todoke.relay.objects import Objects

SENDER, RECIPIENT = "9970100018", "9970100117"
WORD = "金糸雀囀翠"
"""Stands in every name, text and cell that is sent; nothing of ours holds it."""

ADDRESS = "kanaria.9f3b1c@example.jp"

NOT_DATA = frozenset({"demo.json"})


class Sent:
    """What was sent: everything that must not be found again."""

    def __init__(self) -> None:
        self.wholes: list[bytes] = []

    def text(self, text: str) -> str:
        """A name or text."""
        self.wholes.append(text.encode())
        self.wholes.append(text.encode("cp932"))
        return text

    def file(self, name: str, content: bytes) -> Upload:
        """A file."""
        self.wholes.append(content)
        return Upload(self.text(name), content)


@pytest.fixture(scope="module")
def needles(product: Product) -> Needles:
    """The canaries after they were sent, judged, fetched and confirmed."""
    sent = Sent()
    with Client(product.address) as sender, Client(product.address) as recipient:
        sender.login(*product.login_of(SENDER))
        recipient.login(*product.login_of(RECIPIENT))
        good = sender.send(files=[*valid_set(sent), picture(sent)], text=sent.text(f"{WORD}さんの件です"))
        bad = sender.send(files=broken_set(sent), text=sent.text(f"{WORD}さんの誤りです"))
        refused = sender.check(files=broken_set(Sent()))
        assert refused.verdict == "reject"
        until(lambda: sender.message(good.message_id).status == "delivered")
        until(lambda: sender.message(bad.message_id).status == "rejected")
        assert sender.findings(bad.message_id).findings
        item = recipient.message(good.message_id)
        assert item.text == f"{WORD}さんの件です"
        contents = [recipient.fetch_file(item.message_id, file.n, file.sha256) for file in item.files]
        assert sum(WORD.encode("cp932") in content or WORD.encode() in content for content in contents) > 1
        recipient.fetch_zip(item.message_id)
        recipient.receipt(item.message_id, [file.sha256 or "" for file in item.files])
        assert WORD in str(recipient.received().items)
        assert [found.message_id for found in sender.search("sent", f"{WORD}さんの件").items] == [good.message_id]
        recipient.set_notifications(NotificationSettings(mail=(MailTarget(address=ADDRESS, events=("delivered",)),)))
        sender.evidence(good.message_id)
        late = sender.send(RECIPIENT, files=[picture(sent)], text=sent.text(f"{WORD}さんの取消です"))
        until(lambda: sender.message(late.message_id).status == "delivered")
        sender.recall(late.message_id, sent.text(f"{WORD}さんではない"))
        until(lambda: sender.message(late.message_id).status == "recalled")
        recipient.set_notifications(NotificationSettings())
    return Needles.of([WORD, ADDRESS], sent.wholes)


def test_what_is_there_is_found(needles: Needles) -> None:
    for form, needle in (*forms(WORD), *hashes(f"{WORD}さんの件です".encode())):
        assert needles.find(b"before" + needle + b"after"), form
    for encoding in ("utf-8", "cp932"):
        for place in range(3):
            told = base64.b64encode(b"x" * place + WORD.encode(encoding) + b"tail")
            assert needles.find(told), (encoding, place)
    assert needles.find("この中にはない".encode()) == []


async def test_a_planted_canary_is_found_where_the_engines_keep_it(product: Product, needles: Needles) -> None:
    settings = ground.settings_of(product.home, product.address)
    (product.home / "logs" / "planted.log").write_text(f"x {WORD} y", encoding="cp932")
    db = await asyncpg.connect(settings.postgres.get_secret_value())
    await db.execute("CREATE SCHEMA planted; CREATE TABLE planted.planted (t text)")
    await db.execute("INSERT INTO planted.planted VALUES ($1)", f"planted {WORD}")
    await db.execute("CHECKPOINT")
    await ensure_topics(settings.kafka, ["planted"], partitions=1, replication=1)
    producer = AIOKafkaProducer(bootstrap_servers=settings.kafka)
    await producer.start()
    await producer.send_and_wait("planted", WORD.encode())
    await producer.stop()
    objects = await Objects.open(settings.s3, Ports.real().clock)
    await objects.put("planted", WORD.encode())
    try:
        files = needles.find_in_files(product.home, NOT_DATA)
        for part in ("logs/planted.log", "postgres", "kafka", "s3"):
            assert [name for name in files if name.startswith(part)], f"{part}: {sorted(files)}"
        assert [name async for name, line in _rows(db) if needles.find(line)] == ["planted.planted"]
        assert [raw for raw in [one async for one in _records(settings.kafka, "planted")] if needles.find(raw)]
    finally:
        (product.home / "logs" / "planted.log").unlink()
        await objects.delete("planted")
        await objects.close()
        await db.execute("DROP SCHEMA planted CASCADE")
        await db.close()


async def test_no_event_row_or_record_holds_a_canary(product: Product, needles: Needles) -> None:
    settings = ground.settings_of(product.home, product.address)
    db = await asyncpg.connect(settings.postgres.get_secret_value())
    try:
        rows = [name async for name, line in _rows(db) if needles.find(line)]
        assert rows == []
        assert await db.fetchval("SELECT count(*) FROM ingest.journal") > 0
    finally:
        await db.close()
    for service in SERVICES:
        records = [raw async for raw in _records(settings.kafka, topic_of(service))]
        assert [needles.find(raw) for raw in records if needles.find(raw)] == []
        assert records or service in ("notification", "projection", "portal"), "the three that say nothing"


async def test_no_file_of_the_home_holds_a_canary(product: Product, needles: Needles) -> None:
    """Logs, Kafka's segments, PostgreSQL's tables and its write-ahead log, SeaweedFS's volumes.

    What the test above planted may still lie in dead space: its word is looked for by hashes and by the sent wholes.
    """
    settings = ground.settings_of(product.home, product.address)
    db = await asyncpg.connect(settings.postgres.get_secret_value())
    await db.execute("CHECKPOINT")
    await db.close()
    own = Needles({needle: name for needle, name in needles.named.items() if "hash" in name} | _sentences())
    assert own.find_in_files(product.home, NOT_DATA) == {}


async def test_no_metric_holds_a_canary(product: Product, needles: Needles) -> None:
    async with httpx.AsyncClient() as http:
        for port in range(product.port, product.port + 3):
            answer = await http.get(f"http://127.0.0.1:{port}/metrics")
            assert answer.status_code == 200
            assert answer.content
            assert needles.find(answer.content) == []


def valid_set(sent: Sent) -> list[Upload]:
    """A sample set of today, with the canary in every cell of free text that says something."""
    return [sent.file(name, content) for name, content in changed_set("202407/plan_67_to_provider_a", wrong=False)]


def broken_set(sent: Sent) -> list[Upload]:
    """The same with a row that breaks the standard."""
    return [sent.file(name, content) for name, content in changed_set("202407/plan_67_to_provider_b", wrong=True)]


def changed_set(folder: str, *, wrong: bool) -> Iterator[tuple[str, bytes]]:
    """The files of a set with a sequence of now and the canary in their cells."""
    sequence = f"{datetime.now():%Y%m%d%H%M%S}"  # noqa: DTZ005 (a sequence is local time)
    changed = 0
    for name, content in sample_sets()[folder]:
        parsed = parse_name(name)
        assert parsed is not None
        layout = layout_of(parsed.kind, parsed.csv_version)
        rows = [list(row) for row in read_rows(DataFile(name, content)).rows]
        for place, column in enumerate(layout.columns):
            if column.type == "text" and "フリガナ" not in column.name_ja:  # of katakana only
                changed += 1
                for row in rows:
                    row[place] = f"{WORD}子" if row[place] else row[place]
        if wrong:
            rows[0][-1] = f"誤{WORD}"
        yield name.replace(parsed.sequence, sequence), write_rows(parsed.kind, parsed.csv_version, rows)
    assert changed, "no cell holds a name"


def picture(sent: Sent) -> Upload:
    """An attachment whose name and bytes hold the canary."""
    told = PngImagePlugin.PngInfo()
    told.add_itxt("who", f"{WORD} {time.monotonic_ns()}")
    made = io.BytesIO()
    Image.new("RGB", (8, 8)).save(made, "PNG", pnginfo=told)
    return sent.file(f"{WORD}さんの写真{time.monotonic_ns()}.png", made.getvalue())


def until(check: Any) -> None:
    """Wait until a check is true."""
    end = time.monotonic() + 120
    while not check():
        assert time.monotonic() < end, "did not happen"
        time.sleep(0.2)


def _sentences() -> dict[bytes, str]:
    """The sent word with its neighbours, which no planted thing has."""
    return {needle: name for tail in ("さん", "子") for needle, name in Needles.of([WORD + tail], []).named.items()}


async def _rows(db: Any) -> Any:
    """Every row of every table, as text: compressed values are unpacked here."""
    tables = await db.fetch(
        "SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables "
        "WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
    )
    for table in tables:
        for row in await db.fetch(f"SELECT t::text AS line FROM {table['name']} t"):
            yield table["name"], row["line"].encode()


async def _records(kafka: str, topic: str) -> Any:
    """Key, value and headers of every record of a topic."""
    async with await read_topic(kafka, topic) as reader:
        async for batch in reader.batches():
            for raw in batch:
                yield b"|".join([raw.key or b"", raw.value or b"", *(value for _, value in raw.headers)])
