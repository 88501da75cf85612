"""S-W: what people are told stands in tables, and can be read in one breath."""

import csv
import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

import careplan
from services.portal import wording
from todoke.relay.problem import wordings

CHARACTERS_MAX = 60


def rows(package: str, name: str) -> list[Mapping[str, str]]:
    text = resources.files(package).joinpath(name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def test_sw_1_no_code_stands_among_the_findings_and_the_messages() -> None:
    assert set(careplan.finding_texts()) & set(wordings()) == set()


def test_sw_1_every_number_that_the_code_says_is_in_a_table() -> None:
    portal = Path(wording.__file__).parent
    said = {
        number
        for file in (*portal.rglob("*.py"), *portal.rglob("*.html"))
        for number in re.findall(r'say\(\s*"(E-\d{3})"', file.read_text(encoding="utf-8"))
    }
    assert len(said) > 5
    assert said <= set(wording.sentences())


def test_sw_1_every_code_that_the_portal_knows_exists() -> None:
    portal = Path(wording.__file__).parent
    said = {
        code
        for file in portal.rglob("*.py")
        for code in re.findall(r'"(TDK-[A-Z-]+)"', file.read_text(encoding="utf-8"))
    }
    assert said <= set(wordings()) | set(careplan.finding_texts())


def test_sw_2_no_sentence_is_longer_than_sixty_characters() -> None:
    texts = [
        cell
        for package, name in (
            ("services.portal", "messages_ja.csv"),
            ("todoke.relay", "messages_ja.csv"),
            ("careplan", "findings_ja.csv"),
        )
        for row in rows(package, name)
        for cell in row.values()
    ]
    long = [sentence for text in texts for sentence in text.split("。") if len(sentence) > CHARACTERS_MAX]
    assert long == []
