"""A body is read into bounded memory, and each way in which it may be bad has its own answer."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Iterable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect

from todoke.relay.limits import Limits
from todoke.relay.problem import Problem
from todoke.relay.upload import BytesInFlight, Form, Upload, receiving

LIMITS = Limits(file_bytes_max=1000, message_bytes_max=2500, files_per_message_max=3)
MESSAGE = b'{"recipient": "9970100117"}'
JSON_PART = (b'Content-Disposition: form-data; name="message"\r\nContent-Type: application/json', MESSAGE)


class Arriving:
    """A request whose body arrives in these chunks."""

    def __init__(self, chunks: Iterable[bytes], headers: dict[str, str], *, hangs: bool = False) -> None:
        self.headers = Headers(headers)
        self._chunks = chunks
        self._hangs = hangs

    async def stream(self) -> AsyncGenerator[bytes, None]:
        for chunk in self._chunks:
            yield chunk
        if self._hangs:
            await asyncio.sleep(60)


def file_part(name: str, data: bytes, *, disposition: str = 'name="files"; filename="{name}"') -> tuple[bytes, bytes]:
    head = "Content-Disposition: form-data; " + disposition.format(name=name)
    return head.encode() + b"\r\nContent-Type: application/octet-stream", data


def encoded(parts: Sequence[tuple[bytes, bytes]], boundary: bytes = b"b0undary") -> bytes:
    body = b"".join(b"--" + boundary + b"\r\n" + head + b"\r\n\r\n" + data + b"\r\n" for head, data in parts)
    return body + b"--" + boundary + b"--\r\n"


class Counted:
    """A quota that is never used up, and how much was drawn."""

    def __init__(self) -> None:
        self.drawn = 0

    def take(self, count: int) -> None:
        self.drawn += count

    def give(self, count: int) -> None:
        self.drawn -= count


async def read(
    body: bytes | Iterable[bytes],
    *,
    content_type: str = "multipart/form-data; boundary=b0undary",
    form: Form | None = None,
    in_flight: BytesInFlight | None = None,
    seconds_max: float = 5,
    hangs: bool = False,
    quota: Counted | None = None,
    **headers: str,
) -> Upload:
    chunks = [body] if isinstance(body, bytes) else body
    request = Arriving(chunks, {"content-type": content_type, **headers}, hangs=hangs)
    budget = in_flight or BytesInFlight(10_000)
    async with receiving(
        request, form or Form.message(LIMITS), budget, seconds_max=seconds_max, quota=quota or Counted()
    ) as upload:
        assert budget.held == len(upload.json) + upload.size
        return upload


async def refusal(body: bytes | Iterable[bytes], **options: object) -> tuple[int, str]:
    with pytest.raises(Problem) as caught:
        await read(body, **options)  # type: ignore[arg-type]
    return caught.value.status, caught.value.code


async def test_message_and_files_are_read_in_their_order() -> None:
    upload = await read(encoded([file_part("b.pdf", b"\r\n--b0"), JSON_PART, file_part("計画 1.csv", b"")]))
    assert upload.json == MESSAGE
    assert [(file.name, file.data) for file in upload.files] == [("b.pdf", b"\r\n--b0"), ("計画 1.csv", b"")]


@given(data=st.binary(max_size=900), cut=st.integers(1, 64))
def test_any_bytes_in_any_chunks_come_out_as_they_went_in(data: bytes, cut: int) -> None:
    body = encoded([JSON_PART, file_part("a.csv", data)], b"------------q7")
    if b"------------q7" in data:
        return
    chunks = [body[at : at + cut] for at in range(0, len(body), cut)]
    upload = asyncio.run(read(chunks, content_type='multipart/form-data; boundary="------------q7"'))
    assert upload.files[0].data == data


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        ("name=files; filename=plain.csv", "plain.csv"),
        ("name=\"files\"; filename*=UTF-8''%E8%A8%88%E7%94%BB.pdf", "計画.pdf"),
        ('name="files"; filename="fallback.pdf"; filename*=utf-8\'ja\'%E8%A1%A8.pdf', "表.pdf"),
        ('name="files"; filename*=utf-8\'\'a.pdf; filename="b.pdf"', "a.pdf"),
        ('name="files"; filename="say \\"hi\\".pdf"', 'say "hi".pdf'),
        ('name="files"; filename="C:\\dir\\a.pdf"', "C:\\dir\\a.pdf"),
        ('NAME="files"; FileName="第6表.csv"', "第6表.csv"),
        ('name="files"; filename="a;b=c.pdf"', "a;b=c.pdf"),
    ],
)
async def test_a_file_name_is_understood_in_every_form(disposition: str, name: str) -> None:
    upload = await read(encoded([JSON_PART, file_part("", b"x", disposition=disposition)]))
    assert upload.files[0].name == name


@pytest.mark.parametrize("kind", ["application/json", "", "multipart/mixed; boundary=b0undary"])
async def test_another_kind_of_body_is_415(kind: str) -> None:
    assert await refusal(encoded([JSON_PART]), content_type=kind) == (415, "TDK-BODY-KIND")


async def test_a_compressed_body_is_415() -> None:
    body = encoded([JSON_PART])
    assert await refusal(body, **{"content-encoding": "gzip"}) == (415, "TDK-BODY-KIND")


async def test_a_json_part_of_another_type_is_415() -> None:
    part = (b'Content-Disposition: form-data; name="message"\r\nContent-Type: text/plain', MESSAGE)
    assert await refusal(encoded([part])) == (415, "TDK-BODY-KIND")


async def test_a_json_part_without_a_type_is_taken() -> None:
    part = (b'Content-Disposition: form-data; name="message"', MESSAGE)
    assert (await read(encoded([part]))).json == MESSAGE


@pytest.mark.parametrize(
    "kind",
    ["multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=" + "x" * 71],
)
async def test_a_missing_or_bad_boundary_is_400(kind: str) -> None:
    assert await refusal(encoded([JSON_PART]), content_type=kind) == (400, "TDK-BODY-BOUNDARY")


@pytest.mark.parametrize(
    "body",
    [encoded([JSON_PART], b"other"), b"rubbish", MESSAGE, encoded([JSON_PART])[2:], b"--b0undary" + b"x" * 20],
)
async def test_a_body_without_its_boundary_is_400(body: bytes) -> None:
    assert await refusal(body) == (400, "TDK-BODY-BOUNDARY")


@pytest.mark.parametrize(
    "body", [encoded([JSON_PART])[:-12], encoded([JSON_PART, file_part("a.csv", b"x" * 50)])[:-40], b""]
)
async def test_a_body_that_ends_too_early_is_400(body: bytes) -> None:
    assert await refusal(body) == (400, "TDK-BODY-CUT")


BROKEN = {
    "no disposition": encoded([(b"Content-Type: application/json", MESSAGE)]),
    "no name": encoded([(b"Content-Disposition: form-data", MESSAGE)]),
    "name twice": encoded([(b'Content-Disposition: form-data; name="message"; name="message"', MESSAGE)]),
    "an attachment disposition": encoded([(b'Content-Disposition: attachment; name="message"', MESSAGE)]),
    "base64": encoded([(JSON_PART[0] + b"\r\nContent-Transfer-Encoding: base64", MESSAGE)]),
    "a name that is no UTF-8": encoded(
        [JSON_PART, (b'Content-Disposition: form-data; name="files"; filename="\x88"', b"")]
    ),
    "filename* in another charset": encoded(
        [JSON_PART, file_part("", b"", disposition="name=files; filename*=shift_jis''%82")]
    ),
    "filename* that is no UTF-8": encoded(
        [JSON_PART, file_part("", b"", disposition="name=files; filename*=utf-8''%82")]
    ),
    "a long header": encoded([(b"X-Long: " + b"x" * 5000 + b"\r\n" + JSON_PART[0], MESSAGE)]),
    "many headers": encoded([(b"X-A: b\r\n" * 9 + JSON_PART[0], MESSAGE)]),
}


@pytest.mark.parametrize("what", BROKEN)
async def test_a_broken_body_is_400(what: str) -> None:
    assert await refusal(BROKEN[what]) == (400, "TDK-BODY-MALFORMED")


async def test_a_client_that_goes_away_is_400() -> None:
    class Leaving(Arriving):
        async def stream(self) -> AsyncGenerator[bytes, None]:
            yield encoded([JSON_PART])[:20]
            raise ClientDisconnect

    request = Leaving([], {"content-type": "multipart/form-data; boundary=b0undary"})
    budget = BytesInFlight(10_000)
    with pytest.raises(Problem) as caught:
        async with receiving(request, Form.message(LIMITS), budget, seconds_max=5, quota=Counted()):
            pass
    assert caught.value.code == "TDK-BODY-CUT"
    assert budget.held == 0


@pytest.mark.parametrize(
    ("parts", "answer"),
    [
        ([file_part("a.csv", b"x")], (422, "TDK-PART-MISSING")),
        ([JSON_PART, JSON_PART], (422, "TDK-PART-TWICE")),
        ([JSON_PART, file_part("a.csv", b"x", disposition='name="file"; filename="a"')], (422, "TDK-PART-UNKNOWN")),
        ([JSON_PART, file_part("", b"x", disposition='name="files"')], (422, "TDK-FILE-NAME-MISSING")),
        ([JSON_PART, file_part("a.csv", b"x" * 1001)], (413, "TDK-FILE-TOO-LARGE")),
        ([JSON_PART, *[file_part(f"{n}.csv", b"x" * 900) for n in range(3)]], (413, "TDK-MESSAGE-TOO-LARGE")),
        ([JSON_PART, *[file_part(f"{n}.csv", b"x") for n in range(4)]], (413, "TDK-FILES-TOO-MANY")),
        ([(JSON_PART[0], b" " * 70_000)], (413, "TDK-MESSAGE-PART-TOO-LARGE")),
    ],
)
async def test_each_wrong_set_of_parts_has_its_code(parts: list[tuple[bytes, bytes]], answer: tuple[int, str]) -> None:
    budget = BytesInFlight(100_000)
    assert await refusal(encoded(parts), in_flight=budget) == answer
    assert budget.held == 0


async def test_the_size_of_a_file_is_bounded_while_it_arrives() -> None:
    taken = 0

    def endless() -> Iterable[bytes]:
        nonlocal taken
        yield encoded([JSON_PART])[:-14] + b"\r\n--b0undary\r\n" + file_part("a.csv", b"")[0] + b"\r\n\r\n"
        while True:
            taken += 100
            yield b"x" * 100

    assert await refusal(endless()) == (413, "TDK-FILE-TOO-LARGE")
    assert taken <= 1100


async def test_a_body_that_says_it_is_too_long_is_not_read() -> None:
    def never() -> Iterable[bytes]:
        yield b""
        pytest.fail("the body was read")

    assert await refusal(never(), **{"content-length": "10000000"}) == (413, "TDK-MESSAGE-TOO-LARGE")


async def test_a_long_preamble_is_bounded_too() -> None:
    assert await refusal([b"\r\n" * 1000] * 1000) == (413, "TDK-MESSAGE-TOO-LARGE")


async def test_a_body_that_takes_too_long_is_408() -> None:
    assert await refusal(encoded([JSON_PART])[:30], hangs=True, seconds_max=0.01) == (408, "TDK-BODY-SLOW")


async def test_more_bytes_than_the_process_may_hold_are_503() -> None:
    budget = BytesInFlight(1500)
    body = encoded([JSON_PART, file_part("a.csv", b"x" * 900)])
    request = Arriving([body], {"content-type": "multipart/form-data; boundary=b0undary"})
    async with receiving(request, Form.message(LIMITS), budget, seconds_max=5, quota=Counted()):
        with pytest.raises(Problem) as caught:
            await read(body, in_flight=budget)
        assert (caught.value.status, caught.value.code, caught.value.retry_after) == (503, "TDK-BUSY", 3)
    assert budget.held == 0
    await read(body, in_flight=budget)


async def test_a_batch_names_its_file_parts() -> None:
    form = Form.batch(LIMITS)
    part = (b'Content-Disposition: form-data; name="messages"\r\nContent-Type: application/json', b"[]")
    named = file_part("a.csv", b"x", disposition='name="f12"; filename="a.csv"')
    upload = await read(encoded([part, named]), form=form)
    assert [file.part for file in upload.files] == ["f12"]
    other = file_part("a.csv", b"x", disposition='name="f0"; filename="a.csv"')
    assert await refusal(encoded([part, other]), form=form) == (422, "TDK-PART-UNKNOWN")


@given(body=st.binary(max_size=400), cut=st.integers(1, 50))
def test_no_body_whatever_raises_anything_but_a_problem(body: bytes, cut: int) -> None:
    chunks = [body[at : at + cut] for at in range(0, len(body), cut)]
    for whole in (chunks, [b"--b0undary\r\n" + JSON_PART[0] + b"\r\n\r\n", *chunks, b"\r\n--b0undary--\r\n"]):
        budget = BytesInFlight(10_000)
        with contextlib.suppress(Problem):
            asyncio.run(read(whole, in_flight=budget))
        assert budget.held == 0


class Bounded(Counted):
    """A quota of some bytes."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most

    def take(self, count: int) -> None:
        if self.drawn + count > self.most:
            raise Problem("TDK-TOO-MANY", retry_after=1, seconds=1)
        super().take(count)


