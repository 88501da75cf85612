"""What callers of the engines hold in their hands: names, addresses, ports, the one error."""

from dataclasses import dataclass, field, fields

ENGINES = ("kafka", "postgres", "s3")
"""The names of the three engines, as `only`, `kill` and `start` take them."""


class EngineError(Exception):
    """An engine cannot start, stop or be found; the text is one sentence for the person at the terminal."""


@dataclass(frozen=True)
class S3Address:
    """Where objects go and as whom; the bucket exists when `up` has returned."""

    endpoint: str
    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    bucket: str
    region: str


@dataclass(frozen=True)
class Addresses:
    """Where the engines of a home listen, all on the loopback interface.

    Attributes:
        kafka: `host:port` of the broker.
        postgres: URL of the superuser, password included, database `postgres`.
        s3: endpoint, keys, bucket.
    """

    kafka: str
    postgres: str = field(repr=False)
    s3: S3Address


@dataclass(frozen=True)
class PortPlan:
    """One TCP port for each listener of the engines; every one is bound on 127.0.0.1 only."""

    kafka: int
    kafka_controller: int
    postgres: int
    s3: int
    s3_grpc: int
    weed_master: int
    weed_master_grpc: int
    weed_volume: int
    weed_volume_grpc: int
    weed_filer: int
    weed_filer_grpc: int

    def of(self, engine: str) -> dict[str, int]:
        """The ports that one engine binds, by their name in this plan."""
        prefixes = {"kafka": ("kafka",), "postgres": ("postgres",), "s3": ("s3", "weed")}[engine]
        return {each.name: getattr(self, each.name) for each in fields(self) if each.name.startswith(prefixes)}
