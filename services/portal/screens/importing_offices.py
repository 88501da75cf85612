"""S-75: a list of offices is brought in as CSV: chosen, checked, looked at, taken; `importing` does the work."""

import asyncio
import contextlib
import csv
import io
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response
from pydantic import ValidationError
from starlette.requests import ClientDisconnect

from services.portal.console import OFFICES, Operator, lacking, word_of
from services.portal.forms import FIELDS_BYTES_MAX
from services.portal.imports import About, Import, Imports, Spooled
from services.portal.office_list import BOM, LIST_BYTES_MAX, NoList
from services.portal.portal import UPLOAD, Portal
from services.portal.routes import Elsewhere, NotThere, go
from services.portal.wording import Sentence, of_code, say, sentences
from todoke.client.ops_shapes import BadLine, Word
from todoke.relay import acts
from todoke.relay.limits import MEBIBYTE
from todoke.relay.passing import PassingBody

IMPORT = f"{OFFICES}/import"

PAGE = 50
"""Bad lines of one page."""

BODY_BYTES_MAX = 4 * LIST_BYTES_MAX
"""A file that is too large is read to its end, so that its sender reads why it was not taken."""

THROWN_AWAY_SECONDS_MAX = 60.0
"""So long a file is read that nobody wants."""

FILE_NAME_CHARACTERS_MAX = 200

SAMPLE = (
    ("事業所番号", "事業所名", "サービス種類", "都道府県", "住所", "電話番号", "FAX番号"),
    ("9970109990", "見本訪問介護ステーション", "11", "見本県", "見本県見本市1番", "099-555-0101", "099-555-0102"),
    ("9970109991", "見本居宅介護支援事業所", "43 46", "見本県", "見本県見本市2番", "099-555-0103", ""),
)
"""What a list looks like."""

COLUMNS_OF_BAD = ("行", "列", "どうなっているか", "やること", "番号")

Guard = Callable[[Request], Awaitable[Operator]]


def router(portal: Portal, imports: Imports) -> APIRouter:
    """Choosing a list, looking at it, and what becomes of it."""
    screens = portal.router("operator")
    guard = _returning(portal)
    _add_choosing(screens, portal, imports, guard)
    _add_downloads(screens, portal, imports)
    _add_list(screens, portal, imports, guard)
    return screens


def _returning(portal: Portal) -> Guard:
    """The guard of pages whose forms are sent to their own address: after a login one is back on the page."""
    inside = portal.operator()

    async def guard(request: Request) -> Operator:
        try:
            return await inside(request)
        except Elsewhere as led:
            if request.method != "POST":
                raise
            if "ended=1" in led.place:
                await _thrown_away(request)
            more = urlencode({"next": request.url.path}, safe="/")
            raise Elsewhere(f"{led.place}{'&' if '?' in led.place else '?'}{more}") from None

    return guard


async def _thrown_away(request: Request) -> None:
    """Read a file to its end that came under a session that has ended: its sender could not read an answer before."""
    left = BODY_BYTES_MAX
    with contextlib.suppress(TimeoutError, ClientDisconnect):
        async with asyncio.timeout(THROWN_AWAY_SECONDS_MAX):
            async for chunk in request.stream():
                left -= len(chunk)
                if left < 0:
                    return


def _add_choosing(screens: APIRouter, portal: Portal, imports: Imports, guard: Guard) -> None:
    @screens.get(IMPORT)
    async def form(operator: Annotated[Operator, Depends(guard)]) -> Response:
        return await _form_page(portal, imports, operator, Word(reason="", ticket=""), portal.new_key())

    @screens.post(IMPORT, openapi_extra=UPLOAD)
    async def take_in(request: Request, operator: Annotated[Operator, Depends(guard)]) -> Response:
        """The same form with the same file leads to the same list, however often it is sent."""
        posted, body = await portal.passing(request, "operator", "list", BODY_BYTES_MAX)
        word, key = word_of(posted), posted.text("_key")
        mistakes = _mistakes(word, body, request.headers.get("content-length", ""))
        spooled = None if mistakes else await _spooled(imports, body, mistakes)
        if spooled is None:
            async for _ in body.pieces():
                pass
            return await _form_page(portal, imports, operator, word, key, mistakes)
        shown = spooled.look.shown(spooled.encoding)
        about = About(word=word, name=body.file_name[:FILE_NAME_CHARACTERS_MAX], shown=tuple(map(tuple, shown)))
        return go(f"{IMPORT}/{await imports.add(operator.user_id, operator.web.id, key, about, spooled)}")


def _mistakes(word: Word, body: PassingBody, length: str) -> list[tuple[str, Sentence]]:
    """What can be seen before the file has come: (field, sentence), in the order of the page."""
    lack = lacking(word)
    if lack is None:
        try:
            acts.Word(reason=word.reason, ticket=word.ticket)
        except ValidationError:
            lack = say("E-129")
    found = [("word-reason", lack)] if lack is not None else []
    if not body.file_name:
        found.append(("list", say("E-723")))
    elif length.isdecimal() and int(length) > LIST_BYTES_MAX + FIELDS_BYTES_MAX:
        found.append(("list", _no_list("E-722")))
    return found


