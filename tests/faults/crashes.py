"""Every crash point of the source, found by reading it, and the process in which each can be reached."""

import ast
import dataclasses
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCES = ("libs/todoke", "services")


@dataclasses.dataclass(frozen=True)
class Point:
    """A crash point as it stands in the source: its name, or what follows the name of a service."""

    tail: str
    of_every_service: bool


def points() -> frozenset[Point]:
    """Every crash point in the source."""
    found = frozenset(
        point for folder in SOURCES for file in sorted((ROOT / folder).rglob("*.py")) for point in _points_of(file)
    )
    assert found
    return found


def _points_of(file: Path) -> Iterator[Point]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "reach":
            yield _point(node.args[0], f"{file.name}:{node.lineno}")


def _point(name: ast.expr, where: str) -> Point:
    if isinstance(name, ast.Constant) and isinstance(name.value, str):
        return Point(name.value, of_every_service=False)
    if isinstance(name, ast.JoinedStr) and len(name.values) == 2:
        tail = name.values[1]
        if isinstance(name.values[0], ast.FormattedValue) and isinstance(tail, ast.Constant):
            return Point(str(tail.value).removeprefix("."), of_every_service=True)
    raise AssertionError(f"{where}: a crash point is a plain name, or the service's name and a plain tail")
