"""The sheet of 一括送信 from dropped files to rows, and everything that is done to it before sending."""

import io
import zipfile
from datetime import timedelta

import pytest

from services.portal import items as items_module
from services.portal.drafts import KEPT, Sweeper, Written
from services.portal.grouping import Dropped
from services.portal.items import Moved, SavedBefore
from services.portal.sheets import Edited, Nothing, NothingPicked, NotOne
from tests.services.portal.conftest import OTHER, OWN, PARTNER, STRANGER, Bench, plan
from todoke.client import Upload

pytestmark = pytest.mark.asyncio(loop_scope="module")

PDF = Dropped.of("ハザードマップ.pdf", b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n")


async def test_dropped_files_become_rows_in_order_with_their_findings(bench: Bench) -> None:
    clerk = bench.clerk()
    late, early, other = plan("20261026121931"), plan("20261026121909"), plan("20261026121920", OTHER)
    broken = [Dropped.of(file.name, file.read().replace(b"202407", b"209999", 1)) for file in plan("20261026121951")]
    lone = plan("20261026121945")[:2]
    word = Dropped.of("おたより.docx", b"PK")
    misnamed = Dropped.of("UPPLAN_1.CSV", b"")
    foreign = Dropped.of(plan("20261026121955")[0].name.replace(OWN, STRANGER), b"")

    sheet = await bench.sheet(clerk, late, other, early, broken, lone, [word, misnamed, foreign, PDF])

    assert [(row.sequence, row.recipient, len(row.files)) for row in sheet.rows] == [
        ("20261026121909", PARTNER, 3),
        ("20261026121920", OTHER, 3),
        ("20261026121931", PARTNER, 3),
        ("20261026121945", PARTNER, 2),
        ("20261026121951", PARTNER, 3),
    ]
    assert [row.errors > 0 for row in sheet.rows] == [False, False, False, True, True]
    assert [finding.number for finding in sheet.rows[3].findings if finding.severity == "error"] == ["E-204"]
    assert {row.state for row in sheet.rows} == {"unsent"}
    assert [row.service_type for row in sheet.rows[:2]] == ["11", "17"]
    assert [(each.name, each.code) for each in sheet.unusable] == [
        (word.name, "TDK-ATTACHMENT-KIND"),
        (misnamed.name, "TDK-FILE-NAME"),
        (foreign.name, "TDK-SENDER-MISMATCH"),
        (PDF.name, "E-210"),
    ]
    assert await bench.items.contents(sheet.rows[0]) == [
        type((await bench.items.contents(sheet.rows[0]))[0])(file.name, file.read()) for file in early
    ]


async def test_the_sheet_finds_what_the_service_finds(bench: Bench) -> None:
    clerk = bench.clerk()
    files = plan("20261026121909")
    spoilt = [Dropped.of(file.name, file.read().replace(b",202509,", b",202513,")) for file in files]
    stranger = [Dropped.of(file.name.replace(PARTNER, STRANGER), file.read()) for file in plan("20261026121910")]
    sheet = await bench.sheet(clerk, spoilt, plan("20261026121911")[:1], stranger, plan("20261026121912"))
    for row in sheet.rows:
        data = await bench.items.contents(row)
        verdict = await clerk.client.check(row.recipient, row.sequence, files=[Upload(f.name, f.data) for f in data])
        theirs = [(each.code, each.severity, each.file, each.row, each.column) for each in verdict.findings]
        assert theirs == [(one.code, one.severity, one.file, one.row, one.column) for one in row.findings]
    assert [bool(row.errors) for row in sheet.rows] == [True, True, True, False]
    assert [row.findings[0].number for row in sheet.rows[1:3]] == ["E-301", "E-204"]


async def test_files_of_one_set_that_come_later_join_its_row_and_small_letters_count_as_large_ones(
    bench: Bench,
) -> None:
    clerk = bench.clerk()
    first, second, third = plan("20261026121909")
    await bench.sheet(clerk, [first])
    sheet = await bench.sheet(clerk, [Dropped.of(second.name.replace(".CSV", ".csv"), second.read()), third])
    [row] = sheet.rows
    assert [name.casefold() for name in row.names] == [file.name.casefold() for file in (first, second, third)]
    assert row.errors == 0
    again = await bench.sheet(clerk, [first])
    assert [len(row.files) for row in again.rows] == [3], "the same file again replaces the one that is there"


async def test_attachments_go_to_the_one_selected_row_and_are_judged_by_the_service(bench: Bench) -> None:
    clerk = bench.clerk()
    sheet = await bench.sheet(clerk, plan("20261026121909"), plan("20261026121910"))
    await bench.sheets.pick(clerk, sheet.id, [sheet.rows[1].id])
    hostile = Dropped.of("こわれた.pdf", b"no pdf at all")
    sheet = await bench.sheet(clerk, [PDF, hostile])
    assert [row.names[3:] for row in sheet.rows] == [[], [PDF.name, hostile.name]]
    assert sheet.unusable == ()
    row = sheet.rows[1]
    assert (row.errors, row.checked_whole) == (0, False)
    await bench.sheets.check(clerk, [row])
    found = (await bench.sheets.own(clerk)).rows[1]
    assert found.checked_whole
    assert {(each.file, each.severity) for each in found.findings} >= {(hostile.name, "error")}
    assert not found.may_go


async def test_messages_are_copied_pasted_cleared_and_taken_back(bench: Bench) -> None:
    clerk = bench.clerk()
    sheet = await bench.sheet(clerk, plan("20261026121909"), plan("20261026121910"), plan("20261026121911"))
    rows = [row.id for row in sheet.rows]
    with pytest.raises(NotOne):
        await bench.sheets.copy(clerk, sheet.id)
    text = "{事業所名} ご担当者様\n{月}分です。"
    await bench.sheets.edit(clerk, rows[0], Edited(sheet.rows[0].version, text))
    await bench.sheets.pick(clerk, sheet.id, rows[:1])
    assert await bench.sheets.copy(clerk, sheet.id) == text
    await bench.sheets.pick(clerk, sheet.id, [])
    with pytest.raises(NothingPicked):
        await bench.sheets.paste(clerk, await bench.sheets.own(clerk))
    await bench.sheets.pick(clerk, sheet.id, rows)
    count, undo = await bench.sheets.paste(clerk, await bench.sheets.own(clerk))
    assert count == 3
    assert [row.text for row in (await bench.sheets.own(clerk)).rows] == [text] * 3
    assert all(row.checked and row.may_go for row in (await bench.sheets.own(clerk)).rows)
    await bench.sheets.pick(clerk, sheet.id, rows[1:2])
    await bench.sheets.clear(clerk, await bench.sheets.own(clerk))
    assert [row.text for row in (await bench.sheets.own(clerk)).rows] == [text, "", text]
    assert await bench.sheets.take_back(clerk, sheet.id, undo)
    assert [row.text for row in (await bench.sheets.own(clerk)).rows] == [text, "", ""]
    assert not await bench.sheets.take_back(clerk, sheet.id, undo), "once"


async def test_rows_are_removed_and_taken_back_only_while_there_is_time(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    clerk = bench.clerk()
    sheet = await bench.sheet(clerk, plan("20261026121909"), plan("20261026121910"))
    await bench.sheets.pick(clerk, sheet.id, [sheet.rows[0].id])
    count, undo = await bench.sheets.remove(clerk, sheet.id)
    assert count == 1
    assert [row.sequence for row in (await bench.sheets.own(clerk)).rows] == ["20261026121910"]
    assert await bench.sheets.take_back(clerk, sheet.id, undo)
    assert len((await bench.sheets.own(clerk)).rows) == 2
    await bench.sheets.pick(clerk, sheet.id, [sheet.rows[0].id])
    _, undo = await bench.sheets.remove(clerk, sheet.id)
    monkeypatch.setattr(items_module, "UNDO_SECONDS", 0)
    assert not await bench.sheets.take_back(clerk, sheet.id, undo)


async def test_an_edited_row_keeps_both_windows_honest(bench: Bench) -> None:
    clerk, colleague = bench.clerk(), bench.clerk(person="c0000000026", name="例示 秋子")
    sheet = await bench.sheet(clerk, plan("20261026121909"))
    [row] = sheet.rows
    await bench.sheets.edit(colleague, row.id, Edited(row.version, "先に"))
    with pytest.raises(SavedBefore) as late:
        await bench.sheets.edit(clerk, row.id, Edited(row.version, "あとから"))
    assert late.value.name == "例示 秋子"
    [row] = (await bench.sheets.own(clerk)).rows
    every = [file.id for file in row.files]
    with pytest.raises(Nothing):
        await bench.sheets.edit(clerk, row.id, Edited(row.version, " ", every))
    edited = await bench.sheets.edit(clerk, row.id, Edited(row.version, "文だけ", every))
    assert (edited.names, edited.text, edited.checked) == ([], "文だけ", False)
    await bench.sheets.check(clerk, [edited])
    [row] = (await bench.sheets.own(clerk)).rows
    assert row.may_go


async def test_a_zip_is_the_same_as_its_files_and_a_broken_one_gives_nothing(bench: Bench) -> None:
    clerk = bench.clerk()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for file in [*plan("20261026121910"), *plan("20261026121909")]:
            archive.writestr(f"令和8年11月/{file.name}", file.read())
    walking = io.BytesIO()
    with zipfile.ZipFile(walking, "w") as archive:
        archive.writestr(plan("20261026121911")[0].name, b"x")
        archive.writestr("../../etc/passwd", b"x")
    sheet = await bench.sheet(
        clerk, [Dropped.of("出力.zip", packed.getvalue()), Dropped.of("a.ZIP", walking.getvalue())]
    )
    assert [(row.sequence, len(row.files), row.errors) for row in sheet.rows] == [
        ("20261026121909", 3, 0),
        ("20261026121910", 3, 0),
    ]
    assert [(each.name, each.code, each.detail) for each in sheet.unusable] == [("a.ZIP", "E-213", "path")]


async def test_s17_10_many_messages_of_many_files_become_a_sheet(bench: Bench) -> None:
    clerk = bench.clerk()
    sets = [plan(str(20261026120000 + n)) for n in range(200)]
    sheet = await bench.sheet(clerk, *sets)
    assert len(sheet.rows) == 200
    assert sum(len(row.files) for row in sheet.rows) == 600
    assert all(row.may_go for row in sheet.rows)


async def test_nobody_sees_or_changes_the_rows_of_another_office(bench: Bench) -> None:
    clerk, stranger = bench.clerk(), bench.clerk(PARTNER, "c0000000034", "ほか")
    sheet = await bench.sheet(clerk, plan("20261026121909"))
    [row] = sheet.rows
    assert await bench.sheets.get(stranger, sheet.id) is None
    assert await bench.drafts.get(stranger, row.id) is None
    with pytest.raises(Moved):
        await bench.sheets.edit(stranger, row.id, Edited(row.version, "のっとり"))
    with pytest.raises(Moved):
        await bench.sheets.send_again(stranger, row.id)
    with pytest.raises(Moved):
        await bench.drafts.save(stranger, Written(row.id, 0, "", "のっとり"))
    with pytest.raises(NothingPicked):
        await bench.sheets.remove(stranger, sheet.id)
    assert (await bench.sheets.own(clerk)).rows == (row,)
    assert await bench.sheets.open_ones(stranger) == []
    assert [one.rows for one in await bench.sheets.open_ones(clerk) if one.id == sheet.id] == [1]


async def test_old_sheets_and_drafts_are_swept_with_their_objects(bench: Bench) -> None:
    clerk = bench.clerk()
    sheet = await bench.sheet(clerk, plan("20261026121909"), plan("20261026121910"))
    keep, old = sheet.rows
    async with bench.runtime.db.worker() as tx:
        await tx.db.execute("UPDATE item SET saved_at = $1 WHERE id = $2", tx.now - KEPT - timedelta(hours=1), old.id)
    await Sweeper(bench.runtime.db, bench.items).sweep()
    assert [row.id for row in (await bench.sheets.own(clerk)).rows] == [keep.id]
    keys = [entry.key async for entry in bench.runtime.objects.list(f"draft/{OWN}/{old.id}/")]
    assert keys == []
    await bench.items.contents(keep)


async def test_nothing_readable_lies_in_tables_or_objects(bench: Bench) -> None:
    clerk = bench.clerk()
    sheet = await bench.sheet(clerk, plan("20261026121909"), [Dropped.of("ひみつの書類.docx", b"x")])
    [row] = sheet.rows
    await bench.sheets.edit(clerk, row.id, Edited(row.version, "ひみつの文"))
    needles = ["ひみつ".encode(), b"UPPLAN", clerk.name.encode(), plan("20261026121909")[1].read()[:40]]
    async with bench.runtime.db.worker() as tx:
        for table in ("item", "item_file", "sheet", "undo"):
            for record in await tx.db.fetch(f"SELECT * FROM {table}"):
                stored = b" ".join(v if isinstance(v, bytes) else str(v).encode() for v in record.values())
                assert not [needle for needle in needles if needle in stored]
    async for entry in bench.runtime.objects.list(f"draft/{OWN}/{row.id}/"):
        body = await bench.runtime.objects.get(entry.key)
        assert not [needle for needle in needles if needle in body]
