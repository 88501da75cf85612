"""Everything bad that can be sent: each with a code, a status and words of its own, and nothing of it is kept.

What the first look tells is refused at once; what only the contents tell is rejected by validation with a finding.
"""

import dataclasses
import io
import json
import zipfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

import httpx
import pikepdf
import pytest
from PIL import Image

import careplan
from todoke.events import FileValidated, MessageRejected
from todoke.relay.problem import wordings
from todoke.relay.service import Shared
from todoke.relay.testing import Stage
from todoke.relay.upload import BytesInFlight, process_budget

from .conftest import CENTRE, HELPER, Sender

PLAN_SET = careplan.sample_sets()["202407/plan_67_to_provider_a"]
OLD_SET = careplan.sample_sets()["202208/plan_67_to_provider_a"]
SUPPLEMENT, PLAN, ANNEX = (name for name, _ in PLAN_SET)

Files = Sequence[tuple[str, bytes]]


@dataclasses.dataclass(frozen=True)
class Bad:
    """One bad message: what is sent, and the answer (202: accepted for judgement, then rejected with this code)."""

    status: int
    code: str
    files: Callable[[], Files]
    body: dict[str, Any] = dataclasses.field(default_factory=dict)


def pdf(change: Callable[[pikepdf.Pdf], None] | None = None, **saving: Any) -> bytes:
    made, out = pikepdf.Pdf.new(), io.BytesIO()
    made.add_blank_page()
    if change is not None:
        change(made)
    made.save(out, **saving)
    return out.getvalue()


def scripted(made: pikepdf.Pdf) -> None:
    made.Root.OpenAction = pikepdf.Dictionary(S=pikepdf.Name.JavaScript, JS=pikepdf.String("app.alert(1)"))


def photo(size: tuple[int, int] = (64, 48), kind: str = "JPEG") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, "white").save(out, kind)
    return out.getvalue()


def picture_bomb() -> bytes:
    """A PNG of 400 million pixels in some kilobytes."""
    out = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(out, "PNG", optimize=True)
    return out.getvalue()


def macro_document() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("word/document.xml", "<w/>")
        archive.writestr("word/vbaProject.bin", "x")
    return out.getvalue()


def one(name: str, data: bytes | None = None) -> Callable[[], Files]:
    return lambda: [(name, pdf() if data is None else data)]


def made(name: str, make: Callable[[], bytes]) -> Callable[[], Files]:
    return lambda: [(name, make())]


def plan(change: Callable[[bytes], bytes]) -> Callable[[], Files]:
    """The sample set with the plan's bytes changed."""
    return lambda: [(name, change(data) if name == PLAN else data) for name, data in PLAN_SET]


def renamed(old: str, new: str) -> Callable[[], Files]:
    return lambda: [(name.replace(old, new), data) for name, data in PLAN_SET]


def mixed() -> Files:
    """The set with its annex in the older version, under one sequence."""
    [old] = [(name, data) for name, data in OLD_SET if name.startswith("UPSIKYU")]
    return [*PLAN_SET[:2], (f"UPSIKYU_202509_{CENTRE}_{HELPER}_20250825121901.CSV", old[1])]


TO_HELPER = {"recipient": HELPER}
SVG = b"<svg xmlns='http://www.w3.org/2000/svg'/>"

