"""A parser child that is killed in the middle of a message: a retry or a finding, and never a lost message."""

import json
from collections.abc import Callable

import pytest

from services.validation import attachments
from todoke.relay.clock import Ports
from todoke.relay.consumer import Discipline

from .conftest import CENTRE, HELPER, Sender, heard, said
from .test_bad_input import pdf, photo


@pytest.fixture
def killing(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], list[int]]:
    """`killing(n)`: the next n children that get a job are killed with the job in hand; answers whom."""

    def begin(times: int) -> list[int]:
        killed: list[int] = []
        answer = attachments._Child._answer

        async def dying(child: attachments._Child, kind: bytes, data: bytes) -> bytes:
            if len(killed) < times:
                killed.append(child._process.pid)
                child._process.kill()
            return await answer(child, kind, data)

        monkeypatch.setattr(attachments._Child, "_answer", dying)
        return killed

    return begin


async def test_a_child_killed_once_is_a_retry(
    sender: Sender, discipline: Discipline, ports: Ports, killing: Callable[[int], list[int]]
) -> None:
    message = await sender.submit(CENTRE, {"recipient": HELPER}, [("a.pdf", pdf()), ("b.jpg", photo())])
    killed = killing(1)
    await heard(discipline, ports, message)
    assert len(killed) == 1
    assert [kind for kind, _ in await said(sender)] == ["MessageAccepted"]


async def test_children_killed_again_and_again_are_a_finding(
    sender: Sender, discipline: Discipline, ports: Ports, killing: Callable[[int], list[int]]
) -> None:
    bad = await sender.submit(CENTRE, {"recipient": HELPER}, [("a.pdf", pdf())], key="1")
    good = await sender.submit(CENTRE, {"recipient": HELPER, "text": "a"}, key="2")
    killed = killing(99)
    await heard(discipline, ports, bad, good)
    assert len(set(killed)) == 2
    found = {kind: json.loads(payload) for kind, payload in await said(sender)}
    assert sorted(found) == ["MessageAccepted", "MessageRejected"]
    assert [one["code"] for one in found["MessageRejected"]["findings"]] == ["TDK-ATTACHMENT-UNREADABLE"]


async def test_a_machine_that_starts_no_child_makes_the_message_wait(
    sender: Sender, discipline: Discipline, ports: Ports, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = await sender.submit(CENTRE, {"recipient": HELPER}, [("a.pdf", pdf())])
    with monkeypatch.context() as patched:
        patched.setattr("sys.executable", "/nowhere/python")
        with pytest.raises(AssertionError, match="waits for nobody"):
            await heard(discipline, ports, message)
    assert await said(sender) == []
    await heard(discipline, ports, message)
    assert [kind for kind, _ in await said(sender)] == ["MessageAccepted"]
