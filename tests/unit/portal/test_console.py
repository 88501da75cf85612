"""What the operators' console calls things."""

import re
from pathlib import Path

from services.portal.console import HAPPENED, happened
from todoke.events import CATALOGUE, OfficeEvent

ACT = re.compile(r'"((?:office|application)\.[a-z]+)"')


def test_everything_that_happens_to_an_office_has_its_line_in_the_history() -> None:
    events = {name for name, event in CATALOGUE.items() if issubclass(event, OfficeEvent)}
    acts = {act for file in Path("services/registry").glob("*.py") for act in ACT.findall(file.read_text("utf-8"))}
    assert {"OfficeRegistered", "LicenceChanged"} <= events
    assert {"office.suspend", "application.approve"} <= acts
    assert HAPPENED.keys() == events | acts


def test_what_a_newer_version_says_is_shown_as_it_is() -> None:
    assert happened("office.moved") == "office.moved"