BAD: dict[str, Bad] = {
    "too many files": Bad(413, "TDK-FILES-TOO-MANY", lambda: [(f"{n}.pdf", b"x") for n in range(31)], TO_HELPER),
    "a file too large": Bad(413, "TDK-FILE-TOO-LARGE", made("a.pdf", lambda: bytes(10 * 2**20 + 1)), TO_HELPER),
    "files too large": Bad(
        413, "TDK-MESSAGE-TOO-LARGE", lambda: [(f"{n}.pdf", bytes(9 * 2**20)) for n in range(4)], TO_HELPER
    ),
    "two equal names": Bad(422, "TDK-FILE-NAME-TWICE", lambda: [*one("a.pdf")(), *one("a.pdf")()], TO_HELPER),
    "look-alikes": Bad(422, "TDK-FILE-NAME-ALIKE", lambda: [*one("カード.pdf")(), *one("力一ド.pdf")()], TO_HELPER),
    "a wrong name": Bad(422, "TDK-FILE-NAME", renamed("UPPLAN", "UPPLAM")),
    "an office of 9 digits": Bad(422, "TDK-FILE-NAME-OFFICE", renamed(f"_{HELPER}_", f"_{HELPER[1:]}_")),
    "a sequence of 13 digits": Bad(422, "TDK-FILE-NAME-SEQUENCE", renamed("_20250825121901", "_2025082512190")),
    "a name with a path": Bad(422, "TDK-FILE-NAME-PATH", one("../a.pdf"), TO_HELPER),
    "a name that turns its direction": Bad(422, "TDK-FILE-NAME-DIRECTION", one("a\u202efdp.exe"), TO_HELPER),
    "a name with control characters": Bad(422, "TDK-FILE-NAME-CONTROL", one("a\x7f.pdf"), TO_HELPER),
    "a name with gaiji": Bad(422, "TDK-FILE-NAME-CHARACTER", one("a\ue000.pdf"), TO_HELPER),
    "a device name": Bad(422, "TDK-FILE-NAME-DEVICE", one("NUL.pdf"), TO_HELPER),
    "a name of 256 bytes": Bad(413, "TDK-FILE-NAME-TOO-LONG", one("a" * 252 + ".pdf"), TO_HELPER),
    "an empty name": Bad(422, "TDK-FILE-NAME-EMPTY", one("..."), TO_HELPER),
    "an unknown office": Bad(422, "TDK-UNKNOWN-OFFICE", one("a.pdf"), {"recipient": "9979999999"}),
    "the own number": Bad(422, "TDK-OWN-NUMBER", one("a.pdf"), {"recipient": CENTRE}),
    "two sets at once": Bad(
        422, "TDK-NAMES-DISAGREE", lambda: [PLAN_SET[0], (PLAN.replace("1901.", "1902."), PLAN_SET[1][1])]
    ),
    "not cp932": Bad(202, "TDK-ENCODING", plan(lambda data: data.replace(b"\r\n", b"\x80\r\n", 1))),
    "UTF-8 with BOM": Bad(202, "TDK-ENCODING-UTF8", plan(lambda data: data.decode("cp932").encode("utf-8-sig"))),
    "NUL": Bad(202, "TDK-NUL", plan(lambda data: data.replace(b"202509", b"2025\x009", 1))),
    "gaiji": Bad(202, "TDK-GAIJI", plan(lambda data: data.replace(b'",', b'\xf0\x40",', 1))),
    "a line of 10 MB": Bad(202, "TDK-LINE-LENGTH", plan(lambda _: b'"' + b"x" * (10 * 2**20 - 2) + b'"')),
    "a wrong combination": Bad(
        202, "TDK-COMBINATION", lambda: [*PLAN_SET, (PLAN.replace("UPPLAN_202509", "UP1KYO"), PLAN_SET[1][1])]
    ),
    "mixed versions": Bad(202, "TDK-VERSIONS-MIXED", mixed),
    "a PDF with active content": Bad(202, "TDK-ATTACHMENT-ACTIVE", made("a.pdf", lambda: pdf(scripted)), TO_HELPER),
    "an encrypted PDF": Bad(
        202,
        "TDK-ATTACHMENT-ENCRYPTED",
        made("a.pdf", lambda: pdf(encryption=pikepdf.Encryption(owner="a", user="b"))),
        TO_HELPER,
    ),
    "a truncated PDF": Bad(202, "TDK-ATTACHMENT-UNREADABLE", made("a.pdf", lambda: pdf()[:-40]), TO_HELPER),
    "a PDF with something appended": Bad(
        202, "TDK-ATTACHMENT-APPENDED", made("a.pdf", lambda: pdf() + macro_document()), TO_HELPER
    ),
    "a JPEG that is none": Bad(202, "TDK-ATTACHMENT-CONTENT", made("a.jpg", lambda: photo(kind="GIF")), TO_HELPER),
    "a picture bomb": Bad(202, "TDK-ATTACHMENT-PIXELS", made("a.png", picture_bomb), TO_HELPER),
    "an executable in disguise": Bad(202, "TDK-ATTACHMENT-PROGRAM", one("a.pdf", b"MZ" + bytes(99)), TO_HELPER),
    "SVG": Bad(202, "TDK-ATTACHMENT-SVG", one("a.svg", SVG), TO_HELPER),
    "a macro document": Bad(202, "TDK-ATTACHMENT-MACRO", made("a.docm", macro_document), TO_HELPER),
    "another kind of file": Bad(202, "TDK-ATTACHMENT-KIND", one("a.heic", b"x"), TO_HELPER),
}


