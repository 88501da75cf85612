"""The command line and the client against the whole product, started as a user starts it: `todoke up --demo`."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pypdf import PdfWriter
from pypdf.generic import NameObject, StreamObject

from tests.ports import free_ports
from todoke.client import ApiError, AsyncClient, Client, Outgoing, Upload, verify_receipt
from todoke.client.shapes import Item, StreamEvent

OWN = "9970100018"
PARTNER = "9970100117"
READY_SECONDS_MAX = 200

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The home of a running product with the practice offices."""
    home = tmp_path_factory.mktemp("whole")
    port = free_ports()
    with (home / "up.out").open("wb") as out:
        product = subprocess.Popen(
            [sys.executable, "-m", "services", "up", "--home", str(home / "t"), "--port", str(port), "--demo"],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
        )
    try:
        until = time.monotonic() + READY_SECONDS_MAX
        while not is_ready(port, home):
            assert product.poll() is None, (home / "up.out").read_text()
            assert time.monotonic() < until, (home / "up.out").read_text()
            time.sleep(0.3)
        yield home
    finally:
        product.send_signal(signal.SIGINT)
        product.wait(60)


def is_ready(port: int, home: Path) -> bool:
    """Whether everything answers and the practice logins are written."""
    try:
        ready = httpx.get(f"http://127.0.0.1:{port}/health/ready", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False
    return ready and (home / "t" / "demo.json").exists() and b"ready" in (home / "up.out").read_bytes()


def todoke(home: Path, who: str, *arguments: str | Path) -> Any:
    """Run one command as an office with a session file of its own; answers exit code and JSON."""
    environment = {**os.environ, "TODOKE_SESSION": str(home / f"{who}.json")}
    environment.pop("TODOKE_URL", None)
    done = subprocess.run(
        [sys.executable, "-m", "services", *map(str, arguments), "--json"],
        env=environment,
        capture_output=True,
        check=False,
        timeout=200,
    )
    assert done.stdout, done.stderr.decode()
    return done.returncode, json.loads(done.stdout)


def logged_in(client: Client, home: Path, number: str) -> Client:
    """A client after its login."""
    offices = json.loads((home / "t" / "demo.json").read_bytes())["offices"]
    office = next(one for one in offices if one["number"] == number)
    client.login(office["c_id"], office["c_password"], office["kj_id"], office["kj_password"])
    return client


@pytest.fixture
def own(home: Path) -> Iterator[Client]:
    """The care-management office."""
    url = json.loads((home / "t" / "demo.json").read_bytes())["url"]
    with Client(url) as client:
        yield logged_in(client, home, OWN)


@pytest.fixture
def partner(home: Path) -> Iterator[Client]:
    """A service office."""
    url = json.loads((home / "t" / "demo.json").read_bytes())["url"]
    with Client(url) as client:
        yield logged_in(client, home, PARTNER)


def pdf(folder: Path) -> bytes:
    """A small PDF that passes the checks."""
    writer = PdfWriter()
    writer.add_blank_page(200, 200)
    writer.write(folder / "blank.pdf")
    return (folder / "blank.pdf").read_bytes()


def scan(folder: Path, size: int) -> bytes:
    """A PDF as scanners make them: one page, `size` bytes of something that no packer makes smaller."""
    writer = PdfWriter()
    page = writer.add_blank_page(200, 200)
    stream = StreamObject()
    stream.set_data(b"%" + os.urandom(size // 2).hex().encode())
    page[NameObject("/Contents")] = writer._add_object(stream)
    writer.write(folder / "scan.pdf")
    return (folder / "scan.pdf").read_bytes()


def wait_for_status(client: Client, message_id: Any, status: str) -> None:
    """Wait until the message has come so far."""
    until = time.monotonic() + 100
    while (seen := client.message(message_id).status) != status:
        assert time.monotonic() < until, seen
        time.sleep(0.2)


def test_large_files_arrive_as_they_were_sent(own: Client, partner: Client, tmp_path: Path) -> None:
    size = 9 * 1024 * 1024
    files = tuple(Upload(f"{n}.pdf", scan(tmp_path, size)) for n in range(3))
    assert own.check(PARTNER, files=files).verdict == "accept"
    message_id = own.send(PARTNER, files=files, idempotency_key="large").message_id
    (again,) = own.send_batch([Outgoing("large", PARTNER, files=files)])
    assert again.submission is not None
    assert (again.submission.message_id, again.submission.replayed) == (message_id, True)
    wait_for_status(own, message_id, "delivered")
    for n, file in enumerate(files, 1):
        assert partner.fetch_file(message_id, n) == file.content


def test_the_sample_sets_go_from_office_to_office_with_two_commands(home: Path, own: Client) -> None:
    assert todoke(home, "own", "login", "--demo", home / "t", "--office", OWN)[0] == 0
    assert todoke(home, "partner", "login", "--demo", home / "t", "--office", PARTNER)[0] == 0
    todoke(home, "own", "demo-files", home / "files")
    code, sent = todoke(home, "own", "send", home / "files" / OWN, "--yes")
    assert code == 0, sent
    assert {line["state"] for line in sent["messages"]} == {"sent"}
    for_partner = [line for line in sent["messages"] if line["recipient"] == PARTNER]
    for line in for_partner:
        wait_for_status(own, line["message_id"], "delivered")
    code, fetched = todoke(home, "partner", "fetch", "--all", "--to", home / "in")
    assert code == 0, fetched
    wanted = [line["message_id"] for line in for_partner]
    assert [line["message_id"] for line in fetched["messages"] if line["message_id"] in wanted] == wanted
    originals = {path.name: path.read_bytes() for path in (home / "files" / OWN).rglob("*.CSV")}
    copies = {path.name: path.read_bytes() for path in (home / "in").rglob("*.CSV")}
    for_it = {name: data for name, data in originals.items() if f"_{PARTNER}_" in name}
    assert for_it
    assert for_it.items() <= copies.items()
    for line in for_partner:
        wait_for_status(own, line["message_id"], "downloaded")
    before = len(own.sent(limit=200).items)
    code, again = todoke(home, "own", "send", home / "files" / OWN, "--yes")
    assert code == 0
    assert {line["state"] for line in again["messages"]} == {"already_sent"}
    assert len(own.sent(limit=200).items) == before
    assert todoke(home, "partner", "fetch", "--all", "--to", home / "in") == (0, {"messages": []})


def test_a_message_through_the_client_leaves_receipts_that_verify_offline(
    own: Client, partner: Client, tmp_path: Path
) -> None:
    file = Upload("地図.pdf", pdf(tmp_path))
    assert own.check(PARTNER, text="よろしく", files=[file]).verdict == "accept"
    sent = own.send(PARTNER, text="よろしく", files=[file])
    keys = own.jwks()
    assert verify_receipt(sent.receipt, keys, [file], issuer=own.core.url).typ == "submission"
    wait_for_status(own, sent.message_id, "delivered")
    item = partner.message(sent.message_id)
    assert item.text == "よろしく"
    assert partner.fetch_file(sent.message_id, 1, item.files[0].sha256) == file.content
    assert partner.fetch_zip(sent.message_id).startswith(b"PK")
    with pytest.raises(ApiError) as refused:
        partner.receipt(sent.message_id, ["0" * 64])
    assert refused.value.code == "TDK-HASH-MISMATCH"
    answer = partner.receipt(sent.message_id, [item.files[0].sha256 or ""])
    assert verify_receipt(answer.receipt, keys, [file]).typ == "download"
    wait_for_status(own, sent.message_id, "downloaded")
    with pytest.raises(ApiError) as too_late:
        own.recall(sent.message_id, "まちがえました")
    assert too_late.value.number == "E-402"
    assert {access.what for access in own.accesses(sent.message_id)} == {"files/1", "zip"}
    assert own.counts().sent["downloaded"] >= 1
    assert own.changes()[0].message_id is not None
    assert own.search("sent", "よろしく").items[0].message_id == sent.message_id


def test_since_is_without_gaps_and_the_stream_says_what_arrives(own: Client, partner: Client) -> None:
    pushed: list[StreamEvent] = []
    listener = threading.Thread(target=lambda: pushed.append(next(partner.stream())), daemon=True)
    listener.start()
    sent = {own.send(PARTNER, text="届け").message_id}
    for _ in range(20):  # whatever is sent once the stream is open is pushed
        listener.join(5)
        if not listener.is_alive():
            break
        sent.add(own.send(PARTNER, text="届け").message_id)
    assert pushed[0].event == "delivered"
    assert pushed[0].message_id in sent
    for message_id in sent:
        wait_for_status(own, message_id, "delivered")
    numbers = [item.delivery_no for item in partner.each_received_since(0)]
    assert numbers == list(range(1, len(numbers) + 1))
    last = partner.received_since(len(numbers) - 1)
    assert [item.delivery_no for item in last] == [len(numbers)]
    assert isinstance(last[0], Item)


def test_a_batch_answers_for_each_of_its_messages(own: Client) -> None:
    results = own.send_batch([Outgoing("batch-1", PARTNER, text="一"), Outgoing("batch-2", OWN, text="二")])
    assert [result.status for result in results] == [202, 422]
    assert results[0].submission is not None
    assert results[1].problem is not None
    assert results[1].problem.number == "E-207"


def test_every_read_of_the_api_has_the_shape_that_the_client_expects(own: Client) -> None:
    assert own.own_office().number == OWN
    assert own.office(PARTNER).participation == "active"
    assert own.offices("そよ").items[0].number == PARTNER
    assert own.limits()["file_bytes_max"].unit == "bytes"
    assert own.status().state in ("normal", "slow", "down")
    assert own.notifications().mail == ()
    assert own.webhooks() == ()
    assert any(session.current for session in own.sessions())


async def test_the_asynchronous_client_renews_lists_and_logs_out(home: Path) -> None:
    demo = json.loads((home / "t" / "demo.json").read_bytes())
    office = next(one for one in demo["offices"] if one["number"] == OWN)
    async with AsyncClient(demo["url"]) as client:
        begun = await client.login(office["c_id"], office["c_password"], office["kj_id"], office["kj_password"])
        renewed = await client.refresh()
        assert renewed.refresh_token != begun.refresh_token  # two access tokens of one second are the same
        listed = [item.message_id async for item in client.each_sent(limit=2)]
        assert len(listed) == len(set(listed))
        await client.logout()
        assert client.session is None
