"""One test per outcome of a submitted message."""

import io
from collections import Counter
from typing import Any

import pytest
from PIL import Image
from pypdf import PdfWriter
from pypdf.generic import DictionaryObject, NameObject, TextStringObject

import careplan
from todoke.events import (
    PAYLOAD_BYTES_MAX,
    FileValidated,
    MessageAccepted,
    MessageRejected,
    body_of,
)
from todoke.relay.faults import NotYet, Poison
from todoke.relay.service import Shared
from todoke.relay.testing import Stage, journalled

from .conftest import CENTRE, HELPER, Sender

PLAN_SET = careplan.sample_sets()["202407/plan_67_to_provider_a"]


def hostile() -> bytes:
    """A PDF that would run a script."""
    writer, out = PdfWriter(), io.BytesIO()
    writer.add_blank_page(72, 72)
    script = {NameObject("/S"): NameObject("/JavaScript"), NameObject("/JS"): TextStringObject("app.alert(1)")}
    writer.root_object[NameObject("/OpenAction")] = DictionaryObject(script)
    writer.write(out)
    return out.getvalue()


def damaged(files: list[tuple[str, bytes]], prefix: str, old: bytes, new: bytes) -> list[tuple[str, bytes]]:
    found = [(name, data.replace(old, new, 1) if name.startswith(prefix) else data) for name, data in files]
    assert found != files
    return found


def picture() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (8, 8), "white").save(out, "PNG")
    return out.getvalue()


def verdict_of(events: list[Any]) -> Any:
    assert all(isinstance(event, FileValidated) for event in events[:-1])
    return events[-1]


@pytest.mark.long
async def test_every_sample_set_is_accepted(sender: Sender) -> None:
    submitted = []
    for folder, files in careplan.sample_sets().items():
        name = careplan.parse_name(files[0][0])
        assert name is not None
        submitted.append(await sender.submit(name.sender_office, {"allow_resend": True}, files, key=folder))
    events = await sender.judge(*submitted)
    assert [event for event in events if isinstance(event, MessageRejected)] == []
    assert Counter(type(event) for event in events) == {
        MessageAccepted: len(submitted),
        FileValidated: sum(len(message.package.parts) for message in submitted),
    }


async def test_a_valid_set_is_accepted_with_its_package(sender: Sender) -> None:
    submitted = await sender.submit(CENTRE, {"text": "a"}, [*PLAN_SET, ("図.png", picture())])
    events = await sender.judge(submitted)
    accepted = verdict_of(events)
    assert isinstance(accepted, MessageAccepted)
    assert accepted.package == submitted.package
    assert (accepted.sender_version, accepted.recipient_version, accepted.counts.errors) == (1, 1, 0)
    assert [(event.part, event.kind, event.csv_version) for event in events[:-1]] == [
        (1, "UPHOSOKU", "202407"),
        (2, "UPPLAN", "202407"),
        (3, "UPSIKYU", "202407"),
        (4, None, None),
    ]


async def test_a_text_alone_is_accepted(sender: Sender) -> None:
    [accepted] = await sender.judge(await sender.submit(CENTRE, {"recipient": HELPER, "text": "a"}))
    assert isinstance(accepted, MessageAccepted)


async def test_a_missing_form_is_rejected(sender: Sender) -> None:
    submitted = await sender.submit(CENTRE, {}, PLAN_SET[:2])
    rejected = verdict_of(await sender.judge(submitted))
    assert isinstance(rejected, MessageRejected)
    assert [(finding.code, finding.severity) for finding in rejected.findings] == [("TDK-MISSING-FILE", "error")]
    assert rejected.counts.errors == 1


async def test_a_damaged_row_is_rejected_at_its_place(sender: Sender) -> None:
    files = damaged(PLAN_SET, "UPPLAN", b"202509", b"20250A")
    rejected = verdict_of(await sender.judge(await sender.submit(CENTRE, {}, files)))
    assert isinstance(rejected, MessageRejected)
    assert rejected.findings[0].part == 2
    assert rejected.findings[0].row is not None
    assert rejected.findings[0].column_name is not None


async def test_a_set_to_the_wrong_role_is_rejected(sender: Sender) -> None:
    files = [(name.replace(f"{HELPER}_11", f"{HELPER}_43"), data) for name, data in PLAN_SET]
    rejected = verdict_of(await sender.judge(await sender.submit(CENTRE, {}, files)))
    assert isinstance(rejected, MessageRejected)


