"""Object storage (S3): where the sealed bytes lie. The only module that imports `minio`.

Buckets and listings go through `minio`; the bytes go over a lean keep-alive transport of ours (aiohttp with requests
signed by Signature Version 4), which costs a client half of what a general one does. Tried on SeaweedFS 4.48: a PUT
with `If-None-Match: *` lets exactly one of eight racing writers win; a PUT that breaks off stores nothing;
`Content-MD5` is checked, `x-amz-content-sha256` is not: so every PUT carries the former.
"""

import asyncio
import base64
import dataclasses
import hashlib
import hmac
import re
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import lru_cache
from itertools import islice
from types import TracebackType
from typing import Self
from urllib.parse import quote, urlsplit
from uuid import UUID

import aiohttp
import urllib3
from minio import Minio
from minio.error import MinioException, S3Error
from yarl import URL

from todoke.relay.clock import Clock, time_of
from todoke.relay.faults import Transient
from todoke.relay.settings import S3Settings

TOTAL_SECONDS_MAX = 8.0
"""One call, its retry included: HTTP must be able to answer 503 in less than 10 s."""

CONNECT_SECONDS_MAX = 2.0
"""A host that does not even take a connection in this time is away."""

CONNECTIONS_MAX = 64
"""Open connections of a process: more requests wait here instead of burdening the engine."""

IDLE_SECONDS_MAX = 30.0
"""An unused connection is closed after so long."""

SHORT_BODY_BYTES_MAX = 512 * 1024
"""Up to this size a body is hashed and written in one go; longer ones would hold up the event loop."""

PIECE_BYTES = 64 * 1024
"""So much of a longer body is handed to the connection at a time."""

LISTED_AT_ONCE = 1000
"""Entries of one page of a listing, the most that S3 answers."""

_DATE = "%Y%m%dT%H%M%SZ"
_UNSIGNED = "UNSIGNED-PAYLOAD"
_CODE = re.compile(rb"<Code>(\w{1,64})</Code>")
_ATTEMPTS = 2


class ObjectMissing(Exception):  # noqa: N818 (named for what is missing)
    """There is no object of this key, or it ends before the range that was asked for."""


class ObjectExists(Exception):  # noqa: N818 (named for what was found)
    """An object of this key stands there already, with other bytes."""


class ObjectsAway(Transient):
    """Object storage does not answer, or not as it should: try again later. The text says why, for the operator."""


@dataclasses.dataclass(frozen=True, slots=True)
class Listed:
    """One entry of a listing; `size` in bytes, `modified` in UTC."""

    key: str
    size: int
    modified: datetime


def message_key(message_id: UUID) -> str:
    """The key of a message's bundle: `message/{yyyy}/{mm}/{message_id}`, the month in UTC of the id's own time."""
    return f"message/{time_of(message_id):%Y/%m}/{message_id}"


@dataclasses.dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    code: str
    date: str | None
    body: bytes


