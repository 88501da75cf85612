"""What the forms of writing and sending hold: fields, and the files that were chosen or dropped."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from fastapi import Request

from services.portal.forms import FIELDS_MAX, Form
from services.portal.grouping import Dropped
from services.portal.portal import Portal
from services.portal.unpacking import FILES_MAX, ZIP_BYTES_MAX
from todoke.relay.limits import MEBIBYTE
from todoke.relay.upload import MULTIPART


@dataclass(frozen=True, slots=True)
class Chosen:
    """The fields of a form, and the files that were chosen in it."""

    form: Form
    files: tuple[Dropped, ...]


@contextlib.asynccontextmanager
async def chosen(portal: Portal, request: Request) -> AsyncIterator[Chosen]:
    """A form of this session; its files are held in memory until the block ends.

    A dialog's form has no file field and comes as plain fields. Raises `NotOurForm`, `Problem`.
    """
    if not request.headers.get("content-type", "").startswith(MULTIPART):
        yield Chosen(await portal.form(request), ())
        return
    async with portal.upload(
        request,
        files_max=FILES_MAX,
        file_bytes_max=ZIP_BYTES_MAX,
        bytes_max=ZIP_BYTES_MAX + MEBIBYTE,
        fields_max=FIELDS_MAX,
    ) as posted:
        yield Chosen(posted.form, tuple(Dropped.of(file.name, file.data) for file in posted.files))
