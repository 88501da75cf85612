"""Japanese terms in the code stand in the glossary, so that an engineer can look each one up."""

import ast
import re

from . import sources

# Han characters and katakana; hiragana alone is grammar.
_TERM = re.compile("[一-龯々ァ-ヴー]{2,}")
_GLOSSARY = sources.ROOT / "docs" / "glossary.md"


def test_the_glossary_holds_every_japanese_term_of_the_docstrings() -> None:
    known = _GLOSSARY.read_text(encoding="utf-8")
    missing = {
        f"{term} ({path}:{line})"
        for path in sources.python("libs", "services")
        for text, line in sources.docstrings(path)
        for term in _TERM.findall(text)
        if term not in known
    }
    assert sorted(missing) == [], "put it into docs/glossary.md with its English word"


def test_no_identifier_is_japanese() -> None:
    found = [
        f"{path}:{node.lineno} {node.id}"
        for path in sources.python("libs", "services")
        for node in ast.walk(sources.tree(path))
        if isinstance(node, ast.Name) and not node.id.isascii()
    ]
    assert found == [], "identifiers are English field terms"