async def test_a_body_counts_whatever_becomes_of_it() -> None:
    whole = encoded([JSON_PART, file_part("a.pdf", bytes(500))])
    for body, declared in ((whole, True), (whole, False), (whole[:-9], True), (b"rubbish" * 9, True)):
        quota = Counted()
        length: dict[str, Any] = {"content-length": str(len(body))} if declared else {}
        with contextlib.suppress(Problem):
            await read([body[:100], body[100:]], quota=quota, **length)
        assert quota.drawn == len(body), (body[:20], declared)


async def test_what_was_announced_and_did_not_come_is_given_back() -> None:
    quota = Counted()
    body = encoded([JSON_PART])
    assert await refusal(body[:50], quota=quota, **{"content-length": "900"}) == (400, "TDK-BODY-CUT")
    assert quota.drawn == 50


async def test_a_body_over_the_quota_is_refused_unread_or_as_soon_as_it_is_over() -> None:
    arrived = []

    def chunks() -> Iterable[bytes]:
        for chunk in (encoded([JSON_PART])[:40], bytes(40), bytes(40)):
            arrived.append(chunk)
            yield chunk

    too_many = (429, "TDK-TOO-MANY")
    assert await refusal(chunks(), quota=Bounded(60), **{"content-length": "61"}) == too_many
    assert arrived == []
    assert await refusal(chunks(), quota=Bounded(60)) == too_many
    assert len(arrived) == 2