class Objects:
    """A bucket. All methods raise `ObjectsAway` within `TOTAL_SECONDS_MAX` when the engine is not there."""

    def __init__(self, settings: S3Settings, clock: Clock, session: aiohttp.ClientSession) -> None:
        self._settings = settings
        self._clock = clock
        self._session = session
        self._base = settings.endpoint if "://" in settings.endpoint else f"http://{settings.endpoint}"
        self._signer = _Signer(settings, urlsplit(self._base).netloc)
        self._ahead = timedelta()

    @classmethod
    async def open(cls, settings: S3Settings, clock: Clock) -> Self:
        """Ready to be used; nothing is asked of the engine yet."""
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=CONNECTIONS_MAX, keepalive_timeout=IDLE_SECONDS_MAX),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS_MAX),
            auto_decompress=False,
            skip_auto_headers=("User-Agent", "Accept-Encoding", "Content-Type"),
        )
        return cls(settings, clock, session)

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def ensure_bucket(self) -> None:
        """Make the bucket if it is not there. Several processes may do so at once."""
        try:
            async with asyncio.timeout(TOTAL_SECONDS_MAX):
                await asyncio.to_thread(self._make_bucket)
        except (MinioException, urllib3.exceptions.HTTPError, TimeoutError) as error:
            raise ObjectsAway(f"bucket not made: {_cause(error)}") from None

    async def put(self, key: str, data: bytes, *, once: bool = False) -> None:
        """Store `data` under `key` with one PUT; when it returns, the bytes are safe as the engine promises.

        Raises:
            ObjectExists: `once`, and the key holds other bytes already (the same bytes are no error).
            ObjectsAway: not stored, or not known to be.
        """
        headers = {"content-md5": await _md5(data)}
        if once:
            headers["if-none-match"] = "*"
        answer = await self._call("PUT", key, headers, data)
        if once and answer.code == "PreconditionFailed":
            # Perhaps it was our own first try, whose answer got lost.
            if await self.get(key) != data:
                raise ObjectExists("the key holds other bytes")
            return
        _require(answer, 200)

    async def get(self, key: str) -> bytes:
        """The whole object.

        Raises:
            ObjectMissing: there is none.
        """
        answer = await self._call("GET", key, {})
        _require(answer, 200)
        return answer.body

    async def get_range(self, key: str, offset: int, length: int) -> bytes:
        """`length` bytes (at least one) from `offset`, with one request.

        Raises:
            ObjectMissing: there is no such object, or it is shorter.
        """
        answer = await self._call("GET", key, {"range": f"bytes={offset}-{offset + length - 1}"})
        _require(answer, 206)
        if len(answer.body) != length:
            raise ObjectMissing("the object ends before the range")
        return answer.body

    async def exists(self, key: str) -> bool:
        """Whether the object is there. It asks for one byte: a HEAD could not tell a missing bucket."""
        answer = await self._call("GET", key, {"range": "bytes=0-0"})
        if answer.code == "NoSuchKey":
            return False
        if answer.code != "InvalidRange":  # which is the answer for an empty object
            _require(answer, 200, 206)
        return True

    async def delete(self, key: str) -> None:
        """Remove the object; one that is not there is no error."""
        answer = await self._call("DELETE", key, {})
        if answer.code != "NoSuchKey":
            _require(answer, 200, 204)

    async def list(self, prefix: str, after: str | None = None) -> AsyncIterator[Listed]:
        """All objects whose key starts with `prefix`, by key, those behind `after` only."""
        client = self._client()
        found = client.list_objects(bucket_name=self._settings.bucket, prefix=prefix, recursive=True, start_after=after)
        while True:
            try:
                async with asyncio.timeout(TOTAL_SECONDS_MAX):
                    page = await asyncio.to_thread(lambda: list(islice(found, LISTED_AT_ONCE)))
            except (MinioException, urllib3.exceptions.HTTPError, TimeoutError) as error:
                raise ObjectsAway(f"not listed: {_cause(error)}") from None
            for entry in page:
                if entry.object_name is not None and entry.last_modified is not None:
                    yield Listed(entry.object_name, entry.size or 0, entry.last_modified.astimezone(UTC))
            if len(page) < LISTED_AT_ONCE:
                return

    async def _call(self, method: str, key: str, headers: Mapping[str, str], data: bytes | None = None) -> _Answer:
        """One signed request, repeated once if the connection was dead (every method used here is idempotent)."""
        try:
            async with asyncio.timeout(TOTAL_SECONDS_MAX):
                answer = await self._attempts(method, key, headers, data)
        except TimeoutError:
            raise ObjectsAway(f"no answer in {TOTAL_SECONDS_MAX:.0f} s") from None
        except (aiohttp.ClientError, OSError) as error:
            raise ObjectsAway(f"connection: {type(error).__name__}") from None
        return answer

    async def _attempts(self, method: str, key: str, headers: Mapping[str, str], data: bytes | None) -> _Answer:
        for left in reversed(range(_ATTEMPTS)):
            try:
                answer = await self._request(method, key, headers, data)
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, aiohttp.ClientPayloadError):
                if not left:
                    raise
                continue
            if answer.code != "RequestTimeTooSkewed" or not left or answer.date is None:
                return answer
            # Our clock differs from the engine's (a test has moved it, or the machine's is wrong): sign by theirs.
            self._ahead = parsedate_to_datetime(answer.date) - self._clock.now()
        raise AssertionError("unreachable")

    async def _request(self, method: str, key: str, headers: Mapping[str, str], data: bytes | None) -> _Answer:
        path = f"/{self._settings.bucket}/{quote(key, safe='/-_.~')}"
        signed = self._signer.headers(method, path, headers, self._clock.now() + self._ahead)
        body: bytes | AsyncIterator[memoryview] | None = data
        if data is not None and len(data) > SHORT_BODY_BYTES_MAX:
            body, signed["content-length"] = _pieces(data), str(len(data))
        url = URL(self._base + path, encoded=True)
        async with self._session.request(method, url, headers=signed, data=body, allow_redirects=False) as response:
            content = await response.read()
            code = "" if response.ok else _code(content)
            return _Answer(response.status, code, response.headers.get("Date"), content)

    def _client(self) -> Minio:
        """A client for the rare calls, whose every request ends in time."""
        address = urlsplit(self._base)
        return Minio(
            endpoint=address.netloc,
            access_key=self._settings.access_key,
            secret_key=self._settings.secret_key.get_secret_value(),
            secure=address.scheme == "https",
            region=self._settings.region,
            http_client=urllib3.PoolManager(
                timeout=urllib3.Timeout(connect=CONNECT_SECONDS_MAX, read=TOTAL_SECONDS_MAX), retries=False
            ),
        )

    def _make_bucket(self) -> None:
        client = self._client()
        if client.bucket_exists(bucket_name=self._settings.bucket):
            return
        try:
            client.make_bucket(bucket_name=self._settings.bucket)
        except S3Error as error:
            if error.code not in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
                raise


