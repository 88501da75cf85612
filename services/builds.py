"""Which services there are: name → `build`, imported only when asked for."""

import importlib
from collections.abc import Iterable

from todoke.events import SERVICES
from todoke.relay.service import Build


def builds(names: Iterable[str] = SERVICES) -> dict[str, Build]:
    """The builds of these services, in the order of the flow.

    Raises `ValueError` for a name that is no service.
    """
    wanted = set(names)
    unknown = wanted - set(SERVICES)
    if unknown:
        raise ValueError(f"no such service: {', '.join(sorted(unknown))}; there are {', '.join(SERVICES)}")
    return {name: importlib.import_module(f"services.{name}.app").build for name in SERVICES if name in wanted}