async def _spooled(imports: Imports, body: PassingBody, mistakes: list[tuple[str, Sentence]]) -> Spooled | None:
    """The file, kept; or None, and what is the matter with it among the mistakes."""
    try:
        return await imports.spooled(body.pieces())
    except NoList as refused:
        mistakes.append(("list", _no_list(refused.code)))
        return None


def _no_list(code: str) -> Sentence:
    return say(code, mebibytes=LIST_BYTES_MAX // MEBIBYTE) if code in sentences() else of_code(code)


def _add_list(screens: APIRouter, portal: Portal, imports: Imports, guard: Guard) -> None:
    @screens.get(f"{IMPORT}/{{import_id}}")
    async def show(import_id: UUID, operator: Annotated[Operator, Depends(guard)], page: int = 1) -> Response:
        one = await _known(imports, import_id)
        bad = await imports.bad_lines(import_id)
        page = min(max(page, 1), max(1, -(-len(bad) // PAGE)))
        return portal.console_page(
            operator,
            "console_import_list.html",
            screen="S-75",
            title="CSVで取り込む",
            one=one,
            own=one.operator == operator.user_id,
            at=f"{IMPORT}/{one.id}",
            bad=bad[(page - 1) * PAGE : page * PAGE],
            listed=len(bad),
            page=page,
            pages=max(1, -(-len(bad) // PAGE)),
            said=0,
        )

    @screens.post(f"{IMPORT}/{{import_id}}")
    async def say_so(import_id: UUID, request: Request, operator: Annotated[Operator, Depends(guard)]) -> Response:
        """What the operator wants done with the list. Said twice, or too late, it changes nothing."""
        posted = await portal.form(request, "operator")
        one, act = await _known(imports, import_id), posted.text("act")
        if act == "take":
            await imports.go_on(one.id, operator.user_id, operator.web.id, "checked")
        elif act == "go-on":
            await imports.go_on(one.id, operator.user_id, operator.web.id, "stopped")
        elif act == "stop":
            await imports.stop(one.id, operator.user_id)
        elif act == "drop":
            await imports.drop(one.id, operator.user_id)
        else:
            raise NotThere
        return go(f"{IMPORT}/{one.id}")

    @screens.get(f"{IMPORT}/{{import_id}}/progress")
    async def progress(
        import_id: UUID, operator: Annotated[Operator, Depends(portal.operator(used=False))], said: int = 0
    ) -> Response:
        """How far it is; the page asks every second, with nobody at the screen. `said` per cent were told aloud."""
        del operator
        one = await _known(imports, import_id)
        if not one.goes_on:
            return Response(headers={"HX-Refresh": "true"})
        values = {"one": one, "said": said, "now": portal.clock.now()}
        return portal.pages.page("console_import_progress.html", values, 200)


def _add_downloads(screens: APIRouter, portal: Portal, imports: Imports) -> None:
    @screens.get(f"{IMPORT}/sample.csv")
    async def sample(operator: Annotated[Operator, Depends(portal.operator())]) -> Response:
        del operator
        return _csv(SAMPLE, "sample.csv")

    @screens.get(f"{IMPORT}/{{import_id}}/findings.csv")
    async def findings(import_id: UUID, operator: Annotated[Operator, Depends(portal.operator())]) -> Response:
        del operator
        await _known(imports, import_id)
        rows = [_row(bad) for bad in await imports.bad_lines(import_id)]
        return _csv((COLUMNS_OF_BAD, *rows), "findings.csv")


def _row(bad: BadLine) -> Sequence[str]:
    column = f"{bad.column}列目（{bad.column_name}）" if bad.column else ""
    return (str(bad.line), column, bad.message, bad.advice, bad.number or "")


def _csv(rows: Sequence[Sequence[str]], name: str) -> Response:
    """A table as spreadsheets open it: UTF-8 with a byte order mark."""
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
    return Response(BOM + text.getvalue().encode(), media_type="text/csv; charset=utf-8", headers=headers)


async def _known(imports: Imports, import_id: UUID) -> Import:
    """Raises `NotThere`."""
    one = await imports.find(import_id)
    if one is None:
        raise NotThere
    return one


async def _form_page(
    portal: Portal,
    imports: Imports,
    operator: Operator,
    word: Word,
    key: str,
    mistakes: Sequence[tuple[str, Sentence]] = (),
) -> Response:
    return portal.console_page(
        operator,
        "console_import.html",
        screen="S-75",
        title="CSVで取り込む",
        status=422 if mistakes else 200,
        word=word,
        key=key,
        mistakes=list(mistakes),
        recent=await imports.recent(),
        mebibytes=LIST_BYTES_MAX // MEBIBYTE,
    )