def _cause(error: Exception) -> str:
    return f"{type(error).__name__} {error.code}" if isinstance(error, S3Error) else type(error).__name__


def _code(content: bytes) -> str:
    found = _CODE.search(content)
    return found[1].decode() if found else "none"


async def _pieces(data: bytes) -> AsyncIterator[memoryview]:
    """A long body as it goes out; what aiohttp makes of a `BytesIO` holds all of it a second time."""
    whole = memoryview(data)
    for start in range(0, len(data), PIECE_BYTES):
        yield whole[start : start + PIECE_BYTES]


def _require(answer: _Answer, *expected: int) -> None:
    if answer.status in expected:
        return
    if answer.code in ("NoSuchKey", "InvalidRange"):
        raise ObjectMissing(answer.code)
    raise ObjectsAway(f"answer {answer.status} {answer.code}")


async def _md5(data: bytes) -> str:
    """`Content-MD5` (RFC 1864): against accidents on the way; against people there is the seal."""
    if len(data) <= SHORT_BODY_BYTES_MAX:
        return _md5_now(data)
    return await asyncio.to_thread(_md5_now, data)


def _md5_now(data: bytes) -> str:
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode("ascii")


class _Signer:
    """AWS Signature Version 4 in the `Authorization` header, over every header that is sent."""

    def __init__(self, settings: S3Settings, host: str) -> None:
        self._access_key = settings.access_key
        self._secret = settings.secret_key.get_secret_value()
        self._region = settings.region
        self._host = host
        self._key_of_day = lru_cache(maxsize=2)(self._key)

    def headers(self, method: str, path: str, headers: Mapping[str, str], now: datetime) -> dict[str, str]:
        """`headers` (names in lower case) and those that sign them."""
        stamp = now.astimezone(UTC).strftime(_DATE)
        signed = {**headers, "host": self._host, "x-amz-content-sha256": _UNSIGNED, "x-amz-date": stamp}
        names = ";".join(sorted(signed))
        lines = "".join(f"{name}:{signed[name]}\n" for name in sorted(signed))
        request = f"{method}\n{path}\n\n{lines}\n{names}\n{_UNSIGNED}"
        scope = f"{stamp[:8]}/{self._region}/s3/aws4_request"
        text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
        signature = hmac.digest(self._key_of_day(stamp[:8]), text.encode(), "sha256").hex()
        credential = f"{self._access_key}/{scope}"
        signed["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, Signature={signature}"
        )
        return signed

    def _key(self, day: str) -> bytes:
        key = b"AWS4" + self._secret.encode()
        for part in (day, self._region, "s3", "aws4_request"):
            key = hmac.digest(key, part.encode(), "sha256")
        return key


class KeyObjects:
    """The wrapped month keys as objects `key/{epoch}`: ingest publishes them, everybody reads them.

    An instance is the source of a `todoke.relay.seal.KeyRing`.
    """

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    async def __call__(self, epoch: str) -> bytes | None:
        """The month's wrapped key; `seal.DESTROYED` when it was destroyed, None when there is none yet."""
        try:
            return await self._objects.get(f"key/{epoch}")
        except ObjectMissing:
            return None

    async def publish(self, epoch: str, wrapped: bytes) -> None:
        """Let every service read the month's key, before its first use.

        Raises:
            ObjectExists: another key was published for this month (or it was destroyed): two databases, one bucket.
        """
        await self._objects.put(f"key/{epoch}", wrapped, once=True)

    async def destroy(self, epoch: str) -> None:
        """Make everything that this month's key sealed unreadable. Again is harmless."""
        await self._objects.put(f"key/{epoch}", b"")

    async def epochs(self) -> AsyncIterator[tuple[str, bool]]:
        """Every month that ever had a key, and whether the key is still there."""
        async for listed in self._objects.list("key/"):
            yield listed.key.removeprefix("key/"), listed.size > 0
