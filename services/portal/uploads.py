"""What the forms of writing and sending hold: fields, and the files that were chosen or dropped."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from fastapi import Request

from services.portal.forms import Form, has_files
from services.portal.grouping import Dropped
from services.portal.portal import Portal


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
    if not has_files(request):
        yield Chosen(await portal.form(request), ())
        return
    async with portal.upload(request) as posted:
        yield Chosen(posted.form, tuple(Dropped.of(file.name, file.data) for file in posted.files))
