"""What is asked before sending, and how findings are told of persons and places."""

import dataclasses
from datetime import UTC, datetime
from uuid import UUID

import careplan
from careplan import Context, DataFile, OfficeFacts
from services.portal import places, told
from services.portal.clerk import Clerk
from services.portal.drawer import Range
from services.portal.items import Item, KeptFile, blank
from services.portal.places import Shown
from services.portal.unusual import unusual
from todoke.client import AsyncClient, shapes

OWN, PARTNER = "9970100018", "9970100117"
SAMPLE = careplan.sample_sets()["202407/plan_67_to_provider_a"]
OFFICE = shapes.Office(number=PARTNER, name="見本ヘルパー", participation="active", csv_version_last="202407")


def row(text: str, **changes: object) -> Item:
    """A row with the sample set and this text."""
    clerk = Clerk(OWN, "見本居宅", ("43",), "c0000000018", "例示 春子", AsyncClient())
    made = blank(UUID(int=1), clerk, PARTNER, datetime(2026, 11, 4, tzinfo=UTC))
    files = tuple(KeptFile(UUID(int=n), name, 1, 1, Range(0, 1)) for n, (name, _) in enumerate(SAMPLE))
    return dataclasses.replace(made, text=text, files=files, **changes)  # type: ignore[arg-type]


def why(item: Item, office: shapes.Office = OFFICE, known: tuple[str, ...] = (PARTNER,)) -> list[str]:
    """Why something is asked about this row."""
    return [one.why for one in unusual([item], {PARTNER: office}, known, "例示 春子")]


def test_s20_2_nothing_is_asked_about_what_is_as_usual() -> None:
    assert why(row("{月}分です。令和7年9月分です。")) == []
    assert why(row("9月分です")) == []


def test_s20_a_first_partner_is_asked_about_once() -> None:
    rows = [row(""), dataclasses.replace(row(""), id=UUID(int=2))]
    assert [one.key for one in unusual(rows, {PARTNER: OFFICE}, (), "")] == [f"first:{PARTNER}"]


def test_s20_another_month_an_old_reader_and_strangers_are_asked_about() -> None:
    stranger = Shown("TDK-NOT-SERVED", "E-229", "warning", "", "", person="仮名 ハル")
    item = row("令和7年8月分です", findings=(stranger, stranger), warnings=2)
    old = OFFICE.model_copy(update={"csv_version_last": "202208"})
    assert why(item, old) == ["not-served", "month", "old-reader"]
    asked = unusual([item], {PARTNER: old}, (PARTNER,), "")
    assert asked[0].persons == ("仮名 ハル",)
    assert (asked[1].told, asked[1].meant) == ("令和7年8月", "令和7年9月")


def test_a_finding_is_told_with_person_form_line_column_and_value() -> None:
    files = [DataFile(name, data.replace(b",202509,", b",202513,", 1)) for name, data in SAMPLE]
    context = Context(OfficeFacts(OWN, frozenset({"43"})), OfficeFacts(PARTNER, frozenset({"11"})))
    found = places.shown(careplan.check_unit(files, context).findings, files)
    wrong = next(one for one in found if one.form == "第6表" and one.value == "202513")
    assert (wrong.column_name, wrong.row, wrong.number) == ("対象年月", 1, "E-231")
    assert wrong.person
    assert "202513" in wrong.message
    assert Shown.of_document(wrong.document()) == wrong


def test_many_findings_are_summed_up_by_code_and_file() -> None:
    many = [Shown("TDK-VALUE", "E-231", "warning", "", "", file="a", row=n) for n in range(200)]
    error = Shown("TDK-MISSING-FILE", "E-204", "error", "", "")
    assert told.few([*many, error]) == [(error, 1), (many[0], 200)]
    assert [places_of for _, places_of in told.few(many[:20])] == [1] * 20
