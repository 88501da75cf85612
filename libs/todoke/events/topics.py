"""Which topic each service writes, and how topics are made."""

SERVICES = ("registry", "ingest", "validation", "routing", "storage", "notification", "projection", "portal")
"""Every service that has a topic, in the order of the flow."""

PARTITIONS_LAPTOP = 6
PARTITIONS_CLUSTER = 48


def topic_of(service: str) -> str:
    """`todoke.ingest.v1`: the one topic that this service writes."""
    return f"todoke.{service}.v1"


def service_of(topic: str) -> str:
    """The service that writes this topic.

    Raises `ValueError` for a name that is no topic of ours.
    """
    prefix, _, rest = topic.partition(".")
    service, _, version = rest.partition(".")
    if prefix != "todoke" or version != "v1" or not service:
        raise ValueError(topic)
    return service


def topic_settings(replication: int) -> dict[str, str]:
    """Append time, because retention deletes by timestamp; no compaction; with one replica each batch is flushed."""
    config = {"cleanup.policy": "delete", "retention.ms": "-1", "message.timestamp.type": "LogAppendTime"}
    if replication == 1:
        return config | {"flush.messages": "1"}
    return config | {"min.insync.replicas": "2", "unclean.leader.election.enable": "false"}
