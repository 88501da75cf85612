"""The engines of a laptop or a test: real Kafka, PostgreSQL and S3 without Docker, without root, from `pip` alone.

`up(home)` starts them and hands back a `Running`; other processes find them by `addresses(home)`. However the process
that called `up` dies, the engines end within ten seconds of it. This package knows nothing of the product.
"""

from todoke.engines.model import ENGINES, Addresses, EngineError, PortPlan, S3Address
from todoke.engines.running import EngineStatus, Running, addresses, down, status, up

__all__ = [
    "ENGINES",
    "Addresses",
    "EngineError",
    "EngineStatus",
    "PortPlan",
    "Running",
    "S3Address",
    "addresses",
    "down",
    "status",
    "up",
]
