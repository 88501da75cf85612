"""How older versions of events are lifted to the newest: pure functions dict → dict, one per step.

`UPCASTS["MessageSubmitted", 1]` turns a body of version 1 into one of version 2. There is none yet: every event still
has its first shape. docs/adding-an-event.md tells how one is added.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

Body: TypeAlias = dict[str, Any]

UPCASTS: Mapping[tuple[str, int], Callable[[Body], Body]] = {}


def lift(type_name: str, version: int, newest: int, body: Body) -> Body:
    """Lift a body from `version` to `newest`, step by step.

    Raises `KeyError` when a step is missing (also for a version newer than this program knows).
    """
    while version != newest:
        body = UPCASTS[type_name, version](body)
        version += 1
    return body
