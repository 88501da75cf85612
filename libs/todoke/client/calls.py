"""What calls are made of: how their answers are read."""

from collections.abc import Callable, Mapping
from typing import Any

from todoke.client.core import Answer, Ask, Call
from todoke.client.errors import Unreadable
from todoke.client.shapes import ShapeT


def reading(shape: type[ShapeT]) -> Callable[[Answer], ShapeT]:
    """How to read a JSON answer of this shape."""
    return lambda answer: shape.model_validate_json(answer.body)


def nothing(_: Answer) -> None:
    """An answer without content (204)."""
    return


def itself(answer: Answer) -> Answer:
    """The answer as it came: its bytes are what was asked for."""
    return answer


def getting(shape: type[ShapeT], path: str, params: Mapping[str, str | int] | None = None) -> Call[ShapeT]:
    """A GET of one JSON document."""
    return Call(Ask("GET", path, params=params or {}), reading(shape), repeatable=True)


def rows_of(answer: Answer, name: str) -> list[Any]:
    """The list that an answer holds under `name`; raises `Unreadable` when it holds none."""
    rows = answer.document().get(name)
    if not isinstance(rows, list):
        raise Unreadable(f"the answer has no {name}")
    return rows
