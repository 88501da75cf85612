"""What a form with files holds: read while it arrives, in bounded memory, never on a disk."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from fastapi import Request

from services.portal.forms import CSRF_FIELD, CSRF_HEADER, FIELDS_MAX, Form
from services.portal.grouping import Dropped
from services.portal.portal import Portal
from services.portal.unpacking import FILES_MAX, ZIP_BYTES_MAX
from todoke.relay import upload
from todoke.relay.limits import MEBIBYTE, Limits
from todoke.relay.upload import process_budget, receiving

FIELD_BYTES_MAX = 64 * 1024
"""One field: a message of 1,000 characters takes 3 kB."""


@dataclass(frozen=True, slots=True)
class Posted:
    """The fields of a form, and the files that were chosen in it."""

    form: Form
    files: tuple[Dropped, ...]


@contextlib.asynccontextmanager
async def posted(portal: Portal, request: Request, limits: Limits) -> AsyncIterator[Posted]:
    """A form of this session; its files are held in memory until the block ends.

    Raises:
        NotOurForm: it is not of this session.
        Problem: it is too large, broken or too slow, or the process holds as much as it may.
    """
    if not request.headers.get("content-type", "").startswith(upload.MULTIPART):
        yield Posted(await portal.form(request), ())
        return
    wanted = upload.Form(
        json_part="",
        json_bytes_max=FIELD_BYTES_MAX,
        is_file_part=lambda name: name == "files",
        files_max=FILES_MAX,
        file_bytes_max=ZIP_BYTES_MAX,
        bytes_max=ZIP_BYTES_MAX + MEBIBYTE,
        fields_max=FIELDS_MAX,
    )
    budget = process_budget(limits.bytes_in_flight_max)
    async with receiving(request, wanted, budget, seconds_max=limits.body_seconds_max) as body:
        form = Form(body.fields)
        shown = request.headers.get(CSRF_HEADER) or form.get(CSRF_FIELD, "")
        portal.csrf.check_token(portal.cookie(request, "office"), shown)
        chosen = [
            file for file in body.files if file.name or file.data
        ]  # an empty file field sends a part without name
        yield Posted(form, tuple(Dropped.of(file.name, file.data) for file in chosen))
