"""Drafts of 新規作成: kept for all of the office, honest to a second window, filled in from the files' names."""

import pytest

from services.portal.drafts import Written
from services.portal.grouping import Dropped
from services.portal.items import Moved, SavedBefore
from tests.services.portal.conftest import OTHER, PARTNER, Bench, plan

pytestmark = pytest.mark.asyncio(loop_scope="module")

PICTURE = Dropped.of("地図.png", b"no picture")


async def no_drafts(bench: Bench) -> None:
    """Forget what other tests have begun."""
    clerk = bench.clerk()
    await bench.drafts.remove(clerk, [item.id for item in await bench.drafts.all(clerk)])


async def test_a_draft_is_there_for_the_whole_office_with_exactly_what_was_saved(bench: Bench) -> None:
    await no_drafts(bench)
    clerk, colleague = bench.clerk(), bench.clerk(person="c0000000026", name="例示 秋子")
    draft = bench.runtime.ports.ids.uuid7()
    first = await bench.drafts.save(clerk, Written(draft, 0, "", "書きかけ\n二行目"))
    item = await bench.drafts.add_files(clerk, draft, plan("20261026121909"))
    assert (item.recipient, len(item.files), item.version > first.version) == (PARTNER, 3, True)
    [seen] = await bench.drafts.all(colleague)
    assert (seen.text, seen.recipient, seen.names, seen.person_name) == (
        "書きかけ\n二行目",
        PARTNER,
        sorted(file.name for file in plan("20261026121909")),
        "例示 春子",
    )
    checked, offices = await bench.drafts.check(clerk, seen)
    assert (checked.errors, checked.may_go, offices[PARTNER].number) == (0, True, PARTNER)


async def test_whether_somebody_leaves_something_unsent_is_known_without_opening_it(bench: Bench) -> None:
    """S-09.2: asked at every logout."""
    ids = bench.runtime.ports.ids
    for written, file in (("文", None), ("", PICTURE), ("", None)):
        clerk, draft = bench.clerk(), ids.uuid7()
        await bench.drafts.save(clerk, Written(draft, 0, "", written))
        if file is not None:
            await bench.drafts.add_files(clerk, draft, [file])
        assert await bench.drafts.leaves_unsent(clerk) is bool(written or file)
        assert not await bench.drafts.leaves_unsent(bench.clerk())
    clerk, draft = bench.clerk(), ids.uuid7()
    await bench.drafts.save(clerk, Written(draft, 0, PARTNER, ""))
    assert await bench.drafts.leaves_unsent(clerk)
    await bench.drafts.remove(clerk, [draft])
    assert not await bench.drafts.leaves_unsent(clerk)
    await bench.sheet(clerk)
    assert not await bench.drafts.leaves_unsent(clerk)
    await bench.sheet(clerk, plan(*bench.numbers(1)))
    assert await bench.drafts.leaves_unsent(clerk)


async def test_of_two_windows_the_later_is_told_and_both_versions_can_be_kept(bench: Bench) -> None:
    await no_drafts(bench)
    clerk, colleague = bench.clerk(), bench.clerk(person="c0000000026", name="例示 秋子")
    draft = bench.runtime.ports.ids.uuid7()
    saved = await bench.drafts.save(clerk, Written(draft, 0, PARTNER, "はじめ"))
    await bench.drafts.add_files(clerk, draft, [PICTURE])
    saved = await bench.drafts.get(clerk, draft) or saved
    theirs = await bench.drafts.save(colleague, Written(draft, saved.version, PARTNER, "秋子の文"))
    mine = Written(draft, saved.version, OTHER, "春子の文")
    with pytest.raises(SavedBefore) as late:
        await bench.drafts.save(clerk, mine)
    assert late.value.name == "例示 秋子"
    beside = await bench.drafts.save_beside(clerk, mine)
    both = {item.text: (item.recipient, item.names) for item in await bench.drafts.all(clerk)}
    assert both == {"秋子の文": (PARTNER, [PICTURE.name]), "春子の文": (OTHER, [PICTURE.name])}
    assert [file.data for file in await bench.items.contents(beside)] == [PICTURE.read()]
    assert (await bench.drafts.overwrite(clerk, mine)).text == "春子の文"
    assert theirs.version == saved.version + 1


async def test_a_removed_file_and_a_removed_draft_come_back(bench: Bench) -> None:
    await no_drafts(bench)
    clerk = bench.clerk()
    draft = bench.runtime.ports.ids.uuid7()
    await bench.drafts.save(clerk, Written(draft, 0, PARTNER, "文"))
    item = await bench.drafts.add_files(clerk, draft, [PICTURE, Dropped.of("表.xlsx", b"x")])
    assert [(each.name, each.code) for each in item.unusable] == [("表.xlsx", "TDK-ATTACHMENT-KIND")]
    checked, _ = await bench.drafts.check(clerk, item)
    assert checked.errors > 0
    undo = await bench.drafts.remove_file(clerk, draft, item.files[0].id)
    assert undo is not None
    without = await bench.drafts.get(clerk, draft)
    assert without is not None
    assert (without.files, without.checked) == ((), False)
    assert await bench.drafts.take_back(clerk, undo, draft)
    back = await bench.drafts.get(clerk, draft)
    assert back is not None
    assert back.names == [PICTURE.name]
    count, undo = await bench.drafts.remove(clerk, [draft])
    assert (count, await bench.drafts.all(clerk)) == (1, [])
    with pytest.raises(Moved):
        await bench.drafts.save(clerk, Written(draft, back.version, PARTNER, "もうない"))
    assert await bench.drafts.take_back(clerk, undo)
    assert len(await bench.drafts.all(clerk)) == 1


async def test_a_draft_of_several_sets_becomes_several_rows_and_its_attachments_stay(bench: Bench) -> None:
    await no_drafts(bench)
    clerk = bench.clerk()
    one, many = (bench.runtime.ports.ids.uuid7() for _ in range(2))
    await bench.drafts.save(clerk, Written(one, 0, "", "一組の文"))
    await bench.drafts.add_files(clerk, one, [*plan("20261026121909"), PICTURE])
    await bench.drafts.save(clerk, Written(many, 0, "", "二組の文"))
    mixed = await bench.drafts.add_files(
        clerk, many, [*plan("20261026121910"), *plan("20261026121911", OTHER), PICTURE]
    )
    checked, _ = await bench.drafts.check(clerk, mixed)
    assert [finding.number for finding in checked.findings] == ["E-205"]
    sheet = await bench.sheets.own(clerk)
    assert await bench.drafts.move_to_sheet(clerk, sheet.id, [one, many]) == 3
    rows = (await bench.sheets.own(clerk)).rows
    assert [(row.sequence, row.recipient, row.text, len(row.files)) for row in rows] == [
        ("20261026121909", PARTNER, "一組の文", 4),
        ("20261026121910", PARTNER, "二組の文", 3),
        ("20261026121911", OTHER, "二組の文", 3),
    ]
    [left] = await bench.drafts.all(clerk)
    assert (left.id, left.names) == (many, [PICTURE.name])
