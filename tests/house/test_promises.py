"""Pages that point into the tree, and what they point at."""

import ast
import functools
import re

import pytest

from . import sources

_DOCS = sources.ROOT / "docs"

_SECTIONS = (5, 4, 7, 4, 4, 8, 6, 4, 2, 7, 7, 3, 4, 3, 4, 5, 3)
"""How many sections each chapter of OWASP ASVS 5.0 has, V1 to V17."""


def test_every_test_that_a_guarantee_names_exists() -> None:
    page = (_DOCS / "guarantees.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([\w/]+\.py)::(\w+)`", page))
    assert len(named) > 80
    missing = {f"{file}::{name}" for file, name in named if name not in _tests_of(f"tests/{file}")}
    assert missing == set(), "name the test that holds the promise, or say: not tested yet"


def test_every_test_that_the_page_on_security_names_exists() -> None:
    page = (_DOCS / "security.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([\w/]+\.py)::(\w+)`", page))
    assert {f"{file}::{name}" for file, name in named if name not in _tests_of(f"tests/{file}")} == set()
    assert re.findall(r"^## V(\d+) ", page, re.MULTILINE) == [str(chapter) for chapter in range(1, 18)]


def test_the_page_on_security_has_a_word_for_every_section() -> None:
    page = (_DOCS / "security.md").read_text(encoding="utf-8")
    named = set(re.findall(r"(?:^\| |, )(\d+\.\d+) [A-Z]", page, re.MULTILINE))
    assert named == {f"{chapter}.{n}" for chapter, many in enumerate(_SECTIONS, 1) for n in range(1, many + 1)}


@pytest.mark.parametrize("name", ["guarantees.md", "security.md"])
def test_every_file_that_a_guarantee_names_exists(name: str) -> None:
    page = (_DOCS / name).read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:libs|services|tests|deploy)/[\w./]+)`", page))
    assert {path for path in named if not (sources.ROOT / path).exists()} == set()


def test_decisions_are_numbered_without_gaps() -> None:
    pages = sorted((_DOCS / "decisions").glob("*"))
    assert [page.name[:4] for page in pages] == [f"{number:04}" for number in range(1, len(pages) + 1)]
    for page in pages:
        assert re.fullmatch(r"\d{4}-[a-z0-9-]+\.md", page.name)
        assert page.read_text(encoding="utf-8").startswith(f"# {int(page.name[:4])}. ")


@functools.cache
def _tests_of(path: str) -> set[str]:
    file = sources.ROOT / path
    if not file.exists():
        return set()
    return {
        node.name
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    }
