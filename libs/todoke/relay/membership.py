"""How a consumer takes part in its group, and how it asks the broker for records."""

from typing import Any

SESSION_MS = 6_000
HEARTBEAT_MS = 1_000
REBALANCE_MS = 10_000
MAX_POLL_INTERVAL_MS = 60_000
POLL_MS = 500
FETCH_BYTES_MAX = 1 << 20
UNHURRIED_SECONDS = 0.1
"""A service whose batches are so far apart lets the broker collect for as long, instead of answering each event."""


def consumer_settings(service: str, instance: str, pace_seconds: float) -> dict[str, Any]:
    """How every consumer is set: static membership, no automatic commit, from the earliest record."""
    unhurried = pace_seconds >= UNHURRIED_SECONDS
    return {
        "group_id": f"todoke.{service}",
        "group_instance_id": f"{service}-{instance}",
        "auto_offset_reset": "earliest",
        "session_timeout_ms": SESSION_MS,
        "heartbeat_interval_ms": HEARTBEAT_MS,
        "max_poll_interval_ms": MAX_POLL_INTERVAL_MS,
        "rebalance_timeout_ms": REBALANCE_MS,
        "max_partition_fetch_bytes": FETCH_BYTES_MAX,
        "fetch_max_wait_ms": min(POLL_MS, int(pace_seconds * 1000)) if unhurried else POLL_MS,
        "fetch_min_bytes": FETCH_BYTES_MAX if unhurried else 1,
    }