async def test_a_hostile_attachment_is_rejected(sender: Sender) -> None:
    for name, data, code in [
        ("a.docx", b"PK\x03\x04", "TDK-ATTACHMENT-KIND"),
        ("a.pdf", picture(), "TDK-ATTACHMENT-CONTENT"),
        ("a.pdf", hostile(), "TDK-ATTACHMENT-ACTIVE"),
    ]:
        submitted = await sender.submit(CENTRE, {"recipient": HELPER}, [(name, data)], key=code)
        events = await sender.judge(submitted)
        rejected = verdict_of(events)
        assert isinstance(rejected, MessageRejected)
        assert [(finding.code, finding.part) for finding in rejected.findings] == [(code, 1)]
        assert events[0].counts.errors == 1


async def test_thousands_of_findings_are_counted_and_cut_to_fit(sender: Sender) -> None:
    files = [(name, b'"x"\r\n' * 3000 if name.startswith("UPPLAN") else data) for name, data in PLAN_SET]
    rejected = verdict_of(await sender.judge(await sender.submit(CENTRE, {"text": "\u3042" * 1000}, files)))
    assert isinstance(rejected, MessageRejected)
    assert rejected.counts.errors >= len(rejected.findings) > 0
    assert len(body_of(rejected)) <= PAYLOAD_BYTES_MAX


async def test_a_repeated_submission_says_nothing(sender: Sender, shared: Shared) -> None:
    submitted = await sender.submit(CENTRE, {}, PLAN_SET)
    assert len(await sender.judge(submitted)) == 4
    assert await sender.judge(submitted) == []
    await shared.objects.delete(submitted.package.object_key)  # erased since: a replay does not ask for it
    assert await sender.judge(submitted) == []


async def test_it_waits_for_the_directory_that_ingest_saw(sender: Sender) -> None:
    submitted = await sender.submit(CENTRE, {}, PLAN_SET)
    with pytest.raises(NotYet):
        await sender.judge(submitted.model_copy(update={"recipient_version": 2}))


async def test_a_missing_bundle_is_poison(sender: Sender, shared: Shared) -> None:
    submitted = await sender.submit(CENTRE, {}, PLAN_SET)
    await shared.objects.delete(submitted.package.object_key)
    with pytest.raises(Poison, match="missing"):
        await sender.judge(submitted)


async def test_a_changed_bundle_is_poison(sender: Sender, shared: Shared) -> None:
    submitted = await sender.submit(CENTRE, {}, PLAN_SET)
    bundle = bytearray(await shared.objects.get(submitted.package.object_key))
    bundle[40] ^= 1
    await shared.objects.put(submitted.package.object_key, bytes(bundle))
    with pytest.raises(Poison, match="changed"):
        await sender.judge(submitted)


async def test_a_wrong_commitment_is_poison(sender: Sender) -> None:
    submitted = await sender.submit(CENTRE, {}, PLAN_SET)
    part = submitted.package.parts[0].model_copy(update={"commitment": "0" * 64})
    package = submitted.package.model_copy(update={"parts": (part, *submitted.package.parts[1:])})
    with pytest.raises(Poison, match="commitment"):
        await sender.judge(submitted.model_copy(update={"package": package}))


async def test_nothing_personal_is_said(sender: Sender) -> None:
    name, text = "カナリア花子.pdf", "秘密の文"
    submitted = await sender.submit(CENTRE, {"recipient": HELPER, "text": text}, [(name, hostile())])
    await sender.judge(submitted)
    async with sender.validation.db.worker() as tx:
        journal = str(await journalled(tx))
    assert "MessageRejected" in journal
    assert "カナリア" not in journal
    assert text not in journal


async def test_a_batch_of_messages_is_judged_together(sender: Sender) -> None:
    good = [await sender.submit(CENTRE, {"allow_resend": True}, PLAN_SET, key=f"{n}") for n in range(5)]
    bad = await sender.submit(CENTRE, {"allow_resend": True}, PLAN_SET[:1], key="bad")
    events = await sender.judge(*good, bad)
    verdicts = {event.message_id: type(event) for event in events if not isinstance(event, FileValidated)}
    assert verdicts == {**{one.message_id: MessageAccepted for one in good}, bad.message_id: MessageRejected}
    await _rows_are(sender.validation, {"accepted": 5, "rejected": 1})


async def _rows_are(stage: Stage, expected: dict[str, int]) -> None:
    async with stage.db.worker() as tx:
        rows = await tx.db.fetch("SELECT verdict, count(*) AS n FROM judgement GROUP BY verdict")
    assert {row["verdict"]: row["n"] for row in rows} == expected