SHARED_NUMBERS = {"E-214"}
"""The one number that stands for several codes: the screens tell them apart in brackets."""


def test_each_has_a_code_a_number_and_words_of_its_own() -> None:
    codes = [bad.code for bad in BAD.values()]
    assert len(set(codes)) == len(codes)
    known: dict[str, Any] = {**wordings(), **careplan.finding_texts()}
    numbers = [known[code].number for code in codes if known[code].number not in SHARED_NUMBERS]
    assert None not in numbers
    assert len(set(numbers)) == len(numbers)
    findings = careplan.finding_texts()
    words = [
        (findings[code].message, findings[code].advice)
        if code in findings
        else (wordings()[code].title, wordings()[code].detail)
        for code in codes
    ]
    assert len(set(words)) == len(words)
    assert all(message and advice.endswith("。") for message, advice in words)


@dataclasses.dataclass
class Watched:
    """What was put into object storage, and the bytes that are held for uploads."""

    put: list[str]
    budget: BytesInFlight


@pytest.fixture
def watched(shared: Shared, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    put: list[str] = []
    really = shared.objects.put

    async def noted(key: str, *args: Any, **options: Any) -> None:
        put.append(key)
        await really(key, *args, **options)

    monkeypatch.setattr(shared.objects, "put", noted)
    budget = process_budget(shared.settings.limits.bytes_in_flight_max)
    yield Watched(put, budget)
    assert budget.held == 0


@pytest.fixture
async def http(sender: Sender) -> AsyncIterator[httpx.AsyncClient]:
    async with sender.ingest.client() as client:
        yield client


def encoded(body: object, files: Files) -> tuple[bytes, dict[str, str]]:
    """The multipart body as the wire carries it, names exactly as they are."""
    head = b'Content-Disposition: form-data; name="message"\r\nContent-Type: application/json\r\n\r\n'
    parts = [head + json.dumps(body).encode()]
    parts += [
        f'Content-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'.encode() + data
        for name, data in files
    ]
    whole = b"".join(b"--b0undary\r\n" + part + b"\r\n" for part in parts) + b"--b0undary--\r\n"
    return whole, {"Content-Type": "multipart/form-data; boundary=b0undary"}


async def kept(ingest: Stage) -> int:
    """Rows that speak of a message."""
    async with ingest.db.worker() as tx:
        return int(
            await tx.db.fetchval(
                "SELECT (SELECT count(*) FROM submission) + (SELECT count(*) FROM idempotency)"
                " + (SELECT count(*) FROM journal) + (SELECT count(*) FROM sequence_use)"
            )
        )


async def test_what_the_first_look_tells_is_refused_at_once_and_kept_nowhere(
    sender: Sender, http: httpx.AsyncClient, watched: Watched
) -> None:
    for what, bad in BAD.items():
        if bad.status == 202:
            continue
        content, headers = encoded(bad.body, bad.files())
        headers |= {"Idempotency-Key": "key", **sender.ingest.token(CENTRE)}
        answer = await http.post("/v1/messages", content=content, headers=headers)
        problem, words = answer.json(), wordings()[bad.code]
        assert (answer.status_code, problem["code"], problem["number"]) == (bad.status, bad.code, words.number), what
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert problem["title"][:5] == words.title[:5]
        assert problem["detail"][-5:] == words.detail[-5:]
        assert (await kept(sender.ingest), watched.put, watched.budget.held) == (0, [], 0), what


async def test_what_only_the_contents_tell_is_rejected_with_its_finding(sender: Sender, watched: Watched) -> None:
    for what, bad in BAD.items():
        if bad.status != 202:
            continue
        body = {"allow_resend": True, **bad.body}
        submitted = await sender.submit(CENTRE, body, bad.files(), key=bad.code)
        *files, rejected = await sender.judge(submitted)
        assert all(isinstance(event, FileValidated) for event in files)
        assert isinstance(rejected, MessageRejected), what
        assert bad.code in {finding.code for finding in rejected.findings if finding.severity == "error"}, what
        put = list(watched.put)
        answer = await sender.check(CENTRE, body, bad.files())
        assert answer["verdict"] == "reject"
        [finding] = [one for one in answer["findings"] if one["code"] == bad.code][:1]
        text = careplan.finding_texts()[bad.code]
        assert (finding["number"], finding["severity"]) == (text.number, "error")
        assert finding["message"][:4] == text.message[:4]
        assert finding["advice"] == text.advice
        assert (watched.put, watched.budget.held) == (put, 0), "check keeps nothing"
