"""The virus scanner: what it finds is a finding; without a clear word of it a message waits, and nothing else does."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import structlog

import careplan
from services.validation import scanning
from services.validation.scanning import INFECTED, Scanner, Unscanned
from tests.services.ingest.conftest import Client
from todoke.events import MessageAccepted, MessageRejected
from todoke.relay.clock import Ports
from todoke.relay.consumer import Discipline
from todoke.relay.service import Shared
from todoke.relay.testing import ManualClock

from .clamd import EICAR, Clamd, listening
from .conftest import CENTRE, HELPER, Sender, heard, said
from .test_bad_input import pdf, photo
from .test_judge import PLAN_SET, damaged


@pytest.fixture
def clamd() -> Clamd:
    return Clamd()


@pytest.fixture(params=["TCP", "Unix"])
async def address(request: pytest.FixtureRequest, clamd: Clamd, tmp_path: Path) -> AsyncIterator[str]:
    async with listening(clamd, tmp_path / "clamd.sock" if request.param == "Unix" else None) as address:
        yield address


def scanner(address: str) -> Scanner:
    return Scanner(address, ManualClock(), structlog.get_logger())


@pytest.mark.parametrize("size", [0, 1, 65_536, 65_537, 3_000_000])
async def test_the_very_bytes_are_scanned_in_chunks(address: str, clamd: Clamd, size: int) -> None:
    data = b"\xff" * size
    assert await scanner(address).check("a.pdf", data) == ()
    assert clamd.scanned == [data]


async def test_what_the_scanner_knows_is_a_finding(address: str) -> None:
    [finding] = await scanner(address).check("a.pdf", b"x" * 100_000 + EICAR)
    assert (finding.code, finding.severity, finding.file, finding.detail) == (INFECTED, "error", "a.pdf", {})


@pytest.mark.parametrize(
    "behaviour",
    [
        "garbage",
        "endless",
        "half an answer",
        "an error",
        "silence",
        "dies in the middle",
        "dies before its answer",
    ],
)
async def test_without_a_clear_word_a_file_is_not_scanned(
    address: str, clamd: Clamd, monkeypatch: pytest.MonkeyPatch, behaviour: str
) -> None:
    monkeypatch.setattr(scanning, "SCAN_SECONDS_MAX", 0.5)
    clamd.behaviour = behaviour
    asked = scanner(address)
    with pytest.raises(Unscanned):
        await asked.check("a.pdf", b"x" * 200_000)
    with pytest.raises(Unscanned, match="a moment ago"):
        await asked.check("a.pdf", b"x")


async def test_a_file_larger_than_the_scanner_takes_is_not_scanned(address: str, clamd: Clamd) -> None:
    clamd.stream_max = 100_000
    asked = scanner(address)
    with pytest.raises(Unscanned):
        await asked.check("a.pdf", bytes(200_000))


@pytest.mark.parametrize("address", ["127.0.0.1:1", "/nowhere/clamd.sock", "nonsense", "127.0.0.1:many"])
async def test_a_scanner_that_is_not_there_does_not_answer(address: str) -> None:
    asked = scanner(address)
    assert not await asked.answers()
    with pytest.raises(Unscanned):
        await asked.check("a.pdf", b"x")


async def test_a_scanner_that_is_there_answers(address: str, clamd: Clamd) -> None:
    assert await scanner(address).answers()
    clamd.behaviour = "garbage"
    assert not await scanner(address).answers()


# --- in the flow ----------------------------------------------------------------------------------------------------


@pytest.fixture
async def tcp(clamd: Clamd) -> AsyncIterator[str]:
    async with listening(clamd) as address:
        yield address


@pytest.fixture
def shared(shared: Shared, tcp: str) -> Shared:
    """As ever, with a scanner."""
    shared.settings = shared.settings.model_copy(update={"clamd": tcp})
    return shared


async def test_clean_files_pass_and_each_was_scanned(sender: Sender, clamd: Clamd) -> None:
    files = [*PLAN_SET, ("a.pdf", pdf())]
    events = await sender.judge(await sender.submit(CENTRE, {}, files))
    assert isinstance(events[-1], MessageAccepted)
    assert sorted(clamd.scanned) == sorted(data for _, data in files)


async def test_an_infected_file_is_rejected_attachment_and_data_alike(sender: Sender) -> None:
    attachment = [("a.pdf", pdf() + b"\n%" + EICAR + b"\n%%EOF\n")]
    data = damaged(PLAN_SET, "UPPLAN", b'",', EICAR + b'",')
    for n, (body, files) in enumerate([({"recipient": HELPER}, attachment), ({}, data)]):
        rejected = (await sender.judge(await sender.submit(CENTRE, body, files, key=str(n))))[-1]
        assert isinstance(rejected, MessageRejected)
        assert INFECTED in {finding.code for finding in rejected.findings}
        assert "Eicar" not in rejected.model_dump_json()
    [finding] = [f for f in (await sender.check(CENTRE, {}, data))["findings"] if f["code"] == INFECTED]
    assert (finding["number"], finding["advice"]) == ("E-297", careplan.finding_texts()[INFECTED].advice)


async def test_what_is_refused_anyway_does_not_wait_for_the_scanner(sender: Sender, clamd: Clamd) -> None:
    clamd.behaviour = "garbage"
    submitted = await sender.submit(CENTRE, {"recipient": HELPER}, [("a.pdf", photo())])
    assert isinstance((await sender.judge(submitted))[-1], MessageRejected)


async def test_check_says_that_it_cannot_scan(sender: Sender, clamd: Clamd) -> None:
    clamd.behaviour = "garbage"
    async with sender.validation.client() as http:
        client = Client(http, sender.validation.token(CENTRE))
        answer = await client.send({}, PLAN_SET, key=None, path="/v1/messages/check")
    assert (answer.status_code, answer.json()["code"], answer.json()["number"]) == (503, "TDK-SCAN-AWAY", "E-215")
    assert int(answer.headers["Retry-After"]) > 0


def timer(sender: Sender) -> Callable[[], Awaitable[None]]:
    [found] = [timer for timer in sender.validation.service.timers if timer.name == "validation.rescan"]
    return found.run


async def test_a_message_waits_for_the_scanner_alone_and_goes_on_by_itself(
    sender: Sender, discipline: Discipline, clamd: Clamd, ports: Ports
) -> None:
    clock = ports.clock
    assert isinstance(clock, ManualClock)
    clamd.behaviour = "garbage"
    waiting = await sender.submit(CENTRE, {}, PLAN_SET, key="1")
    text = await sender.submit(CENTRE, {"recipient": HELPER, "text": "a"}, key="2")
    bad = await sender.submit(CENTRE, {"recipient": HELPER}, [("a.exe", b"MZ")], key="3")
    await heard(discipline, ports, waiting, text, bad)
    kinds = [kind for kind, _ in await said(sender)]
    assert sorted(kinds) == ["MessageAccepted", "MessageHeld", "MessageRejected"]
    [held] = [payload for kind, payload in await said(sender) if kind == "MessageHeld"]
    assert str(waiting.message_id) in held
    assert '"cause":"scan"' in held

    await _pass_time(clock, 40)
    await timer(sender)()
    assert not await discipline.parking.settle_one(), "nobody is tried while the scanner is away"

    clamd.behaviour = "well"
    await _pass_time(clock, 40)
    await timer(sender)()
    assert await discipline.parking.settle_one()
    assert [kind for kind, _ in await said(sender)][len(kinds) :] == ["MessageAccepted", "MessageReleased"]
    released = (await said(sender))[-1][1]
    assert '"kind":"system"' in released
    assert not await discipline.parking.settle_one()


async def test_a_hundred_waiting_messages_do_not_trip_the_breaker(
    sender: Sender, discipline: Discipline, clamd: Clamd, ports: Ports
) -> None:
    clamd.behaviour = "garbage"
    messages = [
        await sender.submit(CENTRE, {"recipient": HELPER}, [("a.png", photo(kind="PNG"))], key=str(n))
        for n in range(30)
    ]
    await heard(discipline, ports, *messages)
    assert not discipline.breaker_open
    assert [kind for kind, _ in await said(sender)] == ["MessageHeld"] * len(messages)
    clamd.behaviour = "well"
    clock = ports.clock
    assert isinstance(clock, ManualClock)
    await _pass_time(clock, 40)
    await timer(sender)()
    while await discipline.parking.settle_one():
        pass
    ended = [kind for kind, _ in await said(sender)][len(messages) :]
    assert ended == ["MessageAccepted", "MessageReleased"] * len(messages)


async def test_a_file_that_the_scanner_never_takes_is_tried_ever_more_rarely_and_an_operator_may_end_it(
    sender: Sender, discipline: Discipline, clamd: Clamd, ports: Ports
) -> None:
    clock = ports.clock
    assert isinstance(clock, ManualClock)
    clamd.stream_max = 10
    message = await sender.submit(CENTRE, {"recipient": HELPER}, [("a.png", photo(kind="PNG"))])
    await heard(discipline, ports, message)
    tries = 0
    for _ in range(60):
        await _pass_time(clock, 60)
        await timer(sender)()
        tries += await discipline.parking.settle_one()
    assert 5 <= tries <= 15
    word = {"reason": "検査できません", "ticket": "OPS-1"}
    async with sender.validation.operators_client() as http:
        path = f"/v1/operator/services/validation/parked/{message.message_id}/discard"
        assert (await http.post(path, json=word, headers=sender.validation.operator())).status_code == 202
    assert await discipline.parking.settle_one()
    assert [kind for kind, _ in await said(sender)] == ["MessageHeld", "OperatorActed", "MessageDiscarded"]


async def _pass_time(clock: ManualClock, seconds: float) -> None:
    await clock.sleep(seconds)
    await asyncio.sleep(0)


def test_the_test_virus_is_whole() -> None:
    assert len(EICAR) == 68
