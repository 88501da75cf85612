"""Which files make one message, what goes with them, and which key a message has."""

import pytest

from todoke.client import Upload
from todoke.client.gathering import Found
from todoke.client.planning import Planned, Unplannable, Wishes, plan

OWN = "9970100018"
PLAN = "UPPLAN_202509_9970100018_43_9970100117_11_20250901120000.CSV"
ANNEX = "UPSIKYU_202509_9970100018_43_9970100117_11_20250901120000.CSV"
OTHER = "UPPLAN_202509_9970100018_43_9970100216_17_20250901120000.CSV"


def found(*names: str, place: str = "a") -> list[Found]:
    return [Found(place, Upload(name, name.encode())) for name in names]


def names(planned: list[Planned]) -> list[list[str]]:
    return [[file.name for file in one.files] for one in planned]


def test_files_of_one_sequence_to_one_office_are_one_message() -> None:
    planned = plan(found(OTHER, ANNEX, PLAN), Wishes(), OWN)
    assert names(planned) == [[PLAN, ANNEX], [OTHER]]
    assert [one.recipient for one in planned] == ["9970100117", "9970100216"]
    assert "UPHOSOKU" in planned[0].missing


def test_a_file_named_twice_stands_once() -> None:
    assert names(plan(found(PLAN) + found(PLAN, place="b"), Wishes(), OWN)) == [[PLAN]]


def test_an_attachment_goes_with_the_message_of_its_folder() -> None:
    planned = plan(found(PLAN, "地図.pdf") + found(OTHER, place="b"), Wishes(), OWN)
    assert names(planned) == [[PLAN, "地図.pdf"], [OTHER]]


def test_an_attachment_between_two_messages_is_asked_about() -> None:
    with pytest.raises(Unplannable, match="E-210"):
        plan(found(PLAN, OTHER, "地図.pdf"), Wishes(), OWN)


def test_attachments_alone_need_a_recipient() -> None:
    with pytest.raises(Unplannable, match="--to"):
        plan(found("地図.pdf"), Wishes(), OWN)
    [planned] = plan(found("地図.pdf"), Wishes(recipient="9970100117", text="文"), OWN)
    assert (planned.recipient, planned.sequence, planned.text) == ("9970100117", None, "文")


def test_nothing_is_nothing() -> None:
    with pytest.raises(Unplannable, match="E-212"):
        plan([], Wishes(recipient="9970100117"), OWN)


@pytest.mark.parametrize(
    ("files", "wishes", "number"),
    [
        (["UPPLAN_x.CSV"], Wishes(), "E-201"),
        ([PLAN.replace(OWN, "9970100315")], Wishes(), "E-202"),
        ([PLAN], Wishes(recipient="9970100216"), "E-206"),
        ([PLAN], Wishes(sequence="20250901120009"), "E-205"),
        ([PLAN, OTHER], Wishes(text="文"), "--text"),
    ],
)
def test_what_does_not_fit_together_is_said_with_its_number(files: list[str], wishes: Wishes, number: str) -> None:
    with pytest.raises(Unplannable, match=number):
        plan(found(*files), wishes, OWN)


def test_the_key_is_the_message_s_own_on_any_machine() -> None:
    [one] = plan(found(PLAN), Wishes(), OWN)
    assert len(one.key(OWN)) == 64
    [again] = plan(found(PLAN, place="elsewhere"), Wishes(), OWN)
    assert one.key(OWN) == again.key(OWN)
    different = [
        Planned(one.recipient, one.sequence, one.text, (Upload(PLAN, b"changed"),)),
        Planned(one.recipient, one.sequence, one.text, (Upload(ANNEX, PLAN.encode()),)),
        Planned(one.recipient, one.sequence, "文", one.files),
        Planned("9970100216", one.sequence, one.text, one.files),
    ]
    assert len({one.key(OWN), one.key("9970100117"), *(other.key(OWN) for other in different)}) == 6
