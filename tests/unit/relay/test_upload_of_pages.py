"""A form of a page: fields and files beside each other, with the same bounds as every upload."""

from collections.abc import Sequence

import pytest

from tests.unit.relay.test_upload import Arriving, encoded, file_part, refusal
from todoke.relay.upload import BytesInFlight, Form, Upload, receiving

PAGE = Form.page(files_max=2, file_bytes_max=10, bytes_max=15, fields_max=3, fields_bytes_max=20)


def field(name: str, value: str) -> tuple[bytes, bytes]:
    return f'Content-Disposition: form-data; name="{name}"'.encode(), value.encode()


async def read_page(body: bytes) -> Upload:
    budget = BytesInFlight(10_000)
    request = Arriving([body], {"content-type": "multipart/form-data; boundary=b0undary"})
    async with receiving(request, PAGE, budget, seconds_max=5) as page:
        return page


async def test_fields_and_files_come_in_the_order_of_the_page() -> None:
    body = encoded([field("text", "一\r\n二"), file_part("a.csv", b"1,2"), field("text", "b")])
    page = await read_page(body)
    assert page.fields == (("text", "一\r\n二"), ("text", "b"))
    assert [(file.part, file.name, file.data) for file in page.files] == [("files", "a.csv", b"1,2")]


async def test_a_file_field_left_empty_is_no_file() -> None:
    page = await read_page(encoded([field("a", "1"), file_part("", b"")]))
    assert page.files == ()
    assert page.fields == (("a", "1"),)


@pytest.mark.parametrize(
    ("parts", "answer"),
    [
        ([field(str(n), "x") for n in range(4)], (400, "TDK-BODY-MALFORMED")),
        ([field("a", "x" * 11), field("b", "x" * 10)], (413, "TDK-MESSAGE-PART-TOO-LARGE")),
        ([file_part(f"{n}.csv", b"") for n in range(3)], (413, "TDK-FILES-TOO-MANY")),
        ([file_part("a.csv", b"x" * 11)], (413, "TDK-FILE-TOO-LARGE")),
        ([file_part("a.csv", b"x" * 9), file_part("b.csv", b"x" * 9)], (413, "TDK-MESSAGE-TOO-LARGE")),
        ([(field("a", "")[0], b"\xff")], (400, "TDK-BODY-MALFORMED")),
    ],
)
async def test_each_bound_has_its_answer(parts: Sequence[tuple[bytes, bytes]], answer: tuple[int, str]) -> None:
    assert await refusal(encoded(parts), form=PAGE) == answer
