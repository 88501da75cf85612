"""What a browser posts: fields, and the proof that a page of ours made the form."""

import base64
import hmac
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl

from fastapi import Request

from services.portal.rules import Origin
from todoke.relay.problem import Problem
from todoke.relay.upload import MULTIPART, UploadedFile

CSRF_FIELD = "_form"
CSRF_HEADER = "todoke-form"
FIELDS_MAX = 5000
"""A bulk sheet of 300 rows has ten fields a row."""


VERSION_DIGITS = 9
"""Fits the column of every version."""

FIELDS_BYTES_MAX = 2 * 1024 * 1024
"""The fields of a form with files: 300 messages of 1,000 characters take 900 kB."""


class Form(Mapping[str, str]):
    """The fields of a form: the last value of each name; `all(name)` gives every one."""

    def __init__(self, pairs: Sequence[tuple[str, str]]) -> None:
        self._values: dict[str, list[str]] = {}
        for name, value in pairs:
            self._values.setdefault(name, []).append(value)

    def __getitem__(self, name: str) -> str:
        """The last value of a field. Raises `KeyError`."""
        return self._values[name][-1]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def all(self, name: str) -> list[str]:
        """Every value of a field, in the order of the page."""
        return list(self._values.get(name, ()))

    def text(self, name: str) -> str:
        """The last value of a field, empty when it was not sent; line ends as the page shows them."""
        return self.get(name, "").replace("\r\n", "\n")

    @property
    def version(self) -> int:
        """The version that the page showed; 0, which nothing stored has, for anything but a number of nine digits."""
        text = self.get("version", "")
        return int(text) if text.isdecimal() and len(text) <= VERSION_DIGITS else 0


class NotOurForm(Exception):  # noqa: N818 (named for what it is)
    """A request that no page of ours has made, or a page of a session that is over."""


class Csrf:
    """Tokens of forms: an HMAC of the session's cookie, so nothing has to be kept."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def token(self, cookie: str) -> str:
        """The token of every form of this session."""
        return base64.urlsafe_b64encode(hmac.digest(self._key, cookie.encode(), "sha256")).decode().rstrip("=")

    def check_origin(self, request: Request) -> None:
        """Whether a page of this very host sends it. Raises `NotOurForm`."""
        said = request.headers
        if not Origin(said.get("sec-fetch-site"), said.get("origin"), said.get("host")).is_own():
            raise NotOurForm

    def check_token(self, cookie: str, shown: str) -> None:
        """Whether the form belongs to this session. Raises `NotOurForm`."""
        if not cookie or not hmac.compare_digest(self.token(cookie).encode(), shown.encode("utf-8", "replace")):
            raise NotOurForm


@dataclass(frozen=True, slots=True)
class Posted:
    """A form with files: its fields, and the files in the order of the page. The bytes are only in memory."""

    form: Form
    files: tuple[UploadedFile, ...]


def has_files(request: Request) -> bool:
    """Whether a form comes with fields for files."""
    return request.headers.get("content-type", "").startswith(MULTIPART)


async def read_form(request: Request) -> Form:
    """The fields of an `application/x-www-form-urlencoded` body. Raises `Problem` 400, 413, 415."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    body = await request.body()
    if not body:
        return Form(())
    if kind != "application/x-www-form-urlencoded":
        raise Problem("TDK-BODY-KIND")
    try:
        return Form(parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=FIELDS_MAX, errors="strict"))
    except ValueError:
        raise Problem("TDK-BODY-MALFORMED") from None
